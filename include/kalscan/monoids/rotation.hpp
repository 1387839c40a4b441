// SPDX-License-Identifier: MIT
// Rotations of space as unit quaternions.
#pragma once

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

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
  return u.x * v.x + u.y * v.y + u.z * v.z;
}
template <class T>
[[nodiscard]] KALSCAN_HD constexpr vector3<T> cross(const vector3<T>& u, const vector3<T>& v) {
  return {u.y * v.z - u.z * v.y, u.z * v.x - u.x * v.z, u.x * v.y - u.y * v.x};
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
  return {r.w * s.w - r.x * s.x - r.y * s.y - r.z * s.z, r.w * s.x + r.x * s.w + r.y * s.z - r.z * s.y,
          r.w * s.y - r.x * s.z + r.y * s.w + r.z * s.x, r.w * s.z + r.x * s.y - r.y * s.x + r.z * s.w};
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
  return v + r.w * t + cross(axis, t);
}
/// r, whose length is 1 but for rounding, with a length of 1 to the last digit or two.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr quaternion<T> nearly_unit(const quaternion<T>& r) {
  // One step of Newton's iteration for 1 / sqrt(n) from 1: the error of the length is squared.
  const T s = (T(3) - (r.w * r.w + r.x * r.x + r.y * r.y + r.z * r.z)) / T(2);
  return {r.w * s, r.x * s, r.y * s, r.z * s};
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
static_assert(monoid<rotation_monoid<float>>);

}  // namespace kalscan
