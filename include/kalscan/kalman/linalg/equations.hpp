// SPDX-License-Identifier: MIT
// Least squares where some equations are far larger than others.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/kalman/linalg/dense.hpp>
#include <vector>

namespace kalscan::detail {

/// Equations row'x = value, each with an error of variance one. Reflections turn them into a triangle, the largest of
/// them first, and by those components of x first that are largest in what is left: so small equations keep their
/// digits beside far larger ones (Cox and Higham, BIT 38, 1998). Numbers of x count in the units given, which are about
/// their size.
template <class T>
class equations {
 public:
  /// Room for `most` of them.
  equations(Eigen::Index most, view_of<T> units) : units_(units), rows_(units.rows, most), values_(most) {}

  Eigen::Index count() const { return count_; }
  T* row(Eigen::Index k) { return rows_.col(k); }
  T& value(Eigen::Index k) { return values_(k); }

  template <class Row>
  void add(const Row& row, T value) {
    for (Eigen::Index i = 0; i < rows_.rows(); ++i) rows_(i, count_) = row[i];
    values_(count_++) = value;
  }

  /// As many equations as x has components, Z'x = w, that tell the same of x.
  template <class Matrix, class Vector>
  void condense(Matrix& Z, Vector& w) const {
    const Eigen::Index n = rows_.rows();
    dense_matrix<T> triangle, all(count_, n + 1);
    T sum = 0;
    for (Eigen::Index k = 0; k < count_; ++k) {
      for (Eigen::Index i = 0; i < n; ++i) sum += all(k, i) = rows_(i, k);
      sum += all(k, n) = values_(k);
    }
    turn(triangle, all);
    if (!std::isfinite(sum)) std::fill_n(all.data(), count_ * (n + 1), sum);  // seen later
    for (Eigen::Index k = 0; k < n; ++k) {
      for (Eigen::Index i = 0; i < n; ++i) Z(i, k) = k < count_ ? all(k, i) : T(0);
      w(k) = k < count_ ? all(k, n) : T(0);
    }
  }

  /// x = mean + root N(0, I), where the equations tell all of x.
  void solve(dense_matrix<T>& mean, dense_matrix<T>& root) const {
    const Eigen::Index n = rows_.rows();
    dense_matrix<T> triangle;
    mean.resize(count_, 1);
    std::copy_n(values_.data(), count_, mean.data());
    set_identity(root, n, n);
    const auto order = turn(triangle, mean);
    for (dense_matrix<T>* x : {&mean, &root}) {
      solve_triangle<T>(*x, triangle, order, n);
      for (Eigen::Index j = 0; j < x->cols(); ++j) {
        for (Eigen::Index i = 0; i < n; ++i) (*x)(i, j) *= units_(i);
      }
    }
  }

 private:
  /// The triangle in these units, see `triangulate`; `beside`, with a row for each equation, is reflected with it.
  [[gnu::noinline]] std::vector<Eigen::Index> turn(dense_matrix<T>& triangle, dense_matrix<T>& beside) const {
    const Eigen::Index n = rows_.rows();
    dense_vector<T> sizes;
    set_zero(sizes, count_);
    std::vector<Eigen::Index> from;
    for (Eigen::Index k = 0; k < count_; ++k) {
      for (Eigen::Index i = 0; i < n; ++i) sizes(k) = (std::max)(sizes(k), std::abs(rows_(i, k)) * units_(i));
      auto smaller = from.begin();
      while (smaller != from.end() && sizes(*smaller) >= sizes(k)) ++smaller;
      from.insert(smaller, k);
    }
    const dense_matrix<T> given = beside;
    triangle.resize(count_, n);
    for (Eigen::Index k = 0; k < count_; ++k) {
      const Eigen::Index of = from[static_cast<std::size_t>(k)];
      for (Eigen::Index i = 0; i < n; ++i) triangle(k, i) = rows_(i, of) * units_(i);
      for (Eigen::Index j = 0; j < beside.cols(); ++j) beside(k, j) = given(of, j);
    }
    return triangulate(triangle, beside, 0);
  }

  dense_vector<T> units_;
  dense_matrix<T> rows_;
  dense_vector<T> values_;
  Eigen::Index count_ = 0;
};

}  // namespace kalscan::detail
