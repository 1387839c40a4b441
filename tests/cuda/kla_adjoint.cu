// SPDX-License-Identifier: MIT
// The adjoint of KLA on the device: against seq on the host in double, every layout and cut, and bit for bit again.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "kla_device.cuh"

using namespace kla_test;
using kalscan::kla;
using kalscan::seq;

namespace {

const std::vector<std::int64_t> chunks = {0, 1, 16, 40, 1000};

template <class M, class T>
void check_backward(const problem<M, T>& p, double bound) {
  const auto exact = run_backward<M>(seq{}, p.template as<double>());
  for (const std::int64_t chunk : chunks) {
    CAPTURE(chunk);
    const auto r = backward_on_device<M>(chunk, p, 0, true);
    CHECK(difference(r.in_bar, exact.in_bar) < bound);
    CHECK(difference(r.initial_bar, exact.initial_bar) < bound);
    for (const auto& x : r.in_bar) CHECK(x.untouched_between());
    for (const auto& x : r.initial_bar) CHECK(x.untouched_between());
  }
}

TEST_CASE("ragged sizes, all kinds of parameters, strided arrays") {
  std::uint64_t seed = 0;
  for (const given g :
       {given::fixed, given::per_token, given::per_token_channel, given::per_token_state, given::per_batch}) {
    for (const auto& size : {std::array{2, 41, 19, 3}, std::array{1, 100, 1, 1}, std::array{3, 16, 33, 5}}) {
      CAPTURE(size[1]);
      ++seed;
      check_backward(random_problem<kla, float>(size[0], size[1], size[2], size[3], seed, g, seed % 2 == 0), 2e-5);
    }
  }
}

TEST_CASE("any number of states") {
  for (const std::int64_t S : {1, 2, 3, 4, 5, 8, 12, 16, 17, 32, 40, 64, 100, 128, 129, 256}) {
    CAPTURE(S);
    for (const std::int64_t C : {1, 37}) {
      check_backward(random_problem<kla, float>(2, 70, C, S, 90 + static_cast<std::uint64_t>(S)), 2e-5);
    }
  }
  check_backward(random_problem<kla, float>(1, 30, 9, 160, 91, given::per_token, true), 2e-5);
}

TEST_CASE("lengths around tiles and chunks") {
  for (const std::int64_t L : {0, 1, 2, 3, 4, 5, 15, 16, 17, 32, 33, 47, 211}) {
    CAPTURE(L);
    check_backward(random_problem<kla, float>(1, L, 3, 2, 100 + static_cast<std::uint64_t>(L)), 2e-5);
    check_backward(random_problem<kla, float>(1, L, 40, 16, 200 + static_cast<std::uint64_t>(L)), 2e-5);
  }
}

TEST_CASE("packed sequences") {
  for (const given g : {given::fixed, given::per_token}) {
    check_backward(random_problem<kla, float>(1, 124, 21, 3, 5, g, false, {0, 5, 5, 6, 90, 90, 123, 124, 124}), 2e-5);
  }
  check_backward(random_problem<kla, float>(1, 60, 40, 16, 6, given::fixed, true, {0, 0, 60}), 2e-5);
}

TEST_CASE("checkpoints of the forward pass, at any distance, change nothing") {
  for (const std::vector<std::int64_t>& offsets :
       {std::vector<std::int64_t>{}, std::vector<std::int64_t>{0, 40, 40, 47, 100}}) {
    const std::int64_t B = offsets.empty() ? 2 : 1;
    const auto p = random_problem<kla, float>(B, 100, 20, 16, 2, given::fixed, false, offsets);
    const auto exact = run_backward<kla>(seq{}, p.as<double>());
    for (const std::int64_t every : {1, 5, 16, 48, 1000}) {
      for (const std::int64_t chunk : {0, 30}) {
        const auto r = backward_on_device<kla>(chunk, p, every);
        CHECK(difference(r.in_bar, exact.in_bar) < 2e-5);
        CHECK(difference(r.initial_bar, exact.initial_bar) < 2e-5);
      }
    }
  }
}

TEST_CASE("gradients sum into the caller's arrays on request") {
  for (const given g : {given::fixed, given::per_token, given::per_token_state}) {
    const auto p = random_problem<kla, float>(2, 20, 18, 16, 3, g);
    const auto once = backward_on_device<kla>(0, p);
    const auto twice = backward_on_device<kla>(0, p, 0, false, &once);
    for (std::size_t i = 0; i < once.in_bar.size(); ++i) {
      const auto a = once.in_bar[i].list(), b = twice.in_bar[i].list();
      for (std::size_t j = 0; j < a.size(); ++j) CHECK(b[j] == 2 * a[j]);
    }
    CHECK(twice.initial_bar[0].list()[5] == 2 * once.initial_bar[0].list()[5]);
  }
}

TEST_CASE("the same bits 20 times, with another stream busy, and from a graph") {
  cudaStream_t busy;
  ok(cudaStreamCreateWithFlags(&busy, cudaStreamNonBlocking));
  void* noise = nullptr;
  ok(cudaMalloc(&noise, 1 << 26));
  for (const auto& size : {std::array{2, 300, 70, 16}, std::array{1, 500, 5, 3}}) {
    for (const std::int64_t chunk : {0, 48}) {
      const auto p = random_problem<kla, float>(size[0], size[1], size[2], size[3], 1);
      const auto once = backward_on_device<kla>(chunk, p);
      for (int i = 0; i < 20; ++i) {
        ok(cudaMemsetAsync(noise, i, 1 << 26, busy));
        const auto r = backward_on_device<kla>(chunk, p);
        CHECK(same_bits(r.in_bar, once.in_bar));
        CHECK(same_bits(r.initial_bar, once.initial_bar));
      }
      const device_adjoint<kla, float> x(p, 0, false, nullptr);
      kalscan::cuda policy{.chunk = chunk};
      const kalscan::cuda_workspace memory(x.workspace(policy));
      policy.workspace = memory;
      ok(cudaStreamCreate(&policy.stream));
      ok(cudaStreamBeginCapture(policy.stream, cudaStreamCaptureModeGlobal));
      x.backward(policy);
      cudaGraph_t graph;
      cudaGraphExec_t ready;
      ok(cudaStreamEndCapture(policy.stream, &graph));
      ok(cudaGraphInstantiate(&ready, graph, 0));
      ok(cudaGraphLaunch(ready, policy.stream));
      ok(cudaStreamSynchronize(policy.stream));
      CHECK(same_bits(x.result().in_bar, once.in_bar));
      ok(cudaGraphExecDestroy(ready)), ok(cudaGraphDestroy(graph)), ok(cudaStreamDestroy(policy.stream));
    }
  }
  ok(cudaFree(noise)), ok(cudaStreamDestroy(busy));
}

TEST_CASE("a diffuse prior has no adjoint, and spoils no other") {
  auto p = random_problem<kla, float>(1, 30, 17, 2, 6);
  p.in[1].each([](float& x) { x = std::max(x, 0.2F); });
  p.in[2].each([](float& x) { x += x < 0 ? -0.1F : 0.1F; });
  p.initial[0].each([](float& x) { x = 0; });
  p.initial[1].each([](float& x) { x = std::numeric_limits<float>::infinity(); });
  const auto exact = run_backward<kla>(seq{}, p.as<double>());
  for (const std::int64_t chunk : {0, 16}) {
    const auto r = backward_on_device<kla>(chunk, p);
    CHECK(r.initial_bar[0].list() == std::vector<float>(34, 0.0F));
    CHECK(r.initial_bar[1].list() == std::vector<float>(34, 0.0F));
    CHECK(difference(r.in_bar, exact.in_bar) < 2e-5);
  }
}

TEST_CASE("float against double over a long time") {
  const auto p = random_problem<kla, float>(1, 20000, 16, 4, 7);
  const auto exact = run_backward<kla>(seq{}, p.as<double>());
  for (const std::int64_t chunk : {0, 5000, 20000}) {
    CHECK(difference(backward_on_device<kla>(chunk, p).in_bar, exact.in_bar) < 1e-4);
  }
}

TEST_CASE("shapes without lanes or sequences") {
  for (const auto& size : {std::array{0, 20, 3, 2}, std::array{2, 20, 0, 2}, std::array{2, 20, 3, 0}}) {
    for (const given g : {given::fixed, given::per_token, given::per_token_channel}) {
      const auto p = random_problem<kla, float>(size[0], size[1], size[2], size[3], 9, g);
      CHECK(same_bits(backward_on_device<kla>(0, p).in_bar, run_backward<kla>(seq{}, p).in_bar));
      CHECK(same_bits(run_on_device<kla>(0, p).out, run_forward<kla>(seq{}, p).out));
    }
  }
}

TEST_CASE("gradients that nobody asks for are left alone") {
  const auto p = random_problem<kla, float>(2, 40, 18, 16, 8);
  const auto all = run_backward<kla>(seq{}, p.as<double>());
  const device_adjoint<kla, float> x(p, 0, false, nullptr);
  for (std::size_t only = 0; only < 6; ++only) {
    kalscan::cuda policy;
    const kalscan::cuda_workspace memory(x.workspace(policy));
    policy.workspace = memory;
    auto wanted = x.in_bar_views();
    for (std::size_t i = 0; i < 6; ++i) {
      if (i == only) continue;
      ok(cudaMemset(x.in_bar[i].data, 0, x.in_bar[i].host.values.size() * sizeof(float)));
      (i == 0 ? wanted.v : i == 1 ? wanted.Lambda : i == 2 ? wanted.k : i == 3 ? wanted.q : i == 4 ? wanted.a : wanted.p) = {};
    }
    auto states = x.states();
    states.initial_bar = {};
    kalscan::backward(policy, kla{}, p.shape, x.d.in_views(), x.d.out_bar_views(), wanted, states);
    ok(cudaDeviceSynchronize());
    const auto r = x.result();
    for (std::size_t i = 0; i < 6; ++i) {
      if (i == only) CHECK(difference(r.in_bar[i], all.in_bar[i]) < 2e-5);
      if (i != only) CHECK(r.in_bar[i].list() == std::vector<float>(r.in_bar[i].values.size(), 0.0F));
    }
  }
}

}  // namespace

int main(int argc, char** argv) { return kla_test::run_tests(argc, argv); }
