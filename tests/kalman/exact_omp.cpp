// SPDX-License-Identifier: MIT
// Observations without noise on omp: such a stretch has no finite information about its unknown beginning.
#include <doctest/doctest.h>

#include <cmath>
#include <kalscan/kalscan.hpp>

namespace {

TEST_CASE("omp does not split time where an observation has no noise") {
  const Eigen::Matrix<double, 1, 1> one{1.0}, zero{0.0};
  const kalscan::kalman_model<double, 1, 1> model{one, zero, one, zero,
                                                  kalscan::gaussian_prior<double, 1>::of_first_state(zero, one)};
  const kalscan::observations<double, 1> y{{NAN, NAN, 3, 3, NAN, NAN}};
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
