// SPDX-License-Identifier: MIT
// The state after the first steps of a series as a root times independent unknowns.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/equations.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <limits>
#include <vector>

namespace kalscan::detail {

/// After the last step d = mean + root e + free u, and the state's own error given d is U g: x is its mean + A free u +
/// [A root U] (e, g). Of e and g, which are N(0, I), only some directions are seen in x.
template <class T>
struct end_spread {
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  matrix directions{};  ///< of (e, g), orthonormal, a column each: those that are seen in x come first
  matrix root{};        ///< what these do to x, a column each: a root of its covariance

  /// U is n x n.
  end_spread(const matrix& A, const matrix& of_d, const view& U) {
    const Eigen::Index n = U.rows, p = of_d.cols();
    matrix known, turned;
    multiply(known, A, of_d);
    const matrix spread = side_by_side<T>(known, U);
    transpose(rows_, spread);  // to length one
    size_.resize(n);
    for (Eigen::Index i = 0; i < n; ++i) {
      size_(i) = std::sqrt(dot(p + n, &rows_(0, i), &rows_(0, i)));
      if (!(size_(i) > 0)) size_(i) = 1;
      for (Eigen::Index j = 0; j < p + n; ++j) rows_(j, i) /= size_(i);
    }
    set_identity(turned, p + n, p + n);
    order_ = triangulate(rows_, turned, 64 * static_cast<T>(n) * std::numeric_limits<T>::epsilon());
    transpose(directions, turned);
    multiply(root, spread, dense_view<T>(directions.data(), p + n, rank()));
  }

  Eigen::Index rank() const { return static_cast<Eigen::Index>(order_.size()); }

  /// X, rank x n, for which X x is x's coordinates in the directions that are seen in it.
  matrix inverse() const {
    const Eigen::Index n = size_.size();
    matrix solved, inverse;
    set_identity(solved, rank(), rank());
    solve_triangle(solved, rows_, order_, n);
    for (Eigen::Index j = 0; j < rank(); ++j) {
      for (Eigen::Index i = 0; i < n; ++i) solved(i, j) /= size_(i);
    }
    transpose(inverse, solved);
    return inverse;
  }

  /// N(mean, root root') of the directions that are seen in x.
  struct belief {
    matrix mean{}, root{};
  };
  /// Theirs after readings Z'x = Z' mean + v + N(0, I).
  belief given(const matrix& Z, const vector& v) const {
    matrix told, prior;
    multiply_transposed(told, root, Z);
    set_identity(prior, rank(), rank());
    vector units(rank());
    std::fill_n(units.data(), rank(), T(1));
    equations<T> all(v.size() + rank(), units);
    for (Eigen::Index i = 0; i < v.size(); ++i) all.add(told.col(i), v(i));
    for (Eigen::Index i = 0; i < rank(); ++i) all.add(prior.col(i), T(0));
    belief x;
    all.solve(x.mean, x.root);
    return x;
  }

 private:
  matrix rows_{};
  vector size_{};
  std::vector<Eigen::Index> order_{};
};

}  // namespace kalscan::detail
