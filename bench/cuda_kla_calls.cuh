// SPDX-License-Identifier: MIT
// KLA's calls on a device, and how long calls take.
#pragma once

#include <kalscan/cuda/kla_backward.cuh>
#include <vector>

#include "cuda_kla.hpp"

namespace bench {

template <class E>
struct kla_call {
  kalscan::mixer_shape shape;
  array<E> v, Lambda, k, q, y, yvar;
  array<float> a, p;

  kla_call(std::int64_t B, std::int64_t L, std::int64_t M, std::int64_t S)
      : shape{B, L, M, S},
        v(B, L, M, 1, -1, 1),
        Lambda(B, L, M, 1, 0.1F, 2),
        k(B, L, 1, S, -1, 1),
        q(B, L, 1, S, -1, 1),
        y(B, L, M, 1),
        yvar(B, L, M, 1),
        a(1, 1, M, S, 0.9F, 0.999F),
        p(1, 1, M, S, 0.001F, 0.1F) {}
  auto in() const {
    return kalscan::kla_inputs{tensor<const E>(v.view), tensor<const E>(Lambda.view), tensor<const E>(k.view),
                               tensor<const E>(q.view), tensor<const float>(a.view),  tensor<const float>(p.view)};
  }
  auto out() const { return kalscan::kla_outputs{y.view, yvar.view}; }
  template <class T = float>
  static kalscan::belief<tensor<T>> states(const std::vector<array<float>>& x) {
    return {x[0].view, x[1].view};
  }
  template <class P>
  void forward(const P& policy, const kalscan::mixer_states<kalscan::kla, float>& states = {}) const {
    kalscan::forward(policy, kalscan::kla{}, shape, in(), out(), states);
  }
  template <class F>
  void with_adjoint(F f) const {
    const auto [B, L, M, S, offsets] = shape;
    const array<E> vb(B, L, M, 1), Lb(B, L, M, 1), kb(B, L, 1, S), qb(B, L, 1, S), yb(B, L, M, 1, -1, 1),
        zb(B, L, M, 1, -1, 1);
    const array<float> ab(1, 1, M, S), pb(1, 1, M, S);
    const kalscan::kla_outputs out_bar{tensor<const E>(yb.view), tensor<const E>(zb.view)};
    const kalscan::kla_inputs in_bar{vb.view, Lb.view, kb.view, qb.view, ab.view, pb.view};
    f([&](const auto& policy, const kalscan::mixer_adjoints<kalscan::kla, float>& states = {}) {
      kalscan::backward(policy, kalscan::kla{}, shape, in(), out_bar, in_bar, states);
    });
  }
};

template <class Mixer, class Call>
double forward_ms(const Call& call, std::int64_t chunk = 0) {
  kalscan::cuda policy{.chunk = chunk};
  const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, Mixer{}, call.shape));
  policy.workspace = memory;
  return median_ms([&] { call.forward(policy); });
}

template <class Mixer, class Call>
double backward_ms(const Call& call, std::int64_t chunk = 0) {
  kalscan::cuda policy{.chunk = chunk};
  const kalscan::cuda_workspace memory(kalscan::backward_workspace(policy, Mixer{}, call.shape, call.in()));
  policy.workspace = memory;
  double ms = 0;
  call.with_adjoint([&](auto run) { ms = median_ms([&] { run(policy); }); });
  return ms;
}

template <class Mixer, class Call>
mixer_ms both_ms(const Call& call, std::int64_t chunk = 0) {
  return {forward_ms<Mixer>(call, chunk), backward_ms<Mixer>(call, chunk)};
}

/// A training step's two calls: forward leaves checkpoints, backward takes them.
template <class Mixer, class Call>
mixer_ms training_ms(const Call& call) {
  const auto [B, L, M, S, offsets] = call.shape;
  std::vector<array<float>> kept;
  for (std::size_t i = 0; i < Mixer::state_info.size(); ++i) kept.emplace_back(B, L / 16 + 1, M, S);
  kalscan::cuda policy;
  const kalscan::cuda_workspace memory(kalscan::backward_workspace(policy, Mixer{}, call.shape, call.in()));
  policy.workspace = memory;
  mixer_ms ms{};
  ms.forward = median_ms([&] { call.forward(policy, {.checkpoints = Call::states(kept), .every = 16}); });
  call.with_adjoint([&](auto run) {
    ms.backward =
        median_ms([&] { run(policy, {.checkpoints = Call::template states<const float>(kept), .every = 16}); });
  });
  return ms;
}

}  // namespace bench
