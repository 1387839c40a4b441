// SPDX-License-Identifier: MIT
// Gradients that blocks share: their parts are summed in an order that depends on the shape and the chunks alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/cuda/policy.cuh>
#include <kalscan/detail/cuda_mixer_lanes.cuh>
#include <kalscan/kla/tensor.hpp>

namespace kalscan::detail {

/// Values [i0, i1, i2, i3] of a tensor, in order: number i of a grid's thread is turned into an index.
struct tensor_index {
  std::int64_t b, t, m, s;
  template <class E>
  __device__ tensor_index(const tensor<E>& x, std::int64_t i) {
    s = i % x.extent[3], i /= x.extent[3];
    m = i % x.extent[2], i /= x.extent[2];
    t = i % x.extent[1], b = i / x.extent[1];
  }
};

template <class T, class E>
__device__ void put_gradient(const tensor<E>& to, const tensor_index& i, T value, bool add) {
  E& place = to(i.b, i.t, i.m, i.s);
  place = static_cast<E>(add ? static_cast<T>(place) + value : value);
}

inline constexpr int sum_threads = 128;

/// Parts [block of channels][batch][time][state]; where the gradient has one state, over the states, too.
template <class T, class E>
__global__ void sum_lanes_kernel(const __grid_constant__ tensor<E> to, const T* parts, std::int64_t blocks,
                                 std::int64_t states, bool add) {
  const std::int64_t rows = to.extent[0] * to.extent[1], width = to.extent[3];
  for (std::int64_t i = blockIdx.x * std::int64_t(sum_threads) + threadIdx.x; i < rows * width;
       i += std::int64_t(gridDim.x) * sum_threads) {
    const std::int64_t row = i / width, first = i % width, last = width == states ? first + 1 : states;
    T sum(0);
    for (std::int64_t s = first; s < last; ++s) {
#pragma unroll 4
      for (std::int64_t k = 0; k < blocks; ++k) sum += parts[(k * rows + row) * states + s];
    }
    put_gradient(to, tensor_index(to, i), sum, add);
  }
}

/// Parts [slot][channel][state], `slots` of them a batch; over the axes on which the gradient has extent 1. `Wide`
/// blocks sum one value each, others one value a thread.
template <class T, class E, bool Wide>
__global__ void sum_time_kernel(const __grid_constant__ tensor<E> to, const T* parts, std::int64_t slots,
                                std::int64_t batches, std::int64_t channels, std::int64_t states, bool add) {
  __shared__ T partial[sum_threads];
  const std::int64_t count = to.extent[0] * to.extent[2] * to.extent[3];
  const int thread = static_cast<int>(threadIdx.x), step = Wide ? sum_threads : 1;
  for (std::int64_t i = Wide ? blockIdx.x : blockIdx.x * std::int64_t(sum_threads) + thread; i < count;
       i += Wide ? gridDim.x : std::int64_t(gridDim.x) * sum_threads) {
    const tensor_index at(to, i);
    const std::int64_t first = to.extent[0] == 1 ? 0 : at.b * slots,
                       last = to.extent[0] == 1 ? batches * slots : first + slots;
    const std::int64_t ms = to.extent[2] == 1 ? channels : 1, ss = to.extent[3] == 1 ? states : 1;
    T sum(0);
#pragma unroll 4
    for (std::int64_t n = Wide ? thread : 0; n < (last - first) * ms * ss; n += step) {
      const std::int64_t s = at.s + n % ss, m = at.m + n / ss % ms, slot = first + n / (ss * ms);
      sum += parts[(slot * channels + m) * states + s];
    }
    if constexpr (Wide) {
      partial[thread] = sum;
      for (int half = sum_threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) partial[thread] += partial[thread + half];
      }
      if (thread == 0) put_gradient(to, at, partial[0], add);
      __syncthreads();
    } else {
      put_gradient(to, at, sum, add);
    }
  }
}

template <class E>
__global__ void fill_zero_kernel(const __grid_constant__ tensor<E> to, std::int64_t count) {
  for (std::int64_t i = blockIdx.x * std::int64_t(sum_threads) + threadIdx.x; i < count;
       i += std::int64_t(gridDim.x) * sum_threads) {
    const tensor_index at(to, i);
    to(at.b, at.t, at.m, at.s) = static_cast<E>(0.0F);
  }
}

template <class E>
std::int64_t size_of(const tensor<E>& x) {
  return x.extent[0] * x.extent[1] * x.extent[2] * x.extent[3];
}
inline unsigned sum_grid(std::int64_t count, int a_block) {
  return static_cast<unsigned>(std::min<std::int64_t>((count + a_block - 1) / a_block, 1 << 20));
}

template <class E>
void fill_zero(const cuda& policy, const tensor<E>& to) {
  const std::int64_t count = size_of(to);
  if (!to.present() || count == 0) return;
  fill_zero_kernel<<<sum_grid(count, sum_threads), sum_threads, 0, policy.stream>>>(to, count);
  check_launch("fill_zero_kernel");
}

template <class T, class E>
void sum_lanes(const cuda& policy, const tensor<E>& to, const T* parts, std::int64_t blocks, std::int64_t states,
               bool add) {
  const std::int64_t count = size_of(to);
  if (count == 0) return;
  sum_lanes_kernel<T, E>
      <<<sum_grid(count, sum_threads), sum_threads, 0, policy.stream>>>(to, parts, blocks, states, add);
  check_launch("sum_lanes_kernel");
}

template <class T, class E>
void sum_time(const cuda& policy, const tensor<E>& to, const T* parts, std::int64_t slots, std::int64_t batches,
              std::int64_t channels, std::int64_t states, bool add) {
  const std::int64_t count = size_of(to),
                     terms = batches * slots * channels * states / std::max<std::int64_t>(count, 1);
  if (count == 0) return;
  if (terms > 1024) {
    sum_time_kernel<T, E, true>
        <<<sum_grid(count, 1), sum_threads, 0, policy.stream>>>(to, parts, slots, batches, channels, states, add);
  } else {
    sum_time_kernel<T, E, false><<<sum_grid(count, sum_threads), sum_threads, 0, policy.stream>>>(
        to, parts, slots, batches, channels, states, add);
  }
  check_launch("sum_time_kernel");
}

}  // namespace kalscan::detail
