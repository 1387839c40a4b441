// SPDX-License-Identifier: MIT
// One block's way through a chunk of time, forward, with outputs and checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/device/stage.cuh>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/traversal.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/simd_value.hpp>
#include <type_traits>

namespace kalscan::detail {

/// One block's traversal forward.
template <class Call, class Lanes>
struct device_forward_traversal : lane_traversal<Call, Lanes> {
  using base = lane_traversal<Call, Lanes>;
  using base::call, base::layout, base::at, base::stage, base::lanes;
  using base::States, base::Full, base::outputs, base::all;
  using typename base::layout_type;
  using typename base::M;
  using typename base::state;
  using typename base::T;

  static constexpr std::size_t state_arrays = array_size<state, T>;
  static constexpr int pieces = States % 4 == 0 ? States / 4 : 1;
  using piece = vec<T, States / pieces>;

  /// The bytes of shared memory: the stage's two buffers, and the states put parked.
  KALSCAN_HD static std::size_t shared_size(const layout_type& x) {
    return 2 * base::stage_type::buffer_size(x) +
           (ordinary_of<M>::exists ? state_arrays * pieces * static_cast<std::size_t>(x.threads()) * sizeof(piece) : 0);
  }

  piece* parked_memory;  // [word][piece][thread]
  // Checkpoints: the next one's step, and its index on the time axis.
  std::int64_t keep_step = 0, keep_index = 0;
  bool keeps;

  __device__ device_forward_traversal(const Call& call_, const layout_type& layout_, const chunk_range& at_,
                                    std::int64_t first_channel, unsigned char* memory)
      : base(call_, no_bars_on_device(), layout_, at_, first_channel, memory),
        parked_memory(reinterpret_cast<piece*>(memory + 2 * base::stage_type::buffer_size(layout_))) {
    keeps = as_array<tensor<T>>(call.states.checkpoints)[0].present();
    if (keeps) {
      const std::int64_t every = call.states.every, passed = (at.from + every - 1) / every;
      keep_step = passed * every;
      keep_index = at.first_checkpoint(every) + passed;
    }
  }

  __device__ __forceinline__ void keep_if_due(std::int64_t t, const state (&x)[States]) {
    if (!keeps || t != keep_step) return;
    lanes.store(call.states.checkpoints, at.batch, keep_index, x);
    keep_step += call.states.every, ++keep_index;
  }

  /// Calls tile(buffer, t, steps) for all tiles of the chunk, each in shared memory by then.
  template <class Tile>
  __device__ __forceinline__ void each_tile(Tile tile) {
    if (at.from >= at.to) return;
    typename base::stage_type::kept next;
    std::int64_t left = at.to - at.from;
    stage.seek(at.from);
    stage.read(next, left);
    stage.write(next, 0);
    __syncthreads();
    int buffer = 0;
    for (std::int64_t t = at.from; left > 0; t += layout.tile()) {
      const int steps = static_cast<int>(min(static_cast<std::int64_t>(layout.tile()), left));
      left -= layout.tile();
      stage.read(next, left);  // always, and past the end the last step again
      tile(buffer, t, steps);
      if (left > 0) stage.write(next, buffer ^ 1);
      __syncthreads();
      buffer ^= 1;
    }
  }

  /// Where a thread's outputs go at step t.
  __device__ __forceinline__ void output_pointers(std::int64_t t, char* (&to)[outputs]) const {
    for_each_index<outputs>([&](auto o) {
      const auto& y = member<o()>(call.out);
      to[o()] = reinterpret_cast<char*>(y.at(at.batch, at.first + t, lanes.m, 0));
    });
  }
  template <class Tensor>
  __device__ __forceinline__ static void write_output(char* to, const Tensor&, const T& value) {
    using E = typename Tensor::value_type;
    *reinterpret_cast<E*>(to) = static_cast<E>(value);
  }

  /// A tile's steps, all of them, by the formulas of Lane. `to` is where this thread's outputs of the tile go.
  template <class Lane, bool Emit>
  __device__ __forceinline__ void whole_tile(int buffer, std::int64_t t, state (&x)[States], char* (&to)[outputs]) {
    bool writes[outputs];
    if constexpr (Emit) {
      for_each_index<outputs>(
          [&](auto o) { writes[o()] = member<o()>(call.out).present() && lanes.owns_channel && lanes.g < 4; });
    }
    // Four steps fit the instruction cache next to the schedulers, a tile's do not.
#pragma unroll 1
    for (int step = 0; step < layout.tile(); step += 4) whole_quad<Lane, Emit>(buffer, step, t, x, to, writes);
  }
  template <class Lane, bool Emit>
  __device__ __forceinline__ void whole_quad(int buffer, int step, std::int64_t t, state (&x)[States],
                                             char* (&to)[outputs], const bool (&writes)[outputs]) {
    T sum[outputs][4];
    const auto add = [&](int i, int j, const auto& read) {
      for_each_index<outputs>([&](auto o) {
        const T part = Full || lanes.s0 + j < lanes.states ? read(o()) : T(0);
        sum[o()][i] = j == 0 ? part : sum[o()][i] + part;
      });
    };
    if constexpr (ordinary_of<M>::exists) {
      using numbers = simd_value<T, States>;
      this->four_wide_steps(buffer, step, t + step, [&](int i, const terms_t<M, numbers>& u) {
        const auto after = Lane::step(together<typename M::template state<numbers>, T>(x), u);
        apart<T>(after, x);
        if constexpr (Emit) {
          const auto y = as_array<numbers>(Lane::readout(after, u));
#pragma unroll
          for (int j = 0; j < States; ++j) add(i, j, [&](std::size_t o) { return y[o].x[j]; });
        }
      });
    } else {
      this->four_steps(buffer, step, t + step, [&](int i, int j, const terms_t<M, T>& u) {
        x[j] = Lane::step(x[j], u);
        if constexpr (Emit) {
          const auto y = as_array<T>(Lane::readout(x[j], u));
          add(i, j, [&](std::size_t o) { return y[o]; });
        }
      });
    }
    if constexpr (Emit) {
      for_each_index<outputs>([&](auto o) {
        sum_over_group(sum[o()], lanes.g, layout.group());
        const auto& y = member<o()>(call.out);
        const std::int64_t stride = bytes_of_step(y);
        char* pointer = to[o()];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (writes[o()] && i < kept_steps(layout.group())) write_output(pointer, y, sum[o()][i]);
          if (i + 1 < 4) pointer += stride;
        }
        to[o()] += 4 * stride;
      });
    }
  }

  /// Up to a tile's steps one by one, each asked for its checkpoint, by the formulas that hold everywhere.
  template <bool Emit>
  __device__ __forceinline__ void single_steps(int buffer, std::int64_t t, int steps, state (&x)[States]) {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      keep_if_due(t + step, x);
      T sum[outputs];
      this->one_step(buffer, step, t + step, [&](int j, const terms_t<M, T>& u) {
        x[j] = M::step(x[j], u);
        if constexpr (Emit) {
          const auto y = as_array<T>(M::readout(x[j], u));
          for_each_index<outputs>([&](auto o) {
            const T part = Full || lanes.s0 + j < lanes.states ? y[o()] : T(0);
            sum[o()] = j == 0 ? part : sum[o()] + part;
          });
        }
      });
      if constexpr (Emit) {
        char* to[outputs];
        output_pointers(t + step, to);
        for_each_index<outputs>([&](auto o) {
          const T value = sum_over_group(sum[o()], layout.group());
          const auto& y = member<o()>(call.out);
          if (y.present() && lanes.owns_channel && lanes.g == 0) write_output(to[o()], y, value);
        });
      }
    }
  }

  /// The states before a tile, in case the formulas for ordinary states turn out not to hold: in shared memory, where
  /// they cost neither registers nor moves between them.
  __device__ __forceinline__ void park(const state (&x)[States]) {
    for_each_index<state_arrays>([&](auto w) {
#pragma unroll
      for (int i = 0; i < pieces; ++i) {
        piece some;
#pragma unroll
        for (int j = 0; j < States / pieces; ++j) some.x[j] = as_array<T>(x[i * (States / pieces) + j])[w()];
        parked(w(), i) = some;
      }
    });
  }
  __device__ __forceinline__ void take_back(state (&x)[States]) {
#pragma unroll
    for (int j = 0; j < States; ++j) {
      x[j] = from_fields<state, T>([&](auto w) { return parked(w(), j / (States / pieces)).x[j % (States / pieces)]; });
    }
  }
  __device__ __forceinline__ piece& parked(std::size_t word, int i) const {
    return parked_memory[(static_cast<int>(word) * pieces + i) * layout.threads() + threadIdx.x];
  }

  /// The whole chunk from the states before it.
  template <bool Emit>
  __device__ __forceinline__ void replay(state (&x)[States]) {
    using fast = typename ordinary_of<M>::type;
    const bool aligned = !keeps || (call.states.every % layout.tile() == 0 && at.from % layout.tile() == 0);
    bool ordinary = aligned && __all_sync(all, are_ordinary<M, T, States>(x));
    char* to[outputs];
    if constexpr (Emit) output_pointers(at.from + kept_step(lanes.g, layout.group()), to);
    each_tile([&](int buffer, std::int64_t t, int steps) {
      if (ordinary && steps == layout.tile()) {
        if constexpr (ordinary_of<M>::exists) park(x);
        keep_if_due(t, x);
        whole_tile<fast, Emit>(buffer, t, x, to);
        if constexpr (!ordinary_of<M>::exists) {
          return;
        } else {
          if (__all_sync(all, are_ordinary<M, T, States>(x))) return;
          take_back(x);
        }
      }
      __syncwarp();  // other threads of the warp may have written outputs that are written again
      single_steps<Emit>(buffer, t, steps, x);
      if constexpr (Emit) output_pointers(t + layout.tile() + kept_step(lanes.g, layout.group()), to);
      ordinary = aligned && __all_sync(all, are_ordinary<M, T, States>(x));
    });
    if (at.to == at.length) {
      keep_if_due(at.length, x);
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = numbers_of(call.states.final, x[j]);  // nobody needs the states any more
      lanes.store(call.states.final, at.n, 0, x);
    }
  }
  __device__ __forceinline__ void replay_any(state (&x)[States]) {
    if (with_members(call.out, [](const auto&... y) { return (y.present() || ...); })) {
      replay<true>(x);
    } else {
      replay<false>(x);
    }
  }

  __device__ void load_initial(state (&x)[States]) { load_initial_states<States>(call, lanes, at.n, x); }
};

}  // namespace kalscan::detail
