// SPDX-License-Identifier: MIT
// Other mixers on the device: predictions, the gated linear recurrence, a user's own, and short storage.
#include <doctest/doctest.h>

#include "kla_device.cuh"
#include "tool.hpp"
#include "turns.cuh"

namespace mixers_tests {
using namespace kla_test;
using kalscan::kla;
using kalscan::seq;

namespace {

/// Keeps the states finite: the product of rotation's c + i s stays within one.
template <class M>
void tame(problem<M, float>& p) {
  if constexpr (std::is_same_v<M, rotation>) {
    for (std::size_t i = 3; i < 5; ++i) p.in[i].each([](float& x) { x *= 0.7F; });
  }
}
template <class M>
problem<M, float> small(std::int64_t B, std::int64_t L, std::int64_t C, std::int64_t S, std::uint64_t seed, given g) {
  auto p = random_problem<M, float>(B, L, C, S, seed, g, seed % 2 == 0);
  tame(p);
  return p;
}

#ifdef KALSCAN_QUICK_CUDA  // compiled only, and the others are in a benchmark and an example
#define KALSCAN_TEST_MIXER kalscan::kla_mixer<kalscan::readout::predicted>
#else
#define KALSCAN_TEST_MIXER \
  kalscan::gla, kalscan::kla_mixer<kalscan::readout::predicted>, kalscan::rotating_kla, rotation, cascade
#endif
TEST_CASE_TEMPLATE("forward and adjoint against seq in double", M, KALSCAN_TEST_MIXER) {
  std::uint64_t seed = 0;
  for (const given g :
       or_few<given>({given::fixed, given::per_token, given::per_token_channel, given::per_token_state}, 2)) {
    for (const auto& size : {std::array{2, 41, 19, 3}, std::array{3, 50, 33, 16}, std::array{1, 100, 5, 17},
                             std::array{3, 1, 37, 16}, std::array{2, 29, 19, 32}, std::array{1, 45, 11, 64}}) {
      const auto p = small<M>(size[0], size[1], size[2], size[3], ++seed, g);
      const auto forward = run_forward<M>(seq{}, p.template as<double>(), 16);
      const auto often = run_forward<M>(seq{}, p.template as<double>(), 5);
      const auto backward = run_backward<M>(seq{}, p.template as<double>());
      for (const std::int64_t chunk : or_few<std::int64_t>({0, 7, 32}, 2)) {
        CAPTURE(chunk);
        const auto r = run_on_device<M>(chunk, p, 16, true);
        CHECK(difference(r.out, forward.out) < 1e-5);
        CHECK(difference(r.final, forward.final) < 1e-5);
        CHECK(difference(r.checkpoints, forward.checkpoints) < 1e-5);
        CHECK(difference(run_on_device<M>(chunk, p).out, forward.out) < 1e-5);
        CHECK(difference(run_on_device<M>(chunk, p, 5, true).checkpoints, often.checkpoints) < 1e-5);
        const auto b = backward_on_device<M>(chunk, p, chunk == 7 ? M::state_info.size() > 2 ? 8 : 16 : 0, true);
        CHECK(difference(b.in_bar, backward.in_bar) < 2e-5);
        CHECK(difference(b.initial_bar, backward.initial_bar) < 2e-5);
      }
    }
  }
}

TEST_CASE_TEMPLATE("gradients sum into the caller's arrays on request", M, KALSCAN_TEST_MIXER) {
  for (const std::int64_t chunk : {100, 16}) {
    const auto p = small<M>(2, 50, 18, 16, 3, given::fixed);
    const auto once = backward_on_device<M>(chunk, p, 0, true);
    const auto twice = backward_on_device<M>(chunk, p, 0, true, &once);
    for (std::size_t i = 0; i < once.in_bar.size(); ++i) {
      const auto a = once.in_bar[i].list(), b = twice.in_bar[i].list();
      for (std::size_t j = 0; j < a.size(); ++j) CHECK(b[j] == 2 * a[j]);
      CHECK(twice.in_bar[i].untouched_between());
    }
  }
}

TEST_CASE_TEMPLATE("sequences taken in turns have the bits of those taken whole", M, KALSCAN_TEST_MIXER) {
  check_turns<M>(tame<M>);
}

}  // namespace
}  // namespace mixers_tests
#undef KALSCAN_TEST_MIXER
