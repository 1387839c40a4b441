// SPDX-License-Identifier: MIT
// The linear algebra of square-root filters: covariances are handled as roots U with P = U U', likelihoods as equations
// Z'x = w with errors of variance one. No covariance is formed from its root; only the bound on rounding errors,
// root_rounding, has the form of a covariance.
#pragma once

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// W, n x columns and column by column, becomes [root 0] with a lower triangle root and root root' = W W', by
/// Householder reflections. A row of the root has an error relative to that row of W, so that the units of the states
/// do not matter. One more column of W is room. Only the first `pivots` rows get zeros; the others are reflected with
/// them. Of any size: it compiles once.
template <class T>
void triangulate_columns(T* W, Eigen::Index n, Eigen::Index columns, Eigen::Index pivots) {
  T* along = W + n * columns;
  for (Eigen::Index k = 0; k < (std::min)(pivots, columns); ++k) {
    T largest = 0, squares = 0;
    for (Eigen::Index i = k; i < columns; ++i) largest = (std::max)(largest, std::abs(W[i * n + k]));
    if (largest < (std::numeric_limits<T>::min)()) {  // its square is zero
      for (Eigen::Index i = k; i < columns; ++i) W[i * n + k] = 0;
      continue;
    }
    const T unit = 1 / largest;  // numbers next to underflow would make a reflection that is not orthogonal
    for (Eigen::Index i = k; i < columns; ++i) {
      W[i * n + k] *= unit;
      squares += W[i * n + k] * W[i * n + k];
    }
    const T norm = std::sqrt(squares), diagonal = W[k * n + k] > 0 ? -norm : norm, first = W[k * n + k] - diagonal;
    const T inverse = 1 / first, factor = std::abs(first) / norm;
    W[k * n + k] = first;
    std::fill(along + k, along + n, T(0));
    for (Eigen::Index i = k; i < columns; ++i) {
      const T v = W[i * n + k] *= inverse;
      for (Eigen::Index j = k + 1; j < n; ++j) along[j] += v * W[i * n + j];
    }
    for (Eigen::Index i = k; i < columns; ++i) {
      const T v = W[i * n + k] * factor;
      for (Eigen::Index j = k + 1; j < n; ++j) W[i * n + j] -= v * along[j];
      W[i * n + k] = 0;
    }
    W[k * n + k] = diagonal * largest;
  }
}

/// The lower triangular root of X X' + Y Y'.
template <class Matrix>
Matrix root_of_sum(const Matrix& X, const Matrix& Y) {
  constexpr int N = Matrix::RowsAtCompileTime;
  const Eigen::Index n = X.rows();
  Eigen::Matrix<typename Matrix::Scalar, N, N == Eigen::Dynamic ? N : 2 * N + 1> W(n, 2 * n + 1);
  std::copy_n(Y.data(), n * n, std::copy_n(X.data(), n * n, W.data()));
  triangulate_columns(W.data(), n, 2 * n, n);
  Matrix root;
  root.resize(n, n);
  std::copy_n(W.data(), n * n, root.data());
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

/// U := U L, where L is an upper triangle with L L' = I - f f' / (f'f + d): the root after an observation h'x + N(0, d)
/// with f = U'h, after Carlson (AIAA Journal 11, 1973). No entry of L is a difference, so that noise far below the
/// variance it meets is not lost.
template <class Matrix, class Vector>
void update_root(Matrix& U, const Vector& f, typename Matrix::Scalar d) {
  using T = typename Matrix::Scalar;
  Vector sum(U.rows());  // of f(k) times column k, over all before j
  for (Eigen::Index i = 0; i < U.rows(); ++i) sum(i) = 0;
  const T rounding = rounding_of_sum<T>(f.size());
  T before = std::sqrt(d);
  for (Eigen::Index j = 0; j < f.size(); ++j) {
    if (equal(f(j), 0)) continue;
    const T after = std::hypot(before, f(j)), kept = before / after, scaled = f(j) / after;
    for (Eigen::Index i = 0; i < U.rows(); ++i) {
      const T own = kept * U(i, j), others = before > 0 ? scaled * (sum(i) / before) : T(0);
      sum(i) += f(j) * U(i, j);
      U(i, j) = own - others;
      if (equal(d, 0) && std::abs(U(i, j)) <= rounding * (std::abs(own) + std::abs(others))) U(i, j) = 0;
    }
    before = after;
  }
}

/// X := L X with the L of update_root.
template <class Matrix, class Vector>
void times_update(Matrix& X, const Vector& f, typename Matrix::Scalar d) {
  using T = typename Matrix::Scalar;
  Vector before(f.size()), after(f.size());
  T length = std::sqrt(d);
  for (Eigen::Index k = 0; k < f.size(); ++k) {
    before(k) = length;
    after(k) = length = std::hypot(length, f(k));
  }
  for (Eigen::Index j = 0; j < X.cols(); ++j) {
    T later = 0;
    for (Eigen::Index k = f.size(); k-- > 0;) {
      if (equal(f(k), 0)) continue;
      const T x = X(k, j) / after(k);
      X(k, j) = before(k) * x - f(k) * later;
      if (before(k) > 0) later += f(k) / before(k) * x;
    }
  }
}

/// The update of a root by an observation h'x + N(0, d), see update_root: gain K and innovation variance s. s = 0 where
/// the observation says nothing: no noise, and nothing left to learn.
template <class T, int N>
struct root_update {
  Eigen::Vector<T, N> f{}, Uf{};
  T s{}, d;

  root_update(const Eigen::Matrix<T, N, N>& U, const Eigen::Vector<T, N>& h, T d_) : d(d_) {
    f = times(transposed(U), h);
    if (equal(d, 0)) {
      // What is left of a direction that a noiseless observation has fixed is rounding.
      for (Eigen::Index j = 0; j < f.size(); ++j) {
        T terms = 0;
        for (Eigen::Index i = 0; i < h.size(); ++i) terms += std::abs(U(i, j) * h(i));
        if (std::abs(f(j)) <= rounding_of_sum<T>(h.size()) * terms) f(j) = 0;
      }
    }
    s = f.squaredNorm() + d;
    Uf = times(U, f);
  }

  bool tells() const { return s > 0; }
  Eigen::Vector<T, N> gain() const { return Uf / s; }

  void apply(Eigen::Matrix<T, N, N>& U) const { update_root(U, f, d); }
};

/// A bound on the rounding of a root, in the form of a covariance, for models that are read without noise: what such a
/// reading finds below it is nothing new, and tells of errors alone. The rounding of a mean far from 0 may be larger. It does
/// not count: how well a state is known does not depend on where it is. Empty for other models.
template <class T, int N>
struct root_rounding {
  Eigen::Matrix<T, N, N> E{};

  static T unit(Eigen::Index n) {
    const T x = 2 * static_cast<T>(n) * std::numeric_limits<T>::epsilon();
    return x * x;
  }
  /// `noise`: of the root of Q.
  void predict(const Eigen::Matrix<T, N, N>& F, const Eigen::Matrix<T, N, N>& before,
               const Eigen::Matrix<T, N, N>& after, const Eigen::Matrix<T, N, N>& noise) {
    E = sum(congruence(F, E), noise);
    const Eigen::Vector<T, N> terms = magnitudes(F, row_lengths(before));
    for (Eigen::Index i = 0; i < terms.size(); ++i) E(i, i) += unit(terms.size()) * (terms(i) * terms(i));
    grow(row_squares(after));
  }
  /// The rounding of a root into which a covariance was factored: a column has the rounding of the covariance over its pivot.
  static Eigen::Matrix<T, N, N> of_factor(const semidefinite_root<Eigen::Matrix<T, N, N>>& x,
                                          const Eigen::Vector<T, N>& variances) {
    Eigen::Matrix<T, N, N> E = Eigen::Matrix<T, N, N>::Zero(variances.size(), variances.size());
    for (Eigen::Index k = 0; k < x.rank; ++k) {
      const T pivot = x.root(x.pivot(k), k);
      const T lost = variances(x.pivot(k)) / (pivot * pivot);
      for (Eigen::Index i = 0; i < variances.size(); ++i) E(i, i) += unit(variances.size()) * lost * variances(i);
    }
    return E;
  }
  /// Takes a noiseless reading of what is known exactly already. Its residual shows rounding errors alone, of which its
  /// own are a rounding of `terms`. Updates E, and returns the gain by which the residual corrects the mean.
  Eigen::Vector<T, N> read_again(const Eigen::Vector<T, N>& h, T terms) {
    const Eigen::Vector<T, N> Eh = times(E, h);
    const T noise = unit(1) * terms * terms, s = (std::max)(h.dot(Eh), T(0)) + noise;
    if (!(s > 0)) return Eigen::Vector<T, N>::Zero(h.size());
    const Eigen::Vector<T, N> K = Eh / s;
    take_along(h, K);
    E += noise * times(K, transposed(K));
    return K;
  }
  /// The root U is updated by a reading h'x with gain K. After one without noise, what rounding left of the root along h
  /// is taken back: of the rounding of what the state was before, nothing stays there.
  void update(const Eigen::Vector<T, N>& h, const Eigen::Vector<T, N>& K, const root_update<T, N>& by,
              Eigen::Matrix<T, N, N>& U) {
    grow(row_squares(U));
    take_along(h, K);
    by.apply(U);
    if (!equal(by.d, 0)) return;
    const Eigen::Vector<T, N> left = times(transposed(U), h);
    U -= times(K, transposed(left));
    const T terms = sum_of_terms(h, row_lengths(U));
    E += (unit(1) * terms * terms) * times(K, transposed(K));
  }
  T along(const Eigen::Vector<T, N>& h) const { return (std::max)(h.dot(times(E, h)), T(0)); }
  /// A component whose row of the root is rounding is known.
  void clear(Eigen::Matrix<T, N, N>& U) const {
    const Eigen::Vector<T, N> squares = row_squares(U);
    for (Eigen::Index i = 0; i < U.rows(); ++i) {
      for (Eigen::Index j = 0; j < U.cols() && squares(i) <= E(i, i); ++j) U(i, j) = 0;
    }
  }

 private:
  /// E := (I - K h') E (I - K h')'.
  void take_along(const Eigen::Vector<T, N>& h, const Eigen::Vector<T, N>& K) {
    const Eigen::Index n = h.size();
    for (Eigen::Index j = 0; j < n; ++j) {
      T along = 0;
      for (Eigen::Index i = 0; i < n; ++i) along += h(i) * E(i, j);
      for (Eigen::Index i = 0; i < n; ++i) E(i, j) -= along * K(i);
    }
    const Eigen::Vector<T, N> Eh = times(E, h);
    for (Eigen::Index j = 0; j < n; ++j) {
      for (Eigen::Index i = 0; i < n; ++i) E(i, j) -= K(j) * Eh(i);
    }
  }
  void grow(const Eigen::Vector<T, N>& squares) {
    for (Eigen::Index i = 0; i < squares.size(); ++i) E(i, i) += unit(squares.size()) * squares(i);
  }
};

}  // namespace kalscan::detail
