// SPDX-License-Identifier: MIT
// Scalar Gaussian beliefs in moment and in information form, and the scalar observation.
#pragma once

#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// A scalar Gaussian N(mean, variance). An infinite variance is precision 0, where there is no mean: in its place
/// stands the information vector, which is 0 for the diffuse belief, and else that of the improper density exp(vector
/// x).
template <class T>
struct belief {
  T mean, variance;
  KALSCAN_HD friend constexpr bool operator==(const belief& x, const belief& y) {
    return detail::equal(x.mean, y.mean) && detail::equal(x.variance, y.variance);
  }
};

/// A scalar Gaussian by precision = 1 / variance and vector = precision * mean: the density is proportional to
/// exp(vector x - precision x^2 / 2). Precision 0 is allowed; with vector 0 it is the diffuse belief.
template <class T>
struct information_belief {
  T precision, vector;
  KALSCAN_HD friend constexpr bool operator==(const information_belief& x, const information_belief& y) {
    return detail::equal(x.precision, y.precision) && detail::equal(x.vector, y.vector);
  }
};

/// What one step observes: the information phi >= 0 of the observation and its information vector r. An observation
/// y = h x + noise of variance R has phi = h^2 / R and r = h y / R; phi = r = 0 is a missing one. In KLA
/// phi = Lambda k^2 and r = v Lambda k (Shaj et al. 2026, arXiv 2602.10743).
template <class T>
struct scalar_observation {
  T phi, r;
  KALSCAN_HD friend constexpr bool operator==(const scalar_observation& x, const scalar_observation& y) {
    return detail::equal(x.phi, y.phi) && detail::equal(x.r, y.r);
  }
};

/// The same belief in information form. The variance must be positive, unless the mean is 0.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr information_belief<T> to_information(const belief<T>& x) {
  if (detail::equal(x.variance, detail::infinity<T>)) return {T(0), x.mean};
  return {T(1) / x.variance, detail::equal(x.mean, 0) ? T(0) : x.mean / x.variance};
}

/// The same belief in moment form. A precision of which the variance is infinite counts as 0.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr belief<T> to_moments(const information_belief<T>& x) {
  const T variance = detail::equal(x.precision, 0) ? detail::infinity<T> : T(1) / x.precision;
  if (detail::equal(variance, detail::infinity<T>)) return {x.vector, variance};
  return {x.vector / x.precision, variance};
}

namespace detail {

/// The prediction of a belief with x' = a x + noise of variance p >= 0, in information form: lambda' = lambda / D and
/// eta' = a eta / D with D = a^2 + p lambda. A belief of infinite variance is forgotten at a = 0.
template <class T>
struct information_prediction {
  T gain;  // a / D
  T h;     // eta / D
  information_belief<T> predicted;
};
template <class T>
KALSCAN_HD constexpr information_prediction<T> predict_information(const belief<T>& x, const T& a, const T& p) {
  const bool improper = detail::equal(x.variance, detail::infinity<T>);
  if (improper && detail::equal(a, 0)) return {T(0), T(0), {T(1) / p, T(0)}};
  const T precision = improper ? T(0) : T(1) / fused(a, a * x.variance, p);
  const T gain = detail::equal(a, 0) ? T(0) : detail::equal(p, 0) ? T(1) / a : T(1) / (a + p / (a * x.variance));
  if (detail::equal(a, 0) || x.variance <= T(1)) {  // eta may be out of range
    const T h = x.mean * precision;
    return {gain, h, {precision, a * h}};
  }
  const T vector = gain * (improper ? x.mean : x.mean / x.variance);
  return {gain, vector / a, {precision, vector}};
}

}  // namespace detail

}  // namespace kalscan
