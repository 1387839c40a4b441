// SPDX-License-Identifier: MIT
// Observations without noise on omp: such a stretch has no finite information about its unknown beginning.
#include <doctest/doctest.h>

#include <cmath>

#include "shared.hpp"

namespace {

TEST_CASE("omp does not split time where an observation has no noise") {
  using Eigen::Dynamic;
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(1, 1), zero = Eigen::MatrixXd::Zero(1, 1);
  const kalscan::kalman_model<double, Dynamic, Dynamic> model{
      one, zero, one, zero, kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd(zero), one)};
  const kalscan::observations<double, Dynamic> y{{NAN, NAN, 3, 3, NAN, NAN}};
  for (const auto& policy : {kalscan::omp{1, 2}, kalscan::omp{2, 2}, kalscan::omp{2, 1}, kalscan::omp{2, 3}}) {
    CAPTURE(policy.chunk);
    const auto omp = kalscan::filter(policy, model, y);
    const auto seq = kalscan::filter(kalscan::seq{}, model, y);
    CHECK(omp.mean == seq.mean);
    CHECK(omp.covariance == seq.covariance);
    CHECK(omp.mean(0, 5) == 3);
    CHECK(omp.covariance.back()(0, 0) == 0);
    CHECK(omp.log_likelihood == seq.log_likelihood);
  }
}

}  // namespace
