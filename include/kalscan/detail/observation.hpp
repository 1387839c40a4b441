// SPDX-License-Identifier: MIT
// The observation of one step as scalar components with independent noise, to be taken one after the other.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/detail/equal.hpp>
#include <kalscan/kalman/model.hpp>
#include <limits>
#include <utility>

namespace kalscan::detail {

/// Independent scalar observations y_i = h_i x + N(0, d_i) for i < count, with h_i in row i of H; together they say
/// what the present components of a step say, at the same density. d_i = 0: exact, and then entries of h_i that are no
/// more than rounding are zero. |y_i| may be less than `terms`_i, the magnitude of the terms that it is a sum of.
template <class T, int N, int M>
struct scalar_observations {
  Eigen::Matrix<T, M, N> H;
  Eigen::Vector<T, M> d, y, terms;
  Eigen::Index count;
};

/// The noise of the components order(0) ... order(count - 1): their covariance is L diag(d) L', L unit lower
/// triangular. R may be singular. Pivots are chosen and judged relative to R's own diagonal, so that units do not
/// matter.
template <class T, int M>
struct noise_factor {
  Eigen::Matrix<T, M, M> L;
  Eigen::Vector<T, M> d;
  Eigen::Vector<Eigen::Index, M> order;
  Eigen::Index count = 0;
  bool diagonal = true;  // L = I, and the order is that of the components

  /// Of those components of which y is not NaN.
  noise_factor(const Eigen::Matrix<T, M, M>& R, const Eigen::Vector<T, M>& y)
      : L(Eigen::Matrix<T, M, M>::Identity(R.rows(), R.rows())), d(R.diagonal()), order(R.rows()) {
    for (Eigen::Index i = 0; i < R.rows(); ++i) {
      if (std::isnan(y(i))) continue;
      d(count) = R(i, i);
      order(count++) = i;
    }
    for (Eigen::Index i = 0; i < count; ++i) {
      for (Eigen::Index j = 0; j < i; ++j) diagonal = diagonal && equal(R(order(i), order(j)), T(0));
    }
    if (!diagonal) factor(R);
  }

 private:
  void factor(const Eigen::Matrix<T, M, M>& R) {
    const T rounding = 8 * static_cast<T>(R.rows()) * std::numeric_limits<T>::epsilon();
    Eigen::Matrix<T, M, M> rest = R;  // the lower triangle, in the given numbering
    const auto entry = [&](Eigen::Index i, Eigen::Index j) -> T& { return i > j ? rest(i, j) : rest(j, i); };
    const auto left = [&](Eigen::Index i) { return R(i, i) > 0 ? rest(i, i) / R(i, i) : T(0); };
    for (Eigen::Index k = 0; k < count; ++k) {
      Eigen::Index best = k;
      for (Eigen::Index i = k + 1; i < count; ++i) {
        if (left(order(i)) > left(order(best))) best = i;
      }
      if (!(left(order(best)) > rounding)) {
        d.segment(k, count - k).setZero();
        return;
      }
      L.row(k).head(k).swap(L.row(best).head(k));
      std::swap(order(k), order(best));
      const Eigen::Index pivot = order(k);
      d(k) = rest(pivot, pivot);
      for (Eigen::Index i = k + 1; i < count; ++i) {
        L(i, k) = entry(order(i), pivot) / d(k);
        for (Eigen::Index j = k + 1; j <= i; ++j) entry(order(i), order(j)) -= L(i, k) * entry(order(j), pivot);
      }
    }
  }
};

/// The rows of H in these components.
template <class T, int M, class Matrix>
Matrix independent_rows(const noise_factor<T, M>& noise, const Matrix& H) {
  Matrix rows(H.rows(), H.cols());
  for (Eigen::Index i = 0; i < noise.count; ++i) rows.row(i) = H.row(noise.order(i));
  if (noise.diagonal) return rows;
  Matrix terms = rows.cwiseAbs();
  const T rounding = 8 * static_cast<T>(H.rows()) * std::numeric_limits<T>::epsilon();
  for (Eigen::Index i = 0; i < noise.count; ++i) {
    for (Eigen::Index k = 0; k < i; ++k) {
      rows.row(i) -= noise.L(i, k) * rows.row(k);
      terms.row(i) += std::abs(noise.L(i, k)) * terms.row(k);
    }
    if (noise.d(i) > 0) continue;
    for (Eigen::Index j = 0; j < H.cols(); ++j) {
      if (std::abs(rows(i, j)) <= rounding * terms(i, j)) rows(i, j) = 0;
    }
  }
  return rows;
}

/// Observes the steps of a model. Where R is constant, it is factored once for all steps without missing components.
template <class T, int N, int M>
class observer {
 public:
  explicit observer(const kalman_model<T, N, M>& model)
      : model_(model),
        all_(model.R[0], Eigen::Vector<T, M>::Zero(model.observed())),
        H_(independent_rows(all_, model.H[0])) {}

  scalar_observations<T, N, M> observe(std::int64_t t, const Eigen::Vector<T, M>& y) const {
    if (!model_.R.constant() || y.hasNaN()) {
      const noise_factor<T, M> noise(model_.R[t], y);
      return with(noise, independent_rows(noise, model_.H[t]), t, y);
    }
    return with(all_, model_.H.constant() ? H_ : independent_rows(all_, model_.H[t]), t, y);
  }

 private:
  scalar_observations<T, N, M> with(const noise_factor<T, M>& noise, const Eigen::Matrix<T, M, N>& H, std::int64_t t,
                                    const Eigen::Vector<T, M>& y) const {
    Eigen::Vector<T, M> value = y, size = y.cwiseAbs();
    if (!model_.D.empty()) {
      value -= model_.D[t] * model_.u.col(t);
      size += model_.D[t].cwiseAbs() * model_.u.col(t).cwiseAbs();
    }
    scalar_observations<T, N, M> o{H, noise.d, value, size, noise.count};
    for (Eigen::Index i = 0; i < o.count; ++i) {
      o.y(i) = value(noise.order(i));
      o.terms(i) = size(noise.order(i));
      if (noise.diagonal) continue;
      for (Eigen::Index k = 0; k < i; ++k) {
        o.y(i) -= noise.L(i, k) * o.y(k);
        o.terms(i) += std::abs(noise.L(i, k)) * o.terms(k);
      }
    }
    return o;
  }

  const kalman_model<T, N, M>& model_;
  noise_factor<T, M> all_;
  Eigen::Matrix<T, M, N> H_;
};

/// Whether no component, nor a combination of some, is observed without noise at any step.
template <class T, int N, int M>
bool noise_is_definite(const kalman_model<T, N, M>& model) {
  for (std::int64_t t = 0; t < model.R.size(); ++t) {
    const noise_factor<T, M> noise(model.R[t], Eigen::Vector<T, M>::Zero(model.observed()));
    if (!(noise.d.minCoeff() > 0)) return false;
  }
  return true;
}

}  // namespace kalscan::detail
