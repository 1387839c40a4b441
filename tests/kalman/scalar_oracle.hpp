// SPDX-License-Identifier: MIT
// Exact conditioning in long double, one independent scalar at a time, with full matrices; backward by the recursion of
// de Jong. Held against the textbook's formulas by the ordinary models, it goes on where those lose their digits.
#pragma once

#include <algorithm>

#include "oracle.hpp"

namespace oracle {

inline beliefs run_by_scalars(const kalscan::kalman_model<real, Eigen::Dynamic, Eigen::Dynamic>& model, const matrix& y) {
  struct reading {
    vector h, K;
    real s, v;
  };
  beliefs r;
  std::vector<std::vector<reading>> readings;
  vector m = model.prior.mean;
  matrix P = model.prior.covariance;
  const Eigen::Index n = m.size();
  const matrix I = matrix::Identity(n, n);
  vector size = P.diagonal();  // the largest variance that was ever in a component
  for (Eigen::Index t = 0; t < y.cols(); ++t) {
    const vector u = model.u.size() > 0 ? vector(model.u.col(t)) : vector();
    if (t > 0 || model.prior.before_first_transition) {
      m = model.F[t] * m;
      if (!model.B.empty()) m += model.B[t] * u;
      P = model.F[t] * P * model.F[t].transpose() + model.Q[t];
      P = (P + P.transpose().eval()) / 2;
      size = size.cwiseMax(P.diagonal());
    }
    std::vector<Eigen::Index> seen;
    for (Eigen::Index i = 0; i < y.rows(); ++i) {
      if (!std::isnan(y(i, t))) seen.push_back(i);
    }
    vector d = y.col(t);
    if (!model.D.empty()) d -= model.D[t] * u;
    matrix H = model.H[t](seen, Eigen::all), R = model.R[t](seen, seen);
    vector z = d(seen);
    const vector given = R.diagonal();
    readings.emplace_back();
    for (Eigen::Index k = 0; k < z.size(); ++k) {  // R = L D L', and H, z times the inverse of L
      const real noise = R(k, k) > 1e-15L * given(k) ? R(k, k) : 0;
      for (Eigen::Index i = k + 1; noise > 0 && i < z.size(); ++i) {
        const real l = R(i, k) / noise;
        for (Eigen::Index j = k + 1; j < z.size(); ++j) R(i, j) -= l * R(k, j);
        H.row(i) -= l * H.row(k);
        z(i) -= l * z(k);
      }
      const vector h = H.row(k).transpose();
      const real variance = h.dot(P * h);
      if (noise == 0 && variance <= 1e-13L * h.cwiseAbs2().dot(size)) continue;
      const real s = variance + noise;
      const reading x{h, P * h / s, s, z(k) - h.dot(m)};
      const matrix keep = I - x.K * h.transpose();
      m += x.v * x.K;
      P = keep * P * keep.transpose() + noise * x.K * x.K.transpose();
      P = (P + P.transpose().eval()) / 2;
      r.log_likelihood -= (x.v * x.v / s + std::log(2 * std::numbers::pi_v<real> * s)) / 2;
      readings.back().push_back(x);
    }
    r.mean.push_back(m);
    r.covariance.push_back(P);
  }
  r.smoothed_mean = r.mean;
  r.smoothed_covariance = r.covariance;
  vector back = vector::Zero(n);
  matrix N = matrix::Zero(n, n);
  for (auto t = static_cast<std::size_t>(y.cols()); t-- > 0;) {
    r.smoothed_mean[t] = r.mean[t] + r.covariance[t] * back;
    r.smoothed_covariance[t] = r.covariance[t] - r.covariance[t] * N * r.covariance[t];
    for (auto x = readings[t].rbegin(); x != readings[t].rend(); ++x) {
      const matrix L = I - x->K * x->h.transpose();
      back = x->h * (x->v / x->s) + L.transpose() * back;
      N = x->h * x->h.transpose() / x->s + L.transpose() * N * L;
    }
    const matrix F = model.F[static_cast<std::int64_t>(t)];
    back = F.transpose() * back;
    N = F.transpose() * N * F;
  }
  return r;
}

template <class T>
beliefs run_by_scalars(const problem<T, Eigen::Dynamic, Eigen::Dynamic>& p) {
  return run_by_scalars(convert<real, Eigen::Dynamic, Eigen::Dynamic>(p.model), matrix(p.y.template cast<real>()));
}

/// The worst error of all components and steps: of a mean in standard deviations, of a variance relative to it. What is
/// known to `exact` of the largest standard deviation there was is compared on that scale.
template <class Mean, class Matrix>
double error_in_deviations(const Mean& means, const std::vector<Matrix>& covariances, const std::vector<vector>& expected_means,
                           const std::vector<matrix>& expected_covariances, real largest, real exact = 1e-8L) {
  real worst = 0;
  for (std::size_t t = 0; t < expected_means.size(); ++t) {
    for (Eigen::Index i = 0; i < expected_means[t].size(); ++i) {
      const real mean = expected_means[t](i), variance = expected_covariances[t](i, i);
      const real deviation = std::sqrt(std::max<real>(variance, 0));
      const real scale = deviation > exact * largest ? deviation : largest + std::abs(mean);
      const real e = std::abs(static_cast<real>(means(i, static_cast<Eigen::Index>(t))) - mean) / scale;
      const real f = std::abs(static_cast<real>(covariances[t](i, i)) - variance) / (scale * scale);
      if (!(e < 1e30L) || !(f < 1e30L)) return std::numeric_limits<double>::infinity();
      worst = std::max({worst, e, f});
    }
  }
  return static_cast<double>(worst);
}

}  // namespace oracle
