// SPDX-License-Identifier: MIT
// The times of compare_calls are those of the calls and nothing else.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <kalscan/compare/calls.hpp>
#include <vector>

namespace {

using clock = std::chrono::steady_clock;

double now() { return std::chrono::duration<double>(clock::now().time_since_epoch()).count(); }

void wait(double seconds) {
  for (const double end = now() + seconds; now() < end;) {
  }
}

std::vector<kalscan::compare_row> time_calls(const std::vector<kalscan::compare_candidate>& candidates) {
  std::vector<int> out(1);
  // Short samples and many of them: on a busy machine most are then not interrupted.
  const kalscan::compare_options options{.repetitions = 41, .sample_seconds = 2e-4};
  return kalscan::compare_calls(kalscan::compare_work<int>{.size = 1, .bytes = 8, .out = out}, candidates, options);
}

kalscan::compare_candidate on_host(const char* name, auto call) {
  return {name, [call] { return kalscan::run_on_host(call); }};
}

TEST_CASE("a call that does nothing takes no time, so that nothing of the measuring is in the figures") {
  const auto rows = time_calls({on_host("nothing", [] {})});
  CHECK(rows[0].median < 20e-9);
}

TEST_CASE("calls that wait for a known time take that time, be it much shorter or longer than a sample") {
  for (const double seconds : {2e-5, 1e-3}) {
    const auto rows = time_calls({on_host("waits", [=] { wait(seconds); })});
    CAPTURE(seconds);
    CHECK(rows[0].lower >= seconds);
    CHECK(rows[0].median < 1.5 * seconds);
  }
}

TEST_CASE("the median agrees with an independent timing of the same loop, within the spread") {
  volatile std::uint32_t sink = 0;
  const auto work = [&sink] {
    std::uint32_t x = 1;
    for (int i = 0; i < 20000; ++i) x = x * 1664525u + 1013904223u;  // a chain: nothing to skip or to vectorize
    sink = x;
  };
  const auto rows = time_calls({on_host("chain", work)});
  std::vector<double> times;
  for (int i = 0; i < 201; ++i) {
    const double start = now();
    for (int k = 0; k < 4; ++k) work();
    times.push_back((now() - start) / 4);
  }
  std::sort(times.begin(), times.end());
  // Each one's lower quartile is not far above the other's median.
  CHECK(rows[0].lower < 1.3 * times[100]);
  CHECK(times[50] < 1.3 * rows[0].median);
}

TEST_CASE("what prepares and fetches is not timed, and a back end's own clock is believed") {
  int fetched = 0;
  const kalscan::compare_candidate slow_to_prepare{
      "prepares", [&] {
        wait(2e-3);
        return kalscan::compare_run{[](std::int64_t calls) { return 1e-6 * static_cast<double>(calls); },
                                    [&] { wait(2e-3), ++fetched; }};
      }};
  const auto rows = time_calls({slow_to_prepare});
  CHECK(rows[0].median == doctest::Approx(1e-6));
  CHECK(rows[0].bytes_per_second == doctest::Approx(8e6));
  CHECK(fetched == 4);
}

}  // namespace
