// SPDX-License-Identifier: MIT
// A Gaussian belief and what is observed of it, one scalar after the other.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan {

/// Why a step of a filter could not be computed.
enum class step_failure : std::uint8_t {
  none,
  innovation,     ///< the innovation covariance is not finite or not positive semi-definite
  contradiction,  ///< an observation without noise contradicts a prediction that has no variance
  mean,           ///< the mean is not finite
  covariance,     ///< the covariance is not finite
  carry,          ///< the summary of the steps before this stretch of time is not finite
  improper,       ///< the belief is diffuse in part still, and `directions` has no room to tell
};

/// A Gaussian N(mean, covariance) of N states.
template <class T, int N>
struct small_belief {
  small_vector<T, N> mean;
  small_symmetric<T, N> covariance;
};

namespace detail {

/// The observations of one step as scalars h_k x + N(0, d_k) = y_k with independent noise. A component that is missing
/// is not present. |y_k| may be less than terms_k, the magnitude of the terms that it is a sum of.
template <class T, int N, int M>
struct independent_readings {
  small_matrix<T, M, N> H;
  small_vector<T, M> d, y, terms;
  bool present[static_cast<std::size_t>(M)];
};
template <class T, int N, int M>
KALSCAN_HD bool all_present(const independent_readings<T, N, M>& o) {
  bool all = true;
  unrolled<M>([&](int k) { all = all && o.present[k]; });
  return all;
}

/// Each present component less what the noise of those before it tells of its own: by R = L diag(d) L' of the present
/// components, with L unit lower triangular. R may be singular: what is left of a variance counts as zero when it may
/// be the rounding of its terms.
template <class T, int N, int M>
KALSCAN_HD independent_readings<T, N, M> take_apart(const small_matrix<T, M, N>& H, const small_symmetric<T, M>& R,
                                                    const small_vector<T, M>& y) {
  independent_readings<T, N, M> o{H, {}, y, {}, {}};
  bool diagonal = true;
  unrolled<M>([&](int k) {
    o.present[k] = equal(y(k), y(k));
    o.d(k) = R(k, k);
    o.terms(k) = std::abs(y(k));
    unrolled<M>([&](int j) {
      if (j < k) diagonal = diagonal && equal(R(k, j), T(0));
    });
  });
  if (diagonal) return o;
  small_symmetric<T, M> L{};  // of the present components, the others' rows being zero
  const T rounding = rounding_of_sums<T, M>;
  unrolled<M>([&](int k) {
    if (!o.present[k]) return;
    T size = std::sqrt(R(k, k));  // of the terms of d(k)
    unrolled<M>([&](int j) {
      if (j >= k || !o.present[j]) return;
      T left = R(k, j);
      unrolled<M>([&](int i) {
        if (i < j) left -= L(k, i) * o.d(i) * L(j, i);
      });
      L(k, j) = o.d(j) > 0 ? left / o.d(j) : T(0);
      o.d(k) -= L(k, j) * L(k, j) * o.d(j);
      size += std::abs(L(k, j)) * std::sqrt(R(j, j));
      o.y(k) -= L(k, j) * o.y(j);
      o.terms(k) += std::abs(L(k, j)) * o.terms(j);
      unrolled<N>([&](int i) { o.H(k, i) -= L(k, j) * o.H(j, i); });
    });
    if (!(o.d(k) > rounding * size * size)) o.d(k) = 0;
  });
  return o;
}

/// A scalar observation h'x + N(0, d) of x ~ N(mean, P): the innovation v, its variance s = h'P h + d, the gain K = P h
/// / s, and q = P h / sqrt(s). scale = 1 / sqrt(s); s = 0: it says nothing new.
template <class T, int N>
struct small_innovation {
  small_vector<T, N> q, K;
  T v, s, scale;
};

/// 1 / sqrt(x) for x > 0, to about one unit in the last place.
template <class T>
KALSCAN_HD T inverse_root(T x) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 4) {
    const T y = rsqrtf(x);  // within two units; a step of Newton
    return y + T(0.5) * y * (T(1) - x * y * y);
  } else {
    return rsqrt(x);
  }
#else
  return 1 / std::sqrt(x);
#endif
}

/// Removes from a covariance what cannot be: a variance that is not positive is zero but for rounding, and so are the
/// covariances of its component.
template <class T, int N>
KALSCAN_HD void clear_null_variances(small_symmetric<T, N>& P) {
  T least = P(0, 0);
  unrolled<N>([&](int i) { least = P(i, i) < least ? P(i, i) : least; });
  if (!(least <= 0)) return;
  unrolled<N>([&](int i) {
    if (!(P(i, i) <= 0)) return;
    unrolled<N>([&](int j) { P(i, j) = 0; });
  });
}

/// The belief after a scalar observation with innovation x, for entries of h that are zero before `first`. P - q q'
/// alone would lose d where h'P h / d nears 1 / epsilon. What rounding left of P along h is seen in its product with h,
/// which should be d K, and taken back on both sides. Under a diffuse prior `Residues` is not `kept`: a variance counts as
/// zero then where the rounding of h'P h, which comes to it through the gain, may be all of it.
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD void take_reading(small_vector<T, N>& mean, small_symmetric<T, N>& P, const small_vector<T, N>& h, T d,
                             const small_innovation<T, N>& x, int first = 0) {
  add(mean, x.K, x.v);
  add_square(P, x.q, T(-1));
  if (!loses_digits(d, x.s)) return;
  small_vector<T, N> w = times(P, h, first);
  add(w, x.K, -d);
  add(w, x.K, -dot(h, w, first) / 2);
  for_each_entry<small_symmetric<T, N>>([&](int i, int j) { P(i, j) -= x.K(i) * w(j) + w(i) * x.K(j); });
  if (!equal(d, T(0))) return;
  // Of a state that is known exactly now nothing may be left: it would be read again as if it told something.
  T rounding = rounding_of_sums<T, N>;
  if constexpr (Residues != residues::kept) {
    const T terms = sum_of<T, N>([&](int i) { return h(i) * h(i) * (P(i, i) + x.q(i) * x.q(i)); });
    rounding *= 1 + terms / x.s;
  }
  unrolled<N>([&](int i) {
    if (P(i, i) <= rounding * x.q(i) * x.q(i)) P(i, i) = 0;
  });
  clear_null_variances(P);
}

/// An observation with a variance d > 0, of a belief whose covariance is positive semi-definite up to rounding.
template <class T, int N>
KALSCAN_HD small_innovation<T, N> innovation_of(const small_vector<T, N>& h, T d, T y, const small_vector<T, N>& mean,
                                                const small_symmetric<T, N>& P, int first = 0) {
  small_innovation<T, N> x{times(P, h, first), {}, y - dot(h, mean, first), {}, {}};
  const T variance = dot(h, x.q, first);
  x.s = (variance > 0 ? variance : T(0)) + d;
  x.scale = inverse_root(x.s);
  const T scale = variance > 0 ? x.scale : T(0);
  unrolled<N>([&](int i) {
    x.q(i) *= scale;
    x.K(i) = x.scale * x.q(i);
  });
  return x;
}

/// The rare cases of the same: a variance that is not positive, or no noise. Without noise, what is no more than
/// rounding tells nothing new (s = 0), and must agree.
template <class T, int N>
KALSCAN_HD step_failure judge_innovation(const small_vector<T, N>& h, T d, T terms_of_y, const small_vector<T, N>& mean,
                                         const small_symmetric<T, N>& P, small_innovation<T, N>& x) {
  using limits = std::numeric_limits<T>;
  const T rough = std::sqrt(limits::epsilon());
  T variance = 0, terms = 0, size = terms_of_y;
  unrolled<N>([&](int i) {
    size += std::abs(h(i) * mean(i));
    unrolled<N>([&](int j) {
      variance += h(i) * P(i, j) * h(j);
      terms += std::abs(h(i) * P(i, j) * h(j));
    });
  });
  const T error = rounding_of_sums<T, N> * terms;
  if (!(variance >= -rough * terms)) return step_failure::innovation;
  if (equal(d, T(0)) && variance <= error) {
    x.s = 0;
    return std::abs(x.v) <= rough * size + std::sqrt(error) ? step_failure::none : step_failure::contradiction;
  }
  return step_failure::none;
}

/// Takes component k of the observations of a step, h its row of H, and calls seen(k, h, d, x), where x.s = 0 if it
/// says nothing new.
template <residues Residues = residues::kept, class T, int N, int M, class Seen>
KALSCAN_HD step_failure observe_component(const independent_readings<T, N, M>& o, int k, const small_vector<T, N>& h,
                                          small_vector<T, N>& mean, small_symmetric<T, N>& P, Seen& seen) {
  step_failure wrong = step_failure::none;
  const T d = o.d(k);
  small_innovation<T, N> x = innovation_of(h, d, o.y(k), mean, P);
  if (!(x.s > d) || equal(d, T(0))) wrong = judge_innovation(h, d, o.terms(k), mean, P, x);
  if (!(x.s <= (std::numeric_limits<T>::max)()) && wrong == step_failure::none) wrong = step_failure::innovation;
  if (!equal(x.s, T(0))) take_reading<Residues>(mean, P, h, d, x);
  seen(k, h, d, x);
  return wrong;
}

/// Takes the observations of a step in order, and calls seen(k, h, d, x) after each.
template <class T, int N, int M, class Seen>
KALSCAN_HD step_failure observe(const independent_readings<T, N, M>& o, small_vector<T, N>& mean,
                                small_symmetric<T, N>& P, Seen seen) {
  step_failure wrong = step_failure::none;
  unrolled<M>([&](int k) {
    if (!o.present[k]) return;
    small_vector<T, N> h{};
    unrolled<N>([&](int i) { h(i) = o.H(k, i); });
    const step_failure now = observe_component(o, k, h, mean, P, seen);
    if (wrong == step_failure::none) wrong = now;
  });
  clear_null_variances(P);
  return wrong;
}
template <class T, int N, int M, class Seen>
KALSCAN_HD step_failure observe(const independent_readings<T, N, M>& o, small_belief<T, N>& x, Seen seen) {
  return observe(o, x.mean, x.covariance, seen);
}

}  // namespace detail
}  // namespace kalscan
