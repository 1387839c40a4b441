// SPDX-License-Identifier: MIT
// The mixer's kernels, backward: a tile at a time the states once more from a checkpoint, then its steps backwards.
// Chunks of time by absorb, carry, replay, from the end to the beginning.
#pragma once

#include <cstdint>
#include <kalscan/mixer/device/backward_traversal.cuh>
#include <kalscan/mixer/device/forward_kernels.cuh>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>

namespace kalscan::detail {

/// First pass (or the only one): the last chunk of each sequence is swept and, with Absorbs, those between it and the
/// first are absorbed. Last pass: all chunks but the last are swept.
template <class Call, class Lanes, bool Absorbs>
__global__ void __launch_bounds__(Lanes::layout::threads(), Lanes::layout::known ? 2 : 1)
    mixer_backward_kernel(const __grid_constant__ Call call, const __grid_constant__ typename Lanes::layout layout,
                          const __grid_constant__ time_cuts cuts,
                          const __grid_constant__ backward_arrays<typename Call::mixer, typename Call::number> arrays,
                          std::int64_t first_block, forward_pass pass) {
  using traversal_type = device_backward_traversal<Call, Lanes>;
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
  const std::int64_t block = first_block + blockIdx.x;
  const chunk_range at = cuts[block / blocks];
  const bool last = at.k + 1 == at.chunks;
  const bool sweeps = pass == forward_pass::last ? !last : last;
  if (!sweeps && (!Absorbs || at.k == 0)) return;
  traversal_type traversal(call, layout, at, arrays, block % blocks, mixer_shared_memory);
  if (sweeps) {
    typename traversal_type::state bar[Lanes::states];
    if (last) {
      traversal.load_final(bar);
    } else {
      traversal.lanes.load(arrays.carry, at.slot, bar);
    }
    if (!traversal.lanes.owns_channel) {
#pragma unroll
      for (int j = 0; j < Lanes::states; ++j)
        bar[j] =
            from_fields<typename traversal_type::state, typename Call::number>([](auto) { return typename Call::number(0); });
    }
    traversal.sweep(bar);
    if (at.k == 0) {
      traversal.lanes.store(call.states.initial_bar, at.n, 0, bar, call.states.accumulate);
    } else if (last) {
      traversal.lanes.store(arrays.carry, at.slot - 1, bar);
    }
  } else if constexpr (Absorbs) {
    typename traversal_type::element e[Lanes::states];
    traversal.absorb(e);
    traversal.lanes.store(arrays.element, at.slot, e);
  }
}

/// The adjoint before the chunk of a slot, step by step backwards, the states of a tile at a time from a checkpoint.
template <class Call, class State>
__device__ __noinline__ State walk_lane_back(const Call& call, const time_cuts& cuts, std::int64_t slot,
                                             std::int64_t lane, State bar) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  const chunk_range at = cuts[slot];
  const std::int64_t m = lane / call.shape.states, s = lane % call.shape.states, tile = call.states.every;
  const auto kept = as_array<tensor<const T>>(call.states.checkpoints);
  const auto stored = [&](std::int64_t t) {
    return from_fields<State, T>(
        [&](auto w) { return kept[w()](at.batch, at.first_checkpoint(tile) + t / tile, m, s); });
  };
  for (std::int64_t t = at.from + (at.to - at.from - 1) / tile * tile; t >= at.from; t -= tile) {
    const int steps = static_cast<int>(min(tile, at.to - t));
    State x[backward_tile(4) + 1];
    x[0] = stored(t);
    for (int j = 0; j < steps; ++j)
      x[j + 1] = M::step(x[j], terms_of_lane<M, T>(call.in, at.batch, at.first + t + j, m, s));
    if (t + steps < at.length) x[steps] = stored(t + steps);
    for (int j = steps - 1; j >= 0; --j) {
      const auto y_bar = with_members(call.out_bar, [&](const auto&... y) {
        return typename M::template outputs<T>{
            (y.present() ? static_cast<T>(y(at.batch, at.first + t + j, m, 0)) : T(0))...};
      });
      bar =
          M::adjoint(x[j], terms_of_lane<M, T>(call.in, at.batch, at.first + t + j, m, s), x[j + 1], bar, y_bar).earlier;
    }
  }
  return bar;
}

/// The adjoints after all chunks of a sequence, from the last to the first, one thread a lane. Where an element is out
/// of range, the lane is walked instead.
template <class Call>
__global__ void mixer_carry_back_kernel(
    const __grid_constant__ Call call, const __grid_constant__ time_cuts cuts,
    const __grid_constant__ backward_arrays<typename Call::mixer, typename Call::number> arrays) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  const std::int64_t lanes = call.shape.channels * call.shape.states;
  for_each_cut_lane(cuts, lanes, [&](std::int64_t lane, std::int64_t slot, std::int64_t chunks) {
    carry_along(
        arrays.element, slot + chunks - 2, arrays.carry, slot + chunks - 3, lane, chunks - 2, -1,
        arrays.carry.get(slot + chunks - 2, lane),
        [](const auto& e, const auto& bar) { return M::adjoint_act(e, bar); },
        [](const auto& e, const auto&) { return all_finite<T>(e); },
        [&](std::int64_t k, const auto& bar) { return walk_lane_back(call, cuts, k, lane, bar); });
  });
}

}  // namespace kalscan::detail
