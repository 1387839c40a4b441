// SPDX-License-Identifier: MIT
// Mixers whose channels are seen from a frame that their inputs turn: the lanes then compute less.
#pragma once

#include <concepts>
#include <kalscan/mixer/mixer.hpp>
#include <type_traits>

namespace kalscan {

/// The frame of a mixer in which the steps of a channel are simpler than they are given: turned, shifted or scaled by
/// what its channel's inputs say, the same for all of its states. A device then turns the inputs of a channel and the
/// sums over its states instead of every lane. A frame starts as the identity every four steps, so that no error grows
/// in it. M::frame has static templates over the number type T and
///
///     lanes                             the mixer as seen from the frame: inputs_info, outputs, state and elements are
///                                       M's, terms are its own
///     value<T>, step<T>                 a frame, and what it and the adjoint take of a step's inputs: aggregates of T
///     of_inputs(inputs)                 a step, from the inputs of channels (all others are 0)
///     identity<T>(), after(step)        the frame before the first step, and after it
///     after(frame, step)                the frame after one more step
///     compose(earlier, later)           frames one after the other
///     into(frame, x)                    inputs of a channel, adjoints of outputs, states and their adjoints, and
///                                       elements of the adjoint, as seen from the frame
///     out_of(frame, x)                  outputs, states and elements seen from the frame, as seen from outside
///     element(total, x)                 the element of M, or of its adjoint, from that of the lanes and the product of
///                                       all its frames
///     adjoint(frame, step, bar)         the adjoints of a step's inputs from those that the lanes' steps handed back,
///                                       summed over the states
template <class M>
concept mixer_with_frame = mixer_with_adjoint_elements<M> && mixer<typename M::frame::lanes> && requires(
    const typename M::frame::template value<double>& f, const typename M::frame::template step<double>& step,
    const typename M::template inputs<double>& u, const typename M::template state<double>& x,
    const typename M::template outputs<double>& y) {
  { M::frame::template identity<double>() } -> std::same_as<std::remove_cvref_t<decltype(f)>>;
  { M::frame::of_inputs(u) } -> std::same_as<std::remove_cvref_t<decltype(step)>>;
  { M::frame::after(step) } -> std::same_as<std::remove_cvref_t<decltype(f)>>;
  { M::frame::after(f, step) } -> std::same_as<std::remove_cvref_t<decltype(f)>>;
  { M::frame::compose(f, f) } -> std::same_as<std::remove_cvref_t<decltype(f)>>;
  { M::frame::into(f, u) } -> std::same_as<std::remove_cvref_t<decltype(u)>>;
  { M::frame::out_of(f, x) } -> std::same_as<std::remove_cvref_t<decltype(x)>>;
  { M::frame::out_of(f, y) } -> std::same_as<std::remove_cvref_t<decltype(y)>>;
  { M::frame::adjoint(f, step, u) } -> std::same_as<std::remove_cvref_t<decltype(u)>>;
};

namespace detail {

/// The mixer of the lanes of M: as seen from its frame, or M itself.
template <class M>
struct lanes_of_mixer {
  static_assert(!requires { typename M::frame; }, "kalscan: the mixer's frame lacks what mixer_with_frame asks for");
  using type = M;
};
template <mixer_with_frame M>
struct lanes_of_mixer<M> {
  using type = typename M::frame::lanes;
};
template <class M>
using lane_mixer = typename lanes_of_mixer<M>::type;

/// A frame starts again after so many steps.
inline constexpr int steps_of_frame = 4;

/// The numbers of a frame and of a step, none where M has no frame.
template <class M, class T>
inline constexpr int frame_numbers = 0;
template <class M, class T>
inline constexpr int frame_step_numbers = 0;
template <mixer_with_frame M, class T>
inline constexpr int frame_numbers<M, T> = static_cast<int>(array_size<typename M::frame::template value<T>, T>);
template <mixer_with_frame M, class T>
inline constexpr int frame_step_numbers<M, T> = static_cast<int>(array_size<typename M::frame::template step<T>, T>);

}  // namespace detail
}  // namespace kalscan
