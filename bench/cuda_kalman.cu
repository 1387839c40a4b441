// SPDX-License-Identifier: MIT
// The Kalman filter and smoother with matrix states on a device, beside the memory floor: the bytes that must move over
// the measured bandwidth of a copy. Times are those of device events around one call, with a cold L2 cache. What is timed
// was first held against the same steps in sequence on the host.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda_array.cuh"

namespace {

using kalscan::small_belief, kalscan::small_matrix, kalscan::small_symmetric;

/// Milliseconds of one call, the median of 11, after 256 MiB have gone through the L2 cache.
template <class Call>
double time_once(Call call) {
  static const array<char> cold(std::size_t{1} << 28);
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 13; ++i) {
    require(cudaMemsetAsync(cold.data, i, cold.size));
    require(cudaEventRecord(begin));
    call();
    require(cudaEventRecord(end));
    require(cudaEventSynchronize(end));
    float ms;
    require(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 2) times.push_back(ms);
  }
  require(cudaGetLastError());
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + 5, times.end());
  return times[5];
}

/// Bytes read and written per millisecond by a copy.
double bandwidth() {
  static const double result = [] {
    const array<char> from(std::size_t{1} << 28), to(from.size);
    require(cudaMemset(from.data, 1, from.size));
    return 2 * static_cast<double>(from.size) /
           time_once([&] { require(cudaMemcpyAsync(to.data, from.data, from.size, cudaMemcpyDeviceToDevice)); });
  }();
  return result;
}

template <class Call>
void report(benchmark::State& state, double bytes, Call call) {
  const double floor = bytes / bandwidth();
  double ms = 0;
  for (auto _ : state) {
    ms = time_once(call);
    state.SetIterationTime(1e-3 * ms);
  }
  state.counters["ms"] = ms;
  state.counters["MB"] = 1e-6 * bytes;
  state.counters["floor_ms"] = floor;
  state.counters["over_floor"] = ms / floor;
}

enum class form { covariances, diffuse, roots };

template <class T, int N, int M, form Form>
auto any_model() {
  std::mt19937_64 engine(N);
  std::normal_distribution<double> normal;
  small_matrix<T, N, N> F{};
  small_symmetric<T, N> Q{};
  small_matrix<T, M, N> H{};
  small_symmetric<T, M> R{};
  small_belief<T, N> prior{};
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) F(i, j) = static_cast<T>((i == j ? 0.9 : 0.0) + 0.02 * normal(engine));
    for (int j = 0; j < M; ++j) H(j, i) = static_cast<T>(normal(engine));
    Q(i, i) = T(0.1), prior.covariance(i, i) = T(1);
  }
  for (int i = 0; i < M; ++i) R(i, i) = T(1);
  if constexpr (Form == form::diffuse) {
    return kalscan::model_of<T, N, M>(F, Q, H, R, kalscan::all_diffuse<T, N>());
  } else if constexpr (Form == form::roots) {
    return kalscan::square_root{kalscan::model_of<T, N, M>(F, Q, H, R, prior)};
  } else {
    return kalscan::model_of<T, N, M>(F, Q, H, R, prior);
  }
}

template <class T>
std::vector<T> any_numbers(std::size_t size) {
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  std::vector<T> x(size);
  for (auto& value : x) value = static_cast<T>(normal(engine));
  return x;
}

/// The worst difference of the first series' last means from those in sequence on the host.
template <class Model, class T>
double error_of(const Model& model, const std::vector<T>& y, std::int64_t length, const std::vector<T>& mean) {
  constexpr int n = Model::states;
  std::vector<T> last(n);
  const kalscan::series_layout one{.longest = length};
  const kalscan::detail::filter_traversal<Model> x{model, one, y.data(), {.final_mean = last}, length};
  static_cast<void>(kalscan::detail::replay_chunk(x, 0, 0, x.start(0)));
  double worst = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double d = std::abs(static_cast<double>(last[i]) - static_cast<double>(mean[static_cast<std::size_t>(length - 1) * n + i]));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

/// That a diffuse prior has room for.
constexpr std::int64_t first_steps = 16;

enum class verb { filter, likelihood, smooth, both };

template <class T, int N, int M, verb Verb, form Form = form::covariances>
void regular(benchmark::State& state) {
  const std::int64_t length = state.range(0), count = state.range(1);
  const std::size_t steps = static_cast<std::size_t>(length * count);
  const auto model = any_model<T, N, M, Form>();
  using model_type = std::remove_const_t<decltype(model)>;
  const auto y = any_numbers<T>(steps * M);
  const array<T> data(y), mean(steps * N), covariance(steps * N * N), smoothed_mean(steps * N),
      smoothed_covariance(steps * N * N), sums(static_cast<std::size_t>(count)),
      roots(Form == form::roots ? steps * N * N : 0),
      directions(Form == form::diffuse ? static_cast<std::size_t>(count * (std::min)(length, first_steps)) * N * N : 0);
  const kalscan::series_layout series{.longest = length, .count = count};
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<model_type>(kalscan::cuda{.chunk = state.range(2)}, length, count));
  const kalscan::cuda p{.workspace = memory, .chunk = state.range(2)};
  kalscan::filter_arrays<T> out{.mean = mean.span(), .covariance = covariance.span(), .directions = directions.span()};
  if (Form == form::roots && Verb != verb::filter) out.covariance = {}, out.covariance_root = roots.span();  // for the smoother
  const auto filter = [&] { kalscan::filter(p, model, data.span(), series, out); };
  const auto smooth = [&] {
    kalscan::smooth(p, model, data.span(), series, out, {smoothed_mean.span(), smoothed_covariance.span()});
  };
  filter();
  const double error = error_of(model, y, length, mean.host());
  if (!(error < (sizeof(T) == 4 ? 1e-3 : 1e-9))) {
    state.SkipWithError(("differs from the steps in sequence by " + std::to_string(error)).c_str());
    return;
  }
  const double beliefs = static_cast<double>(steps * sizeof(T)) * (N + N * N), read = static_cast<double>(steps * sizeof(T)) * M;
  if constexpr (Verb == verb::filter) report(state, read + beliefs, filter);
  if constexpr (Verb == verb::likelihood) {
    report(state, read, [&] { kalscan::log_likelihood(p, model, data.span(), series, sums.span()); });
  }
  if constexpr (Verb == verb::smooth) report(state, read + 2 * beliefs, smooth);
  if constexpr (Verb == verb::both) report(state, read + beliefs, [&] { filter(), smooth(); });
}

template <class T, verb Verb>
void matern(benchmark::State& state) {
  const std::int64_t length = state.range(0);
  const std::size_t steps = static_cast<std::size_t>(length);
  std::mt19937_64 engine(2);
  std::exponential_distribution<double> gap(10);
  std::vector<double> times;
  double at = 0;
  for (std::int64_t t = 0; t < length; ++t) times.push_back(at += gap(engine));
  const auto y = any_numbers<T>(steps);
  const array<double> where(times);
  const array<T> data(y), mean(steps * 2), covariance(steps * 4), smoothed_mean(steps * 2), smoothed_covariance(steps * 4), sum(1);
  const kalscan::matern32<T> process{T(1.3), T(0.7)};
  const auto model = kalscan::observed_at(process, where.data, T(0.25));
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{.chunk = state.range(2)}, length));
  const kalscan::cuda p{.workspace = memory, .chunk = state.range(2)};
  const kalscan::filter_arrays<T> out{.mean = mean.span(), .covariance = covariance.span()};
  kalscan::filter(p, model, data.span(), out);
  const double error = error_of(kalscan::observed_at(process, times.data(), T(0.25)), y, length, mean.host());
  if (!(error < (sizeof(T) == 4 ? 1e-3 : 1e-9))) {
    state.SkipWithError(("differs from the steps in sequence by " + std::to_string(error)).c_str());
    return;
  }
  const double read = static_cast<double>(steps) * (sizeof(double) + sizeof(T)), beliefs = static_cast<double>(steps * sizeof(T)) * 6;
  if constexpr (Verb == verb::likelihood) report(state, read, [&] { kalscan::log_likelihood(p, model, data.span(), sum.span()); });
  if constexpr (Verb == verb::filter) report(state, read + beliefs, [&] { kalscan::filter(p, model, data.span(), out); });
  if constexpr (Verb == verb::smooth) {
    report(state, read + 2 * beliefs, [&] { kalscan::smooth(p, model, data.span(), out, {smoothed_mean.span(), smoothed_covariance.span()}); });
  }
}

template <class Function>
void add(const char* name, Function function, std::vector<std::vector<std::int64_t>> shapes) {
  auto* b = benchmark::RegisterBenchmark(name, function)->ArgNames({"steps", "series", "chunk"})->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
  for (const auto& shape : shapes) b->Args(shape);
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::int64_t million = 1'000'000;
  add("filter float n 2 m 1", regular<float, 2, 1, verb::filter>, {{million, 1, 0}, {million, 1, 8}, {million, 1, 32}, {10'000, 1, 0}, {10'000, 1, 4}});
  add("filter and smooth float n 2 m 1", regular<float, 2, 1, verb::both>, {{million, 1, 0}});
  add("filter float n 4 m 2", regular<float, 4, 2, verb::filter>, {{million, 1, 0}, {million, 1, 8}, {million, 1, 32}, {10'000, 1, 0}, {10'000, 1, 4}, {1000, 1000, 0}, {100, 100'000, 0}});
  add("log-likelihood float n 2 m 1", regular<float, 2, 1, verb::likelihood>, {{million, 1, 0}, {million, 1, 32}});
  add("log-likelihood float n 4 m 2", regular<float, 4, 2, verb::likelihood>, {{million, 1, 0}, {million, 1, 8}, {million, 1, 32}, {million, 1, 64}, {100, 100'000, 0}});
  add("filter and smooth float n 4 m 2", regular<float, 4, 2, verb::both>, {{million, 1, 0}, {100, 100'000, 0}});
  add("log-likelihood float n 8 m 4", regular<float, 8, 4, verb::likelihood>, {{million, 1, 0}});
  add("filter float n 8 m 4", regular<float, 8, 4, verb::filter>, {{million, 1, 0}, {million, 1, 32}, {million, 1, 64}});
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  add("filter and smooth float n 8 m 4", regular<float, 8, 4, verb::both>, {{million, 1, 0}});
  add("filter float n 4 m 2, diffuse prior", regular<float, 4, 2, verb::filter, form::diffuse>, {{million, 1, 0}, {10'000, 1, 0}, {100, 100'000, 0}});
  add("filter and smooth float n 4 m 2, diffuse prior", regular<float, 4, 2, verb::both, form::diffuse>, {{million, 1, 0}, {100, 100'000, 0}});
#endif
  add("filter float n 2 m 1, roots", regular<float, 2, 1, verb::filter, form::roots>, {{million, 1, 0}, {million, 1, 16}, {million, 1, 64}});
  add("filter float n 4 m 2, roots", regular<float, 4, 2, verb::filter, form::roots>, {{million, 1, 0}, {million, 1, 16}, {million, 1, 64}, {100, 100'000, 0}});
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  add("filter and smooth float n 4 m 2, roots", regular<float, 4, 2, verb::both, form::roots>, {{million, 1, 0}});
  add("filter double n 2 m 1, roots", regular<double, 2, 1, verb::filter, form::roots>, {{million, 1, 0}});
  add("filter double n 4 m 2, roots", regular<double, 4, 2, verb::filter, form::roots>, {{million, 1, 0}});
#endif
  add("filter double n 4 m 2", regular<double, 4, 2, verb::filter>, {{million, 1, 0}, {million, 1, 32}});
  add("log-likelihood Matern-3/2 double", matern<double, verb::likelihood>, {{1'800'000, 1, 0}, {1'800'000, 1, 16}, {1'800'000, 1, 64}});
  add("filter Matern-3/2 double", matern<double, verb::filter>, {{1'800'000, 1, 0}});
  add("smooth Matern-3/2 double", matern<double, verb::smooth>, {{1'800'000, 1, 0}});
  add("log-likelihood Matern-3/2 float", matern<float, verb::likelihood>, {{1'800'000, 1, 0}});
  std::printf("copy: %.0f GB/s read and written\n", 1e-6 * bandwidth());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
