// SPDX-License-Identifier: MIT
// What observations tell of beliefs that are diffuse in part.
#pragma once

#include <cmath>
#include <kalscan/kalman/small/diffuse_belief.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan::detail {

/// What a reading h x tells of d: a d, a = directions' h, the vague entries of d apart from the others.
template <class T, int N>
struct seen_directions {
  small_vector<T, N> diffuse, vague;
};
/// What the reading h x tells. Entries that may be rounding are zero: errors of h are relative to `size`, entry by entry, those of
/// a diffuse column to its own terms, and those of a vague one to the terms of all, since reflections mix these.
template <class T, int N>
KALSCAN_HD seen_directions<T, N> seen_of_directions(const small_diffuse_belief<T, N>& x, const small_vector<T, N>& h,
                                                    const small_vector<T, N>& size) {
  seen_directions<T, N> seen{};
  T terms_of_vague = 0;
  unrolled<N>([&](int j) {
    if (!is_vague(x, j)) return;
    unrolled<N>([&](int i) { terms_of_vague += size(i) * std::abs(x.directions(i, j)); });
  });
  unrolled<N>([&](int j) {
    T a = 0, terms = 0;
    unrolled<N>([&](int i) {
      a += h(i) * x.directions(i, j);
      terms += size(i) * std::abs(x.directions(i, j));
    });
    const bool vague = is_vague(x, j);
    if (std::abs(a) <= (vague ? rounding_of_sums<T, N> * terms_of_vague : rounding_of_terms<T> * terms)) return;
    (vague ? seen.vague : seen.diffuse)(j) = a;
  });
  return seen;
}

template <class T, int R, int C>
KALSCAN_HD bool is_zero(const small_matrix<T, R, C>& x) {
  bool zero = true;
  unrolled<C>([&](int j) { unrolled<R>([&](int i) { zero = zero && equal(x(i, j), T(0)); }); });
  return zero;
}

/// Makes it a vague one.
template <class T, int N>
KALSCAN_HD void put_vague(small_diffuse_belief<T, N>& x, int column, const small_vector<T, N>& value) {
  unrolled<N>([&](int j) {
    if (j == column) unrolled<N>([&](int i) { x.directions(i, j) = value(i); });
  });
  const typename small_diffuse_belief<T, N>::bits bit = 1U << column;
  x.vague = is_zero(value) ? x.vague & ~bit : x.vague | bit;
}
/// Takes K f' from the vague columns. Of a state that is known exactly now nothing may be left.
template <class T, int N>
KALSCAN_HD void reduce_vague(small_diffuse_belief<T, N>& x, const small_vector<T, N>& K, const small_vector<T, N>& f) {
  constexpr T rounding = rounding_of_sums<T, N>;
  unrolled<N>([&](int j) {
    if (!is_vague(x, j)) return;
    unrolled<N>([&](int i) {
      T& g = x.directions(i, j);
      const T before = g, taken = K(i) * f(j);
      g -= taken;
      if (std::abs(g) <= rounding * (std::abs(before) + std::abs(taken))) g = 0;
    });
  });
}

/// What is read without noise is known then: what rounding left of it in the vague columns, of terms that may have been far
/// larger than what is left of them, would be read again as if it told something. Each entry bears it in proportion to
/// its term. Of states that are known exactly nothing is left.
template <class T, int N>
KALSCAN_HD void clear_along(small_diffuse_belief<T, N>& x, const small_vector<T, N>& h) {
  unrolled<N>([&](int j) {
    if (!is_vague(x, j)) return;
    T left = 0, terms = 0;
    unrolled<N>([&](int i) {
      left += h(i) * x.directions(i, j);
      terms += std::abs(h(i) * x.directions(i, j));
    });
    if (equal(left, T(0))) return;
    const T share = left / terms;
    unrolled<N>([&](int i) {
      T& g = x.directions(i, j);
      if (!equal(h(i), T(0))) g -= std::copysign(g, h(i)) * share;
    });
  });
}

/// The reading y = h x + N(0, d) of a belief of whose unknowns it tells a, which is not zero, and f of the vague ones:
/// after Koopman (JASA 92, 1997). The innovation has the part of its variance that grows as s, and says nothing of
/// likelihood else. `own` is the innovation that it would have had without unknowns. What it reads beside a d, of
/// variance own.s, is read apart from a d no more: that is the new vague column.
template <class T, int N>
KALSCAN_HD small_innovation<T, N> take_first_reading(small_diffuse_belief<T, N>& x, const small_vector<T, N>& h, T d,
                                                     const seen_directions<T, N>& told, small_innovation<T, N> own) {
  const small_vector<T, N>& a = told.diffuse;
  const T length = length_of(a);
  const small_vector<T, N> along = times<residues::rounded>(x.directions, a);
  small_innovation<T, N> seen{};
  seen.s = length * length;
  seen.scale = 1 / length;
  unrolled<N>([&](int i) { seen.K(i) = along(i) / length / length; });
  add(x.mean, seen.K, own.v);
  small_vector<T, N> g{};
  if (!equal(own.s, T(0))) {
    const T deviation = std::sqrt(own.s);
    unrolled<N>([&](int i) { g(i) = sum_of_two<residues::rounded>(own.q(i), -deviation * seen.K(i)); });
    own.v = 0;
    take_reading<residues::rounded>(x.mean, x.covariance, h, d, own);
  }
  reduce_vague(x, seen.K, told.vague);
  const auto terms = [&](int i, int j) { return std::abs(x.directions(i, j)); };
  put_vague(x, remove_direction(x.directions, a, length, along, rounding_of_terms<T>, terms), g);
  return seen;
}

/// One that tells f of the vague unknowns, and nothing of the diffuse ones: given these, its innovation is `own`.
template <class T, int N>
KALSCAN_HD small_innovation<T, N> take_vague_reading(small_diffuse_belief<T, N>& x, const small_vector<T, N>& h, T d,
                                                     const small_vector<T, N>& f, small_innovation<T, N> own) {
  constexpr T rounding = rounding_of_sums<T, N>;
  const T length = length_of(f), v = own.v;
  small_innovation<T, N> seen{};
  seen.v = v;
  seen.s = own.s + length * length;
  seen.scale = inverse_root(seen.s);
  if (own.s > 0) {
    own.v = 0;
    take_reading<residues::rounded>(x.mean, x.covariance, h, d, own);
    reduce_vague(x, own.K, f);
  }
  // Given the innovation, the mean of f d / length is length v / s, and its variance own.s / s.
  const small_vector<T, N> along = times<residues::rounded>(x.directions, f);
  const T others = own.s * seen.scale * seen.scale, left = std::sqrt(others) / length;
  small_vector<T, N> g{};
  unrolled<N>([&](int i) {
    seen.K(i) = along(i) * seen.scale * seen.scale + (own.s > 0 ? own.K(i) : T(0));
    g(i) = left * along(i);
  });
  add(x.mean, seen.K, v);
  const auto terms = [&](int i, int j) { return std::abs(x.directions(i, j)); };
  put_vague(x, remove_direction(x.directions, f, length, along, rounding, terms), g);
  return seen;
}

/// As observe does for a proper belief.
template <class T, int N, int M, class Seen>
KALSCAN_HD step_failure observe(const independent_readings<T, N, M>& o, small_diffuse_belief<T, N>& x, Seen seen) {
  step_failure wrong = step_failure::none;
  bool proper = is_proper(x);
  unrolled<M>([&](int k) {
    if (!o.present[k]) return;
    small_vector<T, N> h{}, size{};
    unrolled<N>([&](int i) {
      h(i) = o.H(k, i);
      size(i) = std::abs(h(i));
    });
    const T d = o.d(k);
    seen_directions<T, N> told{};
    if (!proper) told = seen_of_directions(x, h, size);
    if (is_zero(told.diffuse) && is_zero(told.vague)) {
      const step_failure now = observe_component<residues::rounded>(o, k, h, x.mean, x.covariance, seen);
      if (wrong == step_failure::none) wrong = now;
    } else {
      small_innovation<T, N> own = innovation_of(h, d, o.y(k), x.mean, x.covariance);
      if (!(own.s > d) || equal(d, T(0))) {
        // What is not told of known parts may be told of the unknown ones.
        const step_failure now = judge_innovation(h, d, o.terms(k), x.mean, x.covariance, own);
        if (wrong == step_failure::none && now == step_failure::innovation) wrong = now;
      }
      if (is_zero(told.diffuse)) {
        seen(k, h, d, take_vague_reading(x, h, d, told.vague, own));
      } else {
        seen(k, h, d, take_first_reading(x, h, d, told, own));
        proper = is_proper(x);
      }
    }
    if (equal(d, T(0))) clear_along(x, h);
  });
  clear_null_variances(x.covariance);
  join_if_known(x);
  return wrong;
}

/// A reading h x = w + N(0, 1), where errors of h are relative to `size`, entry by entry.
template <class T, int N>
KALSCAN_HD void take_unit_reading(const small_vector<T, N>& h, T w, int first, const small_vector<T, N>& size,
                                  small_diffuse_belief<T, N>& x) {
  seen_directions<T, N> told{};
  if (!is_proper(x)) told = seen_of_directions(x, h, size);
  if (is_zero(told.diffuse) && is_zero(told.vague)) {
    take_unit_reading(h, w, first, x.mean, x.covariance);
    return;
  }
  const small_innovation<T, N> alone = innovation_of(h, T(1), w, x.mean, x.covariance, first);
  if (is_zero(told.diffuse)) {
    take_vague_reading(x, h, T(1), told.vague, alone);
  } else {
    take_first_reading(x, h, T(1), told, alone);
  }
}
/// One of for_each_reading of a likelihood with information J.
template <class T, int N>
KALSCAN_HD void take_unit_reading(const small_vector<T, N>& h, T w, int first, const small_symmetric<T, N>& J,
                                  small_diffuse_belief<T, N>& x) {
  // The errors of h come from those of J, whose entries were taken off each other until h h' was left.
  T left = 0;
  small_vector<T, N> size{};
  unrolled<N>([&](int i) { left = h(i) * h(i) > left * J(i, i) ? h(i) * h(i) / J(i, i) : left; });
  const T scale = left > 0 ? 1 / std::sqrt(left) : T(0);
  unrolled<N>([&](int i) { size(i) = J(i, i) > 0 ? std::sqrt(J(i, i)) * scale : T(0); });
  take_unit_reading(h, w, first, size, x);
}

}  // namespace kalscan::detail
