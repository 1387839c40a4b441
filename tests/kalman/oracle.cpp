// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <algorithm>

#include <Eigen/Dense>

namespace oracle {

/// The generalized inverse of a symmetric positive semi-definite matrix.
inline matrix inverse(const matrix& x) {
  const Eigen::SelfAdjointEigenSolver<matrix> eigen(x);
  const real cutoff = 1e-15L * std::max<real>(eigen.eigenvalues().cwiseAbs().maxCoeff(), 1e-300L);
  vector d = eigen.eigenvalues();
  for (auto& e : d) e = e > cutoff ? 1 / e : 0;
  return eigen.eigenvectors() * d.asDiagonal() * eigen.eigenvectors().transpose();
}

beliefs run(const kalscan::kalman_model<real, Eigen::Dynamic, Eigen::Dynamic>& model, const matrix& y) {
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

problem<double, Eigen::Dynamic, Eigen::Dynamic> draw_problem(Eigen::Index n, Eigen::Index m, std::int64_t length,
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

}  // namespace oracle
