// SPDX-License-Identifier: MIT
// The scalar Kalman filter as a recurrence.
#pragma once

#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// Predict and update of a belief whose predicted variance, times phi, is finite: one division, no branch, no
/// cancellation. `aa` is a^2. How a device divides, and what is rounded together, is a matter of `How`.
template <detail::rounding_mode How = detail::rounding_mode::rounded, class T>
KALSCAN_HD constexpr belief<T> finite_step(const belief<T>& before, const T& a, const T& aa, const T& p,
                                           const scalar_observation<T>& input) {
  const T predicted = detail::fused<How>(aa, before.variance, p);
  const T i = detail::reciprocal<How>(detail::fused<How>(input.phi, predicted, T(1)));
  const T variance = predicted * i;
  return {detail::fused<How>(a * before.mean, i, variance * input.r), variance};
}

/// One lane of a Kalman filter: predict with x' = a x + noise of variance p >= 0, then update with an observation.
///
/// State: the belief after the step, in moment form. Input: a scalar_observation. The step is the information-form
/// recurrence of Kalman Linear Attention (arXiv 2602.10743), lambda' = lambda / (a^2 + p lambda) + phi and
/// eta' = a / (a^2 + p lambda) eta + r, written with one division and no cancellation; it is exact at a = 0, p = 0 and
/// phi = 0. An infinite variance (precision 0) is allowed. Lift and absorb need finite phi p and phi C.
template <class T, detail::rounding_mode How = detail::rounding_mode::rounded>
struct scalar_filter {
  using state_type = belief<T>;
  using input_type = scalar_observation<T>;

  T a, p;

  KALSCAN_HD static constexpr filtering_monoid<T> monoid() { return {}; }

  /// Predict and update. While the variance is infinite: a = 0 predicts N(0, p), phi = 0 leaves it infinite with the
  /// vector eta / a + r in the mean's place, and otherwise (phi, eta / a + r) is the belief.
  KALSCAN_HD constexpr belief<T> step(const belief<T>& state, const scalar_observation<T>& input) const {
    const auto& [phi, r] = input;
    const bool improper = detail::equal(state.variance, detail::infinity<T>);
    const T predicted = !improper ? detail::fused<How>(a * a, state.variance, p)
                                  : detail::equal(a, 0) ? p : state.variance;
    if (detail::equal(predicted, detail::infinity<T>) || detail::equal(phi * predicted, detail::infinity<T>)) {
      const information_belief<T> x = detail::predict_information(state, a, p).predicted;
      return to_moments(
          information_belief<T>{detail::sum_of_rounded(x.precision, phi), detail::sum_of_rounded(x.vector, r)});
    }
    return finite_step<How>(improper ? belief<T>{T(0), T(0)} : state, a, a * a, p, input);
  }

  KALSCAN_HD constexpr filtering_element<T> lift(const scalar_observation<T>& input) const {
    const auto& [phi, r] = input;
    const T i = T(1) / (T(1) + phi * p);
    const T A = a * i, C = p * i;
    return {A, C * r, C, A * r, a * phi * A};
  }

  KALSCAN_HD constexpr belief<T> act(const filtering_element<T>& element, const belief<T>& state) const {
    return kalscan::act(element, state);
  }

  /// J is NaN where phi C overflows, so that nobody takes what the division by infinity leaves for an element.
  KALSCAN_HD constexpr filtering_element<T> absorb(const filtering_element<T>& x,
                                                   const scalar_observation<T>& input) const {
    const auto& [phi, r] = input;
    const T Am = a * x.A, bm = a * x.b, Cm = a * a * x.C + p;
    const T phiC = phi * Cm;
    const T i = detail::reciprocal<How>(T(1) + phiC);
    const T A = Am * i, C = Cm * i;
    return {A, bm * i + C * r, C, x.eta + A * (r - phi * bm), x.J + Am * phi * A + T(0) * phiC};
  }
};

}  // namespace kalscan
