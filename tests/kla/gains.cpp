// SPDX-License-Identifier: MIT
// Gains above one: what summarizes a stretch of time may leave the range of its numbers where no state does.
#include <doctest/doctest.h>

#include <algorithm>

#include "problem.hpp"
#include "shared.hpp"

namespace gains_tests {
using namespace kla_test;
using kalscan::gla;
using kalscan::kla;
using kalscan::omp;
using kalscan::seq;

namespace {

/// Gains of one half, but so large ones at times [from, to) that their product is infinite; nothing is seen before
/// `to`, so that lanes without a past stay at zero.
template <class M, class T>
problem<M, T> burst(std::int64_t channels, std::int64_t length, std::int64_t from, std::int64_t to, T gain) {
  auto p = random_problem<M, T>(1, length, channels, 2, 5, given::per_token);
  for (std::size_t i = 0; i < p.in.size(); ++i) {
    if (!M::inputs_info[i].gain) continue;
    const auto g = p.in[i].view();
    for (std::int64_t t = 0; t < length; ++t) {
      // One channel alone has them: its neighbours in a line go on as they would without it.
      for (std::int64_t m = 0; m < channels; ++m)
        for (std::int64_t s = 0; s < 2; ++s) g(0, t, m, s) = m == channels - 1 && t >= from && t < to ? gain : T(0.5);
    }
  }
  const auto v = p.in[0].view();
  for (std::int64_t t = 0; t < to; ++t) v(0, t, channels - 1, 0) = T(0);
  p.initial[0].each([](T& x) { x = T(0); });
  return p;
}

TEST_CASE("a chunk whose gains overflow leaves a state of zero at zero") {
  std::vector<float> v(300, 0), ones(300, 1), g(300, 0.5F), y(300);
  std::fill(v.begin() + 201, v.end(), 1.0F);
  std::fill(g.begin() + 128, g.begin() + 136, 1e30F);
  const auto in = [](const std::vector<float>& x) { return tensor<const float>(x.data(), 1, 300, 1, 1); };
  for (const auto& policy : {omp{1, 64}, omp{2, 64}, omp{2, 100}, omp{2, 130}, omp{2, 7}}) {
    CAPTURE(policy.chunk);
    kalscan::forward(policy, gla{}, {1, 300, 1, 1}, kalscan::gla_inputs{in(v), in(ones), in(ones), in(g)},
                     kalscan::gla_outputs{tensor<float>(y.data(), 1, 300, 1, 1)});
    CHECK(y[199] == 0);
    CHECK(y[299] == 2);
  }
}

TEST_CASE_TEMPLATE("gains whose product overflows do no harm where time is split, forward and backward", M, gla, kla) {
  for (const std::int64_t channels : {1, 19}) {
    auto p = burst<M, float>(channels, 300, 128, 136, std::is_same_v<M, gla> ? 1e30F : 1e12F);
    if constexpr (!std::is_same_v<M, gla>) {
      // The belief is certain until the gains are past: it neither widens nor moves.
      p.initial[1].each([](float& x) { x = 0; });
      const auto noise = p.in[5].view();
      for (std::int64_t t = 0; t < 136; ++t)
        for (std::int64_t s = 0; s < 2; ++s) noise(0, t, channels - 1, s) = 0;
    }
    // What follows the large gains has no say, so that the adjoints before them stay finite.
    for (auto& x : p.out_bar) {
      const auto bar = x.view();
      for (std::int64_t t = 128; t < 300; ++t) bar(0, t, channels - 1, 0) = 0;
    }
    for (auto& x : p.final_bar) x.each([](float& e) { e = 0; });
    const auto exact = run_forward<M>(seq{}, p, 16);
    const auto exact_back = run_backward<M>(seq{}, p);
    CHECK(difference(exact.out, exact.out) == 0);  // finite
    CHECK(difference(exact_back.in_bar, exact_back.in_bar) == 0);
    const std::vector<omp> all{omp{1, 64}, omp{2, 64}, omp{3, 33}, omp{2, 16}}, few{omp{2, 64}, omp{3, 33}};
    for (const auto& policy : unless_slow(all, few)) {
      CAPTURE(policy.chunk);
      const auto r = run_forward<M>(policy, p, 16);
      CHECK(difference(r.out, exact.out) < 1e-5);
      CHECK(difference(r.final, exact.final) < 1e-5);
      CHECK(difference(r.checkpoints, exact.checkpoints) < 1e-5);
      CHECK(same_bits(r.out, run_forward<M>(omp{7, policy.chunk}, p, 16).out));
      const auto back = run_backward<M>(policy, p);
      CHECK(difference(back.in_bar, exact_back.in_bar) < 1e-5);
      CHECK(difference(back.initial_bar, exact_back.initial_bar) < 1e-5);
      CHECK(same_bits(back.in_bar, run_backward<M>(omp{7, policy.chunk}, p).in_bar));
    }
  }
}

TEST_CASE("an overflow within a chunk that leaves finite numbers behind is noticed") {
  // While the variance overflows the observation decides alone: the step says so, and so must the chunk.
  auto p = random_problem<kla, float>(1, 90, 1, 1, 3, given::per_token);
  for (auto& x : p.in) x.each([](float& e) { e = 1; });
  const auto v = p.in[0].view(), precision = p.in[1].view(), a = p.in[4].view(), noise = p.in[5].view();
  for (std::int64_t t = 0; t < 90; ++t) {
    v(0, t, 0, 0) = 3;
    noise(0, t, 0, 0) = t == 40 ? 1e25F : 0;
    precision(0, t, 0, 0) = t == 40 ? 0 : t == 41 ? 1e25F : 1;
    a(0, t, 0, 0) = 1;
  }
  const auto exact = run_forward<kla>(seq{}, p);
  CHECK(exact.out[0].view()(0, 89, 0, 0) == 3);
  for (const std::int64_t chunk : {30, 16}) CHECK(difference(run_forward<kla>(omp{2, chunk}, p).out, exact.out) < 1e-6);
}

}  // namespace
}  // namespace gains_tests
