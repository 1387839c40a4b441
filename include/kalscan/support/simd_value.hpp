// SPDX-License-Identifier: MIT
// Several numbers as one: branch-free formulas, written for one lane, become those of neighbouring lanes in step with
// each other, so that long latencies (a reciprocal's) pass side by side and not one after the other.
#pragma once

#include <kalscan/support/config.hpp>

namespace kalscan::detail {

template <class T, int N>
struct simd_value {
  using number = T;
  T x[N];

  simd_value() = default;
  KALSCAN_HD constexpr explicit simd_value(T value) {
    for (int i = 0; i < N; ++i) x[i] = value;
  }

  /// f(i) for each i.
  template <class F>
  KALSCAN_HD static constexpr simd_value of(F f) {
    simd_value r;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int i = 0; i < N; ++i) r.x[i] = f(i);
    return r;
  }
  KALSCAN_HD friend constexpr simd_value operator+(const simd_value& a, const simd_value& b) {
    return of([&](int i) { return a.x[i] + b.x[i]; });
  }
  KALSCAN_HD friend constexpr simd_value operator-(const simd_value& a, const simd_value& b) {
    return of([&](int i) { return a.x[i] - b.x[i]; });
  }
  KALSCAN_HD friend constexpr simd_value operator*(const simd_value& a, const simd_value& b) {
    return of([&](int i) { return a.x[i] * b.x[i]; });
  }
  KALSCAN_HD friend constexpr simd_value operator/(const simd_value& a, const simd_value& b) {
    return of([&](int i) { return a.x[i] / b.x[i]; });
  }
  KALSCAN_HD friend constexpr simd_value operator-(const simd_value& a) {
    return of([&](int i) { return -a.x[i]; });
  }
  KALSCAN_HD constexpr simd_value& operator+=(const simd_value& a) { return *this = *this + a; }
  KALSCAN_HD constexpr simd_value& operator-=(const simd_value& a) { return *this = *this - a; }
  KALSCAN_HD constexpr simd_value& operator*=(const simd_value& a) { return *this = *this * a; }
};

}  // namespace kalscan::detail
