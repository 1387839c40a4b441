// SPDX-License-Identifier: MIT
// Scalar Gaussian beliefs in moment and in information form, and the scalar observation.
#pragma once

#include <kalscan/detail/config.hpp>
#include <kalscan/detail/equal.hpp>
#include <kalscan/detail/infinity.hpp>

namespace kalscan {

/// A scalar Gaussian N(mean, variance). An infinite variance is the diffuse belief, whose mean is 0 by convention.
template <class T>
struct belief {
  T mean, variance;
  KALSCAN_HD friend constexpr bool operator==(const belief& x, const belief& y) {
    return detail::equal(x.mean, y.mean) && detail::equal(x.variance, y.variance);
  }
};

/// A scalar Gaussian by precision = 1 / variance and vector = precision * mean. Zero precision is the diffuse belief.
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

/// The same belief in information form. The variance must be positive; an infinite one gives (0, 0).
template <class T>
[[nodiscard]] KALSCAN_HD constexpr information_belief<T> to_information(const belief<T>& x) {
  return {T(1) / x.variance, x.mean / x.variance};
}

/// The same belief in moment form. Zero precision gives the diffuse belief (0, infinity).
template <class T>
[[nodiscard]] KALSCAN_HD constexpr belief<T> to_moments(const information_belief<T>& x) {
  if (detail::equal(x.precision, 0)) return {T(0), detail::infinity<T>};
  return {x.vector / x.precision, T(1) / x.precision};
}

}  // namespace kalscan
