// SPDX-License-Identifier: MIT
// The Kalman filter and smoother on seq and omp: 100 000 steps, as many observations as states, double, with
// covariances.
#include <benchmark/benchmark.h>

#include <kalscan/kalscan.hpp>
#include <random>
#include <string>

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

constexpr Eigen::Index steps = 100'000;

/// range(0): threads, 0 for seq.
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
  state.SetItemsProcessed(state.iterations() * steps);
}

template <int N>
kalscan::observations<double, N> any_data() {
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  return kalscan::observations<double, N>::NullaryExpr(N, steps, [&] { return normal(engine); });
}

template <int N>
void filter(benchmark::State& state) {
  const auto model = any_model<N>();
  const auto y = any_data<N>();
  check_and_time(state, [&](auto p) { return kalscan::filter(p, model, y); });
}

/// The filter that the smoother needs is part of it.
template <int N>
void filter_and_smooth(benchmark::State& state) {
  const auto model = any_model<N>();
  const auto y = any_data<N>();
  check_and_time(state, [&](auto p) { return kalscan::smooth(p, model, y); });
}

void seq_and_two_threads(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->Arg(0)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(filter<2>)->Apply(seq_and_two_threads);
BENCHMARK(filter<4>)->Apply(seq_and_two_threads);
BENCHMARK(filter<6>)->Apply(seq_and_two_threads);
BENCHMARK(filter<8>)->Apply(seq_and_two_threads);
BENCHMARK(filter_and_smooth<2>)->Apply(seq_and_two_threads);
BENCHMARK(filter_and_smooth<4>)->Apply(seq_and_two_threads);
BENCHMARK(filter_and_smooth<6>)->Apply(seq_and_two_threads);
BENCHMARK(filter_and_smooth<8>)->Apply(seq_and_two_threads);

}  // namespace

BENCHMARK_MAIN();
