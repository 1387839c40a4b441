// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include <kalscan/laws.hpp>
#include <kalscan/monoids/hmm.hpp>
#include <kalscan/monoids/matrix.hpp>

#include "random.hpp"

namespace {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

template <class T>
kalscan::square_matrix<T, 3> mixing_matrix(std::mt19937_64& engine) {
  kalscan::square_matrix<T, 3> result{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) result(i, j) = draw::uniform<T>(engine, T(-0.5), T(0.5));
  return result;
}

/// A log weight, which is -infinity one time in six.
template <class T>
T log_weight(std::mt19937_64& engine) {
  return draw::one_in(engine, 6) ? -infinity<T> : draw::uniform<T>(engine, T(-20), T(5));
}

template <class T, std::size_t N>
kalscan::square_matrix<T, N> log_matrix(std::mt19937_64& engine) {
  kalscan::square_matrix<T, N> result{};
  for (std::size_t i = 0; i < N; ++i)
    for (std::size_t j = 0; j < N; ++j) result(i, j) = log_weight<T>(engine);
  return result;
}

template <class T, std::size_t N>
kalscan::row_vector<T, N> log_vector(std::mt19937_64& engine) {
  kalscan::row_vector<T, N> result{};
  for (std::size_t i = 0; i < N; ++i) result[i] = log_weight<T>(engine);
  return result;
}

// In logarithms a rounding is an absolute error of a few ulps of the largest logarithm met, here at most 8 * 20. Up to
// 8 products of 3 terms on each side: some 50 of them at worst, and chance leaves fewer.
constexpr double log_bound = 32;

}  // namespace

TEST_CASE_TEMPLATE("real matrices form a monoid up to rounding", T, float, double, long double) {
  // Entries below 1/2 keep a product of three-by-three matrices below 1.5 times the largest operand.
  const auto report = kalscan::check_monoid(kalscan::matrix_monoid<kalscan::plus_times<T>, 3>{}, mixing_matrix<T>,
                                            kalscan::ulps(16), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE_TEMPLATE("log-sum-exp matrices form a monoid up to rounding", T, float, double) {
  const auto report = kalscan::check_monoid(kalscan::matrix_monoid<kalscan::log_sum_exp<T>, 3>{}, log_matrix<T, 3>,
                                            kalscan::ulps(log_bound), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE_TEMPLATE("the forward algorithm keeps the laws of a recurrence", T, float, double) {
  std::mt19937_64 engine(1);
  for (int model = 0; model < 4; ++model) {
    const kalscan::hmm_forward<T, 3> hmm{log_matrix<T, 3>(engine)};
    const auto report = kalscan::check_recurrence(hmm, log_vector<T, 3>, log_vector<T, 3>, kalscan::ulps(log_bound), usual);
    CHECK_MESSAGE(report, report.message());
  }
}

TEST_CASE_TEMPLATE("log-sum-exp neither overflows nor makes NaN of zeros", T, float, double) {
  using S = kalscan::log_sum_exp<T>;
  CHECK(S::plus(S::zero(), S::zero()) == S::zero());
  CHECK(S::plus(S::zero(), T(3)) == T(3));
  CHECK(S::plus(T(3), S::zero()) == T(3));
  CHECK(S::times(S::zero(), S::zero()) == S::zero());
  CHECK(S::times(S::one(), T(3)) == T(3));
  CHECK(S::plus(T(1e4), T(1e4)) == doctest::Approx(1e4 + std::log(2.0)));
  CHECK(S::plus(T(-1e4), T(-1e4)) == doctest::Approx(-1e4 + std::log(2.0)));
}

TEST_CASE("an impossible observation makes every weight zero and stays so") {
  const double no = -infinity<double>;
  const kalscan::hmm_forward<double, 2> hmm{{{{-0.1, -2.3}, {-1.6, -0.2}}}};
  auto state = hmm.step({{-0.7, -0.7}}, {{no, no}});
  CHECK(state == kalscan::row_vector<double, 2>{{no, no}});
  CHECK(hmm.step(state, {{-1, -1}}) == kalscan::row_vector<double, 2>{{no, no}});
}

TEST_CASE("the forward algorithm sums the probabilities of all paths") {
  // alpha' = alpha T diag(e), with an asymmetric T, so that a transposed one fails.
  const double T[2][2] = {{0.9, 0.1}, {0.3, 0.7}};
  const double emission[3][2] = {{0.5, 0.2}, {0.1, 0.6}, {0.4, 0.4}};
  double alpha[2] = {0.8, 0.2};
  const kalscan::hmm_forward<double, 2> hmm{
      {{{std::log(0.9), std::log(0.1)}, {std::log(0.3), std::log(0.7)}}}};
  kalscan::row_vector<double, 2> state{{std::log(0.8), std::log(0.2)}};
  const auto start = state;
  auto element = hmm.monoid().identity();
  for (const auto& e : emission) {
    const double next[2] = {(alpha[0] * T[0][0] + alpha[1] * T[1][0]) * e[0],
                            (alpha[0] * T[0][1] + alpha[1] * T[1][1]) * e[1]};
    alpha[0] = next[0];
    alpha[1] = next[1];
    const kalscan::row_vector<double, 2> input{{std::log(e[0]), std::log(e[1])}};
    state = hmm.step(state, input);
    element = kalscan::absorb(hmm, element, input);
  }
  const auto acted = hmm.act(element, start);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(std::exp(state[i]) == doctest::Approx(alpha[i]).epsilon(1e-14));
    CHECK(std::exp(acted[i]) == doctest::Approx(alpha[i]).epsilon(1e-14));
  }
}
