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

/// The model among others whose states are zero and whose components are not read: n and m in all.
model_type padded(const model_type& f, Index n, Index m) {
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
template <class Matrix>
std::vector<MatrixXd> corners(const std::vector<Matrix>& x, Index n) {
  std::vector<MatrixXd> y;
  for (const auto& matrix : x) y.push_back(matrix.topLeftCorner(n, n).template cast<double>());
  return y;
}
/// Of directions, up to the last step that is improper.
template <class Matrix>
std::vector<MatrixXd> diffuse(const std::vector<Matrix>& directions, Index n) {
  std::vector<MatrixXd> x;
  for (const auto& matrix : directions) {
    const MatrixXd rows = matrix.topRows(n).template cast<double>();
    x.push_back(rows * rows.transpose());
  }
  while (!x.empty() && x.back().isZero(0)) x.pop_back();
  return x;
}

/// In numbers of type T, as a model of n states and m components.
template <class T, int n, int m>
outcome smooth_padded(const model_type& given, const series_type& y, std::int64_t chunk, std::int64_t beginning,
                      std::int64_t window) {
  const model_type model = padded(given, n, m);
  const Index states = given.states();
  MatrixXd all = MatrixXd::Constant(m, y.cols(), std::numeric_limits<double>::quiet_NaN());
  all.topRows(y.rows()) = y;
  const auto r = device_chunks::filter_and_smooth(diffuse_functions_of<T, n, m>(model),
                                                  device_chunks::numbers_of<T>(all.cast<T>()), {.longest = y.cols()},
                                                  chunk, 3, beginning, window);
  const auto means = [&](const auto& x) -> MatrixXd { return x.topRows(states).template cast<double>(); };
  outcome x;
  auto& [smoothed, filter_failure, smoother_failure, same_in_place] = x;
  auto& filtered = smoothed.filtered;
  filter_failure = r.filtered[0].reason(), smoother_failure = r.smoothed[0].reason();
  same_in_place = r.same_in_place;
  smoothed.mean = means(r.smoothed_mean), filtered.mean = means(r.mean);
  filtered.predicted_mean = means(r.predicted_mean);
  smoothed.covariance = corners(r.smoothed_covariance, states), filtered.covariance = corners(r.covariance, states);
  filtered.predicted_covariance = corners(r.predicted_covariance, states);
  smoothed.diffuse = diffuse(r.smoothed_directions, states), filtered.diffuse = diffuse(r.directions, states);
  filtered.predicted_diffuse = diffuse(r.predicted_directions, states);
  filtered.log_likelihood = static_cast<double>(r.log_likelihood[0]);
  return x;
}

}  // namespace

outcome smooth(const model_type& model, const series_type& y, std::int64_t chunk, std::int64_t beginning,
               std::int64_t window) {
  return smooth_padded<double, most_states, most_components>(model, y, chunk, beginning, window);
}
outcome smooth_in_float(const model_type& model, const series_type& y, std::int64_t chunk) {
  return smooth_padded<float, 4, 1>(model, y, chunk, kalscan::detail::steps_from_start,
                                    kalscan::detail::steps_from_start);
}

}  // namespace by_functions
