// SPDX-License-Identifier: MIT
// Comparing floating-point numbers for equality where that is what is meant.
#pragma once

#include <cstddef>
#include <functional>
#include <kalscan/detail/config.hpp>
#include <type_traits>

namespace kalscan::detail {

/// x == y, on purpose: y is a special value (zero, infinity), or both came about in the same way. Written so that it
/// passes where a compiler warns of comparing floating-point numbers. By value: device code may not refer to constants.
template <class T>
KALSCAN_HD constexpr bool equal(T x, std::type_identity_t<T> y) {
#if defined(__CUDA_ARCH__)
  return x == y;
#else
  return std::equal_to<T>{}(x, y);
#endif
}

/// All elements, of arrays of arrays too.
template <class T, std::size_t N>
KALSCAN_HD constexpr bool equal_arrays(const T (&x)[N], const T (&y)[N]) {
  for (std::size_t i = 0; i < N; ++i) {
    if constexpr (std::is_array_v<T>) {
      if (!equal_arrays(x[i], y[i])) return false;
    } else {
      if (!equal(x[i], y[i])) return false;
    }
  }
  return true;
}

}  // namespace kalscan::detail
