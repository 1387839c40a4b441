// SPDX-License-Identifier: MIT
// The textbook Kalman filter and Rauch-Tung-Striebel smoother in long double, with inverses written as inverses and
// missing components cut out of the matrices; and random models to hold the library against it.
#pragma once

#include <Eigen/Dense>
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

/// The generalized inverse of a symmetric positive semi-definite matrix.
inline matrix inverse(const matrix& x) {
  const Eigen::SelfAdjointEigenSolver<matrix> eigen(x);
  const real cutoff = 1e-15L * std::max<real>(eigen.eigenvalues().cwiseAbs().maxCoeff(), 1e-300L);
  vector d = eigen.eigenvalues();
  for (auto& e : d) e = e > cutoff ? 1 / e : 0;
  return eigen.eigenvectors() * d.asDiagonal() * eigen.eigenvectors().transpose();
}

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
  const auto& [mean, covariance, before, diffuse] = from.prior;
  return {convert<Matrix<T, N, N>>(from.F),
          convert<Matrix<T, N, N>>(from.Q),
          convert<Matrix<T, M, N>>(from.H),
          convert<Matrix<T, M, M>>(from.R),
          {mean.template cast<T>(), covariance.template cast<T>(), before, diffuse},
          convert<Matrix<T, N, Dynamic>>(from.B),
          convert<Matrix<T, M, Dynamic>>(from.D),
          from.u.template cast<T>()};
}

inline beliefs run(const kalscan::kalman_model<real, Eigen::Dynamic, Eigen::Dynamic>& model, const matrix& y) {
  beliefs r;
  vector m = model.prior.mean;
  matrix P = model.prior.covariance;
  for (Eigen::Index t = 0; t < y.cols(); ++t) {
    const matrix &F = model.F[t], &Q = model.Q[t];
    const vector u = model.u.size() > 0 ? vector(model.u.col(t)) : vector();
    if (t > 0 || model.prior.before_first_transition) {
      m = F * m;
      if (!model.B.empty()) m += model.B[t] * u;
      P = F * P * F.transpose() + Q;
    }
    r.predicted_mean.push_back(m);
    r.predicted_covariance.push_back(P);
    std::vector<Eigen::Index> seen;
    for (Eigen::Index i = 0; i < y.rows(); ++i) {
      if (!std::isnan(y(i, t))) seen.push_back(i);
    }
    if (!seen.empty()) {
      vector d = y.col(t);
      if (!model.D.empty()) d -= model.D[t] * u;
      const matrix H = model.H[t](seen, Eigen::all);
      const matrix R = model.R[t](seen, seen);
      const matrix S = H * P * H.transpose() + R;
      const vector v = vector(d(seen)) - H * m;
      const matrix K = P * H.transpose() * inverse(S);
      m += K * v;
      const matrix I = matrix::Identity(m.size(), m.size());
      P = (I - K * H) * P * (I - K * H).transpose() + K * R * K.transpose();
      r.log_likelihood -= (v.dot(inverse(S) * v) + std::log(S.determinant()) +
                           static_cast<real>(seen.size()) * std::log(2 * std::numbers::pi_v<real>)) /
                          2;
    }
    r.mean.push_back(m);
    r.covariance.push_back(P);
  }
  r.smoothed_mean = r.mean;
  r.smoothed_covariance = r.covariance;
  for (auto t = static_cast<std::size_t>(y.cols()) - 1; t-- > 0;) {
    const matrix& F = model.F[static_cast<std::int64_t>(t + 1)];
    const matrix G = r.covariance[t] * F.transpose() * inverse(r.predicted_covariance[t + 1]);
    r.smoothed_mean[t] = r.mean[t] + G * (r.smoothed_mean[t + 1] - r.predicted_mean[t + 1]);
    r.smoothed_covariance[t] =
        r.covariance[t] + G * (r.smoothed_covariance[t + 1] - r.predicted_covariance[t + 1]) * G.transpose();
  }
  return r;
}

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
inline problem<double, Eigen::Dynamic, Eigen::Dynamic> draw_problem(Eigen::Index n, Eigen::Index m, std::int64_t length,
                                                                    kind k, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  const std::int64_t count = k.varying ? std::max<std::int64_t>(length, 1) : 1;
  std::vector<Eigen::MatrixXd> F, Q, H, R, B, D;
  const Eigen::Index inputs = 2;
  for (std::int64_t t = 0; t < count; ++t) {
    Eigen::MatrixXd f(n, n);
    fill_normal(f, engine);
    F.push_back(f * (0.95 / f.norm()) + Eigen::MatrixXd::Identity(n, n) * 0.02);
    Q.push_back(random_covariance(n, k.singular_noise ? (n + 1) / 2 : n, engine));
    Eigen::MatrixXd h(m, n);
    fill_normal(h, engine);
    H.push_back(h);
    R.push_back(random_covariance(m, m, engine) + Eigen::MatrixXd::Identity(m, m) * 0.1);
    Eigen::MatrixXd b(n, inputs);
    Eigen::MatrixXd d(m, inputs);
    fill_normal(b, engine);
    fill_normal(d, engine);
    B.push_back(b);
    D.push_back(d);
  }
  problem<double, Eigen::Dynamic, Eigen::Dynamic> p;
  if (k.varying) {
    p.model.F = F, p.model.Q = Q, p.model.H = H, p.model.R = R;
  } else {
    p.model.F = F[0], p.model.Q = Q[0], p.model.H = H[0], p.model.R = R[0];
  }
  if (k.inputs) {
    p.model.u.resize(inputs, length);
    fill_normal(p.model.u, engine);
    if (k.varying) {
      p.model.B = B, p.model.D = D;
    } else {
      p.model.B = B[0], p.model.D = D[0];
    }
  }
  Eigen::VectorXd mean(n);
  fill_normal(mean, engine);
  p.model.prior = {mean, random_covariance(n, n, engine), k.before_first, {}};
  p.y.resize(m, length);
  fill_normal(p.y, engine);
  if (k.missing) {
    for (Eigen::Index t = 0; t < length; ++t) {
      const auto kind_of_gap = engine() % 4;
      for (Eigen::Index i = 0; i < m; ++i) {
        if (kind_of_gap == 0 || (kind_of_gap == 1 && engine() % 2 == 0))
          p.y(i, t) = std::numeric_limits<double>::quiet_NaN();
      }
    }
  }
  return p;
}

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
