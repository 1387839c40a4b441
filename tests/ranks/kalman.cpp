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
#include <stdexcept>
#include <string>
#include <vector>

#include "on_ranks.hpp"

namespace {

using model = kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>;
using result = kalscan::filter_result<double, Eigen::Dynamic, Eigen::Dynamic>;
using prior = kalscan::gaussian_prior<double, Eigen::Dynamic>;
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

/// Rank 0 has `first` of the steps, the others have the rest.
std::vector<std::int64_t> bounds_after(std::int64_t first, std::int64_t length, int ranks) {
  std::vector<std::int64_t> bounds{0};
  for (int r = 1; r < ranks; ++r) bounds.push_back(first + (length - first) * (r - 1) / (ranks - 1));
  bounds.push_back(length);
  return bounds;
}

/// So many steps of a series, or those of them that it has.
matrix within(const matrix& all, std::int64_t from, std::int64_t steps) {
  const auto first = std::min<std::int64_t>(from, all.cols());
  return all.middleCols(first, std::min<std::int64_t>(steps, all.cols() - first));
}

/// Without steps, a rank gives the matrices of any one.
model steps_of(const model& x, std::int64_t from, std::int64_t to) {
  return from < to ? x.steps(from, to) : x.steps(0, 1);
}

void check_ranks(const model& x, const series& y, int ranks, const std::vector<std::int64_t>& bounds, double bound) {
  const kalscan::omp inner{2, chunk};
  const kalscan::filter_outputs outputs{.predictions = true, .innovations = true};
  const auto whole = kalscan::smooth(inner, x, y, outputs);
  const auto sums = kalscan::log_likelihood(inner, x, y);
  test::on_ranks(ranks, [&](const test::communicator& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const std::int64_t from = bounds[r], steps = bounds[r + 1] - from;
    const model part = steps_of(x, from, from + steps);
    series mine;
    for (const auto& one : y) mine.push_back(within(one, from, steps));
    const kalscan::ranks policy{comm, inner};
    const auto smoothed = kalscan::smooth(policy, part, mine, outputs);
    const auto total = kalscan::log_likelihood(policy, part, mine);
    for (std::size_t i = 0; i < y.size(); ++i) {
      CHECK(close(smoothed[i].filtered.mean, within(whole[i].filtered.mean, from, steps), bound));
      CHECK(close(smoothed[i].filtered.predicted_mean, within(whole[i].filtered.predicted_mean, from, steps), bound));
      CHECK(close(smoothed[i].mean, within(whole[i].mean, from, steps), bound));
      for (std::int64_t t = 0; t < mine[i].cols(); ++t) {
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
    check_ranks(random_model(96, true, false, 7), y, ranks, test::random_bounds(ranks, 96, 1, 7), 1e-10);
    if (bounds[1] > 20) check_ranks(random_model(96, false, true, 8), y, ranks, bounds, 1e-8);
  }
}

/// The same beliefs, of ordinary steps.
result part_of(const result& all, std::int64_t first, std::int64_t last) {
  result here;
  here.mean = all.mean.middleCols(first, last - first);
  here.covariance.assign(all.covariance.begin() + first, all.covariance.begin() + last);
  here.y = all.y.middleCols(first, last - first);
  return here;
}

TEST_CASE("series that end on earlier ranks than others are smoothed from their ends") {
  for (const int ranks : test::rank_counts()) {
    CAPTURE(ranks);
    const auto x = random_model(96, false, false, 3);
    series y;
    for (const std::int64_t length : {96, 1, 17, 32, 50}) y.push_back(random_series(length, 1, 4)[0]);
    check_ranks(x, y, ranks, test::random_bounds(ranks, 96, 1, 5), 1e-10);
    check_ranks(x, y, ranks, bounds_after(16, 96, ranks), 1e-10);
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
      const auto part = kalscan::smooth(kalscan::ranks{comm}, x.steps(first, last),
                                        std::vector{part_of(whole[0].filtered, first, last)});
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
      const auto part =
          kalscan::smooth(kalscan::ranks{comm}, x.steps(bounds[r], bounds[r + 1]),
                          std::vector{part_of(whole[0].filtered, bounds[r], bounds[r + 1])});
      for (std::int64_t t = bounds[r]; t < bounds[r + 1]; ++t) {
        const auto here = static_cast<std::size_t>(t - bounds[r]);
        const double variance = whole[0].covariance[static_cast<std::size_t>(t)](0, 0);
        CHECK(part[0].covariance[here](0, 0) / variance == doctest::Approx(1).epsilon(1e-7));
        CHECK(std::abs(part[0].mean(0, t - bounds[r]) - whole[0].mean(0, t)) < 1e-6 * std::sqrt(variance));
      }
    });
  }
}

matrix identity(Eigen::Index n) { return matrix::Identity(n, n); }

TEST_CASE("models that are carried as roots are refused on all ranks before any work, whoever has those steps") {
  const auto y = random_series(40, 1, 1);
  const auto refused = [&](const model& x, const std::string& what) {
    test::check_all_throw<std::invalid_argument>(what, [&](const test::communicator& comm) {
      const auto bounds = bounds_after(3, 40, comm.size());
      const auto r = static_cast<std::size_t>(comm.rank());
      const model part = x.steps(bounds[r], bounds[r + 1]);
      const matrix mine = y[0].middleCols(bounds[r], bounds[r + 1] - bounds[r]);
      (void)kalscan::log_likelihood(kalscan::ranks{comm}, part, mine);
    });
  };
  auto x = random_model(40, false, false, 1);
  std::vector<matrix> R(40, identity(2));
  R[39](1, 1) = 0;  // on the last rank
  x.R = R;
  refused(x, "R of model 0 is singular at some step");
  R[39](1, 1) = 1e-9;
  x.R = R;
  refused(x, "model 0 is sharp");
  CHECK(!kalscan::filter(kalscan::seq{}, x, y[0]).covariance_root.empty());
}

TEST_CASE("results with roots are not smoothed over ranks") {
  const auto x = random_model(8, false, false, 1);
  const auto y = random_series(8, 1, 1);
  auto roots = kalscan::filter(kalscan::seq{}, x, y);
  roots[0].covariance_root.assign(8, identity(3));
  test::check_all_throw<std::invalid_argument>(
      "kalscan: rank 1: the filter result of series 0 has roots", [&](const test::communicator& comm) {
        (void)kalscan::smooth(kalscan::ranks{comm}, x, comm.rank() == 1 ? roots : std::vector{part_of(roots[0], 0, 8)});
      });
}

TEST_CASE("a series that is outgrown on some rank is refused on all of them") {
  const model x{matrix{{10, 0}, {10, 1}}, identity(2), matrix{{1, 0}}, identity(1),
                prior::of_first_state(Eigen::VectorXd::Zero(2), identity(2))};
  const series y(2, matrix::Constant(1, 20, std::nan("")));
  CHECK(!kalscan::filter(kalscan::seq{}, x, y[0]).covariance_root.empty());
  const std::string what = "kalscan: series 0 is outgrown on rank ";
  const auto refused = [&](auto verb) {
    test::check_all_throw<std::invalid_argument>(what, [&](const test::communicator& comm) {
      const auto bounds = bounds_after(2, 20, comm.size());
      const auto r = static_cast<std::size_t>(comm.rank());
      series mine;
      for (const auto& one : y) mine.push_back(one.middleCols(bounds[r], bounds[r + 1] - bounds[r]));
      verb(kalscan::ranks{comm}, mine);
    });
  };
  refused([&](const auto& policy, const series& mine) { (void)kalscan::smooth(policy, x, mine); });
  refused([&](const auto& policy, const series& mine) { (void)kalscan::log_likelihood(policy, x, mine); });
}

TEST_CASE("a series is not outgrown where the prior or the noise of a step on another rank is as large") {
  const matrix much = matrix::Constant(2, 2, 1e9) + identity(2);
  std::vector<matrix> Q(20, identity(2));
  Q[6] = much;
  const series y(1, matrix::Constant(1, 20, std::nan("")));
  // What is read more precisely is carried as roots, and refused.
  const model noisy{identity(2), Q, matrix{{1, 0}}, matrix(1e4 * identity(1)),
                    prior::of_first_state(Eigen::VectorXd::Zero(2), identity(2))};
  const model wide{identity(2), identity(2), matrix{{1, 0}}, matrix(1e9 * identity(1)),
                   prior::of_first_state(Eigen::VectorXd::Zero(2), much)};
  for (const int ranks : test::rank_counts()) {
    for (const model* x : {&noisy, &wide}) check_ranks(*x, y, ranks, bounds_after(7, 20, ranks), 1e-10);
  }
}

TEST_CASE("a prior that is vague beside readings of a later rank begins as on one rank, or is refused") {
  model x{identity(2), matrix(1e-16 * identity(2)), matrix{{1, 1}}, {},
          prior::of_first_state(Eigen::VectorXd::Zero(2), identity(2))};
  std::vector<matrix> R(60, identity(1)), H(60, x.H[0]);
  for (std::size_t t = 20; t < 60; ++t) {
    R[t](0, 0) = 1e-12;
    if (t % 2 == 1) H[t](0, 1) = 0.3;
  }
  x.R = R, x.H = H;
  std::mt19937_64 engine(3);
  const series y{random_matrix(1, 60, engine)};
  for (const int ranks : test::rank_counts()) check_ranks(x, y, ranks, bounds_after(40, 60, ranks), 1e-10);
  test::check_all_throw<std::invalid_argument>(
      "kalscan: series 0 has a diffuse or vague prior, and the 10 steps of rank 0", [&](const auto& comm) {
        const auto bounds = bounds_after(10, 60, comm.size());
        const auto r = static_cast<std::size_t>(comm.rank());
        (void)kalscan::filter(kalscan::ranks{comm}, x.steps(bounds[r], bounds[r + 1]),
                              series{y[0].middleCols(bounds[r], bounds[r + 1] - bounds[r])});
      });
}

TEST_CASE("a beginning that is too long for the first rank with steps is refused on all ranks") {
  const auto x = random_model(40, false, true, 1);
  const auto y = random_series(40, 1, 1);
  test::check_all_throw<std::invalid_argument>(
      "kalscan: series 0 has a diffuse or vague prior, and the 1 steps of rank ", [&](const auto& comm) {
        const int first = comm.size() == 2 ? 0 : 1;  // an empty rank before it, where there are enough
        const auto bound = [&](int r) { return Eigen::Index{r <= first ? 0 : r == first + 1 ? 1 : 40}; };
        const auto from = bound(comm.rank()), to = bound(comm.rank() + 1);
        (void)kalscan::filter(kalscan::ranks{comm}, x, series{y[0].middleCols(from, to - from)});
      });
}

TEST_CASE("one series may end in its beginning, and another of another model start by its prior on a later rank") {
  const std::vector models{random_model(2, false, true, 1), random_model(40, false, false, 2)};
  const series y{random_series(2, 1, 1)[0], random_series(40, 1, 2)[0]};
  const auto whole = kalscan::smooth(kalscan::seq{}, models, y);
  for (const int ranks : test::rank_counts()) {
    if (ranks == 1) continue;
    const auto bounds = bounds_after(0, 40, ranks);
    test::on_ranks(ranks, [&](const test::communicator& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const std::int64_t from = bounds[r], steps = bounds[r + 1] - from;
      const series mine{y[0].leftCols(r == 0 ? 2 : 0), y[1].middleCols(from, steps)};
      const auto part = kalscan::smooth(kalscan::ranks{comm}, models, mine);
      if (r == 0) CHECK(close(part[0].mean, whole[0].mean, 1e-10));
      CHECK(close(part[1].filtered.mean, whole[1].filtered.mean.middleCols(from, steps), 1e-10));
      CHECK(close(part[1].mean, whole[1].mean.middleCols(from, steps), 1e-10));
      for (std::size_t i = 0; i < 2; ++i) {
        CHECK(part[i].filtered.log_likelihood ==
              doctest::Approx(whole[i].filtered.log_likelihood).epsilon(1e-12));
      }
    });
  }
}

TEST_CASE("ranks that differ in the number of series or of models, or in a model's sizes, all say so") {
  const auto x = random_model(8, false, false, 1);
  const auto y = random_series(8, 2, 1);
  const auto fewer = [&](bool here) { return here ? y : series{y[0]}; };
  test::check_all_throw<std::invalid_argument>(
      "the ranks differ in the number of series: 2 on rank 0, 1 on rank", [&](const auto& comm) {
        (void)kalscan::filter(kalscan::ranks{comm}, x, fewer(comm.rank() == 0));
      });
  model other = x;
  other.F = identity(2), other.Q = identity(2), other.H = matrix::Ones(2, 2);
  other.prior = prior::of_first_state(Eigen::VectorXd::Zero(2), identity(2));
  const std::string differ =
      "kalscan: the ranks differ in model 1: 3 states and 2 observed components on rank 0, 2 states";
  test::check_all_throw<std::invalid_argument>(differ, [&](const auto& comm) {
    (void)kalscan::filter(kalscan::ranks{comm}, std::vector{x, comm.rank() == 0 ? x : other}, y);
  });
  test::check_all_throw<std::invalid_argument>("the ranks differ in what they call", [&](const auto& comm) {
    const kalscan::ranks policy{comm};
    if (comm.rank() == 0) return (void)kalscan::filter(policy, x, y);
    (void)kalscan::smooth(policy, x, std::vector{part_of(kalscan::filter(kalscan::seq{}, x, y[0]), 0, 8)});
  });
}

}  // namespace
