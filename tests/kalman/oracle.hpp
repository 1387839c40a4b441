// SPDX-License-Identifier: MIT
// The textbook Kalman filter and Rauch-Tung-Striebel smoother in long double, with inverses written as inverses and
// missing components cut out of the matrices; and random models to hold the library against it.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <kalscan/kalscan.hpp>
#include <limits>
#include <random>
#include <vector>

#include "shared.hpp"

namespace oracle {

using real = long double;
using matrix = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic>;
using vector = Eigen::Vector<real, Eigen::Dynamic>;

struct beliefs {
  std::vector<vector> mean, predicted_mean, smoothed_mean;
  std::vector<matrix> covariance, predicted_covariance, smoothed_covariance;
  real log_likelihood = 0;
};

template <class To, class Matrix>
kalscan::per_step<To> convert(const kalscan::per_step<Matrix>& from) {
  const auto one = [](const Matrix& x) { return To(x.template cast<typename To::Scalar>()); };
  if (from.empty()) return {};
  if (from.constant()) return one(from[0]);
  std::vector<To> all;
  for (std::int64_t t = 0; t < from.size(); ++t) all.push_back(one(from[t]));
  return all;
}

/// The same model with other types; so one copy of what follows serves all.
template <class T, int N, int M, class From, int FromN, int FromM>
kalscan::kalman_model<T, N, M> convert(const kalscan::kalman_model<From, FromN, FromM>& from) {
  using Eigen::Dynamic, Eigen::Matrix;
  return {convert<Matrix<T, N, N>>(from.F),
          convert<Matrix<T, N, N>>(from.Q),
          convert<Matrix<T, M, N>>(from.H),
          convert<Matrix<T, M, M>>(from.R),
          {from.prior.mean.template cast<T>(), from.prior.covariance.template cast<T>(), from.prior.before_first_transition,
           from.prior.diffuse},
          convert<Matrix<T, N, Dynamic>>(from.B),
          convert<Matrix<T, M, Dynamic>>(from.D),
          from.u.template cast<T>()};
}

beliefs run(const kalscan::kalman_model<real, Eigen::Dynamic, Eigen::Dynamic>& model, const matrix& y);

template <class T, int N, int M>
beliefs run(const kalscan::kalman_model<T, N, M>& model, const kalscan::observations<T, M>& y) {
  return run(convert<real, Eigen::Dynamic, Eigen::Dynamic>(model), matrix(y.template cast<real>()));
}

template <class X>
void fill_normal(X& x, std::mt19937_64& engine) {
  std::normal_distribution<double> normal;
  for (Eigen::Index i = 0; i < x.size(); ++i) x(i) = static_cast<typename X::Scalar>(normal(engine));
}

/// A random covariance of the given rank.
inline Eigen::MatrixXd random_covariance(Eigen::Index n, Eigen::Index rank, std::mt19937_64& engine) {
  Eigen::MatrixXd root(n, rank);
  fill_normal(root, engine);
  Eigen::MatrixXd x = root * root.transpose();
  x = (x + x.transpose().eval()) / 2;
  return x;
}

struct kind {
  bool varying = false, inputs = false, singular_noise = false, missing = false, before_first = false;
};

template <class T, int N, int M>
struct problem {
  kalscan::kalman_model<T, N, M> model;
  kalscan::observations<T, M> y;
};

/// A stable random model and data drawn without regard to it (a filter must cope with surprise).
problem<double, Eigen::Dynamic, Eigen::Dynamic> draw_problem(Eigen::Index n, Eigen::Index m, std::int64_t length,
                                                             kind k, std::uint64_t seed);

template <class T, int N, int M>
problem<T, N, M> random_problem(Eigen::Index n, Eigen::Index m, std::int64_t length, kind k, std::uint64_t seed) {
  const auto drawn = draw_problem(n, m, length, k, seed);
  return {convert<T, N, M>(drawn.model), drawn.y.template cast<T>()};
}

/// The worst distance from the oracle: means relative to the belief's own standard deviation plus magnitude,
/// covariances relative to their own size.
template <class Mean, class Matrix>
double defect(const Mean& means, const std::vector<Matrix>& covariances, const std::vector<vector>& expected_means,
              const std::vector<matrix>& expected_covariances) {
  real worst = 0;
  for (std::size_t t = 0; t < expected_means.size(); ++t) {
    const real size = expected_covariances[t].cwiseAbs().maxCoeff() + 1e-30L;
    const vector m = means.col(static_cast<Eigen::Index>(t)).template cast<real>();
    const real error =
        (m - expected_means[t]).cwiseAbs().maxCoeff() / (std::sqrt(size) + expected_means[t].cwiseAbs().maxCoeff());
    const real spread = (covariances[t].template cast<real>() - expected_covariances[t]).cwiseAbs().maxCoeff() / size;
    if (!(error < 1e30L) || !(spread < 1e30L)) return std::numeric_limits<double>::infinity();
    worst = std::max({worst, error, spread});
  }
  return static_cast<double>(worst);
}

}  // namespace oracle
