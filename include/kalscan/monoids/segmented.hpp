// SPDX-License-Identifier: MIT
// Scans that start anew at flagged elements, over any monoid.
#pragma once

#include <concepts>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// An element with the mark that a segment starts in it: whatever is earlier is then forgotten.
template <class E>
struct flagged {
  E value;
  bool starts;
  KALSCAN_HD friend constexpr bool operator==(const flagged& x, const flagged& y)
    requires std::equality_comparable<E>
  {
    return detail::equal(x.value, y.value) && detail::equal(x.starts, y.starts);
  }
};

/// M within segments (Blelloch 1990, "Prefix sums and their applications", section 1.5). As exact as M. Its inclusive
/// scan holds at each element M over the elements since the last one that starts a segment, that one included.
template <monoid M>
struct segmented {
  M inner;

  KALSCAN_HD constexpr flagged<element_t<M>> identity() const { return {inner.identity(), false}; }
  KALSCAN_HD constexpr flagged<element_t<M>> operator()(const flagged<element_t<M>>& earlier,
                                                        const flagged<element_t<M>>& later) const {
    if (later.starts) return later;
    return {inner(earlier.value, later.value), earlier.starts};
  }
};
template <class M>
segmented(M) -> segmented<M>;

}  // namespace kalscan
