// SPDX-License-Identifier: MIT
// Calls that the verbs of <kalscan/scan.hpp> refuse, with what to do instead. An overload here is viable only where no
// verb is.
#pragma once

#include <iterator>
#include <limits>
#include <type_traits>

#include <kalscan/backend/contract.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/scan/rows.hpp>

namespace kalscan {
namespace detail {

template <class X>
concept operator_of_ours = monoid<X> || recurrence<X>;
template <class X>
concept iterator = std::input_or_output_iterator<std::remove_cvref_t<X>>;

/// Whether numbers keep their value, perhaps rounded, from one type to the other. Of other types that is not asked.
template <class From, class To>
constexpr bool keeps_value() {
  if constexpr (!std::is_arithmetic_v<From> || !std::is_arithmetic_v<To> || std::is_floating_point_v<To>) {
    return true;
  } else if constexpr (std::is_floating_point_v<From>) {
    return false;
  } else {
    return std::numeric_limits<From>::digits <= std::numeric_limits<To>::digits &&
           (std::is_unsigned_v<From> || std::is_signed_v<To>);
  }
}
template <class In, class Element>
constexpr void require_range_to_read() {
  static_assert(keeps_value<value_of_range<In>, Element>(),
                "kalscan: numbers of the range that is read would lose digits as elements of this operator: use an "
                "operator over the range's own number type");
}
template <class Out, class Element>
constexpr void require_range_to_write() {
  static_assert(keeps_value<Element, value_of_range<Out>>(),
                "kalscan: results would lose digits in the range that is written: give it a range of the element's "
                "type");
}

/// The call (P, X, In, ...), in which X should be a monoid or, of scan_states, a recurrence.
template <class P, class X, class In, bool Wanted>
concept misuse =
    (policy<P> && (!Wanted || iterator<In>)) || (!policy<P> && (operator_of_ours<P> || operator_of_ours<X>));

template <class P, class In>
constexpr void explain_policy_and_range() {
  explain_policy<P>();
  static_assert(!policy<P> || !iterator<In>,
                "kalscan: a verb takes ranges, not iterators: pass std::span(pointer, n) or std::span(first, last)");
}
template <class P, class X, class In>
constexpr void explain_scan() {
  explain_policy_and_range<P, In>();
  static_assert(!policy<P> || monoid<X>,
                "kalscan: the second argument is no monoid: give it a const operator()(earlier, later) and a const "
                "identity(), both of one copyable type");
}
template <class P, class X, class In>
constexpr void explain_scan_states() {
  explain_policy_and_range<P, In>();
  static_assert(!policy<P> || recurrence<X>,
                "kalscan: the second argument is no recurrence: give it state_type, input_type, step, monoid, lift and "
                "act, as <kalscan/recurrence.hpp> says");
}

}  // namespace detail

template <class P, class X, class In, class... Rest>
  requires detail::misuse<P, X, In, monoid<X>>
void reduce(const P&, const X&, In&&, Rest&&...) {
  detail::explain_scan<P, X, In>();
}
template <class P, class X, class In, class... Rest>
  requires detail::misuse<P, X, In, monoid<X>>
void inclusive_scan(const P&, const X&, In&&, Rest&&...) {
  detail::explain_scan<P, X, In>();
}
template <class P, class X, class In, class... Rest>
  requires detail::misuse<P, X, In, monoid<X>>
void exclusive_scan(const P&, const X&, In&&, Rest&&...) {
  detail::explain_scan<P, X, In>();
}
template <class P, class X, class In, class... Rest>
  requires detail::misuse<P, X, In, monoid<X>>
void inclusive_suffix_scan(const P&, const X&, In&&, Rest&&...) {
  detail::explain_scan<P, X, In>();
}
template <class P, class X, class In, class... Rest>
  requires detail::misuse<P, X, In, monoid<X>>
void exclusive_suffix_scan(const P&, const X&, In&&, Rest&&...) {
  detail::explain_scan<P, X, In>();
}
template <class P, class X, class In, class... Rest>
  requires detail::misuse<P, X, In, recurrence<X>>
void scan_states(const P&, const X&, In&&, Rest&&...) {
  detail::explain_scan_states<P, X, In>();
}

}  // namespace kalscan
