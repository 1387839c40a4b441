// SPDX-License-Identifier: MIT
// Sums of products with twice the digits of their number type, by the errors of its roundings (Dekker 1971; Ogita, Rump
// and Oishi 2005).
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/dense.hpp>
#include <limits>
#include <type_traits>

namespace kalscan::detail {

/// A number value + rest, where value is the sum, rounded.
template <class T>
struct compensated {
  T value{}, rest{};
};
/// A matrix of such numbers.
template <class T>
struct compensated_matrix {
  dense_matrix<T> value{}, rest{};

  void set_zero(Eigen::Index rows, Eigen::Index cols = 1) {
    detail::set_zero(value, rows, cols);
    detail::set_zero(rest, rows, cols);
  }
  void swap(compensated_matrix& x) {
    value.swap(x.value);
    rest.swap(x.rest);
  }
  compensated<T> operator()(Eigen::Index i) const { return {value(i), rest(i)}; }
  void clear(Eigen::Index i, Eigen::Index j = 0) { value(i, j) = rest(i, j) = 0; }
};

/// x as a sum of two numbers of half the digits: products of such are exact.
template <class T>
struct halves {
  T high{}, low{};
  explicit halves(T x) {
    constexpr T split = static_cast<T>((1LL << (std::numeric_limits<T>::digits + 1) / 2) + 1);
    const T wide = split * x;
    high = wide - (wide - x);
    low = x - high;
  }
};

/// value + rest += x y, where a and b are the halves of x and y. A compiler may make one operation of x y + value where the
/// machine has it, so what is lost is that of the sum that it made.
template <class T>
void add_product(T& value, T& rest, T x, const halves<T>& a, T y, const halves<T>& b) {
  const T product = x * y, sum = value + product, added = sum - value;
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  (void)a, (void)b;
  rest += (value - (sum - added)) + std::fma(x, y, -added);
#else
  const T lost = ((a.high * b.high - product) + a.high * b.low + a.low * b.high) + a.low * b.low;
  rest += (value - (sum - added)) + (product - added) + lost;
#endif
  value = sum;
}

/// value + rest -= x y.
template <class T>
void subtract_product(T& value, T& rest, T x, T y) {
  add_product(value, rest, -x, halves<T>(-x), y, halves<T>(y));
}

/// Makes value the rounded sum of both. What is too large for its halves has no rest.
template <class T>
void round_sum(T& value, T& rest) {
  if (!std::isfinite(rest)) rest = 0;
  const T sum = value + rest;
  rest -= sum - value;
  value = sum;
}
template <class T>
void round_column(compensated_matrix<T>& x, Eigen::Index j) {
  for (Eigen::Index i = 0; i < x.value.rows(); ++i) round_sum(x.value(i, j), x.rest(i, j));
}

/// Column j of y += (factor + small) (x + rest), not rounded.
template <class T>
[[gnu::noinline]] void add_multiple(compensated_matrix<T>& y, Eigen::Index j, std::type_identity_t<T> factor,
                                    std::type_identity_t<T> small, const T* x, const T* rest = nullptr) {
  const Eigen::Index n = y.value.rows();
  T *to = &y.value(0, j), *to_rest = &y.rest(0, j);
  const halves<T> f(factor);
  for (Eigen::Index i = 0; i < n; ++i) {
    to_rest[i] += small * x[i] + (rest ? factor * rest[i] : T(0));
    add_product(to[i], to_rest[i], factor, f, x[i], halves<T>(x[i]));
  }
}

/// y += factor (x + rest), columns.
template <class T>
void add_to_column(compensated_matrix<T>& y, compensated<T> factor, const T* x, const T* rest = nullptr) {
  add_multiple(y, 0, factor.value, factor.rest, x, rest);
  round_column(y, 0);
}

/// y += F x.
template <class T>
[[gnu::noinline]] void add_product(compensated_matrix<T>& y, view_of<T> F, const compensated_matrix<T>& x) {
  for (Eigen::Index j = 0; j < x.value.cols(); ++j) {
    for (Eigen::Index k = 0; k < F.cols; ++k) {
      if (!equal(x.value(k, j), 0)) add_multiple(y, j, x.value(k, j), x.rest(k, j), F.col(k));
    }
    round_column(y, j);
  }
}

/// y += x F, for as many columns as F has.
template <class T>
[[gnu::noinline]] void add_product(compensated_matrix<T>& y, const compensated_matrix<T>& x, view_of<T> F) {
  for (Eigen::Index j = 0; j < F.cols; ++j) {
    for (Eigen::Index k = 0; k < F.rows; ++k) {
      if (!equal(F(k, j), 0)) add_multiple(y, j, F(k, j), T(0), x.value.col(k), x.rest.col(k));
    }
    round_column(y, j);
  }
}

/// y = F x.
template <class T>
void multiply(compensated_matrix<T>& y, view_of<T> F, const compensated_matrix<T>& x) {
  y.set_zero(F.rows, x.value.cols());
  add_product(y, F, x);
}

/// y = x'h, a column.
template <class T>
[[gnu::noinline]] void multiply_transposed(compensated_matrix<T>& y, const compensated_matrix<T>& x, view_of<T> h) {
  y.set_zero(x.value.cols());
  for (Eigen::Index i = 0; i < h.rows; ++i) {
    if (equal(h(i), 0)) continue;
    const halves<T> f(h(i));
    for (Eigen::Index j = 0; j < x.value.cols(); ++j) {
      add_product(y.value(j), y.rest(j), h(i), f, x.value(i, j), halves<T>(x.value(i, j)));
      y.rest(j) += h(i) * x.rest(i, j);
    }
  }
  round_column(y, 0);
}

/// y - h'x.
template <class T>
[[gnu::noinline]] compensated<T> residual(T y, const compensated_matrix<T>& x, view_of<T> h) {
  T rest = 0;
  for (Eigen::Index i = 0; i < h.rows; ++i) {
    if (equal(h(i), 0)) continue;
    subtract_product(y, rest, h(i), x.value(i));
    rest -= h(i) * x.rest(i);
  }
  round_sum(y, rest);
  return {y, rest};
}

/// x / y, not rounded.
template <class T>
compensated<T> quotient(compensated<T> x, compensated<T> y) {
  const T rounded = x.value / y.value;
  T left = x.value, rest = x.rest - rounded * y.rest;
  subtract_product(left, rest, rounded, y.value);
  return {rounded, (left + rest) / y.value};
}

/// A root of X X' of no more columns than rows, by Householder reflections. A reflection with the digits of T leaves its
/// rounding of what it is to clear; a second one leaves no more than the square of that. X X' is right to the digits of T,
/// in the variance of each sum of states relative to itself.
template <class T>
[[gnu::noinline]] compensated_matrix<T> narrowed(compensated_matrix<T> X) {
  const Eigen::Index n = X.value.rows(), q = X.value.cols();
  if (q <= n) return X;
  dense_vector<T> v(q);
  compensated_matrix<T> along;
  for (Eigen::Index k = 0; k < n; ++k) {
    for (int pass = 0; pass < 2; ++pass) {
      T largest = 0, squares = 0;
      for (Eigen::Index j = k; j < q; ++j) largest = (std::max)(largest, std::abs(X.value(k, j)));
      if (equal(largest, 0)) break;
      for (Eigen::Index j = k; j < q; ++j) {
        v(j) = X.value(k, j) / largest;
        squares += v(j) * v(j);
      }
      const T norm = std::sqrt(squares), first = std::abs(v(k)) + norm;
      v(k) = v(k) < 0 ? -first : first;
      along.set_zero(n);
      for (Eigen::Index j = k; j < q; ++j) add_multiple(along, 0, v(j), T(0), X.value.col(j), X.rest.col(j));
      round_column(along, 0);
      for (Eigen::Index j = k; j < q; ++j) {
        add_multiple(X, j, -v(j) / (norm * first), T(0), along.value.data(), along.rest.data());
        round_column(X, j);
      }
    }
    for (Eigen::Index j = k + 1; j < q; ++j) X.clear(k, j);
  }
  using view = dense_view<T>;
  return {dense_matrix<T>(view(X.value.data(), n, n)), dense_matrix<T>(view(X.rest.data(), n, n))};
}

}  // namespace kalscan::detail
