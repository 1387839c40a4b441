// SPDX-License-Identifier: MIT
// Inputs that once failed some filter, as models of functions: right, in chunks of any length, or a status that says why
// not.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <kalscan/kalscan.hpp>
#include <random>
#include <vector>

#include "../instrument.hpp"
#include "by_functions.hpp"
#include "shared.hpp"

namespace function_cases_tests {
namespace {

using by_functions::model_type, by_functions::series_type;
using Eigen::Index, Eigen::MatrixXd, Eigen::Vector2d, Eigen::Vector3d, Eigen::VectorXd;
using prior_type = kalscan::gaussian_prior<double, Eigen::Dynamic>;
using kalscan::step_failure;
constexpr std::int64_t whole = 1'000'000;

MatrixXd identity(Index n) { return MatrixXd::Identity(n, n); }
MatrixXd number(double x) { return MatrixXd::Constant(1, 1, x); }

by_functions::outcome run(const model_type& model, const series_type& y, std::int64_t chunk = whole) {
  auto x = by_functions::smooth(model, y, chunk);
  CHECK(x.filter_failure == step_failure::none);
  return x;
}

/// The worst difference from the host's smoother, in its deviations and 1e-4.
double difference(const by_functions::outcome& x, const by_functions::result_type& expected) {
  double worst = 0;
  for (Index t = 0; t < expected.mean.cols(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    const auto of = [&](const MatrixXd& P, const MatrixXd& own, const VectorXd& mean, const VectorXd& own_mean) {
      for (Index k = 0; k < mean.size(); ++k) {
        const double sd = std::sqrt(P(k, k)) + 1e-4;
        worst = std::max({worst, std::abs(own_mean(k) - mean(k)) / sd, std::abs(own(k, k) - P(k, k)) / (sd * sd)});
      }
    };
    of(expected.covariance[i], x.smoothed.covariance[i], expected.mean.col(t), x.smoothed.mean.col(t));
    of(expected.filtered.covariance[i], x.smoothed.filtered.covariance[i], expected.filtered.mean.col(t),
       x.smoothed.filtered.mean.col(t));
  }
  return std::isfinite(worst) ? worst : 1e300;
}

TEST_CASE("functions: a level beside its own lag, all diffuse, is improper at the first step alone") {
  series_type y(1, 6);
  y << 1120, 1160, 963, 1210, 1160, 1160;
  const MatrixXd Q = Vector2d(1469.1, 0).asDiagonal();
  const model_type lagged{MatrixXd{{1, 0}, {1, 0}}, Q, MatrixXd{{1, 0}}, number(15099), prior_type::all_diffuse(2)};
  const auto level = kalscan::smooth(kalscan::seq{}, model_type{identity(1), number(1469.1), identity(1), number(15099), prior_type::all_diffuse(1)}, y);
  for (const std::int64_t chunk : {whole, std::int64_t{2}, std::int64_t{1}}) {
    const auto x = run(lagged, y, chunk);
    CHECK(x.smoother_failure == step_failure::none);
    CHECK(x.smoothed.filtered.diffuse.size() == 1);
    CHECK((x.smoothed.mean.row(0) - level.mean).norm() < 1e-8);
    CHECK(x.smoothed.filtered.log_likelihood == doctest::Approx(level.filtered.log_likelihood).epsilon(1e-12));
  }
}

TEST_CASE("functions: a noisy reading, then an exact one, of one direction that was diffuse") {
  for (const double w : {1.0, 3.0}) {
    std::vector<MatrixXd> H{MatrixXd{{1, w, 1}}, MatrixXd{{1, w, 1}}, MatrixXd{{1, 0, 0}}, MatrixXd{{0, 1, 0}}},
        R{number(1), number(0), number(1), number(1)};
    const auto model_with = [&] {
      return model_type{identity(3), MatrixXd(0 * identity(3)), H, R, prior_type::all_diffuse(3)};
    };
    series_type y{{1, 2, 3, 4}};
    for (const std::int64_t chunk : {whole, std::int64_t{1}}) {
      const auto x = by_functions::smooth(model_with(), y, chunk);
      CHECK(x.filter_failure == step_failure::none);
      const auto& f = x.smoothed.filtered;
      if (w == 1) CHECK(f.log_likelihood == doctest::Approx(-4.175754132818691).epsilon(1e-12));
      CHECK((f.mean.col(1) - (w == 1 ? Vector3d(2, 2, 2) / 3 : Vector3d(2, 6, 2) / 11)).norm() < 1e-12);
      CHECK((f.mean.col(3) - (w == 1 ? Vector3d(3, 4, -5) : Vector3d(3, 4, -13))).norm() < 1e-12);
      CHECK(x.smoother_failure != step_failure::none);
    }
    // What is read exactly and not moved has no finite information for the smoother, or for a chunk that starts late.
    const Eigen::Index late = kalscan::detail::steps_from_start;
    H.insert(H.begin(), static_cast<std::size_t>(late), H[0]), R.insert(R.begin(), static_cast<std::size_t>(late), R[0]);
    series_type later = series_type::Constant(1, late + 4, std::numeric_limits<double>::quiet_NaN());
    later.rightCols(4) = y;
    CHECK(by_functions::smooth(model_with(), later, whole).filter_failure == step_failure::none);
    CHECK(by_functions::smooth(model_with(), later, 1).filter_failure == step_failure::carry);
  }
}

TEST_CASE("functions: an exact constraint whose value is zero") {
  const model_type model{identity(2), MatrixXd{{0.1, -0.1}, {-0.1, 0.1}}, MatrixXd{{1, 1}, {1, 0}},
                         MatrixXd{{0, 0}, {0, 0.5}}, prior_type::of_first_state(Vector2d(0.3, 0.1), 2 * identity(2))};
  for (const double value : {0.0, 1.7}) {
    series_type y(2, 30);
    for (Index t = 0; t < 30; ++t) y.col(t) = Vector2d(value, 0.37 * static_cast<double>(t) - 0.11 * static_cast<double>(t * t));
    CHECK(difference(run(model, y), kalscan::smooth(kalscan::seq{}, model, y)) < 1e-7);
  }
  model_type input{number(0.5), number(1), number(0), number(0), prior_type::of_first_state(VectorXd::Zero(1), identity(1))};
  input.D = number(0.1), input.u = MatrixXd::Constant(1, 5, 3);
  run(input, series_type::Constant(1, 5, 0.3));
  CHECK(by_functions::smooth(input, series_type::Constant(1, 5, 0.31), whole).filter_failure == step_failure::contradiction);
}

TEST_CASE("functions: the log-likelihood of a model with a direction that is never seen") {
  const model_type model{identity(2), MatrixXd(Vector2d(0.1, 0.3).asDiagonal()), MatrixXd{{1, 1}}, number(1), prior_type::all_diffuse(2)};
  for (const std::int64_t chunk : {whole, std::int64_t{1}, std::int64_t{2}}) {
    CHECK(run(model, series_type{{1, 2, -1, 3}}, chunk).smoothed.filtered.log_likelihood == doctest::Approx(-8.93211199600843).epsilon(1e-13));
  }
}

TEST_CASE("functions: all states read exactly, again and again") {
  const MatrixXd H{{0.1, -0.1, 0.6}, {0.1, -0.5, 0.4}, {1.3, 0.9, -0.7}};
  model_type model{identity(3), MatrixXd(0 * identity(3)), H, MatrixXd(0 * identity(3)),
                   prior_type::of_first_state(VectorXd::Zero(3), identity(3))};
  series_type y = Vector3d(-0.07, 0.17, -2.23).replicate(1, 100);
  const auto x = run(model, y);
  CHECK(x.smoothed.filtered.log_likelihood == doctest::Approx(-2.82470287321961).epsilon(1e-12));
  for (std::size_t t = 1; t < 100; ++t) CHECK(x.smoothed.filtered.covariance[t].isZero(0));
  y(1, 99) += 0.1;
  CHECK(by_functions::smooth(model, y, whole).filter_failure == step_failure::contradiction);
  // Chunks know of no earlier data, and say so.
  CHECK(by_functions::smooth(model, y, 10).filter_failure == step_failure::carry);
}

TEST_CASE("functions: two equal sensors and a vague prior, at every step where Q is large beside R") {
  const model_type once{identity(1), number(0.013), MatrixXd{{1}, {1}}, MatrixXd(0.007 * identity(2)),
                        prior_type::of_first_state(VectorXd::Zero(1), number(1e14))};
  const auto x = run(once, Vector2d(6.0, 6.1));
  CHECK(x.smoothed.filtered.mean(0, 0) == doctest::Approx(6.05).epsilon(1e-12));
  CHECK(x.smoothed.filtered.covariance[0](0, 0) == doctest::Approx(0.0035).epsilon(1e-12));
  auto always = once;
  always.Q = number(1e14);
  const series_type y = Vector2d(6.0, 6.1).replicate(1, 20);
  for (const std::int64_t chunk : {whole, std::int64_t{3}}) {
    const auto all = run(always, y, chunk);
    CHECK(all.smoother_failure == step_failure::none);
    for (Index t = 0; t < 20; ++t) {
      CHECK(all.smoothed.mean(0, t) == doctest::Approx(6.05).epsilon(1e-12));
      CHECK(all.smoothed.covariance[static_cast<std::size_t>(t)](0, 0) == doctest::Approx(0.0035).epsilon(1e-12));
    }
  }
}

TEST_CASE("functions: a component that decays and is never moved is smoothed however long the series is") {
  std::mt19937_64 engine(7);
  std::normal_distribution<double> normal;
  series_type y(1, unless_slow(1200, 300));
  for (double& value : y.reshaped()) value = normal(engine);
  const model_type two{MatrixXd(Vector2d(1, 0.5).asDiagonal()), MatrixXd(Vector2d(0.1, 0).asDiagonal()), MatrixXd{{1, 1}},
                       number(0.5), prior_type::of_first_state(VectorXd::Zero(2), 2 * identity(2))};
  const auto expected = kalscan::smooth(kalscan::seq{}, two, y);
  const model_type one{number(0.5), number(0), number(1), number(1), prior_type::of_first_state(VectorXd::Zero(1), number(2))};
  for (const std::int64_t chunk : {whole, std::int64_t{50}}) {
    const auto x = run(two, y, chunk);
    CHECK(x.smoother_failure == step_failure::none);
    CHECK(difference(x, expected) < 1e-9);
    CHECK(run(one, y, chunk).smoothed.covariance[0](0, 0) == doctest::Approx(6.0 / 11).epsilon(1e-12));
  }
}

TEST_CASE("functions: rank-one noise over 20,000 steps costs digits") {
  std::mt19937_64 engine(8);
  std::normal_distribution<double> normal;
  const Index length = unless_slow(20000, 600);
  series_type y(2, length);
  Vector2d position(244, 183);
  for (Index t = 0; t < length; ++t) {
    position += Vector2d(normal(engine), normal(engine));
    y.col(t) = position + 2.6 * Vector2d(normal(engine), normal(engine));
  }
  MatrixXd F = identity(4);
  F(0, 2) = F(1, 3) = 1;
  const model_type model{F, MatrixXd(MatrixXd::Constant(4, 4, 0.1)), MatrixXd{{1, 0, 0, 0}, {0, 1, 0, 0}}, MatrixXd(7 * identity(2)),
                         prior_type::before_first_step(Eigen::Vector4d(244, 183, 0, 0), 500 * identity(4))};
  const double expected = kalscan::log_likelihood(kalscan::seq{}, kalscan::square_root{model}, y);
  for (const std::int64_t chunk : {whole, std::int64_t{500}}) {
    CHECK(run(model, y, chunk).smoothed.filtered.log_likelihood == doctest::Approx(expected).epsilon(1e-3));
  }
}

TEST_CASE("functions: units of diffuse regressors do not matter") {
  std::mt19937_64 engine(9);
  std::normal_distribution<double> normal;
  constexpr Index length = 30;
  const auto with_unit = [&](double unit) {
    std::vector<MatrixXd> H;
    std::mt19937_64 own(3);
    for (Index t = 0; t < length; ++t) H.push_back(MatrixXd{{1, 0, unit * normal(own), unit * normal(own)}});
    MatrixXd F = identity(4);
    F(0, 1) = 1;
    return model_type{F, MatrixXd(Eigen::Vector4d(0.1, 0.01, 0, 0).asDiagonal()), H, number(0.5), prior_type::all_diffuse(4)};
  };
  series_type y(1, length);
  for (double& value : y.reshaped()) value = normal(engine);
  const double unit = 0x1p-60;
  for (const std::int64_t chunk : {whole, std::int64_t{1}, std::int64_t{4}}) {
    normal.reset();
    const auto plain = run(with_unit(1), y, chunk);
    normal.reset();
    const auto scaled = run(with_unit(unit), y, chunk);
    CHECK(scaled.smoother_failure == step_failure::none);
    CHECK(plain.smoothed.filtered.diffuse.size() == scaled.smoothed.filtered.diffuse.size());
    const Eigen::Vector4d units(1, 1, unit, unit);
    for (Index t = 4; t < length; ++t) {
      CHECK((units.asDiagonal() * scaled.smoothed.mean.col(t) - plain.smoothed.mean.col(t)).norm() < 1e-9);
      CHECK((units.asDiagonal() * scaled.smoothed.filtered.mean.col(t) - plain.smoothed.filtered.mean.col(t)).norm() < 1e-9);
    }
  }
}

}  // namespace
}  // namespace function_cases_tests
