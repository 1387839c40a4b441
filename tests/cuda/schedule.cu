// SPDX-License-Identifier: MIT
// On the device no bit of a sequence depends on the calls in which it comes, where time is not cut.
#include <doctest/doctest.h>

#include <kalscan/mixer/storage.hpp>

#include "../kla/schedule.hpp"
#include "kla_device.cuh"
#include "tool.hpp"

namespace schedule_tests {
using namespace kla_test;
using kalscan::kla;

namespace {

template <class M, class E, std::int64_t Chunk = kalscan::whole_time>
void run_call(served_call<M, E>& call) {
  const auto tokens = to_device(call.tokens), out = to_device(call.out);
  const auto parameters = to_device(call.parameters), initial = to_device(call.initial), final = to_device(call.final);
  all_kernels policy{{.chunk = Chunk}};
  const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, M{}, call.shape));
  policy.workspace = memory;
  kalscan::forward(policy, M{}, call.shape,
                   call.in_views(tokens, parameters, [](const auto& x) { return x.view(); }),
                   device_views<typename M::template outputs<tensor<E>>, tensor<E>>(out),
                   {.initial = device_views<kalscan::state_tensors<M, const float>, tensor<const float>>(initial),
                    .final = device_views<kalscan::state_tensors<M, float>, tensor<float>>(final)});
  ok(cudaDeviceSynchronize());
  call.out = to_host(out), call.final = to_host(final);
}

template <class M, class E>
struct mixer_of {
  using mixer = M;
  using storage = E;
};

std::vector<std::int64_t> random_lengths(std::int64_t count, std::int64_t most, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < count; ++i)
    lengths.push_back(1 + static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(most)));
  return lengths;
}

#ifdef KALSCAN_QUICK_CUDA  // compiled only, and the others are in a benchmark and an example
#define KALSCAN_TEST_SERVED mixer_of<kla, float>, mixer_of<kla, kalscan::bfloat16>
#else
#define KALSCAN_TEST_SERVED                                                                            \
  mixer_of<kla, float>, mixer_of<kla, kalscan::bfloat16>, mixer_of<kalscan::gla, float>,               \
      mixer_of<kalscan::rotating_kla, float>, mixer_of<kalscan::unframed_rotating_kla, float>
#endif
TEST_CASE_TEMPLATE("tokens have the same bits whole and alone, in pieces, decoded, packed and in batches", X,
                   KALSCAN_TEST_SERVED) {
  using M = typename X::mixer;
  using E = typename X::storage;
  const std::int64_t multiple = kalscan::mixer_with_frame<M> ? 4 : 1;
  const std::int64_t parts = under_a_tool() ? 50 : 1;
  std::int64_t tokens = 0;
  const auto check = [&](std::vector<std::int64_t> lengths, std::int64_t channels, std::int64_t states, bool vary) {
    CAPTURE(channels);
    CAPTURE(states);
    CAPTURE(vary);
    if (multiple > 1) {  // no last piece of a single token, which is decoding
      for (auto& n : lengths) n += n % multiple == 1 ? 1 : 0;
    }
    served_sequences<M, E> sequences(std::move(lengths), channels, states, vary, 11);
    tokens += sequences.tokens();
    CHECK(sequences.differences(run_call<M, E>, 1, multiple) == 0);
  };
  check(random_lengths(48, 5000 / parts, 1), 33, 16, false);
  check(random_lengths(24, 2000 / parts, 5), 64, 16, false);
  check(random_lengths(20, 4000 / parts, 2), 9, 16, true);
  for (const std::int64_t states : {1, 5, 8, 24, 64, 150}) {
    check(random_lengths(9, 3000 / parts, 3), states < 10 ? 35 : 7, states, false);
    check(random_lengths(9, 1000 / parts, 4), 7, states, true);
  }
  MESSAGE(tokens, " tokens");
}

TEST_CASE("tokens have the same bits alone and where channels abound, a channel a thread") {
  served_sequences<kla, float> sequences(std::vector<std::int64_t>(96, 75), 640, 16, false, 5);
  int abound = 0;
  const auto run = [&](served_call<kla, float>& call) {
    kalscan::detail::forward_call_t<kla, float> shape_of{};
    shape_of.shape = call.shape;
    abound += call.shape.time > 1 && kalscan::detail::channels_abound(shape_of) ? 1 : 0;
    run_call(call);
  };
  CHECK(sequences.differences(run, 1) == 0);
  CHECK(abound > 0);
}

TEST_CASE("where time is cut into given chunks, sequences have the same bits alone, packed and in batches") {
  served_sequences<kla, float> sequences({700, 1, 333, 47, 48, 700, 49, 700, 96, 128}, 19, 16, false, 3);
  CHECK(sequences.differences(run_call<kla, float, 48>, 6, 1 << 20) == 0);
}

TEST_CASE("gradients have the same bits alone, packed, in a batch, and in pieces of whole tiles") {
  const auto forward = [](const auto& x) { return run_on_device<kla>(kalscan::whole_time, x); };
  const auto backward = [](const auto& x) { return backward_on_device<kla>(kalscan::whole_time, x); };
  for (const given g : {given::per_batch, given::fixed}) {
    for (const std::int64_t states : {16, 5}) {
      const auto p = random_problem<kla, float>(6, 300, 70, states, 9, g);
      CHECK(gradient_differences(p, kalscan::backward_checkpoints(kla{}, p.shape), 5, forward, backward) == 0);
    }
  }
}

}  // namespace
}  // namespace schedule_tests
#undef KALSCAN_TEST_SERVED
