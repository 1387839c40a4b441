// SPDX-License-Identifier: MIT
// Bad calls of a mixer are refused by name, index and value, before anything is written.
#include <doctest/doctest.h>

#include "../errors.hpp"
#include "problem.hpp"

namespace errors_tests {
using namespace kla_test;
using kalscan::kla;

namespace {

struct call {
  problem<kla, float> p = random_problem<kla, float>(2, 5, 3, 4, 1);
  kalscan::kla_inputs<tensor<const float>> in = p.in_views();
  kalscan::mixer_shape shape = p.shape;
  kalscan::mixer_states<kla, float> states;
  kalscan::nan_check nan = kalscan::nan_check::off;
  array<float> y{2, 5, 3, 1}, final_mean{2, 1, 3, 4}, final_variance{2, 1, 3, 4};

  template <class Change>
  std::string refused(Change change) {
    states.final = {final_mean.view(), final_variance.view()};
    change(*this);
    std::string message;
    for (const bool parallel : {false, true}) {
      y.each([](float& x) { x = 77; });
      const kalscan::kla_outputs out{y.view(), tensor<float>{}};
      message = message_of([&] {
        if (parallel) {
          kalscan::forward(kalscan::omp{2}, kla{}, shape, in, out, states, nan);
        } else {
          kalscan::forward(kalscan::seq{}, kla{}, shape, in, out, states, nan);
        }
      });
      if (message != "no std::invalid_argument") CHECK(y.list() == std::vector<float>(30, 77.0F));
    }
    return message;
  }
};

TEST_CASE("sizes, signs and pointers") {
  CHECK(call{}.refused([](call& c) { c.in.v = c.p.in[2].view(); }) == "kalscan: v is [2, 5, 1, 4], not [2, 5, 3, 1]");
  CHECK(call{}.refused([](call& c) { c.in.q = {}; }) ==
        "kalscan: q is not given: give all inputs of the mixer, as tensors with their shapes");
  CHECK(call{}.refused([](call& c) { c.in.q.data = nullptr; }) == "kalscan: q is a null pointer");
  CHECK(call{}.refused([](call& c) { c.in.a = c.p.initial[0].view(); }) == "no std::invalid_argument");  // per batch
  CHECK(call{}.refused([](call& c) { c.in.a = c.in.v, c.in.a.extent[1] = 4; }) ==
        "kalscan: a is [2, 4, 3, 1], neither [1, 1, M, S] nor [B, L, M, S] = [2, 5, 3, 4], each of M and S or 1");
  CHECK(call{}.refused([](call& c) { c.p.in[1].view()(1, 2, 0, 0) = -0.5F; }) ==
        "kalscan: Lambda [1, 2, 0, 0] is -0.5, not a number >= 0");
  CHECK(call{}.refused([](call& c) { c.p.in[5].view()(0, 0, 2, 3) = -1; }) ==
        "kalscan: p [0, 0, 2, 3] is -1, not a number >= 0");
  CHECK(call{}.refused([](call& c) { c.p.in[1].view()(0, 4, 2, 0) = NAN; }) ==
        "kalscan: Lambda [0, 4, 2, 0] is nan, not a number >= 0");
  CHECK(call{}.refused([](call& c) { c.shape.channels = 4; }) == "kalscan: v is [2, 5, 3, 1], not [2, 5, 4, 1]");
  CHECK(call{}.refused([](call& c) { c.shape.time = -1; }) == "kalscan: the shape is [2, -1, 3, 4]");
}

TEST_CASE("NaN and infinities where checking is on") {
  const auto checked = [](auto change) {
    return call{}.refused([&](call& c) { c.nan = kalscan::nan_check::on, change(c); });
  };
  const auto with_initial = [](call& c) {
    c.states.initial = kalscan::belief<tensor<const float>>{c.p.initial[0].view(), c.p.initial[1].view()};
  };
  CHECK(checked([](call& c) { c.p.in[2].view()(1, 3, 0, 2) = NAN; }) == "kalscan: k [1, 3, 0, 2] is nan");
  CHECK(checked([](call& c) { c.p.in[0].view()(0, 4, 2, 0) = -INFINITY; }) == "kalscan: v [0, 4, 2, 0] is -inf");
  CHECK(checked([](call& c) { c.p.in[5].view()(0, 0, 2, 3) = INFINITY; }) == "kalscan: p [0, 0, 2, 3] is inf");
  CHECK(checked([](call& c) { c.p.in[5].view()(0, 0, 2, 3) = -INFINITY; }) ==
        "kalscan: p [0, 0, 2, 3] is -inf, not a number >= 0");
  CHECK(checked([&](call& c) { with_initial(c), c.p.initial[0].view()(1, 0, 2, 3) = INFINITY; }) ==
        "kalscan: initial mean [1, 0, 2, 3] is inf");
  CHECK(checked([&](call& c) { with_initial(c), c.p.initial[1].view()(1, 0, 2, 3) = INFINITY; }) ==
        "no std::invalid_argument");  // a diffuse belief
  CHECK(call{}.refused([](call& c) { c.p.in[0].view()(0, 4, 2, 0) = INFINITY; }) == "no std::invalid_argument");
}

TEST_CASE("offsets") {
  static const std::vector<std::int64_t> decreasing{0, 4, 3, 5}, late{1, 5}, short_of{0, 4}, good{0, 5};
  CHECK(call{}.refused([](call& c) { c.shape.offsets = good; }) == "kalscan: with offsets the batch is 1, not 2");
  const auto packed = [](const auto& offsets) {
    return call{}.refused([&](call& c) { c.shape.batch = 1, c.shape.offsets = offsets; });
  };
  CHECK(packed(decreasing) == "kalscan: offsets[2] is 3, less than 4");
  CHECK(packed(late) == "kalscan: offsets[0] is 1, not 0");
  CHECK(packed(short_of) == "kalscan: offsets[1] is 4, not the time 5");
}

TEST_CASE("states and checkpoints") {
  CHECK(call{}.refused([](call& c) {
    c.states.initial = kalscan::belief<tensor<const float>>{c.p.initial[0].view(), c.p.initial[1].view()};
    c.p.initial[1].view()(1, 0, 2, 3) = -1;
  }) == "kalscan: initial variance [1, 0, 2, 3] is -1, not a number >= 0");
  CHECK(call{}
            .refused([](call& c) {
              c.p.initial[0].view()(0, 0, 1, 0) = -2;
              c.states.initial =
                  kalscan::information_belief<tensor<const float>>{c.p.initial[0].view(), c.p.initial[1].view()};
            })
            .rfind("kalscan: initial precision [0, 0, ", 0) == 0);
  CHECK(call{}.refused([](call& c) { c.states.final.variance = {}; }) == "kalscan: final variance is a null pointer");
  CHECK(call{}.refused([](call& c) { c.states.checkpoints = c.states.final; }) ==
        "kalscan: every is 0, not a positive number of steps");
  CHECK(call{}.refused([](call& c) { c.states.checkpoints = c.states.final, c.states.every = 2; }) ==
        "kalscan: checkpoints mean is [2, 1, 3, 4], not [2, 3, 3, 4]");
}

TEST_CASE("states given by half") {
  CHECK(call{}.refused([](call& c) { c.states.checkpoints.variance = c.final_variance.view(), c.states.every = 5; }) ==
        "kalscan: checkpoints mean is a null pointer");
  CHECK(call{}.refused([](call& c) {
    c.states.initial = kalscan::information_belief<tensor<const float>>{{}, c.p.initial[1].view()};
  }) == "kalscan: initial precision is a null pointer");
  call c;
  const kalscan::kla_outputs<tensor<float>> none;
  c.shape.time = 1;
  CHECK(message_of([&] { kalscan::step(kalscan::seq{}, kla{}, c.shape, c.in, none, {}); }) ==
        "kalscan: step needs all states");
}

TEST_CASE("the policy, the step and the adjoint") {
  call c;
  const kalscan::kla_outputs<tensor<float>> none;
  CHECK(message_of([&] { kalscan::forward(kalscan::omp{-1}, kla{}, c.shape, c.in, none); }) ==
        "kalscan::omp: threads is -1: pass how many, or 0 for as many as OpenMP would take");
  CHECK(message_of([&] { kalscan::forward(kalscan::omp{1, -2}, kla{}, c.shape, c.in, none); }) ==
        "kalscan::omp: chunk is -2: pass how many steps, or 0 to let the library choose");
  CHECK(message_of([&] { kalscan::step(kalscan::seq{}, kla{}, c.shape, c.in, none, c.states.final); }) ==
        "kalscan: step takes one token, not 5");
  const kalscan::kla_outputs<tensor<const float>> no_bars;
  kalscan::kla_inputs<tensor<float>> bars;
  bars.k = c.y.view();
  CHECK(message_of([&] { kalscan::backward(kalscan::seq{}, kla{}, c.shape, c.in, no_bars, bars); }) ==
        "kalscan: the adjoint of k is [2, 5, 3, 1], not [2, 5, 1, 4]");
}

}  // namespace
}  // namespace errors_tests
