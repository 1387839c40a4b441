// SPDX-License-Identifier: MIT
// The filtering element and its operator on small matrices: the information-form Kalman combine for host and device.
#pragma once

#include <cstddef>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan {

/// A stretch of time of a linear-Gaussian model with N states: x_out | x_in ~ N(A x_in + b, C), and the likelihood of
/// the stretch's data as a function of x_in, in information form (eta, J). What matrix_filtering_element is with Eigen.
template <class T, int N>
struct small_filtering_element {
  small_matrix<T, N, N> A;
  small_vector<T, N> b;
  small_symmetric<T, N> C;
  small_vector<T, N> eta;
  small_symmetric<T, N> J;
};

namespace detail {

/// A := (I - K h') A for the gain of a scalar observation with innovation x and noise d. Along h only d / s of A is
/// left, to be exact to its own digits. Returns A'h of before.
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD small_vector<T, N> reduce_by_gain(small_matrix<T, N, N>& A, const small_vector<T, N>& h, T d,
                                             const small_innovation<T, N>& x, int first = 0) {
  const small_vector<T, N> g = transposed_times<Residues>(A, h, first);
  unrolled<N>([&](int j) { unrolled<N>([&](int i) { A(i, j) = sum_of_two<Residues>(A(i, j), -x.K(i) * g(j)); }); });
  if (!loses_digits(d, x.s)) return g;
  small_vector<T, N> w = transposed_times(A, h, first);
  unrolled<N>([&](int j) { w(j) = sum_of_two<Residues>(d / x.s * g(j), -w(j)); });
  unrolled<N>([&](int j) { unrolled<N>([&](int i) { A(i, j) = sum_of_two<Residues>(A(i, j), x.K(i) * w(j)); }); });
  return g;
}

/// What a scalar observation of the state after the stretch, with innovation v of variance s, says of the state before
/// it; and A := A - K g' with g = A'h.
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD small_vector<T, N> extend_likelihood(small_filtering_element<T, N>& e, const small_vector<T, N>& h, T d,
                                                const small_innovation<T, N>& x, int first = 0) {
  const small_vector<T, N> g = reduce_by_gain<Residues>(e.A, h, d, x, first);
  small_vector<T, N> scaled = g;
  unrolled<N>([&](int i) { scaled(i) *= x.scale; });
  add_square(e.J, scaled);
  add(e.eta, scaled, x.v * x.scale);
  return g;
}

/// Takes the observations of a step into the element of a stretch. One without noise, of what has no variance but for
/// the unknown state before the stretch, has no finite information: the element is not finite then. Calls seen(k, g, x)
/// for the others, with the g of extend_likelihood.
template <residues Residues = residues::kept, class T, int N, int M, class Seen>
KALSCAN_HD void observe_into(small_filtering_element<T, N>& e, const independent_readings<T, N, M>& o, Seen seen) {
  observe(o, e.b, e.C, [&](int k, const auto& h, T d, const auto& x) {
    if (equal(x.s, T(0))) {
      e.b(0) = e.eta(0) = std::numeric_limits<T>::quiet_NaN();
    } else {
      seen(k, extend_likelihood<Residues>(e, h, d, x), x);
    }
  });
}
template <residues Residues = residues::kept, class Element, class Readings>
KALSCAN_HD void observe_into(Element& e, const Readings& o) {
  observe_into<Residues>(e, o, [](int, const auto&, const auto&) {});
}

/// A likelihood (eta, J), J = Z Z', as observations Z'x = w of unit noise, Z lower triangular. rest = eta - Z w:
/// rounding, but for what J cannot have.
template <class T, int N>
struct unit_readings {
  small_lower<T, N> Z;
  small_vector<T, N> w, rest;
};

/// The same by the largest pivots first, and each reading turned into the triangle of those before it.
template <class T, int N>
KALSCAN_HD unit_readings<T, N> readings_by_pivots(const small_vector<T, N>& eta, const small_symmetric<T, N>& J) {
  const T rounding = rounding_of_sums<T, N>;
  unit_readings<T, N> x{{}, {}, eta};
  small_symmetric<T, N> left = J;
  bool taken[static_cast<std::size_t>(N)] = {};
  unrolled<N, false>([&](int) {
    int pivot = -1;
    T most = rounding;
    unrolled<N, false>([&](int i) {
      if (taken[i] || !(left(i, i) > most * J(i, i))) return;
      most = left(i, i) / J(i, i);
      pivot = i;
    });
    if (pivot < 0) return;
    const T scale = inverse_root(left(pivot, pivot)), w = x.rest(pivot) * scale;
    small_vector<T, N> h{};
    unrolled<N, false>([&](int i) {
      if (!taken[i]) h(i) = scale * left(i, pivot);
    });
    add(x.rest, h, -w);
    add_square(left, h, T(-1));
    taken[pivot] = true;
    add_equation(x.Z, x.w, h, w);
  });
  return x;
}

/// One row after the other. A pivot far below J's own, whose column matters to others, would leave its digits to all of
/// them: then pivots are chosen, on a host alone. On a device the mere code for it makes all filters of 4 states a
/// quarter slower.
template <class T, int N>
KALSCAN_HD unit_readings<T, N> unit_readings_of(const small_vector<T, N>& eta, const small_symmetric<T, N>& J) {
  constexpr T rounding = rounding_of_sums<T, N>, few = sizeof(T) == 4 ? T(0x1p-8) : T(0x1p-17);
  unit_readings<T, N> x{{}, {}, eta};
  small_symmetric<T, N> left = J;
  bool steady = true;
  unrolled<N>([&](int k) {
    if (left(k, k) < few * J(k, k)) {
      unrolled<N>([&](int i) {
        if (i > k) steady = steady && left(i, k) * left(i, k) <= rounding * J(k, k) * (rounding * J(i, i));
      });
    }
    if (left(k, k) <= rounding * J(k, k)) return;
    const T scale = inverse_root(left(k, k)), w = x.rest(k) * scale;
    x.w(k) = w;
    unrolled<N>([&](int i) {
      if (i >= k) x.Z(i, k) = scale * left(i, k);
    });
    unrolled<N>([&](int j) {
      if (j < k) return;
      x.rest(j) -= w * x.Z(j, k);
      unrolled<N>([&](int i) {
        if (i >= j) left(i, j) -= x.Z(i, k) * x.Z(j, k);
      });
    });
  });
#if defined(__CUDA_ARCH__)
  return x;
#else
  return steady ? x : readings_by_pivots(eta, J);
#endif
}

/// Calls take(h, w, first) for each of them that tells something: a column of Z, zero before `first`, and its value.
/// Returns what is left of eta. Beyond 6 states a device takes them in a loop: straight code is more than its instruction
/// cache holds (of 8, filter and smoother take 2.97 ms with it, 2.49 in a loop).
template <class T, int N, class Take>
KALSCAN_HD small_vector<T, N> for_each_reading(const small_vector<T, N>& eta, const small_symmetric<T, N>& J,
                                               Take take) {
  const unit_readings<T, N> x = unit_readings_of(eta, J);
#if defined(__CUDA_ARCH__)
  constexpr bool straight_code = N <= 6;
#else
  constexpr bool straight_code = true;
#endif
  unrolled<N, straight_code>([&](int k) {
    small_vector<T, N> h{};
    bool tells = false;
    unrolled<N>([&](int i) {
      if (i < k) return;
      h(i) = x.Z(i, k);
      tells = tells || !equal(h(i), T(0));
    });
    if (tells) take(h, x.w(k), straight_code ? k : 0);
  });
  return x.rest;
}

/// A reading of for_each_reading, taken into N(mean, P).
template <class T, int N>
KALSCAN_HD small_innovation<T, N> take_unit_reading(const small_vector<T, N>& h, T w, int first,
                                                    small_vector<T, N>& mean, small_symmetric<T, N>& P) {
  const small_innovation<T, N> x = innovation_of(h, T(1), w, mean, P, first);
  take_reading(mean, P, h, T(1), x, first);
  return x;
}

/// Takes the likelihood of later data into the element of a stretch: nothing is lost where C J is huge, and both may be
/// singular. Returns what for_each_reading does.
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD small_vector<T, N> take_likelihood(const small_vector<T, N>& eta, const small_symmetric<T, N>& J,
                                              small_filtering_element<T, N>& e) {
  return for_each_reading(eta, J, [&](const small_vector<T, N>& h, T w, int first) {
    extend_likelihood<Residues>(e, h, T(1), take_unit_reading(h, w, first, e.b, e.C), first);
  });
}

template <class T, int N>
KALSCAN_HD constexpr filtering_element<T> one_state(const small_filtering_element<T, N>& x) {
  return {x.A.x[0], x.b.x[0], x.C.x[0], x.eta.x[0], x.J.x[0]};
}

}  // namespace detail

/// Särkkä & García-Fernández 2021 (arXiv 1905.13002), Lemma 8. `earlier` acts first. Associative up to rounding. One
/// state is left to the scalar operator, which loses less.
template <class T, int N, detail::residues Residues = detail::residues::kept>
struct small_filtering_monoid {
  using element = small_filtering_element<T, N>;

  KALSCAN_HD static constexpr element identity() { return {detail::identity_matrix<T, N>(), {}, {}, {}, {}}; }

  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    using detail::times;
    if constexpr (N == 1) {
      const auto x = filtering_monoid<T>{}(detail::one_state(earlier), detail::one_state(later));
      return {{{x.A}}, {{x.b}}, {{x.C}}, {{x.eta}}, {{x.J}}};
    } else {
      element x = earlier;
      const small_vector<T, N> rest = detail::take_likelihood<Residues>(later.eta, later.J, x);
      detail::add(x.eta, detail::transposed_times(x.A, rest));
      detail::add(x.b, times(x.C, rest));
      x.A = times<Residues>(later.A, x.A);
      x.b = times(later.A, x.b);
      detail::add(x.b, later.b);
      x.C = detail::congruence(later.A, x.C, later.C);
      return x;
    }
  }
};

/// The belief after the stretch, from the one before it; the covariance before may be singular.
template <class T, int N>
[[nodiscard]] KALSCAN_HD small_belief<T, N> act(const small_filtering_element<T, N>& x,
                                                const small_belief<T, N>& before) {
  if constexpr (N == 1) {
    const auto y = act(detail::one_state(x), belief<T>{before.mean.x[0], before.covariance.x[0]});
    return {{{y.mean}}, {{y.variance}}};
  } else {
    small_belief<T, N> s = before;
    const auto rest = detail::for_each_reading(x.eta, x.J, [&](const small_vector<T, N>& h, T w, int first) {
      detail::take_unit_reading(h, w, first, s.mean, s.covariance);
    });
    detail::add(s.mean, detail::times(s.covariance, rest));
    small_belief<T, N> after{x.b, detail::congruence(x.A, s.covariance, x.C)};
    detail::add(after.mean, detail::times(x.A, s.mean));
    return after;
  }
}

}  // namespace kalscan
