// SPDX-License-Identifier: MIT
// The memory of the passes over chunks of time, and their launches.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/kalman/device/chunk_kernels.cuh>
#include <kalscan/kalman/device/chunks.hpp>
#include <kalscan/support/bad_argument.hpp>

namespace kalscan::detail {

template <class Traversal>
series_chunk_memory<Traversal> take_chunk_memory(workspace_pieces& pieces, std::int64_t chunk, std::int64_t longest,
                                          std::int64_t count) {
  constexpr std::int64_t threads = chunk_threads_of<Traversal>;
  const std::int64_t chunks = (longest + chunk - 1) / chunk;
  series_chunk_memory<Traversal> memory{};
  memory.blocks = (chunks + threads - 1) / threads;
  const std::int64_t blocks = chunks > 1 ? memory.blocks * count : 0;
  memory.before = pieces.take<unsigned>(blocks * threads * words_of<typename Traversal::element>);
  memory.totals = pieces.take<typename Traversal::element>(blocks);
  memory.carries = pieces.take<typename Traversal::state>(blocks);
  memory.sums = pieces.take<typename Traversal::sum>(blocks);
  return memory;
}

template <class Traversal>
std::size_t traversal_workspace(const cuda& policy, std::int64_t longest, std::int64_t count) {
  workspace_pieces pieces({});
  const std::int64_t chunk = chunk_of_time<Traversal>(policy.chunk, longest, count);
  take_chunk_memory<Traversal>(pieces, chunk, longest, count);
  return pieces.used();
}

inline unsigned checked_blocks(const char* verb, std::int64_t blocks) {
  if (blocks > most_blocks) bad_argument(verb, text({blocks, " blocks are more than a launch can take"}));
  return static_cast<unsigned>(blocks);
}

/// Runs a traversal over whole series.
template <class Traversal>
void run_series(const char* verb, const cuda& policy, const Traversal& x) {
  if (x.series.count == 0) return;
  constexpr std::size_t shared = stage_bytes<Traversal>(64);
  allow_shared_memory(verb, &replay_series<Traversal>, shared);
  replay_series<<<checked_blocks(verb, (x.series.count + 63) / 64), 64, shared, policy.stream>>>(x);
  check_launch("replay_series");
}

/// Runs a traversal whose chunk is that of chunk_of_time.
template <class Traversal>
void run_traversal(const char* verb, const cuda& policy, const Traversal& x) {
  const std::int64_t count = x.series.count, longest = x.series.longest;
  if (longest <= x.chunk || count == 0) return run_series(verb, policy, x);
  constexpr int threads = chunk_threads_of<Traversal>;
  constexpr std::size_t shared = chunk_shared_bytes<Traversal>, carry_shared = carry_shared_bytes<Traversal>,
                        stages = stage_bytes<Traversal>(threads);
  allow_shared_memory(verb, &absorb_chunks<Traversal>, shared);
  allow_shared_memory(verb, &carry_chunks<Traversal>, carry_shared);
  allow_shared_memory(verb, &replay_chunks<Traversal>, stages);
  require_workspace(verb, policy, traversal_workspace<Traversal>(policy, longest, count));
  workspace_pieces pieces(policy.workspace);
  const auto memory = take_chunk_memory<Traversal>(pieces, x.chunk, longest, count);
  const unsigned all = checked_blocks(verb, memory.blocks * count), each = checked_blocks(verb, count);
  absorb_chunks<<<all, threads, shared, policy.stream>>>(x, memory);
  check_launch("absorb_chunks");
  carry_chunks<<<each, carry_threads<Traversal>, carry_shared, policy.stream>>>(x, memory);
  check_launch("carry_chunks");
  replay_chunks<<<all, threads, stages, policy.stream>>>(x, memory);
  check_launch("replay_chunks");
  if (!x.has_sum()) return;
  add_sums<<<each, 128, 0, policy.stream>>>(x, memory);
  check_launch("add_sums");
}

}  // namespace kalscan::detail
