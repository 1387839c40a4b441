// SPDX-License-Identifier: MIT
// Comparing floating-point numbers for equality where that is what is meant.
#pragma once

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

}  // namespace kalscan::detail
