// SPDX-License-Identifier: MIT
// Beliefs that are diffuse in part, exactly: the limit of variances that grow without bound.
#pragma once

#include <cmath>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan {

/// x = mean + directions d + N(0, covariance), where the entries of d are independent, of mean zero and a variance
/// kappa that grows without bound: the covariance is that and kappa directions directions'. Columns of directions that
/// are zero do not count; without others the belief is proper.
template <class T, int N>
struct small_diffuse_belief {
  small_vector<T, N> mean;
  small_symmetric<T, N> covariance;
  small_matrix<T, N, N> directions;
};

/// The belief that knows nothing of any state.
template <class T, int N>
[[nodiscard]] KALSCAN_HD constexpr small_diffuse_belief<T, N> all_diffuse() {
  return {{}, {}, detail::identity_matrix<T, N>()};
}

namespace detail {

template <class Belief>
inline constexpr bool is_diffuse = false;
template <class T, int N>
inline constexpr bool is_diffuse<small_diffuse_belief<T, N>> = true;

/// For elements that act on such beliefs.
template <class Belief>
inline constexpr residues residues_of = is_diffuse<Belief> ? residues::cleared : residues::kept;

template <class T, int N>
KALSCAN_HD constexpr bool has_directions(const small_diffuse_belief<T, N>& x) {
  bool any = false;
  unrolled<N * N>([&](int i) { any = any || !equal(x.directions.x[i], T(0)); });
  return any;
}
template <class T, int N>
KALSCAN_HD constexpr bool has_directions(const small_belief<T, N>&) {
  return false;
}

/// What a reading h x tells of the unknowns d: a d, a = directions' h. Entries that may be rounding are zero; errors of
/// h are relative to `size`, entry by entry.
template <class T, int N>
KALSCAN_HD small_vector<T, N> seen_of_directions(const small_diffuse_belief<T, N>& x, const small_vector<T, N>& h,
                                                 const small_vector<T, N>& size) {
  small_vector<T, N> a{};
  unrolled<N>([&](int j) {
    T terms = 0;
    unrolled<N>([&](int i) {
      a(j) += h(i) * x.directions(i, j);
      terms += size(i) * std::abs(x.directions(i, j));
    });
    if (std::abs(a(j)) <= rounding_of_terms<T> * terms) a(j) = 0;
  });
  return a;
}

/// Turns d, so that the reading a d is of one entry of it, and leaves that out: a reflection of Householder's, of
/// length `length` along a. `along` is directions a.
template <class T, int N>
KALSCAN_HD void remove_direction(small_matrix<T, N, N>& directions, const small_vector<T, N>& a, T length,
                                 const small_vector<T, N>& along) {
  T most = 0, first = 0;
  int pivot = 0;
  unrolled<N>([&](int j) {
    if (!(std::abs(a(j)) > most)) return;
    most = std::abs(a(j));
    first = a(j);
    pivot = j;
  });
  const T to = first > 0 ? length : -length, factor = 1 / (length * (length + most));
  small_vector<T, N> w = along, terms{};
  unrolled<N>([&](int j) {
    unrolled<N>([&](int i) {
      terms(i) += std::abs(a(j) * directions(i, j));
      if (j != pivot) return;
      w(i) += to * directions(i, j);
      terms(i) += length * std::abs(directions(i, j));
    });
  });
  unrolled<N>([&](int j) {
    const T scale = factor * a(j);
    unrolled<N>([&](int i) {
      T& x = directions(i, j);
      const T size = std::abs(x) + std::abs(scale) * terms(i);
      x -= scale * w(i);
      if (j == pivot || std::abs(x) <= rounding_of_terms<T> * size) x = 0;
    });
  });
}

/// The reading y = h x + N(0, d) of a belief of whose unknowns it tells a, which is not zero: Koopman (JASA 92, 1997).
/// The innovation has the part of its variance that grows as s, and says nothing of likelihood else.
template <class T, int N>
KALSCAN_HD small_innovation<T, N> take_first_reading(small_diffuse_belief<T, N>& x, const small_vector<T, N>& h, T d,
                                                     T y, const small_vector<T, N>& a) {
  T most = 0;
  unrolled<N>([&](int j) { most = std::abs(a(j)) > most ? std::abs(a(j)) : most; });
  const T length = most * std::sqrt(sum_of<T, N>([&](int j) { return a(j) / most * (a(j) / most); }));
  const small_vector<T, N> along = times(x.directions, a);
  small_innovation<T, N> seen{};
  seen.s = length * length;
  seen.scale = 1 / length;
  unrolled<N>([&](int i) { seen.K(i) = along(i) / length / length; });
  add(x.mean, seen.K, y - dot(h, x.mean));
  // (I - K h') P (I - K h')' + d K K'; of a state that is known exactly now nothing may be left.
  auto& P = x.covariance;
  const small_symmetric<T, N> before = P;
  small_vector<T, N> w = times(P, h);
  add(w, seen.K, -dot(h, w) / 2);
  for_each_entry<small_symmetric<T, N>>([&](int i, int j) { P(i, j) -= seen.K(i) * w(j) + w(i) * seen.K(j); });
  add_square(P, seen.K, d);
  unrolled<N>([&](int i) {
    const T terms = before(i, i) + std::abs(2 * seen.K(i) * w(i));
    if (P(i, i) <= T(8 * N) * std::numeric_limits<T>::epsilon() * terms) P(i, i) = 0;
  });
  clear_null_variances(P);
  remove_direction(x.directions, a, length, along);
  return seen;
}

template <class T, int N>
KALSCAN_HD bool is_zero(const small_vector<T, N>& x) {
  bool zero = true;
  unrolled<N>([&](int i) { zero = zero && equal(x(i), T(0)); });
  return zero;
}

/// As observe does for a proper belief.
template <class T, int N, int M, class Seen>
KALSCAN_HD step_failure observe(const independent_readings<T, N, M>& o, small_diffuse_belief<T, N>& x, Seen seen) {
  step_failure wrong = step_failure::none;
  bool proper = !has_directions(x);
  unrolled<M>([&](int k) {
    if (!o.present[k]) return;
    small_vector<T, N> h{}, size{}, a{};
    unrolled<N>([&](int i) {
      h(i) = o.H(k, i);
      size(i) = std::abs(h(i));
    });
    if (!proper) a = seen_of_directions(x, h, size);
    if (is_zero(a)) {
      const step_failure now = observe_component(o, k, h, x.mean, x.covariance, seen);
      if (wrong == step_failure::none) wrong = now;
    } else {
      seen(k, h, o.d(k), take_first_reading(x, h, o.d(k), o.y(k), a));
      proper = !has_directions(x);
    }
  });
  clear_null_variances(x.covariance);
  return wrong;
}

/// A reading of for_each_reading of a likelihood with information J.
template <class T, int N>
KALSCAN_HD void take_unit_reading(const small_vector<T, N>& h, T w, int first, const small_symmetric<T, N>&,
                                  small_belief<T, N>& x) {
  take_unit_reading(h, w, first, x.mean, x.covariance);
}
template <class T, int N>
KALSCAN_HD void take_unit_reading(const small_vector<T, N>& h, T w, int first, const small_symmetric<T, N>& J,
                                  small_diffuse_belief<T, N>& x) {
  small_vector<T, N> size{}, a{};
  T own = 0, left = 1;
  unrolled<N>([&](int i) {
    if (i != first) return;
    own = std::sqrt(J(i, i));
    left = h(i);
  });
  // The errors of h come from those of J, whose entries were taken off each other until h h' was left.
  unrolled<N>([&](int i) { size(i) = J(i, i) > 0 ? std::sqrt(J(i, i)) * (own / left) : T(0); });
  if (has_directions(x)) a = seen_of_directions(x, h, size);
  if (is_zero(a)) {
    take_unit_reading(h, w, first, x.mean, x.covariance);
  } else {
    take_first_reading(x, h, T(1), w, a);
  }
}

}  // namespace detail

/// The belief after the stretch, from the one before it.
template <class T, int N>
[[nodiscard]] KALSCAN_HD small_diffuse_belief<T, N> act(const small_filtering_element<T, N>& x,
                                                        const small_diffuse_belief<T, N>& before) {
  small_diffuse_belief<T, N> s = before;
  const auto rest = detail::for_each_reading(x.eta, x.J, [&](const small_vector<T, N>& h, T w, int first) {
    detail::take_unit_reading(h, w, first, x.J, s);
  });
  detail::add(s.mean, detail::times(s.covariance, rest));
  small_diffuse_belief<T, N> after{x.b, detail::congruence(x.A, s.covariance, x.C),
                                   detail::times<detail::residues::cleared>(x.A, s.directions)};
  detail::add(after.mean, detail::times(x.A, s.mean));
  return after;
}

/// A stretch of time under a diffuse prior: an element or, where the series begins with the stretch, the belief after
/// it, with mean b, covariance C and directions A. So no rank is decided of what is summed of unknowns before the data.
template <class T, int N>
struct small_diffuse_element {
  small_filtering_element<T, N> x;
  int begins = 0;

  KALSCAN_HD static small_diffuse_element beginning(const small_diffuse_belief<T, N>& after) {
    return {{after.directions, after.mean, after.covariance, {}, {}}, 1};
  }
};
template <class T, int N>
[[nodiscard]] KALSCAN_HD small_diffuse_belief<T, N> act(const small_diffuse_element<T, N>& e,
                                                        const small_diffuse_belief<T, N>& before) {
  if (e.begins) return {e.x.b, e.x.C, e.x.A};
  return act(e.x, before);
}
/// Combines such stretches.
template <class T, int N>
struct small_diffuse_monoid {
  using element = small_diffuse_element<T, N>;

  KALSCAN_HD static constexpr element identity() { return {small_filtering_monoid<T, N>::identity(), 0}; }
  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    if (later.begins) return later;
    if (earlier.begins) return element::beginning(act(later, act(earlier, {})));
    return {small_filtering_monoid<T, N, detail::residues::cleared>{}(earlier.x, later.x), 0};
  }
};
static_assert(monoid<small_diffuse_monoid<double, 2>>);

}  // namespace kalscan
