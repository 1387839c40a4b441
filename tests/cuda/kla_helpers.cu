// SPDX-License-Identifier: MIT
// Channels of 16 states whose steps and whose inputs and outputs go to different warps: the bits of the other kernel,
// and the results of seq. Checkpoints are what only the other kernel leaves.
#include <doctest/doctest.h>

#include <kalscan/mixer/storage.hpp>

#include "../kla/schedule.hpp"
#include "kla_device.cuh"
#include "tool.hpp"

namespace kla_helpers_tests {
using namespace kla_test;
using kalscan::bfloat16;
using kalscan::float16;
using kalscan::kla;
using kalscan::seq;
using kalscan::whole_time;

namespace {

/// Tokens and outputs stored as E.
template <class E>
struct stored_tokens {
  std::vector<device_array<E>> in, out;

  explicit stored_tokens(const problem<kla, float>& p) {
    for (std::size_t i = 0; i < 4; ++i) in.emplace_back(p.in[i].as<E>());
    for (int o = 0; o < 2; ++o) out.emplace_back(array<E>(p.shape.batch, p.shape.time, p.shape.channels, 1));
  }
};

enum class outputs { both, mean, variance };

template <class E>
struct stored_result {
  bool with_helpers;
  std::vector<array<E>> out;
  std::vector<array<float>> final;
};

template <class E>
stored_result<E> run_stored(const problem<kla, float>& p, std::int64_t chunk, std::int64_t every,
                            outputs wanted = outputs::both) {
  const device_problem<kla, float> d(p, every, false);
  const stored_tokens<E> tokens(p);
  const auto token = [&](std::size_t i) { return tensor<const E>(tokens.in[i].view()); };
  const auto plain = d.in_views();
  kalscan::detail::stored_forward_call<E, E> call{d.p.shape,
                                                  {token(0), token(1), token(2), token(3), plain.a, plain.p},
                                                  {tokens.out[0].view(), tokens.out[1].view()},
                                                  d.states()};
  if (wanted == outputs::mean) call.out.yvar = {};
  if (wanted == outputs::variance) call.out.y = {};
  all_kernels policy{{.chunk = chunk}};
  const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, kla{}, call.shape));
  policy.workspace = memory;
  kalscan::forward(policy, kla{}, call.shape, call.in, call.out, call.states);
  ok(cudaDeviceSynchronize());
  return {kalscan::detail::goes_with_helpers<1>(call), to_host(tokens.out), to_host(d.final)};
}

/// The same bits either way; returns those with helpers.
template <class E>
stored_result<E> same_either_way(const problem<kla, float>& p, std::int64_t chunk) {
  CAPTURE(p.shape.batch);
  CAPTURE(p.shape.time);
  CAPTURE(p.shape.channels);
  CAPTURE(chunk);
  const auto helped = run_stored<E>(p, chunk, 0), other = run_stored<E>(p, chunk, 5);
  CHECK(helped.with_helpers);
  CHECK(!other.with_helpers);
  CHECK(different(helped.out, other.out) == 0);
  CHECK(different(helped.final, other.final) == 0);
  return helped;
}
template <class E>
void check(const problem<kla, float>& p, std::int64_t chunk) {
  auto rounded = p;
  for (std::size_t i = 0; i < 4; ++i) rounded.in[i] = p.in[i].as<E>().template as<float>();
  const double digit = std::is_same_v<E, float> ? 1e-5 : std::is_same_v<E, bfloat16> ? 0x1p-8 : 0x1p-10;
  const auto r = same_either_way<E>(p, chunk);
  const auto exact = run_forward<kla>(seq{}, rounded.as<double>());
  CHECK(difference(r.out, exact.out) < digit);
  CHECK(difference(r.final, exact.final) < 1e-5);
}
const std::vector<std::int64_t> chunks = {whole_time, 0, 16, 33, 48};

#ifdef KALSCAN_QUICK_CUDA  // compiled only, and the last one has the same code
#define KALSCAN_TEST_STORAGE float, bfloat16
#else
#define KALSCAN_TEST_STORAGE float, bfloat16, float16
#endif
TEST_CASE_TEMPLATE("lengths around tiles and chunks, batches, one block of channels and more", E,
                   KALSCAN_TEST_STORAGE) {
  std::uint64_t seed = 0;
  for (const std::int64_t L : or_few<std::int64_t>({17, 64, 1, 2, 15, 16, 31, 32, 33, 47, 48, 49, 211}, 2)) {
    const std::int64_t channels = seed % 3 == 0 ? 128 : seed % 3 == 1 ? 64 : 192;
    const auto p = random_problem<kla, float>(1 + static_cast<std::int64_t>(seed % 2), L, channels, 16, seed);
    ++seed;
    for (const std::int64_t chunk : or_few(chunks, 2)) check<E>(p, chunk);
  }
}

TEST_CASE("more channels than blocks with one for each taker serve") {
  for (const std::int64_t L : or_few<std::int64_t>({17, 15, 16, 50}, 1)) {
    check<float>(random_problem<kla, float>(67, L, 64, 16, 60), whole_time);
    check<bfloat16>(random_problem<kla, float>(17, L, 256, 16, 61), whole_time);
  }
}

TEST_CASE("half a block of channels more") {
  for (const std::int64_t channels : {32, 96, 160}) {
    check<float>(random_problem<kla, float>(3, 77, channels, 16, 62), whole_time);
  }
}

TEST_CASE("packed sequences, empty and short ones among them") {
  const auto p = random_problem<kla, float>(1, 155, 64, 16, 5, given::fixed, false, {0, 5, 5, 6, 38, 90, 90, 123, 155});
  for (const std::int64_t chunk : chunks) check<float>(p, chunk);
}

TEST_CASE("beliefs that are not ordinary, from the start and on the way") {
  for (const std::int64_t B : {1, 3}) {
    auto p = random_problem<kla, float>(B, 150, 128, 16, 40);
    p.in[4].view()(0, 0, 1, 3) = 0, p.in[5].view()(0, 0, 1, 3) = 0;  // no variance after the first step
    p.in[4].view()(0, 0, 66, 9) = 0;
    p.in[5].view()(0, 0, 67, 15) = 0;
    for (std::int64_t b = 0; b < B; ++b) {
      p.initial[1].view()(b, 0, 5, 0) = std::numeric_limits<float>::infinity();
      p.initial[1].view()(b, 0, 70, 13) = 1e20F;
      p.initial[1].view()(b, 0, 71, 7) = 0;
      for (std::int64_t t = 20; t < 60; ++t) p.in[1].view()(b, t, 90, 0) = 0;
    }
    for (const std::int64_t chunk : chunks) check<float>(p, chunk);
    for (std::int64_t b = 0; b < B; ++b) p.initial[1].view()(b, 0, 5, 0) = 0, p.initial[1].view()(b, 0, 70, 13) = 0;
    for (const std::int64_t chunk : chunks) check<float>(p, chunk);
    // A gain of four while nothing is observed, so that a variance overflows in one tile and comes back in another.
    p.in[4].view()(0, 0, 90, 5) = 4;
    same_either_way<float>(p, whole_time);
    same_either_way<bfloat16>(p, whole_time);
  }
}

TEST_CASE("sequences in turns") {
  if (under_a_tool()) return;
  int multiprocessors = 0;
  ok(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  for (const std::int64_t channels : {64, 32}) {  // a multiprocessor takes two blocks at once
    check<float>(random_problem<kla, float>(2 * multiprocessors + 36, 200, channels, 16, 41), whole_time);
  }
}

TEST_CASE("one output alone") {
  const auto p = random_problem<kla, float>(1, 70, 64, 16, 42);
  const auto both = run_stored<float>(p, 0, 0);
  const auto mean = run_stored<float>(p, 0, 0, outputs::mean), variance = run_stored<float>(p, 0, 0, outputs::variance);
  CHECK((mean.with_helpers && variance.with_helpers));
  CHECK(different(std::vector{mean.out[0], variance.out[1]}, both.out) == 0);
  for (const float y : mean.out[1].list()) CHECK(y == 0);
}

TEST_CASE("predictions are read out") {
  using predicted = kalscan::kla_mixer<kalscan::readout::predicted>;
  const auto p = random_problem<predicted, float>(2, 83, 64, 16, 43);
  const auto exact = run_forward<predicted>(seq{}, p.as<double>());
  for (const std::int64_t chunk : {whole_time, std::int64_t{32}}) {
    const auto helped = run_on_device<predicted>(chunk, p), other = run_on_device<predicted>(chunk, p, 5);
    CHECK(difference(helped.out, exact.out) < 1e-5);
    CHECK(different(helped.out, other.out) == 0);
    CHECK(different(helped.final, other.final) == 0);
  }
}

TEST_CASE("calls go with helpers where whole blocks of channels lie as vectors, and nobody wants checkpoints") {
  const auto goes = [](const problem<kla, float>& p, auto change, std::int64_t every = 0) {
    const device_problem<kla, float> d(p, every, false);
    kalscan::detail::forward_call_t<kla, float> call{d.p.shape, d.in_views(), d.out_views(), d.states()};
    change(call);
    CHECK(kalscan::detail::goes_with_helpers<1>(call) >= kalscan::detail::goes_with_helpers<2>(call));
    return kalscan::detail::goes_with_helpers<2>(call);
  };
  const auto nothing = [](auto&) {};
  const auto p = random_problem<kla, float>(2, 40, 64, 16, 44);
  CHECK(goes(p, nothing));
  CHECK(!goes(p, nothing, 16));
  CHECK(!goes(random_problem<kla, float>(2, 40, 96, 16, 44), nothing));
  const auto few = [](std::int64_t sequences, std::int64_t channels) {
    const device_problem<kla, float> d(random_problem<kla, float>(sequences, 2, channels, 16, 45), 0, false);
    return kalscan::detail::has_few_channels(
        kalscan::detail::forward_call_t<kla, float>{d.p.shape, d.in_views(), d.out_views(), d.states()});
  };
  CHECK((few(1, 64) && few(66, 64) && few(1, 32) && few(100, 96)));
  CHECK(!(few(67, 64) || few(1, 48)));
  CHECK(!goes(random_problem<kla, float>(2, 40, 64, 16, 44, given::fixed, true), nothing));
  CHECK(!goes(p, [](auto& call) { call.in.Lambda.data += 1; }));
  CHECK(!goes(p, [](auto& call) { call.out.yvar.data += 2; }));
  CHECK(!goes(p, [](auto& call) { call.out.y.stride[1] += 1; }));
  CHECK(!goes(p, [](auto& call) { call.in.v.stride = {call.in.v.stride[0], 1, 40, 0}; }));
  CHECK(!goes(p, [](auto& call) { call.out.y = {}, call.out.yvar = {}; }));
  CHECK(goes(p, [](auto& call) { call.in.k.data += 1; }));
}

}  // namespace
}  // namespace kla_helpers_tests
#undef KALSCAN_TEST_STORAGE
