// SPDX-License-Identifier: MIT
// Models of constant matrices whose covariances have settled: from there on only means change.
#pragma once

#include <cmath>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// Whether two covariances, or informations, differ by no more than the rounding of a step.
template <class T, int N>
KALSCAN_HD bool same_but_rounding(const small_symmetric<T, N>& x, const small_symmetric<T, N>& y) {
  constexpr T rounding = 4 * std::numeric_limits<T>::epsilon();
  // Of the standard deviations. With less, rounding can go round in a circle for ever.
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
struct settled_gains {
  small_matrix<T, N, M> K{};
  small_vector<T, M> s{}, scale{};  // the innovations' variances, and 1 / sqrt(s)
  bool hold = false;

  KALSCAN_HD void keep(int k, const small_innovation<T, N>& x) {
    unrolled<N>([&](int i) { K(i, k) = x.K(i); });
    s(k) = x.s;
    scale(k) = x.scale;
  }

  /// After a step that began with the filtered covariance `before`, or a root of it: whether it left that as it was, up
  /// to the rounding of a step, and each component told something.
  template <class Spread>
  KALSCAN_HD void judge(const Spread& before, const Spread& after, const independent_readings<T, N, M>& o) {
    hold = true;
    unrolled<M>([&](int k) { hold = hold && o.present[k] && s(k) > 0; });
    hold = hold && same_but_rounding(after, before);
  }

  KALSCAN_HD bool serve(const independent_readings<T, N, M>& o) const {
    bool all = hold;
    unrolled<M>([&](int k) { all = all && o.present[k]; });
    return all;
  }

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

/// What a step of the smoother takes of the data with all components present, as long as neither the filtered
/// covariance nor the information J of later data changes.
template <class T, int N, int M>
struct settled_smoother {
  small_symmetric<T, N> filtered, J;
  small_matrix<T, N, N> A;     // of the step, given later data
  small_matrix<T, N, M> K, g;  // gains of the step's data; and what they tell of the state before, a unit of innovation
  bool hold = false;

  KALSCAN_HD void keep(int k, const small_vector<T, N>& told, const small_innovation<T, N>& x) {
    unrolled<N>([&](int i) {
      K(i, k) = x.K(i);
      g(i, k) = x.scale * x.scale * told(i);
    });
  }

  /// After a step whose smoothed covariance is `smoothed`, `later` that of the step after it, and which made J
  /// `J_before`, that of the state before: whether either changed. A direction of which J tells little counts by its
  /// covariance. `all`: no component was missing.
  KALSCAN_HD void judge(const small_symmetric<T, N>& smoothed, const small_symmetric<T, N>& later,
                        const small_symmetric<T, N>& J_before, bool all) {
    hold = all && same_but_rounding(J_before, J) && same_but_rounding(smoothed, later);
  }

  /// eta of the state before the step, whose filtered mean is `mean` and was predicted as b.
  KALSCAN_HD small_vector<T, N> before(const small_vector<T, N>& eta, small_vector<T, N> b,
                                       const independent_readings<T, N, M>& o,
                                       const small_vector<T, N>& mean) const {
    small_vector<T, N> own{};
    unrolled<M>([&](int k) {
      const T v = o.y(k) - sum_of<T, N>([&](int i) { return o.H(k, i) * b(i); });
      unrolled<N>([&](int i) {
        b(i) += v * K(i, k);
        own(i) += v * g(i, k);
      });
    });
    add(b, mean, T(-1));
    small_vector<T, N> rest = eta;
    add(rest, times(J, b), T(-1));
    add(own, transposed_times(A, rest));
    return own;
  }
};

}  // namespace kalscan::detail
