// SPDX-License-Identifier: MIT
// Predictions of the state and of y beyond the data.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/check_model.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/model/prior_after.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/square_root_steps.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <string>
#include <vector>

namespace kalscan {

/// n states, m observed components, one column or entry for each step beyond the data.
///
/// `diffuse` has an entry for each of the first steps whose state depends on what no data tell: there the prediction is
/// N(mean, covariance + kappa diffuse) with kappa growing without bound, and of y with y_diffuse likewise.
template <class T, int N, int M>
struct forecast_result {
  Eigen::Matrix<T, N, Eigen::Dynamic> mean{};  ///< of the state
  std::vector<Eigen::Matrix<T, N, N>> covariance{}, diffuse{};
  observations<T, M> y_mean{};
  std::vector<Eigen::Matrix<T, M, M>> y_covariance{}, y_diffuse{};  ///< with the noise R of y

  /// The components of the state and of y, by index, whose variance is infinite `step` steps (0: one) beyond the data.
  std::vector<Eigen::Index> improper_components(std::int64_t step) const {
    return detail::with_variance(diffuse, step);
  }
  std::vector<Eigen::Index> improper_y_components(std::int64_t step) const {
    return detail::with_variance(y_diffuse, step);
  }
};

/// The predictions of the `steps` steps after those of `result`: what `filter` gives for as many steps more of missing
/// readings. What the model gives per step, u included, it must give for the steps of the data and then for those of
/// the forecast; the filter takes the part of it for the data, model.steps(0, length). Throws std::invalid_argument
/// where model, result and steps do not fit, filter_error with the index of the step where a prediction is not finite.
template <class T, int N, int M>
[[nodiscard]] forecast_result<T, N, M> forecast(const kalman_model<T, N, M>& model,
                                                const filter_result<T, N, M>& result, std::int64_t steps) {
  const std::int64_t length = result.mean.cols();
  if (steps < 0 || steps > (std::numeric_limits<std::int64_t>::max)() - length)
    detail::bad_model({"the forecast is of ", steps, " steps"});
  const auto start = prior_after(result);
  detail::check_model(model, {length + steps, length + steps, "data and forecast have"});
  if (result.mean.rows() != model.states()) {
    detail::bad_model({"the filter result has ", result.mean.rows(), " states, the model ", model.states()});
  }
  const detail::filter_step<T, N, M> step(model);
  const detail::square_root_steps<T, N, M> root_steps(model);
  const bool rooted = start.root.cols() > 0;  // then the covariance may lack digits that its root has
  forecast_result<T, N, M> x;
  x.mean.resize(model.states(), steps);
  x.y_mean.resize(model.observed(), steps);
  Eigen::Vector<T, N> mean = start.mean;
  Eigen::Matrix<T, N, N> P = start.covariance;
  square_root_belief<T, N> carried{mean, rooted ? root_steps.root_of(start) : P};
  detail::dense_matrix<T> directions(start.directions);
  for (std::int64_t t = length; t < length + steps; ++t) {
    mean = step.predict_mean(t, mean);
    if (rooted) {
      root_steps.template predict<T>(t, carried);
      P = detail::times(carried.root, detail::transposed(carried.root));
    } else {
      P = step.predict_covariance(t, P);
    }
    if (!detail::is_finite(mean) || !detail::is_finite(P)) detail::fail_step(0, t, "the prediction is not finite");
    x.mean.col(t - length) = mean;
    x.covariance.push_back(P);
    x.y_mean.col(t - length) = step.observation_mean(t, mean);
    x.y_covariance.push_back(rooted ? detail::innovation_covariance_of_root(model, t, carried.root)
                                    : step.innovation_covariance(t, P));
    directions = detail::cleared_product<T>(model.F[t], directions);
    bool forgotten = true;
    for (Eigen::Index i = 0; i < directions.size(); ++i) forgotten = forgotten && detail::equal(directions(i), 0);
    if (forgotten) directions.resize(model.states(), 0);
    if (directions.cols() == 0) continue;
    const auto seen = detail::cleared_product<T>(model.H[t], directions);
    x.diffuse.push_back(detail::to_eigen<Eigen::Matrix<T, N, N>>(detail::outer_square<T>(directions)));
    x.y_diffuse.push_back(detail::to_eigen<Eigen::Matrix<T, M, M>>(detail::outer_square<T>(seen)));
  }
  return x;
}

/// The same: the last smoothed belief is the last filtered one.
template <class T, int N, int M>
[[nodiscard]] forecast_result<T, N, M> forecast(const kalman_model<T, N, M>& model,
                                                const smoother_result<T, N, M>& result, std::int64_t steps) {
  return forecast(model, result.filtered, steps);
}

template <class T, int N, int M, class... Rest>
void forecast(const square_root<kalman_model<T, N, M>>&, const Rest&...) {
  static_assert(sizeof(T) == 0,
                "kalscan: a forecast is of the model, whatever form its result was filtered in: "
                "forecast(model, result, steps)");
}

}  // namespace kalscan
