// SPDX-License-Identifier: MIT
// The scalar information-form Kalman combine operator.
#pragma once

#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// A stretch of time of a scalar linear-Gaussian model: the conditional x_out | x_in ~ N(A x_in + b, C), and the
/// likelihood of the stretch's data as a function of x_in, in information form (eta, J). C >= 0 and J >= 0, both
/// finite. A belief N(m, P) is the element (0, m, P, 0, 0). Source: Särkkä & García-Fernández 2021, arXiv 1905.13002,
/// Lemma 7.
template <class T>
struct filtering_element {
  T A, b, C, eta, J;
  KALSCAN_HD friend constexpr bool operator==(const filtering_element& x, const filtering_element& y) {
    return detail::equal(x.A, y.A) && detail::equal(x.b, y.b) && detail::equal(x.C, y.C) &&
           detail::equal(x.eta, y.eta) && detail::equal(x.J, y.J);
  }
};

/// The combine operator of arXiv 1905.13002, Lemma 8, with a scalar state; `earlier` acts first. One division.
/// Associative up to rounding; the identity laws are exact. C and J are sums of non-negative terms, so nothing
/// cancels in A, C and J, and nothing is clamped or normalized. Range of validity: C1 J2 must not overflow.
template <class T>
struct filtering_monoid {
  KALSCAN_HD static constexpr filtering_element<T> identity() { return {T(1), T(0), T(0), T(0), T(0)}; }
  KALSCAN_HD constexpr filtering_element<T> operator()(const filtering_element<T>& earlier,
                                                       const filtering_element<T>& later) const {
    const auto& [A1, b1, C1, eta1, J1] = earlier;
    const auto& [A2, b2, C2, eta2, J2] = later;
    const T d = T(1) / (T(1) + C1 * J2);
    const T dC = d * C1, dJ = d * J2;  // at most 1 / J2 and 1 / C1: the products below stay in range
    return {A2 * (d * A1), A2 * (d * b1 + dC * eta2) + b2, A2 * A2 * dC + C2, A1 * (d * eta2 - dJ * b1) + eta1,
            A1 * A1 * dJ + J1};
  }
};

/// The belief after the stretch, in moment form, from the one before it in information form. Precision 0 is allowed; it
/// stays 0 while the stretch has neither data (J = 0) nor forgotten its past (A = 0).
template <class T>
[[nodiscard]] KALSCAN_HD constexpr belief<T> act(const filtering_element<T>& x, const information_belief<T>& before) {
  if (detail::equal(x.A, 0)) return {x.b, x.C};
  const T precision = before.precision + x.J, vector = before.vector + x.eta;
  const T variance = detail::equal(precision, 0) ? detail::infinity<T> : x.A * (x.A / precision) + x.C;
  if (detail::equal(variance, detail::infinity<T>)) return {vector / x.A, variance};
  // In this order: A / precision times the vector can underflow where the mean is of order one.
  return {x.A * (vector / precision) + x.b, variance};
}

/// The belief after the stretch from the one before it, both in moment form: the combine with (0, mean, variance, 0, 0)
/// as the earlier operand. The variance may be zero, or infinite.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr belief<T> act(const filtering_element<T>& x, const belief<T>& before) {
  if (detail::equal(before.variance, detail::infinity<T>) || detail::equal(before.variance * x.J, detail::infinity<T>))
    return act(x, to_information(before));
  const T d = T(1) / (T(1) + before.variance * x.J);
  const T dP = d * before.variance;
  const belief<T> after = {x.A * (d * before.mean + dP * x.eta) + x.b, x.A * x.A * dP + x.C};
  return detail::equal(after.variance, detail::infinity<T>) ? act(x, to_information(before)) : after;
}

}  // namespace kalscan
