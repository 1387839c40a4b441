// SPDX-License-Identifier: MIT
// Matrices of a few rows and columns, for host and device: arrays that a compiler can keep in registers.
#pragma once

#include <cstddef>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// Rows x Columns numbers, column by column, as Eigen stores them. An aggregate: {{1, 0, 1, 1}}.
template <class T, int Rows, int Columns>
struct small_matrix {
  using value_type = T;
  static constexpr int rows = Rows, columns = Columns;

  T x[static_cast<std::size_t>(Rows * Columns)];

  KALSCAN_HD constexpr T& operator()(int i, int j) { return x[j * Rows + i]; }
  KALSCAN_HD constexpr const T& operator()(int i, int j) const { return x[j * Rows + i]; }
  KALSCAN_HD constexpr T& operator()(int i)
    requires(Columns == 1)
  {
    return x[i];
  }
  KALSCAN_HD constexpr const T& operator()(int i) const
    requires(Columns == 1)
  {
    return x[i];
  }
};

template <class T, int N>
using small_vector = small_matrix<T, N, 1>;

/// A symmetric matrix as its lower triangle, row by row.
template <class T, int N>
struct small_symmetric {
  using value_type = T;
  static constexpr int rows = N, columns = N;

  T x[static_cast<std::size_t>(N * (N + 1) / 2)];

  KALSCAN_HD static constexpr int index(int i, int j) { return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i; }
  KALSCAN_HD constexpr T& operator()(int i, int j) { return x[index(i, j)]; }
  KALSCAN_HD constexpr const T& operator()(int i, int j) const { return x[index(i, j)]; }
};

namespace detail {

/// f(0), ..., f(N - 1). On the device as straight code, so that what f indexes can be in registers; loops of more than
/// 8 turns stay loops, and their matrices in memory.
template <int N, bool Straight = (N <= 8), class F>
KALSCAN_HD constexpr void unrolled(F f) {
#if defined(__CUDA_ARCH__)
#pragma unroll(Straight ? N : 1)
#endif
  for (int i = 0; i < N; ++i) f(i);
}

template <class X>
inline constexpr bool is_small = false;
template <class T, int R, int C>
inline constexpr bool is_small<small_matrix<T, R, C>> = true;
template <class T, int N>
inline constexpr bool is_small<small_symmetric<T, N>> = true;

/// Whether X stores a lower triangle alone.
template <class X>
inline constexpr bool is_triangle = false;
template <class T, int N>
inline constexpr bool is_triangle<small_symmetric<T, N>> = true;

template <class T, int N>
KALSCAN_HD constexpr small_matrix<T, N, N> identity_matrix() {
  small_matrix<T, N, N> x{};
  unrolled<N>([&](int i) { x(i, i) = T(1); });
  return x;
}

/// f(i, j) for each entry that X stores.
template <class X, class F>
KALSCAN_HD constexpr void for_each_entry(F f) {
  unrolled<X::columns>([&](int j) {
    unrolled<X::rows>([&](int i) {
      if (!is_triangle<X> || i >= j) f(i, j);
    });
  });
}

/// x += scale y, entry by entry.
template <class X>
KALSCAN_HD constexpr void add(X& x, const X& y, typename X::value_type scale = 1) {
  for_each_entry<X>([&](int i, int j) { x(i, j) += scale * y(i, j); });
}

/// The sum of f(k) over k < N, from `first` on.
template <class T, int N, class F>
KALSCAN_HD constexpr T sum_of(F f, int first = 0) {
  T sum = 0;
  unrolled<N>([&](int k) {
    if (k >= first) sum += f(k);
  });
  return sum;
}

/// Of the terms of a sum: what is no more than that is zero but for rounding. Directions of a diffuse belief are told
/// apart by this alone, so that units do not matter.
template <class T>
inline constexpr T rounding_of_terms = sizeof(T) == 4 ? T(0x1p-17) : T(0x1p-39);
/// What some sums of N terms leave of digits at worst: of the terms, what is no more than that may be rounding.
template <class T, int N>
inline constexpr T rounding_of_sums = rounding_of_sum<T>(N);

/// What becomes of sums that may be rounding alone: they are kept, or zero where they are no more than rounding_of_sums of
/// their terms (`rounded`: readings under a diffuse prior), or no more than rounding_of_terms of them (`cleared`: elements
/// under a diffuse prior, as a variance that grows without bound would multiply whatever is left). `cleared_as_float`: in sums of a wider type than that of a model in
/// float, whose numbers are no more exact than that.
enum class residues { kept, rounded, cleared, cleared_as_float };

template <residues Residues, class T, int N>
inline constexpr T residue_of_terms = Residues == residues::rounded            ? rounding_of_sums<T, N>
                                      : Residues == residues::cleared_as_float ? T(rounding_of_terms<float>)
                                                                               : rounding_of_terms<T>;

/// x + y.
template <residues Residues, class T>
KALSCAN_HD constexpr T sum_of_two(T x, T y) {
  const T sum = x + y;
  if constexpr (Residues == residues::kept) {
    return sum;
  } else {
    const T terms = (x < 0 ? -x : x) + (y < 0 ? -y : y);
    return (sum < 0 ? -sum : sum) <= residue_of_terms<Residues, T, 2> * terms ? T(0) : sum;
  }
}
/// As sum_of.
template <residues Residues, class T, int N, class F>
KALSCAN_HD constexpr T product_sum(F f, int first) {
  if constexpr (Residues == residues::kept) {
    return sum_of<T, N>(f, first);
  } else {
    const T sum = sum_of<T, N>(f, first), terms = sum_of<T, N>([&](int k) { return f(k) < 0 ? -f(k) : f(k); }, first);
    return (sum < 0 ? -sum : sum) <= residue_of_terms<Residues, T, N> * terms ? T(0) : sum;
  }
}

/// x y, where the entries of y before row `first` are zero.
template <residues Residues = residues::kept, class X, class T, int K, int C>
KALSCAN_HD constexpr small_matrix<T, X::rows, C> times(const X& x, const small_matrix<T, K, C>& y, int first = 0) {
  static_assert(X::columns == K);
  small_matrix<T, X::rows, C> z{};
  unrolled<C>([&](int j) {
    unrolled<X::rows>(
        [&](int i) { z(i, j) = product_sum<Residues, T, K>([&](int k) { return x(i, k) * y(k, j); }, first); });
  });
  return z;
}

/// x'y, where the entries of y before row `first` are zero.
template <residues Residues = residues::kept, class T, int R, int K, int C>
KALSCAN_HD constexpr small_matrix<T, K, C> transposed_times(const small_matrix<T, R, K>& x,
                                                            const small_matrix<T, R, C>& y, int first = 0) {
  small_matrix<T, K, C> z{};
  unrolled<C>([&](int j) {
    unrolled<K>(
        [&](int i) { z(i, j) = product_sum<Residues, T, R>([&](int k) { return x(k, i) * y(k, j); }, first); });
  });
  return z;
}

template <class T, int N>
KALSCAN_HD constexpr T dot(const small_vector<T, N>& x, const small_vector<T, N>& y, int first = 0) {
  return sum_of<T, N>([&](int k) { return x(k) * y(k); }, first);
}

/// y + x P x', a row at a time. x may be symmetric.
template <class X, class T, int N>
KALSCAN_HD constexpr small_symmetric<T, X::rows> congruence(const X& x, const small_symmetric<T, N>& P,
                                                            small_symmetric<T, X::rows> y) {
  unrolled<X::rows>([&](int i) {
    small_vector<T, N> xP{};
    unrolled<N>([&](int k) { xP(k) = sum_of<T, N>([&](int l) { return x(i, l) * P(l, k); }); });
    unrolled<X::rows>([&](int j) {
      if (j <= i) y(i, j) += sum_of<T, N>([&](int k) { return xP(k) * x(j, k); });
    });
  });
  return y;
}

/// P += scale x x'.
template <class T, int N>
KALSCAN_HD constexpr void add_square(small_symmetric<T, N>& P, const small_vector<T, N>& x, T scale = 1) {
  unrolled<N>([&](int i) {
    const T scaled = scale * x(i);
    unrolled<N>([&](int j) {
      if (j <= i) P(i, j) += scaled * x(j);
    });
  });
}

/// What has rows and columns by (i, j), as one of these; of a symmetric one the lower triangle.
template <class To, class From>
KALSCAN_HD constexpr To to_small(const From& from) {
  To x{};
  for_each_entry<To>([&](int i, int j) { x(i, j) = static_cast<typename To::value_type>(from(i, j)); });
  return x;
}

/// The matrix at the beginning of an array, stored in full, column by column; of a symmetric one the lower triangle.
template <class To>
KALSCAN_HD constexpr To load(const typename To::value_type* from) {
  To x{};
  for_each_entry<To>([&](int i, int j) { x(i, j) = from[j * To::rows + i]; });
  return x;
}

/// The reverse of load.
template <class X>
KALSCAN_HD constexpr void store(typename X::value_type* to, const X& x) {
  unrolled<X::columns>([&](int j) { unrolled<X::rows>([&](int i) { to[j * X::rows + i] = x(i, j); }); });
}

}  // namespace detail
}  // namespace kalscan
