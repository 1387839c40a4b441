// SPDX-License-Identifier: MIT
// Kalman filters whose state is a vector in space that turns, with one variance for its three components: beliefs, the
// filtering element, and the map of their adjoints.
#pragma once

#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/monoids/rotation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// A Gaussian in space with covariance variance * I. At infinite variance the information vector stands in the mean's
/// place, as in belief.
template <class T>
struct isotropic_belief {
  T mean_x, mean_y, mean_z, variance;

  KALSCAN_HD constexpr vector3<T> mean() const { return {mean_x, mean_y, mean_z}; }
  KALSCAN_HD friend constexpr bool operator==(const isotropic_belief& b, const isotropic_belief& c) {
    return b.mean() == c.mean() && detail::equal(b.variance, c.variance);
  }
};
/// The same by precision and vector = precision * mean, as information_belief.
template <class T>
struct isotropic_information {
  T precision, vector_x, vector_y, vector_z;
};

namespace detail {

/// Calls f on the components of vectors.
template <class F, class... V>
KALSCAN_HD constexpr auto each_component(F f, const V&... v) {
  return vector3<decltype(f(v.x...))>{f(v.x...), f(v.y...), f(v.z...)};
}

}  // namespace detail

/// A stretch of time of a filter x' = gain R x + noise: the conditional x_out | x_in ~ N(gain R x_in + b, C I) and the
/// likelihood exp(eta . x_in - J |x_in|^2 / 2) of its data, R the rotation of a unit quaternion. Thirteen numbers: with
/// covariances that are multiples of the identity this is the filtering element of a state in three dimensions.
template <class T>
struct rotating_element {
  T gain;
  quaternion<T> rotation;
  vector3<T> b;
  T C;
  vector3<T> eta;
  T J;
  KALSCAN_HD friend constexpr bool operator==(const rotating_element& x, const rotating_element& y) {
    return detail::equal(x.gain, y.gain) && x.rotation == y.rotation && x.b == y.b && detail::equal(x.C, y.C) &&
           x.eta == y.eta && detail::equal(x.J, y.J);
  }
};

/// The combine operator; `earlier` acts first. Between the stretches, where both are seen without their rotations, each
/// component is that of filtering_monoid. Associative up to rounding, with its range and its division.
template <class T>
struct rotating_monoid {
  KALSCAN_HD static constexpr rotating_element<T> identity() {
    return {T(1), rotation_monoid<T>::identity(), {T(0), T(0), T(0)}, T(0), {T(0), T(0), T(0)}, T(0)};
  }
  KALSCAN_HD constexpr rotating_element<T> operator()(const rotating_element<T>& earlier,
                                                      const rotating_element<T>& later) const {
    const auto middle = detail::each_component(
        [&](const T& b, const T& eta) {
          return filtering_monoid<T>{}({earlier.gain, b, earlier.C, T(0), earlier.J},
                                       {later.gain, T(0), later.C, eta, later.J});
        },
        earlier.b, later.eta);
    const vector3<T> b{middle.x.b, middle.y.b, middle.z.b}, eta{middle.x.eta, middle.y.eta, middle.z.eta};
    return {middle.x.A,
            rotation_monoid<T>{}(earlier.rotation, later.rotation),
            rotated(later.rotation, b) + later.b,
            middle.x.C,
            rotated(conjugate(earlier.rotation), eta) + earlier.eta,
            middle.x.J};
  }
};

namespace detail {

/// The belief after a stretch wherever act of filtering_element holds. Seldom wanted, and no part of the code around it.
template <class T>
[[nodiscard]] __attribute__((noinline)) KALSCAN_HD constexpr isotropic_belief<T> act_on_components(
    const rotating_element<T>& x, const isotropic_belief<T>& before) {
  const auto after = each_component(
      [&](const T& mean, const T& b, const T& eta) {
        return act(filtering_element<T>{x.gain, b, x.C, eta, x.J}, belief<T>{mean, before.variance});
      },
      rotated(x.rotation, before.mean()), x.b, rotated(x.rotation, x.eta));
  return {after.x.mean, after.y.mean, after.z.mean, after.x.variance};
}

}  // namespace detail

/// The belief after the stretch from the one before it, as act of filtering_element.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr isotropic_belief<T> act(const rotating_element<T>& x,
                                                           const isotropic_belief<T>& before) {
  const T information = before.variance * x.J;
  if (before.variance < detail::infinity<T> && information < detail::infinity<T>) {
    const T d = T(1) / (T(1) + information), dP = d * before.variance, variance = x.gain * x.gain * dP + x.C;
    if (variance < detail::infinity<T>) {
      const vector3<T> mean = x.gain * rotated(x.rotation, d * before.mean() + dP * x.eta) + x.b;
      return {mean.x, mean.y, mean.z, variance};
    }
  }
  return detail::act_on_components(x, before);
}

/// The affine map of the adjoint of such a belief through a stretch of time, from its end to its beginning:
/// mean' = x R* mean + c, variance' = y . mean + x^2 variance + d, with R* the opposite of the stretch's rotation.
template <class T>
struct rotating_adjoint_map {
  T x;
  quaternion<T> rotation;
  vector3<T> y, c;
  T d;
  KALSCAN_HD friend constexpr bool operator==(const rotating_adjoint_map& m, const rotating_adjoint_map& n) {
    return detail::equal(m.x, n.x) && m.rotation == n.rotation && m.y == n.y && m.c == n.c && detail::equal(m.d, n.d);
  }
};

/// Composition of such maps, operands in order of time: `later` acts first. Associative up to rounding.
template <class T>
struct rotating_adjoint_monoid {
  KALSCAN_HD static constexpr rotating_adjoint_map<T> identity() {
    return {T(1), rotation_monoid<T>::identity(), {T(0), T(0), T(0)}, {T(0), T(0), T(0)}, T(0)};
  }
  KALSCAN_HD constexpr rotating_adjoint_map<T> operator()(const rotating_adjoint_map<T>& earlier,
                                                          const rotating_adjoint_map<T>& later) const {
    const T xx = earlier.x * earlier.x;
    return {earlier.x * later.x, rotation_monoid<T>{}(earlier.rotation, later.rotation),
            later.x * rotated(later.rotation, earlier.y) + xx * later.y,
            earlier.x * rotated(conjugate(earlier.rotation), later.c) + earlier.c,
            dot(earlier.y, later.c) + xx * later.d + earlier.d};
  }
};

template <class T>
[[nodiscard]] KALSCAN_HD constexpr isotropic_belief<T> act(const rotating_adjoint_map<T>& map,
                                                           const isotropic_belief<T>& later) {
  const vector3<T> mean = map.x * rotated(conjugate(map.rotation), later.mean()) + map.c;
  return {mean.x, mean.y, mean.z, dot(map.y, later.mean()) + map.x * map.x * later.variance + map.d};
}

}  // namespace kalscan
