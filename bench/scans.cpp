// SPDX-License-Identifier: MIT
// Every verb on every CPU back end, beside std::inclusive_scan on TBB and thrust::inclusive_scan on OpenMP.
// Each candidate is held against seq before it is timed.
#include <benchmark/benchmark.h>

#include <string>

#if defined(KALSCAN_BENCH_TBB)
#include <execution>
#include <numeric>
#endif
#if defined(KALSCAN_BENCH_THRUST)
#include <thrust/scan.h>
#include <thrust/system/omp/execution_policy.h>
#endif

#include "workloads.hpp"

namespace {

/// Holds call(in, out) against reference(in, out), then times it.
template <class Out, class In, class Call, class Reference>
void check_and_time(benchmark::State& state, const std::vector<In>& in, const Out& filler, Call call,
                    Reference reference) {
  std::vector<Out> out(in.size(), filler);
  {
    std::vector<Out> expected(in.size(), filler);
    reference(in, expected);
    call(in, out);
    if (const float d = difference(out, expected); !(d < 0.01F)) {
      state.SkipWithError(("differs from seq by " + std::to_string(d)).c_str());
      return;
    }
  }
  for (auto _ : state) {
    call(in, out);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * std::int64_t(sizeof(In) + sizeof(Out)));
}

template <class Workload, class Scan>
void time_scan(benchmark::State& state, Scan scan) {
  const auto m = Workload::make().monoid();
  const auto on = [&](auto policy) { return [=](const auto& in, auto& out) { scan(policy, m, in, out); }; };
  const auto in = Workload::elements(state.range(0));
  if (state.range(1) == 0) {
    check_and_time(state, in, m.identity(), on(kalscan::seq{}), on(kalscan::seq{}));
  } else {
    check_and_time(state, in, m.identity(), on(kalscan::omp{static_cast<int>(state.range(1))}), on(kalscan::seq{}));
  }
}

template <class Workload>
void inclusive_scan(benchmark::State& state) {
  time_scan<Workload>(state, [](auto p, auto m, auto& in, auto& out) { kalscan::inclusive_scan(p, m, in, out); });
}
template <class Workload>
void exclusive_scan(benchmark::State& state) {
  time_scan<Workload>(state, [](auto p, auto m, auto& in, auto& out) { kalscan::exclusive_scan(p, m, in, out); });
}
template <class Workload>
void inclusive_suffix_scan(benchmark::State& state) {
  time_scan<Workload>(state,
                      [](auto p, auto m, auto& in, auto& out) { kalscan::inclusive_suffix_scan(p, m, in, out); });
}
template <class Workload>
void reduce(benchmark::State& state) {
  time_scan<Workload>(state, [](auto p, auto m, auto& in, auto& out) { out[0] = kalscan::reduce(p, m, in); });
}

template <class Workload>
void scan_states(benchmark::State& state) {
  const auto r = Workload::make();
  const auto initial = Workload::initial();
  const auto on = [&](auto policy) {
    return [=](const auto& in, auto& out) { kalscan::scan_states(policy, r, in, out, initial); };
  };
  const auto in = Workload::inputs(state.range(0));
  if (state.range(1) == 0) {
    check_and_time(state, in, initial, on(kalscan::seq{}), on(kalscan::seq{}));
  } else {
    check_and_time(state, in, initial, on(kalscan::omp{static_cast<int>(state.range(1))}), on(kalscan::seq{}));
  }
}

[[maybe_unused]] constexpr auto by_seq = [](auto m) {
  return [=](const auto& in, auto& out) { kalscan::inclusive_scan(kalscan::seq{}, m, in, out); };
};

#if defined(KALSCAN_BENCH_TBB)
template <class Workload>
void std_inclusive_scan_tbb(benchmark::State& state) {
  const auto m = Workload::make().monoid();
  const auto in = Workload::elements(state.range(0));
  const auto call = [=](const auto& from, auto& to) {
    std::inclusive_scan(std::execution::par, from.begin(), from.end(), to.begin(), m, m.identity());
  };
  check_and_time(state, in, m.identity(), call, by_seq(m));
}
#endif

#if defined(KALSCAN_BENCH_THRUST)
template <class Workload>
void thrust_inclusive_scan_omp(benchmark::State& state) {
  const auto m = Workload::make().monoid();
  const auto in = Workload::elements(state.range(0));
  const auto call = [=](const auto& from, auto& to) {
    thrust::inclusive_scan(thrust::omp::par, from.begin(), from.end(), to.begin(), m);
  };
  check_and_time(state, in, m.identity(), call, by_seq(m));
}
#endif

/// range(1): threads, 0 for seq.
void lengths_and_threads(benchmark::internal::Benchmark* b) {
  b->ArgNames({"steps", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (std::int64_t steps = 1000; steps <= 10'000'000; steps *= 10) {
    for (const std::int64_t threads : {0, 2}) b->Args({steps, threads});
  }
}
/// All the threads that the other library takes by default.
[[maybe_unused]] void lengths(benchmark::internal::Benchmark* b) {
  b->ArgNames({"steps"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (std::int64_t steps = 1000; steps <= 10'000'000; steps *= 10) b->Args({steps});
}

#define KALSCAN_FOR_EACH_WORKLOAD(f, arguments) \
  BENCHMARK(f<affine_float>)->Apply(arguments); \
  BENCHMARK(f<scalar_float>)->Apply(arguments); \
  BENCHMARK(f<matrix_float>)->Apply(arguments)

KALSCAN_FOR_EACH_WORKLOAD(inclusive_scan, lengths_and_threads);
#if defined(KALSCAN_BENCH_TBB)
KALSCAN_FOR_EACH_WORKLOAD(std_inclusive_scan_tbb, lengths);
#endif
#if defined(KALSCAN_BENCH_THRUST)
KALSCAN_FOR_EACH_WORKLOAD(thrust_inclusive_scan_omp, lengths);
#endif
KALSCAN_FOR_EACH_WORKLOAD(exclusive_scan, lengths_and_threads);
KALSCAN_FOR_EACH_WORKLOAD(inclusive_suffix_scan, lengths_and_threads);
KALSCAN_FOR_EACH_WORKLOAD(reduce, lengths_and_threads);
KALSCAN_FOR_EACH_WORKLOAD(scan_states, lengths_and_threads);

}  // namespace

BENCHMARK_MAIN();
