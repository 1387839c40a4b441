// SPDX-License-Identifier: MIT
// What every traversal of a chunk of time has: a block's stage, each thread's lanes, and the terms of their steps, of
// one step or of four at once. Forward and backward traversals are derived from it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/stage.cuh>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/frame.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/simd_value.hpp>
#include <type_traits>
#include <utility>

namespace kalscan::detail {

/// The terms of lane j of a thread, put together from what is staged of its channel, state and parameters.
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

/// The lanes of a thread as one value with a number of each lane, and back.
template <class Wide, class T, int States, class X>
__device__ __forceinline__ Wide to_wide(const X (&x)[States]) {
  using numbers = simd_value<T, States>;
  return from_fields<Wide, numbers>([&](auto i) { return numbers::of([&](int j) { return as_array<T>(x[j])[i()]; }); });
}
template <class T, int States, class Wide, class X>
__device__ __forceinline__ void from_wide(const Wide& wide, X (&x)[States]) {
  const auto numbers = as_array<simd_value<T, States>>(wide);
#pragma unroll
  for (int j = 0; j < States; ++j) x[j] = from_fields<X, T>([&](auto i) { return numbers[i()].x[j]; });
}

/// Whether all states of a thread are ordinary: with Adjoint, for their adjoints too.
template <class M, class T, int States, bool Adjoint = false>
__device__ __forceinline__ bool are_ordinary(const typename M::template state<T> (&x)[States]) {
  bool all = true;
  if constexpr (requires { typename M::ordinary; }) {
#pragma unroll
    for (int j = 0; j < States; ++j) all = all & is_ordinary_state<M, Adjoint>(x[j]);  // no branches
  }
  return all;
}

/// M::ordinary, the formulas for ordinary states, where M has them; else M.
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

/// A copy of a thread's states in shared memory, so that it takes no registers. Four neighbouring states are a packet,
/// which is stored at once.
template <class X, class T, int States>
struct parked_states {
  static constexpr int packets = States % 4 == 0 ? States / 4 : 1, in_packet = States / packets;
  using packet = vec<T, in_packet>;
  unsigned char* memory;  // packets [number][packet][thread]

  KALSCAN_HD static constexpr std::size_t size() { return array_size<X, T> * packets * block_threads * sizeof(packet); }
  __device__ __forceinline__ packet& at(std::size_t number, int i) const {
    return reinterpret_cast<packet*>(memory)[(static_cast<int>(number) * packets + i) * block_threads + threadIdx.x];
  }
  __device__ __forceinline__ void put(const X (&x)[States]) const {
    for_each_index<array_size<X, T>>([&](auto w) {
#pragma unroll
      for (int i = 0; i < packets; ++i) {
        packet some;
#pragma unroll
        for (int j = 0; j < in_packet; ++j) some.x[j] = as_array<T>(x[i * in_packet + j])[w()];
        at(w(), i) = some;
      }
    });
  }
  __device__ __forceinline__ void take(X (&x)[States]) const {
#pragma unroll
    for (int j = 0; j < States; ++j)
      x[j] = from_fields<X, T>([&](auto w) { return at(w(), j / in_packet).x[j % in_packet]; });
  }
};

/// A run of steps, or several side by side, and step i of the four that are taken at once.
template <class M, bool Varying, class Run, class Terms>
__device__ __forceinline__ Run extended(const Run& run, const Terms& u, int i) {
  if constexpr (!Varying && requires { M::extend_in_four(run, u, i); }) {
    return M::extend_in_four(run, u, i);
  } else {
    return M::extend(run, u);
  }
}

/// Rescales the runs of a warp, for which each(f) calls f(run), if one of them is large: all together, so that it is
/// seldom.
template <class M, class Each>
__device__ __forceinline__ void rescale_together(Each each) {
  bool large = false;
  each([&](const auto& run) { large = large | M::is_large(run); });
  if (__all_sync(0xffffffffU, !large)) return;
  each([](auto& run) { run = M::rescaled(run); });
}

/// For steps whose outputs nobody wants.
struct no_readout {};

/// The sums over a thread's states of what they read out. A quartet is four neighbouring states: within it read-outs are
/// added one after the other, then the sums of quartets pairwise, and those of a group's threads pairwise too
/// (sum_over_group). So no bit depends on how many states a thread has.
template <class M, class T, int States>
struct readout_sums {
  static_assert(States % 4 == 0);
  using outputs = typename M::template outputs<T>;
  outputs quartets[States / 4] = {};

  /// Adds what state j reads out. The states of a quartet must come in their order.
  template <class Lane>
  __device__ __forceinline__ void add(int j, const typename M::template state<T>& x, const terms_t<M, T>& u) {
    add<Lane>(quartets[j / 4], j % 4 == 0, x, u);
  }
  template <class Lane>
  __device__ __forceinline__ static void add(outputs& sums, bool first, const typename M::template state<T>& x,
                                             const terms_t<M, T>& u) {
    sums = first ? Lane::readout(x, u) : readout_onto<Lane, T>(sums, x, u);
  }
  __device__ __forceinline__ auto total() const {
    return from_fields<std::array<T, array_size<outputs, T>>, T>(
        [&](auto o) { return total<0, States / 4>(o()); });
  }

 private:
  template <int First, int Count>
  __device__ __forceinline__ T total(std::size_t o) const {
    if constexpr (Count == 1) {
      return as_array<T>(quartets[First])[o];
    } else {
      return total<First, Count / 2>(o) + total<First + Count / 2, Count / 2>(o);
    }
  }
};

/// One block's lanes over a chunk of time. `Bars` holds the tensors of the adjoints of outputs, in a backward pass.
template <class Call, lanes_kind Kind, class Bars = no_bars>
struct lane_traversal {
  using user_mixer = typename Call::mixer;
  using M = lane_mixer<user_mixer>;  // what lanes compute: in the frame of the user's mixer, if that has one
  static constexpr bool framed = mixer_with_frame<user_mixer>;
  using T = typename Call::number;
  using state = typename M::template state<T>;
  using In = decltype(Call::in);
  using layout_type = lane_layout<Kind>;
  static constexpr int States = Kind.states, threads = block_threads;
  static constexpr bool Varying = Kind.varying, Full = Kind.full;
  using stage_type = mixer_stage<user_mixer, layout_type, In, Bars>;
  using numbers = simd_value<T, States>;  // one of each lane of the thread
  using wide_state = typename M::template state<numbers>;
  static constexpr std::size_t outputs = array_size<typename M::template outputs<T>, T>;
  static constexpr unsigned all = 0xffffffffU;
  /// Whether states are so large that the kernel keeps in shared memory what is the same for all of the block's threads.
  static constexpr bool spares_registers = sizeof(state) > 8;
  /// Whether a step's terms are read before the step before it stores anything, since the compiler moves no load over a
  /// store. That takes registers: KLA in float has them, in double it has not.
  static constexpr bool reads_ahead =
      !Varying && States * (sizeof(state) + sizeof(typename stage_type::state_vec)) <= 96;

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

  /// What is staged for this thread, of the four steps from `step` on: the rows of its channel, and a pointer to the
  /// terms of its states.
  struct staged_steps {
    vec<T, 4> rows[stage_type::rows > 0 ? stage_type::rows : 1];
    const typename stage_type::state_vec* states;
  };
  __device__ __forceinline__ staged_steps four_steps_staged(int buffer, int step) const {
    const T* from = stage.rows_of(buffer, lanes.c) + step;
    staged_steps x;
#pragma unroll
    for (int i = 0; i < stage_type::rows; ++i)
      x.rows[i] = *reinterpret_cast<const vec<T, 4>*>(from + i * layout.tile());
    x.states = stage.states_of(buffer, lanes.g) + step * States * layout.group();
    return x;
  }
  /// The terms of lane j at the i-th of the four steps.
  __device__ __forceinline__ terms_t<M, T> terms(const staged_steps& staged, int i, int j) const {
    return lane_terms<M, T>([&](int k) { return staged.rows[k].x[i]; },
                            staged.states[(i * States + j) * layout.group()], parameter, j);
  }
  /// Those of all lanes of the thread.
  __device__ __forceinline__ terms_t<M, numbers> wide_terms(const staged_steps& staged, int i) const {
    return wide_terms([&](auto k) { return staged.rows[k].x[i]; }, staged.states + i * States * layout.group());
  }
  /// The same from what is staged of one step: row(k) of its channel, and its states' terms.
  template <class Row>
  __device__ __forceinline__ terms_t<M, numbers> wide_terms(Row row,
                                                            const typename stage_type::state_vec* states) const {
    typename stage_type::state_vec of_states[States];
#pragma unroll
    for (int j = 0; j < States; ++j) of_states[j] = states[j * layout.group()];
    return from_fields<terms_t<M, numbers>, numbers>([&](auto n) {
      constexpr role r = terms_of<M, T>::varies(n());
      constexpr auto k = terms_before<M, T>(n(), r);
      if constexpr (r == role::channel) {
        return numbers(row(k));
      } else if constexpr (r == role::state) {
        return numbers::of([&](int j) { return of_states[j].x[k]; });
      } else {
        return numbers::of([&](int j) { return parameter.terms[k][j]; });
      }
    });
  }
  /// Whether a frame ends after step `step` of the `steps` of a tile.
  __device__ __forceinline__ static constexpr bool frame_ends(int step, int steps) {
    return framed && (step % steps_of_frame == steps_of_frame - 1 || step == steps - 1);
  }
  __device__ __forceinline__ auto frame_after(int buffer, int step) const {
    return stage.frame_of(buffer, lanes.c, step);
  }
  /// States, elements or adjoints of the thread's lanes as seen from outside the frame after a step, and back; the same
  /// where there is none.
  template <class X>
  __device__ __forceinline__ void leave_frame(int buffer, int step, X (&x)[States]) const {
    if constexpr (framed) {
      const auto frame = frame_after(buffer, step);
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = user_mixer::frame::out_of(frame, x[j]);
    }
  }
  template <class X>
  __device__ __forceinline__ void enter_frame(int buffer, int step, X (&x)[States]) const {
    if constexpr (framed) {
      const auto frame = frame_after(buffer, step);
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = user_mixer::frame::into(frame, x[j]);
    }
  }

  /// Calls f(staged, 0 ... 3) for four steps, with the parameters of each.
  template <class F>
  __device__ __forceinline__ void each_of_four_steps(int buffer, int step, std::int64_t t, F f) {
    const auto staged = four_steps_staged(buffer, step);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (Varying) parameter.load(call.in, lanes, at.batch, at.first + t + i);
      f(staged, i);
    }
  }
  /// What take_step needs of step i: the terms of all lanes; where the formulas are branch-free, as one value with a
  /// number of each lane.
  __device__ __forceinline__ auto step_terms(const staged_steps& staged, int i) const {
    if constexpr (ordinary_of<M>::exists) {
      return wide_terms(staged, i);
    } else {
      vec<terms_t<M, T>, States> u;
#pragma unroll
      for (int j = 0; j < States; ++j) u.x[j] = terms(staged, i, j);
      return u;
    }
  }
  /// Calls f(0 ... 3, what take_step needs of the step).
  template <class F>
  __device__ __forceinline__ void each_terms_of_four_steps(int buffer, int step, std::int64_t t, F f) {
    decltype(step_terms(std::declval<const staged_steps&>(), 0)) u[4];
    each_of_four_steps(buffer, step, t, [&](const staged_steps& staged, int i) {
      u[i] = step_terms(staged, i);
      if constexpr (!reads_ahead) f(i, u[i]);
    });
    if constexpr (reads_ahead) {
#pragma unroll
      for (int i = 0; i < 4; ++i) f(i, u[i]);
    }
  }
  /// A step of all lanes of the thread, by the formulas of Lane, and the sums of what they read out.
  template <class Lane, class StepTerms, class Sums>
  __device__ __forceinline__ void take_step(const StepTerms& u, state (&x)[States], Sums&& sums) const {
    constexpr bool reads = !std::is_same_v<std::remove_cvref_t<Sums>, no_readout>;
    if constexpr (ordinary_of<M>::exists) {
      from_wide<T>(Lane::step(to_wide<wide_state, T>(x), u), x);
      const auto terms = as_array<numbers>(u);
#pragma unroll
      for (int j = 0; j < States; ++j) {
        if constexpr (reads) {
          const auto of_lane = from_fields<terms_t<M, T>, T>([&](auto i) { return terms[i()].x[j]; });
          read_out<Lane>(j, x[j], of_lane, sums);
        }
      }
    } else {
#pragma unroll
      for (int j = 0; j < States; ++j) {
        x[j] = Lane::step(x[j], u.x[j]);
        if constexpr (reads) read_out<Lane>(j, x[j], u.x[j], sums);
      }
    }
  }
  /// Adds what lane j reads out, if there is such a state.
  template <class Lane, class Sums>
  __device__ __forceinline__ void read_out(int j, const state& x, const terms_t<M, T>& u, Sums& sums) const {
    if (Full || lanes.s0 + j < lanes.states) sums.template add<Lane>(j, x, u);
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
