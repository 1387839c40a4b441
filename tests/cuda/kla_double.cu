// SPDX-License-Identifier: MIT
// KLA on the device in double, to double's precision.
#include <doctest/doctest.h>

#include "kla_device.cuh"

using namespace kla_test;
using kalscan::kla;
using kalscan::seq;

namespace {

TEST_CASE("double") {
  const auto p = random_problem<kla, double>(2, 70, 40, 16, 9);
  const auto forward = run_forward<kla>(seq{}, p);
  const auto backward = run_backward<kla>(seq{}, p);
  for (const std::int64_t chunk : {0, 32}) {
    CHECK(difference(run_on_device<kla>(chunk, p).out, forward.out) < 1e-12);
    CHECK(difference(backward_on_device<kla>(chunk, p).in_bar, backward.in_bar) < 1e-11);
  }
}

TEST_CASE("double with parameters that vary, and what a block's memory cannot hold") {
  for (const std::int64_t S : {3, 5, 16, 40, 200}) {
    CAPTURE(S);
    const auto p = random_problem<kla, double>(1, 40, 20, S, 10, given::per_token);
    try {
      const auto r = backward_on_device<kla>(0, p);
      CHECK(difference(r.in_bar, run_backward<kla>(seq{}, p).in_bar) < 1e-11);
    } catch (const std::invalid_argument& error) {
      CHECK(S <= 4);
      CHECK(std::string(error.what()).find("bytes of shared memory, more than the") != std::string::npos);
    }
  }
}

}  // namespace
