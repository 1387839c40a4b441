// SPDX-License-Identifier: MIT
// Models of fixed small sizes for the filter as the device runs it, and how far its results may be off.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>

#include "../instrument.hpp"
#include "device_chunks.hpp"
#include "oracle.hpp"
#include "quad_oracle.hpp"

namespace small_models {

template <class T>
void compare(const device_chunks::results<T>& r, const oracle::beliefs& expected, double bound) {
  CHECK(r.filtered[0].ok());
  CHECK(r.smoothed[0].ok());
  CHECK(oracle::defect(r.predicted_mean, r.predicted_covariance, expected.predicted_mean,
                       expected.predicted_covariance) < bound);
  CHECK(oracle::defect(r.mean, r.covariance, expected.mean, expected.covariance) < bound);
  CHECK(oracle::defect(r.smoothed_mean, r.smoothed_covariance, expected.smoothed_mean, expected.smoothed_covariance) <
        bound);
  CHECK(r.final_mean.col(0) == r.mean.col(r.mean.cols() - 1));
  CHECK(r.final_covariance[0] == r.covariance.back());
  const auto size = static_cast<double>(r.mean.cols()) + std::abs(static_cast<double>(expected.log_likelihood));
  CHECK(std::abs(static_cast<double>(r.log_likelihood[0]) - static_cast<double>(expected.log_likelihood)) <
        bound * size);
}

using problem_type = oracle::problem<double, Eigen::Dynamic, Eigen::Dynamic>;
using prior_type = kalscan::gaussian_prior<double, Eigen::Dynamic>;

inline problem_type problem_of(const Eigen::MatrixXd& F, const Eigen::MatrixXd& Q, const Eigen::MatrixXd& H,
                               const Eigen::MatrixXd& R, double variance, std::int64_t length, bool walk = true) {
  const Eigen::Index n = F.rows(), m = H.rows();
  problem_type p{
      {F, Q, H, R, prior_type::of_first_state(Eigen::VectorXd::Ones(n), variance * Eigen::MatrixXd::Identity(n, n))},
      Eigen::MatrixXd(m, length)};
  std::mt19937_64 engine(11);
  oracle::fill_normal(p.y, engine);
  for (Eigen::Index t = 1; t < length && walk; ++t) p.y.col(t) = p.y.col(t - 1) + 0.1 * p.y.col(t);
  for (Eigen::Index t = 40; t < std::min<std::int64_t>(length, 55); ++t)
    p.y.col(t).setConstant(std::numeric_limits<double>::quiet_NaN());
  return p;
}

/// check(problem, expected, chunk) for random models of N states and M observed components, and chunks of several
/// lengths.
template <int N, int M, class Check>
void for_random_models(Check check) {
  const oracle::kind kinds[] = {
      {},
      {.varying = true},
      {.missing = true},
      {.singular_noise = true, .before_first = true},
      {.varying = true, .inputs = true, .singular_noise = true, .missing = true, .before_first = true}};
  std::uint64_t seed = 1;
  for (const auto& k : kinds) {
    for (const std::int64_t length : {1, 2, unless_slow(47, 19)}) {
      CAPTURE(length);
      const auto problem = oracle::draw_problem(N, M, length, k, ++seed);
      const auto expected = oracle::run(problem.model, problem.y);
      for (const std::int64_t chunk : {1, 3, 16, 1000}) {
        if (chunk == 16 && under_an_instrument()) continue;  // one whole chunk and a rest, as 3 leaves
        check(problem, expected, chunk);
      }
    }
  }
}

template <class... X>
Eigen::MatrixXd matrix_of(Eigen::Index rows, Eigen::Index cols, X... x) {
  const double values[] = {static_cast<double>(x)...};
  return Eigen::MatrixXd::NullaryExpr(rows, cols, [&](auto i, auto j) { return values[i * cols + j]; });
}

inline void compare_digits(const device_chunks::results<double>& r, const oracle::beliefs& expected, bool smooth,
                           double bound) {
  CHECK(r.filtered[0].ok());
  CHECK(r.smoothed[0].ok());
  CHECK(quad::error_in_deviations(r.mean, r.covariance, expected.mean, expected.covariance) < bound);
  if (smooth) {
    CHECK(quad::error_in_deviations(r.smoothed_mean, r.smoothed_covariance, expected.smoothed_mean,
                                    expected.smoothed_covariance) < bound);
  }
  CHECK(std::abs(static_cast<double>(r.log_likelihood[0]) / static_cast<double>(expected.log_likelihood) - 1) < bound);
}

/// check(n, m, name, problem, whether Q is regular, bound) for each.
template <class Check>
void for_each_that_joint_formulas_lose(Check check) {
  using one = std::integral_constant<int, 1>;
  using two = std::integral_constant<int, 2>;
  using four = std::integral_constant<int, 4>;
  const Eigen::MatrixXd velocity = matrix_of(2, 2, 1, 1, 0, 1), position = matrix_of(1, 2, 1, 0);
  const Eigen::MatrixXd push = 0.1 * matrix_of(2, 2, 1. / 3, .5, .5, 1);
  const auto diagonal = [](auto... x) { return Eigen::MatrixXd(matrix_of(sizeof...(x), 1, x...).col(0).asDiagonal()); };
  check(two{}, one{}, "constant velocity, R = 1e-8", problem_of(velocity, push, position, diagonal(1e-8), 10, 300),
        true, 1e-10);
  check(two{}, one{}, "the same from a vague prior", problem_of(velocity, push, position, diagonal(1e-8), 1e7, 300),
        true, 1e-6);
  check(two{}, one{}, "near-unit-root trend",
        problem_of(matrix_of(2, 2, 0.9999, 1, 0, 0.9999), diagonal(1e-4, 1e-8), position, diagonal(1), 1, 1000), true,
        1e-10);
  check(two{}, one{}, "stiff diagonal",
        problem_of(diagonal(0.999999, 1e-6), diagonal(1e-6, 1e6), matrix_of(1, 2, 1, 1), diagonal(1e-3), 1, 300), true,
        1e-10);
  check(two{}, one{}, "unobserved component",
        problem_of(diagonal(0.9, 1), diagonal(0.1, 0.1), position, diagonal(1), 1, 300), true, 1e-10);
  check(two{}, one{}, "Q of rank one",
        problem_of(velocity, matrix_of(2, 2, 0.25, 0.5, 0.5, 1), position, diagonal(1), 1, 500), true, 1e-10);
  check(two{}, one{}, "no Q", problem_of(velocity, diagonal(0, 0), position, diagonal(1), 1, 500), true, 1e-10);
  check(two{}, one{}, "singular F",
        problem_of(matrix_of(2, 2, 1, 0, 1, 0), diagonal(0.1, 0), position, diagonal(0.5), 1, 200), false, 1e-10);
  check(
      two{}, one{}, "states far from zero",
      [&] {
        auto p = problem_of(velocity, push, position, diagonal(1e-4), 10, 300);
        p.y.array() += 1e6;
        return p;
      }(),
      true, 1e-7);
  check(two{}, one{}, "information far above what is known",
        problem_of(diagonal(1, 1), diagonal(1e-6, 1e-6), matrix_of(1, 2, 1, 1), diagonal(1e-12), 1e-3, 200), true,
        1e-10);
  check(four{}, two{}, "equal sensors, vague prior",
        problem_of(diagonal(1, 1, 1, 1), diagonal(1e6, 1e6, 1, 1), matrix_of(2, 4, 1, 0, 0, 1, 1, 0, 0, 1),
                   diagonal(0.01, 0.01), 1e6, 200),
        true, 1e-8);
}

}  // namespace small_models
