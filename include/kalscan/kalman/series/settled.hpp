// SPDX-License-Identifier: MIT
// Where covariances have settled, in models with constant matrices: from there on a step computes only its mean. That they
// have settled is found as steps are taken; a device may know their limit ahead (kalman/device/constant_plan.hpp).
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

/// How much of a standard deviation the rounding of a step may be. With a smaller bound covariances may never count as
/// settled, since rounding can make them go in a circle.
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

/// Roots must be equal in all digits: they are carried for what a covariance has no digits of.
template <class T, int N>
KALSCAN_HD bool same_but_rounding(const small_lower<T, N>& x, const small_lower<T, N>& y) {
  bool same = true;
  for_each_entry<small_lower<T, N>>([&](int i, int j) { same = same && equal(x(i, j), y(i, j)); });
  return same;
}

/// How a step with all components present takes its observation, once the covariance has settled: with the gains of the
/// last step that was taken in full.
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

  /// After a step that began with the filtered covariance `before`, or a root of it: sets `hold` if the step left it as it
  /// was, up to rounding, and each component told something.
  template <class Spread, class Belief>
  KALSCAN_HD void judge(const Spread& before, const Belief& after, const independent_readings<T, N, M>& o) {
    hold = all_present(o);
    unrolled<M>([&](int k) { hold = hold && s(k) > 0; });
    hold = hold && same_but_rounding(spread_of(after), before);
  }

  KALSCAN_HD bool serve(const independent_readings<T, N, M>& o) const { return hold && all_present(o); }

  /// Makes the predicted mean that after the observation. Calls seen(x) for each component; x has v, s and scale only.
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

/// The gains of a step whose covariances are known: what a unit of each component's innovation adds to b, the mean, and to
/// eta, what the data say of the state before the step, or before the stretch that ends with it.
template <class T, int N, int M>
struct step_gains {
  small_matrix<T, N, M> K, g;

  /// Keeps the gains of component k, which tells `told` of the state before.
  KALSCAN_HD void keep(int k, const small_vector<T, N>& told, const small_innovation<T, N>& x) {
    unrolled<N>([&](int i) {
      K(i, k) = x.K(i);
      g(i, k) = x.scale * x.scale * told(i);
    });
  }
  /// Takes an observation into b, the prediction, and into eta.
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

/// How a step of the smoother with all components present takes its data, once neither the filtered covariance nor the
/// information J of later data changes.
template <class T, int N, int M>
struct settled_smoother {
  small_symmetric<T, N> filtered, J;
  small_matrix<T, N, N> A;  // of the step's element, given later data
  step_gains<T, N, M> gains;
  bool hold = false;

  /// Before the first step.
  KALSCAN_HD void enter(const small_likelihood<T, N>&) {}

  /// Before a step in full, with what later data say of its state; then `keep` for each of its readings.
  KALSCAN_HD void begin(const small_likelihood<T, N>& later) { J = later.J; }
  KALSCAN_HD void keep(int k, const small_vector<T, N>& told, const small_innovation<T, N>& x) { gains.keep(k, told, x); }

  /// After a step: sets `hold` if no component was missing (`all`) and both J and the smoothed covariance stayed the
  /// same. J alone is not enough: it hardly shows changes in directions about which it has little information. `later`
  /// is the smoothed covariance of the step after this one; `before` is the information on the state before this step.
  KALSCAN_HD void judge(const small_symmetric<T, N>& filtered_, const small_matrix<T, N, N>& A_,
                        const small_symmetric<T, N>& smoothed, const small_symmetric<T, N>& later,
                        const small_likelihood<T, N>& before, bool all) {
    filtered = filtered_;
    A = A_;
    hold = all && same_but_rounding(before.J, J) && same_but_rounding(smoothed, later);
  }

  /// Whether all steps to come are known to have the filtered covariance that has settled.
  KALSCAN_HD static constexpr bool knows_filtered() { return false; }
  /// What a step uses while `hold`; `smoothed` is the covariance that has settled.
  KALSCAN_HD const settled_smoother& of_step(small_symmetric<T, N>&) const { return *this; }

  /// eta of the state before the step from that of the step, whose filtered mean is `mean` and predicted mean b.
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

/// For traversals without a plan. A plan has filter_settling() and smoother_settling(), which make the objects by which a
/// replay knows when covariances have settled. These have `enter`, called before a chunk's first step (by the filter
/// only where that is not the first step of the series); `keep`, called for each reading of a step in full, and
/// `judge`, called after such a step (by the filter only if its predicted belief was proper and it was not the first of
/// the series); and for settled steps `serve` and `observe`, or `of_step`. Those of a real plan know the limit of a
/// covariance: enter and judge then replace one that is close to it by the limit.
template <class T, int N, int M>
struct no_plan {
  KALSCAN_HD settled_filter<T, N, M> filter_settling() const { return {}; }
  KALSCAN_HD settled_smoother<T, N, M> smoother_settling() const { return {}; }
};

}  // namespace kalscan::detail
