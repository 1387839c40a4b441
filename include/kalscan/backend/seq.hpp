// SPDX-License-Identifier: MIT
// The sequential back end: one lane after the other, one step after the other. The reference for all others.
#pragma once

#include <cstdint>

#include <kalscan/backend/contract.hpp>

namespace kalscan {

/// Runs on the calling thread, in order. A scan allocates nothing.
struct seq {};

template <>
inline constexpr bool is_policy<seq> = true;

template <sweep S>
void run_sweep(const seq&, const S& s) {
  for (std::int64_t i = 0; i < s.lanes(); ++i) {
    auto lane = s.lane(i);
    auto state = lane.start();
    for (std::int64_t t = 0; t < s.length(); ++t) lane.replay(t, state);
    lane.finish(state);
  }
}

}  // namespace kalscan
