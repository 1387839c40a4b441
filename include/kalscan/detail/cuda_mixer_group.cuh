// SPDX-License-Identifier: MIT
// Sums over the threads that share a channel, for several steps at once.
#pragma once

#include <kalscan/detail/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstdint>

namespace kalscan::detail {

/// Sums four values over the threads of a group, all at once: each exchange halves what a thread still has to do. A
/// thread is left with the sums of kept_steps(...) steps from kept_step(...) on, in groups of more than four threads
/// several with the same ones.
template <class T>
__device__ __forceinline__ void sum_over_group(T (&v)[4], int g, int group) {
  constexpr unsigned all = 0xffffffffU;
  if (group == 1) return;
  const bool odd = (g & 1) != 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const T mine = odd ? v[2 + i] : v[i], other = odd ? v[i] : v[2 + i];
    v[i] = mine + __shfl_xor_sync(all, other, 1);
  }
  if (group == 2) return;
  const bool upper = (g & 2) != 0;
  const T mine = upper ? v[1] : v[0], other = upper ? v[0] : v[1];
  v[0] = mine + __shfl_xor_sync(all, other, 2);
#pragma unroll
  for (int far = 4; far < 32; far *= 2) {
    if (far < group) v[0] += __shfl_xor_sync(all, v[0], far);
  }
}
__device__ __forceinline__ int kept_step(int g, int group) {
  return group == 1 ? 0 : 2 * (g & 1) + (group > 2 ? g >> 1 & 1 : 0);
}
__device__ __forceinline__ int kept_steps(int group) { return group == 1 ? 4 : group == 2 ? 2 : 1; }

/// The same for one value, which all threads of the group are left with.
template <class T>
__device__ __forceinline__ T sum_over_group(T v, int group) {
#pragma unroll
  for (int far = 1; far < 32; far *= 2) {
    if (far < group) v += __shfl_xor_sync(0xffffffffU, v, far);
  }
  return v;
}

}  // namespace kalscan::detail
