// SPDX-License-Identifier: MIT
// Linear algebra for the first steps under a diffuse or vague prior and for the smoother: loops over columns of
// matrices of dynamic size, which compile once for each number type. Eigen's own products, blocked for large matrices,
// take far longer to compile. Here and in diffuse, what is called from several places is out of line: a compiler would
// optimize it anew in each of them.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/dense_matrix.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <utility>
#include <vector>

namespace kalscan::detail {

template <class T>
[[gnu::noinline]] void set_zero(dense_matrix<T>& x, Eigen::Index rows, Eigen::Index cols = 1) {
  x.resize(rows, cols);
  std::fill_n(x.data(), x.size(), T(0));
}

template <class T>
[[gnu::noinline]] void set_identity(dense_matrix<T>& x, Eigen::Index rows, Eigen::Index cols) {
  set_zero(x, rows, cols);
  for (Eigen::Index i = 0; i < (std::min)(rows, cols); ++i) x(i, i) = 1;
}

/// Makes zero of what is next to underflow: arithmetic with subnormal numbers takes many times longer.
template <class T>
[[gnu::noinline]] void clear_subnormal(dense_matrix<T>& x) {
  constexpr T least = (std::numeric_limits<T>::min)() / std::numeric_limits<T>::epsilon();
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    if (std::abs(x.data()[i]) < least) x.data()[i] = 0;
  }
}

/// y += factor x, of n entries.
template <class T>
void add_multiple(T* y, Eigen::Index n, T factor, const T* x) {
  if (equal(factor, 0)) return;
  for (Eigen::Index i = 0; i < n; ++i) y[i] += factor * x[i];
}

/// x'y, of n entries.
template <class T>
T dot(Eigen::Index n, const T* x, const T* y) {
  T sum = 0;
  for (Eigen::Index i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}
template <class T>
T dot(const dense_vector<T>& x, const dense_vector<T>& y) {
  return dot(x.size(), x.data(), y.data());
}

/// y += factor a b.
template <class T>
[[gnu::noinline]] void add_product(dense_matrix<T>& y, std::type_identity_t<T> factor, view_of<T> a, view_of<T> b) {
  for (Eigen::Index j = 0; j < b.cols; ++j) {
    for (Eigen::Index k = 0; k < b.rows; ++k) add_multiple(y.data() + j * a.rows, a.rows, factor * b(k, j), a.col(k));
  }
}

/// y = a b.
template <class T>
[[gnu::noinline]] void multiply(dense_matrix<T>& y, view_of<T> a, view_of<T> b) {
  set_zero(y, a.rows, b.cols);
  add_product(y, 1, a, b);
}

/// y = a'b.
template <class T>
[[gnu::noinline]] void multiply_transposed(dense_matrix<T>& y, view_of<T> a, view_of<T> b) {
  y.resize(a.cols, b.cols);
  for (Eigen::Index j = 0; j < b.cols; ++j) {
    for (Eigen::Index i = 0; i < a.cols; ++i) y(i + j * a.cols) = dot(a.rows, a.col(i), b.col(j));
  }
}

template <class T>
[[gnu::noinline]] void transpose(dense_matrix<T>& y, view_of<T> x) {
  y.resize(x.cols, x.rows);
  for (Eigen::Index j = 0; j < x.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) y(j, i) = x(i, j);
  }
}

/// x y, where sums that are no more than the rounding of their terms are zero.
template <class T>
[[gnu::noinline]] dense_matrix<T> cleared_product(view_of<T> x, view_of<T> y) {
  dense_matrix<T> product(x.rows, y.cols);
  const T rounding = rounding_of_sum<T>(x.cols);
  for (Eigen::Index j = 0; j < y.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) {
      T sum = 0, terms = 0;
      for (Eigen::Index k = 0; k < x.cols; ++k) {
        sum += x(i, k) * y(k, j);
        terms += std::abs(x(i, k) * y(k, j));
      }
      product(i, j) = std::abs(sum) > rounding * terms ? sum : T(0);
    }
  }
  return product;
}

/// y += factor a b'.
template <class T>
[[gnu::noinline]] void add_outer(dense_matrix<T>& y, std::type_identity_t<T> factor, view_of<T> a, view_of<T> b) {
  for (Eigen::Index k = 0; k < a.cols; ++k) {
    for (Eigen::Index j = 0; j < b.rows; ++j) add_multiple(y.data() + j * a.rows, a.rows, factor * b(j, k), a.col(k));
  }
}

/// x x'.
template <class T>
[[gnu::noinline]] dense_matrix<T> outer_square(view_of<T> x) {
  dense_matrix<T> y;
  set_zero(y, x.rows, x.rows);
  add_outer(y, 1, x, x);
  return y;
}

/// s := x s x'.
template <class T>
[[gnu::noinline]] void transform(dense_matrix<T>& s, view_of<T> x) {
  dense_matrix<T> half, whole;
  multiply(half, x, s);
  set_zero(whole, x.rows, x.rows);
  add_outer(whole, 1, half, x);
  s.swap(whole);
}

/// X with X X' = covariance, n x its rank.
template <class T>
[[gnu::noinline]] dense_matrix<T> root_of(view_of<T> covariance) {
  const dense_matrix<T> P(covariance);
  dense_vector<T> variances(P.rows());
  for (Eigen::Index i = 0; i < P.rows(); ++i) variances(i) = P(i, i);
  const auto x = root_semidefinite(P, pivot_rounding(P), T(1), variances);
  dense_matrix<T> root(P.rows(), x.rank);
  std::copy_n(x.root.data(), root.size(), root.data());
  return root;
}

/// The root of the covariance that was asked for last: it is factored anew only where another one lies.
template <class T>
class latest_root {
 public:
  const dense_matrix<T>& of(const dense_view<T>& covariance) {
    if (covariance.data != of_) root_ = root_of<T>(covariance);
    of_ = covariance.data;
    return root_;
  }

 private:
  const T* of_ = nullptr;
  dense_matrix<T> root_{};
};

/// [x y], of as many rows.
template <class T>
[[gnu::noinline]] dense_matrix<T> side_by_side(view_of<T> x, view_of<T> y) {
  dense_matrix<T> both(x.rows, x.cols + y.cols);
  std::copy_n(x.data, x.rows * x.cols, both.data());
  std::copy_n(y.data, y.rows * y.cols, both.data() + x.rows * x.cols);
  return both;
}

/// A root of root root', of no more columns than rows.
template <class T>
[[gnu::noinline]] dense_matrix<T> narrowed(const dense_matrix<T>& root) {
  const Eigen::Index n = root.rows(), q = root.cols();
  if (q <= n) return root;
  dense_matrix<T> all(n, q + 1), narrow(n, n);
  std::copy_n(root.data(), root.size(), all.data());
  triangulate_columns(all.data(), n, q, n);
  std::copy_n(all.data(), narrow.size(), narrow.data());
  return narrow;
}

/// Reflections Q' for which Q'x is an upper triangle in the order of pivots that is returned, and nothing below:
/// columns by what is left of their lengths, until no more than `least` of the first of them is. Columns of x are
/// exchanged accordingly, and y becomes Q'y.
template <class T>
[[gnu::noinline]] std::vector<Eigen::Index> triangulate(dense_matrix<T>& x, dense_matrix<T>& y,
                                                        std::type_identity_t<T> least) {
  const Eigen::Index rows = x.rows(), cols = x.cols();
  std::vector<Eigen::Index> order;
  for (Eigen::Index j = 0; j < cols; ++j) order.push_back(j);
  T first = 0;
  for (Eigen::Index k = 0; k < cols; ++k) {
    const auto left = [&](Eigen::Index j) { return dot(rows - k, &x(0, j) + k, &x(0, j) + k); };
    Eigen::Index best = k;
    T most = k < rows ? left(k) : T(0);
    for (Eigen::Index j = k + 1; j < cols && k < rows; ++j) {
      if (const T length = left(j); length > most) {
        most = length;
        best = j;
      }
    }
    const T norm = std::sqrt(most);
    if (k == 0) first = norm;
    if (!(norm > least * first)) {
      order.resize(static_cast<std::size_t>(k));
      break;
    }
    std::swap(order[static_cast<std::size_t>(k)], order[static_cast<std::size_t>(best)]);
    if (best != k) std::swap_ranges(&x(0, k), &x(0, k) + rows, &x(0, best));
    const T diagonal = x(k, k) > 0 ? -norm : norm, along = x(k, k) - diagonal;
    x(k, k) = 1;
    for (Eigen::Index i = k + 1; i < rows; ++i) x(i, k) /= along;
    const auto reflect = [&](T* column) {
      add_multiple(column + k, rows - k, along / diagonal * dot(rows - k, &x(0, k) + k, column + k), &x(0, k) + k);
    };
    for (Eigen::Index j = k + 1; j < cols; ++j) reflect(&x(0, j));
    for (Eigen::Index j = 0; j < y.cols(); ++j) reflect(&y(0, j));
    x(k, k) = diagonal;
    for (Eigen::Index i = k + 1; i < rows; ++i) x(i, k) = 0;
  }
  return order;
}

/// Solves (triangle) x = the first rows of y, with an upper triangle of order.size() rows. y becomes a matrix of the
/// given number of rows: row k of x is its row order(k), the others are zero.
template <class T>
[[gnu::noinline]] void solve_triangle(dense_matrix<T>& y, view_of<T> triangle, const std::vector<Eigen::Index>& order,
                                      Eigen::Index rows) {
  dense_matrix<T> x;
  set_zero(x, rows, y.cols());
  for (Eigen::Index j = 0; j < y.cols(); ++j) {
    for (auto k = static_cast<Eigen::Index>(order.size()); k-- > 0;) {
      const T value = y(k, j) / triangle(k, k);
      add_multiple(&y(0, j), k, -value, triangle.col(k));
      x(order[static_cast<std::size_t>(k)], j) = value;
    }
  }
  x.swap(y);
}

}  // namespace kalscan::detail
