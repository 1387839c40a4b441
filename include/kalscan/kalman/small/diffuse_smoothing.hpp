// SPDX-License-Identifier: MIT
// The smoothed belief under a prior that is diffuse in part. What later data say is kept as equations, since of a
// direction that they tell little of, the information J = Z Z' would have no digits.
#pragma once

#include <cmath>
#include <kalscan/kalman/small/diffuse_belief.hpp>
#include <kalscan/kalman/small/diffuse_readings.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {
namespace detail {

/// Equations Z'x = w with errors of variance one, none of which is before another. `size`: of the rows of Z.
template <class X, int N>
struct unordered_equations {
  small_matrix<X, N, N> Z;
  small_vector<X, N> w, size;

  KALSCAN_HD explicit unordered_equations(const small_root_likelihood<X, N>& x)
      : Z(to_small<small_matrix<X, N, N>>(x.Z)), w(x.w), size{} {
    unrolled<N>([&](int i) { size(i) = std::sqrt(sum_of<X, N>([&](int k) { return Z(i, k) * Z(i, k); })); });
  }

  /// What those from number `first` on say of the direction of x that they tell most of, beside the rounding of what
  /// they say; zero where they tell of none.
  template <class T>
  KALSCAN_HD small_vector<X, N> best_told(const small_diffuse_belief<T, N>& x, int first) const {
    small_vector<X, N> best{};
    X most = rounding_of_terms<T>;
    unrolled<N>([&](int j) {
      if (is_vague(x, j)) return;
      small_vector<X, N> told{};
      X terms = 0;
      unrolled<N>([&](int i) {
        const X entry = x.directions(i, j);
        terms += size(i) * size_of(entry);
        unrolled<N>([&](int k) {
          if (k >= first) told(k) += Z(i, k) * entry;
        });
      });
      const X length = std::sqrt(dot(told, told));
      if (!(length > most * terms)) return;
      most = length / terms;
      best = told;
    });
    return best;
  }

  /// Turns the equations from `first` on, by a reflection of Householder's, so that this one alone says all of what
  /// they said: `told`.
  KALSCAN_HD void gather(small_vector<X, N> told, int first) {
    const X length = std::sqrt(dot(told, told));
    if (!(length > 0)) return;
    X head = 0;
    unrolled<N>([&](int k) { head = k == first ? told(k) : head; });
    const X to = head > 0 ? -length : length, factor = 1 / (length * (length + size_of(head)));
    unrolled<N>([&](int k) { told(k) = k == first ? head - to : told(k); });
    unrolled<N>([&](int i) {
      const X along = factor * sum_of<X, N>([&](int k) { return Z(i, k) * told(k); });
      unrolled<N>([&](int k) { Z(i, k) -= along * told(k); });
    });
    add(w, told, -factor * dot(w, told));
  }
};

/// Takes later data into a belief without vague columns. Of each direction the equation that says most comes first, and
/// says all of it: what little others say, taken before, would leave a variance so large that no digits of the mean
/// were left.
template <class T, class X, int N>
KALSCAN_HD void take_likelihood(small_diffuse_belief<T, N>& x, const small_root_likelihood<X, N>& later) {
  if (!has_directions(x)) {
    for_each_reading(later, [&](const small_vector<X, N>& h, X w, int first) {
      take_unit_reading(as<T>(h), static_cast<T>(w), first, x.mean, x.covariance);
    });
    return;
  }
  unordered_equations<X, N> equations(later);
  const auto size = as<T>(equations.size);
  unrolled<N, false>([&](int r) {
    equations.gather(equations.best_told(x, r), r);
    small_vector<T, N> h{};
    T value = 0;
    unrolled<N>([&](int k) {
      if (k != r) return;
      unrolled<N>([&](int i) { h(i) = static_cast<T>(equations.Z(i, k)); });
      value = static_cast<T>(equations.w(k));
    });
    if (!is_zero(h) || !equal(value, value)) take_unit_reading(h, value, 0, size, x);
  });
}

/// Whether equations made of J have digits: the variance of no state that it tells of is far above what it would be if
/// the others were known. The inverse is found by sweeps (Goodnight, The American Statistician 33, 1979).
template <class T, int N>
KALSCAN_HD bool makes_equations(const small_symmetric<T, N>& J) {
  constexpr T most = sizeof(T) == 4 ? T(0x1p8) : T(0x1p20);
  small_symmetric<T, N> x = J;  // becomes the inverse, with its sign changed
  bool enough = true;
  unrolled<N>([&](int k) {
    if (equal(J(k, k), T(0))) return;
    enough = enough && x(k, k) > 0;
    const T inverse = enough ? 1 / x(k, k) : T(0);
    small_vector<T, N> column{};
    unrolled<N>([&](int i) { column(i) = i == k ? T(-1) : x(i, k); });
    for_each_entry<small_symmetric<T, N>>([&](int i, int j) {
      x(i, j) = i == k || j == k ? -inverse * column(i) * column(j) : x(i, j) - inverse * column(i) * column(j);
    });
  });
  unrolled<N>([&](int k) { enough = enough && -x(k, k) * J(k, k) <= most; });
  return enough;
}
/// Information as equations in numbers of type X. It is not finite where a state that no noise moves is read without
/// noise: neither are they then, though J may tell nothing else.
template <class X, class T, int N>
KALSCAN_HD small_root_likelihood<X, N> equations_of(const small_likelihood<T, N>& x) {
  auto readings = unit_readings_of(x.eta, x.J);
  unrolled<N>([&](int i) { readings.w(0) += x.eta(i) * T(0); });
  return {as<X>(readings.Z), as<X>(readings.w)};
}

}  // namespace detail

/// As smoothed of small_belief.
template <class T, class X, int N>
[[nodiscard]] KALSCAN_HD small_diffuse_belief<T, N> smoothed(const small_diffuse_belief<T, N>& filtered,
                                                             small_root_likelihood<X, N>& later,
                                                             small_root_element<X, N>& stretch, bool and_before) {
  small_diffuse_belief<T, N> x = filtered;
  x.mean = {};
  detail::take_likelihood(x, later);
  if (and_before) later = act_backward<detail::residues_of<small_diffuse_belief<T, N>>>(stretch, later);
  detail::join(x);
  detail::add(x.mean, filtered.mean);
  detail::clear_null_variances(x.covariance);
  return x;
}

}  // namespace kalscan
