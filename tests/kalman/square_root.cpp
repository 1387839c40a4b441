// SPDX-License-Identifier: MIT
// The square-root form: against the oracles, where it must agree with the covariance form and where that one fails.
#include <doctest/doctest.h>

#include <algorithm>
#include <kalscan/kalman/square_root.hpp>
#include <kalscan/laws.hpp>

#include "../instrument.hpp"
#include "model_families.hpp"
#include "oracle.hpp"
#include "quad_oracle.hpp"
#include "rank_deficient.hpp"
#include "scalar_oracle.hpp"

namespace square_root_tests {
namespace {

using Eigen::Dynamic;
using rank_deficient::pushed_along_a_diagonal, rank_deficient::random_walk;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using data_type = kalscan::observations<double, Dynamic>;

constexpr kalscan::omp policies[] = {{2, 0}, {3, 7}, {8, 1}, {2, 1000}};

template <class Call>
void on_each_policy(Call call) {
  call(kalscan::seq{});
  for (const kalscan::omp& p : policies) {
    CAPTURE(p.chunk);
    call(p);
  }
}

}  // namespace

TEST_CASE("the root of a sum is one of X X' + Y Y', whichever rows and columns are zero") {
  std::mt19937_64 engine(3);
  for (int k = 0; k < 200; ++k) {
    const Eigen::Index n = 1 + k % 5;
    Eigen::MatrixXd X(n, n), Y(n, n);
    oracle::fill_normal(X, engine);
    oracle::fill_normal(Y, engine);
    for (Eigen::Index i = 0; i < n; ++i) {
      if (engine() % 3 == 0) X.row(i).setZero(), Y.row(i).setZero();
      if (engine() % 3 == 0) X.col(i).setZero();
      if (engine() % 3 == 0) Y.col(i).setZero();
    }
    const Eigen::MatrixXd root = kalscan::detail::root_of_sum(X, Y), sum = X * X.transpose() + Y * Y.transpose();
    CAPTURE(sum);
    CHECK((root * root.transpose() - sum).cwiseAbs().maxCoeff() < 1e-14 * (1 + sum.norm()));
  }
}

TEST_CASE("a row next to underflow leaves the rest of the root of a sum alone") {
  std::mt19937_64 engine(4);
  for (int k = 0; k < 200; ++k) {
    const Eigen::Index n = 2 + k % 4;
    Eigen::MatrixXf X(n, n), Y(n, n);
    oracle::fill_normal(X, engine);
    oracle::fill_normal(Y, engine);
    const auto tiny = static_cast<Eigen::Index>(engine() % static_cast<std::uint64_t>(n));
    X.row(tiny) *= 3e-45F, Y.row(tiny).setZero();
    const Eigen::MatrixXf root = kalscan::detail::root_of_sum(X, Y), sum = X * X.transpose() + Y * Y.transpose();
    CHECK((root * root.transpose() - sum).cwiseAbs().maxCoeff() < 4e-6F * sum.norm());
  }
}

TEST_CASE("the square-root form agrees with the oracle on models of every kind") {
  for (std::uint64_t seed = 1; seed <= model_families::at_most(60); ++seed) {
    CAPTURE(seed);
    const oracle::kind k{.varying = seed % 2 == 0,
                         .inputs = seed % 3 == 0,
                         .singular_noise = seed % 5 == 0,
                         .missing = seed % 7 < 3,
                         .before_first = seed % 4 == 0};
    const auto n = static_cast<Eigen::Index>(1 + seed % 5), m = static_cast<Eigen::Index>(1 + seed % 3);
    const auto problem = oracle::random_problem<double, Dynamic, Dynamic>(n, m, 40, k, seed);
    const auto expected = oracle::run(problem.model, problem.y);
    on_each_policy([&](const auto& p) {
      const auto s = kalscan::smooth(p, kalscan::square_root{problem.model}, problem.y,
                                     {.predictions = true, .innovations = true});
      const auto& f = s.filtered;
      CHECK(oracle::defect(f.predicted_mean, f.predicted_covariance, expected.predicted_mean,
                           expected.predicted_covariance) < 1e-11);
      CHECK(oracle::defect(f.mean, f.covariance, expected.mean, expected.covariance) < 1e-11);
      CHECK(oracle::defect(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance) < 1e-11);
      CHECK(std::abs(static_cast<double>(f.log_likelihood - expected.log_likelihood)) < 1e-10);
      for (std::size_t t = 0; t < s.covariance.size(); ++t) {
        const auto& U = f.covariance_root[t];
        CHECK((U * U.transpose() - f.covariance[t]).norm() <= 1e-14 * f.covariance[t].norm());
        CHECK((s.covariance[t].diagonal().array() <= f.covariance[t].diagonal().array() * (1 + 1e-13)).all());
      }
    });
  }
}

TEST_CASE("the square-root form on the families that joint formulas lose, read without noise in part") {
  for (const auto& family : model_families::all) {
    CAPTURE(family.name);
    const std::uint64_t count = model_families::at_most(family.count < 100 ? unless_slow(4U, 1U) : 30U);
    for (std::uint64_t seed = 1000; seed < 1000 + count; ++seed) {
      CAPTURE(seed);
      const auto p = model_families::draw(family.draw, seed);
      const auto expected = oracle::run_by_scalars(p);
      const oracle::real largest =
          std::sqrt(p.model.prior.covariance.diagonal().maxCoeff() + p.model.Q[0].diagonal().maxCoeff());
      const auto s = kalscan::smooth(kalscan::omp{2, 7}, kalscan::square_root{p.model}, p.y);
      const auto& f = s.filtered;
      CHECK(oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, largest) < 1e-8);
      CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                        largest) < 1e-8);
      CHECK(std::abs(static_cast<double>(f.log_likelihood - expected.log_likelihood)) <
            1e-8 * static_cast<double>(p.y.size() + std::abs(expected.log_likelihood)));
    }
  }
}

TEST_CASE("states that no sensor reads may grow to 1e16 times the others' variance in the square-root form") {
  for (std::uint64_t seed = 1000; seed < 1000 + model_families::at_most(40); ++seed) {
    CAPTURE(seed);
    const auto p = model_families::draw(model_families::growing(16, false), seed);
    const auto expected = oracle::run_by_scalars(p);
    const auto s = kalscan::smooth(kalscan::omp{2, 7}, kalscan::square_root{p.model}, p.y);
    CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance, 0) <
          1e-7);
    CHECK(std::abs(static_cast<double>(s.filtered.log_likelihood - expected.log_likelihood)) < 1e-7);
  }
}

// Digits, over so many steps that an instrument takes a minute: it has seen the same code at work above.
TEST_CASE("20,000 steps with a rank-deficient Q: the square-root form keeps the digits of the log-likelihood" *
          doctest::skip(under_an_instrument())) {
  const auto y = random_walk(20'000);
  const auto expected = quad::run(pushed_along_a_diagonal<double>(), y, false);
  const auto error = [&](const auto& result) {
    return std::abs(static_cast<double>(result.log_likelihood - expected.log_likelihood));
  };
  on_each_policy([&](const auto& p) {
    const auto model = pushed_along_a_diagonal<double>();
    const auto f = kalscan::filter(p, kalscan::square_root{model}, y);
    CHECK(error(f) < 1e-5);
    CHECK(quad::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance) < 1e-8);
  });
  // The covariance form loses half of them.
  CHECK(error(kalscan::filter(kalscan::seq{}, pushed_along_a_diagonal<double>(), y)) > 1e-2);
}

TEST_CASE("20,000 steps in float: the square-root form follows where the covariance form is lost" *
          doctest::skip(under_an_instrument())) {
  const auto surprising = random_walk(20'000), likely = rank_deficient::likely_walk(20'000);
  const auto model = pushed_along_a_diagonal<float>();
  for (const auto& [y, bound] : {std::pair{likely, 0.05}, std::pair{surprising, 3.0}}) {
    const auto expected = quad::run(pushed_along_a_diagonal<double>(), y, false);
    for (const kalscan::omp& p : {kalscan::omp{1, 100'000}, kalscan::omp{2, 0}, kalscan::omp{2, 6'000}}) {
      CAPTURE(p.chunk);
      const auto f = kalscan::filter(p, kalscan::square_root{model}, y.cast<float>().eval());
      CHECK(quad::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance) < bound);
      for (const auto& P : f.covariance) CHECK(P.diagonal().minCoeff() >= 0);
    }
  }
}

TEST_CASE("in float a Q that is given once and one that is given for each step are the same model") {
  using float_model = kalscan::kalman_model<float, Dynamic, Dynamic>;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    const auto p = oracle::random_problem<float, Dynamic, Dynamic>(4, 2, 20, {}, seed);
    float_model given = p.model;
    const Eigen::MatrixXf Q = given.Q[0];
    given.Q = std::vector<Eigen::MatrixXf>(20, Q);
    const auto once = kalscan::filter(kalscan::seq{}, kalscan::square_root{p.model}, p.y);
    const auto each = kalscan::filter(kalscan::seq{}, kalscan::square_root{given}, p.y);
    CHECK(each.covariance == once.covariance);
    CHECK(each.mean == once.mean);
  }
}

TEST_CASE("what only all of the data tell to a millionth of the prior's deviation is smoothed in float as roots") {
  auto y = random_walk(unless_slow(6000, 1000));
  std::mt19937_64 engine(9);
  std::normal_distribution<double> normal;
  for (auto& value : y.reshaped()) value = static_cast<float>(2.6 * normal(engine));
  const auto expected = quad::run(pushed_along_a_diagonal<double>(), y, true);
  const auto model = pushed_along_a_diagonal<float>();
  for (const kalscan::omp& p : {kalscan::omp{1, 100'000}, kalscan::omp{2, 100}}) {
    CAPTURE(p.chunk);
    const auto s = kalscan::smooth(p, kalscan::square_root{model}, y.cast<float>().eval());
    CHECK(quad::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance) < 0.02);
  }
}

TEST_CASE("an unstable state without noise is smoothed as roots over any number of steps") {
  const auto check = [](auto number, double tolerance) {
    using T = decltype(number);
    using matrix = Eigen::Matrix<T, Dynamic, Dynamic>;
    const matrix one = matrix::Identity(1, 1);
    const kalscan::kalman_model<T, Dynamic, Dynamic> model{
        matrix(2 * one), matrix(0 * one), one, one,
        kalscan::gaussian_prior<T, Dynamic>::of_first_state(Eigen::Vector<T, Dynamic>::Zero(1), one)};
    const auto s = kalscan::smooth(kalscan::omp{2, 500}, kalscan::square_root{model}, matrix(matrix::Zero(1, 3000)));
    CHECK(s.mean.cwiseAbs().maxCoeff() == 0);
    CHECK(s.covariance.back()(0, 0) == doctest::Approx(0.75).epsilon(tolerance));
    CHECK(s.covariance[2998](0, 0) == doctest::Approx(0.1875).epsilon(tolerance));
    CHECK(s.covariance[0](0, 0) < static_cast<T>(tolerance));
  };
  check(1.0, 1e-12);
  check(1.0F, 1e-5);
}

TEST_CASE(
    "vague priors and precise sensors of mixed directions: the square-root form loses no more than the root of their "
    "ratio") {
  for (std::uint64_t seed = 1; seed <= unless_slow(100U, 12U); ++seed) {
    CAPTURE(seed);
    std::mt19937_64 engine(seed);
    const auto n = static_cast<Eigen::Index>(2 + seed % 4), m = static_cast<Eigen::Index>(1 + seed % 3);
    Eigen::MatrixXd F(n, n), H(m, n);
    Eigen::VectorXd mean(n);
    oracle::fill_normal(F, engine), oracle::fill_normal(H, engine), oracle::fill_normal(mean, engine);
    F = (F * (0.9 / F.norm())).eval();
    const double vague = seed % 2 == 0 ? 1e14 : 1e7, bound = 1e-13 * std::sqrt(vague / 1e-2);
    const model_type model{
        F, oracle::random_covariance(n, n, engine) * 1e-3, H, Eigen::MatrixXd::Identity(m, m) * 1e-2,
        kalscan::gaussian_prior<double, Dynamic>::of_first_state(mean, Eigen::MatrixXd::Identity(n, n) * vague)};
    data_type y(m, 12);
    oracle::fill_normal(y, engine);
    const auto expected = quad::run(model, y, true);
    on_each_policy([&](const auto& p) {
      const auto s = kalscan::smooth(p, kalscan::square_root{model}, y);
      const auto& f = s.filtered;
      CHECK(quad::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance) < bound);
      CHECK(quad::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance) <
            bound);
      CHECK(std::abs(static_cast<double>(f.log_likelihood - expected.log_likelihood)) < bound);
    });
  }
}

TEST_CASE("square-root elements form a monoid") {
  using element = kalscan::square_root_element<double, Dynamic>;
  for (const Eigen::Index n : {1, 2, 5}) {
    CAPTURE(n);
    const auto draw = [n](std::mt19937_64& engine) {
      Eigen::MatrixXd A(n, n), U(n, n), Z(n, n);
      Eigen::VectorXd b(n), w(n);
      oracle::fill_normal(A, engine), oracle::fill_normal(U, engine), oracle::fill_normal(Z, engine);
      oracle::fill_normal(b, engine), oracle::fill_normal(w, engine);
      const auto of_any_rank = [&](Eigen::MatrixXd& x) {
        x.rightCols(static_cast<Eigen::Index>(engine() % static_cast<unsigned>(n + 1))).setZero();
      };
      of_any_rank(U), of_any_rank(Z);
      return element{A * (0.95 / A.norm()), b, U, Z.triangularView<Eigen::Lower>(), w};
    };
    // Roots are free up to a rotation: what counts is U U', Z Z' and Z w.
    const auto apart = [](const element& x, const element& y) {
      const auto far = [](const auto& p, const auto& q) { return (p - q).norm() / (1 + p.norm()); };
      return std::max({far(x.A, y.A), far(x.b, y.b),
                       far((x.U * x.U.transpose()).eval(), (y.U * y.U.transpose()).eval()),
                       far((x.Z * x.Z.transpose()).eval(), (y.Z * y.Z.transpose()).eval()),
                       far((x.Z * x.w).eval(), (y.Z * y.w).eval())});
    };
    const auto laws = kalscan::check_monoid(kalscan::square_root_monoid<double, Dynamic>{n}, draw,
                                            kalscan::within(1e-11, apart), {.trials = unless_slow<std::size_t>(100, 20)});
    CHECK_MESSAGE(laws, laws.message());
  }
}

TEST_CASE("an exact reading, repeated, in square-root form: no variance is left, and it adds nothing") {
  Eigen::MatrixXd H(3, 3);
  H << .1, -.1, .6, .1, -.5, .4, 1.3, .9, -.7;
  const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(3, 3), none = Eigen::MatrixXd::Zero(3, 3);
  const model_type model{I, none, H, none,
                         kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd::Zero(3), I)};
  data_type y(3, 6);
  y.colwise() = Eigen::Vector3d(-.07, .17, -2.23);
  const auto f = kalscan::filter(kalscan::omp{2, 2}, kalscan::square_root{model}, y);
  CHECK(std::abs(f.log_likelihood - -2.82470287321961) < 1e-12);
  CHECK(f.covariance.back().norm() < 1e-14);
  auto contradicted = y;
  contradicted(1, 4) += 1e-3;
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::filter(kalscan::seq{}, kalscan::square_root{model}, contradicted)),
                       "kalscan: series 0, step 4: the observation contradicts a prediction that has no variance",
                       kalscan::filter_error);
}
}  // namespace square_root_tests
