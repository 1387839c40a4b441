// SPDX-License-Identifier: MIT
// Models of constant matrices whose covariance has settled: from there on only means change.
#pragma once

#include <cmath>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

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

  /// After a step that began with the filtered covariance `before`: whether it left that as it was, up to the rounding
  /// of a step, and each component told something.
  KALSCAN_HD void judge(const small_symmetric<T, N>& before, const small_symmetric<T, N>& after,
                        const independent_readings<T, N, M>& o) {
    // Of the standard deviations. With less, rounding can go round in a circle for ever.
    constexpr T rounding = 4 * std::numeric_limits<T>::epsilon();
    hold = true;
    unrolled<M>([&](int k) { hold = hold && o.present[k] && s(k) > 0; });
    unrolled<N>([&](int i) { hold = hold && std::abs(after(i, i) - before(i, i)) <= rounding * after(i, i); });
    if (!hold) return;
    small_vector<T, N> deviation{};
    unrolled<N>([&](int i) { deviation(i) = std::sqrt(after(i, i)); });
    for_each_entry<small_symmetric<T, N>>([&](int i, int j) {
      hold = hold && std::abs(after(i, j) - before(i, j)) <= rounding * deviation(i) * deviation(j);
    });
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

}  // namespace kalscan::detail
