// SPDX-License-Identifier: MIT
// Covariances as roots U, P = U U', and likelihoods as equations Z'x = w with errors of variance one, on small
// matrices: lower triangles, for host and device. Nothing here forms a square and takes its root again.
#pragma once

#include <cmath>
#include <cstddef>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <type_traits>

namespace kalscan {

/// A lower triangle, row by row; above the diagonal it reads as zero. Of a root the diagonal is not negative.
template <class T, int N>
struct small_lower {
  using value_type = T;
  static constexpr int rows = N, columns = N;

  T x[static_cast<std::size_t>(N * (N + 1) / 2)];

  KALSCAN_HD constexpr T& operator()(int i, int j) { return x[i * (i + 1) / 2 + j]; }
  KALSCAN_HD constexpr T operator()(int i, int j) const { return i >= j ? x[i * (i + 1) / 2 + j] : T(0); }
};

namespace detail {

template <class T, int N>
inline constexpr bool is_small<small_lower<T, N>> = true;
template <class T, int N>
inline constexpr bool is_triangle<small_lower<T, N>> = true;

/// Whether a device has registers for N x N numbers: else what goes over them stays loops.
template <class T, int N>
inline constexpr bool straight = sizeof(T) * N * N <= 256;

/// x with numbers of type T.
template <class T, int R, int C, class X>
KALSCAN_HD constexpr small_matrix<T, R, C> as(const small_matrix<X, R, C>& x) {
  return to_small<small_matrix<T, R, C>>(x);
}
template <class T, int N, class X>
KALSCAN_HD constexpr small_lower<T, N> as(const small_lower<X, N>& x) {
  return to_small<small_lower<T, N>>(x);
}
template <class T, int N, class X>
KALSCAN_HD constexpr small_symmetric<T, N> as(const small_symmetric<X, N>& x) {
  return to_small<small_symmetric<T, N>>(x);
}

template <class T>
KALSCAN_HD T size_of(T x) {
  return x < 0 ? -x : x;
}

/// X U.
template <class T, int N>
KALSCAN_HD small_matrix<T, N, N> times_lower(const small_matrix<T, N, N>& X, const small_lower<T, N>& U) {
  small_matrix<T, N, N> y{};
  unrolled<N, straight<T, N>>([&](int j) {
    unrolled<N, straight<T, N>>(
        [&](int i) { y(i, j) = sum_of<T, N>([&](int k) { return X(i, k) * U.x[k * (k + 1) / 2 + j]; }, j); });
  });
  return y;
}

/// U f.
template <class T, int N>
KALSCAN_HD small_vector<T, N> lower_times(const small_lower<T, N>& U, const small_vector<T, N>& f) {
  small_vector<T, N> y{};
  unrolled<N, straight<T, N>>([&](int i) {
    unrolled<N, straight<T, N>>([&](int j) {
      if (j <= i) y(i) += U(i, j) * f(j);
    });
  });
  return y;
}

/// U'h, for entries of h that are zero before `first`.
template <class T, int N>
KALSCAN_HD small_vector<T, N> lower_transposed_times(const small_lower<T, N>& U, const small_vector<T, N>& h,
                                                     int first = 0) {
  small_vector<T, N> y{};
  unrolled<N, straight<T, N>>([&](int j) {
    unrolled<N, straight<T, N>>([&](int i) {
      if (i >= j && i >= first) y(j) += U(i, j) * h(i);
    });
  });
  return y;
}

/// U U'.
template <class T, int N>
KALSCAN_HD small_symmetric<T, N> square_of(const small_lower<T, N>& U) {
  small_symmetric<T, N> P{};
  for_each_entry<small_symmetric<T, N>>([&](int i, int j) {
    unrolled<N, straight<T, N>>([&](int k) {
      if (k <= j) P(i, j) += U(i, k) * U(j, k);
    });
  });
  return P;
}

/// The root of X X' + Y Y', by Householder reflections of the columns of [X Y], a row at a time. A row of the root has
/// an error relative to that row of X and Y, so that units do not matter. Y stays a triangle meanwhile: row k is zero
/// beyond column k.
template <class T, int N>
KALSCAN_HD small_lower<T, N> root_of_sum(small_matrix<T, N, N> X, small_lower<T, N> Y) {
  unrolled<N, straight<T, N>>([&](int k) {
    T largest = 0;
    unrolled<N, straight<T, N>>([&](int c) {
      if (c >= k) largest = size_of(X(k, c)) > largest ? size_of(X(k, c)) : largest;
      if (c <= k) largest = size_of(Y(k, c)) > largest ? size_of(Y(k, c)) : largest;
    });
    // Numbers next to underflow would make a reflection that is not orthogonal; of none at all nothing is reflected.
    const bool none = largest < (std::numeric_limits<T>::min)();
    const T unit = none ? T(0) : 1 / largest;
    small_vector<T, N> v{}, w{};  // of the columns of X, and of Y
    T squares = 0;
    unrolled<N, straight<T, N>>([&](int c) {
      if (c >= k) v(c) = unit * X(k, c), squares += v(c) * v(c);
      if (c <= k) w(c) = unit * Y(k, c), squares += w(c) * w(c);
    });
    const T norm = std::sqrt(squares), first = v(k), sign = first > 0 ? T(-1) : T(1);
    const T factor = none ? T(0) : 1 / (norm * (norm + size_of(first)));
    v(k) = first - sign * norm;
    X(k, k) = norm * largest;
    unrolled<N, straight<T, N>>([&](int i) {
      if (N == 1 || i <= k) return;
      T along = 0;
      unrolled<N, straight<T, N>>([&](int c) {
        if (c >= k) along += v(c) * X(i, c);
        if (c <= k) along += w(c) * Y(i, c);
      });
      along *= factor;
      unrolled<N, straight<T, N>>([&](int c) {
        if (c >= k) X(i, c) -= along * v(c);
        if (c <= k) Y(i, c) -= along * w(c);
      });
      X(i, k) *= sign;
    });
  });
  return to_small<small_lower<T, N>>(X);
}

/// Of a variance that is given in numbers of type T: what is no more may be rounding.
template <class T, int N>
inline constexpr T rounding_of_pivots = T(4 + N) * std::numeric_limits<T>::epsilon();

/// The root of a positive semi-definite matrix of any rank, by pivots: those of which no more than rounding is left are
/// zero. Of what is no such matrix the root is NaN.
template <class X, class T, int N>
KALSCAN_HD small_lower<X, N> root_by_pivots(const small_symmetric<T, N>& given) {
  const X rounding = rounding_of_pivots<T, N>, rough = std::sqrt(std::numeric_limits<T>::epsilon());
  auto P = as<X>(given);       // what is left
  small_vector<X, N> scale{};  // the variances; zero: done
  for (int i = 0; i < N; ++i) scale(i) = P(i, i);
  small_matrix<X, N, N> columns{};
  for (int k = 0; k < N; ++k) {
    X most = rounding;
    int pivot = -1;
    for (int i = 0; i < N; ++i) {
      if (!(scale(i) > 0 && P(i, i) > most * scale(i))) continue;
      most = P(i, i) / scale(i);
      pivot = i;
    }
    if (pivot < 0) break;
    const X inverse = inverse_root(P(pivot, pivot));
    for (int i = 0; i < N; ++i) columns(i, k) = scale(i) > 0 ? P(i, pivot) * inverse : X(0);
    scale(pivot) = 0;
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j <= i; ++j) P(i, j) -= columns(i, k) * columns(j, k);
    }
  }
  small_lower<X, N> root = root_of_sum(columns, small_lower<X, N>{});
  for (int i = 0; i < N; ++i) {
    if (!(P(i, i) >= -rough * given(i, i))) root(i, i) = std::numeric_limits<X>::quiet_NaN();
  }
  return root;
}

/// The root, in numbers of type X, of a positive semi-definite matrix: by Cholesky where it is regular.
template <class X, class T, int N>
KALSCAN_HD small_lower<X, N> root_of(const small_symmetric<T, N>& P) {
  bool regular = true;
  small_lower<X, N> root{};
  unrolled<N, straight<X, N>>([&](int k) {
    const X variance = P(k, k);
    const X left = variance - sum_of<X, N>([&](int j) { return j < k ? root(k, j) * root(k, j) : X(0); });
    const bool none = equal(variance, X(0));
    regular = regular && (none || left > rounding_of_pivots<T, N> * variance);
    const X inverse = none ? X(0) : inverse_root(left);
    unrolled<N, straight<X, N>>([&](int i) {
      if (i < k) return;
      root(i, k) = inverse * (X(P(i, k)) - sum_of<X, N>([&](int j) { return j < k ? root(i, j) * root(k, j) : X(0); }));
    });
  });
  return regular ? root : root_by_pivots<X>(P);
}

/// Adds an equation row'x = value, of variance one, to Z'x = w by Givens rotations. What is left of `value`, the
/// residual, is dropped: a likelihood counts up to a constant. Information that grows over a long stretch, as of an
/// unstable system without noise, stops growing before its squares are infinite.
template <residues Residues = residues::kept, class T, int N>
KALSCAN_HD void add_equation(small_lower<T, N>& Z, small_vector<T, N>& w, small_vector<T, N> row, T value) {
  const T most = std::sqrt((std::numeric_limits<T>::max)()) / 4096;
  T largest = 0;
  unrolled<N, straight<T, N>>([&](int i) { largest = size_of(row(i)) > largest ? size_of(row(i)) : largest; });
  if (largest > most) {
    unrolled<N, straight<T, N>>([&](int i) { row(i) *= most / largest; });
    value *= most / largest;
  }
  unrolled<N, straight<T, N>>([&](int i) {
    const T squares = Z(i, i) * Z(i, i) + row(i) * row(i);
    if (equal(row(i), T(0)) || !(squares > 0)) return;
    const T inverse = inverse_root(squares), cosine = Z(i, i) * inverse, sine = row(i) * inverse;
    unrolled<N, straight<T, N>>([&](int j) {
      if (j < i) return;
      const T z = Z(j, i);
      Z(j, i) = sum_of_two<Residues>(cosine * z, sine * row(j));
      row(j) = sum_of_two<Residues>(cosine * row(j), -sine * z);
    });
    const T z = w(i);
    w(i) = cosine * z + sine * value;
    value = cosine * value - sine * z;
  });
}

/// A scalar observation h'x + N(0, d) = y of x ~ N(mean, U U'), after Carlson (AIAA Journal 11, 1973): U becomes U L,
/// where L L' = I - f f' / s, f = U'h. No entry of L is a difference, so that noise far below the variance that it
/// meets is not lost. L is lower triangular here, and so is U. Entries of h before `first` are zero. s = 0 where the
/// observation says nothing: no noise, and nothing left to learn.
template <class T, int N>
KALSCAN_HD small_innovation<T, N> take_reading(small_vector<T, N>& mean, small_lower<T, N>& U,
                                               const small_vector<T, N>& h, T d, T y, int first = 0) {
  constexpr T rounding = rounding_of_sums<T, N>;
  const bool noiseless = equal(d, T(0));
  small_vector<T, N> f = lower_transposed_times(U, h, first);
  if (noiseless) {
    // What is left of a direction that a noiseless observation has fixed is rounding.
    unrolled<N, straight<T, N>>([&](int j) {
      const T terms = sum_of<T, N>([&](int i) { return i >= j ? size_of(U(i, j) * h(i)) : T(0); });
      if (size_of(f(j)) <= rounding * terms) f(j) = 0;
    });
  }
  small_innovation<T, N> x{lower_times(U, f), {}, y - dot(h, mean, first), dot(f, f) + d, {}};
  if (equal(x.s, T(0))) return x;
  if (!(x.s <= (std::numeric_limits<T>::max)()))
    x.s = std::numeric_limits<T>::quiet_NaN();  // not as if it told nothing
  x.scale = inverse_root(x.s);
  unrolled<N, straight<T, N>>([&](int i) {
    x.q(i) *= x.scale;
    x.K(i) = x.scale * x.q(i);
  });
  add(mean, x.K, x.v);
  // A mean that was far away leaves rounding: what is known exactly agrees with the observation afterwards.
  if (noiseless) add(mean, x.K, y - dot(h, mean, first));
  small_vector<T, N> sum{};  // of f(k) times column k, over all after j
  T before = d, inverse = noiseless ? T(0) : inverse_root(d);
  unrolled<N, straight<T, N>>([&](int r) {
    const int j = N - 1 - r;
    const T after = before + f(j) * f(j);
    if (equal(f(j), T(0)) || !(after > 0)) return;
    const T next = inverse_root(after), others = inverse * next, kept = before * others;
    unrolled<N, straight<T, N>>([&](int i) {
      if (i < j) return;
      const T u = U(i, j), own = kept * u, rest = f(j) * others * sum(i);
      sum(i) += f(j) * u;
      U(i, j) = own - rest;
      if (noiseless && size_of(own - rest) <= rounding * (size_of(own) + size_of(rest))) U(i, j) = 0;
    });
    before = after;
    inverse = next;
  });
  return x;
}

}  // namespace detail
}  // namespace kalscan
