// SPDX-License-Identifier: MIT
// The states that a mixer is given and gives back: before the first token, after the last one, and on the way.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <kalscan/detail/config.hpp>
#include <kalscan/detail/equal.hpp>
#include <kalscan/detail/infinity.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kalman/belief.hpp>
#include <kalscan/kalman/belief_adjoint.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/tensor.hpp>
#include <type_traits>

namespace kalscan {

/// The state tensors of a mixer, each [N, 1, M, S] for N sequences (the batch, or those that offsets delimit).
template <class M, class T>
using state_tensors = typename M::template state<tensor<T>>;

namespace detail {

template <class M, class T>
state_tensors<M, const T> read_only(const state_tensors<M, T>& x) {
  return from_words<state_tensors<M, const T>, tensor<const T>>(
      [&](auto i) { return tensor<const T>(words<tensor<T>>(x)[i]); });
}

}  // namespace detail

/// The states before the first token. Without tensors, all lanes start from the mixer's start().
template <class M, class T>
struct initial_states {
  state_tensors<M, const T> tensors = {};

  initial_states() = default;
  initial_states(const state_tensors<M, const T>& states) : tensors(states) {}
  initial_states(const state_tensors<M, T>& states) : tensors(detail::read_only<M>(states)) {}

  KALSCAN_HD auto all_tensors() const { return detail::words<tensor<const T>>(tensors); }
  static mixer_state describe(std::size_t i) { return M::state_info[i]; }
  KALSCAN_HD bool present() const { return all_tensors()[0].present(); }
  KALSCAN_HD typename M::template state<T> operator()(std::int64_t n, std::int64_t m, std::int64_t s) const {
    if (!present()) return M::template start<T>();
    const auto all = all_tensors();
    return detail::from_words<typename M::template state<T>, T>([&](auto i) { return all[i](n, 0, m, s); });
  }
};

/// The tensors of beliefs, or of the adjoints of beliefs, in the form that the type names of which they are made:
/// moments (belief) or information (information_belief: precision and vector).
///
/// Beliefs: the precision is >= 0, and 0 is allowed with any vector. In moment form that is an infinite variance, whose
/// mean does not matter on the way in and is 0 on the way out: a vector at precision 0 needs the information form.
/// Adjoints in information form are the derivatives in precision and vector; those of final beliefs are used as
/// adjoints of moments where these are ordinary, and the square of such a precision must not overflow.
template <class T>
struct belief_tensors : belief<tensor<T>> {
  /// Then `mean` is the tensor of the vectors and `variance` that of the precisions.
  bool information_form = false;

  belief_tensors() : belief<tensor<T>>{} {}
  belief_tensors(const tensor<T>& means, const tensor<T>& variances) : belief<tensor<T>>{means, variances} {}
  belief_tensors(const belief<tensor<T>>& x) : belief<tensor<T>>(x) {}
  belief_tensors(const information_belief<tensor<T>>& x)
      : belief<tensor<T>>{x.vector, x.precision}, information_form(true) {}
  template <class U>
  requires std::same_as<const U, T> belief_tensors(const belief<tensor<U>>& x)
      : belief<tensor<T>>{x.mean, x.variance} {}
  template <class U>
  requires std::same_as<const U, T> belief_tensors(const information_belief<tensor<U>>& x)
      : belief<tensor<T>>{x.vector, x.precision}, information_form(true) {}
  template <class U>
  requires std::same_as<const U, T> belief_tensors(const belief_tensors<U>& x)
      : belief<tensor<T>>{x.mean, x.variance}, information_form(x.information_form) {}
};

namespace detail {

template <class M, class T>
struct given_states {
  using type = state_tensors<M, T>;
};
template <readout R, bool O, class T>
struct given_states<kla_mixer<R, O>, T> {
  using type = belief_tensors<T>;
};

template <class Tensors>
concept has_forms = requires(const Tensors& x) {
  x.information_form;
};
template <class Tensors>
KALSCAN_HD constexpr bool in_information_form(const Tensors& x) {
  if constexpr (has_forms<Tensors>) return x.information_form;
  return false;
}

/// What the numbers in the tensors are called.
template <class M, class Tensors>
mixer_state describe_state(const Tensors& x, std::size_t i) {
  if (!in_information_form(x)) return M::state_info[i];
  return i == 0 ? mixer_state{"vector"} : mixer_state{"precision", true};
}
/// The tensors themselves, whatever they hold.
template <class T, class Tensors>
KALSCAN_HD auto tensors_of(const Tensors& x) {
  if constexpr (has_forms<Tensors>) {
    return words<tensor<T>>(static_cast<const belief<tensor<T>>&>(x));
  } else {
    return words<tensor<T>>(x);
  }
}

/// A state from the numbers that initial tensors have of it, and the numbers that final tensors get.
template <class Tensors, class State>
KALSCAN_HD constexpr State state_of(const Tensors& given, const State& numbers) {
  if constexpr (has_forms<Tensors>) {
    using T = std::remove_cvref_t<decltype(numbers.mean)>;
    if (given.information_form) return to_moments(information_belief<T>{numbers.variance, numbers.mean});
    if (equal(numbers.variance, infinity<T>)) return {T(0), numbers.variance};
  }
  return numbers;
}
template <class Tensors, class State>
KALSCAN_HD constexpr State numbers_of(const Tensors& wanted, const State& x) {
  if constexpr (has_forms<Tensors>) {
    using T = std::remove_cvref_t<decltype(x.mean)>;
    if (wanted.information_form) {
      const auto y = to_information(x);
      return {y.vector, y.precision};
    }
    if (equal(x.variance, infinity<T>)) return {T(0), x.variance};
  }
  return x;
}

/// The adjoint of state x as the backward pass carries it, from the numbers that the final adjoint's tensors have of
/// it, and the numbers that the initial adjoint's get.
template <class Tensors, class State>
KALSCAN_HD constexpr State adjoint_of(const Tensors& given, const State& x, const State& numbers) {
  if constexpr (has_forms<Tensors>) {
    using T = std::remove_cvref_t<decltype(x.mean)>;
    if (given.information_form)
      return carried_from_information(x, information_belief<T>{numbers.variance, numbers.mean});
    return carried_from_moments(x, numbers);
  }
  return numbers;
}
template <class Tensors, class State>
KALSCAN_HD constexpr State numbers_of_adjoint(const Tensors& wanted, const State& x, const State& carried) {
  if constexpr (has_forms<Tensors>) {
    if (wanted.information_form) {
      const auto y = information_from_carried(x, carried);
      return {y.vector, y.precision};
    }
    return moments_from_carried(x, carried);
  }
  return carried;
}

}  // namespace detail

/// The states, or their adjoints, that a call is given or gives back, each [N, 1, M, S]: the mixer's own state of
/// tensors; of KLA the tensors of a belief or of an information_belief.
template <class M, class T>
using given_states = typename detail::given_states<M, T>::type;

/// Beliefs in either form; default N(0, 1).
template <readout R, bool O, class T>
struct initial_states<kla_mixer<R, O>, T> : belief_tensors<const T> {
  using belief_tensors<const T>::belief_tensors;
  initial_states() = default;
  initial_states(const belief_tensors<const T>& x) : belief_tensors<const T>(x) {}

  auto all_tensors() const { return detail::tensors_of<const T>(*this); }
  mixer_state describe(std::size_t i) const { return detail::describe_state<kla>(*this, i); }
  KALSCAN_HD bool present() const { return this->mean.present() || this->variance.present(); }
  KALSCAN_HD belief<T> operator()(std::int64_t n, std::int64_t m, std::int64_t s) const {
    if (!present()) return {T(0), T(1)};
    return detail::state_of(*this, belief<T>{this->mean(n, 0, m, s), this->variance(n, 0, m, s)});
  }
};

/// What a forward call is given and gives back besides inputs and outputs. All of it is optional.
template <class M, class T>
struct mixer_states {
  initial_states<M, T> initial = {};
  given_states<M, T> final = {};  ///< after the last token; may be the memory of `initial`
  /// The state before every step that is a multiple of `every`, counted in its sequence: for prefix caching, rollback,
  /// and the backward pass. Of KLA moments, and at infinite variance the information vector in the mean's place. [B, L
  /// / every + 1, M, S]; where `every` divides L the last one is the final state. With offsets [1, L / every + N, M,
  /// S], those of sequence n from index offsets[n] / every + n on.
  state_tensors<M, T> checkpoints = {};
  std::int64_t every = 0;
};

/// The index on the time axis of the checkpoints at which those of sequence n start; 0 without offsets.
[[nodiscard]] inline std::int64_t first_checkpoint(const mixer_shape& shape, std::int64_t n, std::int64_t every) {
  return shape.offsets.empty() ? 0 : shape.offsets[static_cast<std::size_t>(n)] / every + n;
}
/// The extent of the time axis of the checkpoints.
[[nodiscard]] inline std::int64_t checkpoint_count(const mixer_shape& shape, std::int64_t every) {
  return shape.time / every + (shape.offsets.empty() ? 1 : shape.sequences());
}

}  // namespace kalscan
