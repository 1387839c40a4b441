// SPDX-License-Identifier: MIT
// Threads that traversal their lanes through time: states in registers, terms from the stage, four steps at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/device/stage.cuh>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/simd_value.hpp>

namespace kalscan::detail {

/// The terms of one lane at one step.
template <class M, class T, class Channel, class StateTerms, class Parameter>
__device__ __forceinline__ terms_t<M, T> lane_terms(const Channel& channel, const StateTerms& state,
                                                    const Parameter& parameter, int j) {
  return from_fields<terms_t<M, T>, T>([&](auto i) {
    constexpr role r = terms_of<M, T>::varies(i());
    constexpr auto k = terms_before<M, T>(i(), r);
    if constexpr (r == role::channel) {
      return channel(static_cast<int>(k));
    } else if constexpr (r == role::state) {
      return state.x[k];
    } else {
      return parameter.terms[k][j];
    }
  });
}

/// The lanes of a thread as one value of several numbers, and back.
template <class Wide, class T, int States, class X>
__device__ __forceinline__ Wide together(const X (&x)[States]) {
  using numbers = simd_value<T, States>;
  return from_fields<Wide, numbers>([&](auto i) { return numbers::of([&](int j) { return as_array<T>(x[j])[i()]; }); });
}
template <class T, int States, class Wide, class X>
__device__ __forceinline__ void apart(const Wide& wide, X (&x)[States]) {
  const auto numbers = as_array<simd_value<T, States>>(wide);
#pragma unroll
  for (int j = 0; j < States; ++j) x[j] = from_fields<X, T>([&](auto i) { return numbers[i()].x[j]; });
}

template <class M, class T, int States, bool Adjoint = false>
__device__ __forceinline__ bool are_ordinary(const typename M::template state<T> (&x)[States]) {
  bool all = true;
  if constexpr (requires { typename M::ordinary; }) {
#pragma unroll
    for (int j = 0; j < States; ++j) all = all & is_ordinary_state<M, Adjoint>(x[j]);  // no branches
  }
  return all;
}

/// M or, where it has them, its formulas for ordinary states.
template <class M>
struct ordinary_of {
  using type = M;
  static constexpr bool exists = false;
};
template <class M>
requires requires { typename M::ordinary; }
struct ordinary_of<M> {
  using type = typename M::ordinary;
  static constexpr bool exists = true;
};

/// One block's lanes over a chunk of time. `Bars` are the tensors of the adjoints of outputs, if any.
template <class Call, class Lanes, class Bars = no_bars>
struct lane_traversal {
  using M = typename Call::mixer;
  using T = typename Call::number;
  using state = typename M::template state<T>;
  using In = decltype(Call::in);
  static constexpr int States = Lanes::states;
  static constexpr bool Varying = Lanes::varying, Full = Lanes::full;
  using layout_type = typename Lanes::layout;
  using stage_type = mixer_stage<M, layout_type, States, In, Bars>;
  static constexpr std::size_t outputs = array_size<typename M::template outputs<T>, T>;
  static constexpr unsigned all = 0xffffffffU;

  const Call& call;
  const layout_type& layout;
  const chunk_range& at;
  stage_type stage;
  thread_lanes<M, T, States> lanes;
  parameter_lanes<M, In, States, Varying> parameter;

  __device__ lane_traversal(const Call& call_, const Bars& bars, const layout_type& layout_, const chunk_range& at_,
                       std::int64_t first_channel, unsigned char* memory)
      : call(call_),
        layout(layout_),
        at(at_),
        stage{call_.in,       bars,
              layout_,       at_.batch,
              at_.first,     call_.shape.channels,
              first_channel, static_cast<int>(call_.shape.states),
              memory},
        lanes(layout_, first_channel, call_.shape.channels, static_cast<int>(call_.shape.states)) {
    if constexpr (!Varying) parameter.load(call.in, lanes, at.batch, 0);
  }

  /// What is staged for the thread of four steps from `step` on: its channel's rows, and where its states' terms are.
  struct staged_steps {
    vec<T, 4> rows[stage_type::rows > 0 ? stage_type::rows : 1];
    const typename stage_type::state_vec* states;
  };
  __device__ __forceinline__ staged_steps four_staged(int buffer, int step) const {
    const T* from = stage.rows_of(buffer, lanes.c) + step;
    staged_steps x;
#pragma unroll
    for (int i = 0; i < stage_type::rows; ++i)
      x.rows[i] = *reinterpret_cast<const vec<T, 4>*>(from + i * layout.tile());
    x.states = stage.states_of(buffer, lanes.g) + step * States * layout.group();
    return x;
  }
  /// The terms of lane j at step i of the four.
  __device__ __forceinline__ terms_t<M, T> terms(const staged_steps& staged, int i, int j) const {
    return lane_terms<M, T>([&](int k) { return staged.rows[k].x[i]; },
                            staged.states[(i * States + j) * layout.group()], parameter, j);
  }
  /// Those of all lanes of the thread.
  __device__ __forceinline__ terms_t<M, simd_value<T, States>> wide_terms(const staged_steps& staged, int i) const {
    using numbers = simd_value<T, States>;
    typename stage_type::state_vec of_states[States];
#pragma unroll
    for (int j = 0; j < States; ++j) of_states[j] = staged.states[(i * States + j) * layout.group()];
    return from_fields<terms_t<M, numbers>, numbers>([&](auto n) {
      constexpr role r = terms_of<M, T>::varies(n());
      constexpr auto k = terms_before<M, T>(n(), r);
      if constexpr (r == role::channel) {
        return numbers(staged.rows[k].x[i]);
      } else if constexpr (r == role::state) {
        return numbers::of([&](int j) { return of_states[j].x[k]; });
      } else {
        return numbers::of([&](int j) { return parameter.terms[k][j]; });
      }
    });
  }
  /// Calls f(staged, 0 ... 3) for four steps, with the parameters of each.
  template <class F>
  __device__ __forceinline__ void each_of_four(int buffer, int step, std::int64_t t, F f) {
    const auto staged = four_staged(buffer, step);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (Varying) parameter.load(call.in, lanes, at.batch, at.first + t + i);
      f(staged, i);
    }
  }
  /// Calls lane(0 ... 3, j, terms) for four steps of all lanes.
  template <class LaneStep>
  __device__ __forceinline__ void four_steps(int buffer, int step, std::int64_t t, LaneStep lane) {
    each_of_four(buffer, step, t, [&](const staged_steps& staged, int i) {
#pragma unroll
      for (int j = 0; j < States; ++j) lane(i, j, terms(staged, i, j));
    });
  }
  /// Calls lanes(0 ... 3, terms) for four steps, with the terms of all lanes of the thread at once.
  template <class LanesStep>
  __device__ __forceinline__ void four_wide_steps(int buffer, int step, std::int64_t t, LanesStep all_lanes) {
    each_of_four(buffer, step, t, [&](const staged_steps& staged, int i) { all_lanes(i, wide_terms(staged, i)); });
  }
  /// Calls lane(j, terms) for one step of all lanes.
  template <class LaneStep>
  __device__ __forceinline__ void one_step(int buffer, int step, std::int64_t t, LaneStep lane) {
    const T* rows = stage.rows_of(buffer, lanes.c) + step;
    const auto* states = stage.states_of(buffer, lanes.g) + step * States * layout.group();
    if constexpr (Varying) parameter.load(call.in, lanes, at.batch, at.first + t);
#pragma unroll
    for (int j = 0; j < States; ++j) {
      const auto terms = states[j * layout.group()];
      lane(j, lane_terms<M, T>([&](int k) { return rows[k * layout.tile()]; }, terms, parameter, j));
    }
  }
};

}  // namespace kalscan::detail
