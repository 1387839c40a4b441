// SPDX-License-Identifier: MIT
// Filter and smoother of both back ends against the long double oracle, on random models of dynamic size.
#include <doctest/doctest.h>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "against_oracle.hpp"

namespace filter_smoother_tests {
namespace {

using Eigen::Dynamic;

TEST_CASE("filter and smoother agree with the oracle for n of 1 to 8 and m of 1 to n") {
  std::uint64_t seed = 100;
  for (Eigen::Index n = 1; n <= 8; ++n) {
    for (Eigen::Index m = 1; m <= n; m += unless_slow<Eigen::Index>(1, 3)) {
      check_every_policy<double, Dynamic, Dynamic>(n, m, unless_slow(40, 15), kinds[seed % kinds.size()], seed, double_bound);
      ++seed;
    }
  }
}

TEST_CASE("filter and smoother agree with the oracle at lengths around the chunks") {
  std::uint64_t seed = 400;
  for (const std::int64_t length : {1, 2, 6, 7, 8, 15, unless_slow(1031, 107)}) {
    check_every_policy<double, Dynamic, Dynamic>(4, 3, length, kinds[6], ++seed, double_bound);
  }
}

TEST_CASE("chunks so long that they forget the state before them agree with the oracle, in all of its components or in one") {
  auto problem = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, unless_slow(3000, 1500), {}, 11);
  for (const double second : {0.5, 1.0}) {  // a walk that nobody sees keeps what it had at first
    problem.model.F = Eigen::MatrixXd(Eigen::DiagonalMatrix<double, 2>(0.5, second));
    problem.model.Q = Eigen::MatrixXd(Eigen::DiagonalMatrix<double, 2>(1, 0));
    problem.model.H = Eigen::MatrixXd(Eigen::MatrixXd::Identity(1, 2));
    check_against_oracle(kalscan::omp{2, 1000}, problem, oracle::run(problem.model, problem.y), double_bound);
  }
}

TEST_CASE("a noise-free observation is filtered and smoothed, alike on both back ends") {
  auto problem = oracle::random_problem<double, Dynamic, Dynamic>(3, 1, 50, {}, 6);
  problem.model.R = Eigen::MatrixXd(Eigen::MatrixXd::Zero(1, 1));
  const auto expected = oracle::run(problem.model, problem.y);
  check_against_oracle(kalscan::seq{}, problem, expected, 1e-8);
  check_against_oracle(kalscan::omp{2, 7}, problem, expected, 1e-8);
  const auto f = kalscan::filter(kalscan::omp{2}, problem.model, problem.y);
  for (Eigen::Index t = 0; t < 50; ++t)
    CHECK((problem.model.H[t] * f.mean.col(t))(0) == doctest::Approx(problem.y(0, t)));
}

TEST_CASE("a batch of series of different lengths gives what each series gives alone") {
  const auto problem = oracle::random_problem<double, 2, 1>(2, 1, 100, {.missing = true}, 7);
  std::vector<kalscan::observations<double, 1>> batch;
  for (const Eigen::Index length : {100, 1, 37, 2, 64}) batch.push_back(problem.y.leftCols(length));
  for (const kalscan::omp p : {kalscan::omp{2, 0}, kalscan::omp{3, 10}, kalscan::omp{16, 0}}) {
    const auto results = kalscan::smooth(p, problem.model, std::span<const kalscan::observations<double, 1>>(batch));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto alone = kalscan::smooth(kalscan::seq{}, problem.model, batch[i]);
      CHECK(results[i].mean.cols() == batch[i].cols());
      CHECK((results[i].mean - alone.mean).cwiseAbs().maxCoeff() < 1e-12);
      CHECK(results[i].filtered.log_likelihood == doctest::Approx(alone.filtered.log_likelihood));
    }
  }
}

TEST_CASE("with a chunk fixed, the bits do not depend on the number of threads") {
  const auto problem = oracle::random_problem<double, Dynamic, Dynamic>(4, 3, 500, {.missing = true}, 9);
  const auto a = kalscan::smooth(kalscan::omp{1, 64}, problem.model, problem.y);
  for (const int threads : {2, 3, 8}) {
    const auto b = kalscan::smooth(kalscan::omp{threads, 64}, problem.model, problem.y);
    CHECK(a.mean == b.mean);
    CHECK(a.covariance == b.covariance);
    CHECK(a.filtered.log_likelihood == b.filtered.log_likelihood);
  }
}

TEST_CASE("a model or data that do not fit are refused by name and value") {
  using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
  const auto good = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 10, {.inputs = true}, 10);
  const auto refused = [&](auto change) {
    auto problem = good;
    change(problem.model, problem.y);
    return message_of([&] { return kalscan::filter(kalscan::seq{}, problem.model, problem.y); });
  };
  const auto starts = [](const std::string& text, const std::string& prefix) { return text.rfind(prefix, 0) == 0; };
  const Eigen::MatrixXd wide = Eigen::MatrixXd::Identity(2, 3);
  CHECK(refused([&](model_type& m, auto&) { m.F = wide; }) == "kalscan: F is 2 x 3, not 2 x 2");
  CHECK(refused([&](model_type& m, auto&) { m.H = Eigen::MatrixXd(Eigen::MatrixXd::Ones(1, 3)); }) ==
        "kalscan: H is 1 x 3, not 1 x 2");
  CHECK(refused([&](model_type& m, auto&) { m.R = Eigen::MatrixXd(Eigen::MatrixXd::Identity(2, 2)); }) ==
        "kalscan: R is 2 x 2, not 1 x 1");
  CHECK(refused([&](model_type& m, auto&) { m.R = Eigen::MatrixXd(Eigen::MatrixXd::Constant(1, 1, -2)); }) ==
        "kalscan: R has a negative variance: (0, 0) = -2");
  CHECK(refused([&](model_type& m, auto&) {
          m.Q = Eigen::MatrixXd{{1, 0.5}, {0.25, 1}};
        }) == "kalscan: Q is not symmetric: (1, 0) = 0.25, (0, 1) = 0.5");
  CHECK(starts(refused([&](model_type& m, auto&) {
                 m.Q = Eigen::MatrixXd{{1, 2}, {2, 1}};
               }),
               "kalscan: Q is not positive semi-definite"));
  CHECK(starts(refused([&](model_type& m, auto&) { m.Q = Eigen::MatrixXd{{0, 1}, {1, 5}}; }), "kalscan: Q is not"));
  CHECK(
      refused([&](model_type& m, auto&) { m.Q = std::vector<Eigen::MatrixXd>(4, Eigen::MatrixXd::Identity(2, 2)); }) ==
      "kalscan: Q is given for 4 steps, the data have 10: give one a step (F_t, Q_t and B_t lead to step t), or one "
      "for all");
  CHECK(refused([&](model_type& m, auto&) { m.u.conservativeResize(2, 7); }) ==
        "kalscan: u has 7 columns, the data have 10 steps: give one column a step");
  CHECK(refused([&](model_type& m, auto&) { m.prior.mean.resize(3); }) ==
        "kalscan: the prior's mean has size 3, not 2");
  CHECK(starts(refused([&](model_type& m, auto&) { m.prior.covariance = -Eigen::MatrixXd::Identity(2, 2); }),
               "kalscan: the prior's covariance has a negative variance"));
  CHECK(refused([&](model_type&, auto& y) { y.resize(2, 10); }) == "kalscan: y of series 0 has 2 rows, H has 1");
  CHECK(refused([&](model_type&, auto& y) { y.resize(1, 0); }) == "kalscan: y of series 0 is empty");
  CHECK(refused([&](model_type&, auto& y) { y(0, 4) = INFINITY; }) ==
        "kalscan: y of series 0 is infinite at component 0, step 4");
  CHECK(refused([&](model_type& m, auto&) { m.F = {}; }) == "kalscan: F is not given");
}

TEST_CASE("a step that overflows is reported with its index and reason, on both back ends") {
  auto problem = oracle::random_problem<double, Dynamic, Dynamic>(1, 1, 2000, {}, 11);
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(1, 1);
  problem.y.setConstant(std::numeric_limits<double>::quiet_NaN());
  problem.model.F = Eigen::MatrixXd(one * 1e3);  // the variance overflows after about 51 steps
  problem.model.prior = kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd(one), one);
  const auto first_failure = [&](const auto& p) -> std::int64_t {
    try {
      static_cast<void>(kalscan::filter(p, problem.model, problem.y));
    } catch (const kalscan::filter_error& error) {
      CHECK(std::string(error.what()).find("the filtered covariance is not finite") != std::string::npos);
      CHECK(error.series == 0);
      return error.step;
    }
    return -1;
  };
  const std::int64_t step = first_failure(kalscan::seq{});
  CHECK(step == 52);
  CHECK(first_failure(kalscan::omp{2, 10}) == step);
  CHECK(first_failure(kalscan::omp{2, 0}) == step);
}

TEST_CASE("an observation that contradicts a prediction without variance is reported") {
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(1, 1), zero = Eigen::MatrixXd::Zero(1, 1);
  const kalscan::kalman_model<double, Dynamic, Dynamic> model{
      one, zero, one, zero, kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd(zero), one)};
  kalscan::observations<double, Dynamic> y(1, 4);
  y << 2, 2, 2, 2;
  CHECK(kalscan::filter(kalscan::seq{}, model, y).mean(0, 3) == doctest::Approx(2));
  y(0, 2) = 3;
  CHECK_THROWS_WITH(static_cast<void>(kalscan::filter(kalscan::seq{}, model, y)),
                    "kalscan: series 0, step 2: the observation contradicts a prediction that has no variance");
}

}  // namespace
}  // namespace filter_smoother_tests
