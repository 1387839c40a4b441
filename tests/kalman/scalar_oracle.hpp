// SPDX-License-Identifier: MIT
// Exact conditioning in quad precision, one independent scalar at a time, with full matrices; backward by the recursion of
// de Jong. It goes on where the textbook's formulas lose their digits in long double.
#pragma once

#include <algorithm>

#include "oracle.hpp"

namespace Eigen {

template <>
struct NumTraits<__float128> : GenericNumTraits<__float128> {
  static __float128 dummy_precision() { return 1e-30L; }
};

}  // namespace Eigen

namespace oracle {

/// `states`: those that made the data, which are not to be told by these alone where the inverse of the system is
/// unstable. Where nothing is unknown, the state is that one.
inline beliefs run_by_scalars(const problem<real, Eigen::Dynamic, Eigen::Dynamic>& problem,
                              const oracle::matrix& states = {}) {
  using quad = __float128;
  using quad_matrix = Eigen::Matrix<quad, Eigen::Dynamic, Eigen::Dynamic>;
  using quad_vector = Eigen::Vector<quad, Eigen::Dynamic>;
  struct reading {
    quad_vector h, K;
    quad s, v;
  };
  const auto size_of = [](quad x) { return x < 0 ? -x : x; };
  const auto& given_model = problem.model;
  const oracle::matrix& y = problem.y;
  struct {
    std::vector<quad_matrix> F, Q, H, R, B, D;
    quad_matrix u;
  } model;
  const auto widen = [&](const auto& from, std::vector<quad_matrix>& to) {
    for (Eigen::Index t = 0; !from.empty() && t < y.cols(); ++t) to.push_back(from[t].template cast<quad>());
  };
  widen(given_model.F, model.F);
  widen(given_model.Q, model.Q);
  widen(given_model.H, model.H);
  widen(given_model.R, model.R);
  widen(given_model.B, model.B);
  widen(given_model.D, model.D);
  model.u = given_model.u.cast<quad>();
  beliefs r;
  std::vector<std::vector<reading>> readings;
  std::vector<quad_vector> means;
  std::vector<quad_matrix> covariances;
  quad_vector m = given_model.prior.mean.cast<quad>();
  quad_matrix P = given_model.prior.covariance.cast<quad>();
  const Eigen::Index n = m.size();
  const quad_matrix I = quad_matrix::Identity(n, n);
  quad_vector size = P.diagonal();  // the largest variance that was ever in a component
  for (Eigen::Index step = 0; step < y.cols(); ++step) {
    const auto t = static_cast<std::size_t>(step);
    const quad_vector u = model.u.size() > 0 ? quad_vector(model.u.col(step)) : quad_vector();
    const bool predicted = t > 0 || given_model.prior.before_first_transition;
    if (predicted) {
      m = model.F[t] * m;
      if (!model.B.empty()) m += model.B[t] * u;
      P = model.F[t] * P * model.F[t].transpose() + model.Q[t];
      P = (P + P.transpose().eval()) / 2;
      for (Eigen::Index i = 0; i < n; ++i) size(i) = std::max<quad>(size(i), P(i, i));
    }
    std::vector<Eigen::Index> seen;
    for (Eigen::Index i = 0; i < y.rows(); ++i) {
      if (!std::isnan(y(i, step))) seen.push_back(i);
    }
    quad_vector d = y.col(step).cast<quad>();
    if (!model.D.empty()) d -= model.D[t] * u;
    quad_matrix H = model.H[t](seen, Eigen::all), R = model.R[t](seen, seen);
    quad_vector z = d(seen);
    const quad_vector given = R.diagonal();
    readings.emplace_back();
    for (Eigen::Index k = 0; k < z.size(); ++k) {  // R = L D L', and H, z times the inverse of L
      const quad noise = R(k, k) > quad(1e-25L) * given(k) ? R(k, k) : 0;
      for (Eigen::Index i = k + 1; noise > 0 && i < z.size(); ++i) {
        const quad l = R(i, k) / noise;
        for (Eigen::Index j = k + 1; j < z.size(); ++j) R(i, j) -= l * R(k, j);
        H.row(i) -= l * H.row(k);
        z(i) -= l * z(k);
      }
      const quad_vector h = H.row(k).transpose();
      const auto terms_of = [&](const quad_matrix& X) {
        quad sum = 0;
        for (Eigen::Index i = 0; i < n; ++i) {
          for (Eigen::Index j = 0; j < n; ++j) sum += size_of(h(i) * X(i, j) * h(j));
        }
        return sum;
      };
      const quad variance = h.dot(P * h), terms = terms_of(P);
      // The noise of the step itself, which no reading of it has seen yet, is no rounding however small it is.
      const quad shock = h.dot(model.Q[t] * h);
      const bool fresh = predicted && shock > quad(1e-22L) * terms_of(model.Q[t]) && variance >= shock / 2;
      const quad ever = h.cwiseProduct(h).dot(size);
      if (noise == 0 && !fresh && (variance <= quad(1e-22L) * terms || variance <= quad(1e-26L) * ever)) continue;
      const quad s = variance + noise;
      const reading x{h, P * h / s, s, z(k) - h.dot(m)};
      const quad_matrix keep = I - x.K * h.transpose();
      m += x.v * x.K;
      P = keep * P * keep.transpose() + noise * x.K * x.K.transpose();
      P = (P + P.transpose().eval()) / 2;
      r.log_likelihood -= (static_cast<real>(x.v * x.v / s) + std::log(2 * std::numbers::pi_v<real> * static_cast<real>(s))) / 2;
      readings.back().push_back(x);
    }
    bool known = states.size() > 0;
    for (Eigen::Index i = 0; i < n; ++i) known = known && P(i, i) <= quad(1e-22L) * size.maxCoeff();
    if (known) {
      m = states.col(step).cast<quad>();
      P.setZero();
    }
    means.push_back(m);
    covariances.push_back(P);
  }
  quad_vector back = quad_vector::Zero(n);
  quad_matrix N = quad_matrix::Zero(n, n);
  for (auto t = static_cast<std::size_t>(y.cols()); t-- > 0;) {
    const quad_matrix& filtered = covariances[t];
    if (states.size() > 0 && filtered.isZero(0)) {
      back.setZero();
      N.setZero();
    }
    r.smoothed_mean.push_back((means[t] + filtered * back).cast<real>());
    r.smoothed_covariance.push_back((filtered - filtered * N * filtered).eval().cast<real>());
    for (auto x = readings[t].rbegin(); x != readings[t].rend(); ++x) {
      const quad_matrix L = I - x->K * x->h.transpose();
      back = x->h * (x->v / x->s) + L.transpose() * back;
      N = x->h * x->h.transpose() / x->s + L.transpose() * N * L;
    }
    const quad_matrix& F = model.F[t];
    back = F.transpose() * back;
    N = F.transpose() * N * F;
  }
  std::reverse(r.smoothed_mean.begin(), r.smoothed_mean.end());
  std::reverse(r.smoothed_covariance.begin(), r.smoothed_covariance.end());
  for (const quad_vector& x : means) r.mean.push_back(x.cast<real>());
  for (const quad_matrix& x : covariances) r.covariance.push_back(x.cast<real>());
  return r;
}

template <class T>
beliefs run_by_scalars(const problem<T, Eigen::Dynamic, Eigen::Dynamic>& p, const oracle::matrix& states = {}) {
  return run_by_scalars(problem<real, Eigen::Dynamic, Eigen::Dynamic>{
      convert<real, Eigen::Dynamic, Eigen::Dynamic>(p.model), p.y.template cast<real>()}, states);
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
