// SPDX-License-Identifier: MIT
// How inputs reach the lanes: a tile of steps is read into registers while the tile before it is computed, then becomes
// terms in shared memory, where the threads that share it read whole vectors. So all other code is free of strides and
// storage types.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/frame.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

namespace kalscan::detail {

/// A stored number as it is held in registers until it is needed. Where the bits of E fit those of T they stay as they
/// lie in memory, so that no instruction waits for the load before the number is used; else it is converted at once.
template <class T, class E>
struct stored_number {
  static constexpr bool same_size = sizeof(E) == sizeof(T), half_size = sizeof(E) == 2 && sizeof(T) == 4;

  __device__ static T hold(const E& stored) {
    if constexpr (same_size) {
      return std::bit_cast<T>(stored);
    } else if constexpr (half_size) {
      std::uint32_t bits = std::bit_cast<std::uint16_t>(stored);
      // Opaque to the compiler, which would widen where both ways of reading a tile meet, and wait there.
      asm("" : "+r"(bits));
      return std::bit_cast<T>(bits);
    } else {
      return static_cast<T>(stored);
    }
  }
  __device__ static T number(const T& held) {
    if constexpr (same_size) {
      return static_cast<T>(std::bit_cast<E>(held));
    } else if constexpr (half_size) {
      return static_cast<T>(std::bit_cast<E>(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(held))));
    } else {
      return held;
    }
  }
};

/// The identity as a frame, or nothing where a mixer has none.
struct nothing {};
template <class Mixer, class T>
__device__ __forceinline__ auto no_frame() {
  if constexpr (mixer_with_frame<Mixer>) {
    return Mixer::frame::template identity<T>();
  } else {
    return nothing{};
  }
}

/// No adjoints of outputs: the forward pass.
struct no_bars {};
__device__ inline const no_bars& no_bars_on_device() {
  static constexpr no_bars none{};
  return none;
}

/// Stages the tiles of one block, each in a buffer: first [channel][row][step], then for the states, which all channels
/// share, their terms as vectors [step][lane of a thread][thread of a group]. A channel's rows are its terms, then the
/// adjoints of outputs, whose tensors are `Bars`. Where the mixer has a frame all are seen from it; then follow rows of
/// the frame after each step and, with Bars, of the step that it took.
template <class Mixer, class Layout, class In, class Bars = no_bars>
struct mixer_stage {
  using M = lane_mixer<Mixer>;
  using T = number_t<In>;
  static constexpr int channel_rows = static_cast<int>(channel_terms<M, T>);
  static constexpr int bar_rows = std::is_same_v<Bars, no_bars> ? 0 : static_cast<int>(M::output_names.size());
  static constexpr int rows = channel_rows + bar_rows, frame_rows = frame_numbers<Mixer, T>,
                       step_rows = bar_rows > 0 ? frame_step_numbers<Mixer, T> : 0;
  static constexpr int all_rows = rows + frame_rows + step_rows;
  static constexpr unsigned state_rows = static_cast<unsigned>(state_terms<M, T>);
  static constexpr int channel_units = Layout::most_channel_units, state_units = Layout::state_units;
  /// The adjoints of a step's outputs.
  using bar_numbers = std::conditional_t<(bar_rows > 0), typename M::template outputs<T>, std::array<T, 0>>;
  using state_vec = vec<T, std::bit_ceil((std::max)(state_rows, 1U))>;
  using vec4 = vec<T, 4>;

  /// Values read but not yet in shared memory.
  struct read_ahead {
    T channel[channel_units][inputs_with<M, role::channel> + bar_rows + 1][4],
        state[inputs_with<M, role::state> + 1][state_units];
  };

  static constexpr int channel_stride(int tile) { return tile * all_rows + 4; }  // four more: no bank conflicts
  KALSCAN_HD static std::size_t buffer_size(const Layout& x) {
    return static_cast<std::size_t>(x.channels() * channel_stride(x.tile())) * sizeof(T) +
           static_cast<std::size_t>(x.tile() * x.padded_states()) * sizeof(state_vec);
  }

  static constexpr int channel_inputs = inputs_with<M, role::channel>, state_inputs = inputs_with<M, role::state>,
                       read_channel_rows = channel_inputs + bar_rows;
  /// Backward in a frame, a step's adjoint needs all registers: addresses from which a thread reads then lie in shared
  /// memory, behind the buffer.
  static constexpr bool parks_addresses =
      bar_rows > 0 && frame_rows > 0 && Layout::known && !Layout::kind.varying && Layout::kind.group >= 4;

  const In& in;
  const Bars& bars;
  const Layout& layout;
  std::int64_t batch, first, channels, first_channel;
  int states;
  unsigned char* memory;
  // Where this thread reads next, unless that is parked: running addresses cost less than products of 64 bits.
  std::int64_t time = 0;
  const char* channel_at[parks_addresses ? 1 : read_channel_rows + 1] = {};
  const char* state_at[parks_addresses ? 1 : state_inputs + 1] = {};

  KALSCAN_HD static std::size_t addresses_size(const Layout& x) {
    return parks_addresses ? static_cast<std::size_t>((read_channel_rows + state_inputs) * x.threads()) * sizeof(char*)
                           : 0;
  }
  __device__ __forceinline__ const char*& parked_address(int row) {
    return reinterpret_cast<const char**>(memory + buffer_size(layout))[row * layout.threads() + thread()];
  }
  __device__ __forceinline__ const char*& channel_address(int row) {
    if constexpr (parks_addresses) {
      return parked_address(row);
    } else {
      return channel_at[row];
    }
  }
  __device__ __forceinline__ const char*& state_address(int row) {
    if constexpr (parks_addresses) {
      return parked_address(read_channel_rows + row);
    } else {
      return state_at[row];
    }
  }

  __device__ std::int64_t channel(int c) const { return min(first_channel + c, channels - 1); }

  /// Calls f(row, tensor) for all that is staged as a channel's or as a state's.
  template <class F>
  __device__ __forceinline__ void for_channel_rows(F f) const {
    for_inputs<M, role::channel>(in, [&](auto i, const auto& x) { f(inputs_before<M>(i(), role::channel), x); });
    for_each_index<static_cast<std::size_t>(bar_rows)>(
        [&](auto i) { f(channel_inputs + static_cast<int>(i()), member<i()>(bars)); });
  }
  template <class F>
  __device__ __forceinline__ void for_state_rows(F f) const {
    for_inputs<M, role::state>(in, [&](auto i, const auto& x) { f(inputs_before<M>(i(), role::state), x); });
  }
  __device__ __forceinline__ static int thread() { return static_cast<int>(threadIdx.x); }

  /// The next tile to read is the one of steps [t, t + tile).
  __device__ __forceinline__ void seek(std::int64_t t) {
    time = t;
    for_channel_rows([&](int row, const auto& x) {
      channel_address(row) = reinterpret_cast<const char*>(
          x.at(batch, first + t + layout.staged_step(thread()), channel(layout.staged_channel(thread())), 0));
    });
    for_state_rows([&](int row, const auto& x) {
      state_address(row) = reinterpret_cast<const char*>(x.at(batch, first + t + layout.step_of_unit(thread()), 0,
                                                         min(layout.state_of_unit(thread()), states - 1)));
    });
  }

  /// Reads the tile, of which `left` steps are in the chunk; in place of those beyond it, the chunk's last step once
  /// more (which is in the tile before if `left` is not positive, so that there must be one). The tile to read is then
  /// the next one or, with Backwards, the one before.
  template <bool Backwards = false>
  __device__ __forceinline__ void read(read_ahead& k, std::int64_t left) {
    if (left >= layout.tile()) {
      read_at(k, [](int step) { return step; });
    } else {
      const int last = static_cast<int>(left) - 1;
      read_at(k, [&](int step) { return min(step, last); });
      asm volatile("");  // keeps both branches apart: loads that they share would need longer to find their addresses
    }
    const int tiles = Backwards ? -layout.tile() : layout.tile();
    time += tiles;
    for_channel_rows([&](int row, const auto& x) { channel_address(row) += tiles * bytes_of_step(x); });
    for_state_rows([&](int row, const auto& x) { state_address(row) += tiles * bytes_of_step(x); });
  }
  /// Addresses run from step to step: products with strides that only the call knows would cost more.
  template <class Step>
  __device__ __forceinline__ void read_at(read_ahead& k, Step step_of) {
    const int padded = layout.padded_states(), mine = layout.staged_step(thread());
    const char* at[channel_inputs + bar_rows + 1];
    for_channel_rows(
        [&](int row, const auto& x) { at[row] = channel_address(row) + (step_of(mine) - mine) * bytes_of_step(x); });
#pragma unroll
    for (int n = 0; n < channel_units; ++n) {
      if (!Layout::whole_channel_units && (n >= layout.channel_units() || mine + n * 4 >= layout.tile())) break;
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
          k.channel[n][row][j] = hold(stored<E>(at[row]));
          at[row] += (step_of(step + 1) - step_of(step)) * bytes_of_step(x);
        }
      });
    }
    if constexpr (Layout::most_padded_states <= Layout::threads()) {
      const int my_step = layout.step_of_unit(thread()), more = layout.threads() / padded;
      for_state_rows([&](int row, const auto& x) {
        using E = typename std::remove_cvref_t<decltype(x)>::value_type;
        const char* from = state_address(row) + (step_of(my_step) - my_step) * bytes_of_step(x);
#pragma unroll
        for (int n = 0; n < state_units; ++n) {
          const int step = my_step + n * more;
          if (!Layout::whole_state_units && step >= layout.tile()) break;
          k.state[row][n] = hold(stored<E>(from));
          from += (step_of(step + more) - step_of(step)) * bytes_of_step(x);
        }
      });
    } else {  // a step's states are more than the threads
#pragma unroll
      for (int n = 0; n < state_units; ++n) {
        const int unit = thread() + n * layout.threads(), step = layout.step_of_unit(unit);
        if (step >= layout.tile()) break;
        for_state_rows([&](int row, const auto& x) {
          k.state[row][n] =
              hold(*x.at(batch, first + time + step_of(step), 0, min(layout.state_of_unit(unit), states - 1)));
        });
      }
    }
  }

  /// What was read, as terms, into a buffer.
  __device__ void write(const read_ahead& k, int buffer) const {
    const int c = layout.staged_channel(thread());
#pragma unroll
    for (int n = 0; n < channel_units; ++n) {
      const int step = layout.staged_step(thread()) + n * 4;
      if (!Layout::whole_channel_units && (n >= layout.channel_units() || step >= layout.tile())) break;
      vec4 row[all_rows > 0 ? all_rows : 1];
      [[maybe_unused]] auto frame = no_frame<Mixer, T>();
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        auto u = inputs_that_vary<M, T, role::channel>([&](auto i) {
          return number(k.channel[n][inputs_before<M>(i(), role::channel)][j], member<i()>(in));
        });
        auto y_bar = from_fields<bar_numbers, T>([&](auto i) {
          return number(k.channel[n][channel_inputs + static_cast<int>(i())][j], member<i()>(bars));
        });
        if constexpr (frame_rows > 0) {
          using F = typename Mixer::frame;
          const auto step = F::of_inputs(u);
          frame = j == 0 ? F::after(step) : F::after(frame, step);
          u = F::into(frame, u);
          if constexpr (bar_rows > 0) y_bar = F::into(frame, y_bar);
          const auto numbers = as_array<T>(frame);
          for_each_index<static_cast<std::size_t>(frame_rows)>([&](auto i) { row[rows + i()].x[j] = numbers[i()]; });
          const auto more = as_array<T>(step);
          for_each_index<static_cast<std::size_t>(step_rows)>(
              [&](auto i) { row[rows + frame_rows + i()].x[j] = more[i()]; });
        }
        put_terms<M, T, role::channel>(u, [&](std::int64_t i, T term) { row[i].x[j] = term; });
        for_each_index<static_cast<std::size_t>(bar_rows)>([&](auto i) {
          // None beyond the last channel: whatever is computed there has no gradient.
          row[channel_rows + static_cast<int>(i())].x[j] =
              first_channel + c < channels ? as_array<T>(y_bar)[i()] : T(0);
        });
      }
      T* to = channel_memory(buffer) + c * channel_stride(layout.tile()) + step;
#pragma unroll
      for (int i = 0; i < all_rows; ++i) *reinterpret_cast<vec4*>(to + i * layout.tile()) = row[i];
    }
#pragma unroll
    for (int n = 0; n < state_units; ++n) {
      const int unit = thread() + n * layout.threads(), step = layout.step_of_unit(unit);
      if (!Layout::whole_state_units && step >= layout.tile()) break;
      state_vec terms{};
      prepare_terms<M, T, role::state>(
          [&](auto i) { return number(k.state[inputs_before<M>(i(), role::state)][n], member<i()>(in)); },
          [&](std::int64_t i, T term) { terms.x[i] = term; });
      state_memory(buffer)[layout.term_index(step, layout.state_of_unit(unit))] = terms;
    }
  }

  /// A channel's rows: row i at step t is at [i * tile + t].
  __device__ const T* rows_of(int buffer, int c) const {
    return channel_memory(buffer) + c * channel_stride(layout.tile());
  }
  /// The frame of channel c after step t, and the step that it took, where there is one.
  __device__ __forceinline__ auto frame_of(int buffer, int c, int t) const {
    return numbers_of_step<typename Mixer::frame::template value<T>>(buffer, c, t, rows);
  }
  __device__ __forceinline__ auto frame_step_of(int buffer, int c, int t) const {
    return numbers_of_step<typename Mixer::frame::template step<T>>(buffer, c, t, rows + frame_rows);
  }
  /// The terms of the states of thread g of a group: the j-th one's at step t are at [(t * states + j) * group].
  __device__ const state_vec* states_of(int buffer, int g) const { return state_memory(buffer) + g; }

 private:
  template <class X>
  __device__ __forceinline__ X numbers_of_step(int buffer, int c, int t, int first_row) const {
    const T* from = rows_of(buffer, c) + first_row * layout.tile() + t;
    return from_fields<X, T>([&](auto i) { return from[static_cast<int>(i()) * layout.tile()]; });
  }
  template <class E>
  __device__ __forceinline__ static const E& stored(const char* address) {
    const auto* number = reinterpret_cast<const E*>(address);
    if constexpr (parks_addresses) return *known_global(number);
    return *number;
  }
  template <class E>
  __device__ static T hold(const E& stored) {
    return stored_number<T, std::remove_const_t<E>>::hold(stored);
  }
  template <class E>
  __device__ static T number(const T& held, const tensor<E>&) {
    return stored_number<T, std::remove_const_t<E>>::number(held);
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
