// SPDX-License-Identifier: MIT
// What a sequence mixer is: a recurrence in many lanes, driven by tokens, whose states are read out and summed.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/config.hpp>
#include <span>
#include <type_traits>

namespace kalscan {

/// Over which axes an input of a mixer varies.
enum class role {
  channel,   ///< [B, L, M]: one value a token and channel
  state,     ///< [B, L, S]: one value a token and state, the same for all channels
  parameter  ///< [M, S], or per token: [B, L, M, S], [B, L, M] or [B, L, S]
};

/// What a mixer says of one of its inputs.
struct mixer_input {
  const char* name;
  role varies;
  bool nonnegative = false;
  bool gain = false;  ///< a factor of the state from step to step: time is split by default only where none exceeds one
};

/// What a mixer says of one of the numbers of its state.
struct mixer_state {
  const char* name;
  bool nonnegative = false;
};

namespace detail {

template <class Mixer, class T>
struct terms_of {
  using type = typename Mixer::template inputs<T>;
  static constexpr std::size_t count = Mixer::inputs_info.size();
  static constexpr role varies(std::size_t i) { return Mixer::inputs_info[i].varies; }
  KALSCAN_HD static constexpr type prepare(const type& u) { return u; }
};
template <class Mixer, class T>
requires requires { typename Mixer::template terms<T>; }
struct terms_of<Mixer, T> {
  using type = typename Mixer::template terms<T>;
  static constexpr std::size_t count = Mixer::term_roles.size();
  static constexpr role varies(std::size_t i) { return Mixer::term_roles[i]; }
  KALSCAN_HD static constexpr type prepare(const typename Mixer::template inputs<T>& u) { return Mixer::prepare(u); }
};

/// How many of the terms before term i, or of all where i is their count, vary as r.
template <class M, class T>
constexpr std::int64_t terms_before(std::size_t i, role r) {
  std::int64_t n = 0;
  for (std::size_t k = 0; k < i; ++k) n += terms_of<M, T>::varies(k) == r ? 1 : 0;
  return n;
}
template <class M, class T>
inline constexpr std::int64_t channel_terms = terms_before<M, T>(terms_of<M, T>::count, role::channel);
template <class M, class T>
inline constexpr std::int64_t state_terms = terms_before<M, T>(terms_of<M, T>::count, role::state);
template <class M, class T>
inline constexpr std::int64_t parameter_terms = terms_before<M, T>(terms_of<M, T>::count, role::parameter);

}  // namespace detail

/// What a lane's formulas are given of a mixer's inputs: the mixer's `terms`, or the inputs themselves.
template <class Mixer, class T>
using terms_t = typename detail::terms_of<Mixer, T>::type;

/// The terms of one lane at one step from its inputs.
template <class Mixer, class T>
KALSCAN_HD constexpr terms_t<Mixer, T> prepare(const typename Mixer::template inputs<T>& u) {
  return detail::terms_of<Mixer, T>::prepare(u);
}

/// The derivatives that one step hands back: of the state before it and of its inputs.
template <class Mixer, class T>
struct step_adjoint {
  typename Mixer::template state<T> earlier;
  typename Mixer::template inputs<T> inputs;
};

namespace detail {

/// A mixer has all of what belongs to `terms`, or none of it; and so of `ordinary`.
template <class M>
concept terms_are_complete =
    !requires { typename M::template terms<double>; } || requires(const typename M::template inputs<double>& u) {
      { M::term_roles.size() } -> std::convertible_to<std::size_t>;
      { M::prepare(u) } -> std::same_as<typename M::template terms<double>>;
    };
template <class M>
concept ordinary_is_complete =
    !requires { typename M::ordinary; } || requires(const typename M::template state<double>& x) {
      { M::is_ordinary(x) } -> std::convertible_to<bool>;
    };

}  // namespace detail

/// A sequence mixer: for each batch b, channel m and state s a lane runs a recurrence over time, and
/// output[b, t, m] = sum over s of readout(state after step t). It has
///
///     inputs<X>, outputs<X>, state<X>   aggregates of X: numbers of one lane, or the tensors of all of them
///     inputs_info, state_info           std::arrays of mixer_input and of mixer_state, in the order of the fields
///     output_names                      std::array of the outputs' names
///     start<T>()                        the state before the first token, where none is given
///     step(state, terms)                the next state
///     readout(state, terms)             what a lane adds to the outputs
///     adjoint(before, terms, after, later, outputs)
///                                       step_adjoint, from the adjoint `later` of the state after the step less this
///                                       step's own readout, and from the adjoints of the outputs
///
/// all of them static templates over the number type T. Optional:
///
///     terms<T>, term_roles, prepare     what the formulas want of the inputs, each from inputs of one role: squares
///                                       and products are then formed once for all lanes that share them
///     monoid<T>(), lift, act, absorb    as a recurrence has them (with terms as its input): parallel over time
///     adjoint_monoid<T>(), adjoint_lift(before, terms, after, outputs), adjoint_act(element, later)
///                                       the adjoint's own recurrence, operands in order of time: the same, backwards
///     run<T>, no_steps<T>(), extend(run, terms), is_large(run), rescaled(run), act(run, state)
///                                       what stands for a run of steps where only its action on a state is wanted and
///                                       elements cost more: `extend` is branch-free (see ordinary); `rescaled` brings
///                                       back into range, by powers of two, every four steps and not only what
///                                       is_large. `act` gives a state that is not finite wherever a number of the run
///                                       is not; the steps are then taken one by one instead
///     extend_in_four(run, terms, i)     `extend` by step i = 0 ... 3 of four whose parameters are the same, where that
///                                       takes fewer operations; the run is one, and is asked whether it is_large,
///                                       only after step 3
///     is_ordinary(state), ordinary      `ordinary` is a mixer with the same types whose formulas are branch-free and
///                                       hold between ordinary states, for vector code; T may then be several numbers
///                                       at once, with the arithmetic operators and T(number), but no comparisons,
///                                       there and in the operator of adjoint_monoid<T>()
///     has_ordinary_adjoint(state)       where `ordinary` holds for the adjoint of a state, if that is not everywhere.
///                                       Elsewhere `adjoint` may carry it in a form that depends on the state alone
///     given_states<T>                   states in a form of their own: see has_own_form in <kalscan/mixer/states.hpp>
///     readout(state, terms, sums)       readout(state, terms) added to `sums`, products by detail::fused: sums over
///                                       states then have the same bits in all kernels
///     frame                             see mixer_with_frame in <kalscan/mixer/frame.hpp>
template <class M>
concept mixer = requires(const typename M::template state<double>& x, const terms_t<M, double>& u,
                         const typename M::template outputs<double>& y) {
  typename M::template inputs<double>;
  { M::inputs_info.size() } -> std::convertible_to<std::size_t>;
  { M::state_info.size() } -> std::convertible_to<std::size_t>;
  { M::output_names.size() } -> std::convertible_to<std::size_t>;
  { M::template start<double>() } -> std::same_as<typename M::template state<double>>;
  { M::step(x, u) } -> std::same_as<typename M::template state<double>>;
  { M::readout(x, u) } -> std::same_as<typename M::template outputs<double>>;
  { M::adjoint(x, u, x, x, y) } -> std::same_as<step_adjoint<M, double>>;
} && detail::terms_are_complete<M> && detail::ordinary_is_complete<M>;

namespace detail {

/// Whether the formulas of M::ordinary hold for a state or, with Adjoint, for its adjoint too.
template <class M, bool Adjoint, class State>
KALSCAN_HD constexpr bool is_ordinary_state(const State& x) {
  if constexpr (Adjoint && requires { M::has_ordinary_adjoint(x); }) {
    return M::has_ordinary_adjoint(x);
  } else {
    return M::is_ordinary(x);
  }
}

/// What a lane reads out, added to `sums`.
template <class M, class T>
KALSCAN_HD constexpr typename M::template outputs<T> readout_onto(const typename M::template outputs<T>& sums,
                                                                  const typename M::template state<T>& x,
                                                                  const terms_t<M, T>& u) {
  if constexpr (requires { M::readout(x, u, sums); }) {
    return M::readout(x, u, sums);
  } else {
    const auto y = as_array<T>(M::readout(x, u)), before = as_array<T>(sums);
    return from_fields<typename M::template outputs<T>, T>([&](auto i) { return before[i()] + y[i()]; });
  }
}

}  // namespace detail

/// Whether time can be split, forward and backward.
template <class M>
concept mixer_with_elements = mixer<M> && requires {
  { M::template monoid<double>() } -> monoid;
} && requires(const element_t<decltype(M::template monoid<double>())>& e,
              const typename M::template state<double>& x, const terms_t<M, double>& u) {
  { M::lift(u) } -> std::convertible_to<std::remove_cvref_t<decltype(e)>>;
  { M::absorb(e, u) } -> std::convertible_to<std::remove_cvref_t<decltype(e)>>;
  { M::act(e, x) } -> std::convertible_to<typename M::template state<double>>;
};
/// Whether runs of steps have a form of their own.
template <class M>
concept mixer_with_runs = mixer_with_elements<M> && requires(const typename M::template run<double>& run,
                                                             const typename M::template state<double>& x,
                                                             const terms_t<M, double>& u) {
  { M::template no_steps<double>() } -> std::same_as<typename M::template run<double>>;
  { M::extend(run, u) } -> std::same_as<typename M::template run<double>>;
  { M::is_large(run) } -> std::convertible_to<bool>;
  { M::rescaled(run) } -> std::same_as<typename M::template run<double>>;
  { M::act(run, x) } -> std::convertible_to<typename M::template state<double>>;
};
template <class M>
concept mixer_with_adjoint_elements = mixer_with_elements<M> && requires {
  { M::template adjoint_monoid<double>() } -> monoid;
} && requires(const element_t<decltype(M::template adjoint_monoid<double>())>& e,
              const typename M::template state<double>& x, const terms_t<M, double>& u,
              const typename M::template outputs<double>& y) {
  { M::adjoint_lift(x, u, x, y) } -> std::convertible_to<std::remove_cvref_t<decltype(e)>>;
  { M::adjoint_act(e, x) } -> std::convertible_to<typename M::template state<double>>;
};

/// One lane of a mixer as a recurrence, for scan_states and for check_recurrence.
template <mixer_with_elements M, class T>
struct mixer_lane {
  using state_type = typename M::template state<T>;
  using input_type = typename M::template inputs<T>;
  using element = element_t<decltype(M::template monoid<T>())>;

  static constexpr auto monoid() { return M::template monoid<T>(); }
  static constexpr state_type step(const state_type& s, const input_type& u) { return M::step(s, prepare<M, T>(u)); }
  static constexpr element lift(const input_type& u) { return M::lift(prepare<M, T>(u)); }
  static constexpr state_type act(const element& x, const state_type& s) { return M::act(x, s); }
  static constexpr element absorb(const element& x, const input_type& u) { return M::absorb(x, prepare<M, T>(u)); }
};

/// The sizes of a call. With `offsets` the batch is 1 and the time axis holds N = offsets.size() - 1 sequences one
/// after another, sequence n at times offsets[n] <= t < offsets[n + 1]; states then are [N, M, S] in place of [B, M,
/// S].
struct mixer_shape {
  std::int64_t batch, time, channels, states;
  std::span<const std::int64_t> offsets = {};

  [[nodiscard]] std::int64_t sequences() const { return offsets.empty() ? batch : std::ssize(offsets) - 1; }
};

namespace detail {

template <class E>
struct arithmetic {
  using type = float;  // bfloat16, float16 and their like are storage
};
template <std::floating_point E>
struct arithmetic<E> {
  using type = E;
};

template <class Aggregate>
struct number_of;
template <template <class...> class Aggregate, class... Tensor>
struct number_of<Aggregate<Tensor...>> {
  using type = std::common_type_t<typename arithmetic<typename Tensor::value_type>::type...>;
};

}  // namespace detail

/// The number type in which a mixer computes: the widest among its inputs, float for storage types.
template <class Inputs>
using number_t = typename detail::number_of<std::remove_cvref_t<Inputs>>::type;

}  // namespace kalscan
