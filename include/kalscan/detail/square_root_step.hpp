// SPDX-License-Identifier: MIT
// The linear algebra of square-root filters: covariances are handled as roots U with P = U U', likelihoods as equations
// Z'x = w with errors of variance one. Nothing here forms a square.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <kalscan/detail/equal.hpp>
#include <kalscan/detail/linalg.hpp>
#include <limits>

namespace kalscan::detail {

/// The lower triangular root of X X' + Y Y', by Householder reflections. A row of the root has an error relative to
/// that row of X and Y, so that the units of the states do not matter.
template <class Matrix>
Matrix root_of_sum(const Matrix& X, const Matrix& Y) {
  using T = typename Matrix::Scalar;
  constexpr int N = Matrix::RowsAtCompileTime, twice = N == Eigen::Dynamic ? N : 2 * N;
  const Eigen::Index n = X.rows();
  Eigen::Matrix<T, twice, N> W(2 * n, n);
  W.topRows(n) = X.transpose();
  W.bottomRows(n) = Y.transpose();
  Matrix root = Matrix::Zero(n, n);
  for (Eigen::Index k = 0; k < n; ++k) {
    auto v = W.col(k).segment(k, 2 * n - k);
    const T largest = v.cwiseAbs().maxCoeff();
    if (equal(largest, 0)) {  // no reflection: row k of W is final as it is
      for (Eigen::Index j = k + 1; j < n; ++j) root(j, k) = W(k, j);
      continue;
    }
    const T norm = largest * (v / largest).norm();
    const T diagonal = v(0) > 0 ? -norm : norm;
    const T first = v(0) - diagonal;
    root(k, k) = diagonal;
    v /= first;
    v(0) = 1;
    for (Eigen::Index j = k + 1; j < n; ++j) {
      auto x = W.col(j).segment(k, 2 * n - k);
      const T along = v.dot(x) * (std::abs(first) / norm);
      x -= along * v;
      root(j, k) = x(0);
    }
  }
  return root;
}

/// Adds an equation row'x = value, of variance one, to Z'x = w by Givens rotations. Z stays lower triangular. What is
/// left of `value`, the residual, is dropped: a likelihood counts up to a constant.
template <class Matrix, class Vector>
void add_equation(Matrix& Z, Vector& w, Vector row, typename Matrix::Scalar value) {
  using T = typename Matrix::Scalar;
  const Eigen::Index n = row.size();
  for (Eigen::Index i = 0; i < n; ++i) {
    if (equal(row(i), 0)) continue;
    const T r = std::hypot(Z(i, i), row(i)), cosine = Z(i, i) / r, sine = row(i) / r;
    for (Eigen::Index j = i; j < n; ++j) {
      const T z = Z(j, i);
      Z(j, i) = cosine * z + sine * row(j);
      row(j) = cosine * row(j) - sine * z;
    }
    const T z = w(i);
    w(i) = cosine * z + sine * value;
    value = cosine * value - sine * z;
  }
}

/// The update of a root by an observation h'x + N(0, d), after Potter: gain K, innovation variance s, and the new root
/// U (I - factor f f'). s = 0 where the observation says nothing: no noise, and nothing left to
/// learn.
template <class T, int N>
struct potter_update {
  Eigen::Vector<T, N> f{}, Uf{};
  T s{}, d;

  potter_update(const Eigen::Matrix<T, N, N>& U, const Eigen::Vector<T, N>& h, T d_) : d(d_) {
    f = times(U.transpose(), h);
    if (equal(d, 0)) {
      // What is left of a direction that an exact observation has fixed is rounding.
      for (Eigen::Index j = 0; j < f.size(); ++j) {
        if (std::abs(f(j)) <= rounding(h.size()) * U.col(j).cwiseAbs().dot(h.cwiseAbs())) f(j) = 0;
      }
    }
    s = f.squaredNorm() + d;
    Uf = times(U, f);
  }

  bool tells() const { return s > 0; }
  Eigen::Vector<T, N> gain() const { return Uf / s; }

  void apply(Eigen::Matrix<T, N, N>& U) const {
    const T factor = 1 / (s + std::sqrt(s) * std::sqrt(d));
    for (Eigen::Index j = 0; j < f.size(); ++j) {
      const T scaled = factor * f(j);
      for (Eigen::Index i = 0; i < f.size(); ++i) {
        const T before = U(i, j), change = Uf(i) * scaled;
        U(i, j) = before - change;
        if (equal(d, 0) && std::abs(U(i, j)) <= rounding(f.size()) * (std::abs(before) + std::abs(change))) U(i, j) = 0;
      }
    }
  }

 private:
  static T rounding(Eigen::Index n) { return 8 * static_cast<T>(n) * std::numeric_limits<T>::epsilon(); }
};

}  // namespace kalscan::detail
