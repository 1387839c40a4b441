// SPDX-License-Identifier: MIT
// Filter and smoother with matrix states on the device.
#include <doctest/doctest.h>

#include <cmath>
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "../kalman/real_series.hpp"
#include "device_array.hpp"
#include "device_filter.cuh"
#include "tool.hpp"

namespace kalman_tests {
namespace {

using namespace device_filter;

template <class T, int N, int M>
void check_series(const std::vector<std::int64_t>& lengths, std::int64_t chunk, double bound) {
  check_models<T>(turning<T, N, M>::model(), turning<double, N, M>::model(), lengths, chunk, bound);
}
void check_diffuse(const std::vector<std::int64_t>& lengths, std::int64_t chunk, double bound, std::size_t gap = 0) {
  const auto model = turning<double, 2, 1>::diffuse_model();
  check_models<double>(model, model, lengths, chunk, bound, gap);
}

template <class T, int N, int M>
void check_lengths(double bound) {
  for (const std::int64_t length : {0, 1, 2, 31, 33, 1000, 20'011}) {
    for (const std::int64_t chunk : {0, 1, 7, 64}) {
      if (length > 1000 && chunk == 1) continue;
      check_series<T, N, M>({length}, chunk, bound);
    }
  }
  for (const std::int64_t chunk : {0, 1, 5, 1000}) check_series<T, N, M>({3, 0, 100, 1, 0, 517, 64, 40}, chunk, bound);
  check_series<T, N, M>(std::vector<std::int64_t>(9000, 5), 0, bound);
}

TEST_CASE("filter and smoother on the device agree with the same steps in sequence, whole and in chunks") {
  check_lengths<double, 2, 1>(1e-10);
  check_lengths<double, 4, 2>(1e-10);
  // More blocks of chunks than there are threads to carry them.
  check_series<double, 2, 1>({70'000, 100}, 1, 1e-10);
  check_series<double, 4, 2>({20'000}, 1, 1e-10);
  check_lengths<float, 2, 1>(2e-3);
  check_series<float, 8, 4>({1000}, 0, 2e-3);
}

void check_diffuse_lengths(double bound) {
  for (const std::int64_t length : {0, 1, 2, 33, 1000}) {
    for (const std::int64_t chunk : {0, 1, 7, 64}) check_diffuse({length}, chunk, bound);
  }
  for (const std::int64_t chunk : {0, 1, 5}) check_diffuse({1000}, chunk, bound, 30);
  for (const std::int64_t chunk : {0, 1, 5, 1000}) check_diffuse({3, 0, 100, 1, 0, 517, 64, 40}, chunk, bound, 2);
  check_diffuse(std::vector<std::int64_t>(9000, 5), 0, bound);
}

TEST_CASE("under a diffuse prior filter and smoother on the device agree with the same steps in sequence") {
  check_diffuse_lengths(1e-7);
  // The first reading comes after many chunks, and blocks of them.
  const auto level = real_series::nile_model<double>();
  for (const std::int64_t chunk : {0, 1, 5}) check_models<double>(level, level, {1000}, chunk, 1e-9, 700);
}

TEST_CASE("the Nile, end to end on the device") {
  const double sum = check_whole(real_series::nile_model<double>(), real_series::read("nile.csv"), 1e-11);
  CHECK(std::abs(sum + 633.4646) < 5e-5);
}

TEST_CASE("what a diffuse prior leaves unknown, for which there is no room, is told by the status") {
  const auto model = turning<double, 2, 1>::diffuse_model();
  const std::vector<double> y(50, std::numeric_limits<double>::quiet_NaN());
  const device_array<double> data(y);
  for (const std::int64_t chunk : {0, 4, 50}) {
    CAPTURE(chunk);
    const device_results<double> results(y.size(), 1, 2, 0, true, 20);
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{.chunk = chunk}, 50));
    const kalscan::cuda p{.workspace = memory, .chunk = chunk};
    kalscan::filter(p, model, data.span(), results.filtered());
    CHECK(results.status.host()[0].reason() == kalscan::step_failure::improper);
    CHECK(results.status.host()[0].step() == 20);
    CHECK_THROWS_AS(kalscan::smooth(p, model, data.span(), {.mean = results.mean.span(), .covariance = results.covariance.span()},
                                    results.smoothed()),
                    std::invalid_argument);
  }
}

TEST_CASE("a constant model whose covariance settles, on many threads, with gaps") {
  small_matrix<double, 2, 2> F{{0.9, 0.1, -0.2, 0.8}};
  const small_belief<double, 2> prior{{{1, 2}}, {{3, 1, 2}}};
  check_settling(kalscan::model_of<double, 2, 1>(F, small_symmetric<double, 2>{{0.5, 0.1, 0.3}}, small_matrix<double, 1, 2>{{1, 0.5}},
                                                 small_symmetric<double, 1>{{0.7}}, prior),
                 3000, 1e-11);
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check_settling(damped<7>::model(), kla_test::under_a_tool() ? 4200 : 9000, 1e-10);
#endif
}

TEST_CASE("a Gaussian process over irregular times, of a million points") {
  const std::int64_t steps = 1'000'003;
  std::mt19937_64 engine(3);
  std::exponential_distribution<double> gap(10);
  std::vector<double> times;
  double at = 0;
  for (std::int64_t t = 0; t < steps; ++t) times.push_back(at += gap(engine));
  const auto y = draw(steps, false);
  const kalscan::matern32<double> process{1.3, 0.7};
  const auto expected = on_host(kalscan::observed_at(process, times.data(), 0.25), y, {.longest = steps});

  const device_array<double> where(times), data(y), sum(1), sum_alone(1), mean(y.size() * 2), covariance(y.size() * 4);
  const auto model = kalscan::observed_at(process, where.data(), 0.25);
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{}, steps));
  const kalscan::cuda p{.workspace = memory};
  const kalscan::filter_arrays<double> out{.mean = mean.span(), .covariance = covariance.span(), .log_likelihood = sum.span()};
  kalscan::filter(p, model, data.span(), out);
  kalscan::log_likelihood(p, model, data.span(), sum_alone.span());
  CHECK(same_bits(sum.host(), sum_alone.host()));
  CHECK(difference(sum.host(), expected.log_likelihood) < 1e-12);
  CHECK(difference(mean.host(), expected.mean) < 1e-10);
  kalscan::smooth(p, model, data.span(), out, {mean.span(), covariance.span()});
  CHECK(difference(mean.host(), expected.smoothed_mean) < 1e-10);
  CHECK(difference(covariance.host(), expected.smoothed_covariance) < 1e-10);
}

TEST_CASE("the status of a series names its first failing step and the reason; others are not touched") {
  check_first_failure(turning<double, 2, 1>::model());
}

TEST_CASE("filter and smoother are captured into a graph, and replayed on other data") {
  const auto model = turning<double, 2, 1>::model();
  const std::int64_t length = 5000;
  const auto y = draw(length, false);
  const auto expected = on_host(model, y, {.longest = length});
  const device_array<double> data(std::vector<double>(y.size(), 0.0));
  const device_results<double> results(y.size(), 1, 2);
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{}, length));
  cudaStream_t stream;
  require_cuda(cudaStreamCreate(&stream));
  cudaGraph_t graph;
  cudaGraphExec_t run;
  require_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  const kalscan::cuda p{.stream = stream, .workspace = memory};
  kalscan::filter(p, model, data.span(), results.filtered());
  kalscan::smooth(p, model, data.span(), results.filtered(), results.smoothed());
  require_cuda(cudaStreamEndCapture(stream, &graph));
  require_cuda(cudaGraphInstantiate(&run, graph, 0));
  require_cuda(cudaMemcpy(data.data(), y.data(), y.size() * sizeof(double), cudaMemcpyHostToDevice));
  require_cuda(cudaGraphLaunch(run, stream));
  require_cuda(cudaStreamSynchronize(stream));
  check_close(results.host(), expected, 1e-10);
  cudaGraphExecDestroy(run);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST_CASE("forecasts of many series go on from their last beliefs") {
  const auto model = turning<double, 4, 2>::model();
  const std::vector<std::int64_t> offsets{0, 3, 3, 40};
  const std::int64_t count = 3, steps = 7;
  const auto y = draw(offsets.back() * 2, true);
  const auto last = on_host(model, y, {.longest = 37, .count = count, .offsets = offsets.data()});
  const auto all = [](std::size_t size) { return std::vector<double>(21 * size); };
  std::vector<double> mean = all(4), covariance = all(16), y_mean = all(2), y_covariance = all(4);
  const kalscan::detail::forecast_traversal<std::remove_const_t<decltype(model)>> expected{
      model, {.longest = 37, .count = count, .offsets = offsets.data()}, last.final_mean.data(), last.final_covariance.data(),
      {mean, covariance, y_mean, y_covariance}, steps};
  for (std::int64_t i = 0; i < count; ++i) static_cast<void>(kalscan::detail::replay_chunk(expected, i, 0, expected.start(i)));

  const device_array<std::int64_t> places(offsets);
  const device_array<double> final_mean(last.final_mean), final_covariance(last.final_covariance), m(mean.size()),
      P(covariance.size()), ym(y_mean.size()), S(y_covariance.size());
  const device_array<kalscan::filter_status> status(3);
  kalscan::forecast(kalscan::cuda{}, model, {.longest = 37, .count = count, .offsets = places.data()}, steps,
                    {.final_mean = final_mean.span(), .final_covariance = final_covariance.span()},
                    {m.span(), P.span(), ym.span(), S.span(), status.span()});
  CHECK(difference(m.host(), mean) < 1e-12);
  CHECK(difference(P.host(), covariance) < 1e-12);
  CHECK(difference(ym.host(), y_mean) < 1e-12);
  CHECK(difference(S.host(), y_covariance) < 1e-12);
  for (const auto& x : status.host()) CHECK(x.ok());
}

TEST_CASE("sizes that do not fit, host memory and a small workspace are refused") {
  const auto model = turning<double, 4, 2>::model();
  const device_array<double> y(200), small(399), sum(1);
  std::vector<double> host(200);
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{}, 100));
  const kalscan::cuda p{.workspace = memory};
  CHECK_THROWS_AS(kalscan::filter(p, model, y.span(), {.mean = small.span()}), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(p, model, y.span().first(199), sum.span()), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(p, model, host, sum.span()), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(kalscan::cuda{}, model, y.span(), sum.span()), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(kalscan::cuda{.workspace = memory, .chunk = -1}, model, y.span(), sum.span()),
                  std::invalid_argument);
  CHECK_THROWS_AS(kalscan::smooth(p, model, y.span(), {.mean = small.span()}, {}), std::invalid_argument);
}

}  // namespace
}  // namespace kalman_tests
