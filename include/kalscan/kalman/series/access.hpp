// SPDX-License-Identifier: MIT
// Matrices in arrays in memory. On a device, those of at most 8 rows are read and written by its widest loads and
// stores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>
#include <span>

namespace kalscan::detail {

/// A packet is neighbouring numbers that are loaded or stored at once. Its bytes, 16 at most: they divide the size of a
/// matrix X, so that each matrix of an array begins with a packet.
template <class X>
inline constexpr int packet_bytes = [] {
  constexpr int bytes = static_cast<int>(sizeof(typename X::value_type)) * X::rows * X::columns;
  return bytes % 16 == 0 ? 16 : bytes % 8 == 0 ? 8 : static_cast<int>(sizeof(typename X::value_type));
}();

template <class T, int Count>
struct alignas(sizeof(T) * Count) packet {
  T x[static_cast<std::size_t>(Count)];
};

/// Loads a matrix; on a device in whole packets, where it has at most 8 rows and `from` is aligned.
template <class X>
KALSCAN_HD X read_matrix(const typename X::value_type* from) {
#if defined(__CUDA_ARCH__)
  using T = typename X::value_type;
  constexpr int count = packet_bytes<X> / static_cast<int>(sizeof(T)), packets = X::rows * X::columns / count;
  if constexpr (count > 1 && X::rows <= 8) {
    if (reinterpret_cast<std::uintptr_t>(from) % packet_bytes<X> == 0) {
      X x{};
#pragma unroll
      for (int p = 0; p < packets; ++p) {
        const packet<T, count> read = reinterpret_cast<const packet<T, count>*>(from)[p];
#pragma unroll
        for (int k = 0; k < count; ++k) {
          const int at = p * count + k, i = at % X::rows, j = at / X::rows;
          if (!is_triangle<X> || i >= j) x(i, j) = read.x[k];
        }
      }
      return x;
    }
  }
#endif
  return load<X>(from);
}

/// Stores a matrix, likewise.
template <class X>
KALSCAN_HD void write_matrix(typename X::value_type* to, const X& x) {
#if defined(__CUDA_ARCH__)
  using T = typename X::value_type;
  constexpr int count = packet_bytes<X> / static_cast<int>(sizeof(T)), packets = X::rows * X::columns / count;
  if constexpr (count > 1 && X::rows <= 8) {
    if (reinterpret_cast<std::uintptr_t>(to) % packet_bytes<X> == 0) {
#pragma unroll
      for (int p = 0; p < packets; ++p) {
        packet<T, count> written;
#pragma unroll
        for (int k = 0; k < count; ++k) written.x[k] = x((p * count + k) % X::rows, (p * count + k) / X::rows);
        reinterpret_cast<packet<T, count>*>(to)[p] = written;
      }
      return;
    }
  }
#endif
  store(to, x);
}

/// As row number `at` of an array that may be empty.
template <class X>
KALSCAN_HD void write_row(const std::span<typename X::value_type>& to, std::int64_t at, const X& x) {
  if (!to.empty()) write_matrix(to.data() + at * (X::rows * X::columns), x);
}

}  // namespace kalscan::detail
