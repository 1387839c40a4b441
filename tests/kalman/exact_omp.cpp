// SPDX-License-Identifier: MIT
// Observations without noise on omp: such a stretch has no finite information about its unknown beginning.
#include <doctest/doctest.h>

#include <cmath>

#include "oracle.hpp"

namespace exact_omp_tests {
namespace {

using Eigen::Dynamic, Eigen::Index;

/// A number that is read without noise, but for the first and the last two of so many steps.
template <class T>
void check(Index steps) {
  using matrix = Eigen::Matrix<T, Dynamic, Dynamic>;
  const matrix one = matrix::Ones(1, 1), zero = matrix::Zero(1, 1);
  const kalscan::kalman_model<T, Dynamic, Dynamic> model{
      one, zero, one, zero, kalscan::gaussian_prior<T, Dynamic>::of_first_state(Eigen::Vector<T, Dynamic>(zero), one)};
  kalscan::observations<T, Dynamic> y = kalscan::observations<T, Dynamic>::Constant(1, steps, T(3));
  y.leftCols(2).setConstant(T(NAN));
  y.rightCols(2).setConstant(T(NAN));
  for (const auto& policy : {kalscan::omp{1, 2}, kalscan::omp{2, 2}, kalscan::omp{2, 1}, kalscan::omp{2, 3}}) {
    CAPTURE(policy.chunk);
    const auto omp = kalscan::filter(policy, model, y);
    const auto seq = kalscan::filter(kalscan::seq{}, model, y);
    CHECK(omp.mean == seq.mean);
    CHECK(omp.covariance == seq.covariance);
    CHECK(omp.mean(0, steps - 1) == 3);
    CHECK(omp.covariance.back()(0, 0) == 0);
    CHECK(omp.log_likelihood == seq.log_likelihood);
  }
}

TEST_CASE("omp does not split time where an observation has no noise") {
  for (const Index steps : {6, 150}) {  // in double, the first ones are taken in sequence in any case
    check<double>(steps);
    check<float>(steps);
  }
}

TEST_CASE("a series read without noise leaves the others of its batch as they are") {
  const auto p = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 60, {}, 4);
  auto exact = p.model;
  exact.R = Eigen::MatrixXd(Eigen::MatrixXd::Zero(1, 1));
  const std::vector models{exact, p.model, exact};
  const std::vector series{p.y, p.y, p.y};
  const kalscan::omp split{2, 7};
  const auto all = kalscan::filter(split, models, series);
  const auto alone = kalscan::filter(split, p.model, p.y);
  CHECK(all[1].mean == alone.mean);
  CHECK(all[1].mean != kalscan::filter(kalscan::seq{}, p.model, p.y).mean);  // it was split
  CHECK(all[0].mean == kalscan::filter(kalscan::seq{}, exact, p.y).mean);
  CHECK(all[2].log_likelihood == all[0].log_likelihood);
}

}  // namespace
}  // namespace exact_omp_tests
