// SPDX-License-Identifier: MIT
// Many sequences at once, which a device takes in turns, against the same in calls of few sequences each.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/mixer/device/time_cuts.hpp>

#include "kla_device.cuh"
#include "tool.hpp"

namespace kla_test {

/// Sequences first ... first + count - 1 of tensors, of which some are shared by all.
template <class Tensors>
Tensors sequences_of(const Tensors& x, std::int64_t first, std::int64_t count) {
  const auto part = [&](auto t) {
    if (t.extent[0] > 1) t.data += first * t.stride[0], t.extent[0] = count;
    return t;
  };
  return kalscan::detail::with_members(x, [&](const auto&... t) { return Tensors{part(t)...}; });
}

/// Forward with checkpoints and backward of more sequences than the device takes at a time: the bits of smaller calls,
/// which take each sequence whole (and whose time, with so few lanes, would be cut without a chunk). `tame` keeps the
/// states of a problem finite.
template <class M, class Tame>
void check_turns(const Tame& tame) {
  using state_type = kalscan::state_tensors<M, float>;
  using const_state_type = kalscan::state_tensors<M, const float>;
  int multiprocessors = 0;
  ok(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  constexpr std::int64_t few = 50;
  for (const std::int64_t time : or_few<std::int64_t>({333, 512}, 1)) {
    for (const std::int64_t states : or_few<std::int64_t>({5, 16}, 1)) {
      const std::int64_t blocks_at_once = multiprocessors * (states == 16 ? 2 : 1);
      const auto batch = std::max<std::int64_t>(blocks_at_once * 23 / 20, 3 * few);
      REQUIRE(kalscan::detail::steps_of_turn(batch, time, blocks_at_once) < time);
      CAPTURE(time);
      CAPTURE(states);
      auto p = random_problem<M, float>(batch, time, 3, states, 17, given::per_batch);
      tame(p);
      const int every = kalscan::backward_checkpoints(M{}, p.shape);
      const device_adjoint<M, float> whole(p, every, false, nullptr), pieces(p, every, false, nullptr);
      kalscan::cuda policy{.chunk = time};
      const kalscan::cuda_workspace memory(whole.workspace(policy));
      policy.workspace = memory;
      whole.d.forward(policy);
      whole.backward(policy);
      for (std::int64_t first = 0; first < batch; first += few) {
        const std::int64_t count = std::min(few, batch - first);
        const auto part = [&](const auto& x) { return sequences_of(x, first, count); };
        const kalscan::mixer_shape shape{count, time, 3, states, {}};
        const auto& d = pieces.d;
        const auto in = part(d.in_views());
        const auto initial = part(device_views<const_state_type, tensor<const float>>(d.initial));
        const auto checkpoints = part(device_views<state_type, tensor<float>>(d.checkpoints));
        kalscan::mixer_states<M, float> forward{.initial = initial,
                                                .final = part(device_views<state_type, tensor<float>>(d.final))};
        forward.checkpoints = checkpoints, forward.every = every;
        kalscan::forward(policy, M{}, shape, in, part(d.out_views()), forward);
        kalscan::mixer_adjoints<M, float> backward{
            .initial = initial,
            .final_bar = part(device_views<const_state_type, tensor<const float>>(d.final_bar)),
            .initial_bar = part(device_views<state_type, tensor<float>>(pieces.initial_bar))};
        backward.checkpoints = part(device_views<const_state_type, tensor<const float>>(d.checkpoints));
        backward.every = every;
        kalscan::backward(policy, M{}, shape, in, part(d.out_bar_views()), part(pieces.in_bar_views()), backward);
      }
      ok(cudaDeviceSynchronize());
      const auto a = whole.d.result(), b = pieces.d.result();
      for (const auto& out : a.out) {
        const auto numbers = out.list();
        REQUIRE(std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); }));
      }
      CHECK(same_bits(a.out, b.out));
      CHECK(same_bits(a.final, b.final));
      CHECK(same_bits(a.checkpoints, b.checkpoints));
      CHECK(same_bits(whole.result().in_bar, pieces.result().in_bar));
      CHECK(same_bits(whole.result().initial_bar, pieces.result().initial_bar));
    }
  }
}

}  // namespace kla_test
