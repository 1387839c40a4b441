// SPDX-License-Identifier: MIT
// KLA on the device in double, to double's precision.
#define DOCTEST_CONFIG_IMPLEMENT
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

}  // namespace

int main(int argc, char** argv) { return kla_test::run_tests(argc, argv); }
