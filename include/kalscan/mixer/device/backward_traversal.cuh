// SPDX-License-Identifier: MIT
// The traversal of a chunk of time backward, by one block: replayed by the adjoints of its steps, or absorbed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/carry.cuh>
#include <kalscan/mixer/device/channel_gradients.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

namespace kalscan::detail {

template <class Call, lanes_kind Kind>
struct device_backward_traversal : channel_gradient_traversal<Call, Kind> {
  using base = channel_gradient_traversal<Call, Kind>;
  using base::is_parameter, base::over_channels, base::over_states, base::channel_sum_of;
  using base::each_tile, base::each_of_four_steps_back, base::each_lane_back, base::sums_of, base::sum_over_channels;
  using base::call, base::layout, base::at, base::stage, base::lanes, base::arrays;
  using base::States, base::Full, base::Varying, base::framed, base::inputs, base::sums_over_channels;
  using base::summed_steps, base::one_by_one, base::leave_state_sums, base::leave_frame_of_step, base::seek_gradients;
  using base::skip_gradients, base::sum_over_states;
  using typename base::layout_type;
  using typename base::M;
  using typename base::numbers;
  using typename base::row;
  using typename base::state;
  using typename base::T;
  using typename base::user_mixer;
  using typename base::wide_state;
  using fast = typename ordinary_of<M>::type;
  using direction = backward_in_time<Call>;
  using element = typename direction::element;
  static constexpr bool splits = direction::splits && Kind.splits;
  static constexpr int blocks = layout_type::known ? 2 : 1;

  T time_sums[inputs][States];
  char* channel_pointers[inputs];  // where the gradients of channels go at the next four steps

  __device__ device_backward_traversal(const Call& call_, const layout_type& layout_, const chunk_range& at_,
                                const typename direction::arrays& arrays_, std::int64_t channel_block_,
                                unsigned char* memory)
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
  /// Adds g(k), lane j's gradient of input k at step `step` of the tile at t, to the sums that input k is part of.
  /// state_sum(k) is a reference to the thread's sum over states.
  template <class Gradients, class StateSum>
  __device__ __forceinline__ void gather(std::int64_t t, int step, int j, const Gradients& g,
                                         row (&channel_sum)[inputs], const StateSum& state_sum) {
    const bool mine = Full || lanes.s0 + j < lanes.states;
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        const T part = mine ? g(k()) : T(0);
        state_sum(k()) = j == 0 ? part : state_sum(k()) + part;
      }
      if constexpr (over_channels(k())) channel_sum[k()].x[j] = g(k());  // 0 beyond the last channel
      if constexpr (is_parameter(k())) {
        time_sums[k()][j] += g(k());
        if constexpr (Varying) {
          if (arrays.how[k()] == device_gathering::lane && lanes.owns(j))
            put(member<k()>(call.in_bar).at(at.batch, at.first + t + step, lanes.m, lanes.s0 + j), g(k()));
        }
      }
    });
  }
  __device__ __forceinline__ void leave_channel_sums(int step, const row (&channel_sum)[inputs]) const {
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_channels(k())) sums_of(step, channel_sum_of(k()))[threadIdx.x] = channel_sum[k()];
    });
  }

  /// adjoint_of_four_steps in a loop over the steps, without the sums over a group.
  __device__ __forceinline__ void adjoint_of_four_steps_one_by_one(std::int64_t t, int step, state (&after)[States],
                                                                   state (&bar)[States]) {
    this->enter_frame(0, step + 3, after);
    this->enter_frame(0, step + 3, bar);
#pragma unroll 2
    for (int i = 3; i >= 0; --i) {
      const T* rows = stage.rows_of(0, lanes.c) + step + i;
      const auto row_of = [&](std::size_t r) { return rows[static_cast<int>(r) * layout.tile()]; };
      state before[States];
      this->kept_state(step + i, before);
      const auto back = fast::adjoint(
          to_wide<wide_state, T>(before),
          this->wide_terms(row_of, stage.states_of(0, lanes.g) + (step + i) * States * layout.group()),
          to_wide<wide_state, T>(after), to_wide<wide_state, T>(bar), for_all_lanes(base::output_adjoints(row_of)));
      from_wide<T>(back.earlier, bar);
      const auto g = as_array<numbers>(back.inputs);
      T state_sum[inputs];
      row channel_sum[inputs];
#pragma unroll
      for (int j = 0; j < States; ++j) {
        gather(t, step + i, j, [&](std::size_t k) { return g[k].x[j]; }, channel_sum,
               [&](std::size_t k) -> T& { return state_sum[k]; });
        after[j] = before[j];
      }
      leave_channel_sums(step + i, channel_sum);
      leave_state_sums(step + i, state_sum);
    }
  }
  /// The adjoints of steps step + 3, ..., step of the tile at t, by the formulas for ordinary states.
  __device__ __forceinline__ void adjoint_of_four_steps(std::int64_t t, int step, state (&after)[States],
                                                        state (&bar)[States]) {
    T state_sum[inputs][4];
    this->enter_frame(0, step + 3, bar);
    each_of_four_steps_back(t, step, after, [&](int i, const state (&before)[States], const auto& u, const auto& y_bar) {
      row channel_sum[inputs];
      const auto take = [&](int j, const auto& g) {
        gather(t, step + i, j, g, channel_sum, [&](std::size_t k) -> T& { return state_sum[k][i]; });
      };
      if constexpr (ordinary_of<M>::exists) {
        const auto back = fast::adjoint(to_wide<wide_state, T>(before), u, to_wide<wide_state, T>(after),
                                        to_wide<wide_state, T>(bar), for_all_lanes(y_bar));
        from_wide<T>(back.earlier, bar);
        const auto g = as_array<numbers>(back.inputs);
#pragma unroll
        for (int j = 0; j < States; ++j) take(j, [&](std::size_t k) { return g[k].x[j]; });
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) {
          const auto back = M::adjoint(before[j], u.x[j], after[j], bar[j], y_bar);
          bar[j] = back.earlier;
          const auto g = as_array<T>(back.inputs);
          take(j, [&](std::size_t k) { return g[k]; });
        }
      }
      leave_channel_sums(step + i, channel_sum);
    });
    const int count = own_steps(layout.group());
    if constexpr (framed) {
      for_each_index<inputs>([&](auto k) {
        if constexpr (over_states(k())) sum_over_group(state_sum[k()], lanes.g, layout.group());
      });
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (i >= count) break;
        T one[inputs];
        for_each_index<inputs>([&](auto k) { one[k()] = state_sum[k()][i]; });
        leave_frame_of_step(step + own_step(lanes.g, layout.group()) + i, one);
        for_each_index<inputs>([&](auto k) { state_sum[k()][i] = one[k()]; });
      }
    }
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        if (arrays.how[k()] != device_gathering::channel) return;
        if constexpr (!framed) sum_over_group(state_sum[k()], lanes.g, layout.group());
        const auto& to = member<k()>(call.in_bar);
        using E = typename std::remove_cvref_t<decltype(to)>::value_type;
        char* pointer = channel_pointers[k()];
        channel_pointers[k()] -= 4 * bytes_of_step(to);
        if (!lanes.owns_channel || lanes.g >= 4) return;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (i < count) put(reinterpret_cast<E*>(pointer), state_sum[k()][i]);
          if (i + 1 < count) pointer += bytes_of_step(to);
        }
      }
    });
  }
  /// To be called before adjoint_of_four_steps of the steps from t on, which then goes on with those before them.
  __device__ __forceinline__ void seek_channel_pointers(std::int64_t t) {
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k()))
        channel_pointers[k()] = reinterpret_cast<char*>(
            this->template channel_gradient<k()>(t + own_step(lanes.g, layout.group())));
    });
  }
  /// The adjoint of one step of the tile at t, by the formulas that hold everywhere.
  __device__ __forceinline__ void one_adjoint(std::int64_t t, int step, int steps, state (&after)[States],
                                              state (&bar)[States]) {
    if (base::frame_ends(step, steps)) this->enter_frame(0, step, bar);
    T state_sum[inputs];
    row channel_sum[inputs];
    each_lane_back(t, step, steps, after, [&](int j, const state& before, const terms_t<M, T>& u, const auto& y_bar) {
      const auto back = M::adjoint(before, u, after[j], bar[j], y_bar);
      bar[j] = back.earlier;
      const auto g = as_array<T>(back.inputs);
      gather(t, step, j, [&](std::size_t k) { return g[k]; }, channel_sum,
             [&](std::size_t k) -> T& { return state_sum[k]; });
    });
    leave_channel_sums(step, channel_sum);
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) state_sum[k()] = sum_over_group(state_sum[k()], layout.group());
    });
    leave_frame_of_step(step, state_sum);
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        if (arrays.how[k()] == device_gathering::channel && lanes.owns_channel && lanes.g == 0)
          put(this->template channel_gradient<k()>(t + step), state_sum[k()]);
      }
    });
  }

  /// The adjoints of the final states, as they are given.
  __device__ __forceinline__ void load_start(state (&bar)[States]) const {
    lanes.template load<true>(tensors_of<const T>(call.states.final_bar), at.n, 0, bar);
  }

  /// Goes on with the sums over time that the turn before left.
  __device__ __forceinline__ void go_on() {
    for_each_index<inputs>([&](auto k) {
      if constexpr (is_parameter(k())) {
        if (arrays.how[k()] != device_gathering::over_time) return;
        const T* from = time_sums_of<k()>();
#pragma unroll
        for (int j = 0; j < States; ++j) {
          if (lanes.owns(j)) time_sums[k()][j] = from[j];
        }
      }
    });
  }

  /// The whole chunk, from the adjoints after it to those before it.
  __device__ __forceinline__ void replay(state (&bar)[States]) {
    if (!lanes.owns_channel) {
#pragma unroll
      for (int j = 0; j < States; ++j) bar[j] = from_fields<state, T>([](auto) { return T(0); });
    }
    state x[States];
    each_tile(x, [&](std::int64_t t, int steps, bool ordinary) {
      if (t + steps == at.length && ends_of(call, at.n).end) take_final(x, bar);
      const int last = (steps - 1) / 4 * 4;
      if constexpr (one_by_one) {
        if (t + steps == at.to) seek_gradients(t);
      } else {
        seek_channel_pointers(t + last);
      }
#pragma unroll 1
      for (int end = last + 4; end > 0; end -= summed_steps) {
        const int begin = max(end - summed_steps, 0);
        if (ordinary) {
#pragma unroll 1
          for (int step = end - 4; step >= begin; step -= 4) {
            if constexpr (one_by_one) {
              adjoint_of_four_steps_one_by_one(t, step, x, bar);
            } else {
              adjoint_of_four_steps(t, step, x, bar);
            }
          }
        } else {
#pragma unroll 1
          for (int step = min(end, steps) - 1; step >= begin; --step) one_adjoint(t, step, steps, x, bar);
        }
        if constexpr (sums_over_channels > 0) {
          __syncthreads();
          sum_over_channels(t, begin, steps);
          if constexpr (one_by_one) {
            ordinary ? sum_over_states() : skip_gradients();
          }
          if (begin > 0) __syncthreads();
        }
      }
    });
    const auto ends = ends_of(call, at.n);
    if (at.length == 0) {
      if (ends.begin) {
        load_initial_states<States>(call, lanes, at.n, x);
      } else {
        this->load_checkpoint(0, x);
      }
      if (ends.end) take_final(x, bar);
    }
    if (at.k == 0 && ends.begin) {
#pragma unroll
      for (int j = 0; j < States; ++j) bar[j] = numbers_of_adjoint(call.states.initial_bar, x[j], bar[j]);
      lanes.store(call.states.initial_bar, at.n, 0, bar, call.states.accumulate);
    }
    for_each_index<inputs>([&](auto k) {
      if constexpr (is_parameter(k())) store_time_sums<k()>();
    });
  }
  /// Converts the adjoints of the final states from the form in which they are given to the one that is carried.
  __device__ __forceinline__ void take_final(const state (&x)[States], state (&bar)[States]) const {
#pragma unroll
    for (int j = 0; j < States; ++j) bar[j] = adjoint_of(call.states.final_bar, x[j], bar[j]);
  }
  template <std::size_t K>
  __device__ __forceinline__ T* time_sums_of() const {
    return arrays.time[K] + (at.slot * call.shape.channels + lanes.m) * call.shape.states + lanes.s0;
  }
  /// The sums over the chunk's steps of input K's gradient, into the workspace.
  template <std::size_t K>
  __device__ __forceinline__ void store_time_sums() const {
    if (arrays.how[K] != device_gathering::over_time) return;
    T* to = time_sums_of<K>();
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
    [[maybe_unused]] auto total = no_frame<user_mixer, T>();
    const auto turn = [&](int step) {
      if constexpr (framed) {
        this->enter_frame(0, step, e);
        total = user_mixer::frame::compose(this->frame_after(0, step), total);
      }
    };
    state x[States];
    each_tile(x, [&](std::int64_t t, int steps, bool ordinary) {
      if (ordinary) {
#pragma unroll 1
        for (int step = steps - 4; step >= 0; step -= 4) {
          turn(step + 3);
          absorb_four_steps(t, step, x, e);
        }
        return;
      }
#pragma unroll 1
      for (int step = steps - 1; step >= 0; --step) {
        if (base::frame_ends(step, steps)) turn(step);
        each_lane_back(t, step, steps, x, [&](int j, const state& before, const terms_t<M, T>& u, const auto& y_bar) {
          e[j] = combine(M::adjoint_lift(before, u, x[j], y_bar), e[j]);
        });
      }
    });
    if constexpr (framed) {
#pragma unroll
      for (int j = 0; j < States; ++j) e[j] = user_mixer::frame::element(total, e[j]);
    }
  }
  __device__ __forceinline__ void absorb_four_steps(std::int64_t t, int step, state (&after)[States],
                                                    element (&e)[States]) requires mixer_with_adjoint_elements<M> {
    each_of_four_steps_back(t, step, after, [&](int, const state (&before)[States], const auto& u, const auto& y_bar) {
      if constexpr (ordinary_of<M>::exists) {
        const auto combine = M::template adjoint_monoid<numbers>();
        using wide_element = element_t<std::remove_const_t<decltype(combine)>>;
        from_wide<T>(combine(fast::adjoint_lift(to_wide<wide_state, T>(before), u, to_wide<wide_state, T>(after),
                                                for_all_lanes(y_bar)),
                             to_wide<wide_element, T>(e)),
                     e);
      } else {
        const auto combine = M::template adjoint_monoid<T>();
#pragma unroll
        for (int j = 0; j < States; ++j) {
          e[j] = combine(M::adjoint_lift(before[j], u.x[j], after[j], y_bar), e[j]);
        }
      }
    });
  }
  /// The same adjoints of outputs for all lanes of the thread.
  __device__ __forceinline__ static auto for_all_lanes(const typename M::template outputs<T>& y_bar) {
    return from_fields<typename M::template outputs<numbers>, numbers>(
        [&](auto o) { return numbers(as_array<T>(y_bar)[o()]); });
  }
};

}  // namespace kalscan::detail
