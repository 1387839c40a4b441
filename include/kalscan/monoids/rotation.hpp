// SPDX-License-Identifier: MIT
// Rotations of space as unit quaternions.
#pragma once

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <type_traits>

namespace kalscan {

namespace detail {

/// a b - c d and a b + c d + e f, with the same bits wherever they stand.
template <class T>
KALSCAN_HD constexpr T difference_of_products(const T& a, const T& b, const T& c, const T& d) {
  return fused(a, b, -(c * d));
}
template <class T>
KALSCAN_HD constexpr T sum_of_products(const T& a, const T& b, const T& c, const T& d, const T& e, const T& f) {
  return fused(e, f, fused(a, b, c * d));
}

}  // namespace detail

/// A vector in space.
template <class T>
struct vector3 {
  T x, y, z;
  KALSCAN_HD friend constexpr bool operator==(const vector3& u, const vector3& v) {
    return detail::equal(u.x, v.x) && detail::equal(u.y, v.y) && detail::equal(u.z, v.z);
  }
  KALSCAN_HD friend constexpr vector3 operator+(const vector3& u, const vector3& v) {
    return {u.x + v.x, u.y + v.y, u.z + v.z};
  }
  KALSCAN_HD friend constexpr vector3 operator*(const T& s, const vector3& v) { return {s * v.x, s * v.y, s * v.z}; }
};
template <class T>
[[nodiscard]] KALSCAN_HD constexpr T dot(const vector3<T>& u, const vector3<T>& v) {
  return detail::sum_of_products(u.x, v.x, u.y, v.y, u.z, v.z);
}
template <class T>
[[nodiscard]] KALSCAN_HD constexpr vector3<T> cross(const vector3<T>& u, const vector3<T>& v) {
  using detail::difference_of_products;
  return {difference_of_products(u.y, v.z, u.z, v.y), difference_of_products(u.z, v.x, u.x, v.z),
          difference_of_products(u.x, v.y, u.y, v.x)};
}

/// w + x i + y j + z k. One of length 1 is the rotation v -> r v r*; r and -r are the same one.
template <class T>
struct quaternion {
  T w, x, y, z;
  KALSCAN_HD friend constexpr bool operator==(const quaternion& r, const quaternion& s) {
    return detail::equal(r.w, s.w) && detail::equal(r.x, s.x) && detail::equal(r.y, s.y) && detail::equal(r.z, s.z);
  }
};
/// Hamilton's product: as rotations, `s` acts first.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr quaternion<T> operator*(const quaternion<T>& r, const quaternion<T>& s) {
  const auto number = [](const T& a, const T& b, const T& c, const T& d, const T& e, const T& f, const T& g,
                         const T& h) { return detail::fused(g, h, detail::sum_of_products(a, b, c, d, e, f)); };
  return {number(r.w, s.w, -r.x, s.x, -r.y, s.y, -r.z, s.z), number(r.w, s.x, r.x, s.w, r.y, s.z, -r.z, s.y),
          number(r.w, s.y, -r.x, s.z, r.y, s.w, r.z, s.x), number(r.w, s.z, r.x, s.y, -r.y, s.x, r.z, s.w)};
}
/// The opposite rotation of a unit quaternion.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr quaternion<T> conjugate(const quaternion<T>& r) {
  return {r.w, -r.x, -r.y, -r.z};
}
/// v turned by the unit quaternion r.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr vector3<T> rotated(const quaternion<T>& r, const vector3<T>& v) {
  const vector3<T> axis{r.x, r.y, r.z};
  const vector3<T> t = (T(1) + T(1)) * cross(axis, v);
  const vector3<T> c = cross(axis, t);
  return {detail::fused(r.w, t.x, v.x) + c.x, detail::fused(r.w, t.y, v.y) + c.y, detail::fused(r.w, t.z, v.z) + c.z};
}
/// A rotation as a matrix: dearer to form than a quaternion, cheaper to apply.
template <class T>
struct rotation_matrix {
  T xx, xy, xz, yx, yy, yz, zx, zy, zz;
  KALSCAN_HD friend constexpr vector3<T> operator*(const rotation_matrix& m, const vector3<T>& v) {
    using detail::sum_of_products;
    return {sum_of_products(m.xx, v.x, m.xy, v.y, m.xz, v.z), sum_of_products(m.yx, v.x, m.yy, v.y, m.yz, v.z),
            sum_of_products(m.zx, v.x, m.zy, v.y, m.zz, v.z)};
  }
  /// The opposite rotation of v.
  [[nodiscard]] KALSCAN_HD constexpr vector3<T> transposed_times(const vector3<T>& v) const {
    using detail::sum_of_products;
    return {sum_of_products(xx, v.x, yx, v.y, zx, v.z), sum_of_products(xy, v.x, yy, v.y, zy, v.z),
            sum_of_products(xz, v.x, yz, v.y, zz, v.z)};
  }
};
/// That of a unit quaternion.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr rotation_matrix<T> matrix_of(const quaternion<T>& r) {
  const auto& [w, x, y, z] = r;
  const T one(1), two = one + one;
  const auto less = [](const T& a, const T& b, const T& c, const T& d) {
    return detail::difference_of_products(a, b, c, d);
  };
  const auto plus = [](const T& a, const T& b, const T& c, const T& d) { return detail::fused(a, b, c * d); };
  const auto rest = [&](const T& a, const T& b) { return detail::fused(-two, plus(a, a, b, b), one); };
  return {rest(y, z), two * less(x, y, w, z), two * plus(x, z, w, y),
          two * plus(x, y, w, z), rest(x, z), two * less(y, z, w, x),
          two * less(x, z, w, y), two * plus(y, z, w, x), rest(x, y)};
}
/// r, whose length is 1 but for rounding, with a length of 1 to the last digit or two.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr quaternion<T> nearly_unit(const quaternion<T>& r) {
  // One step of Newton's iteration for 1 / sqrt(n) from 1: the error of the length is squared.
  const T s = (T(3) - detail::fused(r.z, r.z, detail::sum_of_products(r.w, r.w, r.x, r.x, r.y, r.y))) / T(2);
  return {r.w * s, r.x * s, r.y * s, r.z * s};
}

namespace detail {

#if defined(__CUDA_ARCH__)
/// The device's 1 / sqrt(n), good to 2 units in the last place.
__device__ inline float device_reciprocal_root(float n) {
  float x = 0;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(x) : "f"(n));
  return x;
}
#endif

/// 1 / sqrt(n) for 1 <= n <= 4, by arithmetic alone, so that loops over it become vector code: the parabola through
/// n = 1, 2 and 4 is good to 7%, and each step of Newton's iteration squares the error. A device has an instruction for
/// it in float.
template <class T>
KALSCAN_HD constexpr T reciprocal_root(const T& n) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float>) {
    if (!std::is_constant_evaluated()) return device_reciprocal_root(n);
  }
#endif
  constexpr int digits = std::numeric_limits<T>::digits, steps = digits <= 24 ? 3 : digits <= 53 ? 4 : 5;
  T x = fused(n - T(1), fused(T(0.06311295), n - T(2), T(-0.29289322)), T(1));
  const auto step = [&](const T& y) { return y * fused(-(n * y), y, T(3)) / T(2); };
  x = step(step(step(x)));
  if constexpr (steps > 3) x = step(x);
  if constexpr (steps > 4) x = step(x);
  return x;
}

}  // namespace detail

/// A quaternion of any length as the unit quaternion of the same rotation, and the reciprocal of its length.
template <class T>
struct direction {
  quaternion<T> unit;
  T inverse_length;
};
/// The identity, and 0, where all numbers of r are 0 or subnormal; NaN where one of them is infinite or NaN. Nothing
/// between overflows.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr direction<T> direction_of(const quaternion<T>& r) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float>) {
    if (!std::is_constant_evaluated()) {
      // The squares are in range unless all numbers are tiny or one is huge: a power of two brings them there.
      const float largest = fmaxf(fmaxf(fabsf(r.w), fabsf(r.x)), fmaxf(fabsf(r.y), fabsf(r.z)));
      const bool none = largest < std::numeric_limits<float>::min();
      const float scale = none ? 0.0F : largest < 0x1p-40F ? 0x1p70F : largest > 0x1p60F ? 0x1p-70F : 1.0F;
      const float w = none ? 1.0F : r.w * scale, x = r.x * scale, y = r.y * scale, z = r.z * scale;
      const float i = detail::device_reciprocal_root(detail::fused(z, z, detail::sum_of_products(w, w, x, x, y, y)));
      return {{w * i, x * i, y * i, z * i}, scale * i};
    }
  }
#endif
  const auto larger = [](const T& x, const T& y) { return x > y ? x : y; };
  const auto size = [](const T& x) { return x < T(0) ? -x : x; };
  const T largest = larger(larger(size(r.w), size(r.x)), larger(size(r.y), size(r.z)));
  const bool none = largest < (std::numeric_limits<T>::min)();
  // A quarter of what is large: the device's instruction takes what is below 2^126.
  const T part = largest < T(1) ? T(1) : T(0.25);
  const T scale = none ? T(0) : part * detail::reciprocal<detail::rounding_mode::bounded>(part * largest);
  const T w = none ? T(1) : r.w * scale, x = r.x * scale, y = r.y * scale, z = r.z * scale;
  const T i = detail::reciprocal_root(detail::fused(z, z, detail::sum_of_products(w, w, x, x, y, y)));
  return {{w * i, x * i, y * i, z * i}, scale * i};
}

/// Rotations one after the other, operands in order of time: the product later * earlier, brought back to length 1, so
/// that the length does not drift. Operands are unit quaternions. Associative up to rounding; the angle of a product of
/// n operands is off by some sqrt(n) epsilon.
template <class T>
struct rotation_monoid {
  KALSCAN_HD static constexpr quaternion<T> identity() { return {T(1), T(0), T(0), T(0)}; }
  KALSCAN_HD constexpr quaternion<T> operator()(const quaternion<T>& earlier, const quaternion<T>& later) const {
    return nearly_unit(later * earlier);
  }
};

}  // namespace kalscan
