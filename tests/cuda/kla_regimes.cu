// SPDX-License-Identifier: MIT
// The error of float on the device, per regime, against the paper's recurrence in information form and long double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>

#include "../kla/regimes.hpp"
#include "kla_device.cuh"

namespace kla_regimes_tests {
using namespace kla_test;
using kalscan::seq;

namespace {

TEST_CASE("no regime makes float lose more than its memory costs, on the device") {
  std::printf("%-28s %10s %10s | %10s %10s | %10s %10s\n", "largest error in float", "seq y", "yvar", "lanes y", "yvar",
              "chunks y", "yvar");
  std::uint64_t seed = 0;
  for (const regime& r : regimes) {
    errors sequential, whole, split;
    for (const double precision : {0.0, 1e-6, 1.0, 1e12}) {
      for (const std::int64_t L : {1, 20, 1000, 100000}) {
        if (L == 100000 && precision != 1.0) continue;
        CAPTURE(std::string(r.name));
        CAPTURE(precision);
        CAPTURE(L);
        const lanes x(r, L, precision, ++seed);
        const auto worst = [&](errors& sum, const auto& result) {
          const errors e = x.of(result.out);
          CHECK(e.finite);
          sum.y = std::max(sum.y, e.y), sum.yvar = std::max(sum.yvar, e.yvar);
        };
        worst(sequential, run_forward<kla>(seq{}, x.p));
        worst(whole, run_on_device<kla>(L, x.p));
        worst(split, run_on_device<kla>((L + 4) / 5, x.p));
        worst(split, run_on_device<kla>(0, x.p));
      }
    }
    std::printf("%-28s %10.1e %10.1e | %10.1e %10.1e | %10.1e %10.1e\n", r.name, sequential.y, sequential.yvar, whole.y,
                whole.yvar, split.y, split.yvar);
    CAPTURE(std::string(r.name));
    for (const errors& e : {whole, split}) {
      const double bound = r.bounded ? 1e-5 : 0;
      CHECK(e.y <= std::max(bound, 4 * sequential.y));
      CHECK(e.yvar <= std::max(bound, 4 * sequential.yvar));
    }
  }
}

TEST_CASE("nor its gradients: they are as near to double's as those of the host") {
  std::uint64_t seed = 100;
  for (const regime& r : regimes) {
    for (const std::int64_t L : {20, 1000}) {
      const lanes x(r, L, 1.0, ++seed);
      const auto exact = run_backward<kla>(seq{}, x.p.as<double>());
      const auto host = run_backward<kla>(seq{}, x.p);
      for (const std::int64_t chunk : {std::int64_t{0}, (L + 4) / 5, L}) {
        const auto device = backward_on_device<kla>(chunk, x.p);
        for (std::size_t i = 0; i < exact.in_bar.size(); ++i) {
          CAPTURE(std::string(r.name));
          CAPTURE(std::string(kla::inputs_info[i].name));
          CAPTURE(L);
          CAPTURE(chunk);
          const double error = difference(host.in_bar[i], exact.in_bar[i]);
          CHECK(error < std::numeric_limits<double>::infinity());
          CHECK(difference(device.in_bar[i], exact.in_bar[i]) <= std::max(1e-5, 4 * error));
        }
      }
    }
  }
}

TEST_CASE("a million steps against double") {
  auto p = random_problem<kla, float>(1, 1 << 20, 8, 4, 3);
  std::mt19937_64 engine(3);
  fill(p.in[4], engine, 0.9, 0.999), fill(p.in[5], engine, 0.001, 0.01);
  const auto exact = run_forward<kla>(seq{}, p.as<double>());
  for (const std::int64_t chunk : {std::int64_t{0}, p.shape.time}) {
    const auto r = run_on_device<kla>(chunk, p);
    CHECK(difference(r.out, exact.out) < 1e-5);
    CHECK(difference(r.final, exact.final) < 1e-5);
  }
}

}  // namespace
}  // namespace kla_regimes_tests
