// SPDX-License-Identifier: MIT
// The opposite of a monoid: the same operation with its operands swapped.
#pragma once

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

namespace detail {

/// Which elements a scan combines: those up to each element, or those from it on, from the last one to the first.
enum class scan_kind { prefix, suffix };

}  // namespace detail

/// M read backwards: reversed(earlier, later) == M(later, earlier). As exact as M. A suffix scan with M is a prefix
/// scan with reversed<M> over the reversed sequence.
template <monoid M>
struct reversed {
  M inner;

  KALSCAN_HD constexpr element_t<M> identity() const { return inner.identity(); }
  KALSCAN_HD constexpr element_t<M> operator()(const element_t<M>& earlier, const element_t<M>& later) const {
    return inner(later, earlier);
  }
};
template <class M>
reversed(M) -> reversed<M>;

}  // namespace kalscan
