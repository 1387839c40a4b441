// SPDX-License-Identifier: MIT
// The Kalman filter and smoother over ranks: the bits of one rank.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalscan.hpp>  // all of it, as users include it: no name of ranks may mean two things
#include <kalscan/ranks/kalman.hpp>
#include <limits>
#include <random>
#include <vector>

#include "on_ranks.hpp"

namespace {

using model = kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>;
using matrix = Eigen::MatrixXd;
using series = std::vector<kalscan::observations<double, Eigen::Dynamic>>;
constexpr std::int64_t chunk = 16;

matrix random_matrix(Eigen::Index rows, Eigen::Index cols, std::mt19937_64& engine) {
  std::normal_distribution<double> normal;
  return matrix::NullaryExpr(rows, cols, [&] { return normal(engine); });
}

/// Of `length` steps, where `varying` with transitions of their own.
model random_model(std::int64_t length, bool varying, bool diffuse, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  const Eigen::Index n = 3, m = 2;
  const auto covariance = [&](Eigen::Index size) {
    const matrix x = random_matrix(size, size, engine);
    return matrix(0.2 * x * x.transpose() + 0.3 * matrix::Identity(size, size));
  };
  std::vector<matrix> F;
  for (std::int64_t t = 0; t < (varying ? length : 1); ++t)
    F.push_back(0.8 * matrix::Identity(n, n) + 0.1 * random_matrix(n, n, engine));
  model x{.Q = covariance(n), .H = random_matrix(m, n, engine), .R = covariance(m)};
  if (varying) {
    x.F = F;
  } else {
    x.F = F[0];
  }
  x.prior = diffuse ? kalscan::gaussian_prior<double, Eigen::Dynamic>::all_diffuse(n)
                    : kalscan::gaussian_prior<double, Eigen::Dynamic>::of_first_state(Eigen::VectorXd::Ones(n),
                                                                                      covariance(n));
  return x;
}

series random_series(std::int64_t length, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  series y;
  for (std::size_t i = 0; i < count; ++i) {
    y.push_back(random_matrix(2, length, engine));
    for (Eigen::Index t = 3; t < length; t += 7) y.back()(t % 2, t) = std::numeric_limits<double>::quiet_NaN();
  }
  return y;
}

bool close(const matrix& a, const matrix& b, double bound) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  return bound == 0 ? a == b : (a - b).norm() <= bound * (1 + b.norm());
}

void check_ranks(const model& x, const series& y, int ranks, const std::vector<std::int64_t>& bounds, double bound) {
  const kalscan::omp inner{2, chunk};
  const kalscan::filter_outputs outputs{.predictions = true, .innovations = true};
  const auto whole = kalscan::smooth(inner, x, y, outputs);
  const auto sums = kalscan::log_likelihood(inner, x, y);
  test::on_ranks(ranks, [&](const test::communicator& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const std::int64_t from = bounds[r], steps = bounds[r + 1] - from;
    const model part = steps > 0 || x.F.constant() ? x.steps(from, from + steps) : x.steps(0, 1);
    if (!x.F.constant() && steps == 0) return;
    series mine;
    for (const auto& one : y) mine.push_back(one.middleCols(from, steps));
    const kalscan::ranks policy{comm, inner};
    const auto smoothed = kalscan::smooth(policy, part, mine, outputs);
    const auto total = kalscan::log_likelihood(policy, part, mine);
    for (std::size_t i = 0; i < y.size(); ++i) {
      CHECK(close(smoothed[i].filtered.mean, whole[i].filtered.mean.middleCols(from, steps), bound));
      CHECK(
          close(smoothed[i].filtered.predicted_mean, whole[i].filtered.predicted_mean.middleCols(from, steps), bound));
      CHECK(close(smoothed[i].mean, whole[i].mean.middleCols(from, steps), bound));
      for (std::int64_t t = 0; t < steps; ++t) {
        const auto here = static_cast<std::size_t>(t), there = static_cast<std::size_t>(from + t);
        CHECK(close(smoothed[i].covariance[here], whole[i].covariance[there], bound));
        CHECK(close(smoothed[i].filtered.covariance[here], whole[i].filtered.covariance[there], bound));
      }
      CHECK(total[i] == (ranks == 1 || bound == 0 ? sums[i] : doctest::Approx(sums[i]).epsilon(1e-12)));
      CHECK(smoothed[i].filtered.log_likelihood == doctest::Approx(whole[i].filtered.log_likelihood).epsilon(1e-12));
    }
  });
}

TEST_CASE("filter and smoother over ranks have the bits of one rank, and close values wherever time is cut") {
  std::uint64_t seed = 0;
  for (const int ranks : test::rank_counts()) {
    CAPTURE(ranks);
    const auto x = random_model(128, false, false, ++seed);
    const auto y = random_series(128, 2, seed);
    check_ranks(x, y, ranks, test::random_bounds(ranks, 128, chunk, seed), 0);
    check_ranks(x, y, ranks, test::random_bounds(ranks, 128, 1, seed + 100), 1e-10);
    const auto short_y = random_series(5, 1, seed);
    check_ranks(x, short_y, ranks, test::random_bounds(ranks, 5, 1, seed), 1e-10);
  }
}

TEST_CASE("a model of each step's own, and a diffuse beginning on the first rank") {
  for (const int ranks : test::rank_counts()) {
    CAPTURE(ranks);
    std::vector<std::int64_t> bounds;
    for (int r = 0; r <= ranks; ++r) bounds.push_back(r * 96 / ranks);
    const auto y = random_series(96, 1, 9);
    check_ranks(random_model(96, true, false, 7), y, ranks, bounds, 1e-10);
    if (bounds[1] > 20) check_ranks(random_model(96, false, true, 8), y, ranks, bounds, 1e-8);
  }
}

TEST_CASE("what cancels in a gap is smoothed from the next step across ranks, and what lacks its digits before") {
  const matrix turn{{0.8, -0.6}, {0.6, 0.8}}, F = turn * Eigen::Vector2d(0.8, 1.6).asDiagonal() * turn.transpose();
  model x{.F = F, .Q = matrix::Identity(2, 2), .H = matrix{{1.0, 0.3}}, .R = matrix::Identity(1, 1)};
  x.prior =
      kalscan::gaussian_prior<double, Eigen::Dynamic>::of_first_state(Eigen::VectorXd::Zero(2), matrix::Identity(2, 2));
  std::mt19937_64 engine(3);
  series y{random_matrix(1, 48, engine)};
  y[0].middleCols(20, 12).setConstant(std::nan(""));
  const auto whole = kalscan::smooth(kalscan::seq{}, x, y);
  for (const int ranks : test::rank_counts()) {
    test::on_ranks(ranks, [&](const test::communicator& comm) {
      const std::int64_t first = comm.rank() * 48 / ranks, last = (comm.rank() + 1) * 48 / ranks;
      const auto& all = whole[0].filtered;
      kalscan::filter_result<double, Eigen::Dynamic, Eigen::Dynamic> here;  // of the same beliefs
      here.mean = all.mean.middleCols(first, last - first);
      here.covariance.assign(all.covariance.begin() + first, all.covariance.begin() + last);
      here.y = y[0].middleCols(first, last - first);
      const auto part = kalscan::smooth(kalscan::ranks{comm}, x.steps(first, last), std::vector{here});
      for (std::int64_t t = first; t < last; ++t) {
        const matrix& P = whole[0].covariance[static_cast<std::size_t>(t)];
        const matrix& other = part[0].covariance[static_cast<std::size_t>(t - first)];
        CHECK((other - P).cwiseAbs().maxCoeff() < 1e-10 * P.diagonal().minCoeff());
      }
    });
  }
}

TEST_CASE("steps that are smoothed from the next one are so across ranks") {
  // A vague prior and a state that decays: later data tell far more than all before.
  model x{.F = matrix::Constant(1, 1, 1.0),
          .Q = matrix::Constant(1, 1, 1e-12),
          .H = matrix::Identity(1, 1),
          .R = matrix::Identity(1, 1)};
  x.prior = kalscan::gaussian_prior<double, Eigen::Dynamic>::of_first_state(Eigen::VectorXd::Zero(1),
                                                                            matrix::Constant(1, 1, 1.0));
  std::vector<matrix> R(60, matrix::Constant(1, 1, 1e12));
  for (std::size_t t = 30; t < 60; ++t) R[t](0, 0) = 1e-12;
  x.R = R;
  std::mt19937_64 engine(3);
  const series y{random_matrix(1, 60, engine)};
  for (const int ranks : test::rank_counts()) {
    if (ranks == 16) continue;
    std::vector<std::int64_t> bounds;
    for (int r = 0; r <= ranks; ++r) bounds.push_back(r * 60 / ranks);
    const auto whole = kalscan::smooth(kalscan::seq{}, x, y);
    test::on_ranks(ranks, [&](const test::communicator& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const auto part = kalscan::smooth(kalscan::ranks{comm}, x.steps(bounds[r], bounds[r + 1]),
                                        series{y[0].middleCols(bounds[r], bounds[r + 1] - bounds[r])});
      for (std::int64_t t = bounds[r]; t < bounds[r + 1]; ++t) {
        const auto here = static_cast<std::size_t>(t - bounds[r]);
        const double variance = whole[0].covariance[static_cast<std::size_t>(t)](0, 0);
        CHECK(part[0].covariance[here](0, 0) / variance == doctest::Approx(1).epsilon(1e-7));
        CHECK(std::abs(part[0].mean(0, t - bounds[r]) - whole[0].mean(0, t)) < 1e-6 * std::sqrt(variance));
      }
    });
  }
}

}  // namespace
