// SPDX-License-Identifier: MIT
// Inputs on their way to the lanes: a tile of steps is read while the tile before it is computed, becomes terms, and
// lies in shared memory where the threads that share it read whole vectors. Strides and storage types end here.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/device/vector.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

namespace kalscan::detail {

/// No adjoints of outputs: the forward pass.
struct no_bars {};
__device__ inline const no_bars& no_bars_on_device() {
  static constexpr no_bars none{};
  return none;
}

/// Stages the tiles of one block. `Bars` are the tensors of the adjoints of outputs, staged as channel terms are.
template <class M, class Layout, int States, class In, class Bars = no_bars>
struct mixer_stage {
  using T = number_t<In>;
  static constexpr int channel_rows = static_cast<int>(channel_terms<M, T>);
  static constexpr int bar_rows = [] {
    if constexpr (std::is_same_v<Bars, no_bars>) {
      return 0;
    } else {
      return static_cast<int>(M::output_names.size());
    }
  }();
  static constexpr int rows = channel_rows + bar_rows;
  static constexpr int state_rows = static_cast<int>(state_terms<M, T>);
  static constexpr int parameter_rows = static_cast<int>(parameter_terms<M, T>);
  static constexpr int channel_units = Layout::channel_units, state_units = Layout::state_units;
  using state_vec = vec<T, next_power_of_two((std::max)(state_rows, 1))>;
  using quad = vec<T, 4>;

  /// Values read but not yet in shared memory.
  struct kept {
    T channel[channel_units][inputs_with<M, role::channel> + bar_rows + 1][4],
        state[inputs_with<M, role::state> + 1][state_units];
  };

  static constexpr int channel_stride(int tile) { return tile * rows + 4; }  // four more: no bank conflicts
  KALSCAN_HD static std::size_t buffer_size(const Layout& x) {
    return static_cast<std::size_t>(x.channels() * channel_stride(x.tile())) * sizeof(T) +
           static_cast<std::size_t>(x.tile() * x.padded_states()) * sizeof(state_vec);
  }

  static constexpr int channel_inputs = inputs_with<M, role::channel>, state_inputs = inputs_with<M, role::state>;

  const In& in;
  const Bars& bars;
  const Layout& layout;
  std::int64_t batch, first, channels, first_channel;
  int states;
  unsigned char* memory;
  // Where this thread reads next: running addresses cost less than products of 64 bits.
  std::int64_t time = 0;
  const char *channel_at[channel_inputs + bar_rows + 1] = {}, *state_at[state_inputs + 1] = {};

  __device__ std::int64_t channel(int c) const { return min(first_channel + c, channels - 1); }

  /// Calls f(row, tensor) for all that is staged as a channel's or as a state's.
  template <class F>
  __device__ __forceinline__ void for_channel_rows(F f) const {
    for_inputs<M, role::channel>(in, [&](auto i, const auto& x) { f(inputs_before<M>(i(), role::channel), x); });
    if constexpr (bar_rows > 0) {
      for_each_index<static_cast<std::size_t>(bar_rows)>(
          [&](auto i) { f(channel_inputs + static_cast<int>(i()), member<i()>(bars)); });
    }
  }
  template <class F>
  __device__ __forceinline__ void for_state_rows(F f) const {
    for_inputs<M, role::state>(in, [&](auto i, const auto& x) { f(inputs_before<M>(i(), role::state), x); });
  }
  /// How many neighbouring fours of steps a thread stages of its channel, and the first step of them.
  __device__ __forceinline__ int fours() const {
    return Layout::known ? channel_units : max(1, layout.tile() / (4 * layout.group()));
  }
  __device__ __forceinline__ int first_step() const {
    return static_cast<int>(threadIdx.x) / layout.channels() * fours() * 4;
  }

  /// The next tile to read is the one of steps [t, t + tile).
  __device__ __forceinline__ void seek(std::int64_t t) {
    time = t;
    const int thread = static_cast<int>(threadIdx.x), padded = layout.padded_states();
    for_channel_rows([&](int row, const auto& x) {
      channel_at[row] = reinterpret_cast<const char*>(
          x.at(batch, first + t + first_step(), channel(thread & (layout.channels() - 1)), 0));
    });
    for_state_rows([&](int row, const auto& x) {
      state_at[row] = reinterpret_cast<const char*>(
          x.at(batch, first + t + thread / padded, 0, min(thread & (padded - 1), states - 1)));
    });
  }

  /// Reads a tile, from whose first step on there are `left` to the chunk's end, and beyond it the last one again (one
  /// before this tile if none is left, so that there must be one). Goes on to the next tile or, backwards, to the one
  /// before.
  template <bool Backwards = false>
  __device__ __forceinline__ void read(kept& k, std::int64_t left) {
    if (left >= layout.tile()) {
      read_at(k, [](int step) { return step; });
    } else {
      const int last = static_cast<int>(left) - 1;
      read_at(k, [&](int step) { return min(step, last); });
      asm volatile("");  // the compiler would share the loads of both ways, and take long to make their addresses
    }
    const int tiles = Backwards ? -layout.tile() : layout.tile();
    time += tiles;
    for_channel_rows([&](int row, const auto& x) { channel_at[row] += tiles * bytes_of_step(x); });
    for_state_rows([&](int row, const auto& x) { state_at[row] += tiles * bytes_of_step(x); });
  }
  /// Places run from step to step: their products with strides that only the call knows would cost more.
  template <class Step>
  __device__ __forceinline__ void read_at(kept& k, Step step_of) const {
    const int thread = static_cast<int>(threadIdx.x), padded = layout.padded_states();
    const int mine = first_step();
    const char* at[channel_inputs + bar_rows + 1];
    for_channel_rows(
        [&](int row, const auto& x) { at[row] = channel_at[row] + (step_of(mine) - mine) * bytes_of_step(x); });
#pragma unroll
    for (int n = 0; n < channel_units; ++n) {
      if (!Layout::whole_channel_units && (n >= fours() || mine + n * 4 >= layout.tile())) break;
      for_channel_rows([&](int row, const auto& x) {
        using E = typename std::remove_cvref_t<decltype(x)>::value_type;
        if (row >= channel_inputs && !x.present()) {
#pragma unroll
          for (int j = 0; j < 4; ++j) k.channel[n][row][j] = T(0);
          return;
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int step = mine + n * 4 + j;
          k.channel[n][row][j] = keep(*reinterpret_cast<const E*>(at[row]));
          at[row] += (step_of(step + 1) - step_of(step)) * bytes_of_step(x);
        }
      });
    }
    if (padded <= layout.threads()) {
      const int my_step = thread / padded, more = layout.threads() / padded;
      for_state_rows([&](int row, const auto& x) {
        using E = typename std::remove_cvref_t<decltype(x)>::value_type;
        const char* from = state_at[row] + (step_of(my_step) - my_step) * bytes_of_step(x);
#pragma unroll
        for (int n = 0; n < state_units; ++n) {
          const int step = my_step + n * more;
          if (!Layout::whole_state_units && step >= layout.tile()) break;
          k.state[row][n] = keep(*reinterpret_cast<const E*>(from));
          from += (step_of(step + more) - step_of(step)) * bytes_of_step(x);
        }
      });
    } else {  // a step's states are more than the threads
#pragma unroll
      for (int n = 0; n < state_units; ++n) {
        const int unit = thread + n * layout.threads();
        if (unit / padded >= layout.tile()) break;
        for_state_rows([&](int row, const auto& x) {
          k.state[row][n] =
              keep(*x.at(batch, first + time + step_of(unit / padded), 0, min(unit & (padded - 1), states - 1)));
        });
      }
    }
  }

  /// What was read, as terms, into a buffer.
  __device__ void write(const kept& k, int buffer) const {
    const int thread = static_cast<int>(threadIdx.x), C = layout.channels();
    const int c = thread & (C - 1);
#pragma unroll
    for (int n = 0; n < channel_units; ++n) {
      const int step = first_step() + n * 4;
      if (!Layout::whole_channel_units && (n >= fours() || step >= layout.tile())) break;
      quad row[rows > 0 ? rows : 1];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const auto u = from_fields<typename M::template inputs<T>, T>([&](auto i) {
          if constexpr (M::inputs_info[i()].varies == role::channel) {
            return number(k.channel[n][inputs_before<M>(i(), role::channel)][j], member<i()>(in));
          } else {
            return T(0);
          }
        });
        const auto x = as_array<T>(prepare<M, T>(u));
        for_each_index<terms_of<M, T>::count>([&](auto i) {
          if constexpr (terms_of<M, T>::varies(i()) == role::channel)
            row[terms_before<M, T>(i(), role::channel)].x[j] = x[i()];
        });
        if constexpr (bar_rows > 0) {
          for_each_index<static_cast<std::size_t>(bar_rows)>([&](auto i) {
            // None beyond the edge: whatever is computed there has no gradient.
            row[channel_rows + static_cast<int>(i())].x[j] =
                first_channel + c < channels
                    ? number(k.channel[n][inputs_with<M, role::channel> + static_cast<int>(i())][j], member<i()>(bars))
                    : T(0);
          });
        }
      }
      T* to = channel_memory(buffer) + c * channel_stride(layout.tile()) + step;
#pragma unroll
      for (int i = 0; i < rows; ++i) *reinterpret_cast<quad*>(to + i * layout.tile()) = row[i];
    }
    const int padded = layout.padded_states();
#pragma unroll
    for (int n = 0; n < state_units; ++n) {
      const int unit = thread + n * layout.threads(), s = unit & (padded - 1), step_of = unit / padded;
      if (!Layout::whole_state_units && step_of >= layout.tile()) break;
      const auto u = from_fields<typename M::template inputs<T>, T>([&](auto i) {
        if constexpr (M::inputs_info[i()].varies == role::state) {
          return number(k.state[inputs_before<M>(i(), role::state)][n], member<i()>(in));
        } else {
          return T(0);
        }
      });
      const auto x = as_array<T>(prepare<M, T>(u));
      state_vec terms{};
      for_each_index<terms_of<M, T>::count>([&](auto i) {
        if constexpr (terms_of<M, T>::varies(i()) == role::state)
          terms.x[terms_before<M, T>(i(), role::state)] = x[i()];
      });
      // The j-th states of all threads of a group lie side by side.
      state_memory(buffer)[(step_of * States + s % States) * layout.group() + s / States] = terms;
    }
  }

  /// A channel's rows: row i at step t is at [i * tile + t].
  __device__ const T* rows_of(int buffer, int c) const {
    return channel_memory(buffer) + c * channel_stride(layout.tile());
  }
  /// The terms of the states of thread g of a group: the j-th one's at step t are at [(t * States + j) * group].
  __device__ const state_vec* states_of(int buffer, int g) const { return state_memory(buffer) + g; }

 private:
  template <class E>
  __device__ static T keep(const E& stored) {
    if constexpr (kept_as_bits<T, std::remove_const_t<E>>) {
      return bits_of<T>(stored);
    } else {
      return static_cast<T>(stored);
    }
  }
  template <class E>
  __device__ static T number(const T& kept_value, const tensor<E>&) {
    if constexpr (kept_as_bits<T, std::remove_const_t<E>>) {
      return number_of_bits<T>(kept_value, static_cast<const std::remove_const_t<E>*>(nullptr));
    } else {
      return kept_value;
    }
  }
  __device__ T* channel_memory(int buffer) const {
    return reinterpret_cast<T*>(memory + static_cast<std::size_t>(buffer) * buffer_size(layout));
  }
  __device__ state_vec* state_memory(int buffer) const {
    return reinterpret_cast<state_vec*>(memory + static_cast<std::size_t>(buffer) * buffer_size(layout) +
                                         static_cast<std::size_t>(layout.channels() * channel_stride(layout.tile())) *
                                             sizeof(T));
  }
};

}  // namespace kalscan::detail
