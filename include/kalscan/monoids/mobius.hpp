// SPDX-License-Identifier: MIT
// Möbius maps x -> (a x + b) / (c x + d) under composition.
#pragma once

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <kalscan/support/power_of_two.hpp>

namespace kalscan {

/// The map x -> (a x + b) / (c x + d), as the matrix [[a, b], [c, d]]. A common factor does not change the map;
/// operator== compares the matrices.
template <class T>
struct mobius_map {
  T a, b, c, d;

  /// The image of x, which may be infinite: then a / c.
  KALSCAN_HD constexpr T operator()(const T& x) const {
    if (detail::equal(x, detail::infinity<T>)) return a / c;
    return (a * x + b) / (c * x + d);
  }
  KALSCAN_HD friend constexpr bool operator==(const mobius_map& x, const mobius_map& y) {
    return detail::equal(x.a, y.a) && detail::equal(x.b, y.b) && detail::equal(x.c, y.c) && detail::equal(x.d, y.d);
  }
};

/// The same map with its matrix rescaled by a power of two where its largest entry has left [2^-k, 2^k], with k = 32
/// in float and 256 in double; else unchanged. Exact unless an entry underflows.
template <class T>
KALSCAN_HD constexpr mobius_map<T> rescaled(const mobius_map<T>& x) {
  const T s = detail::rescale_factor(detail::largest_magnitude(x.a, x.b, x.c, x.d));
  return {x.a * s, x.b * s, x.c * s, x.d * s};
}

/// Composition of Möbius maps, the matrix product later * earlier; `earlier` acts first. Associative as maps: up to
/// rounding and a power of two. The identity laws are exact for maps that `rescaled` leaves unchanged.
///
/// Range of validity: entries whose ratio to the largest one is below the range of T (about 1e-19 in float, since a
/// product squares the ratio) are lost, and with them maps that are close to singular: x -> x + 1e30 composed with
/// itself is no longer a map in float. Negative entries can cancel. Over long products the matrix tends to rank one.
template <class T>
struct mobius_monoid {
  KALSCAN_HD static constexpr mobius_map<T> identity() { return {T(1), T(0), T(0), T(1)}; }
  KALSCAN_HD constexpr mobius_map<T> operator()(const mobius_map<T>& earlier, const mobius_map<T>& later) const {
    return rescaled(mobius_map<T>{later.a * earlier.a + later.b * earlier.c, later.a * earlier.b + later.b * earlier.d,
                        later.c * earlier.a + later.d * earlier.c, later.c * earlier.b + later.d * earlier.d});
  }
};

}  // namespace kalscan
