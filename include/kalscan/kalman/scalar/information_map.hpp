// SPDX-License-Identifier: MIT
// The scalar Kalman filter in information form: the Möbius map of the precision, and the 3x3 map of the whole belief.
#pragma once

#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/monoids/mobius.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <kalscan/support/power_of_two.hpp>

namespace kalscan {

/// A belief in homogeneous coordinates, known up to a common positive factor: precision u / v and information vector
/// w / v, so mean w / u and variance v / u. (0, 1, w) has precision 0 and the vector w, (1, 0, m) is the point m.
template <class T>
struct homogeneous_belief {
  T u, v, w;
  KALSCAN_HD friend constexpr bool operator==(const homogeneous_belief& x, const homogeneous_belief& y) {
    return detail::equal(x.u, y.u) && detail::equal(x.v, y.v) && detail::equal(x.w, y.w);
  }
};

/// The linear map [[uu, uv, 0], [vu, vv, 0], [wu, wv, ww]] of (u, v, w), known up to a common positive factor. Its
/// upper left block is the Möbius map of the precision. operator== compares the matrices.
template <class T>
struct information_map {
  T uu, uv, vu, vv, wu, wv, ww;
  KALSCAN_HD friend constexpr bool operator==(const information_map& x, const information_map& y) {
    return detail::equal(x.uu, y.uu) && detail::equal(x.uv, y.uv) && detail::equal(x.vu, y.vu) &&
           detail::equal(x.vv, y.vv) && detail::equal(x.wu, y.wu) && detail::equal(x.wv, y.wv) &&
           detail::equal(x.ww, y.ww);
  }
};

/// A belief in homogeneous coordinates, of either form; an infinite variance has its vector in the mean's place.
template <class T>
KALSCAN_HD constexpr homogeneous_belief<T> to_homogeneous(const belief<T>& x) {
  if (detail::equal(x.variance, detail::infinity<T>)) return {T(0), T(1), x.mean};
  return {T(1), x.variance, x.mean};
}

template <class T>
KALSCAN_HD constexpr homogeneous_belief<T> to_homogeneous(const information_belief<T>& x) {
  return {x.precision, T(1), x.vector};
}

/// The belief in moment form. (0, 0, 0), which a diffuse belief becomes at a = 0, counts as diffuse.
template <class T>
KALSCAN_HD constexpr belief<T> to_moments(const homogeneous_belief<T>& x) {
  const T variance = detail::equal(x.u, 0) ? detail::infinity<T> : x.v / x.u;
  if (detail::equal(variance, detail::infinity<T>)) return {detail::equal(x.v, 0) ? T(0) : x.w / x.v, variance};
  return {x.w / x.u, variance};
}

/// The same stretch of time as an information map: the two are coordinates of one operator.
template <class T>
KALSCAN_HD constexpr information_map<T> to_information_map(const filtering_element<T>& x) {
  return {T(1), x.J, x.C, x.A * x.A + x.C * x.J, x.b, x.A * x.eta + x.b * x.J, x.A};
}

/// The precision's part of an information map.
template <class T>
KALSCAN_HD constexpr mobius_map<T> precision_map(const information_map<T>& x) {
  return {x.uu, x.uv, x.vu, x.vv};
}

/// Rescaled by a power of two where the largest entry has left [2^-k, 2^k]; see rescaled(mobius_map).
template <class T>
KALSCAN_HD constexpr information_map<T> rescaled(const information_map<T>& x) {
  const T s = detail::rescale_factor(detail::largest_magnitude(x.uu, x.uv, x.vu, x.vv, x.wu, x.wv, x.ww));
  return {x.uu * s, x.uv * s, x.vu * s, x.vv * s, x.wu * s, x.wv * s, x.ww * s};
}

/// Rescaled by a power of two to uu in [1, 2), of a normal uu below half the largest power of two; else all zeros.
template <class T>
KALSCAN_HD constexpr information_map<T> normalized(const information_map<T>& x) {
  const T s = detail::inverse_power_of_two(x.uu);
  return {x.uu * s, x.uv * s, x.vu * s, x.vv * s, x.wu * s, x.wv * s, x.ww * s};
}

template <class T>
KALSCAN_HD constexpr homogeneous_belief<T> rescaled(const homogeneous_belief<T>& x) {
  const T s = detail::rescale_factor(detail::largest_magnitude(x.u, x.v, x.w));
  return {x.u * s, x.v * s, x.w * s};
}

/// The belief after a stretch of time, of the one before it; not rescaled.
template <class T>
KALSCAN_HD constexpr homogeneous_belief<T> act(const information_map<T>& x, const homogeneous_belief<T>& before) {
  const auto& [u, v, w] = before;
  return {x.uu * u + x.uv * v, x.vu * u + x.vv * v, x.wu * u + x.wv * v + x.ww * w};
}

/// A step of a belief, x' = a x + noise of variance p observed with information phi and information vector r; aa = a a.
/// Not rescaled.
template <class T>
KALSCAN_HD constexpr homogeneous_belief<T> extend(const homogeneous_belief<T>& x, const T& a, const T& aa, const T& p,
                                                  const T& phi, const T& r) {
  const T v = detail::fused(aa, x.v, p * x.u);
  return {detail::fused(phi, v, x.u), v, detail::fused(r, v, a * x.w)};
}

/// A stretch of time and such a step more. Eleven multiply-adds, where a filtering_element takes a division and more;
/// not rescaled, and nothing but what stands for the mean ever cancels. A step multiplies uu by up to 1 + phi P, P the
/// predicted variance.
template <class T>
KALSCAN_HD constexpr information_map<T> extend(const information_map<T>& x, const T& a, const T& aa, const T& p,
                                               const T& phi, const T& r) {
  const auto [uu, vu, wu] = extend(homogeneous_belief<T>{x.uu, x.vu, x.wu}, a, aa, p, phi, r);
  const auto [uv, vv, wv] = extend(homogeneous_belief<T>{x.uv, x.vv, x.wv}, a, aa, p, phi, r);
  return {uu, uv, vu, vv, wu, wv, a * x.ww};
}

/// The same for step i = 0 ... 3 of four whose a is the same; only after all four is the map that of these steps. The
/// vector's parts are multiplied by a^4 once for all four, and what comes in at step i by what is left of that: 38
/// products in place of 44, beside the powers of a.
template <class T>
KALSCAN_HD constexpr information_map<T> extend_in_four(const information_map<T>& x, const T& a, const T& aa, const T& p,
                                                       const T& phi, const T& r, int i) {
  const T vu = detail::fused(aa, x.vu, p * x.uu), vv = detail::fused(aa, x.vv, p * x.uv);
  const T uu = detail::fused(phi, vu, x.uu), uv = detail::fused(phi, vv, x.uv);
  const T in = i == 3 ? r : i == 2 ? r * a : i == 1 ? r * aa : r * (aa * a);
  if (i > 0) return {uu, uv, vu, vv, detail::fused(in, vu, x.wu), detail::fused(in, vv, x.wv), x.ww};
  const T four = aa * aa;
  return {uu, uv, vu, vv, detail::fused(in, vu, four * x.wu), detail::fused(in, vv, four * x.wv), four * x.ww};
}

/// Composition of information maps, the matrix product later * earlier; `earlier` acts first. Associative as maps: up
/// to rounding and a power of two.
///
/// Range of validity: as mobius_monoid. Where p = 0 and the precision grows beyond about 1e19 in float, or a stretch
/// forgets its past (a^n below 1e-19), entries that matter underflow. The filtering element has no such limits.
template <class T>
struct information_monoid {
  KALSCAN_HD static constexpr information_map<T> identity() { return {T(1), T(0), T(0), T(1), T(0), T(0), T(1)}; }
  KALSCAN_HD constexpr information_map<T> operator()(const information_map<T>& earlier,
                                                     const information_map<T>& later) const {
    const auto& [uu1, uv1, vu1, vv1, wu1, wv1, ww1] = earlier;
    const auto& [uu2, uv2, vu2, vv2, wu2, wv2, ww2] = later;
    return rescaled(information_map<T>{uu2 * uu1 + uv2 * vu1, uu2 * uv1 + uv2 * vv1, vu2 * uu1 + vv2 * vu1,
                                       vu2 * uv1 + vv2 * vv1, wu2 * uu1 + wv2 * vu1 + ww2 * wu1,
                                       wu2 * uv1 + wv2 * vv1 + ww2 * wv1, ww2 * ww1});
  }
};

/// The scalar Kalman filter of scalar_filter (x' = a x + noise of variance p) in the paper's coordinates: state a
/// homogeneous_belief, read with to_moments; input a scalar_observation. No division at all, at the price of the range
/// of information_monoid, and without an image of the diffuse belief at a = 0. Source: arXiv 2602.10743, the Möbius
/// form of the information recurrence.
template <class T>
struct information_filter {
  using state_type = homogeneous_belief<T>;
  using input_type = scalar_observation<T>;

  T a, p;

  KALSCAN_HD static constexpr information_monoid<T> monoid() { return {}; }

  KALSCAN_HD constexpr state_type step(const state_type& state, const input_type& input) const {
    return rescaled(extend(state, a, a * a, p, input.phi, input.r));
  }
  KALSCAN_HD constexpr information_map<T> lift(const input_type& input) const {
    const auto& [phi, r] = input;
    return rescaled(information_map<T>{T(1) + p * phi, a * a * phi, p, a * a, r * p, r * a * a, a});
  }
  KALSCAN_HD constexpr state_type act(const information_map<T>& x, const state_type& state) const {
    return rescaled(kalscan::act(x, state));
  }
};

/// The precision alone: lambda' = lambda / (a^2 + p lambda) + phi, whose elements are Möbius maps. State: the
/// precision; 0 (diffuse) is allowed unless a = 0, and infinity (a point). The input's r is not used.
template <class T>
struct mobius_filter {
  using state_type = T;
  using input_type = scalar_observation<T>;

  T a, p;

  KALSCAN_HD static constexpr mobius_monoid<T> monoid() { return {}; }

  KALSCAN_HD constexpr T step(const T& precision, const input_type& input) const {
    if (detail::equal(precision, detail::infinity<T>)) return T(1) / p + input.phi;
    return precision / (a * a + p * precision) + input.phi;
  }
  KALSCAN_HD constexpr mobius_map<T> lift(const input_type& input) const {
    return rescaled(mobius_map<T>{T(1) + p * input.phi, a * a * input.phi, p, a * a});
  }
  KALSCAN_HD constexpr T act(const mobius_map<T>& element, const T& precision) const { return element(precision); }
};

}  // namespace kalscan
