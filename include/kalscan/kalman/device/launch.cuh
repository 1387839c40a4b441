// SPDX-License-Identifier: MIT
// The memory of the passes over chunks of time, and their launches.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/kalman/device/chunk_kernels.cuh>
#include <kalscan/kalman/device/chunks.hpp>
#include <kalscan/kalman/device/diffuse_kernels.cuh>
#include <kalscan/kalman/device/diffuse_smoother.hpp>
#include <kalscan/support/bad_argument.hpp>

namespace kalscan::detail {

template <class Traversal>
series_chunk_memory<Traversal> take_chunk_memory(workspace_arena& arena, std::int64_t chunk, std::int64_t longest,
                                                 std::int64_t count) {
  constexpr std::int64_t threads = chunk_threads_of<Traversal>;
  const std::int64_t chunks = longest > chunk ? most_chunks<Traversal>(chunk, longest) : 1;
  series_chunk_memory<Traversal> memory{};
  memory.blocks = (chunks + threads - 1) / threads;
  const std::int64_t blocks = chunks > 1 ? memory.blocks * count : 0;
  memory.before = arena.take<unsigned>(blocks * threads * words_of<typename Traversal::element>);
  memory.totals = arena.take<typename Traversal::element>(blocks);
  memory.carries = arena.take<typename Traversal::state>(blocks);
  memory.sums = arena.take<typename Traversal::sum>(blocks);
  return memory;
}

template <class Traversal>
std::size_t traversal_workspace(const cuda& policy, std::int64_t longest, std::int64_t count) {
  workspace_arena arena({});
  const std::int64_t chunk = chunk_of_time<Traversal>(policy.chunk, longest, count);
  take_chunk_memory<Traversal>(arena, chunk, longest, count);
  return arena.used();
}

inline unsigned checked_blocks(const char* verb, std::int64_t blocks) {
  if (blocks > most_blocks) bad_argument(verb, text({blocks, " blocks are more than a launch can take"}));
  return static_cast<unsigned>(blocks);
}

/// Whether each series is taken by a thread.
template <class Traversal>
bool takes_whole_series(const Traversal& x) {
  return x.series.longest <= x.chunk || x.series.count == 0;
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

/// Runs a traversal over chunks, in memory that was taken for them.
template <class Traversal>
void run_chunks(const char* verb, const cuda& policy, const Traversal& x,
                const series_chunk_memory<Traversal>& memory) {
  const std::int64_t count = x.series.count;
  constexpr int threads = chunk_threads_of<Traversal>;
  constexpr std::size_t shared = chunk_shared_bytes<Traversal>, carry_shared = carry_shared_bytes<Traversal>,
                        stages = stage_bytes<Traversal>(threads);
  allow_shared_memory(verb, &absorb_chunks<Traversal>, shared);
  allow_shared_memory(verb, &carry_chunks<Traversal>, carry_shared);
  allow_shared_memory(verb, &replay_chunks<Traversal>, stages);
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

/// Runs a traversal whose chunk is that of chunk_of_time.
template <class Traversal>
void run_traversal(const char* verb, const cuda& policy, const Traversal& x) {
  if (takes_whole_series(x)) return run_series(verb, policy, x);
  const std::int64_t count = x.series.count, longest = x.series.longest;
  require_workspace(verb, policy, traversal_workspace<Traversal>(policy, longest, count));
  workspace_arena arena(policy.workspace);
  run_chunks(verb, policy, x, take_chunk_memory<Traversal>(arena, x.chunk, longest, count));
}

/// The memory of a smoother under a diffuse prior.
template <class Model>
struct diffuse_smoother_memory {
  using known = information_smoother<Model>;
  series_chunk_memory<known> chunks;
  std::int64_t most_chunks;  // of a series
  unknown_steps<typename known::T, known::n>* unknown;
  typename equations_smoother<Model>::state* later;  // at the last of the unknown steps

  diffuse_smoother_memory(workspace_arena& arena, std::int64_t chunk, std::int64_t longest, std::int64_t count)
      : chunks(take_chunk_memory<known>(arena, chunk, longest, count)),
        most_chunks((longest + chunk - 1) / chunk),
        unknown(arena.take<unknown_steps<typename known::T, known::n>>(most_chunks * count)),
        later(arena.take<typename equations_smoother<Model>::state>(most_chunks * count)) {}
  static std::size_t size(const cuda& policy, std::int64_t longest, std::int64_t count) {
    workspace_arena none({});
    diffuse_smoother_memory(none, chunk_of_time<known>(policy.chunk, longest, count), longest, count);
    return none.used();
  }
};

/// Runs the smoother of a diffuse prior, whose chunk is that of chunk_of_time.
template <class Model>
void run_diffuse_smoother(const char* verb, const cuda& policy, information_smoother<Model> x) {
  const std::int64_t count = x.series.count, longest = x.series.longest;
  if (count == 0) return;
  require_workspace(verb, policy, diffuse_smoother_memory<Model>::size(policy, longest, count));
  workspace_arena arena(policy.workspace);
  const diffuse_smoother_memory<Model> memory(arena, x.chunk, longest, count);
  x.unknown = memory.unknown;
  x.most_chunks = memory.most_chunks;
  if (takes_whole_series(x)) {
    run_series(verb, policy, x);
  } else {
    run_chunks(verb, policy, x, memory.chunks);
  }
  if (longest == 0) return;
  const unsigned grid = checked_blocks(verb, (memory.most_chunks * count + 63) / 64);
  const equations_smoother<Model> rest(x);
  begin_unknown<<<grid, 64, 0, policy.stream>>>(rest, x, memory.chunks, memory.later);
  check_launch("begin_unknown");
  replay_unknown<<<grid, 64, 0, policy.stream>>>(rest, x, memory.later);
  check_launch("replay_unknown");
}

}  // namespace kalscan::detail
