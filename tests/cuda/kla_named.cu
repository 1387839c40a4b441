// SPDX-License-Identifier: MIT
// The policy cuda_for: kernels that are named, of one number of states or of every call.
#include <doctest/doctest.h>

#include <stdexcept>
#include <utility>

#include "kla_device.cuh"

namespace kla_named_tests {
using namespace kla_test;
using kalscan::kla;

namespace {

using four = kalscan::cuda_for<kalscan::mixer_kernels{.states = 4, .parameters_vary = false}>;

template <class P>
auto forward_and_backward(P policy, const problem<kla, float>& p) {
  const device_adjoint<kla, float> x(p, 0, false, nullptr);
  const kalscan::cuda_workspace memory(x.workspace(policy));
  policy.workspace = memory;
  x.d.forward(policy);
  x.backward(policy);
  ok(cudaDeviceSynchronize());
  return std::pair{x.d.result(), x.result()};
}

TEST_CASE("cuda_for gives what cuda gives") {
  for (const std::int64_t chunk : {0, 16, 1000}) {
    for (const std::int64_t length : {1, 3, 16, 100}) {
      CAPTURE(chunk);
      CAPTURE(length);
      const auto p = random_problem<kla, float>(2, length, 133, 4, 7, given::fixed, false);
      const auto all = forward_and_backward(kalscan::cuda{.chunk = chunk}, p);
      const auto named = forward_and_backward(four{{.chunk = chunk}}, p);
      CHECK(difference(named.first.out, all.first.out) == 0);
      CHECK(difference(named.first.final, all.first.final) == 0);
      CHECK(difference(named.second.in_bar, all.second.in_bar) == 0);
      CHECK(difference(named.second.initial_bar, all.second.initial_bar) == 0);
    }
  }
}

TEST_CASE("cuda refuses more states than it has kernels for, and says which policy has them") {
  const auto many = random_problem<kla, float>(1, 5, 3, 129, 7, given::fixed, false);
  const char* advice =
      "states is 129, but the policy has kernels of up to 128; one that has them is "
      "kalscan::cuda_for<kalscan::mixer_kernels{.states = 129}>, and of any number up to 256 "
      "kalscan::cuda_for<kalscan::all_mixer_kernels>";
  CHECK_THROWS_WITH_AS((device_problem<kla, float>(many, 0, false).forward(kalscan::cuda{})), doctest::Contains(advice),
                       std::invalid_argument);
  const device_adjoint<kla, float> x(many, 0, false, nullptr);
  CHECK_THROWS_WITH_AS(x.backward(kalscan::cuda{}), doctest::Contains(advice), std::invalid_argument);
  const auto more = random_problem<kla, float>(1, 5, 3, 257, 7, given::fixed, false);
  CHECK_THROWS_WITH_AS((device_problem<kla, float>(more, 0, false).forward(all_kernels{})),
                       doctest::Contains("states is 257, more than 256"), std::invalid_argument);
}

TEST_CASE("cuda_for refuses what it has no kernels for, by name") {
  const auto eight = random_problem<kla, float>(1, 5, 3, 8, 7, given::fixed, false);
  CHECK_THROWS_WITH_AS(
      (device_problem<kla, float>(eight, 0, false).forward(four{})),
      doctest::Contains("forward: states is 8, but the policy cuda_for has kernels of 4 alone"), std::invalid_argument);
  const auto varying = random_problem<kla, float>(1, 5, 3, 4, 7, given::per_token, false);
  const device_adjoint<kla, float> x(varying, 0, false, nullptr);
  CHECK_THROWS_WITH_AS(
      x.backward(four{}),
      doctest::Contains("backward: parameters are given per token, but the policy cuda_for has parameters_vary"),
      std::invalid_argument);
}

}  // namespace
}  // namespace kla_named_tests
