// SPDX-License-Identifier: MIT
// The mixer's kernels, forward: whole sequences in one launch, or chunks of time by absorb, carry, replay in three.
#pragma once

#include <cstdint>
#include <kalscan/mixer/device/forward_traversal.cuh>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/device/traversal.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/simd_value.hpp>

namespace kalscan::detail {

/// What summarizes a chunk: the mixer's run of steps or its element, or nothing that is ever used.
template <class M, class T>
struct mixer_element {
  using type = typename M::template state<T>;
};
template <mixer_with_elements M, class T>
struct mixer_element<M, T> {
  using type = element_t<decltype(M::template monoid<T>())>;
};
template <mixer_with_runs M, class T>
struct mixer_element<M, T> {
  using type = typename M::template run<T>;
};

/// The workspace of a forward call.
template <class M, class T>
struct forward_arrays {
  lane_array<typename M::template state<T>, T> carry;         // before each chunk but the first
  lane_array<typename mixer_element<M, T>::type, T> element;  // what summarizes each chunk
};

/// One block's traversal forward, or its chunk absorbed.
template <class Call, class Lanes>
struct device_absorbing_traversal : device_forward_traversal<Call, Lanes> {
  using base = device_forward_traversal<Call, Lanes>;
  using base::base, base::each_tile, base::States;
  using typename base::M;
  using typename base::T;
  using element = typename mixer_element<M, T>::type;

  /// The whole chunk as an element or a run.
  __device__ void absorb(element (&e)[States]) requires mixer_with_elements<M> {
#pragma unroll
    for (int j = 0; j < States; ++j) e[j] = nothing();
    each_tile([&](int buffer, std::int64_t t, int steps) {
      int step = 0;
#pragma unroll 1
      for (; step + 4 <= steps; step += 4) absorb_four(buffer, step, t, e);
#pragma unroll 1
      for (; step < steps; ++step) {
        this->one_step(buffer, step, t + step, [&](int j, const terms_t<M, T>& u) {
          if constexpr (mixer_with_runs<M>) {
            e[j] = M::extend(e[j], u);
            if (M::is_large(e[j])) e[j] = M::rescaled(e[j]);
          } else {
            e[j] = M::absorb(e[j], u);
          }
        });
      }
    });
  }
  __device__ static element nothing() {
    if constexpr (mixer_with_runs<M>) {
      return M::template no_steps<T>();
    } else {
      return M::template monoid<T>().identity();
    }
  }
  __device__ __forceinline__ void absorb_four(int buffer, int step, std::int64_t t, element (&e)[States]) {
    using numbers = simd_value<T, States>;
    if constexpr (mixer_with_runs<M>) {
      this->four_wide_steps(buffer, step, t + step, [&](int, const terms_t<M, numbers>& u) {
        apart<T>(M::extend(together<typename M::template run<numbers>, T>(e), u), e);
      });
      bool large = false;
#pragma unroll
      for (int j = 0; j < States; ++j) large = large | M::is_large(e[j]);
      if (__all_sync(base::all, !large)) return;  // all together, so that it is seldom
#pragma unroll
      for (int j = 0; j < States; ++j) e[j] = M::rescaled(e[j]);
    } else {
      this->four_steps(buffer, step, t + step, [&](int, int j, const terms_t<M, T>& u) { e[j] = M::absorb(e[j], u); });
    }
  }
};

extern __shared__ __align__(16) unsigned char mixer_shared_memory[];

enum class forward_pass { whole, first, last };

/// Block `first_block` + blockIdx.x: slots in order, the blocks of channels of each side by side.
template <class Call, class Lanes, bool Absorbs>
__global__ void __launch_bounds__(Lanes::layout::threads(), Lanes::layout::known ? 256 / Lanes::layout::threads() : 1)
    mixer_forward_kernel(const __grid_constant__ Call call, const __grid_constant__ typename Lanes::layout layout,
                         const __grid_constant__ time_cuts cuts,
                         const __grid_constant__ forward_arrays<typename Call::mixer, typename Call::number> arrays,
                         std::int64_t first_block, forward_pass pass) {
  using traversal_type = device_absorbing_traversal<Call, Lanes>;
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
  const std::int64_t block = first_block + blockIdx.x;
  const chunk_range at = cuts[block / blocks];
  const bool replays = pass == forward_pass::last ? at.k > 0 : at.k == 0;
  if (!replays && (!Absorbs || at.k + 1 == at.chunks)) return;
  traversal_type traversal(call, layout, at, block % blocks * layout.channels(), mixer_shared_memory);
  if (replays) {
    typename traversal_type::state x[Lanes::states];
    if (at.k == 0) {
      traversal.load_initial(x);
    } else {
      traversal.lanes.load(arrays.carry, at.slot, x);
    }
    traversal.replay_any(x);
    if (at.k == 0 && at.chunks > 1) traversal.lanes.store(arrays.carry, at.slot + 1, x);
  } else if constexpr (Absorbs) {
    typename traversal_type::element e[Lanes::states];
    traversal.absorb(e);
    traversal.lanes.store(arrays.element, at.slot, e);
  }
}

/// Sets a lane's carries in `count` slots from carry_slot on, by `stride`, from the elements in those from element_slot
/// on: act(element, carry before it) or, where holds(element, result) denies that, traversal(slot, carry before it). The
/// first pass has no branches, and reads a batch of elements at once, since either would take longer than all else; if
/// anything was denied, a second pass from `before` decides one by one.
template <class X, class T, class Carry, class Act, class Holds, class Traversal>
__device__ __forceinline__ void carry_along(const lane_array<X, T>& elements, std::int64_t element_slot,
                                            const lane_array<Carry, T>& carries, std::int64_t carry_slot,
                                            std::int64_t lane, std::int64_t count, int stride, const Carry& before,
                                            Act act, Holds holds, Traversal traversal) {
  constexpr int batch = 16;
  const auto along = [&](auto next) {
    const T* from = elements.at(element_slot, lane);
    T* to = carries.at(carry_slot, lane);
    Carry x = before;
    const auto pass_batch = [&](std::int64_t first, auto exists) {
      X e[batch];
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        if (exists(j)) e[j] = elements.get(from);
        from += stride * elements.slot_size();
      }
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        if (exists(j)) carries.set(to, x = next(element_slot + stride * (first + j), e[j], x));
        to += stride * carries.slot_size();
      }
    };
    std::int64_t i = 0;
    for (; i + batch <= count; i += batch) pass_batch(i, [](int) { return true; });
    pass_batch(i, [&](int j) { return i + j < count; });
  };
  bool all_hold = true;
  along([&](std::int64_t, const X& e, const Carry& x) {
    const Carry after = act(e, x);
    all_hold = all_hold & holds(e, after);
    return after;
  });
  if (all_hold) return;
  along([&](std::int64_t slot, const X& e, const Carry& x) {
    const Carry after = act(e, x);
    return holds(e, after) ? after : traversal(slot, x);
  });
}

/// Calls f(lane, first slot, chunks), a thread each, for the lanes of all sequences with chunks between their first and
/// last one.
template <class F>
__device__ __forceinline__ void for_each_cut_lane(const time_cuts& cuts, std::int64_t lanes, F f) {
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < cuts.sequences * lanes;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    const std::int64_t n = i / lanes, lane = i % lanes;
    const std::int64_t slot = cuts.offsets == nullptr ? n * (cuts.slots / cuts.sequences) : cuts.first_slot[n];
    const std::int64_t chunks = cuts.offsets == nullptr ? cuts.slots / cuts.sequences : cuts.first_slot[n + 1] - slot;
    if (chunks > 2) f(lane, slot, chunks);
  }
}

/// The state after the chunk of a slot, step by step: seldom wanted, and kept out of the way.
template <class Call, class State>
__device__ __noinline__ State walk_lane(const Call& call, const time_cuts& cuts, std::int64_t slot, std::int64_t lane,
                                        State x) {
  using M = typename Call::mixer;
  const chunk_range at = cuts[slot];
  const std::int64_t S = call.shape.states;
  for (std::int64_t t = at.from; t < at.to; ++t)
    x = M::step(x, terms_of_lane<M, typename Call::number>(call.in, at.batch, at.first + t, lane / S, lane % S));
  return x;
}

/// The states before all chunks of a sequence, one thread a lane. Where gains above one took an element out of range,
/// or a run does not act on the state before it, the lane is walked instead, step by step.
template <class Call>
__global__ void mixer_carry_kernel(
    const __grid_constant__ Call call, const __grid_constant__ time_cuts cuts,
    const __grid_constant__ forward_arrays<typename Call::mixer, typename Call::number> arrays) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  const std::int64_t lanes = call.shape.channels * call.shape.states;
  for_each_cut_lane(cuts, lanes, [&](std::int64_t lane, std::int64_t slot, std::int64_t chunks) {
    carry_along(
        arrays.element, slot + 1, arrays.carry, slot + 2, lane, chunks - 2, 1, arrays.carry.get(slot + 1, lane),
        [](const auto& e, const auto& x) { return M::act(e, x); },
        [](const auto& e, const auto& after) {
          if constexpr (mixer_with_runs<M>) {
            return all_finite<T>(after);  // it is not where the run is not
          } else {
            return all_finite<T>(e);
          }
        },
        [&](std::int64_t k, const auto& x) { return walk_lane(call, cuts, k, lane, x); });
  });
}

}  // namespace kalscan::detail
