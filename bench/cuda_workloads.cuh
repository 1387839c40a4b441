// SPDX-License-Identifier: MIT
// Operators from 4 to 80 bytes, with elements made on the device.
#pragma once

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/mobius.hpp>

namespace workload {

/// A number in [0, 1) for each i and k.
__device__ inline float uniform(std::int64_t i, unsigned k) {
  std::uint64_t x = static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ull + k * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return static_cast<float>(x >> 40) * 0x1p-24f;
}
__device__ inline float defect(float x, float y) { return fabsf(x - y) / (1 + fabsf(y)); }

struct int_sum {
  static constexpr const char* name = "int sum (4 B)";
  struct monoid {
    KALSCAN_HD static int identity() { return 0; }
    KALSCAN_HD int operator()(int x, int y) const { return x + y; }
  };
  __device__ static int make(std::int64_t i) { return static_cast<int>(8 * uniform(i, 0)) - 4; }
  __device__ static float difference(int x, int y) { return x == y ? 0 : 1; }
};

struct affine {
  static constexpr const char* name = "affine (8 B)";
  using monoid = kalscan::affine_monoid<float>;
  using element = kalscan::affine_map<float>;
  __device__ static element make(std::int64_t i) { return {0.5f + 0.5f * uniform(i, 0), uniform(i, 1) - 0.5f}; }
  __device__ static float difference(const element& x, const element& y) {
    return fmaxf(defect(x.gain, y.gain), defect(x.offset, y.offset));
  }
};

template <class T>
struct mobius {
  static constexpr const char* name = sizeof(T) == 4 ? "Moebius (16 B)" : "Moebius double (32 B)";
  using monoid = kalscan::mobius_monoid<T>;
  using element = kalscan::mobius_map<T>;
  /// A step of the precision alone.
  __device__ static element make(std::int64_t i) {
    const T aa = T(0.9) + T(0.1) * uniform(i, 0), p = T(0.1), phi = uniform(i, 1);
    return {1 + p * phi, aa * phi, p, aa};
  }
  /// The same map up to a factor.
  __device__ static float difference(const element& x, const element& y) {
    const auto at = [](const element& e) { return float((e.a + e.b) / (e.c + e.d)); };
    return defect(at(x), at(y));
  }
};

struct filtering {
  static constexpr const char* name = "filtering (20 B)";
  using monoid = kalscan::filtering_monoid<float>;
  using element = kalscan::filtering_element<float>;
  __device__ static element make(std::int64_t i) {
    const kalscan::scalar_filter<float> filter{0.9f + 0.1f * uniform(i, 0), 0.1f};
    return filter.lift({uniform(i, 1), uniform(i, 2) - 0.5f});
  }
  __device__ static float difference(const element& x, const element& y) {
    return fmaxf(fmaxf(defect(x.A, y.A), defect(x.b, y.b)), fmaxf(defect(x.C, y.C), defect(x.J, y.J)));
  }
};

/// Four lanes of the filter side by side.
struct filtering4 {
  static constexpr const char* name = "4 filtering (80 B)";
  struct element {
    filtering::element lane[4];
  };
  struct monoid {
    KALSCAN_HD static element identity() {
      constexpr auto one = filtering::monoid::identity();
      return {{one, one, one, one}};
    }
    KALSCAN_HD element operator()(const element& x, const element& y) const {
      constexpr filtering::monoid m;
      return {{m(x.lane[0], y.lane[0]), m(x.lane[1], y.lane[1]), m(x.lane[2], y.lane[2]), m(x.lane[3], y.lane[3])}};
    }
  };
  __device__ static element make(std::int64_t i) {
    return {{filtering::make(4 * i), filtering::make(4 * i + 1), filtering::make(4 * i + 2), filtering::make(4 * i + 3)}};
  }
  __device__ static float difference(const element& x, const element& y) {
    float worst = 0;
    for (int k = 0; k < 4; ++k) worst = fmaxf(worst, filtering::difference(x.lane[k], y.lane[k]));
    return worst;
  }
};

}  // namespace workload
