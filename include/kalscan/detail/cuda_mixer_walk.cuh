// SPDX-License-Identifier: MIT
// Threads that walk their lanes through time: states in registers, terms from the stage, outputs summed over the states
// of a channel for four steps at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/detail/cuda_mixer_lanes.cuh>
#include <kalscan/detail/cuda_mixer_stage.cuh>
#include <kalscan/detail/several.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/states.hpp>
#include <kalscan/kla/tensor.hpp>
#include <type_traits>

namespace kalscan::detail {

/// Sums four values over the threads of a group, all at once: each exchange halves what a thread still has to do. A
/// thread is left with the sums of kept_steps(...) steps from kept_step(...) on, in groups of more than four threads
/// several with the same ones.
template <class T>
__device__ __forceinline__ void sum_over_group(T (&v)[4], int g, int group) {
  constexpr unsigned all = 0xffffffffU;
  if (group == 1) return;
  const bool odd = (g & 1) != 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const T mine = odd ? v[2 + i] : v[i], other = odd ? v[i] : v[2 + i];
    v[i] = mine + __shfl_xor_sync(all, other, 1);
  }
  if (group == 2) return;
  const bool upper = (g & 2) != 0;
  const T mine = upper ? v[1] : v[0], other = upper ? v[0] : v[1];
  v[0] = mine + __shfl_xor_sync(all, other, 2);
#pragma unroll
  for (int far = 4; far < 32; far *= 2) {
    if (far < group) v[0] += __shfl_xor_sync(all, v[0], far);
  }
}
__device__ __forceinline__ int kept_step(int g, int group) {
  return group == 1 ? 0 : 2 * (g & 1) + (group > 2 ? g >> 1 & 1 : 0);
}
__device__ __forceinline__ int kept_steps(int group) { return group == 1 ? 4 : group == 2 ? 2 : 1; }

/// The same for two values; a thread is left with the sum of value g & 1, or of both where it is alone.
template <class T>
__device__ __forceinline__ void sum_over_group(T (&v)[2], int g, int group) {
  if (group == 1) return;
  const bool odd = (g & 1) != 0;
  const T mine = odd ? v[1] : v[0], other = odd ? v[0] : v[1];
  v[0] = mine + __shfl_xor_sync(0xffffffffU, other, 1);
#pragma unroll
  for (int far = 2; far < 32; far *= 2) {
    if (far < group) v[0] += __shfl_xor_sync(0xffffffffU, v[0], far);
  }
}

/// The same for one value, which all threads of the group are left with.
template <class T>
__device__ __forceinline__ T sum_over_group(T v, int group) {
#pragma unroll
  for (int far = 1; far < 32; far *= 2) {
    if (far < group) v += __shfl_xor_sync(0xffffffffU, v, far);
  }
  return v;
}

/// The state tensors where states are given as the mixer has them, else none.
template <class M, class T>
KALSCAN_HD state_tensors<M, const T> plain_tensors(const initial_states<M, T>& initial) {
  if constexpr (requires { initial.tensors; }) {
    return initial.tensors;
  } else {
    return initial.in_information_form() ? state_tensors<M, const T>{} : initial.moments;
  }
}

/// What a kernel's compiler knows of its lanes: the states of a thread and the threads of a group (0: not known), whether
/// parameters vary with time, and whether no thread has states beyond the edge.
template <int States, int Group, bool Varying, bool Full, int Tile = 0, int Threads = 128>
struct lanes_kind {
  static constexpr int states = States;
  static constexpr bool varying = Varying, full = Full;
  using layout = lane_layout<States, Group, Tile, Threads>;
};

/// A thread's lanes: channel m, states s0 ... s0 + States - 1 of `states`. Beyond the edges the last ones are computed
/// once more, and kept to themselves.
template <class M, class T, int States>
struct thread_lanes {
  using state = typename M::template state<T>;
  static constexpr std::size_t words_of_state = word_count<state, T>;

  std::int64_t m;
  int c, g, s0, states;
  bool owns_channel;

  template <class Layout>
  __device__ thread_lanes(const Layout& layout, std::int64_t first_channel, std::int64_t channels, int states_)
      : c(static_cast<int>(threadIdx.x) / layout.group()),
        g(static_cast<int>(threadIdx.x) & (layout.group() - 1)),
        s0(g * States),
        states(states_) {
    m = first_channel + c;
    owns_channel = m < channels;
    if (!owns_channel) m = channels - 1;
  }
  /// The same lanes of arrays whose origin is elsewhere.
  __device__ thread_lanes at_channel(std::int64_t other) const {
    thread_lanes x = *this;
    x.m = other;
    return x;
  }
  __device__ bool owns(int j) const { return owns_channel && s0 + j < states; }
  __device__ int state_of(int j) const { return min(s0 + j, states - 1); }

  template <class Tensor>
  __device__ bool whole_rows(const Tensor& x, const T* at) const {
    return x.stride[3] == 1 && s0 + States <= states &&
           reinterpret_cast<std::uintptr_t>(at) % alignof(pack<T, States>) == 0;
  }
  template <class Tensors>
  __device__ void load(const Tensors& tensors, std::int64_t n, std::int64_t t, state (&x)[States]) const {
    const auto from = words<tensor<const T>>(tensors);
    T value[words_of_state][States];
    for_each_index<words_of_state>([&](auto i) {
      const T* row = from[i()].at(n, t, m, 0);
      if (whole_rows(from[i()], row + s0)) {
        const auto all = *reinterpret_cast<const pack<T, States>*>(row + s0);
#pragma unroll
        for (int j = 0; j < States; ++j) value[i()][j] = all.x[j];
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) value[i()][j] = row[state_of(j) * from[i()].stride[3]];
      }
    });
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = from_words<state, T>([&](auto i) { return value[i()][j]; });
  }
  template <class Tensors>
  __device__ void store(const Tensors& tensors, std::int64_t n, std::int64_t t, const state (&x)[States],
                        bool add = false) const {
    if (!owns_channel) return;
    const auto to = words<tensor<T>>(tensors);
    for_each_index<words_of_state>([&](auto i) {
      if (!to[i()].present()) return;
      T* row = to[i()].at(n, t, m, 0);
      if (!add && whole_rows(to[i()], row + s0)) {
        pack<T, States> all;
#pragma unroll
        for (int j = 0; j < States; ++j) all.x[j] = words<T>(x[j])[i()];
        *reinterpret_cast<pack<T, States>*>(row + s0) = all;
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) {
          if (!owns(j)) continue;
          T& place = row[(s0 + j) * to[i()].stride[3]];
          place = (add ? place : T(0)) + words<T>(x[j])[i()];
        }
      }
    });
  }
  /// From and to the workspace's arrays [slot][number][lane].
  template <class X>
  __device__ void load(const lane_array<X, T>& from, std::int64_t slot, X (&x)[States]) const {
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = from.get(slot, m * states + state_of(j));
  }
  template <class X>
  __device__ void store(const lane_array<X, T>& to, std::int64_t slot, const X (&x)[States]) const {
#pragma unroll
    for (int j = 0; j < States; ++j) {
      if (owns(j)) to.set(slot, m * states + s0 + j, x[j]);
    }
  }
};

/// The terms of parameters of a thread's lanes; with Varying they are read at every step.
template <class M, class In, int States, bool Varying>
struct parameter_lanes {
  using T = number_t<In>;
  static constexpr int rows = static_cast<int>(parameter_terms<M, T>);
  T terms[rows > 0 ? rows : 1][States];

  template <class Lanes>
  __device__ __forceinline__ void load(const In& in, const Lanes& lanes, std::int64_t batch, std::int64_t t) {
#pragma unroll
    for (int j = 0; j < States; ++j) {
      const auto u = from_words<typename M::template inputs<T>, T>([&](auto i) {
        if constexpr (M::inputs_info[i()].varies == role::parameter) {
          return static_cast<T>(member<i()>(in)(batch, t, lanes.m, lanes.state_of(j)));
        } else {
          return T(0);
        }
      });
      const auto x = words<T>(prepare<M, T>(u));
      for_each_index<terms_of<M, T>::count>([&](auto i) {
        if constexpr (terms_of<M, T>::varies(i()) == role::parameter)
          terms[terms_before<M, T>(i(), role::parameter)][j] = x[i()];
      });
    }
  }
};

/// The terms of one lane at one step.
template <class M, class T, class Channel, class StateTerms, class Parameter>
__device__ __forceinline__ terms_t<M, T> lane_terms(const Channel& channel, const StateTerms& state,
                                                    const Parameter& parameter, int j) {
  return from_words<terms_t<M, T>, T>([&](auto i) {
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
  using numbers = several<T, States>;
  return from_words<Wide, numbers>([&](auto i) { return numbers::of([&](int j) { return words<T>(x[j])[i()]; }); });
}
template <class T, int States, class Wide, class X>
__device__ __forceinline__ void apart(const Wide& wide, X (&x)[States]) {
  const auto numbers = words<several<T, States>>(wide);
#pragma unroll
  for (int j = 0; j < States; ++j) x[j] = from_words<X, T>([&](auto i) { return numbers[i()].x[j]; });
}

template <class M, class T, int States>
__device__ __forceinline__ bool are_ordinary(const typename M::template state<T> (&x)[States]) {
  bool all = true;
  if constexpr (requires { typename M::ordinary; }) {
#pragma unroll
    for (int j = 0; j < States; ++j) all = all && M::is_ordinary(x[j]);
  }
  return all;
}

/// Lane is M or, where it has them, its formulas for ordinary states.
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
template <class Job, class Lanes, class Bars = no_bars>
struct lane_walk {
  using M = typename Job::mixer;
  using T = typename Job::number;
  using state = typename M::template state<T>;
  using In = decltype(Job::in);
  static constexpr int States = Lanes::states;
  static constexpr bool Varying = Lanes::varying, Full = Lanes::full;
  using layout_type = typename Lanes::layout;
  using stage_type = mixer_stage<M, layout_type, States, In, Bars>;
  static constexpr std::size_t outputs = word_count<typename M::template outputs<T>, T>;
  static constexpr unsigned all = 0xffffffffU;

  const Job& job;
  const layout_type& layout;
  const chunk_place& at;
  stage_type stage;
  thread_lanes<M, T, States> lanes;
  parameter_lanes<M, In, States, Varying> parameter;

  __device__ lane_walk(const Job& job_, const Bars& bars, const layout_type& layout_, const chunk_place& at_,
                       std::int64_t first_channel, unsigned char* memory)
      : job(job_),
        layout(layout_),
        at(at_),
        stage{job_.in,       bars, layout_, at_.batch, at_.first, job_.shape.channels, first_channel,
              static_cast<int>(job_.shape.states), memory},
        lanes(layout_, first_channel, job_.shape.channels, static_cast<int>(job_.shape.states)) {
    if constexpr (!Varying) parameter.load(job.in, lanes, at.batch, 0);
  }

  /// Calls lane(0 ... 3, j, terms) for four steps of all lanes.
  template <class LaneStep>
  __device__ __forceinline__ void four_steps(int buffer, int step, std::int64_t t, LaneStep lane) {
    const T* rows = stage.rows_of(buffer, lanes.c) + step;
    const auto* states = stage.states_of(buffer, lanes.g) + step * States * layout.group();
    pack<T, 4> channel[stage_type::rows > 0 ? stage_type::rows : 1];
#pragma unroll
    for (int i = 0; i < stage_type::rows; ++i) channel[i] = *reinterpret_cast<const pack<T, 4>*>(rows + i * layout.tile());
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (Varying) parameter.load(job.in, lanes, at.batch, at.first + t + i);
#pragma unroll
      for (int j = 0; j < States; ++j) {
        const auto terms = states[(i * States + j) * layout.group()];
        lane(i, j, lane_terms<M, T>([&](int k) { return channel[k].x[i]; }, terms, parameter, j));
      }
    }
  }
  /// The terms of all lanes of the thread at step i of the four whose channel terms these are.
  template <class Channel, class StateTerms>
  __device__ __forceinline__ terms_t<M, several<T, States>> wide_terms(const Channel& channel, const StateTerms* states,
                                                                       int i) const {
    using numbers = several<T, States>;
    typename stage_type::state_pack terms[States];
#pragma unroll
    for (int j = 0; j < States; ++j) terms[j] = states[(i * States + j) * layout.group()];
    return from_words<terms_t<M, numbers>, numbers>([&](auto n) {
      constexpr role r = terms_of<M, T>::varies(n());
      constexpr auto k = terms_before<M, T>(n(), r);
      if constexpr (r == role::channel) {
        return numbers(channel[k].x[i]);
      } else if constexpr (r == role::state) {
        return numbers::of([&](int j) { return terms[j].x[k]; });
      } else {
        return numbers::of([&](int j) { return parameter.terms[k][j]; });
      }
    });
  }
  /// Calls lanes(0 ... 3, terms) for four steps, with the terms of all lanes of the thread at once.
  template <class LanesStep>
  __device__ __forceinline__ void four_wide_steps(int buffer, int step, std::int64_t t, LanesStep all_lanes) {
    const T* rows = stage.rows_of(buffer, lanes.c) + step;
    const auto* states = stage.states_of(buffer, lanes.g) + step * States * layout.group();
    pack<T, 4> channel[stage_type::rows > 0 ? stage_type::rows : 1];
#pragma unroll
    for (int i = 0; i < stage_type::rows; ++i) channel[i] = *reinterpret_cast<const pack<T, 4>*>(rows + i * layout.tile());
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (Varying) parameter.load(job.in, lanes, at.batch, at.first + t + i);
      all_lanes(i, wide_terms(channel, states, i));
    }
  }
  /// Calls lane(j, terms) for one step of all lanes.
  template <class LaneStep>
  __device__ __forceinline__ void one_step(int buffer, int step, std::int64_t t, LaneStep lane) {
    const T* rows = stage.rows_of(buffer, lanes.c) + step;
    const auto* states = stage.states_of(buffer, lanes.g) + step * States * layout.group();
    if constexpr (Varying) parameter.load(job.in, lanes, at.batch, at.first + t);
#pragma unroll
    for (int j = 0; j < States; ++j) {
      const auto terms = states[j * layout.group()];
      lane(j, lane_terms<M, T>([&](int k) { return rows[k * layout.tile()]; }, terms, parameter, j));
    }
  }

};

}  // namespace kalscan::detail
