// SPDX-License-Identifier: MIT
// The second part of the smoother under a diffuse prior (diffuse_smoother.hpp), which takes the steps that its first part
// left: a thread for each chunk. Only chunks near the beginning of a series have such steps.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstdint>
#include <kalscan/kalman/device/chunk_kernels.cuh>
#include <kalscan/kalman/device/chunks.hpp>
#include <kalscan/kalman/device/diffuse_smoother.hpp>
#include <kalscan/kalman/series/replay.hpp>

namespace kalscan::detail {

/// Makes the equations with which the unknown steps of each chunk begin. It has a launch of its own: results of these steps
/// may be written over the filtered means that other chunks need for their equations.
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
