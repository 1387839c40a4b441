// SPDX-License-Identifier: MIT
// Which kernels run a verb, and the memory they need.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/chunks.cuh>
#include <kalscan/cuda/scan/contiguous.cuh>
#include <kalscan/cuda/scan/strided.cuh>

namespace kalscan::detail {

enum class route { along, along_short, across, chunks };
struct routing {
  route kind;
  std::int64_t chunk = 0;
};

/// Rows fewer than this are cut in time, to have threads enough; this and the two below are about bytes in flight.
inline constexpr std::int64_t many_rows = 2048;
/// Rows shorter than this are not worth a warp.
inline constexpr std::int64_t short_row = 64;

/// Chunks for rows that are few and not contiguous: about 2^17 threads, at most 4096 chunks a row, since their carries
/// are taken in sequence.
inline std::int64_t default_chunk(std::int64_t rows, std::int64_t length) {
  const std::int64_t chunks = std::clamp<std::int64_t>((1 << 17) / std::max<std::int64_t>(rows, 1), 1, 4096);
  return (std::max)(short_row, (length + chunks - 1) / chunks);
}

/// `contiguous` says that time strides are 1 (or all -1).
template <class Job>
routing choose_route(const cuda& policy, std::int64_t rows, std::int64_t length, bool contiguous) {
  if (policy.chunk > 0) return {route::chunks, policy.chunk};
  if (length == 0 || (length < short_row && !(contiguous && rows == 1))) return {route::chunks, short_row};  // whole rows, a thread each
  if (contiguous) return {length <= along_tile<Job, 32>::size ? route::along_short : route::along};
  if (rows >= many_rows) return {route::across};
  return {route::chunks, default_chunk(rows, length)};
}

template <class Job>
std::size_t route_workspace(const routing& by, std::int64_t rows, std::int64_t length) {
  switch (by.kind) {
    case route::along: return along_workspace<Job, long_tile_threads<Job>>(rows, length);
    case route::chunks: return chunks_workspace<Job>(rows, length, by.chunk);
    default: return 0;
  }
}

template <class Job>
void run_on_device(const char* verb, const cuda& policy, const Job& job) {
  if (job.count == 0) return;
  const auto unit = [&](std::int64_t stride) { return stride == job.in.time_stride; };
  const bool contiguous = std::abs(job.in.time_stride) == 1 && (!Job::has_outputs || unit(job.out.time_stride));
  const routing by = choose_route<Job>(policy, job.count, job.length, contiguous);
  require_workspace(verb, policy, route_workspace<Job>(by, job.count, job.length));
  switch (by.kind) {
    case route::along: return launch_along<Job, long_tile_threads<Job>>(verb, policy, job);
    case route::along_short: return launch_along<Job, 32>(verb, policy, job);
    case route::across: return launch_across(verb, policy, job);
    case route::chunks: return launch_chunks(verb, policy, job, by.chunk);
  }
}

}  // namespace kalscan::detail
