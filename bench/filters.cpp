// SPDX-License-Identifier: MIT
// The Kalman filter and smoother on seq, on omp with two threads and with all, double, with covariances: models with as
// many observations as states, and models as functions with half as many, into arrays that are there.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/function_filter.hpp>
#include <kalscan/kalscan.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

template <int N>
kalscan::kalman_model<double, N, N> any_model() {
  std::mt19937_64 engine(N);
  std::normal_distribution<double> normal;
  using matrix = Eigen::Matrix<double, N, N>;
  const auto draw = [&] { return matrix::NullaryExpr([&] { return normal(engine); }).eval(); };
  const matrix G = draw(), W = draw();
  const matrix Q = 0.1 * G * G.transpose(), R = W * W.transpose() + matrix::Identity();
  return {0.9 * matrix::Identity() + 0.02 * draw(), Q, draw(), R,
          kalscan::gaussian_prior<double, N>::of_first_state(Eigen::Vector<double, N>::Zero(), matrix::Identity())};
}

/// range(0): threads, 0 for seq; range(1): steps.
template <class Run>
void check_and_time(benchmark::State& state, Run run) {
  const auto threads = static_cast<int>(state.range(0));
  if (threads > 0) {
    const double d = (run(kalscan::omp{threads}).mean - run(kalscan::seq{}).mean).norm();
    if (!(d < 1e-6)) {
      state.SkipWithError(("differs from seq by " + std::to_string(d)).c_str());
      return;
    }
  }
  for (auto _ : state) {
    if (threads > 0) {
      benchmark::DoNotOptimize(run(kalscan::omp{threads}));
    } else {
      benchmark::DoNotOptimize(run(kalscan::seq{}));
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

template <int N>
kalscan::observations<double, N> any_data(Eigen::Index steps) {
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  return kalscan::observations<double, N>::NullaryExpr(N, steps, [&] { return normal(engine); });
}

template <int N>
void filter(benchmark::State& state) {
  const auto model = any_model<N>();
  const auto y = any_data<N>(state.range(1));
  check_and_time(state, [&](auto p) { return kalscan::filter(p, model, y); });
}

/// The filter that the smoother needs is part of it.
template <int N>
void filter_and_smooth(benchmark::State& state) {
  const auto model = any_model<N>();
  const auto y = any_data<N>(state.range(1));
  check_and_time(state, [&](auto p) { return kalscan::smooth(p, model, y); });
}

/// The matrices of any_model, m of its sensors.
template <int N, int M>
void filter_into_arrays(benchmark::State& state) {
  const auto dense = any_model<N>();
  kalscan::small_matrix<double, N, N> F{};
  kalscan::small_symmetric<double, N> Q{};
  kalscan::small_matrix<double, M, N> H{};
  kalscan::small_symmetric<double, M> R{};
  kalscan::small_belief<double, N> prior{};
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) F(i, j) = dense.F[0](i, j);
    for (int j = 0; j <= i; ++j) Q(i, j) = dense.Q[0](i, j);
    for (int j = 0; j < M; ++j) H(j, i) = dense.H[0](j, i);
    prior.covariance(i, i) = 1;
  }
  for (int i = 0; i < M; ++i) R(i, i) = 1;
  const auto model = kalscan::model_of<double, N, M>(F, Q, H, R, prior);
  const auto steps = static_cast<std::size_t>(state.range(1));
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  std::vector<double> y(steps * M);
  for (double& value : y) value = normal(engine);
  struct means {
    std::vector<double> mean, covariance;
  };
  const auto run = [&](const auto& policy, means& out) {
    kalscan::filter(policy, model, y, {.mean = out.mean, .covariance = out.covariance});
  };
  const auto threads = static_cast<int>(state.range(0));
  means out{std::vector<double>(steps * N), std::vector<double>(steps * N * N)};
  if (threads > 0) {
    means expected = out;
    run(kalscan::seq{}, expected);
    run(kalscan::omp{threads}, out);
    double worst = 0;
    for (std::size_t i = 0; i < out.mean.size(); ++i) worst = std::fmax(worst, std::abs(out.mean[i] - expected.mean[i]));
    if (!(worst < 1e-6)) {
      state.SkipWithError(("differs from seq by " + std::to_string(worst)).c_str());
      return;
    }
  }
  for (auto _ : state) {
    if (threads > 0) {
      run(kalscan::omp{threads}, out);
    } else {
      run(kalscan::seq{}, out);
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

void seq_and_threads(benchmark::internal::Benchmark* b, std::int64_t steps) {
  b->ArgNames({"threads", "steps"})->UseRealTime()->Unit(benchmark::kMillisecond)->Args({0, steps})->Args({2, steps});
  if (const int all = static_cast<int>(std::thread::hardware_concurrency()); all > 2) b->Args({all, steps});
}
void short_series(benchmark::internal::Benchmark* b) { seq_and_threads(b, 100'000); }
void long_series(benchmark::internal::Benchmark* b) { seq_and_threads(b, 1'000'000); }
BENCHMARK(filter<2>)->Apply(short_series)->Apply(long_series);
BENCHMARK(filter<8>)->Apply(short_series)->Apply(long_series);
BENCHMARK(filter_into_arrays<8, 4>)->Apply(long_series);
BENCHMARK(filter_and_smooth<2>)->Apply(short_series);
BENCHMARK(filter_and_smooth<8>)->Apply(short_series);
#if !defined(FEW_SIZES)  // to be measured, not only to see that it compiles
BENCHMARK(filter<4>)->Apply(short_series)->Apply(long_series);
BENCHMARK(filter<6>)->Apply(short_series);
BENCHMARK(filter_into_arrays<2, 1>)->Apply(long_series);
BENCHMARK(filter_into_arrays<4, 2>)->Apply(long_series);
BENCHMARK(filter_and_smooth<4>)->Apply(short_series);
BENCHMARK(filter_and_smooth<6>)->Apply(short_series);
#endif

}  // namespace

BENCHMARK_MAIN();
