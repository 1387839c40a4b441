// SPDX-License-Identifier: MIT
// The monoid concept: an associative operation with an identity.
#pragma once

#include <concepts>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan {

/// The element type of a monoid: what its identity() returns.
template <class M>
using element_t = std::remove_cvref_t<decltype(std::declval<const M&>().identity())>;

/// A function object `m(earlier, later)` with `m.identity()`.
///
/// `earlier` acts first. The operation must be associative (up to rounding, for floating-point elements) and is never
/// assumed commutative. Both calls must be const and free of side effects: back ends call them from several threads
/// at once. Such an object works as it is in std::inclusive_scan, Thrust and CUB. Check the laws with <kalscan/laws.hpp>.
template <class M>
concept monoid = std::copy_constructible<M> && requires(const M& m) { m.identity(); } &&
                 std::copyable<element_t<M>> && requires(const M& m, const element_t<M>& x) {
                   { m(x, x) } -> std::convertible_to<element_t<M>>;
                 };

}  // namespace kalscan
