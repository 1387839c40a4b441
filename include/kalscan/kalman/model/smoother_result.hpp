// SPDX-License-Identifier: MIT
// What the smoother returns.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstdint>
#include <kalscan/kalman/model/filter_result.hpp>
#include <vector>

namespace kalscan {

/// n states, one column or entry a step: x_t given all the data.
///
/// Under a prior that is diffuse in part, `diffuse` has an entry for each of the first steps whose state depends on
/// what no data tell: there the belief is N(mean, covariance + kappa diffuse), as for filter_result. The other
/// components, those whose entry on the diagonal of diffuse is zero, are smoothed as if these did not exist.
template <class T, int N, int M>
struct smoother_result {
  Eigen::Matrix<T, N, Eigen::Dynamic> mean{};
  std::vector<Eigen::Matrix<T, N, N>> covariance{};
  std::vector<Eigen::Matrix<T, N, N>> diffuse{};
  filter_result<T, N, M> filtered{};

  /// The components of x_t, by index, whose variance is infinite given all the data: none at proper steps.
  std::vector<Eigen::Index> improper_components(std::int64_t t) const { return detail::with_variance(diffuse, t); }
};

}  // namespace kalscan
