// SPDX-License-Identifier: MIT
// The adjoint of KLA on the device: against seq on the host in double, every layout and cut, and bit for bit again.
#include <doctest/doctest.h>

#include <algorithm>

#include "../kla/information.hpp"
#include "kla_device.cuh"
#include "tool.hpp"
#include "turns.cuh"

namespace kla_adjoint_tests {
using namespace kla_test;
using kalscan::kla;
using kalscan::seq;

namespace {

const std::vector<std::int64_t> chunks = or_few<std::int64_t>({0, 16, 1, 40, 1000}, 2);

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
  for (const std::int64_t S : or_few<std::int64_t>({1, 5, 16, 129, 2, 3, 4, 8, 12, 17, 32, 40, 64, 100, 128, 256}, 4)) {
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
  for (const given g :
       {given::fixed, given::per_token, given::per_token_channel, given::per_token_state, given::per_batch}) {
    for (const std::int64_t chunk : {100, 16}) {
      const auto p = random_problem<kla, float>(2, 50, 18, 16, 3, g);
      const auto once = backward_on_device<kla>(chunk, p, 0, true);
      const auto twice = backward_on_device<kla>(chunk, p, 0, true, &once);
      const auto doubled = [](const auto& x, const auto& y) {
        for (std::size_t i = 0; i < x.size(); ++i) {
          const auto a = x[i].list(), b = y[i].list();
          for (std::size_t j = 0; j < a.size(); ++j) CHECK(b[j] == 2 * a[j]);
          CHECK(y[i].untouched_between());
        }
      };
      doubled(once.in_bar, twice.in_bar), doubled(once.initial_bar, twice.initial_bar);
    }
  }
}

TEST_CASE("parameters that channels, states or both share") {
  for (const auto& extent : {std::array{1, 1, 1, 6}, std::array{1, 1, 1200, 1}, std::array{1, 1, 1, 1},
                             std::array{2, 20, 1, 1}, std::array{2, 1, 1, 6}}) {
    CAPTURE(extent[2]);
    CAPTURE(extent[3]);
    auto p = random_problem<kla, float>(2, 20, 1200, 6, 17);
    std::mt19937_64 engine(17);
    for (const std::size_t i : {4, 5}) {
      p.in[i] = array<float>(extent[0], extent[1], extent[2], extent[3], true);
      fill(p.in[i], engine, 0.4, 0.9);
    }
    check_backward(p, 1e-4);
  }
}

TEST_CASE("gains above one may take elements of the adjoint out of range, not results") {
  auto p = random_problem<kla, float>(1, 1200, 3, 2, 12);
  p.in[4].each([](float& x) { x = 1.1F; });
  p.in[5].each([](float& x) { x = 0; });
  p.final_bar[1].each([](float& x) { x = 0; });
  for (std::int64_t t = 400; t < 830; ++t) p.in[1].view()(0, t, 1, 0) = 0;  // 1.1^2 grows to 4e35
  const auto exact = run_backward<kla>(seq{}, p.as<double>());
  const auto sequential = run_backward<kla>(seq{}, p);
  const auto split = backward_on_device<kla>(400, p);
  for (std::size_t i = 0; i < exact.in_bar.size(); ++i) {
    CHECK(difference(split.in_bar[i], exact.in_bar[i]) <=
          std::max(1e-4, 4 * difference(sequential.in_bar[i], exact.in_bar[i])));
  }
}

TEST_CASE("what is not given is zero, or the mixer's own start") {
  const auto p = random_problem<kla, float>(2, 70, 37, 16, 13);
  const device_adjoint<kla, float> x(p, 0, false, nullptr);
  for (const std::int64_t chunk : {0, 16}) {
    all_kernels policy{{.chunk = chunk}};
    const kalscan::cuda_workspace memory(x.workspace(policy));
    policy.workspace = memory;
    auto out = x.d.out_views();
    out.yvar = {};
    kalscan::forward(policy, kla{}, p.shape, x.d.in_views(), out);
    auto bars = x.d.out_bar_views();
    bars.yvar = {};
    kalscan::backward(policy, kla{}, p.shape, x.d.in_views(), bars, x.in_bar_views());
    ok(cudaDeviceSynchronize());
    auto plain = p;
    plain.initial[0].each([](float& v) { v = 0; }), plain.initial[1].each([](float& v) { v = 1; });
    for (auto& bar : plain.final_bar) bar.each([](float& v) { v = 0; });
    plain.out_bar[1].each([](float& v) { v = 0; });
    CHECK(difference(x.d.result().out[0], run_forward<kla>(seq{}, plain.as<double>()).out[0]) < 1e-5);
    CHECK(difference(x.result().in_bar, run_backward<kla>(seq{}, plain.as<double>()).in_bar) < 2e-5);
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
      for (int i = 0; i < (under_a_tool() ? 2 : 20); ++i) {
        ok(cudaMemsetAsync(noise, i, 1 << 26, busy));
        const auto r = backward_on_device<kla>(chunk, p);
        CHECK(same_bits(r.in_bar, once.in_bar));
        CHECK(same_bits(r.initial_bar, once.initial_bar));
      }
      const device_adjoint<kla, float> x(p, 0, false, nullptr);
      all_kernels policy{{.chunk = chunk}};
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

TEST_CASE("sequences taken in turns have the bits of those taken whole") {
  check_turns<kla>([](const auto&) {});
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
    all_kernels policy;
    const kalscan::cuda_workspace memory(x.workspace(policy));
    policy.workspace = memory;
    auto wanted = x.in_bar_views();
    for (std::size_t i = 0; i < 6; ++i) {
      if (i == only) continue;
      ok(cudaMemset(x.in_bar[i].data, 0, x.in_bar[i].host.values.size() * sizeof(float)));
      (i == 0   ? wanted.v
       : i == 1 ? wanted.Lambda
       : i == 2 ? wanted.k
       : i == 3 ? wanted.q
       : i == 4 ? wanted.a
                : wanted.p) = {};
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

template <class Tensor>
kalscan::information_belief<Tensor> information_views(const std::vector<device_array<float>>& x) {
  return {Tensor(x[0].view()), Tensor(x[1].view())};
}

/// Runs backward on the device with all beliefs and their adjoints in information form.
backward_result<float> information_on_device(std::int64_t chunk, const information_problem<float>& p,
                                             std::int64_t every = 0) {
  const device_adjoint<kla, float> x(p, every, false, nullptr);
  all_kernels policy{{.chunk = chunk}};
  const kalscan::cuda_workspace memory(x.workspace(policy));
  policy.workspace = memory;
  auto states = x.states();
  states.initial = information_views<tensor<const float>>(x.d.initial);
  states.final_bar = information_views<tensor<const float>>(x.d.final_bar);
  states.initial_bar = information_views<tensor<float>>(x.initial_bar);
  if (every > 0) {
    auto forward = x.d.states();
    forward.initial = states.initial;
    kalscan::forward(policy, kla{}, x.d.p.shape, x.d.in_views(), x.d.out_views(), forward);
  }
  kalscan::backward(policy, kla{}, x.d.p.shape, x.d.in_views(), x.d.out_bar_views(), x.in_bar_views(), states);
  ok(cudaDeviceSynchronize());
  return x.result();
}

TEST_CASE("in information form derivatives are those of the paper's recurrence, at precision 0 too") {
  std::uint64_t seed = 0;
  for (const family& f : families) {
    CAPTURE(f.precision);
    CAPTURE(f.gap);
    CAPTURE(f.a_low);
    ++seed;
    // Gains above one grow variances up to the bound between the forms, where an adjoint in moments is a difference of
    // far larger terms: measured 5e-3 there with the device's reciprocals.
    const double bound = f.a_low > 1 ? 1e-2 : 1e-4;
    const auto check = [&](const information_problem<float>& x) {
      const auto exact = x.derivatives();
      for (const std::int64_t chunk : {0, 16, 32, 1000}) {
        CAPTURE(chunk);
        CHECK(worst_difference(information_on_device(chunk, x), exact) < bound);
      }
      CHECK(worst_difference(information_on_device(16, x, 16), exact) < bound);
    };
    check(information_problem_of<float>(f, seed, seed % 2 == 0 ? given::per_token : given::fixed));
    if (seed % 4 == 0) check(information_problem_of<float>(f, seed, given::fixed, 5, 16));
  }
}

TEST_CASE("final beliefs in information form are those of the host, at precision 0 too, and so is a step in pointer") {
  std::uint64_t seed = 0;
  for (const family& f : families) {
    CAPTURE(f.precision);
    CAPTURE(f.gap);
    const auto p = information_problem_of<float>(f, ++seed, given::fixed, 5, 8);
    const auto exact = information_forward(seq{}, p);
    for (const std::int64_t chunk : {0, 16, 1000}) {
      CAPTURE(chunk);
      const device_problem<kla, float> d(p, 0, false);
      all_kernels policy{{.chunk = chunk}};
      const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, kla{}, p.shape));
      policy.workspace = memory;
      kalscan::forward(policy, kla{}, d.p.shape, d.in_views(), d.out_views(),
                       {.initial = information_views<tensor<const float>>(d.initial),
                        .final = information_views<tensor<float>>(d.final)});
      ok(cudaDeviceSynchronize());
      CHECK(difference(to_host(d.final), exact.final) < 1e-5);
    }
    if (!f.offsets.empty()) continue;
    const device_problem<kla, float> d(p, 0, false);
    auto shape = p.shape;
    shape.time = 1;
    for (std::int64_t t = 0; t < 47; ++t) {
      const auto token = [&](auto x) {
        if (x.extent[1] != 1) x.data += t * x.stride[1], x.extent[1] = 1;
        return x;
      };
      const auto in = d.in_views();
      const auto out = d.out_views();
      kalscan::step(all_kernels{}, kla{}, shape,
                    kalscan::kla_inputs{token(in.v), token(in.Lambda), token(in.k), token(in.q), in.a, in.p},
                    kalscan::kla_outputs{token(out.y), token(out.yvar)}, information_views<tensor<float>>(d.initial));
    }
    ok(cudaDeviceSynchronize());
    CHECK(difference(to_host(d.initial), exact.final) < 1e-5);
  }
}

TEST_CASE("half a final adjoint has zeros for the other half, and half an initial one is all that is computed") {
  auto p = random_problem<kla, float>(2, 40, 18, 16, 21);
  for (const bool mean : {false, true}) {
    p.final_bar[mean ? 1 : 0].each([](float& x) { x = 0; });
    const auto exact = run_backward<kla>(seq{}, p.as<double>());
    for (const std::int64_t chunk : {0, 16}) {
      const device_adjoint<kla, float> x(p, 0, false, nullptr);
      all_kernels policy{{.chunk = chunk}};
      const kalscan::cuda_workspace memory(x.workspace(policy));
      policy.workspace = memory;
      auto states = x.states();
      (mean ? states.final_bar.variance : states.final_bar.mean) = {};
      (mean ? states.initial_bar.variance : states.initial_bar.mean) = {};
      kalscan::backward(policy, kla{}, p.shape, x.d.in_views(), x.d.out_bar_views(), x.in_bar_views(), states);
      ok(cudaDeviceSynchronize());
      const auto r = x.result();
      CHECK(difference(r.in_bar, exact.in_bar) < 2e-5);
      CHECK(difference(r.initial_bar[mean ? 0 : 1], exact.initial_bar[mean ? 0 : 1]) < 2e-5);
      CHECK(r.initial_bar[mean ? 1 : 0].list() == std::vector<float>(2 * 18 * 16, 0.0F));
    }
    p = random_problem<kla, float>(2, 40, 18, 16, 22);
  }
}

}  // namespace
}  // namespace kla_adjoint_tests
