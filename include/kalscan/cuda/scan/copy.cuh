// SPDX-License-Identifier: MIT
// Tiles between device memory and shared memory, in the widest accesses that the address allows.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>

namespace kalscan::detail {

template <int Bytes>
__device__ void copy_async(void* shared, const void* global) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(address), "l"(global) : "memory");
  }
}
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// Starts to copy bytes to shared memory that is aligned to 16 bytes; wait_for_copies() and a barrier end it.
template <int Threads, int TileBytes>
__device__ void load_tile(std::byte* shared, const std::byte* global, int bytes) {
  const int rank = static_cast<int>(threadIdx.x);
  const auto address = reinterpret_cast<std::uintptr_t>(global);
  if (bytes == TileBytes && address % 16 == 0) {
    static_assert(TileBytes % 16 == 0);
#pragma unroll
    for (int i = 0; i < (TileBytes + 16 * Threads - 1) / (16 * Threads); ++i) {
      const int at = 16 * (i * Threads + rank);
      if (at < TileBytes) copy_async<16>(shared + at, global + at);
    }
    return;
  }
  int done = 0;
  if (address % 16 == 0) {
    done = bytes / 16 * 16;
    for (int at = 16 * rank; at < done; at += 16 * Threads) copy_async<16>(shared + at, global + at);
  } else if (address % 4 == 0) {
    done = bytes / 4 * 4;
    for (int at = 4 * rank; at < done; at += 4 * Threads) copy_async<4>(shared + at, global + at);
  }
  for (int at = done + rank; at < bytes; at += Threads) shared[at] = global[at];
}

/// Copies a tile back. What is stored of a whole tile leaves the caches first: they are of more use to inputs.
template <int Threads, int TileBytes>
__device__ void store_tile(std::byte* global, const std::byte* shared, int bytes) {
  const int rank = static_cast<int>(threadIdx.x);
  const auto address = reinterpret_cast<std::uintptr_t>(global);
  if (bytes == TileBytes && address % 16 == 0) {
#pragma unroll
    for (int i = 0; i < (TileBytes + 16 * Threads - 1) / (16 * Threads); ++i) {
      const int at = 16 * (i * Threads + rank);
      if (at < TileBytes) __stcs(reinterpret_cast<uint4*>(global + at), *reinterpret_cast<const uint4*>(shared + at));
    }
    return;
  }
  int done = 0;
  if (address % 16 == 0) {
    done = bytes / 16 * 16;
    for (int at = 16 * rank; at < done; at += 16 * Threads)
      *reinterpret_cast<uint4*>(global + at) = *reinterpret_cast<const uint4*>(shared + at);
  } else if (address % 4 == 0) {
    done = bytes / 4 * 4;
    for (int at = 4 * rank; at < done; at += 4 * Threads)
      *reinterpret_cast<unsigned*>(global + at) = *reinterpret_cast<const unsigned*>(shared + at);
  }
  for (int at = done + rank; at < bytes; at += Threads) global[at] = shared[at];
}

}  // namespace kalscan::detail
