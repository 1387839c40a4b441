// SPDX-License-Identifier: MIT
// A rank-deficient Q over a long time: what square-root forms are for.
#pragma once

#include <Eigen/Dense>
#include <cmath>
#include <kalscan/kalscan.hpp>
#include <random>

namespace rank_deficient {

using data_type = kalscan::observations<double, Eigen::Dynamic>;

/// Constant velocity in two dimensions, pushed along the diagonal alone.
template <class T, int N = Eigen::Dynamic, int M = Eigen::Dynamic>
kalscan::kalman_model<T, N, M> pushed_along_a_diagonal() {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  matrix F = matrix::Identity(4, 4), H = matrix::Zero(2, 4);
  F(0, 2) = F(1, 3) = 1;
  H(0, 0) = H(1, 1) = 1;
  const Eigen::Vector<T, N> mean = Eigen::Vector<T, 4>(244, 183, 0, 0);
  return {Eigen::Matrix<T, N, N>(F), Eigen::Matrix<T, N, N>(matrix::Constant(4, 4, T(0.125))),
          Eigen::Matrix<T, M, N>(H), Eigen::Matrix<T, M, M>(matrix::Identity(2, 2) * 7),
          kalscan::gaussian_prior<T, N>::before_first_step(mean, matrix::Identity(4, 4) * 500)};
}

/// Readings that such a model finds surprising: innovations of eight deviations. The same for float and double.
inline data_type random_walk(Eigen::Index length) {
  std::mt19937_64 engine(8);
  std::normal_distribution<double> normal;
  data_type y(2, length);
  Eigen::Vector2d x(244, 183);
  for (Eigen::Index t = 0; t < length; ++t) {
    for (int i = 0; i < 2; ++i) {
      x(i) += normal(engine);
      y(i, t) = static_cast<float>(x(i) + 2.6 * normal(engine));
    }
  }
  return y;
}

/// Readings of the model.
inline data_type likely_walk(Eigen::Index length) {
  std::mt19937_64 engine(9);
  std::normal_distribution<double> normal;
  data_type y(2, length);
  Eigen::Vector4d x(244, 183, 0, 0);
  for (Eigen::Index t = 0; t < length; ++t) {
    x = (pushed_along_a_diagonal<double>().F[0] * x).eval().array() + std::sqrt(0.125) * 0.01 * normal(engine);
    for (int i = 0; i < 2; ++i) y(i, t) = static_cast<float>(x(i) + std::sqrt(7.0) * normal(engine));
  }
  return y;
}

}  // namespace rank_deficient
