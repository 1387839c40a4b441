// SPDX-License-Identifier: MIT
// Filter and smoother in square-root form on the device.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/square_root.hpp>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "device_array.hpp"
#include "device_filter.cuh"

namespace kalman_roots_tests {
namespace {

using namespace device_filter;

template <class T, int N, int M>
void check_series(const std::vector<std::int64_t>& lengths, std::int64_t chunk, double bound) {
  check_models<T>(kalscan::square_root{turning<T, N, M>::model()}, kalscan::square_root{turning<double, N, M>::model()},
                  lengths, chunk, bound);
}

TEST_CASE("in square-root form filter and smoother on the device agree with the same steps in sequence") {
  const auto check_lengths = [](auto number, double bound) {
    using T = decltype(number);
    for (const std::int64_t length : {0, 1, 2, 33, 1000, 20'011}) {
      for (const std::int64_t chunk : {0, 1, 7}) {
        if (length <= 1000 || chunk != 1) check_series<T, 2, 1>({length}, chunk, bound);
      }
    }
    for (const std::int64_t chunk : {0, 5, 1000}) check_series<T, 2, 1>({3, 0, 100, 1, 0, 517, 64, 40}, chunk, bound);
    check_series<T, 2, 1>(std::vector<std::int64_t>(9000, 5), 0, bound);
  };
  check_lengths(1.0, 1e-10);
  check_lengths(1.0F, 1e-3);
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check_series<float, 5, 2>({1000}, 0, 1e-3);
#endif
}

/// Constant velocity in two dimensions, pushed along the diagonal alone: Q has rank one, and is a value.
template <class T>
auto pushed_along_a_diagonal() {
  small_matrix<T, 4, 4> F = kalscan::detail::identity_matrix<T, 4>();
  F(0, 2) = F(1, 3) = T(1);
  small_symmetric<T, 4> Q{};
  for (T& q : Q.x) q = T(0.125);
  const small_matrix<T, 2, 4> H{{1, 0, 0, 1}};
  small_belief<T, 4> prior{{{244, 183, 0, 0}}, {}};
  for (int i = 0; i < 4; ++i) prior.covariance(i, i) = T(500);
  return kalscan::square_root{kalscan::model_of<T, 4, 2>(F, Q, H, small_symmetric<T, 2>{{7, 0, 7}}, prior, true)};
}

/// The worst difference of means, in the standard deviations that the reference has.
template <class T>
double in_deviations(const std::vector<T>& mean, const arrays<double>& expected) {
  double worst = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    const double sd = std::sqrt(expected.covariance[i / 4 * 16 + i % 4 * 5]);
    const double d = std::abs(static_cast<double>(mean[i]) - expected.mean[i]) / sd;
    if (!(d <= worst)) worst = d == d ? d : std::numeric_limits<double>::infinity();
  }
  return worst;
}

TEST_CASE(
    "20,000 steps with a rank-deficient Q keep their digits on the device; arrays that are not given change nothing") {
  const std::int64_t length = 20'000;
  std::mt19937_64 engine(9);
  std::normal_distribution<double> normal;
  std::vector<double> y;
  double x[4] = {244, 183, 0, 0};
  for (std::int64_t t = 0; t < length; ++t) {
    const double push = 0.0035 * normal(engine);
    for (int i = 0; i < 2; ++i) x[i] += x[i + 2] + push, x[i + 2] += push;
    for (int i = 0; i < 2; ++i) y.push_back(static_cast<float>(x[i] + 2.6 * normal(engine)));
  }
  const auto expected = on_host(pushed_along_a_diagonal<double>(), y, {.longest = length});
  const auto check = [&](auto number, double bound, double relative) {
    using T = decltype(number);
    const auto model = pushed_along_a_diagonal<T>();
    using model_type = std::remove_cvref_t<decltype(model)>;
    const device_array<T> data(convert<T>(y)), sum(1), mean(y.size() * 2), last_root(16);
    for (const std::int64_t chunk : {0, 100}) {
      CAPTURE(chunk);
      const device_results<T> results(static_cast<std::size_t>(length), 1, 4, 0, false, 0, true);
      const kalscan::cuda_workspace memory(
          kalscan::filter_workspace<model_type>(kalscan::cuda{.chunk = chunk}, length));
      const kalscan::cuda p{.workspace = memory, .chunk = chunk};
      kalscan::filter(p, model, data.span(), results.filtered());
      kalscan::log_likelihood(p, model, data.span(), sum.span());
      CHECK(same_bits(sum.host(), results.log_likelihood.host()));
      kalscan::filter(p, model, data.span(), {.mean = mean.span(), .final_covariance_root = last_root.span()});
      CHECK(same_bits(mean.host(), results.mean.host()));
      CHECK(same_bits(last_root.host(), results.final_covariance_root.host()));
      CHECK(results.status.host()[0].ok());
      CHECK(in_deviations(mean.host(), expected) < bound);
      CHECK(std::abs(sum.host()[0] / expected.log_likelihood[0] - 1) < relative);
    }
  };
  check(1.0, 1e-7, 1e-10);
  check(1.0F, 0.02, 1e-5);
}

TEST_CASE("in square-root form the status of a series names its first failing step and the reason") {
  check_first_failure(kalscan::square_root{turning<double, 2, 1>::model()});
}

TEST_CASE("arrays of roots that are not the form's, or that its smoother lacks, are refused on the device") {
  const auto model = turning<double, 2, 1>::model();
  const kalscan::square_root form{model};
  const device_array<double> y(10), mean(20), matrices(40);
  CHECK_THROWS_AS(kalscan::filter(kalscan::cuda{.chunk = 10}, model, y.span(), {.covariance_root = matrices.span()}),
                  std::invalid_argument);
  CHECK_THROWS_AS(kalscan::smooth(kalscan::cuda{.chunk = 10}, form, y.span(),
                                  {.mean = mean.span(), .covariance = matrices.span()}, {}),
                  std::invalid_argument);
  std::vector<double> host(40);
  CHECK_THROWS_AS(kalscan::filter(kalscan::cuda{.chunk = 10}, form, y.span(), {.covariance_root = host}),
                  std::invalid_argument);
}

}  // namespace
}  // namespace kalman_roots_tests
