// SPDX-License-Identifier: MIT
// Models on the edge: covariances without full rank, observations without noise, sensors far better than the prior.
#include <doctest/doctest.h>

#include "oracle.hpp"

namespace degenerate_tests {
namespace {

using Eigen::Dynamic;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using prior_type = kalscan::gaussian_prior<double, Dynamic>;
using series_type = kalscan::observations<double, Dynamic>;

Eigen::MatrixXd normal(Eigen::Index rows, Eigen::Index cols, std::mt19937_64& engine) {
  Eigen::MatrixXd x(rows, cols);
  oracle::fill_normal(x, engine);
  return x;
}

TEST_CASE("a prior of any rank and noise-free observations: consistent data are filtered and smoothed") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 engine(seed);
    const Eigen::Index n = 2 + static_cast<Eigen::Index>(seed % 3), m = 1 + static_cast<Eigen::Index>(seed % 2);
    const Eigen::Index rank = 1 + static_cast<Eigen::Index>(seed % static_cast<std::uint64_t>(n));
    const Eigen::MatrixXd root = normal(n, rank, engine), H = normal(m, n, engine);
    const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(n, n), P = root * root.transpose();
    const model_type model{I, Eigen::MatrixXd(0 * I), H, Eigen::MatrixXd(Eigen::MatrixXd::Zero(m, m)),
                           prior_type::of_first_state(Eigen::VectorXd::Zero(n), P)};
    const Eigen::VectorXd x = root * normal(rank, 1, engine);
    const series_type y = (H * x).replicate(1, 6);
    for (const int threads : {0, 2}) {
      const auto s =
          threads ? kalscan::smooth(kalscan::omp{threads, 2}, model, y) : kalscan::smooth(kalscan::seq{}, model, y);
      CHECK((H * s.filtered.mean.col(0) - y.col(0)).norm() < 1e-9);
      CHECK((s.mean.col(0) - s.mean.col(5)).norm() < 1e-6);
      if (rank <= m) CHECK((s.mean.col(0) - x).norm() < 1e-6);
    }
  }
}

/// What is read exactly at each step is known, and adds nothing, however long it is read; another value contradicts.
template <class T>
void check_repeated(Eigen::Index steps) {
  using matrix = Eigen::Matrix<T, Dynamic, Dynamic>;
  const matrix H = Eigen::MatrixXd{{0.1, -0.1, 0.6}, {0.1, -0.5, 0.4}, {1.3, 0.9, -0.7}}.cast<T>();
  const matrix I = matrix::Identity(3, 3), zero = matrix::Zero(3, 3);
  const kalscan::kalman_model<T, Dynamic, Dynamic> model{
      I, zero, H, zero,
      kalscan::gaussian_prior<T, Dynamic>::of_first_state(Eigen::Vector<T, Dynamic>::Zero(3), I)};
  const kalscan::observations<T, Dynamic> y = Eigen::Vector3d(-0.07, 0.17, -2.23).cast<T>().replicate(1, steps);
  const auto f = kalscan::filter(kalscan::seq{}, model, y);
  for (std::size_t t = 1; t < f.covariance.size(); ++t) {
    CHECK(f.log_likelihood_terms[t] == 0);
    CHECK(f.covariance[t].isZero(0));
  }
  auto contradictory = y;
  contradictory(1, steps - 1) += T(0.1);
  CHECK_THROWS_AS(static_cast<void>(kalscan::filter(kalscan::seq{}, model, contradictory)), kalscan::filter_error);
}

TEST_CASE("the whole state read exactly stays known, also beyond the beginning and in float") {
  check_repeated<double>(100);
  check_repeated<float>(20);
}

TEST_CASE("a belief of rank one that rotates stays a belief") {
  for (int k = 1; k < 30; ++k) {
    CAPTURE(k);
    const double c = std::cos(0.1 * k), s = std::sin(0.1 * k);
    const Eigen::Vector2d a(0.1, 0.9);
    const model_type model{Eigen::MatrixXd{{c, s}, {-s, c}}, Eigen::MatrixXd(Eigen::MatrixXd::Zero(2, 2)),
                           Eigen::MatrixXd{{1, 0.5}}, Eigen::MatrixXd(Eigen::MatrixXd::Ones(1, 1)),
                           prior_type::of_first_state(Eigen::Vector2d::Zero(), a * a.transpose())};
    const series_type y = series_type::Ones(1, 20);
    const auto expected = oracle::run(model, y);
    const auto f = kalscan::smooth(kalscan::seq{}, model, y).filtered;
    CHECK(oracle::defect(f.mean, f.covariance, expected.mean, expected.covariance) < 1e-9);
  }
}

TEST_CASE("two sensors far better than the prior are noise, not contradictions, in float") {
  std::mt19937_64 engine(1);
  for (int trial = 0; trial < 100; ++trial) {
    const Eigen::MatrixXf one = Eigen::MatrixXf::Ones(1, 1);
    const kalscan::kalman_model<float, Dynamic, Dynamic> model{
        one, one, Eigen::MatrixXf(Eigen::MatrixXf::Ones(2, 1)), Eigen::MatrixXf(0.1F * Eigen::MatrixXf::Identity(2, 2)),
        kalscan::gaussian_prior<float, Dynamic>::of_first_state(Eigen::VectorXf::Zero(1), one * 1e6F)};
    kalscan::observations<float, Dynamic> y(2, 3);
    oracle::fill_normal(y, engine);
    const auto f = kalscan::filter(kalscan::seq{}, model, y);
    CHECK(std::abs(f.mean(0, 0) - y.col(0).mean()) < 0.5F);
  }
}

TEST_CASE("a diffuse prior, noise-free observations and gaps: the limit of a large variance") {
  const model_type model{Eigen::MatrixXd{{1, 1}, {0, 1}}, Eigen::MatrixXd{{0.5, 0.1}, {0.1, 0.2}},
                         Eigen::MatrixXd{{1, 0}}, Eigen::MatrixXd(Eigen::MatrixXd::Zero(1, 1)),
                         prior_type::all_diffuse(2)};
  series_type y(1, 30);
  for (Eigen::Index t = 0; t < 30; ++t) y(0, t) = 3 * std::sin(static_cast<double>(t)) + static_cast<double>(t);
  y(0, 0) = y(0, 5) = NAN;
  auto wide = oracle::convert<oracle::real, Dynamic, Dynamic>(model);
  wide.prior = kalscan::gaussian_prior<oracle::real, Dynamic>::of_first_state(oracle::vector::Zero(2),
                                                                              oracle::matrix::Identity(2, 2) * 1e6L);
  const auto expected = oracle::run(wide, oracle::matrix(y.cast<oracle::real>()));
  for (const int chunk : {30, 7}) {
    const auto s = kalscan::smooth(kalscan::omp{2, chunk}, model, y);
    for (std::size_t t = 0; t < 30; ++t) {
      CHECK((s.mean.col(static_cast<Eigen::Index>(t)).cast<oracle::real>() - expected.smoothed_mean[t]).norm() < 1e-5L);
      CHECK((s.covariance[t].cast<oracle::real>() - expected.smoothed_covariance[t]).norm() < 1e-5L);
    }
  }
}

TEST_CASE("a variance that is not zero but tiny counts") {
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(1, 1);
  const model_type model{one, one, one, Eigen::MatrixXd(one * 1e-30),
                         prior_type::of_first_state(Eigen::VectorXd::Zero(1), one)};
  const series_type y = series_type::Constant(1, 3, 2.0);
  const auto f = kalscan::filter(kalscan::seq{}, model, y);
  CHECK(f.covariance[2](0, 0) == doctest::Approx(1e-30));
}

TEST_CASE("a batch may be a vector of series; a missing component has no innovation") {
  const auto p = oracle::random_problem<double, Dynamic, Dynamic>(2, 2, 10, {.missing = true}, 3);
  const std::vector<series_type> batch{p.y, p.y.leftCols(4)};
  const auto f = kalscan::filter(kalscan::omp{2}, p.model, batch, {.innovations = true});
  CHECK(kalscan::smooth(kalscan::omp{2}, p.model, batch).size() == 2);
  for (Eigen::Index t = 0; t < 10; ++t) {
    for (Eigen::Index i = 0; i < 2; ++i) {
      CHECK(std::isnan(f[0].innovation(i, t)) == std::isnan(p.y(i, t)));
    }
  }
}

TEST_CASE("sizes that fit no model are refused") {
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(1, 1), wide = Eigen::MatrixXd::Ones(1, 3),
                        two = Eigen::MatrixXd::Identity(2, 2);
  const series_type y = series_type::Ones(1, 3);
  using fixed = kalscan::kalman_model<double, 2, 1>;
  const auto prior = kalscan::gaussian_prior<double, 2>::of_first_state(Eigen::Vector2d::Zero(), two);
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::filter(kalscan::seq{}, fixed{two, two, wide, one, prior}, y)),
                       "kalscan: H is 1 x 3, not 1 x 2", std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      (static_cast<void>(kalscan::gaussian_prior<double, 2>::of_first_state(Eigen::VectorXd::Zero(3), two))),
      "kalscan: the prior's mean is 3 x 1 and its covariance 2 x 2, not 2 x 1 and 2 x 2", std::invalid_argument);
  const Eigen::MatrixXd none(0, 0);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(kalscan::filter(
          kalscan::seq{}, model_type{none, none, Eigen::MatrixXd(1, 0), one, prior_type::all_diffuse(0)}, y)),
      "kalscan: the model has 0 states and 1 observed components", std::invalid_argument);
  const model_type level{one, one, one, one, prior_type::of_first_state(Eigen::VectorXd::Zero(1), one)};
  std::vector filtered{kalscan::filter(kalscan::seq{}, level, y)};
  const model_type other{two, two, Eigen::MatrixXd(wide.leftCols(2)), one,
                         prior_type::of_first_state(Eigen::Vector2d::Zero(), two)};
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::smooth(kalscan::seq{}, other, filtered)),
                       "kalscan: the filter result of series 0 has 1 states, the model 2", std::invalid_argument);
  filtered[0].covariance.clear();
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::smooth(kalscan::seq{}, level, filtered)),
                       "kalscan: the filter result of series 0 has 0 covariances and 3 means", std::invalid_argument);
  auto unused = level;
  unused.u = one;
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::filter(kalscan::seq{}, unused, y)),
                       "kalscan: u is given, B and D are not: give B (n x k) or D (m x k), or leave u out",
                       std::invalid_argument);
  auto infinite = level;
  infinite.F = Eigen::MatrixXd(one * INFINITY);
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::filter(kalscan::seq{}, infinite, y)),
                       "kalscan: F is not finite: (0, 0) = inf", std::invalid_argument);
}

}  // namespace
}  // namespace degenerate_tests
