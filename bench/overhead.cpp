// SPDX-License-Identifier: MIT
// Are the figures of kalscan::compare those of the calls alone? The same calls by Google Benchmark, in turn with it. Exits
// with 1 where the median of either lies outside of what the other's rounds gave.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <kalscan/compare.hpp>
#include <map>
#include <string>
#include <vector>

#include "workloads.hpp"

namespace {

using monoid = kalscan::affine_monoid<float>;
constexpr int rounds = 9, repetitions = 5;
const std::vector<std::int64_t> sizes{100, 10'000, 1'000'000};

/// The median of each round, by size.
using medians = std::map<std::int64_t, std::vector<double>>;

struct collector : benchmark::BenchmarkReporter {
  medians seconds;
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& r : runs) {
      if (r.aggregate_name == "median")
        seconds[std::stoll(r.run_name.function_name)].push_back(1e-9 * r.GetAdjustedRealTime());
    }
  }
};

void scan_in_google_benchmark(benchmark::State& state, std::int64_t size) {
  const auto in = affine_float::elements(size);
  std::vector<kalscan::affine_map<float>> out(in.size());
  for (auto _ : state) {
    kalscan::inclusive_scan(kalscan::seq{}, monoid{}, in, out);
    benchmark::ClobberMemory();
  }
}

}  // namespace

int main() {
  for (const std::int64_t n : sizes) {
    benchmark::RegisterBenchmark(std::to_string(n).c_str(), scan_in_google_benchmark, n)
        ->Repetitions(repetitions)
        ->MinTime(0.01)
        ->UseRealTime()
        ->Unit(benchmark::kNanosecond);
  }
  collector theirs;
  medians ours;
  for (int round = 0; round < rounds; ++round) {
    benchmark::RunSpecifiedBenchmarks(&theirs);
    const kalscan::compare_options options{.repetitions = repetitions, .sample_seconds = 0.01, .threads = {1}};
    for (const auto& r : kalscan::compare(monoid{}, affine_float::element, kalscan::relative(1e-5), sizes, options)) {
      if (r.back_end == "seq") ours[r.size].push_back(r.median);
    }
  }
  bool all_agree = true;
  std::printf(
      "seq, affine maps in float, microseconds a scan; medians of %d rounds in turn: median [least, greatest]\n",
      rounds);
  std::printf("%9s  %-34s %-34s\n", "size", "kalscan::compare", "Google Benchmark");
  for (const std::int64_t n : sizes) {
    std::vector<double>* both[] = {&ours[n], &theirs.seconds[n]};
    for (auto* m : both) std::sort(m->begin(), m->end());
    const auto &a = ours[n], &b = theirs.seconds[n];
    const double x = a[rounds / 2], y = b[rounds / 2];
    const bool agree = x >= b.front() && x <= b.back() && y >= a.front() && y <= a.back();
    all_agree = all_agree && agree;
    std::printf("%9lld  %10.4f [%9.4f, %9.4f] %10.4f [%9.4f, %9.4f]  %+.1f%% %s\n", static_cast<long long>(n), 1e6 * x,
                1e6 * a.front(), 1e6 * a.back(), 1e6 * y, 1e6 * b.front(), 1e6 * b.back(), 100 * (x / y - 1),
                agree ? "agree" : "DIFFER");
  }
  return all_agree ? 0 : 1;
}
