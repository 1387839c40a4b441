// SPDX-License-Identifier: MIT
// Absorb, carry, replay over chunks of time, a thread each, for any traversal of series (README.md says what one is), and
// over whole series, a thread each. The order of all operations follows from shapes and chunk alone.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <kalscan/kalman/device/chunks.hpp>
#include <kalscan/kalman/device/staged_rows.cuh>
#include <type_traits>

namespace kalscan::detail {

template <class X>
inline constexpr int words_of = sizeof(X) / 4;
/// Up to so many words are kept in registers; more stay where they are in memory.
template <class X>
inline constexpr bool in_registers = words_of<X> <= 256;

/// Word w of x at to[w * stride], and back.
template <class X>
__device__ void put_words(unsigned* to, std::int64_t stride, const X& x) {
  static_assert(sizeof(X) % 4 == 0);
  if constexpr (in_registers<X>) {
    unsigned word[words_of<X>];
    std::memcpy(word, &x, sizeof(X));
#pragma unroll
    for (int w = 0; w < words_of<X>; ++w) to[w * stride] = word[w];
  } else {
    for (int w = 0; w < words_of<X>; ++w) std::memcpy(to + w * stride, reinterpret_cast<const char*>(&x) + 4 * w, 4);
  }
}
template <class X>
__device__ X get_words(const unsigned* from, std::int64_t stride) {
  X x;
  if constexpr (in_registers<X>) {
    unsigned word[words_of<X>];
#pragma unroll
    for (int w = 0; w < words_of<X>; ++w) word[w] = from[w * stride];
    std::memcpy(&x, word, sizeof(X));
  } else {
    for (int w = 0; w < words_of<X>; ++w) std::memcpy(reinterpret_cast<char*>(&x) + 4 * w, from + w * stride, 4);
  }
  return x;
}

/// An X of an array that begins at a multiple of 16 bytes, in the widest packets that its size allows.
template <class X>
__device__ X read_whole(const X* from) {
  using small_packet = std::conditional_t<sizeof(X) % 8 == 0, uint2, unsigned>;
  using packet_type = std::conditional_t<sizeof(X) % 16 == 0, uint4, small_packet>;
  if constexpr (in_registers<X>) {
    constexpr int packets = sizeof(X) / sizeof(packet_type);
    packet_type packet[packets];
#pragma unroll
    for (int k = 0; k < packets; ++k) packet[k] = reinterpret_cast<const packet_type*>(from)[k];
    X x;
    std::memcpy(&x, packet, sizeof(X));
    return x;
  } else {
    return *from;
  }
}

template <class Traversal>
struct series_chunk_memory {
  using element = typename Traversal::element;

  // Threads of a block have a chunk each: a block of chunks.
  unsigned* before;                      // the element of the chunks before chunk k in its block, word by word
  element* totals;                       // of each block of chunks
  typename Traversal::state* carries;    // before each block
  typename Traversal::sum* sums;         // of each block
  std::int64_t blocks;                   // of the longest series

  /// Where word 0 of what comes before a chunk lies, and how far apart the words are.
  __device__ std::int64_t stride() const { return blocks * chunk_threads<element>; }
  __device__ unsigned* words(std::int64_t series, std::int64_t k) const {
    return before + series * words_of<element> * stride() + k;
  }
};

/// An inclusive scan of the elements of the first `count` threads, by doubling distances.
template <class Traversal>
__device__ typename Traversal::element scan_threads(typename Traversal::element own, int count, unsigned* shared) {
  using element = typename Traversal::element;
  constexpr int threads = chunk_threads_of<Traversal>;
  const int thread = static_cast<int>(threadIdx.x);
  put_words(shared + thread, threads, own);
  __syncthreads();
#pragma unroll 1
  for (int distance = 1; distance < count; distance *= 2) {
    const bool active = thread >= distance && thread < count;
    if (active) own = Traversal::combine(get_words<element>(shared + thread - distance, threads), own);
    __syncthreads();
    if (active) put_words(shared + thread, threads, own);
    __syncthreads();
  }
  return own;
}

template <class Traversal>
__global__ void __launch_bounds__(chunk_threads_of<Traversal>)
    absorb_chunks(const __grid_constant__ Traversal x, const __grid_constant__ series_chunk_memory<Traversal> memory) {
  constexpr int threads = chunk_threads_of<Traversal>;
  extern __shared__ unsigned shared[];
  const std::int64_t series = blockIdx.x / memory.blocks, block = blockIdx.x % memory.blocks;
  const std::int64_t left = x.chunks(series) - block * threads;
  if (left <= 0) return;
  const int thread = static_cast<int>(threadIdx.x), count = left < threads ? static_cast<int>(left) : threads;
  const std::int64_t k = block * threads + thread;
  typename Traversal::element own;
  if (thread < count) own = x.absorb(series, k);
  own = scan_threads<Traversal>(own, count, shared);
  if (thread + 1 < count) put_words(memory.words(series, k + 1), memory.stride(), own);
  if (thread + 1 == count) memory.totals[series * memory.blocks + block] = own;
}

/// A block of threads for each series; a thread takes one or more neighbouring blocks of chunks.
template <class Traversal>
__global__ void __launch_bounds__(carry_threads<Traversal>)
    carry_chunks(const __grid_constant__ Traversal x, const __grid_constant__ series_chunk_memory<Traversal> memory) {
  constexpr int threads = carry_threads<Traversal>;
  using element = typename Traversal::element;
  extern __shared__ unsigned shared[];
  const std::int64_t series = blockIdx.x;
  if (threadIdx.x == 0) x.begin(series);
  const std::int64_t blocks = (x.chunks(series) + chunk_threads_of<Traversal> - 1) / chunk_threads_of<Traversal>;
  if (blocks == 0) return;
  const std::int64_t run = (blocks + threads - 1) / threads;
  const int thread = static_cast<int>(threadIdx.x), count = static_cast<int>((blocks + run - 1) / run);
  const std::int64_t first = thread * run, last = first + run < blocks ? first + run : blocks;
  const element* totals = memory.totals + series * memory.blocks;
  element own;
  if (thread < count) own = read_whole(totals + first);
  // Combines the thread's own blocks of chunks, then those of the threads before it by doubling distances, as scan_threads
  // does. Both are one loop, so that the instruction cache holds one copy of the operator's code, not two.
  int distance = 1;
#pragma unroll 1
  for (std::int64_t step = 1; step < run || distance < count; ++step) {
    element later;
    bool active;
    if (step < run) {
      active = first + step < last;
      if (active) later = read_whole(totals + first + step);
    } else {
      __syncthreads();
      if (thread < count) put_words(shared + thread, threads, own);
      __syncthreads();
      active = thread >= distance && thread < count;
      if (active) {
        later = own;
        own = get_words<element>(shared + thread - distance, threads);
      }
      distance *= 2;
    }
    if (active) own = Traversal::combine(own, later);
  }
  __syncthreads();
  if (thread < count) put_words(shared + thread, threads, own);
  __syncthreads();
  if (thread >= count) return;
  typename Traversal::state s = x.start(series);
  element next;
  if (thread > 0) next = get_words<element>(shared + thread - 1, threads);
#pragma unroll 1
  for (std::int64_t b = first; b < last; ++b) {
    if (b > 0) s = Traversal::act(next, s);
    memory.carries[series * memory.blocks + b] = s;
    if (b + 1 < last) next = read_whole(totals + b);
  }
}

/// Bytes of shared memory for the rows of a block.
template <class Traversal>
inline constexpr std::size_t stage_bytes(int threads) {
  return static_cast<std::size_t>(belief_stage_of<Traversal>::warp_bytes) * static_cast<std::size_t>(threads / 32);
}
template <class Traversal>
__device__ std::byte* stage_of_warp(uint4* stages) {
  return reinterpret_cast<std::byte*>(stages) + threadIdx.x / 32 * belief_stage_of<Traversal>::warp_bytes;
}

/// The sum over all threads, by halving distances; thread 0 gets it.
template <int Threads, class T>
__device__ T sum_of_threads(T x) {
  __shared__ T shared[Threads];
  shared[threadIdx.x] = x;
#pragma unroll 1
  for (int distance = Threads / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (threadIdx.x < distance) shared[threadIdx.x] += shared[threadIdx.x + distance];
  }
  return shared[0];
}

template <class Traversal>
__global__ void __launch_bounds__(chunk_threads_of<Traversal>, replay_blocks<Traversal>)
    replay_chunks(const __grid_constant__ Traversal x, const __grid_constant__ series_chunk_memory<Traversal> memory) {
  constexpr int threads = chunk_threads_of<Traversal>;
  const std::int64_t series = blockIdx.x / memory.blocks, block = blockIdx.x % memory.blocks;
  const std::int64_t left = x.chunks(series) - block * threads;
  if (left <= 0) return;
  extern __shared__ uint4 stages[];
  const std::int64_t k = block * threads + threadIdx.x;
  const bool active = threadIdx.x < left;
  typename Traversal::state s = memory.carries[series * memory.blocks + block];
  if (active && threadIdx.x > 0)
    s = Traversal::act(get_words<typename Traversal::element>(memory.words(series, k), memory.stride()), s);
  typename Traversal::sum sum = replay_staged(x, series, k, s, active, stage_of_warp<Traversal>(stages));
  if (!x.has_sum()) return;
  sum = sum_of_threads<threads>(sum);
  if (threadIdx.x == 0) memory.sums[series * memory.blocks + block] = sum;
}

/// A block for each series.
template <class Traversal>
__global__ void __launch_bounds__(128)
    add_sums(const __grid_constant__ Traversal x, const __grid_constant__ series_chunk_memory<Traversal> memory) {
  constexpr int threads = chunk_threads_of<Traversal>;
  const std::int64_t series = blockIdx.x, blocks = (x.chunks(series) + threads - 1) / threads;
  if (blocks == 0) return;
  typename Traversal::sum sum = 0;
  for (std::int64_t b = threadIdx.x; b < blocks; b += 128) sum += memory.sums[series * memory.blocks + b];
  sum = sum_of_threads<128>(sum);
  if (threadIdx.x == 0) x.finish_sum(series, sum);
}

/// A thread for each series, which is one chunk.
template <class Traversal>
__global__ void __launch_bounds__(64) replay_series(const __grid_constant__ Traversal x) {
  extern __shared__ uint4 stages[];
  const std::int64_t own = std::int64_t{blockIdx.x} * 64 + threadIdx.x;
  bool active = own < x.series.count;
  const std::int64_t series = active ? own : x.series.count - 1;
  if (active) x.begin(series);
  active = active && x.chunks(series) > 0;
  const auto sum = replay_staged(x, series, 0, x.start(series), active, stage_of_warp<Traversal>(stages));
  if (active && x.has_sum()) x.finish_sum(series, sum);
}

}  // namespace kalscan::detail
