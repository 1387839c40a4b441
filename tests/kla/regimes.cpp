// SPDX-License-Identifier: MIT
// The error of float, per regime, against the paper's recurrence in information form and long double.
#include "regimes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "../instrument.hpp"
#include "shared.hpp"

namespace regimes_tests {
using namespace kla_test;
using kalscan::omp;
using kalscan::seq;

namespace {

TEST_CASE("no regime makes float lose more than its memory costs, on any back end") {
  std::printf("%-28s %10s %10s | %10s %10s | %10s %10s\n", "largest error in float", "seq y", "yvar", "omp y", "yvar",
              "chunks y", "yvar");
  const bool few = under_an_instrument();
  const char* longest = std::getenv("KALSCAN_TEST_LONGEST");
  std::uint64_t seed = 0;
  for (const regime& r : regimes) {
    errors sequential, whole, split;
    for (const double precision : {0.0, 1e-6, 1.0, 1e12}) {
      for (const std::int64_t L : {1, 20, few ? 200 : 1000, 100000}) {
        if (L == 100000 && (precision != 1.0 || few || longest)) continue;
        CAPTURE(std::string(r.name));
        CAPTURE(precision);
        CAPTURE(L);
        const lanes x(r, L, precision, ++seed);
        const auto exact = x.of(run_forward<kla>(seq{}, x.p.as<long double>()).out);
        CHECK(exact.finite);
        CHECK(std::max(exact.y, exact.yvar) < 1e-11);
        const auto worst = [&](errors& sum, const auto& policy) {
          const errors e = x.of(run_forward<kla>(policy, x.p).out);
          CHECK(e.finite);
          sum.y = std::max(sum.y, e.y), sum.yvar = std::max(sum.yvar, e.yvar);
        };
        worst(sequential, seq{});
        worst(whole, omp{2, L});
        worst(split, omp{2, (L + 4) / 5});
      }
    }
    std::printf("%-28s %10.1e %10.1e | %10.1e %10.1e | %10.1e %10.1e\n", r.name, sequential.y, sequential.yvar, whole.y,
                whole.yvar, split.y, split.yvar);
    CAPTURE(std::string(r.name));
    for (const errors& e : {sequential, whole, split}) {
      const double bound = r.bounded ? 1e-5 : 0;
      CHECK(e.y <= std::max(bound, 4 * sequential.y));
      CHECK(e.yvar <= std::max(bound, 4 * sequential.yvar));
    }
    if (r.bounded) CHECK(std::max(sequential.y, sequential.yvar) < 1e-5);
  }
}

}  // namespace
}  // namespace regimes_tests
