// SPDX-License-Identifier: MIT
// Forward of channels of 16 states by specialized warps: half of a block's warps, the takers, only take steps; the other
// half, the helpers, stages the inputs of the next tile and writes the outputs of the one before. It is faster than
// forward_traversal.cuh where a multiprocessor has few warps.
//
// A block has 64 neighbouring channels, or 32 where there are few or their number is no multiple of 64, and 256 threads,
// and takes tiles of 16 steps:
//
//   - Warp w < 4 has states 4 w ... 4 w + 3: a quartet, whose read-outs are added one after the other (readout_sums).
//     Its thread l has these states of channels 2 l and 2 l + 1, eight lanes, or of channel l alone.
//   - So one address of a state's terms serves the whole warp and both channels, sums cross no threads, and between
//     steps nothing is exchanged or stored to device memory. The sums of a quartet go to shared memory.
//   - Warps 4 ... 7 are the helpers. A helper stages, for one or two steps of a tile, the inputs of four neighbouring
//     channels, and for two those of one state. While tile k is computed it loads those of tile k + 2 into registers and
//     writes those of tile k + 1, loaded before, to shared memory as terms.
//   - Helpers add the sums of the quartets of tile k - 1 pairwise, as readout_sums and sum_over_group do, and write the
//     outputs.
//   - There are two buffers for terms and sums, used alternately, and one barrier of the whole block a tile.
//
// The bits are those of device_forward_traversal, unless numbers of a chunk's run underflow: which lanes are rescaled
// together differs. On an H100 forward 8 x 2048 x 1024 takes 0.189 ms, by
// device_forward_traversal 0.224; and 1 x 2048 x 4096 0.121 with a channel a taker, 0.188 with two, when half of the
// multiprocessors have no block.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/carry.cuh>
#include <kalscan/mixer/device/forward/tile_helper.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/device/traversal.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <utility>

namespace kalscan::detail {

/// Mixers that have such a traversal: those with branch-free formulas (`ordinary`) and runs of steps, two numbers a state,
/// and inputs of channels and of states, which helpers read.
template <class M>
concept mixer_with_helpers = mixer_with_runs<M> && !mixer_with_frame<M> && ordinary_of<M>::exists &&
                         M::state_info.size() == 2 && (inputs_with<M, role::channel> > 0) &&
                         (inputs_with<M, role::state> > 0);

/// Replays and absorbs the chunks of calls for which goes_with_helpers; with one channel a taker, of those whose time is not
/// cut.
template <class Call, int ChannelsOfTaker = 2>
struct device_helped_traversal : helped_block<ChannelsOfTaker> {
  using block = helped_block<ChannelsOfTaker>;
  using block::channels, block::channels_of_taker, block::quartets, block::states, block::takers, block::tile, block::warp;
  using M = typename Call::mixer;
  using T = typename Call::number;
  using direction = forward_in_time<Call>;
  using layout_type = lane_layout<kind_for(states, false, 4 * channels_of_taker)>;  ///< its blocks have as many channels
  using tile_type = helped_tile<M, T, channels_of_taker>;
  using lane_state = typename M::template state<T>;
  using numbers = vec<T, channels_of_taker>;
  static constexpr int States = channels_of_taker;  ///< how many of `state` a thread has, as mixer_kernel asks
  static constexpr int blocks = 2;
  static constexpr bool splits = direction::splits && channels_of_taker > 1;
  static constexpr bool spares_registers = false;
  static constexpr unsigned all = 0xffffffffU;

  /// The states of a quartet of one channel. A thread has one of these for each of its channels.
  struct state {
    lane_state x[4];
  };
  /// What a chunk does to them.
  struct element {
    typename direction::element x[4];
  };
  /// Which thread has which, for thread_lanes.
  struct taker_layout {
    __device__ static int channel_of(int thread) { return thread % warp * channels_of_taker; }
    __device__ static int number_in_group(int thread) { return thread / warp; }
  };
  /// Where a thread's states come from and go to. Helpers have none.
  struct lanes_of_channels {
    thread_lanes<M, T, 4> of[channels_of_taker];
    bool helps;
    T* memory;  ///< shared, for what is stored

    template <class From>
    __device__ void load(const From& from, std::int64_t slot, state (&x)[channels_of_taker]) const {
      if (helps) return;
#pragma unroll
      for (int c = 0; c < channels_of_taker; ++c) of[c].load(from, slot, x[c].x);
    }
    __device__ void store(const lane_array<lane_state, T>& to, std::int64_t slot,
                          const state (&x)[channels_of_taker]) const {
      if (helps) return;
#pragma unroll
      for (int c = 0; c < channels_of_taker; ++c) of[c].store(to, slot, x[c].x);
    }
    /// By way of shared memory, with a row for each number and channel: a thread's own numbers lie so far apart that storing
    /// them took as long as 100 steps.
    __device__ void store(const lane_array<typename direction::element, T>& to, std::int64_t slot,
                          const element (&x)[channels_of_taker]) const {
      constexpr int row = states + 4, of_block = channels * states / 4;
      constexpr auto count = static_cast<int>(array_size<typename direction::element, T>);
      static_assert(count * channels * row * sizeof(T) <= 2 * sizeof(tile_type));
      if (helps) return;
      for_each_index<count>([&](auto i) {
#pragma unroll
        for (int c = 0; c < channels_of_taker; ++c) {
          vec<T, 4> quartet;
#pragma unroll
          for (int j = 0; j < 4; ++j) quartet.x[j] = as_array<T>(x[c].x[j])[i()];
          const int at_row = static_cast<int>(i()) * channels + of[0].c + c;
          *reinterpret_cast<vec<T, 4>*>(memory + at_row * row + of[0].s0) = quartet;
        }
      });
      takers_meet();
      T* const first = to.at(slot, (of[0].m - of[0].c) * states);
#pragma unroll
      for (int i = 0; i < count; ++i) {
#pragma unroll
        for (int k = static_cast<int>(threadIdx.x); k < of_block; k += takers) {
          reinterpret_cast<vec<T, 4>*>(first + i * to.lanes)[k] =
              *reinterpret_cast<const vec<T, 4>*>(memory + (i * channels + k / 4) * row + k % 4 * 4);
        }
      }
    }
    template <class Tensors>
    __device__ void store(const Tensors& to, std::int64_t n, std::int64_t t,
                          const state (&x)[channels_of_taker]) const {
#pragma unroll
      for (int c = 0; c < channels_of_taker; ++c) of[c].store(to, n, t, x[c].x);
    }
  };
  using parked_type = parked_states<lane_state, T, 4>;
  KALSCAN_HD static constexpr std::size_t shared_size(const layout_type&) {
    return 2 * sizeof(tile_type) + channels_of_taker * parked_type::size();
  }

  const Call& call;
  const chunk_range& at;
  std::int64_t first_channel;
  unsigned char* memory;
  lanes_of_channels lanes;
  parameter_lanes<M, decltype(Call::in), 4, false> parameter[channels_of_taker];
  int quartet;  ///< the taker's

  __device__ device_helped_traversal(const Call& call_, const layout_type&, const chunk_range& at_,
                                     const typename direction::arrays&, std::int64_t channel_block,
                                     unsigned char* memory_)
      : call(call_),
        at(at_),
        first_channel(channel_block * channels),
        memory(memory_),
        lanes(lanes_from(std::make_index_sequence<channels_of_taker>())) {}
  template <std::size_t... C>
  __device__ lanes_of_channels lanes_from(std::index_sequence<C...>) const {
    return {{{taker_layout{}, first_channel + static_cast<std::int64_t>(C), call.shape.channels, states}...},
            threadIdx.x >= takers, reinterpret_cast<T*>(memory)};
  }

  __device__ __forceinline__ tile_type& tile_of(int buffer) const {
    return reinterpret_cast<tile_type*>(memory)[buffer];
  }
  __device__ __forceinline__ parked_type parked(int c) const {
    return {memory + 2 * sizeof(tile_type) + static_cast<std::size_t>(c) * parked_type::size()};
  }
  /// A barrier of all threads of the block, which helpers and takers reach at different places of the program.
  __device__ __forceinline__ static void meet() { asm volatile("barrier.sync 1;" ::: "memory"); }
  __device__ __forceinline__ static void takers_meet() {
    asm volatile("barrier.sync 2, %0;" ::"n"(takers) : "memory");
  }

  __device__ __forceinline__ void load_start(state (&x)[channels_of_taker]) {
    if (lanes.helps) return;
#pragma unroll
    for (int c = 0; c < channels_of_taker; ++c) load_initial_states<4>(call, lanes.of[c], at.n, x[c].x);
  }
  __device__ __forceinline__ void go_on() {}

  /// The whole chunk from the states before it, which become those after it.
  __device__ __forceinline__ void replay(state (&x)[channels_of_taker]) {
    if (lanes.helps) {
      if (at.from < at.to) help<true>();
    } else {
      take_chunk(x);
    }
  }
  /// The whole chunk as runs of steps.
  __device__ __forceinline__ void absorb(element (&e)[channels_of_taker]) {
    if (lanes.helps) {
      if (at.from < at.to) help<false>();
    } else {
      absorb_chunk(e);
    }
  }

  template <bool Emit>
  __device__ __forceinline__ void help() const {
    std::int64_t left = at.to - at.from;
    tile_helper<Call, channels_of_taker> mine(call, at, first_channel);
    mine.read(left);
    mine.write(tile_of(0));
    mine.read(left - tile);
    meet();
    int buffer = 0;
    bool first = true;
#pragma unroll 1
    for (; left > 0; left -= tile) {  // takers are at the tile of `buffer`
      if (left > tile) mine.write(tile_of(buffer ^ 1));
      mine.read(left - 2 * tile);
      if (Emit && !first) mine.write_outputs(tile_of(buffer ^ 1), tile);
      first = false;
      meet();
      buffer ^= 1;
    }
    if (Emit) mine.write_outputs(tile_of(buffer ^ 1), static_cast<int>(left) + tile);
  }

  /// What a taker needs before its first tile.
  __device__ __forceinline__ void prepare() {
    quartet = __shfl_sync(all, lanes.of[0].g, 0);  // one address for all of a warp
#pragma unroll
    for (int c = 0; c < channels_of_taker; ++c) parameter[c].load(call.in, lanes.of[c], at.batch, 0);
  }
  /// Calls take(a taker's part, steps) for all tiles of the chunk, each in shared memory by then.
  template <class Take>
  __device__ __forceinline__ void each_tile(Take take) {
    int buffer = 0;
    if (at.from < at.to) meet();
#pragma unroll 1
    for (std::int64_t t = at.from; t < at.to; t += tile) {
      const int steps = static_cast<int>(min(static_cast<std::int64_t>(tile), at.to - t));
      const own_part part(tile_of(buffer), quartet, lanes.of[0].c);
      take(part, steps);
      meet();
      buffer ^= 1;
    }
  }
  __device__ __forceinline__ void absorb_chunk(element (&e)[channels_of_taker]) {
    const auto each_run = [&](auto f) {
#pragma unroll
      for (int c = 0; c < channels_of_taker; ++c) {
#pragma unroll
        for (int j = 0; j < 4; ++j) f(e[c].x[j]);
      }
    };
    prepare();
    each_run([](auto& run) { run = M::template no_steps<T>(); });
    each_tile([&](const own_part& part, int steps) {
      int step = 0;
#pragma unroll 1
      for (; step + 4 <= steps; step += 4) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          each_lane(step_terms(part, step + i),
                    [&](int c, int j, const auto& u) { e[c].x[j] = extended<M, false>(e[c].x[j], u, i); });
        }
        rescale_together<M>(each_run);
      }
#pragma unroll 1
      for (; step < steps; ++step) {
        each_lane(step_terms(part, step), [&](int c, int j, const auto& u) { e[c].x[j] = M::extend(e[c].x[j], u); });
        rescale_together<M>(each_run);
      }
    });
  }

  __device__ __forceinline__ void take_chunk(state (&x)[channels_of_taker]) {
    prepare();
    bool ordinary = are_all_ordinary(x);
    each_tile([&](const own_part& part, int steps) {
      bool done = false;
      if (ordinary && steps == tile) {
#pragma unroll
        for (int c = 0; c < channels_of_taker; ++c) parked(c).put(x[c].x);
        whole_tile(part, x);
        done = are_all_ordinary(x);
        if (!done) {
#pragma unroll
          for (int c = 0; c < channels_of_taker; ++c) parked(c).take(x[c].x);
        }
      }
      if (!done) {
        single_steps(part, steps, x);
        ordinary = are_all_ordinary(x);
      }
    });
    if (at.to != at.length) return;
    for (int c = 0; c < channels_of_taker; ++c) {
#pragma unroll
      for (int j = 0; j < 4; ++j) x[c].x[j] = numbers_of(call.states.final, x[c].x[j]);
    }
    lanes.store(call.states.final, at.n, 0, x);
  }
  __device__ __forceinline__ static bool are_all_ordinary(const state (&x)[channels_of_taker]) {
    bool ordinary = true;
#pragma unroll
    for (int c = 0; c < channels_of_taker; ++c) ordinary &= are_ordinary<M, T, 4>(x[c].x);
    return __all_sync(all, ordinary);
  }

  /// What a thread has of a tile's memory: of the rows its channels, four states, and where its sums go.
  struct own_part {
    const T* rows;
    const typename tile_type::state_vec* states;
    T* sums;

    __device__ own_part(tile_type& of, int quartet, int channel)
        : rows(&of.row[0][0][channel]), states(&of.state[0][4 * quartet]), sums(&of.sum[quartet][0][0][channel]) {}
    __device__ __forceinline__ const numbers& row(int k, int step) const {
      return *reinterpret_cast<const numbers*>(rows + (k * tile + step) * channels);
    }
    __device__ __forceinline__ numbers& sum(int output, int step) const {
      return *reinterpret_cast<numbers*>(sums + (output * tile + step) * channels);
    }
  };
  /// The terms of a thread's lanes at one step.
  struct step_terms {
    numbers row[tile_type::rows];
    typename tile_type::state_vec state[4];

    step_terms() = default;
    __device__ __forceinline__ step_terms(const own_part& from, int step) {
#pragma unroll
      for (int k = 0; k < tile_type::rows; ++k) row[k] = from.row(k, step);
#pragma unroll
      for (int j = 0; j < 4; ++j) state[j] = from.states[step * states + j];
    }
  };

  __device__ __forceinline__ void whole_tile(const own_part& part, state (&x)[channels_of_taker]) const {
    constexpr int unrolled = 8;  // 16 would not fit the instruction cache
    step_terms next(part, 0);
#pragma unroll 1
    for (int step = 0; step < tile; step += unrolled) {
#pragma unroll
      for (int i = 0; i < unrolled; ++i) {
        const step_terms now = next;
        // A step ahead, since loads do not cross stores.
        if (i + 1 < unrolled || step + unrolled < tile) next = step_terms(part, step + i + 1);
        take_step<typename ordinary_of<M>::type>(now, part, step + i, x);
      }
    }
  }
  /// Takes `steps` steps of a tile by the formulas that hold everywhere.
  __device__ __forceinline__ void single_steps(const own_part& part, int steps, state (&x)[channels_of_taker]) const {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) take_step<M>(step_terms(part, step), part, step, x);
  }
  /// Calls f(channel, state of the quartet, terms) for the thread's lanes.
  template <class F>
  __device__ __forceinline__ void each_lane(const step_terms& u, F f) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int c = 0; c < channels_of_taker; ++c)
        f(c, j, lane_terms<M, T>([&](int k) { return u.row[k].x[c]; }, u.state[j], parameter[c], j));
    }
  }
  /// A step of the thread's lanes by the formulas of Lane, and the sums of what they read out.
  template <class Lane>
  __device__ __forceinline__ void take_step(const step_terms& u, const own_part& part, int step,
                                            state (&x)[channels_of_taker]) const {
    typename M::template outputs<T> y[channels_of_taker];
    each_lane(u, [&](int c, int j, const auto& terms) {
      x[c].x[j] = Lane::step(x[c].x[j], terms);
      readout_sums<M, T, 4>::template add<Lane>(y[c], j == 0, x[c].x[j], terms);
    });
    for_each_index<tile_type::outputs>([&](auto o) {
      numbers sum;
#pragma unroll
      for (int c = 0; c < channels_of_taker; ++c) sum.x[c] = as_array<T>(y[c])[o()];
      part.sum(o(), step) = sum;
    });
  }
};

}  // namespace kalscan::detail
