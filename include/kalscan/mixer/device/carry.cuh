// SPDX-License-Identifier: MIT
// The two directions in which chunks of time hand on what they carry, and the kernel that takes the carries through the
// chunks: forward the states before them, backward the adjoints after them.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>

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
template <class M, class T>
struct adjoint_element {
  using type = typename M::template state<T>;
};
template <mixer_with_adjoint_elements M, class T>
struct adjoint_element<M, T> {
  using type = element_t<decltype(M::template adjoint_monoid<T>())>;
};

/// The workspace of a forward call: the states before all chunks but the first, and what summarizes each chunk. Where
/// sequences are taken in turns (backend/relay.cuh), the states before the next turn, and the board.
template <class M, class T>
struct forward_arrays {
  lane_array<typename M::template state<T>, T> carry;
  lane_array<typename mixer_element<M, T>::type, T> element;
  unsigned* board;
};
/// The workspace of a backward call: the adjoints after all chunks but the last, and what summarizes each chunk; the
/// same of turns.
template <class M, class T>
struct backward_arrays {
  static constexpr std::size_t inputs = M::inputs_info.size();
  lane_array<typename M::template state<T>, T> carry;
  lane_array<typename adjoint_element<M, T>::type, T> element;
  unsigned* board;
  T* over_channels[inputs];  // [block of channels][batch][time][state]: sums over the channels of a block
  T* time[inputs];           // [slot][channel][state]: sums over the steps of a chunk
  device_gathering how[inputs];
};

/// The direction of the forward pass, from the first step to the last one. What is carried is the state.
template <class Call>
struct forward_in_time {
  using call_type = Call;
  using M = typename Call::mixer;
  using T = typename Call::number;
  using state = typename M::template state<T>;
  using element = typename mixer_element<M, T>::type;
  using arrays = forward_arrays<M, T>;
  static constexpr int next = 1;  // from a chunk's slot to that of the one that takes its carry
  static constexpr bool splits = mixer_with_elements<M>;
  static constexpr const char* name = "forward";

  /// Whether what is carried into the first chunk of a sequence is known here, and whether nobody takes what leaves its
  /// last one, where `ends` are those of the sequence; of all sequences, where they are the call's.
  template <class Ends>
  KALSCAN_HD static bool starts(const Ends& ends) { return ends.begin; }
  template <class Ends>
  KALSCAN_HD static bool stops(const Ends& ends) { return ends.end; }

  __device__ static state act(const element& e, const state& x) { return M::act(e, x); }
  /// Whether `after` = act(e, ...) may be used: not if gains above one took e out of the range of its numbers. For a
  /// run it is enough to look at `after`, which is then not finite.
  __device__ static bool holds(const element& e, const state& after) {
    if constexpr (mixer_with_runs<M>) {
      return all_finite<T>(after);
    } else {
      return all_finite<T>(e);
    }
  }
  /// The state after a chunk, step by step: seldom wanted, and no part of the code around it.
  __device__ __noinline__ static state replay_lane(const Call& call, const time_cuts& cuts, std::int64_t slot,
                                                   std::int64_t lane, state x) {
    const chunk_range at = cuts[slot];
    const std::int64_t S = call.shape.states;
    for (std::int64_t t = at.from; t < at.to; ++t)
      x = M::step(x, terms_of_lane<M, T>(call.in, at.batch, at.first + t, lane / S, lane % S));
    return x;
  }
};

/// The direction of the backward pass, from the last step to the first one. What is carried is the adjoint of the state.
template <class Call>
struct backward_in_time {
  using call_type = Call;
  using M = typename Call::mixer;
  using T = typename Call::number;
  using state = typename M::template state<T>;
  using element = typename adjoint_element<M, T>::type;
  using arrays = backward_arrays<M, T>;
  static constexpr int next = -1;
  static constexpr bool splits = mixer_with_adjoint_elements<M>;
  static constexpr const char* name = "backward";

  template <class Ends>
  KALSCAN_HD static bool starts(const Ends& ends) { return ends.end; }
  template <class Ends>
  KALSCAN_HD static bool stops(const Ends& ends) { return ends.begin; }

  __device__ static state act(const element& e, const state& bar) { return M::adjoint_act(e, bar); }
  __device__ static bool holds(const element& e, const state&) { return all_finite<T>(e); }
  /// The adjoint before a chunk, step by step backwards, the states of a tile at a time from a checkpoint.
  __device__ __noinline__ static state replay_lane(const Call& call, const time_cuts& cuts, std::int64_t slot,
                                                   std::int64_t lane, state bar) {
    const chunk_range at = cuts[slot];
    const std::int64_t m = lane / call.shape.states, s = lane % call.shape.states, tile = call.states.every;
    const auto checkpoints = as_array<tensor<const T>>(call.states.checkpoints);
    const auto stored = [&](std::int64_t t) {
      return from_fields<state, T>(
          [&](auto w) { return checkpoints[w()](at.batch, at.first_checkpoint(tile) + t / tile, m, s); });
    };
    const auto terms = [&](std::int64_t t) { return terms_of_lane<M, T>(call.in, at.batch, at.first + t, m, s); };
    for (std::int64_t t = at.from + (at.to - at.from - 1) / tile * tile; t >= at.from; t -= tile) {
      const int steps = static_cast<int>(min(tile, at.to - t));
      state x[16 + 1];  // `tile` is at most 16
      x[0] = stored(t);
      for (int j = 0; j < steps; ++j) x[j + 1] = M::step(x[j], terms(t + j));
      if (t + steps < at.length || (!ends_of(call, at.n).end && steps == tile)) x[steps] = stored(t + steps);
      for (int j = steps - 1; j >= 0; --j) {
        const auto y_bar = adjoint_of_outputs<M, T>(call.out_bar, at.batch, at.first + t + j, m);
        bar = M::adjoint(x[j], terms(t + j), x[j + 1], bar, y_bar).earlier;
      }
    }
    return bar;
  }
};

/// The carries of one lane of a sequence with the given slots, a thread's work. The first pass has no branches and
/// reads a batch of elements at once, since either would take longer than all else; where the action of an element does
/// not hold, a second pass decides one by one.
///
/// Where the sequence starts here its first chunk was replayed, and its carry lies before the second one; else what
/// enters goes before the first one. Where the sequence stops here nobody takes the last chunk's carry; else it leaves.
template <class Direction>
__device__ void carry_lane(const typename Direction::call_type& call, const time_cuts& cuts,
                           const typename Direction::arrays& arrays, std::int64_t n, std::int64_t lane) {
  using element = typename Direction::element;
  constexpr bool may_be_stretch = on_stretch<typename Direction::call_type>;
  constexpr int batch = array_size<element, typename Direction::T> > 8 ? 8 : 16, next = Direction::next;
  const sequence_slots of = cuts.slots_of(n);
  const auto ends = ends_of(call, n);
  const bool starts = Direction::starts(ends), stops = Direction::stops(ends);
  const std::int64_t count = of.chunks - (starts ? 2 : 1);  // chunks before the last one that are taken by elements
  if (count < (stops && starts ? 1 : 0)) return;
  const std::int64_t slot = (next > 0 ? of.slot : of.slot + of.chunks - 1) + (starts ? next : 0);
  if constexpr (may_be_stretch) {
    if (!starts) arrays.carry.set(slot, lane, call.entering.get(call.shared(n), lane));
  }
  const auto* from = arrays.element.at(slot, lane);
  auto* to = arrays.carry.at(slot + next, lane);
  auto x = arrays.carry.get(slot, lane);
  bool all_hold = true;
  const auto take_batch = [&](auto exists) {
    element e[batch];
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (exists(j)) e[j] = arrays.element.get(from);
      from += next * arrays.element.slot_size();
    }
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (exists(j)) {
        x = Direction::act(e[j], x);
        all_hold = all_hold & Direction::holds(e[j], x);
        arrays.carry.set(to, x);
      }
      to += next * arrays.carry.slot_size();
    }
  };
  std::int64_t i = 0;
  for (; i + batch <= count; i += batch) take_batch([](int) { return true; });
  take_batch([&](int j) { return i + j < count; });
  const auto take_one = [&](std::int64_t k) {
    const element e = arrays.element.get(k, lane);
    const auto after = Direction::act(e, x);
    x = Direction::holds(e, after) ? after : Direction::replay_lane(call, cuts, k, lane, x);
  };
  const std::int64_t last = slot + next * count;
  if (!all_hold) {
    x = arrays.carry.get(slot, lane);
    for (std::int64_t k = slot; k != last; k += next) {
      take_one(k);
      arrays.carry.set(k + next, lane, x);
    }
  }
  if constexpr (may_be_stretch) {
    if (stops) return;
    take_one(last);
    call.leaving.set(call.shared(n), lane, x);
  }
}

/// The carries of all lanes of all sequences, a thread each.
template <class Direction>
__global__ void mixer_carry_kernel(const __grid_constant__ typename Direction::call_type call,
                                   const __grid_constant__ time_cuts cuts,
                                   const __grid_constant__ typename Direction::arrays arrays) {
  const std::int64_t lanes = call.shape.channels * call.shape.states;
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < cuts.sequences * lanes;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    carry_lane<Direction>(call, cuts, arrays, i / lanes, i % lanes);
  }
}

}  // namespace kalscan::detail
