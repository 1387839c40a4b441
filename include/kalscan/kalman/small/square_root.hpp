// SPDX-License-Identifier: MIT
// The filter in square-root form on small matrices: beliefs, elements and later data with roots in place of covariances
// and information, for host and device.
#pragma once

#include <cmath>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <limits>

namespace kalscan {

/// A Gaussian N(mean, root root') of N states.
template <class T, int N>
struct small_root_belief {
  small_vector<T, N> mean;
  small_lower<T, N> root;
};

/// A stretch of time of a linear-Gaussian model: x_out | x_in ~ N(A x_in + b, U U'), and the likelihood of the
/// stretch's data as a function of x_in, exp(-|Z'x_in - w|^2 / 2) up to a constant. In the terms of
/// small_filtering_element C = U U', J = Z Z', eta = Z w.
template <class T, int N>
struct small_root_element {
  small_matrix<T, N, N> A;
  small_vector<T, N> b;
  small_lower<T, N> U, Z;
  small_vector<T, N> w;
};

/// The likelihood of data as a function of a state x, up to a constant: exp(-|Z'x - w|^2 / 2).
template <class T, int N>
struct small_root_likelihood {
  small_lower<T, N> Z;
  small_vector<T, N> w;
};

namespace detail {

template <class Belief>
inline constexpr bool is_root = false;
template <class T, int N>
inline constexpr bool is_root<small_root_belief<T, N>> = true;

template <class To, class T, int N>
KALSCAN_HD constexpr small_root_belief<To, N> as(const small_root_belief<T, N>& x) {
  return {as<To>(x.mean), as<To>(x.root)};
}

/// The covariance of a belief.
template <class Belief>
KALSCAN_HD const auto& covariance_of(const Belief& x) {
  return x.covariance;
}
template <class T, int N>
KALSCAN_HD small_symmetric<T, N> covariance_of(const small_root_belief<T, N>& x) {
  return square_of(x.root);
}

/// A transition x' = F x + N(offset, root root') after what x holds.
template <class T, int N>
KALSCAN_HD void predict(small_root_belief<T, N>& x, const small_matrix<T, N, N>& F, const small_vector<T, N>& offset,
                        const small_lower<T, N>& root) {
  x.mean = times(F, x.mean);
  add(x.mean, offset);
  x.root = root_of_sum(times_lower(F, x.root), root);
}
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD void predict(small_root_element<T, N>& x, const small_matrix<T, N, N>& F, const small_vector<T, N>& offset,
                        const small_lower<T, N>& root) {
  x.A = times<Residues>(F, x.A);
  x.b = times(F, x.b);
  add(x.b, offset);
  x.U = root_of_sum(times_lower(F, x.U), root);
}

/// An observation y = h'x + N(0, d) of what x leads to.
template <class T, int N>
KALSCAN_HD small_innovation<T, N> take_reading(small_root_belief<T, N>& x, const small_vector<T, N>& h, T d, T y,
                                               int first = 0) {
  return take_reading(x.mean, x.root, h, d, y, first);
}
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD small_innovation<T, N> take_reading(small_root_element<T, N>& x, const small_vector<T, N>& h, T d, T y,
                                               int first = 0) {
  const small_innovation<T, N> seen = take_reading(x.b, x.U, h, d, y, first);
  small_vector<T, N> row = reduce_by_gain<Residues>(x.A, h, d, seen, first);
  unrolled<N, straight<T, N>>([&](int i) { row(i) *= seen.scale; });
  add_equation<Residues>(x.Z, x.w, row, seen.v * seen.scale);
  return seen;
}

/// Calls take(h, value, first) for each column of Z that tells something: an observation of unit noise.
template <class T, int N, class Take>
KALSCAN_HD void for_each_reading(const small_root_likelihood<T, N>& x, Take take) {
  unrolled<N, straight<T, N>>([&](int k) {
    small_vector<T, N> h{};
    bool tells = !equal(x.w(k), x.w(k));  // that information is without bound
    unrolled<N, straight<T, N>>([&](int i) {
      if (i < k) return;
      h(i) = x.Z(i, k);
      tells = tells || !equal(h(i), T(0));
    });
    if (tells) take(h, x.w(k), k);
  });
}

/// The likelihood of what comes later.
template <class T, int N>
KALSCAN_HD void take_likelihood(small_root_belief<T, N>& x, const small_root_likelihood<T, N>& later) {
  for_each_reading(later, [&](const small_vector<T, N>& h, T w, int first) { take_reading(x, h, T(1), w, first); });
}
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD void take_likelihood(small_root_element<T, N>& x, const small_root_likelihood<T, N>& later) {
  for_each_reading(later, [&](const small_vector<T, N>& h, T w, int first) {
    take_reading<Residues>(x, h, T(1), w, first);
  });
}

/// Takes the observations of a step in order, with the numbers of x, and calls seen(k, h, d, innovation) after each.
template <class T, int N, int M, class X, class Seen>
KALSCAN_HD step_failure observe(const independent_readings<T, N, M>& o, small_root_belief<X, N>& x, Seen seen) {
  step_failure wrong = step_failure::none;
  unrolled<M, straight<X, N>>([&](int k) {
    if (!o.present[k]) return;
    small_vector<X, N> h{};
    X size = o.terms(k);
    unrolled<N, straight<X, N>>([&](int i) {
      h(i) = o.H(k, i);
      size += size_of(h(i) * x.mean(i));
    });
    const X d = o.d(k);
    const small_innovation<X, N> innovation = take_reading(x, h, d, X(o.y(k)));
    step_failure now = step_failure::none;
    if (!(d >= 0 && innovation.s <= (std::numeric_limits<X>::max)())) {
      now = step_failure::innovation;
    } else if (equal(innovation.s, X(0)) &&
               !(size_of(innovation.v) <= std::sqrt(std::numeric_limits<X>::epsilon()) * size)) {
      now = step_failure::contradiction;
    }
    if (wrong == step_failure::none) wrong = now;
    seen(k, h, d, innovation);
  });
  return wrong;
}

/// As observe_into of a small_filtering_element. Where residues are cleared, a variance that is no more than the rounding
/// of those before the readings is none.
template <residues Residues = residues::kept, class T, int N, int M, class X, class Seen>
KALSCAN_HD void observe_into(small_root_element<X, N>& e, const independent_readings<T, N, M>& o, Seen) {
  small_vector<X, N> errors{};  // of the root of a variance, by states
  if constexpr (Residues != residues::kept) {
    unrolled<N, straight<X, N>>([&](int i) {
      const X variance = sum_of<X, N>([&](int j) { return e.U(i, j) * e.U(i, j); });
      errors(i) = rounding_of_sums<T, N> * std::sqrt(variance);
    });
  }
  unrolled<M, straight<X, N>>([&](int k) {
    if (!o.present[k]) return;
    small_vector<X, N> h{};
    X error = 0;
    unrolled<N, straight<X, N>>([&](int i) {
      h(i) = o.H(k, i);
      error += size_of(h(i)) * errors(i);
    });
    const auto innovation = take_reading<Residues>(e, h, X(o.d(k)), X(o.y(k)));
    if (innovation.s <= error * error) e.b(0) = e.w(0) = std::numeric_limits<X>::quiet_NaN();
  });
}

/// What later data tell of a state that is known to `root` already, to no less than epsilon^(3/4) of that: information
/// that grows with every step, as where an unstable system has no noise, would be all that its digits hold.
template <class T, int N>
KALSCAN_HD void bound_information(small_root_likelihood<T, N>& x, const small_lower<T, N>& root) {
  const T epsilon = std::numeric_limits<T>::epsilon(), most = 1 / (std::sqrt(epsilon) * std::sqrt(std::sqrt(epsilon)));
  unrolled<N, straight<T, N>>([&](int k) {
    small_vector<T, N> h{};
    unrolled<N, straight<T, N>>([&](int i) {
      if (i >= k) h(i) = x.Z(i, k);
    });
    small_vector<T, N> f = lower_transposed_times(root, h, k);
    unrolled<N, straight<T, N>>([&](int i) { f(i) *= 1 / most; });
    const T squares = dot(f, f);
    if (!(squares > 1)) return;
    const T scale = inverse_root(squares);
    x.w(k) *= scale;
    unrolled<N, straight<T, N>>([&](int i) {
      if (i >= k) x.Z(i, k) *= scale;
    });
  });
}

}  // namespace detail

/// The operator of small_filtering_monoid in square-root form (Yaghoobi et al. 2022, arXiv 2207.00426): the later
/// likelihood is taken as N scalar observations of the earlier stretch's end. `earlier` acts first; both covariances
/// may be singular. Associative up to rounding and up to the choice of roots.
template <class T, int N, detail::residues Residues = detail::residues::kept>
struct small_root_monoid {
  using element = small_root_element<T, N>;

  KALSCAN_HD static constexpr element identity() { return {detail::identity_matrix<T, N>(), {}, {}, {}, {}}; }

  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    element x = earlier;
    detail::take_likelihood<Residues>(x, small_root_likelihood<T, N>{later.Z, later.w});
    detail::predict<Residues>(x, later.A, later.b, later.U);
    return x;
  }
};

/// The belief after the stretch, from the one before it; either covariance may be singular.
template <class X, class T, int N>
[[nodiscard]] KALSCAN_HD small_root_belief<T, N> act(const small_root_element<X, N>& x,
                                                     const small_root_belief<T, N>& before) {
  auto s = detail::as<X>(before);
  detail::take_likelihood(s, small_root_likelihood<X, N>{x.Z, x.w});
  detail::predict(s, x.A, x.b, x.U);
  return detail::as<T>(s);
}

/// As act_backward of small_filtering_element.
template <detail::residues Residues = detail::residues::kept, class T, int N>
[[nodiscard]] KALSCAN_HD small_root_likelihood<T, N> act_backward(const small_root_element<T, N>& stretch,
                                                                  const small_root_likelihood<T, N>& later) {
  small_root_element<T, N> x = stretch;
  detail::take_likelihood<Residues>(x, later);
  return {x.Z, x.w};
}

/// As smoothed of small_belief: the variances cannot exceed the filtered ones.
template <class T, class X, int N>
[[nodiscard]] KALSCAN_HD small_root_belief<T, N> smoothed(const small_root_belief<T, N>& filtered,
                                                          small_root_likelihood<X, N>& later,
                                                          small_root_element<X, N>& stretch, bool and_before) {
  small_root_belief<X, N> x{{}, detail::as<X>(filtered.root)};
  detail::bound_information(later, x.root);
  detail::for_each_reading(later, [&](const small_vector<X, N>& h, X w, int first) {
    detail::take_reading(x, h, X(1), w, first);
    if (and_before) detail::take_reading(stretch, h, X(1), w, first);
  });
  if (and_before) later = {stretch.Z, stretch.w};
  detail::add(x.mean, detail::as<X>(filtered.mean));
  return detail::as<T>(x);
}

}  // namespace kalscan
