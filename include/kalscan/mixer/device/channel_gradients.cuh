// SPDX-License-Identifier: MIT
// Backward's gradients of channels, which are sums over states: where they are written and, for mixers whose step has a
// long adjoint, how they are summed: once a tile, by the threads of a group, from what each has left in shared memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/tile_states.cuh>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

namespace kalscan::detail {

template <class Call, lanes_kind Kind>
struct channel_gradient_traversal : tile_state_traversal<Call, Kind> {
  using base = tile_state_traversal<Call, Kind>;
  using base::base;
  using base::over_states, base::call, base::layout, base::at, base::stage, base::lanes, base::arrays;
  using base::States, base::framed, base::inputs, base::sums_over_channels, base::sums_over_states, base::state_sum_of;
  using typename base::layout_type;
  using typename base::M;
  using typename base::row;
  using typename base::T;
  using typename base::user_mixer;

  /// The gradient of input K at step t of the sequence, summed over states.
  template <std::size_t K>
  __device__ __forceinline__ auto* channel_gradient(std::int64_t t) const {
    return member<K>(call.in_bar).at(at.batch, at.first + t, lanes.m, 0);
  }

  /// The gradients of a step's inputs, summed over states, from those seen in the frame.
  __device__ __forceinline__ void leave_frame_of_step(int step, T (&one)[inputs]) const {
    if constexpr (framed) {
      using U = typename M::template inputs<T>;
      const auto seen = from_fields<U, T>([&](auto k) {
        if constexpr (over_states(k())) {
          return one[k()];
        } else {
          return T(0);
        }
      });
      const auto bar = as_array<T>(
          user_mixer::frame::adjoint(this->frame_after(0, step), stage.frame_step_of(0, lanes.c, step), seen));
      for_each_index<inputs>([&](auto k) { one[k()] = bar[k()]; });
    }
  }

  static constexpr int rows_of_state_sums = (sums_over_states + States - 1) / States;

  /// Whether steps are taken one by one, in a loop: where a step's adjoint is so long that the unrolled code of four
  /// steps would not fit a scheduler's instruction cache, and takes so many registers that the loop should hold nothing
  /// else. Its sums over a thread's states then go to the step's rows, behind those over channels, and sums over a group
  /// are made once a tile.
  static constexpr bool one_by_one =
      base::parks_pointers && sums_over_channels > 0 && ordinary_of<M>::exists &&
      sums_over_channels + rows_of_state_sums <= base::rows_of_step;

  __device__ __forceinline__ void leave_state_sums(int step, const T (&state_sum)[inputs]) const {
    row sums[rows_of_state_sums] = {};
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k()))
        sums[state_sum_of(k()) / States].x[state_sum_of(k()) % States] = state_sum[k()];
    });
#pragma unroll
    for (int r = 0; r < rows_of_state_sums; ++r) this->kept_row(step, sums_over_channels + r) = sums[r];
  }
  /// Where this thread's sums of the tile go.
  template <std::size_t K>
  __device__ __forceinline__ auto*& parked_gradient() const {
    using E = std::remove_pointer_t<decltype(channel_gradient<K>(0))>;
    return this->template parked<E>(base::state_rows + state_sum_of(K));
  }
  __device__ __forceinline__ void seek_gradients(std::int64_t t) const {
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) parked_gradient<k()>() = channel_gradient<k()>(t + lanes.g);
    });
  }
  /// Moves to the tile before in time, which is taken next; `at_tile` is where this one's gradient is.
  template <std::size_t K, class E>
  __device__ __forceinline__ void next_gradient(E* at_tile) const {
    parked_gradient<K>() = at_tile - base::steps_of_tile * member<K>(call.in_bar).stride[1];
  }
  __device__ __forceinline__ void skip_gradients() const {
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) next_gradient<k()>(parked_gradient<k()>());
    });
  }
  /// Once all steps of a tile have left their sums: adds these over the threads of a group and writes the gradients. Thread g
  /// takes every group()-th step from g on.
  __device__ __forceinline__ void sum_over_states() const {
    constexpr int group = layout_type::kind.group, count = (base::steps_of_tile + group - 1) / group;
    if (!lanes.owns_channel || lanes.g >= base::steps_of_tile) return;
    T sum[count][inputs];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int step = lanes.g + i * group;
#pragma unroll
      for (int r = 0; r < rows_of_state_sums; ++r) {
        const row all = sum_of_group<0, group>(this->sums_of(step, sums_over_channels + r));
        for_each_index<inputs>([&](auto k) {
          if constexpr (over_states(k())) {
            if (state_sum_of(k()) / States == r) sum[i][k()] = all.x[state_sum_of(k()) % States];
          }
        });
      }
      leave_frame_of_step(step, sum[i]);
    }
    // f(sum, where it goes) for each number that is wanted.
    const auto each_sum = [&](auto* at_tile, auto k, auto f) {
      if (arrays.how[k()] != device_gathering::channel) return;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        f(sum[i][k()], *known_global(at_tile));
        at_tile += group * member<k()>(call.in_bar).stride[1];
      }
    };
    if (call.states.accumulate) {
      for_each_index<inputs>([&](auto k) {
        if constexpr (over_states(k()))
          each_sum(parked_gradient<k()>(), k, [](T& value, const auto& held) { value += static_cast<T>(held); });
      });
    }
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        auto* const at_tile = parked_gradient<k()>();
        next_gradient<k()>(at_tile);
        each_sum(at_tile, k, []<class E>(const T& value, E& to) { to = static_cast<E>(value); });
      }
    });
  }
  /// The sum of a row's numbers over the group, in the order of sum_over_group. Thread g begins with its own number, so that
  /// neighbouring threads read from different banks.
  template <int First, int Count>
  __device__ __forceinline__ row sum_of_group(const row* from) const {
    if constexpr (Count == 1) {
      return from[lanes.c * layout.group() + (lanes.g ^ First)];
    } else {
      row x = sum_of_group<First, Count / 2>(from);
      base::add_row(x, sum_of_group<First + Count / 2, Count / 2>(from));
      return x;
    }
  }
};

}  // namespace kalscan::detail
