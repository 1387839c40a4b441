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

/// The sequences that ranks share, and how many pieces of each a rank has. All chains of a sequence are cut at the same
/// steps; chain j of sequence q has number q * chains + j on all ranks. The holders of a sequence are listed in the order
/// in which the state meets them; a holder may have no piece, an owner is one that has.
struct shared_sequences {
  struct holder {
    int rank;
    std::int64_t pieces;
  };
  int me = 0;
  std::int64_t chains = 0;                    // of each sequence
  std::vector<std::vector<holder>> holders{};  // of each sequence

  std::int64_t count() const { return std::ssize(holders) * chains; }
  const std::vector<holder>& of(std::int64_t id) const { return holders[static_cast<std::size_t>(id / chains)]; }
  /// The first and the last owner, or -1.
  static int first_owner(const std::vector<holder>& ranks) {
    const auto it = std::find_if(ranks.begin(), ranks.end(), [](const holder& x) { return x.pieces > 0; });
    return it == ranks.end() ? -1 : it->rank;
  }
  static int last_owner(const std::vector<holder>& ranks) {
    const auto it = std::find_if(ranks.rbegin(), ranks.rend(), [](const holder& x) { return x.pieces > 0; });
    return it == ranks.rend() ? -1 : it->rank;
  }
  /// Whether no piece is on a rank that the state meets after this one.
  static bool is_behind(const std::vector<holder>& ranks, int rank) {
    const auto here = std::find_if(ranks.begin(), ranks.end(), [&](const holder& x) { return x.rank == rank; });
    return std::all_of(here + 1, ranks.end(), [](const holder& x) { return x.pieces == 0; });
  }
  /// Whether the state at the beginning comes from a rank that has no piece.
  static bool starts_elsewhere(const std::vector<holder>& ranks) { return ranks.front().rank != first_owner(ranks); }
};

}  // namespace kalscan::detail
