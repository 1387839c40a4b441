// SPDX-License-Identifier: MIT
// The little linear algebra that the matrix elements need, on Eigen types; with fixed sizes it runs on the device too.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <limits>

#include <kalscan/detail/config.hpp>

namespace kalscan::detail {

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

/// x y x'.
template <class X, class Y>
KALSCAN_HD auto congruence(const Eigen::MatrixBase<X>& x, const Eigen::MatrixBase<Y>& y) {
  return times(times(x, y), x.transpose());
}

template <class X>
KALSCAN_HD void symmetrize(X& x) {
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    for (Eigen::Index i = 0; i < j; ++i) x(i, j) = x(j, i) = (x(i, j) + x(j, i)) / 2;
  }
}

/// The lower Cholesky factor of a symmetric positive semi-definite matrix, in place. A pivot within `tolerance` of its
/// diagonal entry counts as zero, and its column becomes zero. False when a pivot is negative beyond the tolerance, when
/// the column of a zero pivot could not belong to a semi-definite matrix, or when an entry is not finite.
template <class X>
KALSCAN_HD bool factor_semidefinite(X& x, typename X::Scalar tolerance) {
  using T = typename X::Scalar;
  const Eigen::Index n = x.rows();
  bool ok = true;
  for (Eigen::Index j = 0; j < n; ++j) {
    const T diagonal = x(j, j);
    T pivot = diagonal;
    for (Eigen::Index k = 0; k < j; ++k) pivot -= x(j, k) * x(j, k);
    const T slack = tolerance * (diagonal < 0 ? -diagonal : diagonal);
    ok = ok && pivot >= -slack && diagonal >= 0 && diagonal <= std::numeric_limits<T>::max();
    const bool positive = pivot > slack;
    const T root = positive ? std::sqrt(pivot) : T(0);
    for (Eigen::Index i = j + 1; i < n; ++i) {
      T entry = x(i, j);
      const T scale = slack * (x(i, i) < 0 ? -x(i, i) : x(i, i));
      for (Eigen::Index k = 0; k < j; ++k) entry -= x(i, k) * x(j, k);
      ok = ok && (positive || entry * entry <= 4 * scale);
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
  return 8 * static_cast<typename X::Scalar>(x.rows()) * std::numeric_limits<typename X::Scalar>::epsilon();
}

template <class X>
KALSCAN_HD bool factor_semidefinite(X& x) {
  return factor_semidefinite(x, pivot_rounding(x));
}

/// R with x = R R', for a symmetric positive semi-definite x of any rank, in place. Pivots are chosen by what is left of
/// each diagonal entry; the last ones are dropped when no more than `tolerance` is left. False when what was dropped
/// could not belong to a semi-definite matrix: an entry (i, j) above the tolerance times sqrt(x_ii x_jj).
template <class X>
KALSCAN_HD bool root_semidefinite(X& x, typename X::Scalar tolerance) {
  using T = typename X::Scalar;
  const Eigen::Index n = x.rows();
  X root = X::Zero(n, n);
  const Eigen::Matrix<T, X::RowsAtCompileTime, 1> size = x.diagonal();
  Eigen::Matrix<T, X::RowsAtCompileTime, 1> scale = size;  // zero: done
  for (Eigen::Index k = 0; k < n; ++k) {
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
    const T r = std::sqrt(x(pivot, pivot));
    for (Eigen::Index i = 0; i < n; ++i) root(i, k) = scale(i) > 0 ? x(i, pivot) / r : T(0);
    scale(pivot) = 0;
    for (Eigen::Index j = 0; j < n; ++j) {
      for (Eigen::Index i = 0; i < n; ++i) x(i, j) -= root(i, k) * root(j, k);
    }
  }
  bool ok = true;
  for (Eigen::Index j = 0; j < n; ++j) {
    for (Eigen::Index i = 0; i < n; ++i) {
      const bool positive = size(i) >= 0 && size(j) >= 0;
      const T left = x(i, j) < 0 ? -x(i, j) : x(i, j);
      ok = ok && positive && left <= 4 * tolerance * std::sqrt(size(i)) * std::sqrt(size(j));
    }
  }
  x = root;
  return ok;
}

/// x := x L'^-1 for a lower factor L; columns of zero pivots become zero.
template <class X, class L>
KALSCAN_HD void divide_by_transposed_factor(X& x, const L& l) {
  for (Eigen::Index j = 0; j < l.cols(); ++j) {
    for (Eigen::Index k = 0; k < j; ++k) x.col(j) -= x.col(k) * l(j, k);
    x.col(j) *= l(j, j) > 0 ? 1 / l(j, j) : 0;
  }
}

/// x := x (L L')^-1, the generalized inverse where L has zero pivots.
template <class X, class L>
KALSCAN_HD void divide_by_factored(X& x, const L& l) {
  divide_by_transposed_factor(x, l);
  for (Eigen::Index j = l.cols() - 1; j >= 0; --j) {
    for (Eigen::Index k = j + 1; k < l.cols(); ++k) x.col(j) -= x.col(k) * l(k, j);
    x.col(j) *= l(j, j) > 0 ? 1 / l(j, j) : 0;
  }
}

}  // namespace kalscan::detail
