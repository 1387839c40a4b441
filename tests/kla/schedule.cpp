// SPDX-License-Identifier: MIT
// On the host no bit of a sequence depends on the calls in which it comes.
#include "schedule.hpp"

#include <doctest/doctest.h>

#include <kalscan/mixer/storage.hpp>

#include "shared.hpp"

namespace schedule_tests {
using namespace kla_test;
using kalscan::kla;

namespace {

template <class M, class E>
struct mixer_of {
  using mixer = M;
  using storage = E;
};

#if defined(__OPTIMIZE__)
constexpr int schedules = 8;
#else
constexpr int schedules = 1;
#endif

template <class M, class E>
void run_call(const omp& policy, served_call<M, E>& call) {
  using arrays = problem<M, float>;
  kalscan::forward(
      policy, M{}, call.shape, call.in_views(call.tokens, call.parameters, [](const auto& x) { return x.view(); }),
      problem<M, E>::template writable<typename M::template outputs<tensor<E>>>(call.out),
      {.initial = arrays::template views<arrays::states, float, kalscan::state_tensors<M, const float>>(call.initial),
       .final = arrays::template writable<kalscan::state_tensors<M, float>>(call.final)});
}

TEST_CASE_TEMPLATE("tokens have the same bits whole and alone, in pieces, decoded, packed and in batches", X,
                   mixer_of<kla, float>, mixer_of<kla, kalscan::bfloat16>, mixer_of<kalscan::gla, float>,
                   mixer_of<kalscan::rotating_kla, float>) {
  using M = typename X::mixer;
  using E = typename X::storage;
  int threads = 0;
  const auto run = [&](served_call<M, E>& call) { run_call(omp{1 + threads++ % 3, kalscan::whole_time}, call); };
  for (const bool vary : {false, true}) {
    for (const std::int64_t channels : {1, unless_slow(19, 9)}) {
      served_sequences<M, E> sequences({170, 1, 83, 64, 16, unless_slow(500, 100)}, channels, 5, vary, 3);
      CHECK(sequences.differences(run, schedules) == 0);
    }
  }
}

TEST_CASE("where time is cut into given chunks, sequences have the same bits alone, packed and in batches") {
  const auto run = [&](served_call<kla, float>& call) { run_call(omp{2, 48}, call); };
  served_sequences<kla, float> sequences({700, 1, 333, 47, 48, 700, 49, 700, 96}, unless_slow(19, 4), 5, false, 3);
  CHECK(sequences.differences(run, unless_slow(4, 1), 1 << 20) == 0);
}

TEST_CASE("gradients have the same bits alone, packed, in a batch, and in pieces of whole tiles") {
  const omp policy{2, kalscan::whole_time};
  const auto forward = [&](const auto& x) { return run_forward<kla>(policy, x); };
  const auto backward = [&](const auto& x) { return run_backward<kla>(policy, x); };
  for (const given g : {given::per_batch, given::fixed}) {
    const auto p = random_problem<kla, float>(3, 75, unless_slow(280, 40), 2, 8, g);
    CHECK(gradient_differences(p, 16, 5, forward, backward) == 0);
  }
}

}  // namespace
}  // namespace schedule_tests
