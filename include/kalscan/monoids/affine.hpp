// SPDX-License-Identifier: MIT
// Affine maps x -> gain x + offset under composition: the smallest non-commutative monoid.
#pragma once

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// The map x -> gain x + offset.
template <class T>
struct affine_map {
  T gain, offset;
  KALSCAN_HD friend constexpr bool operator==(const affine_map& x, const affine_map& y) {
    return detail::equal(x.gain, y.gain) && detail::equal(x.offset, y.offset);
  }
};

/// Composition of affine maps; `earlier` acts first. Associative up to rounding.
template <class T>
struct affine_monoid {
  KALSCAN_HD static constexpr affine_map<T> identity() { return {T(1), T(0)}; }
  KALSCAN_HD constexpr affine_map<T> operator()(const affine_map<T>& earlier, const affine_map<T>& later) const {
    return {later.gain * earlier.gain, later.gain * earlier.offset + later.offset};
  }
};

}  // namespace kalscan
