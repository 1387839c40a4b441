// SPDX-License-Identifier: MIT
// KLA on the device in double, to double's precision.
#include <doctest/doctest.h>

#include "kla_device.cuh"

namespace kla_double_tests {
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

TEST_CASE("double with parameters that vary fits a block's memory with any number of states") {
  for (const std::int64_t S : {3, 5, 16, 40, 200}) {
    CAPTURE(S);
    const auto p = random_problem<kla, double>(1, 40, 20, S, 10, given::per_token);
    const auto exact = run_backward<kla>(seq{}, p);
    for (const std::int64_t every : {0, 8, 16})  // of the forward pass: 8 are those that backward takes
      CHECK(difference(backward_on_device<kla>(0, p, every).in_bar, exact.in_bar) < 1e-11);
  }
}

}  // namespace
}  // namespace kla_double_tests
