// SPDX-License-Identifier: MIT
// How a chunk of a traversal is replayed into arrays, and how its failures get into the status of a series.
#pragma once

#include <atomic>
#include <cstdint>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/small/diffuse.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/support/config.hpp>
#include <span>
#include <type_traits>

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

/// Writes the covariance of a belief, as write_row does.
template <class Belief, class T>
KALSCAN_HD void write_covariance(const std::span<T>& to, std::int64_t at, const Belief& x) {
  if (!to.empty()) write_row(to, at, covariance_of(x));
}
/// Whether there is an array for roots, and a row has one.
template <class Out, class Row>
inline constexpr bool writes_root = is_root<Row> && requires(const Out& out) { out.covariance_root; };
template <class Traversal>
inline constexpr bool traversal_writes_root = writes_root<decltype(Traversal::out), typename Traversal::row>;

/// Takes a chunk's steps, and writes each of its rows as it comes. Returns the chunk's sum.
template <class Replay, class Out>
KALSCAN_HD auto replay_steps_into(Replay& replay, const Out& out) {
  for (std::int64_t j = 0; j < replay.steps(); ++j) {
    const auto& row = replay.step(j);
    const std::int64_t at = replay.first_row() + replay.direction * j;
    write_row(out.mean, at, row.mean);
    write_covariance(out.covariance, at, row);
    if constexpr (writes_root<Out, std::remove_cvref_t<decltype(row)>>) write_row(out.covariance_root, at, row.root);
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
