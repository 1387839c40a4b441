// SPDX-License-Identifier: MIT
// The little linear algebra that filters with matrix states need, on Eigen types. With fixed sizes, what is marked
// KALSCAN_HD runs on a device too.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// A column of as many rows as X has.
template <class X, class U = typename X::Scalar>
struct column_of_rows {
  using type = Eigen::Matrix<U, X::RowsAtCompileTime, 1>;
};
template <class X, class U = typename X::Scalar>
using column_of = typename column_of_rows<X, U>::type;

template <class X, class Y>
using product_t = Eigen::Matrix<typename X::Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime>;

/// x y. Eigen's own choice for fixed sizes from 8 on is a blocked product made for large matrices, and host only.
template <class X, class Y>
KALSCAN_HD product_t<X, Y> times(const Eigen::MatrixBase<X>& x, const Eigen::MatrixBase<Y>& y) {
  if constexpr (product_t<X, Y>::SizeAtCompileTime != Eigen::Dynamic && X::ColsAtCompileTime != Eigen::Dynamic) {
    return x.lazyProduct(y);
  } else {
    return x * y;
  }
}

/// Column j of x.
template <class X>
KALSCAN_HD column_of<X> column(const X& x, Eigen::Index j) {
  return x.col(j);
}

/// x', of one type whether x is const or not: what is made of it compiles once.
template <class X>
KALSCAN_HD Eigen::Transpose<const X> transposed(const X& x) {
  return x.transpose();
}

/// x y x'.
template <class X, class Y>
KALSCAN_HD auto congruence(const Eigen::MatrixBase<X>& x, const Eigen::MatrixBase<Y>& y) {
  return times(times(x, y), x.transpose());
}
template <class X, class Y>
KALSCAN_HD auto congruence(const Eigen::Transpose<const X>& x, const Eigen::MatrixBase<Y>& y) {
  return times(times(x, y), x.nestedExpression());
}

/// x + y, with `+=`: one kind of expression less to compile, for every size.
template <class X>
KALSCAN_HD X sum(X x, const X& y) {
  x += y;
  return x;
}

// What follows is written as loops where an expression of Eigen's would be used in one place only: each type of
// expression takes tens of milliseconds to compile, for every size of a program.

/// |x| of a vector.
template <class X>
KALSCAN_HD X magnitudes(X x) {
  for (Eigen::Index i = 0; i < x.size(); ++i) x(i) = std::abs(x(i));
  return x;
}

/// |x| v, of plain matrices: what bounds the rounding of x v.
template <class X, class V>
KALSCAN_HD Eigen::Matrix<typename X::Scalar, X::RowsAtCompileTime, 1> magnitudes(const X& x, const V& v) {
  Eigen::Matrix<typename X::Scalar, X::RowsAtCompileTime, 1> sum(x.rows());
  for (Eigen::Index i = 0; i < x.rows(); ++i) sum(i) = 0;
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    for (Eigen::Index i = 0; i < x.rows(); ++i) sum(i) += std::abs(x(i, j)) * v(j);
  }
  return sum;
}

/// The square roots of a covariance's diagonal.
template <class T, int N>
KALSCAN_HD Eigen::Vector<T, N> deviations(const Eigen::Matrix<T, N, N>& covariance) {
  Eigen::Vector<T, N> x(covariance.rows());
  for (Eigen::Index i = 0; i < x.size(); ++i) x(i) = std::sqrt(std::abs(covariance(i, i)));
  return x;
}

template <class X>
bool has_nan(const X& x) {
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    if (std::isnan(x(i))) return true;
  }
  return false;
}
template <class X>
bool is_finite(const X& x) {
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x(i))) return false;
  }
  return true;
}
/// Whether all entries are exactly 0.
template <class X>
KALSCAN_HD bool is_zero(const X& x) {
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    if (!equal(x(i), 0)) return false;
  }
  return true;
}

/// The squared lengths of the rows of x.
template <class T, int N>
Eigen::Vector<T, N> row_squares(const Eigen::Matrix<T, N, N>& x) {
  Eigen::Vector<T, N> sum(x.rows());
  for (Eigen::Index i = 0; i < x.rows(); ++i) sum(i) = 0;
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    for (Eigen::Index i = 0; i < x.rows(); ++i) sum(i) += x(i, j) * x(i, j);
  }
  return sum;
}

/// The lengths of the rows of x: the deviations of what it is a root of.
template <class T, int N>
Eigen::Vector<T, N> row_lengths(const Eigen::Matrix<T, N, N>& x) {
  Eigen::Vector<T, N> lengths = row_squares(x);
  for (Eigen::Index i = 0; i < lengths.size(); ++i) lengths(i) = std::sqrt(lengths(i));
  return lengths;
}

/// The magnitude of the terms of h'x.
template <class H, class X>
typename H::Scalar sum_of_terms(const H& h, const X& x) {
  typename H::Scalar sum = 0;
  for (Eigen::Index i = 0; i < h.size(); ++i) sum += std::abs(h(i) * x(i));
  return sum;
}

/// B u, where B has a column for each input. Eigen's product of these sizes is the one of large matrices.
template <class T, int R>
Eigen::Vector<T, R> times_inputs(const Eigen::Matrix<T, R, Eigen::Dynamic>& B, const T* u) {
  Eigen::Vector<T, R> sum(B.rows());
  for (Eigen::Index i = 0; i < B.rows(); ++i) sum(i) = 0;
  for (Eigen::Index j = 0; j < B.cols(); ++j) {
    for (Eigen::Index i = 0; i < B.rows(); ++i) sum(i) += B(i, j) * u[j];
  }
  return sum;
}

template <class X>
KALSCAN_HD void symmetrize(X& x) {
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    for (Eigen::Index i = 0; i < j; ++i) x(i, j) = x(j, i) = (x(i, j) + x(j, i)) / 2;
  }
}

/// The lower Cholesky factor of a symmetric positive semi-definite matrix, in place. `scale` bounds what was summed
/// into each diagonal entry: a pivot within `tolerance` of it counts as zero, and its column becomes zero, unless the
/// pivot is known to be at least `least` > 0. False when a pivot is negative or the column of a zero pivot is not zero,
/// far beyond rounding, or when an entry is not finite.
template <class X, class Scale, class Least>
KALSCAN_HD bool factor_semidefinite(X& x, typename X::Scalar tolerance, const Scale& scale, const Least& least) {
  using T = typename X::Scalar;
  const Eigen::Index n = x.rows();
  const T wide = std::sqrt(std::numeric_limits<T>::epsilon());
  bool ok = true;
  for (Eigen::Index j = 0; j < n; ++j) {
    T pivot = x(j, j);
    for (Eigen::Index k = 0; k < j; ++k) pivot -= x(j, k) * x(j, k);
    const T slack = wide * scale(j);
    ok = ok && pivot >= -slack && scale(j) >= 0 && scale(j) <= (std::numeric_limits<T>::max)();
    if (pivot < least(j)) pivot = least(j);
    const bool positive = pivot > tolerance * scale(j) || (pivot > 0 && least(j) > 0);
    const T root = positive ? std::sqrt(pivot) : T(0);
    for (Eigen::Index i = j + 1; i < n; ++i) {
      T entry = x(i, j);
      for (Eigen::Index k = 0; k < j; ++k) entry -= x(i, k) * x(j, k);
      ok = ok && (positive || entry * entry <= 4 * slack * scale(i));
      x(i, j) = positive ? entry / root : T(0);
    }
    x(j, j) = root;
    for (Eigen::Index i = 0; i < j; ++i) x(i, j) = T(0);
  }
  return ok;
}

/// Rounding may leave this much of a pivot that is zero.
template <class X>
KALSCAN_HD typename X::Scalar pivot_rounding(const X& x) {
  return rounding_of_sum<typename X::Scalar>(x.rows());
}

template <class X>
KALSCAN_HD bool factor_semidefinite(X& x) {
  using vector = Eigen::Matrix<typename X::Scalar, X::RowsAtCompileTime, 1>;
  const vector scale = x.diagonal();
  return factor_semidefinite(x, pivot_rounding(x), scale, vector::Zero(x.rows()));
}

/// R with x = R R', for a symmetric positive semi-definite x of any rank. The columns of R belong to pivots, chosen by
/// what is left of each diagonal entry: R is a lower triangle in the order of `pivot`, and zero from column `rank` on.
template <class X>
struct semidefinite_root {
  X root{};
  column_of<X, Eigen::Index> pivot{};
  Eigen::Index rank{};
  bool ok{};  ///< whether what was dropped may be the rounding of a semi-definite matrix: entries (i, j) within slack
              ///< sqrt(s_i s_j)
};

/// Pivots are dropped when no more than `tolerance` of their diagonal entries is left. `s` bounds what was summed into
/// each diagonal entry.
template <class X>
KALSCAN_HD semidefinite_root<X> root_semidefinite(X x, typename X::Scalar tolerance, typename X::Scalar slack,
                                                  const column_of<X>& s) {
  using T = typename X::Scalar;
  const Eigen::Index n = x.rows();
  semidefinite_root<X> r{{}, {}, 0, true};
  r.root.resize(n, n);
  r.pivot.resize(n);
  column_of<X> scale{};  // zero: done
  scale.resize(n);
  for (Eigen::Index j = 0; j < n; ++j) {
    for (Eigen::Index i = 0; i < n; ++i) r.root(i, j) = 0;
    scale(j) = x(j, j);
  }
  for (; r.rank != n; ++r.rank) {
    const Eigen::Index k = r.rank;
    Eigen::Index pivot = 0;
    T most = 0;
    for (Eigen::Index i = 0; i < n; ++i) {
      const T left = scale(i) > 0 ? x(i, i) / scale(i) : T(0);
      if (left > most) {
        most = left;
        pivot = i;
      }
    }
    if (!(most > tolerance)) break;
    r.pivot(k) = pivot;
    const T root = std::sqrt(x(pivot, pivot));
    for (Eigen::Index i = 0; i < n; ++i) r.root(i, k) = scale(i) > 0 ? x(i, pivot) / root : T(0);
    scale(pivot) = 0;
    for (Eigen::Index j = 0; j < n; ++j) {
      for (Eigen::Index i = 0; i < n; ++i) x(i, j) -= r.root(i, k) * r.root(j, k);
    }
  }
  for (Eigen::Index j = 0; j < n; ++j) {
    for (Eigen::Index i = 0; i < n; ++i) {
      const bool positive = s(i) >= 0 && s(j) >= 0;
      const T left = x(i, j) < 0 ? -x(i, j) : x(i, j);
      r.ok = r.ok && positive && left <= slack * std::sqrt(s(i)) * std::sqrt(s(j));
    }
  }
  return r;
}

/// Removes from a covariance what cannot be: a variance that is negative, or not above `least`, is zero but for
/// rounding, and so are the covariances of its component.
template <class X, class Least>
KALSCAN_HD void clear_null_variances(X& x, Least least) {
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    if (!(x(i, i) <= 0 || x(i, i) <= least(i))) continue;
    for (Eigen::Index j = 0; j < x.rows(); ++j) x(i, j) = x(j, i) = 0;
  }
}

/// The covariance P of x after a scalar observation h'x + N(0, d), where s = h'P h + d, q = P h / sqrt(s) and K = P h /
/// s. P - q q', which is symmetric to the bit, alone would lose d where h'P h / d nears 1 / epsilon. What rounding left
/// of it along h is seen in its product with h, which should be d K, and taken back on both sides.
template <class Matrix, class Vector>
KALSCAN_HD void observe_scalar(Matrix& P, const Vector& h, typename Matrix::Scalar d, typename Matrix::Scalar s,
                               const Vector& q, const Vector& K) {
  for (Eigen::Index j = 0; j < P.cols(); ++j) P.col(j) -= q(j) * q;
  if (!loses_digits(d, s)) return;
  Vector w = times(P, h);
  for (Eigen::Index i = 0; i < w.size(); ++i) w(i) -= d * K(i);
  const auto half = h.dot(w) / 2;
  for (Eigen::Index i = 0; i < w.size(); ++i) w(i) -= half * K(i);
  for (Eigen::Index j = 0; j < P.cols(); ++j) {
    for (Eigen::Index i = 0; i < P.rows(); ++i) P(i, j) -= K(j) * w(i) + w(j) * K(i);
  }
}

/// A := A - K g' with g = A'h and the gain K of observe_scalar. Then h'A is (d / s) g'; where that is so small that the
/// subtraction loses its digits, they are put back.
template <class Matrix, class Vector>
KALSCAN_HD void reduce_by_gain(Matrix& A, const Vector& h, typename Matrix::Scalar d, typename Matrix::Scalar s,
                               const Vector& K, const Vector& g) {
  for (Eigen::Index j = 0; j < A.cols(); ++j) A.col(j) -= g(j) * K;
  if (!loses_digits(d, s)) return;
  const Vector left = times(transposed(A), h);
  for (Eigen::Index j = 0; j < A.cols(); ++j) {
    const auto w = (d / s) * g(j) - left(j);
    for (Eigen::Index i = 0; i < A.rows(); ++i) A(i, j) += w * K(i);
  }
}

/// Sets A to 0, and returns true, once all its entries are so small that products of them are subnormal: arithmetic on
/// subnormal numbers is slow, and they would never reach 0. A is what a stretch of time leaves of the state before it.
template <class Matrix>
bool clear_if_faded(Matrix& A) {
  for (Eigen::Index i = 0; i < A.size(); ++i) {
    if (!(std::abs(A.data()[i]) <= faded_bound<typename Matrix::Scalar>)) return false;
  }
  A.setZero();
  return true;
}

}  // namespace kalscan::detail
