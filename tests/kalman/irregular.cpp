// SPDX-License-Identifier: MIT
// States that are read far more precisely than noise moves them, at very unequal times, and far from 0.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "scalar_oracle.hpp"

namespace irregular_tests {
namespace {

using Eigen::Dynamic, Eigen::Index, Eigen::MatrixXd, Eigen::VectorXd;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using prior_type = kalscan::gaussian_prior<double, Dynamic>;
using problem_type = oracle::problem<double, Dynamic, Dynamic>;

/// A position, its velocity and further derivatives, n in all, over time d.
MatrixXd derivatives(Index n, double d) {
  MatrixXd F = MatrixXd::Identity(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = i + 1; j < n; ++j) F(i, j) = F(i, j - 1) * d / static_cast<double>(j - i);
  }
  return F;
}
/// What white noise in the last of three derivatives adds over time d.
MatrixXd white_noise(double d) {
  MatrixXd Q{{d * d / 20, d / 8, 1 / 6.}, {d / 8, 1 / 3., 1 / (2 * d)}, {1 / 6., 1 / (2 * d), 1 / (d * d)}};
  return d * d * d * Q;
}
/// What one shock at each step adds.
MatrixXd shock(double d) {
  const VectorXd g{{d * d / 2, d, 1}};
  return g * g.transpose();
}

/// A position that is read at the end of each of these intervals, with noise of variance R.
template <class Noise>
problem_type tracker(const std::vector<double>& intervals, Noise noise, double R, const VectorXd& mean, double variance,
                     const MatrixXd& y) {
  std::vector<MatrixXd> F, Q;
  const Index n = mean.size();
  for (const double d : intervals) F.push_back(derivatives(n, d)), Q.push_back(noise(d));
  return {{F, Q, MatrixXd(MatrixXd::Identity(1, n)), MatrixXd{{R}},
           prior_type::of_first_state(mean, variance * MatrixXd::Identity(n, n))},
          y};
}

template <class Filtered>
double filter_error(const Filtered& f, const oracle::beliefs& expected) {
  return oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, 0);
}
template <class Smoothed>
double smoother_error(const Smoothed& s, const oracle::beliefs& expected) {
  return oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance, 0);
}

TEST_CASE("chunks of time lose no digits of states far from 0 that are read precisely") {
  std::vector<double> intervals;
  MatrixXd y(1, 24);
  double time = 0;
  for (Index t = 0; t < y.cols(); ++t) {
    intervals.push_back(std::vector{128., 1 / 2048., 32.}[static_cast<std::size_t>(t % 3)]);
    time += intervals.back();
    y(0, t) = 5 * time * time;
  }
  const auto p = tracker(intervals, white_noise, 1e-5, VectorXd{{0, 0, 10}}, 10, y);
  const auto expected = oracle::run_by_scalars(p);
  CHECK(filter_error(kalscan::filter(kalscan::omp{2, 3}, p.model, y), expected) < 1e-6);  // seq: 1.3e-7, by the rounding of y
}

TEST_CASE("noise that transitions bring to a precise reading, under a vague prior") {
  const auto jerk = [](double) { return MatrixXd(VectorXd{{0, 0, 0, 7}}.asDiagonal()); };
  MatrixXd y(1, 16);
  for (Index t = 0; t < y.cols(); ++t) y(0, t) = 4000 * std::pow(static_cast<double>(t), 3);
  for (const Index t : {9, 11, 12, 14}) y(0, t) = std::nan("");
  const auto p = tracker(std::vector<double>(16, 16), jerk, 3e-4, VectorXd::Zero(4), 2.7e7, y);
  const auto s = kalscan::smooth(kalscan::seq{}, p.model, y);
  const auto expected = oracle::run_by_scalars(p);
  CHECK(filter_error(s.filtered, expected) < 1e-9);
  CHECK(smoother_error(s, expected) < 1e-9);
}

TEST_CASE("an exact reading leaves of the rounding of what is read only that of what is left") {
  const auto p = tracker({0, 64, 0x1p-13}, shock, 0, VectorXd::Zero(3), 0x1p39, MatrixXd{{0, 1, 1}});
  const auto f = kalscan::filter(kalscan::seq{}, p.model, p.y);
  const auto expected = oracle::run_by_scalars(p);
  const double known_to = std::sqrt(static_cast<double>(expected.covariance[2](1, 1)));  // 6e-5, of 7e5 at first
  CHECK(std::sqrt(f.covariance[2](1, 1)) == doctest::Approx(known_to).epsilon(1e-6));
}

TEST_CASE("how well a state is known by exact readings does not depend on where it is") {
  const std::vector<double> intervals{0, 2, 1 / 8., 4, 1 / 512., 64, 1 / 8192., 1 / 8192., 1 / 64., 1 / 4096., 2};
  const auto at = [&](double position) {
    return tracker(intervals, shock, 0, VectorXd::Zero(3), 100, MatrixXd::Constant(1, 11, position));
  };
  const auto p = at(0), far = at(1e6);
  const auto s = kalscan::smooth(kalscan::seq{}, far.model, far.y);
  CHECK(s.filtered.covariance == kalscan::filter(kalscan::seq{}, p.model, p.y).covariance);
  const auto expected = oracle::run_by_scalars(far);
  CHECK(filter_error(s.filtered, expected) < 1e-9);
  CHECK(smoother_error(s, expected) < 1e-9);
}

TEST_CASE("later data are taken as differences from filtered means") {
  std::vector<double> intervals;
  MatrixXd y(1, 20);
  double time = 0;
  for (Index t = 0; t < y.cols(); ++t) {
    intervals.push_back(std::exp2(-(7 * t % 11)));
    time += intervals.back();
    y(0, t) = 1e4 * time;
  }
  const auto noise = [](double d) { return MatrixXd{{d * d * d / 3, d * d / 2}, {d * d / 2, d}}; };
  const auto p = tracker(intervals, noise, 0, VectorXd{{0, 1e4}}, 1, y);
  CHECK(smoother_error(kalscan::smooth(kalscan::seq{}, p.model, y), oracle::run_by_scalars(p)) < 1e-10);
}

}  // namespace
}  // namespace irregular_tests
