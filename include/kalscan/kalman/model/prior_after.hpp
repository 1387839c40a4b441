// SPDX-License-Identifier: MIT
// The final belief of a filter as the prior of the data that follow.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/compensated.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <limits>

namespace kalscan {

/// The belief after the last step of `result`, as the prior of a model whose first step is the next one. With it, what
/// follows is filtered as one series would have been, and the log-likelihoods add up: to the rounding of the numbers in
/// `result`, and with the bits of the one series where the prior was neither diffuse nor vague and no roots are
/// carried. An improper
/// belief is handed on with the directions that are still unknown; a covariance by its root where that is known. Where
/// the result ends within the first steps under a diffuse or vague prior, these go on with twice the digits. F, Q, H, R,
/// B, D and u of the steps that follow are `model.steps(length, ...)`. Throws std::invalid_argument where the result is
/// empty.
template <class T, int N, int M>
[[nodiscard]] gaussian_prior<T, N> prior_after(const filter_result<T, N, M>& result) {
  if (result.covariance.empty()) detail::bad_model("the filter result is empty: it has no last belief");
  using directions = Eigen::Matrix<T, N, Eigen::Dynamic>;
  const Eigen::Index last = result.mean.cols() - 1;
  const auto& beginning = result.beginning;
  auto prior = gaussian_prior<T, N>::before_first_step(result.mean.col(last), result.covariance.back());
  if (!result.rounding.empty()) prior.rounding = result.rounding.back();
  if (std::ssize(result.diffuse) == last + 1) {
    prior.directions = detail::to_eigen<directions>(beginning.directions);
    prior.directions_rounding = detail::to_eigen<directions>(beginning.directions_rounding);
  }
  if (beginning.size() == last + 1) {
    const auto root = detail::narrowed(beginning.end_root);
    prior.root = detail::to_eigen<directions>(root.value);
    prior.rest = detail::to_eigen<directions>(detail::side_by_side<T>(beginning.end_mean_rest, root.rest));
    prior.covariance = detail::times(prior.root, detail::transposed(prior.root));
    if (beginning.rounding.size() > 0) prior.rounding = detail::to_eigen<Eigen::Matrix<T, N, N>>(beginning.rounding);
  } else if (!result.covariance_root.empty()) {
    prior.root = result.covariance_root.back();
  }
  return prior;
}

}  // namespace kalscan
