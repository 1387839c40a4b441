// SPDX-License-Identifier: MIT
// The square-root form of models of functions: for float, and for long series with a rank-deficient Q.
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan {
namespace detail {

/// The root of Q, in the numbers of beliefs and in those of elements, where Q is a value.
template <class Model>
struct noise_root {
  small_lower<typename Model::value_type, Model::states> own;
  small_lower<wide<typename Model::value_type>, Model::states> of_elements;
};
template <class Model>
concept has_constant_noise = requires(const Model& m) {
  requires is_small<std::remove_cvref_t<decltype(m.transition_at.Q_)>>;
};

/// A root of the Q that leads to a step, in numbers of type X.
template <class X, class Model>
KALSCAN_HD small_lower<X, Model::states> root_of_noise(const Model& model, std::int64_t series, std::int64_t t) {
  if constexpr (requires { model.template noise<X>(); }) {
    return model.template noise<X>();
  } else {
    return root_of<X>(model.transition(series, t).Q);
  }
}

}  // namespace detail

/// Asks filter, log_likelihood, smooth and filter_workspace for the square-root form: filter(policy,
/// square_root{model}, ...), filter_workspace<decltype(square_root{model})>(...). Covariances are carried as roots,
/// semi-definite whatever the rounding, with the digits that a covariance loses where its eigenvalues differ by more
/// than 1 / epsilon. In float the elements of chunks, and the smoother, compute in double. The prior must be proper: a
/// small_belief, or a small_root_belief, with which a model has this form in any case. A Q that is a value is factored
/// here, once, others at each step. Neither forecast nor ranks take the form; on a device more than 5 states need
/// kalscan::cuda_many_states (<kalscan/cuda/kalman.cuh>).
/// Beside a state that no noise moves and that grows by more than 1 / epsilon over a series, others are smoothed right
/// whole, but not in chunks of time. <kalscan/kalman/square_root.hpp> has the same for a kalman_model.
template <class Model>
struct square_root : Model {
  static_assert(state_space_model<Model>,
                "kalscan: square_root takes a model_of(...), or a kalman_model with <kalscan/kalman/square_root.hpp>");
  static_assert(!detail::has_diffuse_prior<Model>,
                "kalscan: the prior of square_root{model} is proper: filter the first steps with the model itself, until "
                "its directions are zero, and give square_root the belief after them as the prior of the rest");
  using T = typename Model::value_type;

  explicit square_root(const Model& model) : Model(model) {
    if constexpr (detail::has_constant_noise<Model>) {
      // The value itself: F may be where the host cannot look.
      noise_.of_elements = detail::root_of<detail::wide<T>>(
          detail::to_small<small_symmetric<T, Model::states>>(model.transition_at.Q_));
      noise_.own = detail::as<T>(noise_.of_elements);
    }
  }

  KALSCAN_HD small_root_belief<T, Model::states> prior(std::int64_t series) const {
    const auto given = Model::prior(series);
    if constexpr (detail::is_root<std::remove_const_t<decltype(given)>>) {
      return given;
    } else {
      return {given.mean, detail::root_of<T>(given.covariance)};
    }
  }
  /// The root of a Q that is a value, in numbers of type X.
  template <class X>
    requires detail::has_constant_noise<Model>
  KALSCAN_HD const small_lower<X, Model::states>& noise() const {
    if constexpr (std::is_same_v<X, T>) {
      return noise_.own;
    } else {
      return noise_.of_elements;
    }
  }

 private:
  std::conditional_t<detail::has_constant_noise<Model>, detail::noise_root<Model>, no_input> noise_{};
};
template <class Model>
square_root(const Model&) -> square_root<Model>;

}  // namespace kalscan
