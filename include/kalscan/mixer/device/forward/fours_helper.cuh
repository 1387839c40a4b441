// SPDX-License-Identifier: MIT
// What half of a block's warps does for the others in fours_traversal.cuh: inputs to shared memory, outputs from there.
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

/// What a block of device_fours_traversal is. A taker has neighbouring channels, so many of them.
template <int ChannelsOfTaker>
struct fours_block {
  static constexpr int channels_of_taker = ChannelsOfTaker;
  static constexpr int states = 16, fours = states / 4, warp = 32, channels = channels_of_taker * warp, tile = 16;
  static constexpr int takers = fours * warp, helpers = 128, threads = takers + helpers;
  // A helper reads a quad of channels at one step of a tile and, if there are units left, at as many steps later; so it
  // does a state.
  static constexpr int quads = channels / 4, quad_steps = helpers / quads, state_steps = helpers / states;
  static constexpr int channel_units = tile / quad_steps, state_units = tile / state_steps;
  static_assert(channel_units * quad_steps == tile && state_units * state_steps == tile && takers == block_threads);
};

/// Where the terms of a tile and the sums of fours over it are in shared memory: terms of channels
/// [row][step][channel], those of states [step][state], sums [four][output][step][channel].
template <class M, class T, int ChannelsOfTaker>
struct fours_tile : fours_block<ChannelsOfTaker> {
  using block = fours_block<ChannelsOfTaker>;
  using block::channels, block::fours, block::states, block::tile;
  static constexpr int rows = static_cast<int>(channel_terms<M, T>);
  static constexpr int outputs = static_cast<int>(array_size<typename M::template outputs<T>, T>);
  using state_vec = vec<T, std::bit_ceil(static_cast<unsigned>(state_terms<M, T>))>;
  T row[rows][tile][channels];
  state_vec state[tile][states];
  T sum[fours][outputs][tile][channels];
};

/// Whether numbers of neighbouring channels lie so that four of them are one vector.
template <class E>
bool has_quads_of_channels(const tensor<E>& x) {
  return x.stride[2] == 1 && x.stride[0] % 4 == 0 && x.stride[1] % 4 == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % sizeof(vec<E, 4>) == 0;
}

/// Whether blocks with so many channels a taker serve a call with 16 states and parameters that do not vary. Its shape, the
/// layout of its arrays and what it asks for decide; bits are the same. Calls that leave checkpoints would take longer.
template <int ChannelsOfTaker, class Call>
bool goes_by_fours(const Call& call) {
  using M = typename Call::mixer;
  if (call.shape.channels % fours_block<ChannelsOfTaker>::channels != 0) return false;
  if (as_array<tensor<typename Call::number>>(call.states.checkpoints)[0].present()) return false;
  bool quads = true, writes = false;
  for_each_index<M::inputs_info.size()>([&](auto i) {
    if constexpr (M::inputs_info[i()].varies == role::channel)
      quads = quads && has_quads_of_channels(member<i()>(call.in));
  });
  for_each_member(call.out, [&](const auto& y) {
    quads = quads && (!y.present() || has_quads_of_channels(y));
    writes = writes || y.present();
  });
  return quads && writes;
}

/// Four neighbouring numbers of storage type E, held in registers as they lie in memory until they are needed.
struct stored_quad {
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
struct fours_helper : fours_block<ChannelsOfTaker> {
  using M = typename Call::mixer;
  using T = typename Call::number;
  using block = fours_block<ChannelsOfTaker>;
  using tile_type = fours_tile<M, T, ChannelsOfTaker>;
  using block::channel_units, block::fours, block::quad_steps, block::quads, block::state_steps, block::state_units;
  using block::states, block::takers, block::tile;
  template <class Tensor>
  using stored = std::remove_const_t<typename std::remove_cvref_t<Tensor>::value_type>;

  const Call& call;
  int quad_step, quad, state_step, state;  ///< of the first units
  const char *channel_at[inputs_with<M, role::channel>], *state_at[inputs_with<M, role::state>];
  char* output_at[tile_type::outputs];
  stored_quad of_channels[channel_units][inputs_with<M, role::channel>];
  T of_state[state_units][inputs_with<M, role::state>];

  __device__ fours_helper(const Call& call_, const chunk_range& at, std::int64_t first_channel)
      : call(call_),
        quad_step((static_cast<int>(threadIdx.x) - takers) / quads),
        quad(static_cast<int>(threadIdx.x) % quads),
        state_step((static_cast<int>(threadIdx.x) - takers) / states),
        state(static_cast<int>(threadIdx.x) % states) {
    const std::int64_t first = at.first + at.from, t = first + quad_step, m = first_channel + 4 * quad;
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
        const char* from = channel_at[row] + steps_to(quad_step, n * quad_steps) * bytes_of_step(x);
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
      const int t = quad_step + n * quad_steps;
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
      for (int k = 0; k < tile_type::rows; ++k) *reinterpret_cast<vec<T, 4>*>(&to.row[k][t][4 * quad]) = row[k];
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

  /// The outputs of a tile, of which `steps` are in the chunk: after each other, from its first tile on.
  __device__ __forceinline__ void write_outputs(const tile_type& from, int steps) {
    for_each_index<tile_type::outputs>([&](auto o) {
      const auto& y = member<o()>(call.out);
      using E = stored<decltype(y)>;
      const std::int64_t stride = bytes_of_step(y);
#pragma unroll
      for (int n = 0; n < channel_units; ++n) {
        const int t = quad_step + n * quad_steps;
        vec<T, 4> of[fours];
#pragma unroll
        for (int f = 0; f < fours; ++f) of[f] = *reinterpret_cast<const vec<T, 4>*>(&from.sum[f][o()][t][4 * quad]);
        vec<E, 4> all;
#pragma unroll
        for (int j = 0; j < 4; ++j) all.x[j] = static_cast<E>((of[0].x[j] + of[1].x[j]) + (of[2].x[j] + of[3].x[j]));
        if (y.present() && t < steps) *reinterpret_cast<vec<E, 4>*>(output_at[o()] + n * quad_steps * stride) = all;
      }
      output_at[o()] += tile * stride;
    });
  }
};

}  // namespace kalscan::detail
