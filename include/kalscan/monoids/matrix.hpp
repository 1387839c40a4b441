// SPDX-License-Identifier: MIT
// Small square matrices over a semiring, under the matrix product.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// Two operations on value_type: `plus`, commutative with neutral zero(), and `times`, which distributes over it, with
/// neutral one() and zero() absorbing.
template <class S>
concept semiring = std::copy_constructible<S> && requires(const S& s, const typename S::value_type& x) {
  { s.zero() } -> std::convertible_to<typename S::value_type>;
  { s.one() } -> std::convertible_to<typename S::value_type>;
  { s.plus(x, x) } -> std::convertible_to<typename S::value_type>;
  { s.times(x, x) } -> std::convertible_to<typename S::value_type>;
};

/// The usual arithmetic. Exact modulo 2^32 over std::uint32_t (2^64 over std::uint64_t).
template <class T>
struct plus_times {
  using value_type = T;
  KALSCAN_HD static constexpr T zero() { return T(0); }
  KALSCAN_HD static constexpr T one() { return T(1); }
  KALSCAN_HD static constexpr T plus(const T& x, const T& y) { return static_cast<T>(x + y); }
  KALSCAN_HD static constexpr T times(const T& x, const T& y) { return static_cast<T>(x * y); }
};

/// Sums and products of non-negative numbers held as logarithms; -infinity is zero. `plus` does not overflow, and the
/// error of its result is a few ulps of max(|x|, |y|, 1). +infinity is not a value.
template <std::floating_point T>
struct log_sum_exp {
  using value_type = T;
  KALSCAN_HD static constexpr T zero() {
    return -detail::infinity<T>;
  }
  KALSCAN_HD static constexpr T one() { return T(0); }
  KALSCAN_HD static T plus(const T& x, const T& y) {
    const T high = x < y ? y : x, low = x < y ? x : y;
    if (detail::equal(low, zero())) return high;
    return high + std::log1p(std::exp(low - high));
  }
  KALSCAN_HD static constexpr T times(const T& x, const T& y) { return x + y; }
};

/// N numbers. On the left of a matrix it is a row vector.
template <class T, std::size_t N>
struct row_vector {
  T entries[N];

  KALSCAN_HD constexpr T& operator[](std::size_t i) { return entries[i]; }
  KALSCAN_HD constexpr const T& operator[](std::size_t i) const { return entries[i]; }
  KALSCAN_HD constexpr const T* begin() const { return entries; }
  KALSCAN_HD constexpr const T* end() const { return entries + N; }
  KALSCAN_HD friend constexpr bool operator==(const row_vector& x, const row_vector& y) {
    return detail::equal_arrays(x.entries, y.entries);
  }
};

/// N x N numbers, entries[i][j] in row i and column j.
template <class T, std::size_t N>
struct square_matrix {
  T entries[N][N];

  KALSCAN_HD static constexpr std::size_t rows() { return N; }
  KALSCAN_HD static constexpr std::size_t cols() { return N; }
  KALSCAN_HD constexpr T& operator()(std::size_t i, std::size_t j) { return entries[i][j]; }
  KALSCAN_HD constexpr const T& operator()(std::size_t i, std::size_t j) const { return entries[i][j]; }
  KALSCAN_HD friend constexpr bool operator==(const square_matrix& x, const square_matrix& y) {
    return detail::equal_arrays(x.entries, y.entries);
  }
};

/// The matrix product earlier * later: matrices act on row vectors from the right, (x earlier) later, as in the
/// forward algorithm, where entry (i, j) is for going from i to j. Associative up to the semiring's rounding.
template <semiring S, std::size_t N>
struct matrix_monoid {
  using matrix = square_matrix<typename S::value_type, N>;

  KALSCAN_HD static constexpr matrix identity() {
    matrix result{};
    for (std::size_t i = 0; i < N; ++i)
      for (std::size_t j = 0; j < N; ++j) result(i, j) = i == j ? S::one() : S::zero();
    return result;
  }
  KALSCAN_HD constexpr matrix operator()(const matrix& earlier, const matrix& later) const {
    matrix result{};
    for (std::size_t i = 0; i < N; ++i)
      for (std::size_t j = 0; j < N; ++j) {
        result(i, j) = S::times(earlier(i, 0), later(0, j));
        for (std::size_t k = 1; k < N; ++k)
          result(i, j) = S::plus(result(i, j), S::times(earlier(i, k), later(k, j)));
      }
    return result;
  }
};

/// The row vector x times the matrix m, over the semiring S.
template <semiring S, std::size_t N>
KALSCAN_HD constexpr row_vector<typename S::value_type, N> product(
    const row_vector<typename S::value_type, N>& x, const square_matrix<typename S::value_type, N>& m) {
  row_vector<typename S::value_type, N> result{};
  for (std::size_t j = 0; j < N; ++j) {
    result[j] = S::times(x[0], m(0, j));
    for (std::size_t k = 1; k < N; ++k) result[j] = S::plus(result[j], S::times(x[k], m(k, j)));
  }
  return result;
}

}  // namespace kalscan
