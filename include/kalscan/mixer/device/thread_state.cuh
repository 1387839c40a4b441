// SPDX-License-Identifier: MIT
// What a thread has of a mixer: its lanes, their parameters, and how their states are read and written.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>

namespace kalscan::detail {

/// N numbers that are read and written as vectors of at most 16 bytes.
template <class T, int N>
struct alignas(std::min<std::size_t>(16, N * sizeof(T) & -(N * sizeof(T)))) vec {
  T x[N];
};

/// The number of inputs k < i that vary as r.
template <class M>
constexpr int inputs_before(std::size_t i, role r) {
  int n = 0;
  for (std::size_t k = 0; k < i; ++k) n += M::inputs_info[k].varies == r ? 1 : 0;
  return n;
}
template <class M, role R>
inline constexpr int inputs_with = inputs_before<M>(M::inputs_info.size(), R);

/// Calls f(index, tensor) for each input that varies as R.
template <class M, role R, class In, class F>
__device__ void for_inputs(const In& in, F f) {
  for_each_index<M::inputs_info.size()>([&](auto i) {
    if constexpr (M::inputs_info[i()].varies == R) f(i, member<i()>(in));
  });
}

/// A pointer to device memory that was kept in shared memory, where the compiler forgot what it points to.
template <class E>
__device__ __forceinline__ E* known_global(E* pointer) {
  __builtin_assume(__isGlobal(pointer));
  return pointer;
}

/// The distance in bytes from a step of a tensor to the next one.
template <class E>
__device__ __forceinline__ std::int64_t bytes_of_step(const tensor<E>& x) {
  return x.stride[1] * static_cast<std::int64_t>(sizeof(E));
}

/// The inputs that vary as R, read(i) each, with 0 for the others.
template <class M, class T, role R, class Read>
__device__ __forceinline__ typename M::template inputs<T> inputs_that_vary(Read read) {
  return from_fields<typename M::template inputs<T>, T>([&](auto i) {
    if constexpr (M::inputs_info[i()].varies == R) {
      return read(i);
    } else {
      return T(0);
    }
  });
}
/// The terms that come of the inputs that vary as R: put(k, term) gets the k-th of them.
template <class M, class T, role R, class Put>
__device__ __forceinline__ void put_terms(const typename M::template inputs<T>& u, Put put) {
  const auto x = as_array<T>(prepare<M, T>(u));
  for_each_index<terms_of<M, T>::count>([&](auto i) {
    if constexpr (terms_of<M, T>::varies(i()) == R) put(terms_before<M, T>(i(), R), x[i()]);
  });
}

template <class M, class T, role R, class Read, class Put>
__device__ __forceinline__ void prepare_terms(Read read, Put put) {
  put_terms<M, T, R>(inputs_that_vary<M, T, R>(read), put);
}

/// Sums four values over the threads of a group, all at once: each exchange halves what a thread still has to do, and
/// leaves it with the sums that own_step and own_steps name.
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

/// Sums one value over the threads of a group; all of them get the sum.
template <class T>
__device__ __forceinline__ T sum_over_group(T v, int group) {
#pragma unroll
  for (int far = 1; far < 32; far *= 2) {
    if (far < group) v += __shfl_xor_sync(0xffffffffU, v, far);
  }
  return v;
}

/// A thread's lanes: states s0 ... s0 + States - 1 of the `states` of channel m, which is channel c of the block; the
/// thread is number g of the group that has them all. Where there is no such channel or state, the last one is computed
/// once more and not written.
template <class M, class T, int States>
struct thread_lanes {
  using state = typename M::template state<T>;
  static constexpr std::size_t words_of_state = array_size<state, T>;

  std::int64_t m;
  int c, g, s0, states;
  bool owns_channel;

  template <class Layout>
  __device__ thread_lanes(const Layout& layout, std::int64_t first_channel, std::int64_t channels, int states_)
      : c(layout.channel_of(static_cast<int>(threadIdx.x))),
        g(layout.number_in_group(static_cast<int>(threadIdx.x))),
        s0(g * States),
        states(states_) {
    m = first_channel + c;
    owns_channel = m < channels;
    if (!owns_channel) m = channels - 1;
  }
  __device__ bool owns(int j) const { return owns_channel && s0 + j < states; }
  __device__ int state_of(int j) const { return min(s0 + j, states - 1); }

  template <class Tensor>
  __device__ bool whole_rows(const Tensor& x, const T* at) const {
    return x.stride[3] == 1 && s0 + States <= states &&
           reinterpret_cast<std::uintptr_t>(at) % alignof(vec<T, States>) == 0;
  }
  using state_rows = std::array<tensor<const T>, words_of_state>;
  /// With MayLack, what is not there is 0.
  template <bool MayLack = false>
  __device__ void load(const state_rows& from, std::int64_t n, std::int64_t t, state (&x)[States]) const {
    const T* rows[words_of_state];
    for_each_index<words_of_state>([&](auto i) { rows[i()] = row_of(from[i()], n, t); });
    load<MayLack>(from, rows, x);
  }
  /// The row of the thread's channel.
  template <class E>
  __device__ E* row_of(const tensor<E>& x, std::int64_t n, std::int64_t t) const {
    return x.at(n, t, m, 0);
  }
  template <bool MayLack = false>
  __device__ void load(const state_rows& from, const T* const (&rows)[words_of_state], state (&x)[States]) const {
    T value[words_of_state][States] = {};
    bool whole = true;  // one question for all of them: no load waits for a branch
    for_each_index<words_of_state>(
        [&](auto i) { whole &= (MayLack && !from[i()].present()) || whole_rows(from[i()], rows[i()] + s0); });
    const auto each_there = [&](auto f) {
      for_each_index<words_of_state>([&](auto i) {
        if (!MayLack || from[i()].present()) f(i);
      });
    };
    if (whole) {
      each_there([&](auto i) {
        const auto all = *reinterpret_cast<const vec<T, States>*>(rows[i()] + s0);
#pragma unroll
        for (int j = 0; j < States; ++j) value[i()][j] = all.x[j];
      });
    } else {
      each_there([&](auto i) {
#pragma unroll
        for (int j = 0; j < States; ++j) value[i()][j] = rows[i()][state_of(j) * from[i()].stride[3]];
      });
    }
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = from_fields<state, T>([&](auto i) { return value[i()][j]; });
  }
  template <class Tensors>
  __device__ void store(const Tensors& tensors, std::int64_t n, std::int64_t t, const state (&x)[States],
                        bool add = false) const {
    if (!owns_channel) return;
    const auto to = tensors_of<T>(tensors);
    for_each_index<words_of_state>([&](auto i) {
      if (!to[i()].present()) return;
      T* row = to[i()].at(n, t, m, 0);
      if (!add && whole_rows(to[i()], row + s0)) {
        vec<T, States> all;
#pragma unroll
        for (int j = 0; j < States; ++j) all.x[j] = as_array<T>(x[j])[i()];
        *reinterpret_cast<vec<T, States>*>(row + s0) = all;
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) {
          if (!owns(j)) continue;
          T& pointer = row[(s0 + j) * to[i()].stride[3]];
          const T number = as_array<T>(x[j])[i()];
          pointer = add ? pointer + number : number;  // not 0 + number: that would lose the sign of -0
        }
      }
    });
  }
  /// Loads from, and stores to, arrays of the workspace: each number of all lanes of a thread as one vector, unless the last
  /// thread of a group has fewer lanes.
  template <class X>
  __device__ void load(const lane_array<X, T>& from, std::int64_t slot, X (&x)[States]) const {
    if (states % States != 0) {
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = from.get(slot, m * states + state_of(j));
      return;
    }
    vec<T, States> numbers[array_size<X, T>];
    const T* first = from.at(slot, m * states + min(s0, states - States));
    for_each_index<array_size<X, T>>([&](auto i) {
      numbers[i()] = *reinterpret_cast<const vec<T, States>*>(first + static_cast<std::int64_t>(i()) * from.lanes);
    });
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = from_fields<X, T>([&](auto i) { return numbers[i()].x[j]; });
  }
  template <class X>
  __device__ void store(const lane_array<X, T>& to, std::int64_t slot, const X (&x)[States]) const {
    if (states % States != 0) {
#pragma unroll
      for (int j = 0; j < States; ++j) {
        if (owns(j)) to.set(slot, m * states + s0 + j, x[j]);
      }
      return;
    }
    if (!owns(0)) return;
    T* first = to.at(slot, m * states + s0);
    for_each_index<array_size<X, T>>([&](auto i) {
      vec<T, States> number;
#pragma unroll
      for (int j = 0; j < States; ++j) number.x[j] = as_array<T>(x[j])[i()];
      *reinterpret_cast<vec<T, States>*>(first + static_cast<std::int64_t>(i()) * to.lanes) = number;
    });
  }
};

/// The terms of parameters of a thread's lanes; with Varying they are loaded at every step.
template <class M, class In, int States, bool Varying>
struct parameter_lanes {
  using T = number_t<In>;
  static constexpr int rows = static_cast<int>(parameter_terms<M, T>);
  T terms[rows > 0 ? rows : 1][States];

  template <class Lanes>
  __device__ __forceinline__ void load(const In& in, const Lanes& lanes, std::int64_t batch, std::int64_t t) {
#pragma unroll
    for (int j = 0; j < States; ++j) {
      prepare_terms<M, T, role::parameter>(
          [&](auto i) { return static_cast<T>(member<i()>(in)(batch, t, lanes.m, lanes.state_of(j))); },
          [&](std::int64_t k, T term) { terms[k][j] = term; });
    }
  }
};

/// The states before the first step of sequence n.
template <int States, class Call, class Lanes, class State>
__device__ void load_initial_states(const Call& call, const Lanes& lanes, std::int64_t n, State (&x)[States]) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  const auto from = call.states.initial.all_tensors();
  if (from[0].present()) lanes.load(from, n, 0, x);
#pragma unroll
  for (int j = 0; j < States; ++j)
    x[j] = from[0].present() ? state_of(call.states.initial, x[j]) : M::template start<T>();
}

}  // namespace kalscan::detail
