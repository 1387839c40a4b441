// SPDX-License-Identifier: MIT
// Numbers side by side, inputs by role, and stored numbers as bits.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>

namespace kalscan::detail {

/// N numbers that are read and written as vectors of at most 16 bytes.
template <class T, int N>
struct alignas(std::min<std::size_t>(16, N * sizeof(T) & -(N * sizeof(T)))) vec {
  T x[N];
};

constexpr int next_power_of_two(int n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}

/// How many of the inputs before input i vary as r.
template <class M>
constexpr int inputs_before(std::size_t i, role r) {
  int n = 0;
  for (std::size_t k = 0; k < i; ++k) n += M::inputs_info[k].varies == r ? 1 : 0;
  return n;
}
template <class M, role R>
inline constexpr int inputs_with = inputs_before<M>(M::inputs_info.size(), R);

/// Calls f(index, tensor) for each input that varies as R.
template <class M, role R, class In, class F>
__device__ void for_inputs(const In& in, F f) {
  for_each_index<M::inputs_info.size()>([&](auto i) {
    if constexpr (M::inputs_info[i()].varies == R) f(i, member<i()>(in));
  });
}

/// From a step to the next one of a tensor.
template <class E>
__device__ __forceinline__ std::int64_t bytes_of_step(const tensor<E>& x) {
  return x.stride[1] * static_cast<std::int64_t>(sizeof(E));
}

/// Sixteen- and 32-bit values are kept as they lie in memory until they are needed, so that nobody waits for them
/// before.
template <class T, class E>
__device__ T number_of_bits(const T& kept, const E*) {
  if constexpr (sizeof(E) == sizeof(T)) {
    return static_cast<T>(std::bit_cast<E>(kept));
  } else {
    return static_cast<T>(std::bit_cast<E>(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(kept))));
  }
}
template <class T, class E>
__device__ T bits_of(const E& stored) {
  if constexpr (sizeof(E) == sizeof(T)) {
    return std::bit_cast<T>(stored);
  } else if constexpr (sizeof(E) == 2 && sizeof(T) == 4) {
    std::uint32_t bits = std::bit_cast<std::uint16_t>(stored);
    asm(""
        : "+r"(
            bits));  // widened by the load: else the compiler does it where the ways of reading meet, and waits there
    return std::bit_cast<T>(bits);
  } else {
    return static_cast<T>(stored);
  }
}
template <class T, class E>
inline constexpr bool kept_as_bits = sizeof(E) == sizeof(T) || (sizeof(E) == 2 && sizeof(T) == 4);

}  // namespace kalscan::detail
