// SPDX-License-Identifier: MIT
// The gated linear recurrence on a device.
#include <kalscan/kla/gla.hpp>

#include "cuda_kla_calls.cuh"

namespace bench {
namespace {

struct gla_call {
  kalscan::mixer_shape shape;
  array<float> v, k, q, y, g;

  gla_call(std::int64_t B, std::int64_t L, std::int64_t M, std::int64_t S)
      : shape{B, L, M, S},
        v(B, L, M, 1, -1, 1),
        k(B, L, 1, S, -1, 1),
        q(B, L, 1, S, -1, 1),
        y(B, L, M, 1),
        g(1, 1, M, S, 0.9F, 0.999F) {}
  auto in() const {
    return kalscan::gla_inputs{tensor<const float>(v.view), tensor<const float>(k.view), tensor<const float>(q.view),
                               tensor<const float>(g.view)};
  }
  auto out() const { return kalscan::gla_outputs{y.view}; }
  template <class T = float>
  static kalscan::gla_state<tensor<T>> states(const std::vector<array<float>>& x) {
    return {x[0].view};
  }
  void forward(const kalscan::cuda& policy, const kalscan::mixer_states<kalscan::gla, float>& states = {}) const {
    kalscan::forward(policy, kalscan::gla{}, shape, in(), out(), states);
  }
  template <class F>
  void with_adjoint(F f) const {
    const auto [B, L, M, S, offsets] = shape;
    const array<float> vb(B, L, M, 1), kb(B, L, 1, S), qb(B, L, 1, S), yb(B, L, M, 1, -1, 1), gb(1, 1, M, S);
    const kalscan::gla_outputs out_bar{tensor<const float>(yb.view)};
    const kalscan::gla_inputs in_bar{vb.view, kb.view, qb.view, gb.view};
    f([&](const kalscan::cuda& policy, const kalscan::mixer_adjoints<kalscan::gla, float>& states = {}) {
      kalscan::backward(policy, kalscan::gla{}, shape, in(), out_bar, in_bar, states);
    });
  }
};

}  // namespace

mixer_ms gla_ms(const shape_row& s) { return both_ms<kalscan::gla>(gla_call(s.B, s.L, s.M, 16)); }
mixer_ms gla_training_ms(const shape_row& s) { return training_ms<kalscan::gla>(gla_call(s.B, s.L, s.M, 16)); }

}  // namespace bench
