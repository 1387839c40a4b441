// SPDX-License-Identifier: MIT
// Gradients that blocks share: their parts are summed in an order that depends on the shape and the chunks alone.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

namespace kalscan::detail {

/// The index [b, t, m, s] of value i of a tensor, its last axis counted fastest.
struct tensor_index {
  std::int64_t b, t, m, s;
  KALSCAN_HD tensor_index(const extents& extent, std::int64_t i) {
    s = i % extent[3], i /= extent[3];
    m = i % extent[2], i /= extent[2];
    t = i % extent[1], b = i / extent[1];
  }
};

inline constexpr int sum_threads = 128;

/// How a device's blocks hand on the gradient of an input.
enum class device_gathering : unsigned char {
  nowhere,        // nobody asks for it
  lane,           // each lane has its own
  channel,        // summed over states
  over_channels,  // summed over the channels of a block; blocks are summed afterwards
  over_time       // summed over the steps of a chunk; chunks are summed afterwards
};

/// What the blocks of a backward call left to be summed: for each input k its parts (the sums of blocks or chunks), the
/// tensor of its gradient, and the extent of that.
template <class T, std::size_t Inputs, class Tensors>
struct unsummed_gradients {
  Tensors to;
  extents extent[Inputs] = {};
  device_gathering how[Inputs] = {};
  // over_channels: [block of channels][batch][time][state]; over_time: [slot][channel][state], `slots` of them a batch.
  const T* parts[Inputs] = {};
  std::int64_t channel_blocks, slots, batches, channels, states;
  bool add;
  // Blocks first_block[i] ... first_block[i + 1] - 1 of the grid sum input i. With one_each a block sums one value.
  unsigned first_block[Inputs + 1] = {};
  bool one_each[Inputs] = {};

  /// Value i of the gradient of input k. The inputs share the code of the sums: this alone depends on their types.
  __device__ void put(std::size_t k, std::int64_t i, T value) const {
    for_each_index<Inputs>([&](auto input) {
      if (k != input()) return;
      const auto& tensor = member<input()>(to);
      const tensor_index at(extent[k], i);
      auto& gradient = tensor(at.b, at.t, at.m, at.s);
      using E = std::remove_reference_t<decltype(gradient)>;
      gradient = static_cast<E>(add ? static_cast<T>(gradient) + value : value);
    });
  }
};

/// Sums over the blocks of channels; over the states, too, where the gradient has one for all of them.
template <class T, class Gradients>
__device__ void sum_over_blocks(const Gradients& x, std::size_t k, const T* parts, unsigned block, unsigned blocks) {
  const extents& extent = x.extent[k];
  const std::int64_t rows = extent[0] * extent[1], width = extent[3];
  for (std::int64_t i = block * std::int64_t(sum_threads) + threadIdx.x; i < rows * width;
       i += blocks * std::int64_t(sum_threads)) {
    const std::int64_t row = i / width, first = i - row * width, last = width == x.states ? first + 1 : x.states;
    T sum(0);
    for (std::int64_t s = first; s < last; ++s) {
      const T* from = parts + row * x.states + s;
#pragma unroll 16
      for (std::int64_t b = 0; b < x.channel_blocks; ++b) sum += from[b * rows * x.states];
    }
    x.put(k, i, sum);
  }
}

/// Sums over the chunks and over the axes on which the gradient has extent 1. With OneEach a block makes one sum, and
/// each of its threads adds every 128th term; else a thread makes one.
template <bool OneEach, class T, class Gradients>
__device__ void sum_over_slots(const Gradients& x, std::size_t k, const T* parts, unsigned block, unsigned blocks) {
  __shared__ T partial[sum_threads];
  const extents& extent = x.extent[k];
  const std::int64_t count = extent[0] * extent[2] * extent[3];
  const int thread = static_cast<int>(threadIdx.x), first = OneEach ? thread : 0, step = OneEach ? sum_threads : 1;
  const std::int64_t ms = extent[2] == 1 ? x.channels : 1, ss = extent[3] == 1 ? x.states : 1;
  for (std::int64_t i = OneEach ? block : block * std::int64_t(sum_threads) + thread; i < count;
       i += OneEach ? blocks : blocks * std::int64_t(sum_threads)) {
    const tensor_index at(extent, i);
    const std::int64_t slots = extent[0] == 1 ? x.batches * x.slots : x.slots;
    const T* from = parts + ((extent[0] == 1 ? 0 : at.b * x.slots) * x.channels + at.m) * x.states + at.s;
    T sum(0);
    if (ms * ss == 1) {
#pragma unroll 16
      for (std::int64_t n = first; n < slots; n += step) sum += from[n * (x.channels * x.states)];
    } else {
      for (std::int64_t n = first; n < slots * ms * ss; n += step)
        sum += from[(n / (ss * ms) * x.channels + n / ss % ms) * x.states + n % ss];
    }
    if constexpr (OneEach) {
      partial[thread] = sum;
      for (int half = sum_threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) partial[thread] += partial[thread + half];
      }
      if (thread == 0) x.put(k, i, partial[0]);
      __syncthreads();
    } else {
      x.put(k, i, sum);
    }
  }
}

/// Registers are limited so that five blocks fit a multiprocessor: speed depends on how many loads are under way.
template <class T, std::size_t Inputs, class Tensors>
__global__ void __launch_bounds__(sum_threads, 5)
    sum_gradients_kernel(const __grid_constant__ unsummed_gradients<T, Inputs, Tensors> x) {
  std::size_t k = 0;
  while (blockIdx.x >= x.first_block[k + 1]) ++k;
  const unsigned first = x.first_block[k], blocks = x.first_block[k + 1] - first, block = blockIdx.x - first;
  if (x.how[k] == device_gathering::over_channels) {
    sum_over_blocks(x, k, x.parts[k], block, blocks);
  } else if (x.one_each[k]) {
    sum_over_slots<true>(x, k, x.parts[k], block, blocks);
  } else {
    sum_over_slots<false>(x, k, x.parts[k], block, blocks);
  }
}

template <class E>
__global__ void fill_zero_kernel(const __grid_constant__ tensor<E> to, std::int64_t count) {
  for (std::int64_t i = blockIdx.x * std::int64_t(sum_threads) + threadIdx.x; i < count;
       i += std::int64_t(gridDim.x) * sum_threads) {
    const tensor_index at(to.extent, i);
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

/// Makes all sums in one launch. `x` says what is to be summed; which blocks do that is set here.
template <class T, std::size_t Inputs, class Tensors>
void sum_gradients(const cuda& policy, unsummed_gradients<T, Inputs, Tensors> x) {
  unsigned blocks = 0;
  std::size_t i = 0;
  for_each_member(x.to, [&](const auto& to) {
    const std::int64_t count = size_of(to);
    x.extent[i] = to.extent;
    x.first_block[i] = blocks;
    x.one_each[i] = false;
    if (x.how[i] == device_gathering::over_channels) {
      blocks += sum_grid(count, sum_threads);
    } else if (x.how[i] == device_gathering::over_time && count > 0) {
      x.one_each[i] = x.batches * x.slots * x.channels * x.states / count > 1024;
      blocks += sum_grid(count, x.one_each[i] ? 1 : sum_threads);
    }
    ++i;
  });
  x.first_block[i] = blocks;
  if (blocks == 0) return;
  sum_gradients_kernel<<<blocks, sum_threads, 0, policy.stream>>>(x);
  check_launch("sum_gradients_kernel");
}

}  // namespace kalscan::detail
