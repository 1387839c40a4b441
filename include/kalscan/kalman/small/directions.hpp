// SPDX-License-Identifier: MIT
// Directions of which nothing is known: the columns of a matrix, turned and moved so that none depends on others.
#pragma once

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan::detail {

/// The length of a, without overflow of its squares.
template <class T, int N>
KALSCAN_HD T length_of(const small_vector<T, N>& a) {
  T most = 0;
  unrolled<N>([&](int j) { most = std::abs(a(j)) > most ? std::abs(a(j)) : most; });
  return most * std::sqrt(sum_of<T, N>([&](int j) { return a(j) / most * (a(j) / most); }));
}

/// Turns d, so that the reading a d is of one entry of it, and leaves that out: a reflection of Householder's, of
/// length `length` along a. `along` is directions a. Errors of entry (i, j) are relative to terms(i, j) and what is
/// taken off the entry: what is no more than `rounding` of the sum is zero. If terms(i, j) is a reference, it becomes
/// that sum. Returns which column is free now. Straight: see unrolled.
template <bool Straight = true, class T, int N, class Terms>
KALSCAN_HD int remove_direction(small_matrix<T, N, N>& directions, const small_vector<T, N>& a, T length,
                                const small_vector<T, N>& along, T rounding, Terms terms) {
  T most = 0, first = 0;
  int pivot = 0;
  unrolled<N, (Straight && N <= 8)>([&](int j) {
    if (!(std::abs(a(j)) > most)) return;
    most = std::abs(a(j));
    first = a(j);
    pivot = j;
  });
  const T to = first > 0 ? length : -length, factor = 1 / (length * (length + most));
  small_vector<T, N> w = along, terms_of_w{};
  unrolled<N, (Straight && N <= 8)>([&](int j) {
    unrolled<N, (Straight && N <= 8)>([&](int i) {
      terms_of_w(i) += std::abs(a(j)) * terms(i, j);
      if (j != pivot) return;
      w(i) += to * directions(i, j);
      terms_of_w(i) += length * terms(i, j);
    });
  });
  unrolled<N, (Straight && N <= 8)>([&](int j) {
    const T scale = factor * a(j);
    unrolled<N, (Straight && N <= 8)>([&](int i) {
      T& x = directions(i, j);
      auto&& size = terms(i, j);
      size += std::abs(scale) * terms_of_w(i);
      x -= scale * w(i);
      if (j == pivot || std::abs(x) <= rounding * size) x = 0;
    });
  });
  return pivot;
}

/// Whether columns are far from depending on each other, by an elimination with pivots, for which less is computed than
/// to find out how they depend. Columns of zeros do not count. `terms`: as below.
template <class T, int N>
KALSCAN_HD bool are_far_from_dependent(small_matrix<T, N, N> left, const small_matrix<T, N, N>& terms) {
  constexpr T far = T(0x1p-10);
  std::uint64_t taken = 0;  // bit i: state i was a pivot
  bool all = true;
  unrolled<N, false>([&](int j) {
    T most = 0, size = 0;
    int pivot = 0;
    unrolled<N, false>([&](int i) {
      size = terms(i, j) > size ? terms(i, j) : size;
      if ((taken >> i & 1U) != 0 || !(std::abs(left(i, j)) > most)) return;
      most = std::abs(left(i, j));
      pivot = i;
    });
    if (equal(size, T(0))) return;
    all = all && most > far * size;
    if (!all) return;
    taken |= std::uint64_t{1} << pivot;
    const T inverse = 1 / left(pivot, j);
    for (int k = j + 1; k < N; ++k) {
      const T factor = left(pivot, k) * inverse;
      unrolled<N, false>([&](int i) { left(i, k) -= factor * left(i, j); });
    }
  });
  return all;
}

/// Makes columns linearly independent that are not, and leaves directions directions' as it is. Where a column depended
/// on others, rounding would be left of it once readings have told of these, and would be read as if it told something.
/// `terms`: what errors of the entries are relative to. State after state is left out of a copy, first those of which
/// least has cancelled, until there is no more than rounding.
template <class T, int N>
KALSCAN_HD void make_independent(small_matrix<T, N, N>& directions, small_matrix<T, N, N> terms) {
  if (are_far_from_dependent(directions, terms)) return;
  int columns = 0;
  unrolled<N, false>([&](int j) {
    bool any = false;
    unrolled<N, false>([&](int i) { any = any || !equal(directions(i, j), T(0)); });
    columns += any ? 1 : 0;
  });
  small_matrix<T, N, N> left = directions, independent{};
  for (int rank = 0; rank < columns; ++rank) {
    T most = 0;
    int state = 0;
    unrolled<N, false>([&](int i) {
      T size = 0, all = 0;
      unrolled<N, false>([&](int j) {
        size += std::abs(left(i, j));
        all += terms(i, j);
      });
      if (size <= most * all) return;  // what is not finite is not
      most = size / all;
      state = i;
    });
    if (equal(most, T(0))) {
      directions = independent;
      return;
    }
    small_vector<T, N> a{}, along{};
    unrolled<N, false>([&](int j) { a(j) = left(state, j); });
    unrolled<N, false>([&](int j) { unrolled<N, false>([&](int i) { along(i) += left(i, j) * a(j); }); });
    const T length = length_of(a);
    const int column = remove_direction<false>(left, a, length, along, rounding_of_terms<T>,
                                               [&](int i, int j) -> T& { return terms(i, j); });
    unrolled<N, false>([&](int i) { independent(i, column) = along(i) / length; });
  }
}

/// A transition of the directions of a belief, whose vague columns `vague` tells (see small_diffuse_belief). Only the
/// few steps before all is known need it: so that the others have a device's registers it is not inlined, has loops,
/// and takes matrices that are not the caller's own.
template <class T, int N>
[[gnu::noinline]] KALSCAN_HD void move_directions(const small_matrix<T, N, N>& F, std::uint64_t vague,
                                                  small_matrix<T, N, N>& directions) {
  small_matrix<T, N, N> moved{}, terms{};
  unrolled<N, false>([&](int j) {
    const bool is_vague = (vague >> j & 1U) != 0;
    unrolled<N, false>([&](int i) {
      T sum = 0, all = 0;
      unrolled<N, false>([&](int k) {
        const T term = F(i, k) * directions(k, j);
        sum += term;
        all += std::abs(term);
      });
      const T rounding = is_vague ? rounding_of_sums<T, N> : rounding_of_terms<T>;
      moved(i, j) = std::abs(sum) <= rounding * all ? T(0) : sum;
      terms(i, j) = all;
    });
  });
  directions = moved;
  if (vague != 0) {
    unrolled<N, false>([&](int j) {
      if ((vague >> j & 1U) == 0) return;
      unrolled<N, false>([&](int i) { moved(i, j) = terms(i, j) = 0; });
    });
  }
  make_independent(moved, terms);
  unrolled<N, false>([&](int j) {
    if ((vague >> j & 1U) == 0) unrolled<N, false>([&](int i) { directions(i, j) = moved(i, j); });
  });
}
}  // namespace kalscan::detail
