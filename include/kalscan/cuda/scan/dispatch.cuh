// SPDX-License-Identifier: MIT
// Which kernels run a verb, and the memory they need.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/chunks.cuh>
#include <kalscan/cuda/scan/contiguous.cuh>
#include <kalscan/cuda/scan/strided.cuh>
#include <string>

namespace kalscan::detail {

enum class scan_algorithm { contiguous, contiguous_short, strided, chunks };
struct chosen_algorithm {
  scan_algorithm kind;
  std::int64_t chunk = 0;
};

/// Fewer rows than this are cut in time, so that there are threads enough to keep the memory busy.
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
template <class Call>
chosen_algorithm choose_algorithm(const cuda& policy, std::int64_t rows, std::int64_t length, bool contiguous) {
  if (policy.chunk > 0) return {scan_algorithm::chunks, policy.chunk};
  if (length == 0 || (length < short_row && !(contiguous && rows == 1)))
    return {scan_algorithm::chunks, short_row};  // whole rows, a thread each
  if (contiguous) {
    const bool one_tile = length <= contiguous_tile<Call, 32>::size;
    return {one_tile ? scan_algorithm::contiguous_short : scan_algorithm::contiguous};
  }
  if (rows >= many_rows) return {scan_algorithm::strided};
  return {scan_algorithm::chunks, default_chunk(rows, length)};
}

template <class Call>
std::size_t algorithm_workspace(const chosen_algorithm& by, std::int64_t rows, std::int64_t length) {
  switch (by.kind) {
    case scan_algorithm::contiguous: return contiguous_workspace<Call, long_tile_threads<Call>>(rows, length);
    case scan_algorithm::chunks: return chunks_workspace<Call>(rows, length, by.chunk);
    default: return 0;
  }
}

/// Policies that run the verbs of <kalscan/cuda/device.cuh>, each by an overload of run_on_device.
template <class P>
inline constexpr bool scans_on_device = std::derived_from<P, cuda>;
template <class P>
concept device_scan_policy = scans_on_device<P>;

/// Runs a call on one device. Rows of a call that goes back in time are mirrored already.
template <class Call>
void run_on_device(const char* verb, const cuda& policy, const Call& call, bool /*goes_back*/ = false) {
  require_chunk(verb, policy);
  if (call.count == 0) return;
  const auto unit = [&](std::int64_t stride) { return stride == call.in.time_stride; };
  const bool contiguous = std::abs(call.in.time_stride) == 1 && (!Call::has_outputs || unit(call.out.time_stride));
  const chosen_algorithm by = choose_algorithm<Call>(policy, call.count, call.length, contiguous);
  require_workspace(verb, policy, algorithm_workspace<Call>(by, call.count, call.length));
  switch (by.kind) {
    case scan_algorithm::contiguous: return launch_contiguous<Call, long_tile_threads<Call>>(verb, policy, call);
    case scan_algorithm::contiguous_short: return launch_contiguous<Call, 32>(verb, policy, call);
    case scan_algorithm::strided: return launch_strided(verb, policy, call);
    case scan_algorithm::chunks: return launch_chunks(verb, policy, call, by.chunk);
  }
}

}  // namespace kalscan::detail
