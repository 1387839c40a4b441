// SPDX-License-Identifier: MIT
// Random models of every kind, run by every policy and held against the oracle.
#pragma once

#include <doctest/doctest.h>

#include "oracle.hpp"

namespace {

using Eigen::Dynamic;

template <class Policy, class T, int N, int M>
void check_against_oracle(const Policy& p, const oracle::problem<T, N, M>& problem, const oracle::beliefs& expected,
                          double bound) {
  const auto s = kalscan::smooth(p, problem.model, problem.y, {.predictions = true, .innovations = true});
  const auto& f = s.filtered;
  CHECK(oracle::defect(f.predicted_mean, f.predicted_covariance, expected.predicted_mean,
                       expected.predicted_covariance) < bound);
  CHECK(oracle::defect(f.mean, f.covariance, expected.mean, expected.covariance) < bound);
  CHECK(oracle::defect(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance) < bound);
  const auto size = static_cast<double>(problem.y.cols()) + std::abs(static_cast<double>(expected.log_likelihood));
  CHECK(std::abs(static_cast<double>(f.log_likelihood) - static_cast<double>(expected.log_likelihood)) < bound * size);
  for (const auto& P : s.covariance) CHECK(P == P.transpose());
}

template <class T, int N, int M>
void check_every_policy(Eigen::Index n, Eigen::Index m, std::int64_t length, oracle::kind k, std::uint64_t seed,
                        double bound) {
  CAPTURE(n);
  CAPTURE(m);
  CAPTURE(length);
  CAPTURE(seed);
  const auto problem = oracle::random_problem<T, N, M>(n, m, length, k, seed);
  const auto expected = oracle::run(problem.model, problem.y);
  check_against_oracle(kalscan::seq{}, problem, expected, bound);
  for (const kalscan::omp p : {kalscan::omp{2, 0}, kalscan::omp{3, 7}, kalscan::omp{8, 1}, kalscan::omp{2, 1000}}) {
    CAPTURE(p.chunk);
    check_against_oracle(p, problem, expected, bound);
  }
}

constexpr double double_bound = 1e-10, float_bound = 2e-3;

const std::vector<oracle::kind> kinds = {
    {},
    {.varying = true},
    {.inputs = true},
    {.missing = true},
    {.singular_noise = true},
    {.before_first = true},
    {.varying = true, .inputs = true, .singular_noise = true, .missing = true, .before_first = true},
};

}  // namespace
