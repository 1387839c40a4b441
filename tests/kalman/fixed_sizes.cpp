// SPDX-License-Identifier: MIT
// The same with sizes fixed at compile time, and in float. One compiler compiles all of these: they take it minutes.
#include "against_oracle.hpp"

namespace fixed_sizes_tests {
namespace {

TEST_CASE("filter and smoother agree with the oracle with fixed sizes, for every kind of model") {
  std::uint64_t seed = 200;
  for (const auto& k : kinds) {
    check_every_policy<double, 2, 1>(2, 1, 60, k, ++seed, double_bound);
    check_every_policy<double, 4, 3>(4, 3, 60, k, ++seed, double_bound);
    check_every_policy<double, 3, Dynamic>(3, 2, 60, k, ++seed, double_bound);
  }
}

TEST_CASE("filter and smoother agree with the oracle in float") {
  std::uint64_t seed = 300;
  for (const auto& k : kinds) {
    check_every_policy<float, 2, 2>(2, 2, 60, k, ++seed, float_bound);
    check_every_policy<float, Dynamic, Dynamic>(3, 2, 60, k, ++seed, float_bound);
  }
}

TEST_CASE("filter and smoother agree with the oracle at lengths around the chunks, with fixed sizes") {
  std::uint64_t seed = 400;
  for (const std::int64_t length : {1, 2, 6, 7, 8, 15, 1031}) {
    check_every_policy<double, 2, 1>(2, 1, length, kinds[3], ++seed, double_bound);
    check_every_policy<double, 4, 3>(4, 3, length, kinds[6], ++seed, double_bound);
  }
}

TEST_CASE("a long series, split by the library itself, gives what the sequential filter gives") {
  const auto problem = oracle::random_problem<double, 4, 3>(4, 3, 20011, {.missing = true}, 5);
  const auto a = kalscan::smooth(kalscan::seq{}, problem.model, problem.y);
  for (const int threads : {2, 3, 5}) {
    const auto b = kalscan::smooth(kalscan::omp{threads}, problem.model, problem.y);
    CHECK((a.mean - b.mean).cwiseAbs().maxCoeff() < 1e-12);
    CHECK(std::abs(a.filtered.log_likelihood - b.filtered.log_likelihood) < 1e-8);
  }
}

TEST_CASE("the final belief, fed back as the prior of what follows, continues the filter") {
  const auto problem = oracle::random_problem<double, 4, 3>(4, 3, 80, {}, 8);
  const auto whole = kalscan::filter(kalscan::seq{}, problem.model, problem.y);
  const auto first = kalscan::filter(kalscan::seq{}, problem.model, problem.y.leftCols(30));
  auto rest = problem.model;
  rest.prior = kalscan::gaussian_prior<double, 4>::before_first_step(first.mean.col(29), first.covariance.back());
  const auto second = kalscan::filter(kalscan::seq{}, rest, problem.y.rightCols(50));
  CHECK(second.mean == whole.mean.rightCols(50));
  CHECK(first.log_likelihood + second.log_likelihood == doctest::Approx(whole.log_likelihood));
  CHECK(kalscan::log_likelihood(kalscan::omp{2}, problem.model, problem.y) == doctest::Approx(whole.log_likelihood));
}

}  // namespace
}  // namespace fixed_sizes_tests
