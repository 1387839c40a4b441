// SPDX-License-Identifier: MIT
#include "by_functions.hpp"

#include <cstddef>
#include <limits>
#include <vector>

#include "device_chunks.hpp"
#include "functions_of.hpp"

namespace by_functions {
namespace {

using Eigen::Index, Eigen::MatrixXd;
constexpr int states = most_states, components = most_components;

template <class Steps>
Steps padded(const Steps& x, Index rows, Index columns, double diagonal = 0) {
  std::vector<MatrixXd> all;
  for (std::int64_t t = 0; t < x.size(); ++t) {
    MatrixXd big = MatrixXd::Zero(rows, columns);
    big.topLeftCorner(x[t].rows(), x[t].cols()) = x[t];
    for (Index i = x[t].rows(); i < rows && diagonal > 0; ++i) big(i, i) = diagonal;
    all.push_back(big);
  }
  return x.constant() && !x.empty() ? Steps(all[0]) : Steps(all);
}

/// The model among others whose states are zero and whose components are not read.
model_type padded(const model_type& f) {
  constexpr Index n = states, m = components;
  model_type x{padded(f.F, n, n), padded(f.Q, n, n), padded(f.H, m, n), padded(f.R, m, m, 1), f.prior};
  if (!f.B.empty()) x.B = padded(f.B, n, f.u.rows());
  if (!f.D.empty()) x.D = padded(f.D, m, f.u.rows());
  x.u = f.u;
  x.prior.mean = Eigen::VectorXd::Zero(n);
  x.prior.mean.head(f.states()) = f.prior.mean;
  x.prior.covariance = MatrixXd::Zero(n, n);
  x.prior.covariance.topLeftCorner(f.states(), f.states()) = f.prior.covariance;
  return x;
}

/// The first `n` of the states.
std::vector<MatrixXd> corners(const std::vector<MatrixXd>& x, Index n) {
  std::vector<MatrixXd> y;
  for (const auto& matrix : x) y.push_back(matrix.topLeftCorner(n, n));
  return y;
}
/// Of directions, up to the last step that is improper.
std::vector<MatrixXd> diffuse(const std::vector<MatrixXd>& directions, Index n) {
  std::vector<MatrixXd> x;
  for (const auto& matrix : directions) {
    const MatrixXd rows = matrix.topRows(n);
    x.push_back(rows * rows.transpose());
  }
  while (!x.empty() && x.back().isZero(0)) x.pop_back();
  return x;
}

template <class Model>
outcome smooth_padded(const Model& model, const series_type& y, Index n, std::int64_t chunk, std::int64_t beginning,
                      std::int64_t window) {
  MatrixXd all = MatrixXd::Constant(components, y.cols(), std::numeric_limits<double>::quiet_NaN());
  all.topRows(y.rows()) = y;
  const auto r = device_chunks::filter_and_smooth(model, device_chunks::numbers_of<double>(all), {.longest = y.cols()},
                                                  chunk, 3, beginning, window);
  outcome x;
  auto& [smoothed, filter_failure, smoother_failure, same_in_place] = x;
  auto& filtered = smoothed.filtered;
  filter_failure = r.filtered[0].reason(), smoother_failure = r.smoothed[0].reason();
  same_in_place = r.same_in_place;
  smoothed.mean = r.smoothed_mean.topRows(n), filtered.mean = r.mean.topRows(n);
  filtered.predicted_mean = r.predicted_mean.topRows(n);
  smoothed.covariance = corners(r.smoothed_covariance, n), filtered.covariance = corners(r.covariance, n);
  filtered.predicted_covariance = corners(r.predicted_covariance, n);
  smoothed.diffuse = diffuse(r.smoothed_directions, n), filtered.diffuse = diffuse(r.directions, n);
  filtered.predicted_diffuse = diffuse(r.predicted_directions, n);
  filtered.log_likelihood = r.log_likelihood[0];
  return x;
}

}  // namespace

outcome smooth(const model_type& model, const series_type& y, std::int64_t chunk, std::int64_t beginning,
               std::int64_t window) {
  return smooth_padded(diffuse_functions_of<double, states, components>(padded(model)), y, model.states(), chunk,
                       beginning, window);
}

}  // namespace by_functions
