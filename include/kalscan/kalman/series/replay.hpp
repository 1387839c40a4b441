// SPDX-License-Identifier: MIT
// How a chunk of a traversal is replayed into arrays, and where it leaves what failed.
#pragma once

#include <atomic>
#include <cstdint>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <span>

namespace kalscan::detail {

/// Leaves the earliest failure of a series in its status, whatever the order in which chunks find theirs.
KALSCAN_HD inline void report(std::span<filter_status> status, std::int64_t series, std::int64_t step,
                              step_failure reason) {
  if (status.empty() || reason == step_failure::none) return;
  const std::uint64_t code = filter_status::code_of(step, reason);
  filter_status& x = status.data()[series];
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  atomicMin(reinterpret_cast<unsigned long long*>(&x.code), static_cast<unsigned long long>(code));
#else
  std::atomic_ref<std::uint64_t> earliest(x.code);
  std::uint64_t known = earliest.load();
  while (code < known && !earliest.compare_exchange_weak(known, code)) {
  }
#endif
}

/// Takes a chunk's steps, and writes each of its rows as it comes. Returns the chunk's sum.
template <class Replay, class Out>
KALSCAN_HD auto replay_steps_into(Replay& replay, const Out& out) {
  for (std::int64_t j = 0; j < replay.steps(); ++j) {
    const auto& row = replay.step(j);
    const std::int64_t at = replay.first_row() + replay.direction * j;
    write_row(out.mean, at, row.mean);
    write_row(out.covariance, at, row.covariance);
  }
  return replay.finish();
}
template <class Traversal>
KALSCAN_HD typename Traversal::sum replay_chunk(const Traversal& x, std::int64_t series, std::int64_t k,
                                                const typename Traversal::state& before) {
  typename Traversal::replay_type replay(x, series, k, before);
  return replay_steps_into(replay, x.out);
}

}  // namespace kalscan::detail
