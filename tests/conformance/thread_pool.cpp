// SPDX-License-Identifier: MIT
// A back end that brings no more than tasks on threads runs filter, smoother and mixers; its scans are in scan.cpp.
#include "thread_pool.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kla/gla.hpp>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../kla/problem.hpp"

namespace {

static_assert(kalscan::task_policy<test::on_pool> && kalscan::task_policy<kalscan::omp>);
static_assert(!kalscan::task_policy<kalscan::seq>);

TEST_CASE("of the exceptions of several tasks on a pool that of the first chunk reaches the caller") {
  struct throws {
    static std::size_t identity() { return 0; }
    std::size_t operator()(std::size_t, std::size_t later) const { throw std::runtime_error(std::to_string(later)); }
  };
  std::vector<std::size_t> x(300), y(300);
  std::iota(x.begin(), x.end(), std::size_t{0});
  test::thread_pool pool(7);
  for (int i = 0; i < 20; ++i) {
    CHECK_THROWS_WITH(kalscan::inclusive_scan(test::on_pool{&pool, 10}, throws{}, x, y), "0");
  }
}

TEST_CASE("filter and smoother on a pool are those of whole series, and the same bits for any number of threads") {
  using matrix = Eigen::Matrix<double, 2, 2>;
  matrix F;
  F << 0.9, 0.2, -0.1, 0.8;
  const matrix Q = 0.1 * matrix::Identity();
  const kalscan::kalman_model<double, 2, 1> model{
      F, Q, Eigen::RowVector2d(1, 0.5), Eigen::Matrix<double, 1, 1>(0.3),
      kalscan::gaussian_prior<double, 2>::of_first_state(Eigen::Vector2d::Zero(), matrix::Identity())};
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  std::vector<kalscan::observations<double, 1>> series;
  for (const Eigen::Index length : {500, 1, 333}) {
    series.push_back(kalscan::observations<double, 1>::NullaryExpr(1, length, [&] { return normal(engine); }));
  }
  test::thread_pool one(1), seven(7);
  const auto whole = kalscan::smooth(test::on_pool{&seven, 1000}, model, series);
  const auto split = kalscan::smooth(test::on_pool{&one, 64}, model, series);
  const auto again = kalscan::smooth(test::on_pool{&seven, 64}, model, series);
  for (std::size_t i = 0; i < series.size(); ++i) {
    CHECK(again[i].mean == split[i].mean);
    CHECK(again[i].covariance == split[i].covariance);
    CHECK(again[i].filtered.mean == split[i].filtered.mean);
    CHECK((split[i].mean - whole[i].mean).norm() < 1e-12);
    CHECK((split[i].filtered.mean - whole[i].filtered.mean).norm() < 1e-12);
    CHECK((split[i].mean == whole[i].mean) == (series[i].cols() == 1));
  }
}

/// Whole sequences, and such as are each cut in its own way: packed ones of 0 to 100 steps in chunks of 16.
TEST_CASE("a mixer on a pool, forward and backward, is that of seq, and the same bits for any number of threads") {
  using kalscan::gla;
  namespace k = kla_test;
  const auto packed = k::random_problem<gla, float>(1, 218, 35, 3, 1, k::given::fixed, false, {0, 100, 100, 101, 150, 218});
  const auto plain = k::random_problem<gla, float>(3, 100, 35, 3, 2);
  test::thread_pool one(1), two(2), seven(7);
  for (const auto* p : {&packed, &plain}) {
    const auto sequential = k::run_forward<gla>(kalscan::seq{}, *p, 16);
    const auto sequential_back = k::run_backward<gla>(kalscan::seq{}, *p);
    for (const std::int64_t steps : {0, 16}) {
      const auto forward = k::run_forward<gla>(test::on_pool{&one, steps}, *p, 16);
      const auto backward = k::run_backward<gla>(test::on_pool{&one, steps}, *p);
      CHECK(k::difference(forward.out, sequential.out) < 1e-5);
      CHECK(k::difference(forward.final, sequential.final) < 1e-5);
      CHECK(k::difference(backward.in_bar, sequential_back.in_bar) < 1e-5);
      CHECK(k::difference(backward.initial_bar, sequential_back.initial_bar) < 1e-5);
      CHECK(k::same_bits(forward.final, sequential.final) == (steps == 0));
      for (test::thread_pool* pool : {&two, &seven}) {
        const test::on_pool policy{pool, steps};
        const auto x = k::run_forward<gla>(policy, *p, 16);
        CHECK(k::same_bits(x.out, forward.out));
        CHECK(k::same_bits(x.final, forward.final));
        CHECK(k::same_bits(x.checkpoints, forward.checkpoints));
        const auto back = k::run_backward<gla>(policy, *p);
        CHECK(k::same_bits(back.in_bar, backward.in_bar));
        CHECK(k::same_bits(back.initial_bar, backward.initial_bar));
      }
    }
  }
}

}  // namespace
