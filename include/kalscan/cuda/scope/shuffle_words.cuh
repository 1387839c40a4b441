// SPDX-License-Identifier: MIT
// Elements as 32-bit words: what shuffles, shared memory and messages between blocks move.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace kalscan::detail {

/// What threads of a device can hand to each other: a few words of plain bytes.
template <class T>
concept device_value = std::is_trivially_copyable_v<T> && std::default_initializable<T> && sizeof(T) <= 256;

template <class T>
inline constexpr int device_words = (sizeof(T) + 3) / 4;

/// Elements of up to 32 words are kept in registers. Larger ones stay in local memory: in registers they would take
/// more than a minute to compile.
template <class T>
inline constexpr int unroll_words = device_words<T> <= 32 ? device_words<T> : 1;

template <class T>
struct packed_words {
  unsigned word[device_words<T>];
};

template <class T>
__device__ packed_words<T> pack_words(const T& x) {
  packed_words<T> packed;
  if constexpr (sizeof(T) % 4 != 0) packed.word[device_words<T> - 1] = 0;
  std::memcpy(packed.word, &x, sizeof(T));
  return packed;
}

template <class T>
__device__ T unpack_words(const packed_words<T>& packed) {
  T x;
  std::memcpy(&x, packed.word, sizeof(T));
  return x;
}

/// The x of thread `lane` of the warp.
template <class T>
__device__ T shuffle(unsigned mask, const T& x, int lane) {
  packed_words<T> packed = pack_words(x);
#pragma unroll(unroll_words<T>)
  for (int i = 0; i < device_words<T>; ++i) packed.word[i] = __shfl_sync(mask, packed.word[i], lane);
  return unpack_words<T>(packed);
}

/// The x of the thread `distance` before (after) this one in its group of Width threads; its own where there is none.
template <int Width, class T>
__device__ T shuffle_up(unsigned mask, const T& x, int distance) {
  packed_words<T> packed = pack_words(x);
#pragma unroll(unroll_words<T>)
  for (int i = 0; i < device_words<T>; ++i) packed.word[i] = __shfl_up_sync(mask, packed.word[i], distance, Width);
  return unpack_words<T>(packed);
}
template <int Width, class T>
__device__ T shuffle_down(unsigned mask, const T& x, int distance) {
  packed_words<T> packed = pack_words(x);
#pragma unroll(unroll_words<T>)
  for (int i = 0; i < device_words<T>; ++i) packed.word[i] = __shfl_down_sync(mask, packed.word[i], distance, Width);
  return unpack_words<T>(packed);
}

/// condition ? x : y, without a branch.
template <class T>
__device__ T select(bool condition, const T& x, const T& y) {
  packed_words<T> packed = pack_words(x);
  const packed_words<T> other = pack_words(y);
#pragma unroll(unroll_words<T>)
  for (int i = 0; i < device_words<T>; ++i) packed.word[i] = condition ? packed.word[i] : other.word[i];
  return unpack_words<T>(packed);
}

/// Values in shared memory, word by word, so that neighbours fall into different banks.
template <class T, int Count>
struct shared_words {
  unsigned word[device_words<T>][Count];

  __device__ void put(int index, const T& x) {
    const packed_words<T> packed = pack_words(x);
#pragma unroll(unroll_words<T>)
    for (int i = 0; i < device_words<T>; ++i) word[i][index] = packed.word[i];
  }
  __device__ T get(int index) const {
    packed_words<T> packed;
#pragma unroll(unroll_words<T>)
    for (int i = 0; i < device_words<T>; ++i) packed.word[i] = word[i][index];
    return unpack_words<T>(packed);
  }
};

/// The widest access that keeps values of T apart and aligned where their array is aligned to 16 bytes.
template <class T>
using access_t = std::conditional_t<
    sizeof(T) % 16 == 0, uint4,
    std::conditional_t<sizeof(T) % 8 == 0, uint2,
                       std::conditional_t<sizeof(T) % 4 == 0, unsigned,
                                          std::conditional_t<sizeof(T) % 2 == 0, std::uint16_t, std::uint8_t>>>>;

/// Element i of an array in shared memory that is aligned to 16 bytes.
template <class T>
__device__ T get_aligned(const std::byte* array, int i) {
  using access = access_t<T>;
  constexpr int count = sizeof(T) / sizeof(access);
  access parts[count];
  const auto* from = reinterpret_cast<const access*>(array) + i * count;
#pragma unroll
  for (int k = 0; k < count; ++k) parts[k] = from[k];
  T x;
  std::memcpy(&x, parts, sizeof(T));
  return x;
}

template <class T>
__device__ void put_aligned(std::byte* array, int i, const T& x) {
  using access = access_t<T>;
  constexpr int count = sizeof(T) / sizeof(access);
  access parts[count];
  std::memcpy(parts, &x, sizeof(T));
  auto* to = reinterpret_cast<access*>(array) + i * count;
#pragma unroll
  for (int k = 0; k < count; ++k) to[k] = parts[k];
}

}  // namespace kalscan::detail
