// SPDX-License-Identifier: MIT
// Models of constant matrices whose covariances have settled: from there on only means change. What they have settled
// on is found as steps are taken; a device may know it ahead (kalman/device/constant_plan.hpp).
#pragma once

#include <cmath>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// The rounding of a step, of the standard deviations. With less, rounding can go round in a circle for ever.
template <class T>
inline constexpr T rounding_of_step = 4 * std::numeric_limits<T>::epsilon();

/// Whether two covariances, or informations, differ by no more than rounding.
template <class T, int N>
KALSCAN_HD bool same_but_rounding(const small_symmetric<T, N>& x, const small_symmetric<T, N>& y,
                                  T rounding = rounding_of_step<T>) {
  bool same = true;
  unrolled<N>([&](int i) { same = same && std::abs(x(i, i) - y(i, i)) <= rounding * x(i, i); });
  if (!same) return false;
  small_vector<T, N> deviation{};
  unrolled<N>([&](int i) { deviation(i) = std::sqrt(x(i, i)); });
  for_each_entry<small_symmetric<T, N>>([&](int i, int j) {
    same = same && std::abs(x(i, j) - y(i, j)) <= rounding * deviation(i) * deviation(j);
  });
  return same;
}

/// Of roots no digit may differ: what they are carried for is known to more digits than a covariance has.
template <class T, int N>
KALSCAN_HD bool same_but_rounding(const small_lower<T, N>& x, const small_lower<T, N>& y) {
  bool same = true;
  for_each_entry<small_lower<T, N>>([&](int i, int j) { same = same && equal(x(i, j), y(i, j)); });
  return same;
}

/// What a step with all components present takes of its observation, as long as the covariance stays what it is.
template <class T, int N, int M>
struct settled_filter {
  small_matrix<T, N, M> K{};
  small_vector<T, M> s{}, scale{};  // the innovations' variances, and 1 / sqrt(s)
  bool hold = false;

  /// Before the first step.
  template <class Belief>
  KALSCAN_HD void enter(const Belief&) {}

  KALSCAN_HD void keep(int k, const small_innovation<T, N>& x) {
    unrolled<N>([&](int i) { K(i, k) = x.K(i); });
    s(k) = x.s;
    scale(k) = x.scale;
  }

  /// After a step that began with the filtered covariance `before`, or a root of it: whether it left that as it was, up
  /// to the rounding of a step, and each component told something.
  template <class Spread, class Belief>
  KALSCAN_HD void judge(const Spread& before, const Belief& after, const independent_readings<T, N, M>& o) {
    hold = all_present(o);
    unrolled<M>([&](int k) { hold = hold && s(k) > 0; });
    hold = hold && same_but_rounding(spread_of(after), before);
  }

  KALSCAN_HD bool serve(const independent_readings<T, N, M>& o) const { return hold && all_present(o); }

  /// The mean after the observation, from the predicted one. Calls seen(x) for each component, of x only v, s and
  /// scale.
  template <class Seen>
  KALSCAN_HD void observe(const independent_readings<T, N, M>& o, small_vector<T, N>& mean, Seen seen) const {
    unrolled<M>([&](int k) {
      small_innovation<T, N> x{};
      x.v = o.y(k) - sum_of<T, N>([&](int i) { return o.H(k, i) * mean(i); });
      x.s = s(k);
      x.scale = scale(k);
      unrolled<N>([&](int i) { mean(i) += x.v * K(i, k); });
      seen(x);
    });
  }
};

/// Of a step whose covariances are known: what a unit of each component's innovation adds to b, the mean, and to eta, what
/// data say of the state before the step or before a stretch that it ends.
template <class T, int N, int M>
struct step_gains {
  small_matrix<T, N, M> K, g;

  /// Of component k, which tells `told` of the state before.
  KALSCAN_HD void keep(int k, const small_vector<T, N>& told, const small_innovation<T, N>& x) {
    unrolled<N>([&](int i) {
      K(i, k) = x.K(i);
      g(i, k) = x.scale * x.scale * told(i);
    });
  }
  /// Into b, the prediction, and eta.
  KALSCAN_HD void take(const independent_readings<T, N, M>& o, small_vector<T, N>& b, small_vector<T, N>& eta) const {
    unrolled<M>([&](int k) {
      const T v = o.y(k) - sum_of<T, N>([&](int i) { return o.H(k, i) * b(i); });
      unrolled<N>([&](int i) {
        b(i) += v * K(i, k);
        eta(i) += v * g(i, k);
      });
    });
  }
};

/// What a step of the smoother takes of the data with all components present, as long as neither the filtered
/// covariance nor the information J of later data changes.
template <class T, int N, int M>
struct settled_smoother {
  small_symmetric<T, N> filtered, J;
  small_matrix<T, N, N> A;  // of the step, given later data
  step_gains<T, N, M> gains;
  bool hold = false;

  /// Before the first step.
  KALSCAN_HD void enter(const small_likelihood<T, N>&) {}

  /// Before a step in full, of what later data say of its state; and of each of its readings.
  KALSCAN_HD void begin(const small_likelihood<T, N>& later) { J = later.J; }
  KALSCAN_HD void keep(int k, const small_vector<T, N>& told, const small_innovation<T, N>& x) { gains.keep(k, told, x); }

  /// After a step whose filtered and smoothed covariances are given, `later` the smoothed one of the step after it, and
  /// `before` what is said of the state before: whether J or the smoothed covariance changed. A direction of which J
  /// tells little counts by its covariance. A_: of the step, given later data. `all`: no component was missing.
  KALSCAN_HD void judge(const small_symmetric<T, N>& filtered_, const small_matrix<T, N, N>& A_,
                        const small_symmetric<T, N>& smoothed, const small_symmetric<T, N>& later,
                        const small_likelihood<T, N>& before, bool all) {
    filtered = filtered_;
    A = A_;
    hold = all && same_but_rounding(before.J, J) && same_but_rounding(smoothed, later);
  }

  /// Whether all steps to come are known to have the filtered covariance that has settled.
  KALSCAN_HD static constexpr bool knows_filtered() { return false; }
  /// What a step takes while `hold`; `smoothed` is the covariance of the step after it, and of all that have settled.
  KALSCAN_HD const settled_smoother& of_step(small_symmetric<T, N>&) const { return *this; }

  /// eta of the state before the step, whose filtered mean is `mean` and was predicted as b.
  KALSCAN_HD small_vector<T, N> before(const small_vector<T, N>& eta, small_vector<T, N> b,
                                       const independent_readings<T, N, M>& o,
                                       const small_vector<T, N>& mean) const {
    small_vector<T, N> own{};
    gains.take(o, b, own);
    add(b, mean, T(-1));
    small_vector<T, N> rest = eta;
    add(rest, times(J, b), T(-1));
    add(own, transposed_times(A, rest));
    return own;
  }
};

/// A traversal without a plan. A plan gives replays the objects that say when covariances have settled, filter_settling()
/// and smoother_settling(). These have enter, before the first step; keep, for each reading, and judge, after each step in
/// full; serve and observe, or of_step, for steps that have settled. A plan's enter and judge may replace a covariance that
/// is close to what is known to be its limit by that.
template <class T, int N, int M>
struct no_plan {
  KALSCAN_HD settled_filter<T, N, M> filter_settling() const { return {}; }
  KALSCAN_HD settled_smoother<T, N, M> smoother_settling() const { return {}; }
};

}  // namespace kalscan::detail
