// SPDX-License-Identifier: MIT
// Linear-Gaussian models whose matrices are functions of the step.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/small/diffuse.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <kalscan/support/config.hpp>
#include <type_traits>
#include <utility>

namespace kalscan {

/// What leads to a step: x_t = F x_(t-1) + w, w ~ N(0, Q).
template <class T, int N>
struct transition_matrices {
  small_matrix<T, N, N> F;
  small_symmetric<T, N> Q;
};

/// How a step is observed: y_t = H x_t + v, v ~ N(0, R).
template <class T, int N, int M>
struct observation_matrices {
  small_matrix<T, M, N> H;
  small_symmetric<T, M> R;
};

/// No B u, no D u.
struct no_input {};

namespace detail {

/// x is the value itself, or a callable (series, t) or (t).
template <class X>
KALSCAN_HD constexpr auto value_at(const X& x, std::int64_t series, std::int64_t t) {
  if constexpr (is_small<X> || std::is_same_v<X, no_input>) {
    return x;
  } else if constexpr (std::is_invocable_v<const X&, std::int64_t, std::int64_t>) {
    return x(series, t);
  } else {
    static_assert(std::is_invocable_v<const X&, std::int64_t>,
                  "kalscan: F, Q, H, R and inputs are small matrices, or callables (t) or (series, t) that give one, "
                  "annotated KALSCAN_HD");
    return x(t);
  }
}

template <class F, class Q>
struct separate_transition {
  F F_;
  Q Q_;
};

template <class Transition>
inline constexpr bool is_constant_transition = false;
template <class F, class Q>
inline constexpr bool is_constant_transition<separate_transition<F, Q>> = is_small<F> && is_small<Q>;

template <class Belief, class T, int N>
concept belief_of = std::same_as<Belief, small_belief<T, N>> || std::same_as<Belief, small_diffuse_belief<T, N>> ||
                    std::same_as<Belief, small_root_belief<T, N>>;

}  // namespace detail

/// x_t = F_t x_(t-1) + B_t + w_t, w_t ~ N(0, Q_t);   y_t = H_t x_t + D_t + v_t, v_t ~ N(0, R_t), for many series: each
/// matrix is a small one, or a callable (t) or (series, t) that gives one, for host and device (KALSCAN_HD); it is
/// evaluated where it is used, more than once a step. Of Q and R, given in full or as small_symmetric, the lower
/// triangles count. `Transition` gives F and Q together. The prior is a small_belief, a small_diffuse_belief where parts
/// of it are diffuse, a small_root_belief for square_root, or a callable (series) that gives one, of the state at the
/// first observation or, where `before_first_transition`, one transition before. Made by model_of.
template <class T, int N, int M, class Transition, class H_, class R_, class Prior, class B_ = no_input,
          class D_ = no_input>
struct function_model {
  using value_type = T;
  static constexpr int states = N, observed = M;
  /// Whether F, Q, H and R are values, the same for all steps.
  static constexpr bool constant =
      detail::is_constant_transition<Transition> && detail::is_small<H_> && detail::is_small<R_>;

  Transition transition_at;
  H_ H;
  R_ R;
  Prior prior_of;
  bool before_first_transition = false;
  B_ B = {};  ///< what inputs add to the state, n numbers
  D_ D = {};  ///< and to the observation, m numbers

  KALSCAN_HD constexpr transition_matrices<T, N> transition(std::int64_t series, std::int64_t t) const {
    if constexpr (requires { transition_at.F_; }) {
      return {detail::to_small<small_matrix<T, N, N>>(detail::value_at(transition_at.F_, series, t)),
              detail::to_small<small_symmetric<T, N>>(detail::value_at(transition_at.Q_, series, t))};
    } else {
      return detail::value_at(transition_at, series, t);
    }
  }
  KALSCAN_HD constexpr observation_matrices<T, N, M> observation(std::int64_t series, std::int64_t t) const {
    return {detail::to_small<small_matrix<T, M, N>>(detail::value_at(H, series, t)),
            detail::to_small<small_symmetric<T, M>>(detail::value_at(R, series, t))};
  }
  KALSCAN_HD constexpr auto prior(std::int64_t series) const {
    if constexpr (std::is_invocable_v<const Prior&, std::int64_t>) {
      return prior_of(series);
    } else {
      return prior_of;
    }
  }
  KALSCAN_HD constexpr auto state_input(std::int64_t series, std::int64_t t) const {
    return detail::value_at(B, series, t);
  }
  KALSCAN_HD constexpr auto observation_input(std::int64_t series, std::int64_t t) const {
    return detail::value_at(D, series, t);
  }
};

/// What the filters for small matrices take.
template <class Model>
concept state_space_model =
    std::copy_constructible<Model> &&
    requires(const Model& m, std::int64_t i) {
      typename Model::value_type;
      { m.transition(i, i) } -> std::same_as<transition_matrices<typename Model::value_type, Model::states>>;
      {
        m.observation(i, i)
      } -> std::same_as<observation_matrices<typename Model::value_type, Model::states, Model::observed>>;
      { m.prior(i) } -> detail::belief_of<typename Model::value_type, Model::states>;
      { m.before_first_transition } -> std::convertible_to<bool>;
      { Model::constant } -> std::convertible_to<bool>;
      m.state_input(i, i);
      m.observation_input(i, i);
    };

namespace detail {

/// A small_belief, a small_diffuse_belief, or a small_root_belief, which makes the square-root form.
template <class Model>
using prior_type = decltype(std::declval<const Model&>().prior(0));
template <class Model>
inline constexpr bool has_diffuse_prior = is_diffuse<prior_type<Model>>;

}  // namespace detail

/// The model of F, Q, H, R and a prior.
template <class T, int N, int M, class F, class Q, class H, class R, class Prior, class B = no_input,
          class D = no_input>
[[nodiscard]] constexpr auto model_of(const F& f, const Q& q, const H& h, const R& r, const Prior& prior,
                                      bool before_first_transition = false, const B& b = {}, const D& d = {}) {
  using pair = detail::separate_transition<F, Q>;
  return function_model<T, N, M, pair, H, R, Prior, B, D>{pair{f, q}, h, r, prior, before_first_transition, b, d};
}

/// Matrices of each step in device memory (or host memory, for the host), in full and column by column, one after
/// another. All series share them.
template <class Matrix>
struct matrix_of_step {
  const typename Matrix::value_type* data;
  KALSCAN_HD constexpr Matrix operator()(std::int64_t t) const {
    return detail::load<Matrix>(data + t * (Matrix::rows * Matrix::columns));
  }
};

/// The same of each series, constant in time.
template <class Matrix>
struct matrix_of_series {
  const typename Matrix::value_type* data;
  KALSCAN_HD constexpr Matrix operator()(std::int64_t series, std::int64_t) const {
    return detail::load<Matrix>(data + series * (Matrix::rows * Matrix::columns));
  }
};

namespace detail {

template <class T, int N, int M, class Model, class Prior>
auto constant_model_from(const char* name, const Model& model, const Prior& prior) {
  if (!model.F.constant() || !model.Q.constant() || !model.H.constant() || !model.R.constant())
    bad_argument(name, "F, Q, H or R is given per step: give model_of a matrix_of_step in its place");
  if (model.F.empty() || model.Q.empty() || model.H.empty() || model.R.empty())
    bad_argument(name, "F, Q, H or R is not given");
  if (!model.B.empty() || !model.D.empty())
    bad_argument(name, "the model has inputs: give model_of what they add at each step");
  if constexpr (requires { check_whole_model(model); }) check_whole_model(model);
  return model_of<T, N, M>(
      to_small<small_matrix<T, N, N>>(model.F[0]), to_small<small_symmetric<T, N>>(model.Q[0]),
      to_small<small_matrix<T, M, N>>(model.H[0]), to_small<small_symmetric<T, M>>(model.R[0]), prior,
      model.prior.before_first_transition);
}

}  // namespace detail

/// The model of a kalman_model of fixed sizes, for a device too: its matrices must be constant, its prior proper, and
/// it has no inputs. Throws std::invalid_argument otherwise, and where filter would refuse the model. What a vague prior
/// costs, function_filter.hpp says.
template <template <class, int, int> class Model, class T, int N, int M>
[[nodiscard]] auto constant_model(const Model<T, N, M>& model) {
  constexpr const char* name = "constant_model";
  if (model.prior.has_diffuse()) detail::bad_argument(name, "the prior is diffuse: call constant_diffuse_model");
  return detail::constant_model_from<T, N, M>(
      name, model,
      small_belief<T, N>{detail::to_small<small_vector<T, N>>(model.prior.mean),
                         detail::to_small<small_symmetric<T, N>>(model.prior.covariance)});
}

/// The same with a prior that may be diffuse, in no more directions than there are states.
template <template <class, int, int> class Model, class T, int N, int M>
[[nodiscard]] auto constant_diffuse_model(const Model<T, N, M>& model) {
  constexpr const char* name = "constant_diffuse_model";
  const auto& given = model.prior;
  small_diffuse_belief<T, N> prior{detail::to_small<small_vector<T, N>>(given.mean),
                                   detail::to_small<small_symmetric<T, N>>(given.covariance),
                                   {}};
  int used = 0;
  const auto next = [&] {
    if (used == N) detail::bad_argument(name, "the prior is diffuse in more directions than there are states");
    return used++;
  };
  for (int i = 0; i < static_cast<int>(given.diffuse.size()) && i < N; ++i) {
    if (!given.diffuse[static_cast<std::size_t>(i)]) continue;
    prior.mean(i) = 0;
    prior.directions(i, next()) = 1;
  }
  for (int j = 0; j < static_cast<int>(given.directions.cols()); ++j) {
    const int to = next();
    for (int i = 0; i < N; ++i) prior.directions(i, to) = given.directions(i, j);
  }
  return detail::constant_model_from<T, N, M>(name, model, prior);
}

}  // namespace kalscan
