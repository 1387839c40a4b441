// SPDX-License-Identifier: MIT
// The forward pass of the mixers: omp against seq, every layout and split, and the ways in which calls chain.
#include <doctest/doctest.h>

#include "passes.hpp"
#include "shared.hpp"

namespace forward_tests {
using namespace kla_test;
using kalscan::gla;
using kalscan::kla;
using kalscan::omp;
using kalscan::seq;
using predicted_kla = kalscan::kla_mixer<kalscan::readout::predicted>;

namespace {

TEST_CASE_TEMPLATE(
    "omp gives what seq gives in long double, for ragged sizes, all kinds of parameters and strided arrays", M, kla,
    predicted_kla, gla) {
  std::uint64_t seed = 0;
  for (const given g :
       {given::fixed, given::per_token, given::per_token_channel, given::per_token_state, given::per_batch}) {
    for (const auto& size : ragged_shapes) {
      CAPTURE(size[1]);
      ++seed;
      check_forward(random_problem<M, double>(size[0], size[1], size[2], size[3], seed, g, seed % 2 == 0), 1e-12);
    }
  }
  const std::int64_t L = unless_slow(70, 40), C = unless_slow(40, 5);
  check_forward(random_problem<M, float>(2, L, C, 17, 90), 1e-5);
  check_forward(random_problem<M, float>(2, L, C, 17, 91, given::per_token, true), 1e-5);
}

TEST_CASE("lengths around tiles and chunks") {
  for (const std::int64_t L : {0, 1, 2, 15, 16, 17, 32, 33, 47, 211}) {
    CAPTURE(L);
    check_forward(random_problem<kla, double>(1, L, 3, 2, 100 + static_cast<std::uint64_t>(L)), 1e-12);
  }
}

TEST_CASE_TEMPLATE("the bits do not depend on the number of threads, whether time is split or not", M, kla, gla) {
  const auto p = random_problem<M, float>(2, unless_slow(300, 60), 70, unless_slow(4, 1), 1);
  for (const std::int64_t chunk : {0, 50}) {
    const auto one = run_forward<M>(omp{1, chunk}, p);
    for (const int threads : {2, 3, 16}) {
      const auto r = run_forward<M>(omp{threads, chunk}, p);
      CHECK(same_bits(r.out, one.out));
      CHECK(same_bits(r.final, one.final));
    }
  }
}

TEST_CASE("long narrow shapes are split by default, and say so by their bits") {
  auto p = random_problem<kla, double>(1, 33280, 2, 1, 2);
  std::mt19937_64 engine(2);
  fill(p.in[1], engine, 0, 1e-6), fill(p.in[4], engine, 0.9999, 1),
      fill(p.in[5], engine, 0, 1e-6);  // nothing is forgotten
  const auto whole = run_forward<kla>(omp{2, 33280}, p), automatic = run_forward<kla>(omp{2}, p);
  CHECK(same_bits(automatic.out, run_forward<kla>(omp{7}, p).out));
  CHECK(same_bits(automatic.out, run_forward<kla>(omp{2, 6656}, p).out));
  CHECK(!same_bits(automatic.out, whole.out));
  CHECK(difference(automatic.out, whole.out) < 1e-10);
}

TEST_CASE_TEMPLATE("the final states of a part, fed into the next one, give the whole", M, kla, gla) {
  for (const given g : {given::fixed, given::per_token}) check_streamed<M>(g);
}

TEST_CASE("a checkpoint is the state before its step") {
  const auto p = random_problem<kla, double>(2, 48, 5, 2, 4);
  for (const std::int64_t every : {1, 5, 16, 24, 100}) {
    const auto r = run_forward<kla>(omp{2}, p, every);
    for (std::int64_t c = 0; c * every <= 48; ++c) {
      const auto before = run_forward<kla>(seq{}, part_of(p, 0, c * every, p.initial));
      for (std::size_t i = 0; i < 2; ++i) {
        CHECK(r.checkpoints[i].view()(1, c, 4, 1) ==
              doctest::Approx(before.final[i].view()(1, 0, 4, 1)).epsilon(1e-13));
      }
    }
  }
}

TEST_CASE("step, token by token and in place, is the forward pass") {
  auto p = random_problem<kla, float>(3, 20, 21, 4, 5);
  const auto whole = run_forward<kla>(omp{2}, p);
  std::vector<array<float>> state = p.initial;
  const auto states = kalscan::belief<tensor<float>>{state[0].view(), state[1].view()};
  for (std::int64_t t = 0; t < 20; ++t) {
    const auto token = part_of(p, t, t + 1, p.initial);
    array<float> y(3, 1, 21, 1), yvar(3, 1, 21, 1);
    kalscan::step(omp{2}, kla{}, token.shape, token.in_views(), kalscan::kla_outputs{y.view(), yvar.view()}, states);
    CHECK(y.view()(2, 0, 20, 0) == whole.out[0].view()(2, t, 20, 0));
    CHECK(yvar.view()(2, 0, 20, 0) == whole.out[1].view()(2, t, 20, 0));
  }
  CHECK(same_bits(state, whole.final));
}

TEST_CASE_TEMPLATE("packed sequences, empty and short ones among them, have the bits of separate calls", M, kla, gla) {
  const std::vector<std::int64_t> offsets = {0, 5, 5, 6, 90, 90, 123, 124, 124};
  for (const given g : {given::fixed, given::per_token}) {
    int policy_number = 0;
    const auto check = [&](const auto& policy) {
      // Under an instrument each policy has one kind of parameters.
      const bool is_odd = (policy_number++ + (g == given::fixed ? 0 : 1)) % 2 == 1;
      if (!is_odd || !under_an_instrument()) check_packed<M>(policy, offsets, g);
    };
    check(seq{});
    for (const omp& policy : policies) check(policy);
  }
  // One of them is split by default, which takes an instrument long.
  if (!under_an_instrument() || std::is_same_v<M, gla>)
    check_packed<M>(omp{2}, {0, 3, 33003, 33010}, given::fixed, unless_slow(21, 2));
  check_packed<M>(omp{2}, {0, 0}, given::fixed);
}

TEST_CASE("a prior in information form is the same prior, and precision 0 is no prior at all") {
  auto p = random_problem<kla, double>(2, 40, 18, 3, 7);
  const auto moments = run_forward<kla>(omp{2}, p);
  std::vector<array<double>> information = p.initial;
  for (std::size_t i = 0; i < information[0].values.size(); ++i) {
    information[0].values[i] = 1 / p.initial[1].values[i];
    information[1].values[i] = p.initial[0].values[i] / p.initial[1].values[i];
  }
  array<double> y(2, 40, 18, 1), yvar(2, 40, 18, 1);
  const kalscan::kla_outputs out{y.view(), yvar.view()};
  const auto run = [&](auto policy) {
    const auto views = kalscan::information_belief<tensor<const double>>{std::as_const(information[0]).view(),
                                                                         std::as_const(information[1]).view()};
    kalscan::forward(policy, kla{}, p.shape, p.in_views(), out, {.initial = views});
  };
  run(omp{2});
  CHECK(difference(std::vector{y, yvar}, moments.out) < 1e-13);
  information[0].each([](double& x) { x = 0; });
  information[1].each([](double& x) { x = 0; });
  run(seq{});
  const auto exact = std::vector{y, yvar};
  run(omp{2});
  CHECK(difference(std::vector{y, yvar}, exact) < 1e-13);
  run(omp{2, 9});
  CHECK(difference(std::vector{y, yvar}, exact) < 1e-13);
  auto large = p;  // the limit is that of a large variance
  large.initial[0].each([](double& x) { x = 0; });
  large.initial[1].each([](double& x) { x = 1e9; });
  CHECK(difference(run_forward<kla>(seq{}, large).out, exact) < 1e-6);
}

TEST_CASE_TEMPLATE("short storage, arithmetic in float", E, kalscan::bfloat16, kalscan::float16) {
  const auto p = random_problem<kla, float>(2, 50, 20, 4, 8);
  std::vector<array<E>> stored;
  auto rounded = p;
  for (std::size_t i = 0; i < 4; ++i) {
    stored.push_back(p.in[i].as<E>());
    rounded.in[i] = stored[i].template as<float>();
  }
  array<E> y(2, 50, 20, 1), yvar(2, 50, 20, 1);
  const auto in = [&](std::size_t i) { return std::as_const(stored[i]).view(); };
  const kalscan::kla_inputs inputs{in(0), in(1), in(2), in(3), p.in[4].view(), p.in[5].view()};
  static_assert(std::is_same_v<kalscan::number_t<decltype(inputs)>, float>);
  const auto expected = run_forward<kla>(omp{2}, rounded, 0).out;
  const auto initial = p.initial_views();
  for (const bool parallel : {false, true}) {
    const kalscan::kla_outputs out{y.view(), yvar.view()};
    if (parallel) {
      kalscan::forward(omp{2}, kla{}, p.shape, inputs, out, {.initial = initial});
    } else {
      kalscan::forward(seq{}, kla{}, p.shape, inputs, out, {.initial = initial});
    }
    const double digit = std::is_same_v<E, kalscan::bfloat16> ? 0x1p-8 : 0x1p-11;
    CHECK(difference(std::vector{y, yvar}, expected) < digit);
  }
}

TEST_CASE("without outputs, states are advanced all the same; without states, the prior is N(0, 1)") {
  const auto p = random_problem<kla, double>(1, 30, 4, 2, 9);
  array<double> mean(1, 1, 4, 2), variance(1, 1, 4, 2);
  const kalscan::belief<tensor<double>> final{mean.view(), variance.view()};
  kalscan::forward(omp{2}, kla{}, p.shape, p.in_views(), kalscan::kla_outputs<tensor<double>>{}, {.final = final});
  auto standard = p;
  standard.initial[0].each([](double& x) { x = 0; });
  standard.initial[1].each([](double& x) { x = 1; });
  CHECK(difference(std::vector{mean, variance}, run_forward<kla>(seq{}, standard).final) < 1e-14);
}

TEST_CASE("states that grow without bound are not split by default, and a certain belief is never an overflow") {
  auto p = random_problem<kla, float>(1, 33280, 2, unless_slow(2, 1), 11);
  p.in[4].each([](float& x) { x = 1.1F; });
  p.in[5].each([](float& x) { x = 0; });
  const auto exact = run_forward<kla>(seq{}, p.as<long double>());
  CHECK(difference(run_forward<kla>(omp{2}, p).out, exact.out) < 1e-4);

  auto q = random_problem<kla, float>(1, 5, 1, 1, 12);
  for (auto& x : q.in) x.each([](float& e) { e = 1; });
  q.in[0].each([](float& e) { e = 3; });
  q.in[1].each([](float& e) { e = 0; });
  q.in[1].view()(0, 4, 0, 0) = 1e6F;
  q.in[4].each([](float& e) { e = 4096; });
  q.in[5].each([](float& e) { e = 0; });
  CHECK(same_bits(run_forward<kla>(omp{1}, q).out, run_forward<kla>(seq{}, q).out));
}

}  // namespace
}  // namespace forward_tests
