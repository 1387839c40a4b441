// SPDX-License-Identifier: MIT
// KLA on the device, forward: against seq on the host, every layout and cut, in every regime.
#include <doctest/doctest.h>

#include "kla_device.cuh"
#include "tool.hpp"

namespace kla_forward_tests {
using namespace kla_test;
using kalscan::kla;
using kalscan::seq;

namespace {

const std::vector<std::int64_t> chunks = or_few<std::int64_t>({0, 7, 1, 16, 33, 1000}, 2);

template <class M, class T>
void check_forward(const problem<M, T>& p, double bound) {
  for (const std::int64_t every : or_few<std::int64_t>({16, 5, 0}, 2)) {  // 0 and 16: whole tiles; 5: step by step
    CAPTURE(every);
    const auto exact = run_forward<M>(seq{}, p.template as<double>(), every);
    for (const std::int64_t chunk : chunks) {
      CAPTURE(chunk);
      const auto r = run_on_device<M>(chunk, p, every, true);
      CHECK(difference(r.out, exact.out) < bound);
      CHECK(difference(r.final, exact.final) < bound);
      CHECK(difference(r.checkpoints, exact.checkpoints) < bound);
      for (const auto& x : r.out) CHECK(x.untouched_between());
      for (const auto& x : r.checkpoints) CHECK(x.untouched_between());
    }
  }
}

TEST_CASE("ragged sizes, all kinds of parameters, strided arrays") {
  std::uint64_t seed = 0;
  for (const given g :
       {given::fixed, given::per_token, given::per_token_channel, given::per_token_state, given::per_batch}) {
    for (const auto& size : {std::array{2, 41, 19, 3}, std::array{1, 100, 1, 1}, std::array{3, 16, 33, 5}}) {
      CAPTURE(size[1]);
      ++seed;
      check_forward(random_problem<kla, float>(size[0], size[1], size[2], size[3], seed, g, seed % 2 == 0), 1e-5);
    }
  }
}

TEST_CASE("any number of states") {
  for (const std::int64_t S : or_few<std::int64_t>({1, 5, 16, 129, 2, 3, 4, 8, 12, 17, 32, 40, 64, 100, 128, 256}, 4)) {
    CAPTURE(S);
    for (const std::int64_t C : {1, 37}) {
      check_forward(random_problem<kla, float>(2, 70, C, S, 90 + static_cast<std::uint64_t>(S)), 1e-5);
      check_forward(random_problem<kla, float>(3, 1, C, S, 190 + static_cast<std::uint64_t>(S)), 1e-5);  // one token
    }
  }
  check_forward(random_problem<kla, float>(1, 30, 9, 160, 91, given::per_token, true), 1e-5);
}

TEST_CASE("lengths around tiles and chunks") {
  for (const std::int64_t L : {0, 1, 2, 3, 4, 5, 15, 16, 17, 32, 33, 47, 211}) {
    CAPTURE(L);
    check_forward(random_problem<kla, float>(1, L, 3, 2, 100 + static_cast<std::uint64_t>(L)), 1e-5);
    check_forward(random_problem<kla, float>(1, L, 40, 16, 200 + static_cast<std::uint64_t>(L)), 1e-5);
  }
}

TEST_CASE("packed sequences, empty and short ones among them, and more than a launch carries") {
  for (const given g : {given::fixed, given::per_token}) {
    check_forward(random_problem<kla, float>(1, 124, 21, 3, 5, g, false, {0, 5, 5, 6, 90, 90, 123, 124, 124}), 1e-5);
  }
  check_forward(random_problem<kla, float>(1, 60, 40, 16, 6, given::fixed, true, {0, 0, 60}), 1e-5);
  std::vector<std::int64_t> many = {0};
  for (int i = 1; i < 1200; ++i) many.push_back(many.back() + i % 3);
  check_forward(random_problem<kla, float>(1, many.back(), 3, 4, 7, given::fixed, false, many), 1e-5);
}

TEST_CASE("the same bits 20 times, and from a graph") {
  const auto p = random_problem<kla, float>(2, 300, 70, 16, 1);
  for (const std::int64_t chunk : {0, 50}) {
    const auto once = run_on_device<kla>(chunk, p, 16);
    for (int i = 0; i < (under_a_tool() ? 2 : 20); ++i) {
      const auto r = run_on_device<kla>(chunk, p, 16);
      CHECK(same_bits(r.out, once.out));
      CHECK(same_bits(r.final, once.final));
      CHECK(same_bits(r.checkpoints, once.checkpoints));
    }
    const device_problem<kla, float> d(p, 16, false);
    all_kernels policy{{.chunk = chunk}};
    const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, kla{}, p.shape));
    policy.workspace = memory;
    ok(cudaStreamCreate(&policy.stream));
    ok(cudaStreamBeginCapture(policy.stream, cudaStreamCaptureModeGlobal));
    d.forward(policy);
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    ok(cudaStreamEndCapture(policy.stream, &graph));
    ok(cudaGraphInstantiate(&ready, graph, 0));
    for (int i = 0; i < 2; ++i) {
      ok(cudaMemset(d.out[0].data, 0xff, d.out[0].host.values.size() * sizeof(float)));
      ok(cudaGraphLaunch(ready, policy.stream));
      ok(cudaStreamSynchronize(policy.stream));
      CHECK(same_bits(d.result().out, once.out));
    }
    ok(cudaGraphExecDestroy(ready)), ok(cudaGraphDestroy(graph)), ok(cudaStreamDestroy(policy.stream));
  }
}

TEST_CASE("a token at a time, states in pointer, is the whole") {
  struct {
    std::int64_t batch, time, channels, states;
    given g;
    bool strided, diffuse;
  } cases[] = {{3, 20, 37, 16, given::fixed, false, false},       {3, 5, 37, 5, given::per_batch, false, false},
               {2, 4, 9, 160, given::per_token, false, false},    {4201, 2, 37, 16, given::fixed, false, false},
               {2803, 2, 300, 3, given::per_batch, false, false}, {2803, 2, 300, 3, given::per_token, false, false},
               {4201, 2, 37, 16, given::fixed, false, true},      {9, 4, 37, 12, given::fixed, false, true},
               {5, 4, 37, 20, given::per_batch, false, true},     {5, 4, 37, 16, given::fixed, true, true}};
  for (const auto& c : cases) {
    CAPTURE(c.batch);
    CAPTURE(c.states);
    auto p = random_problem<kla, float>(c.batch, c.time, c.channels, c.states, 2, c.g, c.strided);
    if (c.diffuse) {  // some lanes of some sequences, which take their warps out of the fast way
      for (std::int64_t n = 0; n < c.batch; n += 4) {
        for (std::int64_t s = n % 3; s < c.states; s += 3)
          p.initial[1].view()(n, 0, n % c.channels, s) = std::numeric_limits<float>::infinity();
      }
    }
    const auto whole = run_forward<kla>(seq{}, p.template as<double>());
    const device_problem<kla, float> d(p, 0, false);
    const auto state = device_views<kalscan::state_tensors<kla, float>, tensor<float>>(d.initial);
    const auto token = [](auto x, std::int64_t t) {
      if (x.extent[1] == 1) return x;
      x.data += t * x.stride[1], x.extent[1] = 1;
      return x;
    };
    const auto in = d.in_views();
    const auto out = d.out_views();
    auto shape = p.shape;
    shape.time = 1;
    for (std::int64_t t = 0; t < c.time; ++t) {
      kalscan::step(all_kernels{}, kla{}, shape,
                    kalscan::kla_inputs{token(in.v, t), token(in.Lambda, t), token(in.k, t), token(in.q, t),
                                        token(in.a, t), token(in.p, t)},
                    kalscan::kla_outputs{token(out.y, t), token(out.yvar, t)}, state);
    }
    ok(cudaDeviceSynchronize());
    CHECK(difference(to_host(d.out), whole.out) < 1e-5);
    CHECK(difference(to_host(d.initial), whole.final) < 1e-5);
  }
}

TEST_CASE("gains above one may take elements out of range, not results") {
  auto q = random_problem<kla, float>(1, 4000, 3, 2, 11);
  q.in[4].each([](float& x) { x = 1.1F; });
  q.in[5].each([](float& x) { x = 0; });
  q.in[1].each([](float& x) { x = 1e4F; });
  q.in[2].each([](float& x) { x += x < 0 ? -0.1F : 0.1F; });
  for (std::int64_t t = 0; t < 4000; ++t) {  // gaps over which 1.1^2 grows to 4e35: times 1e4 only an element overflows
    if (t % 1000 >= 500 && t % 1000 < 930) q.in[1].view()(0, t, 1, 0) = 0;
  }
  const auto exact = run_forward<kla>(seq{}, q.as<double>());
  CHECK(difference(run_on_device<kla>(500, q).out, exact.out) < 1e-4);
  CHECK(difference(run_on_device<kla>(0, q).out, exact.out) < 1e-4);
}

TEST_CASE("runs of steps out of range are walked") {
  // Observations so precise that no four steps of them have a map in float, and a prior that some chunks leave diffuse.
  auto q = random_problem<kla, float>(1, 200, 3, 5, 12);
  q.in[5].each([](float& x) { x = 1; });
  q.in[2].each([](float& x) { x += x < 0 ? -0.1F : 0.1F; });
  q.initial[1].each([](float& x) { x = std::numeric_limits<float>::infinity(); });
  for (std::int64_t t = 0; t < 200; ++t) {
    q.in[1].view()(0, t, 1, 0) = 1e20F;
    if (t < 100) {
      q.in[1].view()(0, t, 2, 0) = 0;
      for (std::int64_t s = 0; s < 5; ++s) q.in[3].view()(0, t, 0, s) = 0;  // no infinite variance is read
    }
  }
  const auto exact = run_forward<kla>(seq{}, q.as<double>());
  for (const std::int64_t chunk : {0, 16, 64}) {
    CAPTURE(chunk);
    CHECK(difference(run_on_device<kla>(chunk, q).out, exact.out) < 1e-5);
  }
  // A prior so wide that a chunk's information times its variance overflows, after a chunk without any.
  auto wide = random_problem<kla, float>(1, 192, 3, 4, 14);
  wide.in[1].each([](float& x) { x = 1e7F; });
  wide.in[2].each([](float& x) { x = 1; });
  wide.in[4].each([](float& x) { x = 1; });
  wide.in[5].each([](float& x) { x = 0; });
  wide.initial[1].each([](float& x) { x = 1e30F; });
  for (std::int64_t t = 0; t < 64; ++t) {
    for (std::int64_t m = 0; m < 3; ++m) wide.in[1].view()(0, t, m, 0) = 0;
    for (std::int64_t s = 0; s < 4; ++s) wide.in[3].view()(0, t, 0, s) = 0;
  }
  CHECK(difference(run_on_device<kla>(64, wide).out, run_forward<kla>(seq{}, wide.as<double>()).out) < 1e-5);
}

TEST_CASE("channels that abound have a thread each") {
  const auto p = random_problem<kla, float>(27, 37, 1300, 16, 13);  // 34560 in whole blocks of 128, ragged tiles
  const auto exact = run_forward<kla>(seq{}, p.as<double>(), 16);
  const auto r = run_on_device<kla>(0, p, 16, true);
  CHECK(difference(r.out, exact.out) < 1e-5);
  CHECK(difference(r.final, exact.final) < 1e-5);
  CHECK(difference(r.checkpoints, exact.checkpoints) < 1e-5);
  for (const auto& x : r.out) CHECK(x.untouched_between());
}

TEST_CASE("a prior in information form is the same prior, and precision 0 is no prior at all") {
  auto p = random_problem<kla, float>(2, 40, 18, 3, 7);
  for (const bool diffuse : {false, true}) {
    if (diffuse) {
      p.initial[0].each([](float& x) { x = 0; });
      p.initial[1].each([](float& x) { x = std::numeric_limits<float>::infinity(); });
    }
    const auto exact = run_forward<kla>(seq{}, p.as<double>());
    std::vector<array<float>> information = p.initial;
    for (std::size_t i = 0; i < information[0].values.size(); ++i) {
      information[0].values[i] = 1 / p.initial[1].values[i];
      information[1].values[i] = p.initial[0].values[i] / p.initial[1].values[i];
    }
    const auto there = to_device(information);
    for (const std::int64_t chunk : {0, 9}) {
      const device_problem<kla, float> d(p, 0, false);
      all_kernels policy{{.chunk = chunk}};
      const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, kla{}, p.shape));
      policy.workspace = memory;
      kalscan::forward(policy, kla{}, p.shape, d.in_views(), d.out_views(),
                       {.initial = kalscan::information_belief<tensor<const float>>{there[0].view(), there[1].view()}});
      ok(cudaDeviceSynchronize());
      CHECK(difference(d.result().out, exact.out) < 1e-5);
      CHECK(difference(run_on_device<kla>(chunk, p).out, exact.out) < 1e-5);
    }
  }
}

TEST_CASE("bad calls are refused by name") {
  const auto p = random_problem<kla, float>(2, 40, 18, 3, 7);
  const device_problem<kla, float> d(p, 0, false);
  const auto message = [&](auto call) {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  auto in = d.in_views();
  in.k = p.in[2].view();
  CHECK(message([&] { kalscan::forward(all_kernels{}, kla{}, p.shape, in, d.out_views()); }) ==
        "kalscan::forward: k is in host memory, not in device memory");
  in = d.in_views();
  in.k.extent[3] = 4;
  CHECK(message([&] { kalscan::forward(all_kernels{}, kla{}, p.shape, in, d.out_views()); }) ==
        "kalscan: k is [2, 40, 1, 4], not [2, 40, 1, 3]");
  CHECK(message([&] { d.forward(all_kernels{{.chunk = 7}}); }).find("workspace has 0 bytes, but") != std::string::npos);
  CHECK(message([&] {
          kalscan::forward(all_kernels{}, kla{}, p.shape, d.in_views(), d.out_views(), {}, kalscan::nan_check::on);
        }) == "kalscan: nan_check::on needs arrays that the host can read");
}

}  // namespace
}  // namespace kla_forward_tests
