// SPDX-License-Identifier: MIT
// What the helpers of helped_traversal.cuh do, half of a block's warps: they bring inputs to shared memory, and outputs
// from there to device memory.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <bit>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/stage.cuh>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

namespace kalscan::detail {

/// The sizes of a block of device_helped_traversal whose takers have so many neighbouring channels each. A quartet is four
/// neighbouring states of a channel.
template <int ChannelsOfTaker>
struct helped_block {
  static constexpr int channels_of_taker = ChannelsOfTaker;
  static constexpr int states = 16, quartets = states / 4, warp = 32, channels = channels_of_taker * warp, tile = 16;
  static constexpr int takers = quartets * warp, helpers = 128, threads = takers + helpers;
  // A column is four neighbouring channels. A helper stages one column at steps s, s + column_steps, ... of a tile, and
  // one state at steps r, r + state_steps, ...
  static constexpr int columns = channels / 4, column_steps = helpers / columns, state_steps = helpers / states;
  static constexpr int channel_units = tile / column_steps, state_units = tile / state_steps;
  static_assert(channel_units * column_steps == tile && state_units * state_steps == tile && takers == block_threads);
};

/// A tile in shared memory: the terms of channels [row][step][channel], those of states [step][state], and what the
/// states of each quartet read out, summed: [quartet][output][step][channel].
template <class M, class T, int ChannelsOfTaker>
struct helped_tile : helped_block<ChannelsOfTaker> {
  using block = helped_block<ChannelsOfTaker>;
  using block::channels, block::quartets, block::states, block::tile;
  static constexpr int rows = static_cast<int>(channel_terms<M, T>);
  static constexpr int outputs = static_cast<int>(array_size<typename M::template outputs<T>, T>);
  using state_vec = vec<T, std::bit_ceil(static_cast<unsigned>(state_terms<M, T>))>;
  T row[rows][tile][channels];
  state_vec state[tile][states];
  T sum[quartets][outputs][tile][channels];
};

/// Whether every four neighbouring channels are one vector: side by side in memory, and aligned.
template <class E>
bool are_vectors_of_channels(const tensor<E>& x) {
  return x.stride[2] == 1 && x.stride[0] % 4 == 0 && x.stride[1] % 4 == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % sizeof(vec<E, 4>) == 0;
}

/// Whether device_helped_traversal with so many channels a taker takes a call with 16 states and parameters that do not
/// vary with time: that depends on its number of channels, on the layout of its arrays and on which outputs it asks for.
/// Which traversal is taken changes no bit, unless numbers of a chunk's run underflow (see helped_traversal.cuh). Calls
/// that leave checkpoints would take longer with helpers.
template <int ChannelsOfTaker, class Call>
bool goes_with_helpers(const Call& call) {
  using M = typename Call::mixer;
  if (call.shape.channels % helped_block<ChannelsOfTaker>::channels != 0) return false;
  if (as_array<tensor<typename Call::number>>(call.states.checkpoints)[0].present()) return false;
  bool vectors = true, writes = false;
  for_each_index<M::inputs_info.size()>([&](auto i) {
    if constexpr (M::inputs_info[i()].varies == role::channel)
      vectors = vectors && are_vectors_of_channels(member<i()>(call.in));
  });
  for_each_member(call.out, [&](const auto& y) {
    vectors = vectors && (!y.present() || are_vectors_of_channels(y));
    writes = writes || y.present();
  });
  return vectors && writes;
}

/// Four neighbouring numbers of storage type E, held in registers as they lie in memory until they are needed.
struct stored_four {
  std::uint32_t words[8];  ///< as many of them as E has bytes; the others take no registers

  template <class E>
  requires(sizeof(E) <= 8)
  using words_of = vec<std::uint32_t, static_cast<int>(sizeof(E))>;
  template <class E>
  __device__ __forceinline__ void read(const char* from) {
    const auto all = *reinterpret_cast<const words_of<E>*>(from);
#pragma unroll
    for (std::size_t i = 0; i < sizeof(E); ++i) words[i] = all.x[i];
  }
  template <class T, class E>
  __device__ __forceinline__ T number(int j) const {
    words_of<E> all;
#pragma unroll
    for (std::size_t i = 0; i < sizeof(E); ++i) all.x[i] = words[i];
    return static_cast<T>(std::bit_cast<vec<E, 4>>(all).x[j]);
  }
};

/// Reads the inputs of a chunk tile by tile, writes their terms to shared memory, and its outputs to where they belong.
template <class Call, int ChannelsOfTaker>
struct tile_helper : helped_block<ChannelsOfTaker> {
  using M = typename Call::mixer;
  using T = typename Call::number;
  using block = helped_block<ChannelsOfTaker>;
  using tile_type = helped_tile<M, T, ChannelsOfTaker>;
  using block::channel_units, block::quartets, block::column_steps, block::columns, block::state_steps, block::state_units;
  using block::states, block::takers, block::tile;
  template <class Tensor>
  using stored = std::remove_const_t<typename std::remove_cvref_t<Tensor>::value_type>;

  const Call& call;
  int column_step, column, state_step, state;  ///< the first steps at which the helper has its column and its state
  const char *channel_at[inputs_with<M, role::channel>], *state_at[inputs_with<M, role::state>];
  char* output_at[tile_type::outputs];
  stored_four of_channels[channel_units][inputs_with<M, role::channel>];
  T of_state[state_units][inputs_with<M, role::state>];

  __device__ tile_helper(const Call& call_, const chunk_range& at, std::int64_t first_channel)
      : call(call_),
        column_step((static_cast<int>(threadIdx.x) - takers) / columns),
        column(static_cast<int>(threadIdx.x) % columns),
        state_step((static_cast<int>(threadIdx.x) - takers) / states),
        state(static_cast<int>(threadIdx.x) % states) {
    const std::int64_t first = at.first + at.from, t = first + column_step, m = first_channel + 4 * column;
    for_inputs<M, role::channel>(call.in, [&](auto i, const auto& x) {
      channel_at[inputs_before<M>(i(), role::channel)] = reinterpret_cast<const char*>(x.at(at.batch, t, m, 0));
    });
    for_inputs<M, role::state>(call.in, [&](auto i, const auto& x) {
      state_at[inputs_before<M>(i(), role::state)] = reinterpret_cast<const char*>(x.at(at.batch, first + state_step, 0, state));
    });
    for_each_index<tile_type::outputs>(
        [&](auto o) { output_at[o()] = reinterpret_cast<char*>(member<o()>(call.out).at(at.batch, t, m, 0)); });
  }

  /// Reads the next tile, of which `left` steps are in the chunk; in place of those beyond it, the chunk's last step
  /// once more (which is in a tile before if `left` is not positive).
  __device__ __forceinline__ void read(std::int64_t left) {
    if (left >= tile) {
      read_at([](int, int later) { return std::int64_t{later}; });
    } else {
      read_at([&](int step, int later) { return min(static_cast<std::int64_t>(step + later), left - 1) - step; });
    }
    for_inputs<M, role::channel>(call.in, [&](auto i, const auto& x) {
      channel_at[inputs_before<M>(i(), role::channel)] += tile * bytes_of_step(x);
    });
    for_inputs<M, role::state>(call.in, [&](auto i, const auto& x) {
      state_at[inputs_before<M>(i(), role::state)] += tile * bytes_of_step(x);
    });
  }
  template <class Steps>
  __device__ __forceinline__ void read_at(Steps steps_to) {
#pragma unroll
    for (int n = 0; n < channel_units; ++n) {
      for_inputs<M, role::channel>(call.in, [&](auto i, const auto& x) {
        constexpr int row = inputs_before<M>(i(), role::channel);
        const char* from = channel_at[row] + steps_to(column_step, n * column_steps) * bytes_of_step(x);
        of_channels[n][row].template read<stored<decltype(x)>>(from);
      });
    }
#pragma unroll
    for (int n = 0; n < state_units; ++n) {
      for_inputs<M, role::state>(call.in, [&](auto i, const auto& x) {
        using E = stored<decltype(x)>;
        constexpr int row = inputs_before<M>(i(), role::state);
        const char* from = state_at[row] + steps_to(state_step, n * state_steps) * bytes_of_step(x);
        of_state[n][row] = stored_number<T, E>::hold(*reinterpret_cast<const E*>(from));
      });
    }
  }

  __device__ __forceinline__ void write(tile_type& to) const {
#pragma unroll
    for (int n = 0; n < channel_units; ++n) {
      const int t = column_step + n * column_steps;
      vec<T, 4> row[tile_type::rows];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        prepare_terms<M, T, role::channel>(
            [&](auto i) {
              using E = stored<decltype(member<i()>(call.in))>;
              return of_channels[n][inputs_before<M>(i(), role::channel)].template number<T, E>(j);
            },
            [&](std::int64_t k, T term) { row[k].x[j] = term; });
      }
#pragma unroll
      for (int k = 0; k < tile_type::rows; ++k) *reinterpret_cast<vec<T, 4>*>(&to.row[k][t][4 * column]) = row[k];
    }
#pragma unroll
    for (int n = 0; n < state_units; ++n) {
      const int t = state_step + n * state_steps;
      prepare_terms<M, T, role::state>(
          [&](auto i) {
            using E = stored<decltype(member<i()>(call.in))>;
            return stored_number<T, E>::number(of_state[n][inputs_before<M>(i(), role::state)]);
          },
          [&](std::int64_t k, T term) { to.state[t][state].x[k] = term; });
    }
  }

  /// Writes the outputs of a tile, of which `steps` are in the chunk. To be called for the tiles in order.
  __device__ __forceinline__ void write_outputs(const tile_type& from, int steps) {
    for_each_index<tile_type::outputs>([&](auto o) {
      const auto& y = member<o()>(call.out);
      using E = stored<decltype(y)>;
      const std::int64_t stride = bytes_of_step(y);
#pragma unroll
      for (int n = 0; n < channel_units; ++n) {
        const int t = column_step + n * column_steps;
        vec<T, 4> of[quartets];
#pragma unroll
        for (int f = 0; f < quartets; ++f) of[f] = *reinterpret_cast<const vec<T, 4>*>(&from.sum[f][o()][t][4 * column]);
        vec<E, 4> all;
#pragma unroll
        for (int j = 0; j < 4; ++j) all.x[j] = static_cast<E>((of[0].x[j] + of[1].x[j]) + (of[2].x[j] + of[3].x[j]));
        if (y.present() && t < steps) *reinterpret_cast<vec<E, 4>*>(output_at[o()] + n * column_steps * stride) = all;
      }
      output_at[o()] += tile * stride;
    });
  }
};

}  // namespace kalscan::detail
