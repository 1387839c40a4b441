// SPDX-License-Identifier: MIT
// Which ranks have pieces of which sequence.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <kalscan/support/config.hpp>
#include <vector>

namespace kalscan::detail {

/// The sequences that ranks share, and how many pieces of each a rank has. Chains of a sequence are cut alike: chain j
/// of sequence q has number q * chains + j on all ranks. Ranks come in the order in which the state meets them.
struct shared_sequences {
  struct part {
    int rank;
    std::int64_t pieces;
  };
  int me = 0;
  std::int64_t chains = 0;                    // of each sequence
  std::vector<std::vector<part>> holders{};  // of each sequence: perhaps of no piece

  std::int64_t count() const { return std::ssize(holders) * chains; }
  const std::vector<part>& of(std::int64_t id) const { return holders[static_cast<std::size_t>(id / chains)]; }
  /// The first and the last of the holders that have pieces, or -1.
  static int first_owner(const std::vector<part>& parts) {
    const auto it = std::find_if(parts.begin(), parts.end(), [](const part& x) { return x.pieces > 0; });
    return it == parts.end() ? -1 : it->rank;
  }
  static int last_owner(const std::vector<part>& parts) {
    const auto it = std::find_if(parts.rbegin(), parts.rend(), [](const part& x) { return x.pieces > 0; });
    return it == parts.rend() ? -1 : it->rank;
  }
  /// Whether no piece is on a rank that the state meets after this one.
  static bool is_behind(const std::vector<part>& parts, int rank) {
    const auto here = std::find_if(parts.begin(), parts.end(), [&](const part& x) { return x.rank == rank; });
    return std::all_of(here + 1, parts.end(), [](const part& x) { return x.pieces == 0; });
  }
  /// Whether the state at the beginning comes from a rank that has no piece.
  static bool starts_elsewhere(const std::vector<part>& parts) { return parts.front().rank != first_owner(parts); }
};

}  // namespace kalscan::detail
