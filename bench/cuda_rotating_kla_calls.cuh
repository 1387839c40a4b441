// SPDX-License-Identifier: MIT
// Rotating KLA's calls on a device.
#pragma once

#include <cstddef>
#include <kalscan/kla/rotating_kla.hpp>

#include "cuda_kla_calls.cuh"

namespace bench {

/// M / 3 heads: values [B, L, M / 3, 3], quaternions [B, L, M / 3, 4], and the rest as KLA has it for a channel.
template <class E>
struct rotating_kla_call {
  kalscan::mixer_shape shape;
  array<E> v, Lambda, r, k, q, y, yvar;
  array<float> a, p;

  rotating_kla_call(std::int64_t B, std::int64_t L, std::int64_t M, std::int64_t S)
      : shape{B, L, M / 3, S},
        v(B, L, M / 3 * 3, 1, -1, 1),
        Lambda(B, L, M / 3, 1, 0.1F, 2),
        r(B, L, M / 3 * 4, 1, -1, 1),
        k(B, L, 1, S, -1, 1),
        q(B, L, 1, S, -1, 1),
        y(B, L, M / 3 * 3, 1),
        yvar(B, L, M / 3, 1),
        a(1, 1, M / 3, S, 0.9F, 0.999F),
        p(1, 1, M / 3, S, 0.001F, 0.1F) {}

  template <std::size_t N, class U>
  auto components_of(U* data) const {
    return kalscan::components<N>(data, shape.batch, shape.time, shape.channels);
  }
  auto in() const {
    const auto [vx, vy, vz] = components_of<3, const E>(v.view.data);
    const auto [rw, rx, ry, rz] = components_of<4, const E>(r.view.data);
    return kalscan::rotating_kla_inputs{vx, vy, vz, tensor<const E>(Lambda.view), rw, rx, ry, rz,
                                        tensor<const E>(k.view), tensor<const E>(q.view), tensor<const float>(a.view),
                                        tensor<const float>(p.view)};
  }
  template <class P>
  void forward(const P& policy) const {
    const auto [yx, yy, yz] = components_of<3>(y.view.data);
    kalscan::forward(policy, kalscan::rotating_kla{}, shape, in(), kalscan::rotating_kla_outputs{yx, yy, yz, yvar.view});
  }
  template <class F>
  void with_adjoint(F f) const {
    const auto [B, L, H, S, offsets] = shape;
    const array<E> vb(B, L, H * 3, 1), Lb(B, L, H, 1), rb(B, L, H * 4, 1), kb(B, L, 1, S), qb(B, L, 1, S),
        yb(B, L, H * 3, 1, -1, 1), zb(B, L, H, 1, -1, 1);
    const array<float> ab(1, 1, H, S), pb(1, 1, H, S);
    const auto [yx, yy, yz] = components_of<3, const E>(yb.view.data);
    const auto [vx, vy, vz] = components_of<3>(vb.view.data);
    const auto [rw, rx, ry, rz] = components_of<4>(rb.view.data);
    const kalscan::rotating_kla_outputs out_bar{yx, yy, yz, tensor<const E>(zb.view)};
    const kalscan::rotating_kla_inputs in_bar{vx, vy, vz, Lb.view, rw, rx, ry, rz, kb.view, qb.view, ab.view, pb.view};
    f([&](const auto& policy) { kalscan::backward(policy, kalscan::rotating_kla{}, shape, in(), out_bar, in_bar); });
  }
};

}  // namespace bench
