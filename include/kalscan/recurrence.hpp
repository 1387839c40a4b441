// SPDX-License-Identifier: MIT
// The recurrence concept: a state that takes one input after another, and the monoid that summarizes many inputs.
#pragma once

#include <concepts>
#include <utility>

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// The monoid in which a recurrence summarizes stretches of time.
template <class R>
using monoid_t = std::remove_cvref_t<decltype(std::declval<const R&>().monoid())>;

/// A model that can run in sequence and in parallel over time:
///
///     state_type, input_type     what it carries, what it takes at each step
///     step(state, input)         the next state: the cheapest sequential step
///     monoid()                   the monoid of its elements
///     lift(input)                that step as an element
///     act(element, state)        the state after the stretch of time that the element summarizes
///     absorb(element, input)     optional: equals monoid()(element, lift(input)), at less cost
///     absorb_cost                optional: that cost over the cost of a step, a static constexpr double; else 1 is assumed
///
/// An element may leave the range of its numbers where no state does: a product of gains above one. Where `act` then
/// gives NaN (or infinity, for a state that is one number), omp takes the steps of that stretch instead; a state with
/// several numbers needs an operator== that NaN fails, as the default one does.
///
/// All calls are const and free of side effects. <kalscan/laws.hpp> checks that they agree.
template <class R>
concept recurrence = std::copy_constructible<R> && std::copyable<typename R::state_type> &&
                     std::copyable<typename R::input_type> && requires(const R& r) {
                       { r.monoid() } -> monoid;
                     } && requires(const R& r, const typename R::state_type& state, const typename R::input_type& input,
                                   const element_t<monoid_t<R>>& element) {
                       { r.step(state, input) } -> std::convertible_to<typename R::state_type>;
                       { r.lift(input) } -> std::convertible_to<element_t<monoid_t<R>>>;
                       { r.act(element, state) } -> std::convertible_to<typename R::state_type>;
                     };

/// The element that first does what `element` does and then takes `input`: the recurrence's own absorb where it has
/// one, else a combine with the lifted input.
template <recurrence R>
[[nodiscard]] KALSCAN_HD constexpr element_t<monoid_t<R>> absorb(const R& r, const element_t<monoid_t<R>>& element,
                                                   const typename R::input_type& input) {
  if constexpr (requires { r.absorb(element, input); }) {
    return r.absorb(element, input);
  } else {
    return r.monoid()(element, r.lift(input));
  }
}

/// The recurrence of a plain scan: the state is an element, and a step combines it with the next one.
template <kalscan::monoid M>
struct running {
  using state_type = element_t<M>;
  using input_type = element_t<M>;

  M combine;

  KALSCAN_HD constexpr M monoid() const { return combine; }
  KALSCAN_HD constexpr state_type step(const state_type& state, const input_type& input) const {
    return combine(state, input);
  }
  KALSCAN_HD constexpr input_type lift(const input_type& input) const { return input; }
  KALSCAN_HD constexpr state_type act(const input_type& element, const state_type& state) const {
    return combine(state, element);
  }
};

}  // namespace kalscan
