// SPDX-License-Identifier: MIT
// The textbook Kalman filter and Rauch-Tung-Striebel smoother in 113-bit arithmetic, for models that cost double all of
// its digits. For smoothing, Q must make the predicted covariances regular.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/kalscan.hpp>
#include <numbers>
#include <vector>

#include "oracle.hpp"

namespace quad {

__extension__ typedef __float128 real;

/// Just enough of a matrix.
struct matrix {
  std::size_t rows, cols;
  std::vector<real> x;

  matrix(std::size_t r, std::size_t c) : rows(r), cols(c), x(r * c, real(0)) {}
  template <class Derived>
  explicit matrix(const Eigen::MatrixBase<Derived>& from)
      : matrix(static_cast<std::size_t>(from.rows()), static_cast<std::size_t>(from.cols())) {
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < cols; ++j)
        (*this)(i, j) = static_cast<real>(from(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)));
    }
  }
  real& operator()(std::size_t i, std::size_t j) { return x[i * cols + j]; }
  const real& operator()(std::size_t i, std::size_t j) const { return x[i * cols + j]; }

  oracle::matrix wide() const {
    oracle::matrix to(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < cols; ++j)
        to(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) = static_cast<long double>((*this)(i, j));
    }
    return to;
  }
};

inline matrix operator*(const matrix& a, const matrix& b) {
  matrix c(a.rows, b.cols);
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t k = 0; k < a.cols; ++k) {
      for (std::size_t j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
    }
  }
  return c;
}
inline matrix sum(const matrix& a, const matrix& b, real factor = 1) {
  matrix c = a;
  for (std::size_t i = 0; i < c.x.size(); ++i) c.x[i] += factor * b.x[i];
  return c;
}
inline matrix transpose(const matrix& a) {
  matrix c(a.cols, a.rows);
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t j = 0; j < a.cols; ++j) c(j, i) = a(i, j);
  }
  return c;
}

/// By Gauss and Jordan.
inline matrix inverse(matrix a) {
  const std::size_t n = a.rows;
  matrix b(n, n);
  for (std::size_t i = 0; i < n; ++i) b(i, i) = 1;
  for (std::size_t k = 0; k < n; ++k) {
    const auto size = [&](std::size_t i) { return a(i, k) < 0 ? -a(i, k) : a(i, k); };
    std::size_t pivot = k;
    for (std::size_t i = k + 1; i < n; ++i) {
      if (size(i) > size(pivot)) pivot = i;
    }
    for (std::size_t j = 0; j < n; ++j) std::swap(a(k, j), a(pivot, j)), std::swap(b(k, j), b(pivot, j));
    const real d = a(k, k);
    for (std::size_t j = 0; j < n; ++j) a(k, j) /= d, b(k, j) /= d;
    for (std::size_t i = 0; i < n; ++i) {
      const real f = a(i, k);
      if (i == k || f == 0) continue;
      for (std::size_t j = 0; j < n; ++j) a(i, j) -= f * a(k, j), b(i, j) -= f * b(k, j);
    }
  }
  return b;
}

/// (I - K H) P (I - K H)' + K R K', which forgives an error of K.
inline matrix joseph(const matrix& P, const matrix& K, const matrix& H, const matrix& R) {
  matrix keep = sum(K * H, K * H, -2);
  for (std::size_t i = 0; i < keep.rows; ++i) keep(i, i) += 1;
  return sum(keep * P * transpose(keep), K * R * transpose(K));
}

/// R must be diagonal: components are taken one at a time, since jointly 113 bits are not enough either.
template <class T, int N, int M>
oracle::beliefs run(const kalscan::kalman_model<T, N, M>& model, const kalscan::observations<T, M>& y, bool smooth) {
  oracle::beliefs result;
  matrix m(model.prior.mean), P(model.prior.covariance);
  std::vector<matrix> means, covariances, predicted_means, predicted_covariances;
  for (Eigen::Index t = 0; t < y.cols(); ++t) {
    const matrix F(model.F[t]);
    if (t > 0 || model.prior.before_first_transition) {
      m = F * m;
      P = sum(F * P * transpose(F), matrix(model.Q[t]));
    }
    predicted_means.push_back(m), predicted_covariances.push_back(P);
    for (Eigen::Index i = 0; i < y.rows(); ++i) {
      if (std::isnan(y(i, t))) continue;
      const matrix h(model.H[t].row(i));
      matrix R(1, 1), gain = P * transpose(h);
      R(0, 0) = model.R[t](i, i);
      const real s = (h * gain)(0, 0) + R(0, 0), v = y(i, t) - (h * m)(0, 0);
      for (real& g : gain.x) g /= s;
      result.log_likelihood -= (static_cast<long double>(v * v / s) +
                                std::log(2 * std::numbers::pi_v<long double> * static_cast<long double>(s))) /
                               2;
      m = sum(m, gain, v);
      P = joseph(P, gain, h, R);
    }
    means.push_back(m), covariances.push_back(P);
    result.mean.push_back(m.wide()), result.covariance.push_back(P.wide());
  }
  result.smoothed_mean = result.mean, result.smoothed_covariance = result.covariance;
  for (std::size_t t = means.size() - 1; smooth && t-- > 0;) {
    const matrix F(model.F[static_cast<std::int64_t>(t + 1)]), Q(model.Q[static_cast<std::int64_t>(t + 1)]);
    const matrix G = covariances[t] * transpose(F) * inverse(predicted_covariances[t + 1]);
    means[t] = sum(means[t], G * sum(means[t + 1], predicted_means[t + 1], -1));
    covariances[t] = joseph(covariances[t], G, F, sum(Q, covariances[t + 1]));
    result.smoothed_mean[t] = means[t].wide(), result.smoothed_covariance[t] = covariances[t].wide();
  }
  return result;
}

/// The worst error of means and deviations, each in standard deviations of its component.
template <class Mean, class Matrix>
double error_in_deviations(const Mean& means, const std::vector<Matrix>& covariances,
                           const std::vector<oracle::vector>& expected_means,
                           const std::vector<oracle::matrix>& expected_covariances) {
  long double worst = 0;
  for (std::size_t t = 0; t < expected_means.size(); ++t) {
    for (Eigen::Index i = 0; i < expected_means[t].size(); ++i) {
      const long double variance = expected_covariances[t](i, i), sd = std::sqrt(variance);
      const long double mean = static_cast<long double>(means(i, static_cast<Eigen::Index>(t)));
      const long double off = std::abs(mean - expected_means[t](i)) / sd;
      const long double spread = std::abs(static_cast<long double>(covariances[t](i, i)) - variance) / variance;
      if (!(off < 1e30L) || !(spread < 1e30L)) return std::numeric_limits<double>::infinity();
      worst = std::max({worst, off, spread});
    }
  }
  return static_cast<double>(worst);
}

}  // namespace quad
