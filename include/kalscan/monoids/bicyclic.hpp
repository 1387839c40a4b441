// SPDX-License-Identifier: MIT
// The bicyclic monoid: what remains of a string of brackets after matched pairs cancel.
#pragma once

#include <cstdint>

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// So many unmatched closing brackets, then so many unmatched opening ones. ")" is (1, 0) and "(" is (0, 1); a string
/// is balanced where its reduction is (0, 0) and no prefix has a closing count.
struct brackets {
  std::uint32_t closing, opening;
  friend bool operator==(const brackets&, const brackets&) = default;
};

/// Concatenation of reduced bracket strings; `earlier` comes first. Exact for fewer than 2^32 brackets; not
/// commutative.
struct bicyclic_monoid {
  KALSCAN_HD static constexpr brackets identity() { return {0, 0}; }
  KALSCAN_HD constexpr brackets operator()(const brackets& earlier, const brackets& later) const {
    const std::uint32_t matched = earlier.opening < later.closing ? earlier.opening : later.closing;
    return {earlier.closing + (later.closing - matched), later.opening + (earlier.opening - matched)};
  }
};

}  // namespace kalscan
