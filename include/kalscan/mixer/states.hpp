// SPDX-License-Identifier: MIT
// The states that a mixer is given and gives back: before the first token, after the last one, and on the way.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan {

/// The state tensors of a mixer, each [N, 1, M, S] for N sequences (the batch, or those that offsets delimit).
template <class M, class T>
using state_tensors = typename M::template state<tensor<T>>;

namespace detail {

template <class M, class T>
state_tensors<M, const T> read_only(const state_tensors<M, T>& x) {
  return from_fields<state_tensors<M, const T>, tensor<const T>>(
      [&](auto i) { return tensor<const T>(as_array<tensor<T>>(x)[i]); });
}

template <class M, class T>
struct given_states {
  using type = state_tensors<M, T>;
};
template <class M, class T>
  requires requires { typename M::template given_states<T>; }
struct given_states<M, T> {
  using type = typename M::template given_states<T>;
};

/// The type that a mixer names as given_states<T>: tensors that hold states, and their adjoints, in a form of their
/// own, as belief_tensors of KLA do. It has
///
///     tensors()                     the aggregate of tensors
///     describe(i)                   what the numbers in the tensors are called
///     plain()                       whether they hold ordinary states, and their adjoints, as the state's own numbers
///     state(numbers)                the state from the numbers that the tensors have of it
///     numbers(state)                the numbers that the tensors get
///     adjoint(state, numbers)       the adjoint of a state as the backward pass carries it
///     adjoint_numbers(state, adjoint)
///                                   the numbers of that adjoint that the tensors get
template <class Tensors>
concept has_own_form = requires(const Tensors& x) {
  x.tensors();
  x.plain();
};
template <class Tensors>
KALSCAN_HD constexpr bool is_plain(const Tensors& x) {
  if constexpr (has_own_form<Tensors>) return x.plain();
  return true;
}

/// What the numbers in the tensors are called.
template <class M, class Tensors>
mixer_state describe_state(const Tensors& x, std::size_t i) {
  if constexpr (has_own_form<Tensors>) return x.describe(i);
  return M::state_info[i];
}
/// The tensors themselves, whatever they hold.
template <class T, class Tensors>
KALSCAN_HD auto tensors_of(const Tensors& x) {
  if constexpr (has_own_form<Tensors>) {
    return as_array<tensor<T>>(x.tensors());
  } else {
    return as_array<tensor<T>>(x);
  }
}

/// A state from the numbers that initial tensors have of it, and the numbers that final tensors get.
template <class Tensors, class State>
KALSCAN_HD constexpr State state_of(const Tensors& given, const State& numbers) {
  if constexpr (has_own_form<Tensors>) return given.state(numbers);
  return numbers;
}
template <class Tensors, class State>
KALSCAN_HD constexpr State numbers_of(const Tensors& wanted, const State& x) {
  if constexpr (has_own_form<Tensors>) return wanted.numbers(x);
  return x;
}

/// The adjoint of state x as the backward pass carries it, from the numbers that the final adjoint's tensors have of
/// it, and the numbers that the initial adjoint's get.
template <class Tensors, class State>
KALSCAN_HD constexpr State adjoint_of(const Tensors& given, const State& x, const State& numbers) {
  if constexpr (has_own_form<Tensors>) return given.adjoint(x, numbers);
  return numbers;
}
template <class Tensors, class State>
KALSCAN_HD constexpr State numbers_of_adjoint(const Tensors& wanted, const State& x, const State& carried) {
  if constexpr (has_own_form<Tensors>) return wanted.adjoint_numbers(x, carried);
  return carried;
}

}  // namespace detail

/// The states, or their adjoints, that a call is given or gives back, each [N, 1, M, S]: the mixer's own state of
/// tensors; or what its given_states<T> names, of KLA the tensors of a belief or of an information_belief.
template <class M, class T>
using given_states = typename detail::given_states<M, T>::type;

/// The states before the first token. Without tensors, all lanes start from the mixer's start().
template <class M, class T>
struct initial_states : given_states<M, const T> {
  using base = given_states<M, const T>;

  using base::base;
  initial_states() : base{} {}
  initial_states(const base& states) : base(states) {}
  initial_states(const state_tensors<M, T>& states)
    requires(!std::convertible_to<const state_tensors<M, T>&, base>)
      : base(detail::read_only<M>(states)) {}

  KALSCAN_HD auto all_tensors() const { return detail::tensors_of<const T>(static_cast<const base&>(*this)); }
  KALSCAN_HD bool present() const {
    bool any = false;
    for (const auto& one : all_tensors()) any = any || one.present();
    return any;
  }
  KALSCAN_HD typename M::template state<T> operator()(std::int64_t n, std::int64_t m, std::int64_t s) const {
    if (!present()) return M::template start<T>();
    const auto all = all_tensors();
    return detail::state_of(static_cast<const base&>(*this),
                            detail::from_fields<typename M::template state<T>, T>([&](auto i) {
                              return all[i](n, 0, m, s);
                            }));
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

/// What a backward call is given and gives back besides the adjoints of outputs and inputs. All of it is optional.
template <class M, class T>
struct mixer_adjoints {
  initial_states<M, T> initial = {};           ///< as the forward call had it
  state_tensors<M, const T> checkpoints = {};  ///< of the forward call; without them it is run once more
  std::int64_t every = 0;                      ///< as the forward call had it
  given_states<M, const T> final_bar = {};     ///< adjoints of the final states; a tensor without data is zero
  given_states<M, T> initial_bar = {};  ///< adjoints of the initial states; one without data is not computed; may be
                                        ///< final_bar's memory
  bool accumulate = false;              ///< add to what initial_bar and in_bar hold, instead of replacing it
};

/// The index on the time axis of the checkpoints at which those of sequence n start; 0 without offsets. Needs every > 0.
[[nodiscard]] inline std::int64_t first_checkpoint(const mixer_shape& shape, std::int64_t n, std::int64_t every) {
  return shape.offsets.empty() ? 0 : shape.offsets[static_cast<std::size_t>(n)] / every + n;
}
/// The extent of the time axis of the checkpoints. Throws std::invalid_argument unless every > 0.
[[nodiscard]] inline std::int64_t checkpoint_count(const mixer_shape& shape, std::int64_t every) {
  if (every <= 0) detail::bad_argument("checkpoint_count", {"every is ", every});
  return shape.time / every + (shape.offsets.empty() ? 1 : shape.sequences());
}

}  // namespace kalscan
