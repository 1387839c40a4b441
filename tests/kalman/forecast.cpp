// SPDX-License-Identifier: MIT
// Predictions of the state and of y: at the data's own steps, and beyond.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "diffuse_families.hpp"
#include "oracle.hpp"
#include "shared.hpp"

namespace forecast_tests {
namespace {

using Eigen::Dynamic;
using Eigen::Index;
using matrix = Eigen::MatrixXd;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using data_type = kalscan::observations<double, Dynamic>;

constexpr oracle::kind kinds[] = {
    {},
    {.missing = true},
    {.varying = true, .inputs = true, .missing = true},
    {.varying = true, .inputs = true, .singular_noise = true, .missing = true, .before_first = true}};

double apart(const matrix& x, const matrix& y) {
  if (x.rows() != y.rows() || x.cols() != y.cols()) return 1;
  return (x - y).cwiseAbs().maxCoeff() / (1e-3 + y.cwiseAbs().maxCoeff());
}

/// The worst relative difference of a forecast from what the filter says of as many missing readings.
double difference(const kalscan::forecast_result<double, Dynamic, Dynamic>& ahead, const model_type& model, data_type y,
                  Index length) {
  const Index steps = y.cols() - length;
  y.rightCols(steps).setConstant(std::numeric_limits<double>::quiet_NaN());
  const auto f = kalscan::filter(kalscan::seq{}, model, y, {.predictions = true, .innovations = true});
  if (ahead.mean.cols() != steps || std::ssize(ahead.covariance) != steps || std::ssize(ahead.y_covariance) != steps)
    return 1;
  const Index improper = std::max<Index>(std::ssize(f.diffuse) - length, 0);
  if (std::ssize(ahead.diffuse) != improper || std::ssize(ahead.y_diffuse) != improper) return 1;
  double worst = 0;
  for (Index s = 0; s < steps; ++s) {
    const auto i = static_cast<std::size_t>(s), j = static_cast<std::size_t>(length + s);
    worst =
        std::max({worst, apart(ahead.mean.col(s), f.mean.col(length + s)), apart(ahead.covariance[i], f.covariance[j]),
                  apart(ahead.y_mean.col(s), f.predicted_y.col(length + s)),
                  apart(ahead.y_covariance[i], f.innovation_covariance[j])});
    if (s >= improper) continue;
    const matrix& H = model.H[length + s];
    worst = std::max(worst, apart(ahead.diffuse[i], f.diffuse[j]));
    const double scale = H.cwiseAbs2().maxCoeff() * f.diffuse[j].cwiseAbs().maxCoeff();
    worst = std::max(worst, (ahead.y_diffuse[i] - H * f.diffuse[j] * H.transpose()).cwiseAbs().maxCoeff() / scale);
  }
  return std::isfinite(worst) ? worst : 1;
}

TEST_CASE("the mean of y is predicted at every step, of missing components too") {
  std::uint64_t seed = 1;
  for (const auto& k : kinds) {
    const auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(3, 2, 30, k, ++seed);
    const auto check = [&model = model, &y = y](const auto& f) {
      for (Index t = 0; t < y.cols(); ++t) {
        Eigen::VectorXd expected = model.H[t] * f.predicted_mean.col(t);
        if (!model.D.empty()) expected += model.D[t] * model.u.col(t);
        CHECK(apart(f.predicted_y.col(t), expected) < 1e-14);
        for (Index i = 0; i < y.rows(); ++i) {
          if (std::isnan(y(i, t))) {
            CHECK(std::isnan(f.innovation(i, t)));
          } else {
            CHECK(f.innovation(i, t) == y(i, t) - f.predicted_y(i, t));
          }
        }
      }
    };
    check(kalscan::filter(kalscan::seq{}, model, y, {.predictions = true, .innovations = true}));
    check(kalscan::filter(kalscan::omp{2, 7}, model, y, {.predictions = true, .innovations = true}));
  }
}

TEST_CASE("a forecast is what the filter gives for missing readings") {
  std::uint64_t seed = 50;
  for (const auto& k : kinds) {
    for (const Index steps : {0, 1, 12}) {
      CAPTURE(steps);
      const auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(3, 2, 30, k, ++seed);
      const Index length = y.cols() - steps;
      const auto f = kalscan::filter(kalscan::seq{}, model.steps(0, length), y.leftCols(length));
      CHECK(difference(kalscan::forecast(model, f, steps), model, y, length) < 1e-13);
      const auto s = kalscan::smooth(kalscan::omp{2, 9}, model.steps(0, length), y.leftCols(length));
      CHECK(difference(kalscan::forecast(model, s, steps), model, y, length) < 1e-12);
    }
  }
}

TEST_CASE("a forecast from an improper belief says what is still unknown, of the state and of y") {
  int improper = 0;
  for (const auto& family : diffuse_families::all) {
    CAPTURE(family.name);
    for (std::uint64_t seed = 100; seed < unless_slow(140U, 106U); ++seed) {
      CAPTURE(seed);
      diffuse_families::source draw(seed);
      const auto [model, y] = family.make(draw);
      for (const Index length : {Index(1), y.cols() / 2}) {
        const auto f = kalscan::filter(kalscan::seq{}, model.steps(0, length), y.leftCols(length));
        const auto ahead = kalscan::forecast(model, f, y.cols() - length);
        improper += ahead.diffuse.empty() ? 0 : 1;
        CHECK(difference(ahead, model, y, length) < 1e-9);
      }
    }
  }
  CHECK(improper > unless_slow(100, 15));
}

TEST_CASE("of a trend seen once, level and slope of the forecast are unknown, and what of y depends on them") {
  const matrix H{{1, 0}, {2, 0}, {0, 0}};
  const model_type model{matrix{{1, 1}, {0, 1}}, matrix(matrix::Zero(2, 2)), H, matrix(matrix::Identity(3, 3)),
                         kalscan::gaussian_prior<double, Dynamic>::all_diffuse(2)};
  const auto f = kalscan::filter(kalscan::seq{}, model, data_type(data_type::Ones(3, 1)));
  CHECK(f.improper_components(0) == std::vector<Index>{1});
  const auto ahead = kalscan::forecast(model, f, 2);
  CHECK(ahead.improper_components(0) == std::vector<Index>{0, 1});
  CHECK(ahead.improper_y_components(1) == std::vector<Index>{0, 1});
  CHECK(ahead.y_mean(2, 0) == 0);
  CHECK(ahead.y_covariance[0](2, 2) == 1);
}

TEST_CASE("what y and the state no longer depend on but for rounding is not unknown") {
  // 0.1 + 0.2 - 0.3 is 5.6e-17.
  const matrix forget{{1, 1, -1}, {0, 0, 0}, {0, 0, 0}};
  model_type model{
      matrix(matrix::Identity(3, 3)), matrix(matrix::Zero(3, 3)), matrix{{1, 1, -1}}, matrix(matrix::Identity(1, 1)),
      kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd::Zero(3), matrix::Identity(3, 3))};
  model.prior.directions = Eigen::Vector3d(.1, .2, .3);
  const data_type missing = data_type::Constant(1, 1, std::numeric_limits<double>::quiet_NaN());
  const auto f = kalscan::filter(kalscan::seq{}, model, missing);
  CHECK(f.improper_components(0).size() == 3);
  CHECK(kalscan::forecast(model, f, 1).improper_components(0).size() == 3);
  CHECK(kalscan::forecast(model, f, 1).improper_y_components(0).empty());
  model.F = forget;
  CHECK(kalscan::forecast(model, f, 1).diffuse.empty());
}

TEST_CASE(
    "what is read is predicted with its own digits where it is known far better than the states it is the sum of") {
  // Two random walks of which the sum alone is read, and the sum by itself.
  const matrix I = matrix::Identity(2, 2), one = matrix::Identity(1, 1);
  const auto walk = [](const matrix& F, const matrix& Q, const matrix& H, double prior) {
    const auto n = F.rows();
    return model_type{F, Q, H, matrix::Constant(1, 1, 0.5),
                      kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd::Zero(n),
                                                                               prior * matrix::Identity(n, n))};
  };
  const model_type two = walk(I, I, matrix{{1, 0.5}}, 1e14), sum = walk(one, 1.25 * one, one, 1.25e14);
  const data_type y{{3, 5, 4, std::nan(""), 7, 6, 8, 9, 7, 6}};
  const auto check = [&](const auto& of_two, const auto& of_sum) {
    for (Index t = 1; t < y.cols(); ++t) {
      CAPTURE(t);
      const auto i = static_cast<std::size_t>(t);
      CHECK(apart(of_two.innovation_covariance[i], of_sum.innovation_covariance[i]) < 1e-6);
    }
    const auto ahead = kalscan::forecast(two, of_two, 5), expected = kalscan::forecast(sum, of_sum, 5);
    for (std::size_t i = 0; i < 5; ++i) CHECK(apart(ahead.y_covariance[i], expected.y_covariance[i]) < 1e-6);
  };
  constexpr kalscan::filter_outputs outputs{.innovations = true};
  check(kalscan::filter(kalscan::seq{}, two, y, outputs), kalscan::filter(kalscan::seq{}, sum, y, outputs));
  check(kalscan::filter(kalscan::omp{2, 3}, kalscan::square_root{two}, y, outputs),
        kalscan::filter(kalscan::seq{}, kalscan::square_root{sum}, y, outputs));
}

TEST_CASE("a forecast that does not fit is refused by name and value") {
  const auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 10, {.varying = true}, 1);
  const auto f = kalscan::filter(kalscan::seq{}, model, y);
  const auto refused = [&f = f](const model_type& m, std::int64_t steps) {
    return message_of([&] { static_cast<void>(kalscan::forecast(m, f, steps)); });
  };
  CHECK(refused(model, 3) ==
        "kalscan: F is given for 10 steps, data and forecast have 13: give one a step (F_t, Q_t and B_t lead to step "
        "t), or one for all");
  CHECK(refused(model, -1) == "kalscan: the forecast is of -1 steps");
  CHECK(refused(model, 0) == "no std::invalid_argument");
  const auto other = oracle::random_problem<double, Dynamic, Dynamic>(3, 1, 10, {}, 1).model;
  CHECK(refused(other, 3) == "kalscan: the filter result has 2 states, the model 3");
  auto explosive = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 10, {}, 1).model;
  explosive.F = matrix(matrix::Identity(2, 2) * 1e200);
  CHECK_THROWS_WITH_AS(static_cast<void>(kalscan::forecast(explosive, f, 3)),
                       "kalscan: series 0, step 10: the prediction is not finite", kalscan::filter_error);
}

}  // namespace
}  // namespace forecast_tests
