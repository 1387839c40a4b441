// SPDX-License-Identifier: MIT
// Keeps homogeneous coordinates in range by powers of two, so that rescaling adds no rounding.
#pragma once

#include <bit>
#include <cstdint>
#include <kalscan/support/config.hpp>
#include <limits>
#include <type_traits>

namespace kalscan::detail {

template <class T>
KALSCAN_HD constexpr T power_of_two(int exponent) {
  T result(1);
  for (; exponent > 0; --exponent) result *= T(2);
  for (; exponent < 0; ++exponent) result /= T(2);
  return result;
}

template <class T>
KALSCAN_HD constexpr T largest_magnitude(T x) {
  return x < T(0) ? -x : x;
}
template <class T, class... More>
KALSCAN_HD constexpr T largest_magnitude(T x, T y, More... more) {
  const T mx = largest_magnitude(x), my = largest_magnitude(y);
  return largest_magnitude(mx < my ? my : mx, more...);
}

/// The power of two by which to multiply numbers whose largest magnitude is `largest`: 1 within [2^-k, 2^k], with k a
/// quarter of the exponent range (32 for float), so that products of two such matrices are still finite; outside, a
/// factor that brings them well inside again.
template <class T>
KALSCAN_HD constexpr T rescale_factor(T largest) {
  constexpr int k = std::numeric_limits<T>::max_exponent / 4;
  constexpr T high = power_of_two<T>(k), low = power_of_two<T>(-k);
  constexpr T down = power_of_two<T>(-3 * k / 2), up = power_of_two<T>(3 * k / 2);
  if (largest > high) return down;
  if (largest < low) return up;
  return T(1);
}

/// 2^-n of a positive normal number m 2^n, 1 <= m < 2, of float or double; 0 where that is no normal number.
template <class T>
KALSCAN_HD constexpr T inverse_power_of_two(T x) {
  using bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  using limits = std::numeric_limits<T>;
  constexpr int mantissa = limits::digits - 1;
  constexpr bits exponent = bits(2 * limits::max_exponent - 1) << mantissa;
  constexpr bits largest = bits(2 * limits::max_exponent - 2) << mantissa;
  const bits mine = std::bit_cast<bits>(x) & exponent;
  return std::bit_cast<T>(mine < largest ? static_cast<bits>(largest - mine) : bits(0));
}

}  // namespace kalscan::detail
