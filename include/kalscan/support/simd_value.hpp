// SPDX-License-Identifier: MIT
// Several numbers as one: branch-free formulas, written for one lane, become those of neighbouring lanes in step with
// each other, so that long latencies (a reciprocal's) pass side by side and not one after the other.
#pragma once

#include <kalscan/support/config.hpp>

namespace kalscan::detail {

template <class T, int N>
struct several {
  using number = T;
  T x[N];

  several() = default;
  KALSCAN_HD constexpr explicit several(T value) {
    for (int i = 0; i < N; ++i) x[i] = value;
  }

  /// f(i) for each i.
  template <class F>
  KALSCAN_HD static constexpr several of(F f) {
    several r;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int i = 0; i < N; ++i) r.x[i] = f(i);
    return r;
  }
  KALSCAN_HD friend constexpr several operator+(const several& a, const several& b) {
    return of([&](int i) { return a.x[i] + b.x[i]; });
  }
  KALSCAN_HD friend constexpr several operator-(const several& a, const several& b) {
    return of([&](int i) { return a.x[i] - b.x[i]; });
  }
  KALSCAN_HD friend constexpr several operator*(const several& a, const several& b) {
    return of([&](int i) { return a.x[i] * b.x[i]; });
  }
  KALSCAN_HD friend constexpr several operator/(const several& a, const several& b) {
    return of([&](int i) { return a.x[i] / b.x[i]; });
  }
  KALSCAN_HD friend constexpr several operator-(const several& a) {
    return of([&](int i) { return -a.x[i]; });
  }
  KALSCAN_HD constexpr several& operator+=(const several& a) { return *this = *this + a; }
  KALSCAN_HD constexpr several& operator-=(const several& a) { return *this = *this - a; }
  KALSCAN_HD constexpr several& operator*=(const several& a) { return *this = *this * a; }
};

}  // namespace kalscan::detail
