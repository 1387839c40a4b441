// SPDX-License-Identifier: MIT
// Are the figures of kalscan::compare those of the calls alone? The same calls by Google Benchmark, beside them. Exits
// with 1 where the medians differ by more than the quartiles of both reach.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "kalscan/compare.hpp"
#include "workloads.hpp"

namespace {

using monoid = kalscan::affine_monoid<float>;
constexpr int repetitions = 21;

/// Keeps the time of every repetition, by name.
struct collector : benchmark::BenchmarkReporter {
  std::map<std::string, std::vector<double>> seconds;
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& r : runs) {
      if (r.run_type == Run::RT_Iteration) seconds[r.run_name.function_name].push_back(1e-9 * r.GetAdjustedRealTime());
    }
  }
};

}  // namespace

int main() {
  const std::vector<std::int64_t> sizes{100, 10'000, 1'000'000};
  collector theirs;
  std::vector<std::vector<kalscan::affine_map<float>>> inputs;
  for (const std::int64_t n : sizes) inputs.push_back(affine_float::elements(n));
  for (const auto& in : inputs) {
    benchmark::RegisterBenchmark(std::to_string(in.size()).c_str(),
                                 [&in](benchmark::State& state) {
                                   std::vector<kalscan::affine_map<float>> out(in.size());
                                   for (auto _ : state) {
                                     kalscan::inclusive_scan(kalscan::seq{}, monoid{}, in, out);
                                     benchmark::ClobberMemory();
                                   }
                                 })
        ->Repetitions(repetitions)
        ->MinTime(0.01)
        ->UseRealTime()
        ->Unit(benchmark::kNanosecond);
  }
  benchmark::RunSpecifiedBenchmarks(&theirs);
  const auto ours = kalscan::compare(monoid{}, affine_float::element, kalscan::relative(1e-5), sizes,
                                     {.repetitions = repetitions, .sample_seconds = 0.01, .threads = {1}});
  bool all_agree = true;
  std::printf("seq, affine maps in float, microseconds a scan, median [quartiles] of %d\n", repetitions);
  std::printf("%9s  %-32s %-32s\n", "size", "kalscan::compare", "Google Benchmark");
  for (const auto& r : ours) {
    if (r.back_end != "seq") continue;
    auto& s = theirs.seconds.at(std::to_string(r.size));
    std::sort(s.begin(), s.end());
    const double lower = s[s.size() / 4], median = s[s.size() / 2], upper = s[3 * s.size() / 4];
    const bool agree = r.lower <= upper && lower <= r.upper;
    all_agree = all_agree && agree;
    std::printf("%9lld  %9.3f [%9.3f, %9.3f] %9.3f [%9.3f, %9.3f]  %+.1f%% %s\n", static_cast<long long>(r.size),
                1e6 * r.median, 1e6 * r.lower, 1e6 * r.upper, 1e6 * median, 1e6 * lower, 1e6 * upper,
                100 * (r.median / median - 1), agree ? "agree" : "DIFFER");
  }
  return all_agree ? 0 : 1;
}
