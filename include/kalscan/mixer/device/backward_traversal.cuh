// SPDX-License-Identifier: MIT
// One block's way through a chunk of time, backward: by the adjoints of its steps, or by absorbing them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/tile_states.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/simd_value.hpp>
#include <type_traits>

namespace kalscan::detail {

/// One block's traversal backward.
template <class Call, class Lanes>
struct device_backward_traversal : tile_state_traversal<Call, Lanes> {
  using base = tile_state_traversal<Call, Lanes>;
  using base::kept_state, base::each_tile, base::sums_of, base::sum_over_channels;
  using base::is_parameter, base::over_lanes, base::over_states, base::lane_sum_of;
  using base::call, base::layout, base::at, base::stage, base::lanes, base::arrays;
  using base::States, base::Full, base::Varying, base::inputs, base::lane_sums, base::summed_steps;
  using typename base::arrays_type;
  using typename base::layout_type;
  using typename base::M;
  using typename base::row;
  using typename base::stage_type;
  using typename base::state;
  using typename base::T;
  using element = typename adjoint_element<M, T>::type;

  T time_sums[inputs][States];
  char* channel_pointers[inputs];  // where this thread's sums over states of the next four steps go

  __device__ device_backward_traversal(const Call& call_, const layout_type& layout_, const chunk_range& at_,
                                     const arrays_type& arrays_, std::int64_t channel_block_, unsigned char* memory)
      : base(call_, layout_, at_, arrays_, channel_block_, memory) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(inputs); ++i) {
#pragma unroll
      for (int j = 0; j < States; ++j) time_sums[i][j] = T(0);
    }
  }

  /// Adds to or replaces what a gradient's array holds.
  template <class E>
  __device__ __forceinline__ void put(E* to, const T& value) const {
    *to = static_cast<E>(call.states.accumulate ? static_cast<T>(*to) + value : value);
  }

  /// The adjoint of steps [step, step + n), n at most 4, of the tile at t, and what they leave for the sums.
  template <class Lane, bool Whole>
  __device__ __forceinline__ void four_adjoints(std::int64_t t, int step, int n, state (&after)[States],
                                                state (&bar)[States]) {
    const auto staged = this->four_staged(0, step);
    T channel_sum[inputs][4];
#pragma unroll
    for (int i = 3; i >= 0; --i) {
      if (!Whole && i >= n) {
        for_each_index<inputs>([&](auto k) { channel_sum[k()][i] = T(0); });
        continue;
      }
      if constexpr (Varying) this->parameter.load(call.in, lanes, at.batch, at.first + t + step + i);
      state before[States];
      kept_state(step + i, before);
      const auto y_bar = output_adjoints([&](std::size_t row) { return staged.rows[row].x[i]; });
      row lane_sum[inputs];
      // What lane j's step hands back: g(k) of input k.
      const auto gather = [&](int j, const auto& g) {
        const bool mine = Full || lanes.s0 + j < lanes.states;
        for_each_index<inputs>([&](auto k) {
          if constexpr (over_states(k())) {
            const T part = mine ? g(k()) : T(0);
            channel_sum[k()][i] = j == 0 ? part : channel_sum[k()][i] + part;
          }
          if constexpr (over_lanes(k())) lane_sum[k()].x[j] = g(k());  // 0 beyond the last channel
          if constexpr (is_parameter(k())) {
            time_sums[k()][j] += g(k());
            if constexpr (Varying) {
              if (arrays.how[k()] == gathered::lane && lanes.owns(j))
                put(member<k()>(call.in_bar).at(at.batch, at.first + t + step + i, lanes.m, lanes.s0 + j), g(k()));
            }
          }
        });
      };
      if constexpr (Whole && ordinary_of<M>::exists) {
        using numbers = simd_value<T, States>;
        using wide = typename M::template state<numbers>;
        const auto back = Lane::adjoint(together<wide, T>(before), this->wide_terms(staged, i),
                                        together<wide, T>(after), together<wide, T>(bar), for_all_lanes(y_bar));
        apart<T>(back.earlier, bar);
        const auto g = as_array<numbers>(back.inputs);
#pragma unroll
        for (int j = 0; j < States; ++j) gather(j, [&](std::size_t k) { return g[k].x[j]; });
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) {
          const auto back = Lane::adjoint(before[j], this->terms(staged, i, j), after[j], bar[j], y_bar);
          bar[j] = back.earlier;
          const auto g = as_array<T>(back.inputs);
          gather(j, [&](std::size_t k) { return g[k]; });
        }
      }
#pragma unroll
      for (int j = 0; j < States; ++j) after[j] = before[j];
      for_each_index<inputs>([&](auto k) {
        if constexpr (over_lanes(k())) sums_of(step + i, lane_sum_of(k()))[threadIdx.x] = lane_sum[k()];
      });
    }
    const int first = kept_step(lanes.g, layout.group()), count = kept_steps(layout.group());
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        if (arrays.how[k()] != gathered::channel) return;
        sum_over_group(channel_sum[k()], lanes.g, layout.group());
        const auto& to = member<k()>(call.in_bar);
        using E = typename std::remove_cvref_t<decltype(to)>::value_type;
        char* pointer = channel_pointers[k()];
        channel_pointers[k()] -= 4 * bytes_of_step(to);
        if (!lanes.owns_channel || lanes.g >= 4) return;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (i < count && (Whole || first + i < n)) put(reinterpret_cast<E*>(pointer), channel_sum[k()][i]);
          if (i + 1 < count) pointer += bytes_of_step(to);
        }
      }
    });
  }
  /// Before four_adjoints of the steps from t on, from then on backwards.
  __device__ __forceinline__ void seek_channel_pointers(std::int64_t t) {
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        channel_pointers[k()] = reinterpret_cast<char*>(
            member<k()>(call.in_bar).at(at.batch, at.first + t + kept_step(lanes.g, layout.group()), lanes.m, 0));
      }
    });
  }

  /// The whole chunk, from the adjoints after it to those before it.
  __device__ __forceinline__ void sweep(state (&bar)[States]) {
    using fast = typename ordinary_of<M>::type;
    state x[States];
    each_tile(x, [&](std::int64_t t, int steps, bool ordinary) {
      if (t + steps == at.length) take_final(x, bar);
      const int last = (steps - 1) / 4 * 4;
      seek_channel_pointers(t + last);
#pragma unroll 1
      for (int end = last + 4; end > 0; end -= summed_steps) {
        const int begin = max(end - summed_steps, 0);
        if (ordinary) {
#pragma unroll 1
          for (int step = end - 4; step >= begin; step -= 4) four_adjoints<fast, true>(t, step, 4, x, bar);
        } else {
#pragma unroll 1
          for (int step = end - 4; step >= begin; step -= 4) four_adjoints<M, false>(t, step, steps - step, x, bar);
        }
        if constexpr (lane_sums > 0) {
          __syncthreads();
          sum_over_channels(t, begin, steps);
          if (begin > 0) __syncthreads();
        }
      }
    });
    if (at.length == 0) {
      load_initial_states<States>(call, lanes, at.n, x);
      take_final(x, bar);
    }
    if (at.from == 0) give_initial(x, bar);
    for_each_index<inputs>([&](auto k) {
      if constexpr (is_parameter(k())) keep_time_sums<k()>();
    });
  }
  /// The sums over the chunk's steps of input K's gradient, into the workspace.
  template <std::size_t K>
  __device__ __forceinline__ void keep_time_sums() const {
    if (arrays.how[K] != gathered::over_time) return;
    T* to = arrays.time[K] + (at.slot * call.shape.channels + lanes.m) * call.shape.states + lanes.s0;
#pragma unroll
    for (int j = 0; j < States; ++j) {
      if (lanes.owns(j)) to[j] = time_sums[K][j];
    }
  }

  /// The whole chunk as elements of the adjoint.
  __device__ __forceinline__ void absorb(element (&e)[States]) requires mixer_with_adjoint_elements<M> {
    const auto combine = M::template adjoint_monoid<T>();
#pragma unroll
    for (int j = 0; j < States; ++j) e[j] = combine.identity();
    state x[States];
    each_tile(x, [&](std::int64_t t, int steps, bool ordinary) {
      if (ordinary) {
#pragma unroll 1
        for (int step = steps - 4; step >= 0; step -= 4) absorb_four(t, step, x, e);
        return;
      }
#pragma unroll 1
      for (int step = steps - 1; step >= 0; --step) {
        state before[States];
        kept_state(step, before);
        const T* rows = stage.rows_of(0, lanes.c) + step;
        const auto y_bar = output_adjoints([&](std::size_t row) { return rows[row * layout.tile()]; });
        this->one_step(0, step, t + step, [&](int j, const terms_t<M, T>& u) {
          e[j] = combine(M::adjoint_lift(before[j], u, x[j], y_bar), e[j]);
          x[j] = before[j];
        });
      }
    });
  }
  __device__ __forceinline__ void absorb_four(std::int64_t t, int step, state (&after)[States],
                                              element (&e)[States]) requires mixer_with_adjoint_elements<M> {
    using fast = typename ordinary_of<M>::type;
    const auto staged = this->four_staged(0, step);
#pragma unroll
    for (int i = 3; i >= 0; --i) {
      if constexpr (Varying) this->parameter.load(call.in, lanes, at.batch, at.first + t + step + i);
      state before[States];
      kept_state(step + i, before);
      const auto y_bar = output_adjoints([&](std::size_t row) { return staged.rows[row].x[i]; });
      if constexpr (ordinary_of<M>::exists) {
        using numbers = simd_value<T, States>;
        using wide = typename M::template state<numbers>;
        const auto combine = M::template adjoint_monoid<numbers>();
        using wide_element = element_t<std::remove_const_t<decltype(combine)>>;
        apart<T>(combine(fast::adjoint_lift(together<wide, T>(before), this->wide_terms(staged, i),
                                            together<wide, T>(after), for_all_lanes(y_bar)),
                         together<wide_element, T>(e)),
                 e);
      } else {
        const auto combine = M::template adjoint_monoid<T>();
#pragma unroll
        for (int j = 0; j < States; ++j) {
          e[j] = combine(M::adjoint_lift(before[j], this->terms(staged, i, j), after[j], y_bar), e[j]);
        }
      }
#pragma unroll
      for (int j = 0; j < States; ++j) after[j] = before[j];
    }
  }
  /// The adjoints of a step's outputs: `row(r)` is number r of those staged by channel.
  template <class Row>
  __device__ __forceinline__ static auto output_adjoints(Row row) {
    return from_fields<typename M::template outputs<T>, T>([&](auto o) { return row(stage_type::channel_rows + o()); });
  }

  /// The same adjoints of outputs for all lanes of the thread.
  __device__ __forceinline__ static auto for_all_lanes(const typename M::template outputs<T>& y_bar) {
    using numbers = simd_value<T, States>;
    return from_fields<typename M::template outputs<numbers>, numbers>(
        [&](auto o) { return numbers(as_array<T>(y_bar)[o()]); });
  }

  __device__ void load_final(state (&bar)[States]) const {
    lanes.template load<true>(tensors_of<const T>(call.states.final_bar), at.n, 0, bar);
  }
  /// From the numbers that are given of the final states' adjoints to what is carried, and from that to those that are
  /// wanted of the initial ones'.
  __device__ __forceinline__ void take_final(const state (&x)[States], state (&bar)[States]) const {
#pragma unroll
    for (int j = 0; j < States; ++j) bar[j] = adjoint_of(call.states.final_bar, x[j], bar[j]);
  }
  __device__ __forceinline__ void give_initial(const state (&x)[States], state (&bar)[States]) const {
#pragma unroll
    for (int j = 0; j < States; ++j) bar[j] = numbers_of_adjoint(call.states.initial_bar, x[j], bar[j]);
  }
};

}  // namespace kalscan::detail
