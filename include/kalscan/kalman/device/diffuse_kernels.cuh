// SPDX-License-Identifier: MIT
// The smoother of a diffuse prior, after its information_smoother: a thread for each chunk, few of which have any work.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstdint>
#include <kalscan/kalman/device/chunk_kernels.cuh>
#include <kalscan/kalman/device/chunks.hpp>
#include <kalscan/kalman/device/diffuse_smoother.hpp>
#include <kalscan/kalman/series/replay.hpp>

namespace kalscan::detail {

/// The equations with which the unknown steps of chunks begin. All are here before any of these steps is taken: it may
/// write its results where another chunk still looks for filtered means.
template <class Model>
__global__ void __launch_bounds__(64)
    begin_unknown(const __grid_constant__ equations_smoother<Model> x,
                  const __grid_constant__ information_smoother<Model> known,
                  const __grid_constant__ series_chunk_memory<information_smoother<Model>> memory,
                  typename equations_smoother<Model>::state* later) {
  using traversal = information_smoother<Model>;
  constexpr int threads = chunk_threads_of<traversal>;
  const std::int64_t at = std::int64_t{blockIdx.x} * 64 + threadIdx.x, i = at / known.most_chunks,
                     k = at % known.most_chunks;
  if (i >= known.series.count || k >= known.chunks(i) || known.unknown[at].last < 0) return;
  later[at] = x.equations_at(known, i, k, [&](std::int64_t from) {
    const auto s = memory.carries[i * memory.blocks + from / threads];
    if (from % threads == 0) return s;
    return traversal::act(get_words<typename traversal::element>(memory.words(i, from), memory.stride()), s);
  });
}

template <class Model>
__global__ void __launch_bounds__(64) replay_unknown(const __grid_constant__ equations_smoother<Model> x,
                                                     const __grid_constant__ information_smoother<Model> known,
                                                     const typename equations_smoother<Model>::state* later) {
  const std::int64_t at = std::int64_t{blockIdx.x} * 64 + threadIdx.x, i = at / known.most_chunks,
                     k = at % known.most_chunks;
  if (i >= known.series.count || k >= known.chunks(i) || known.unknown[at].last < 0) return;
  typename equations_smoother<Model>::replay_type replay(x, i, k, known.unknown[at].last, later[at]);
  static_cast<void>(replay_steps_into(replay, x.out));
}

}  // namespace kalscan::detail
