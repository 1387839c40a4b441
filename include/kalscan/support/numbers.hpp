// SPDX-License-Identifier: MIT
// Numbers as host and device code both may use them: infinity, comparing for equality on purpose, reciprocals, and
// products that are added with one rounding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <kalscan/support/config.hpp>
#include <limits>
#include <type_traits>

namespace kalscan::detail {

template <class T>
inline constexpr T infinity = std::numeric_limits<T>::infinity();

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

/// Numbers below this have products that are subnormal.
template <class T>
inline constexpr T faded_bound = (std::numeric_limits<T>::min)() / std::numeric_limits<T>::epsilon();

/// Relative rounding of a sum of n terms, generously.
template <class T>
KALSCAN_HD constexpr T rounding_of_sum(std::int64_t n) {
  return 8 * static_cast<T>(n) * std::numeric_limits<T>::epsilon();
}

/// The numbers of what is combined from T before it is used: double for those that are narrower.
template <class T>
using wide = std::conditional_t<(sizeof(T) < sizeof(double)), double, T>;

/// Whether the difference of h'P h and (h'P h)^2 / s, where s = h'P h + d, loses more than a few bits.
template <class T>
KALSCAN_HD constexpr bool loses_digits(T d, T s) {
  return d < s / 16;
}

/// How a device takes a reciprocal in float: rounded as the host does it; by one instruction, within one unit in the last
/// place; or by that instruction alone, for what is below 2^126, or where a subnormal result may become 0. The latter two
/// allow `fused`, too.
enum class rounding_mode { rounded, approximate, bounded };

/// 1 / x for x >= 2^-124, below which a device may say infinity; of each number where x is several.
template <rounding_mode How, class T>
KALSCAN_HD constexpr T reciprocal(const T& x) {
  if constexpr (requires { typename T::number; }) {
    return T::of([&](int i) { return reciprocal<How>(x.x[i]); });
  } else {
#if defined(__CUDA_ARCH__)
    if constexpr (std::is_same_v<T, float> && How != rounding_mode::rounded) {
      if (!std::is_constant_evaluated()) {
        // The instruction gives 0 where the result would be subnormal, so a quarter of x is inverted.
        constexpr float scale = How == rounding_mode::bounded ? 1.0F : 0.25F;
        float y = 0;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(scale * x));
        return scale * y;
      }
    }
#endif
    return T(1) / x;
  }
}

/// a b + c, rounded once where the machine can do that at no cost: always on a device, on a host where it is compiled
/// with such instructions. Compilers contract `a * b + c` as they like, which depends on the code around it; formulas
/// that are to give the same bits wherever they stand say it by this. With `rounded` the compiler decides. Where T holds
/// several numbers, of each.
template <rounding_mode How = rounding_mode::bounded, class T>
KALSCAN_HD constexpr T fused(const T& a, const T& b, const T& c) {
  if constexpr (requires { typename T::number; }) {
    return T::of([&](int i) { return fused<How>(a.x[i], b.x[i], c.x[i]); });
  } else {
    if constexpr (How != rounding_mode::rounded) {
      if (!std::is_constant_evaluated()) {
#if defined(__CUDA_ARCH__)
        if constexpr (std::is_same_v<T, float>) return __fmaf_rn(a, b, c);
        if constexpr (std::is_same_v<T, double>) return __fma_rn(a, b, c);
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
        if constexpr (std::is_same_v<T, float>) return __builtin_fmaf(a, b, c);
        if constexpr (std::is_same_v<T, double>) return __builtin_fma(a, b, c);
#endif
      }
    }
    return a * b + c;
  }
}

/// a + b with a and b rounded first: keeps nvcc from contracting a product passed as one of them into an fma, which
/// otherwise depends on the code around it.
template <class T>
KALSCAN_HD constexpr T sum_of_rounded(const T& a, const T& b) {
#if defined(__CUDA_ARCH__)
  if (!std::is_constant_evaluated()) {
    if constexpr (std::is_same_v<T, float>) return __fadd_rn(a, b);
    if constexpr (std::is_same_v<T, double>) return __dadd_rn(a, b);
  }
#endif
  return a + b;
}

}  // namespace kalscan::detail
