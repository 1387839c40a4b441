// SPDX-License-Identifier: MIT
// The mixer's kernels, backward: a tile at a time the states once more from a checkpoint, then its steps backwards.
// Chunks of time by absorb, carry, replay, from the end to the beginning.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/detail/cuda_mixer_forward.cuh>
#include <kalscan/detail/cuda_mixer_lanes.cuh>
#include <kalscan/detail/cuda_mixer_stage.cuh>
#include <kalscan/detail/cuda_mixer_walk.cuh>
#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/backward.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/states.hpp>

namespace kalscan::detail {

/// Steps between the checkpoints from which states are computed again, and of a tile: with 8 states a thread fewer,
/// since the tape of a tile lies in shared memory.
constexpr int backward_tile(int states_of_a_thread) { return states_of_a_thread == 8 ? 4 : 16; }

template <class M, class T>
struct adjoint_element {
  using type = typename M::template state<T>;
};
template <mixer_with_adjoint_elements M, class T>
struct adjoint_element<M, T> {
  using type = element_t<decltype(M::template adjoint_monoid<T>())>;
};

/// How the gradient of an input comes about.
enum class gathered : unsigned char {
  nowhere,     // nobody asks for it
  lane,        // each lane has a place of its own
  channel,     // summed over states
  over_lanes,  // summed over the channels of a block; blocks are summed afterwards
  over_time    // summed over the steps of a chunk; chunks are summed afterwards
};

/// The workspace of a backward call.
template <class M, class T>
struct backward_arrays {
  static constexpr std::size_t inputs = M::inputs_info.size();
  lane_array<typename M::template state<T>, T> carry;           // adjoints after each chunk but the last
  lane_array<typename adjoint_element<M, T>::type, T> element;  // of each chunk
  T* lanes[inputs];  // [block of channels][batch][time][state]: sums over the channels of a block
  T* time[inputs];   // [slot][channel][state]: sums over the steps of a chunk
  gathered how[inputs];
};

/// One block's walk backward.
template <class Job, class Lanes>
struct backward_walk_on_device : lane_walk<Job, Lanes, decltype(Job::out_bar)> {
  using base = lane_walk<Job, Lanes, decltype(Job::out_bar)>;
  using base::job, base::layout, base::at, base::stage, base::lanes;
  using base::States, base::Full, base::Varying, base::outputs, base::all;
  using typename base::layout_type;
  using typename base::M;
  using typename base::stage_type;
  using typename base::state;
  using typename base::T;
  using element = typename adjoint_element<M, T>::type;
  using arrays_type = backward_arrays<M, T>;
  using row = pack<T, States>;
  static constexpr int steps_of_tile = backward_tile(States);
  static constexpr std::size_t inputs = M::inputs_info.size(), state_words = word_count<state, T>;

  /// Inputs whose gradients may be summed over channels, over states, over time.
  static constexpr bool is_parameter(std::size_t i) { return M::inputs_info[i].varies == role::parameter; }
  static constexpr bool over_lanes(std::size_t i) {
    return M::inputs_info[i].varies == role::state || (Varying && is_parameter(i));
  }
  static constexpr bool over_states(std::size_t i) {
    return M::inputs_info[i].varies == role::channel || (Varying && is_parameter(i));
  }
  static constexpr int lane_sums = [] {
    int n = 0;
    for (std::size_t i = 0; i < inputs; ++i) n += over_lanes(i) ? 1 : 0;
    return n;
  }();
  static constexpr int lane_sum_of(std::size_t i) {
    int n = 0;
    for (std::size_t k = 0; k < i; ++k) n += over_lanes(k) ? 1 : 0;
    return n;
  }

  /// Rows of the tape at a step: what the step needs and, once it is done, what it leaves for the sums over channels.
  static constexpr int rows_of_step = std::max(static_cast<int>(state_words), lane_sums);

  const arrays_type& arrays;
  std::int64_t channel_block;
  row* tape;  // [step][row][thread]: the states before each step of the tile
  T time_sums[inputs][States];
  char* channel_places[inputs];  // where this thread's sums over states of the next four steps go

  __device__ backward_walk_on_device(const Job& job_, const layout_type& layout_, const chunk_place& at_,
                                     const arrays_type& arrays_, std::int64_t channel_block_, unsigned char* memory)
      : base(job_, job_.out_bar, layout_, at_, channel_block_ * layout_.channels(), memory + stage_offset(layout_)),
        arrays(arrays_),
        channel_block(channel_block_),
        tape(reinterpret_cast<row*>(memory)) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(inputs); ++i) {
#pragma unroll
      for (int j = 0; j < States; ++j) time_sums[i][j] = T(0);
    }
  }
  KALSCAN_HD static std::size_t stage_offset(const layout_type& x) {
    return static_cast<std::size_t>(steps_of_tile * rows_of_step * x.threads()) * sizeof(row);
  }
  KALSCAN_HD static std::size_t shared_size(const layout_type& x) {
    return stage_offset(x) + stage_type::buffer_size(x);
  }
  __device__ __forceinline__ row& on_tape(int step, int i) const {
    return tape[(step * rows_of_step + i) * layout.threads() + threadIdx.x];
  }

  __device__ __forceinline__ void put_on_tape(int step, const state (&x)[States]) {
    for_each_index<state_words>([&](auto w) {
      row r;
#pragma unroll
      for (int j = 0; j < States; ++j) r.x[j] = words<T>(x[j])[w()];
      on_tape(step, static_cast<int>(w())) = r;
    });
  }
  __device__ __forceinline__ void from_tape(int step, state (&x)[States]) const {
    row r[state_words];
#pragma unroll
    for (int w = 0; w < static_cast<int>(state_words); ++w) r[w] = on_tape(step, w);
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = from_words<state, T>([&](auto w) { return r[w()].x[j]; });
  }

  __device__ void load_checkpoint(std::int64_t t, state (&x)[States]) const {
    lanes.load(job.states.checkpoints, at.batch, at.first_checkpoint(steps_of_tile) + t / steps_of_tile, x);
  }

  /// Calls tile(t, steps, ordinary) for all tiles of the chunk, from the last to the first, each with its inputs in
  /// shared memory, the states before its steps on the tape, and those after the last one in x.
  template <class Tile>
  __device__ __forceinline__ void each_tile(state (&x)[States], Tile tile) {
    using fast = typename ordinary_of<M>::type;
    if (at.from >= at.to) return;
    const std::int64_t tiles = (at.to - at.from + steps_of_tile - 1) / steps_of_tile;
    typename stage_type::kept next;
    state before[States];
    stage.seek(at.from + (tiles - 1) * steps_of_tile);
    stage.template read<true>(next, at.to);
    load_checkpoint(at.from + (tiles - 1) * steps_of_tile, before);
    for (std::int64_t i = tiles - 1; i >= 0; --i) {
      const std::int64_t t = at.from + i * steps_of_tile;
      const int steps = static_cast<int>(min(static_cast<std::int64_t>(steps_of_tile), at.to - t));
      stage.write(next, 0);
      __syncthreads();
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = before[j];
      bool ordinary = steps == steps_of_tile && __all_sync(all, are_ordinary<M, T, States>(x));
      if (i > 0) {  // early: the steps below hide the way from memory
        stage.template read<true>(next, at.to);
        load_checkpoint(t - steps_of_tile, before);
      }
      if (ordinary) {
#pragma unroll 1
        for (int step = 0; step < steps_of_tile; step += 4) {
          if constexpr (ordinary_of<M>::exists) {
            using numbers = several<T, States>;
            this->four_wide_steps(0, step, t + step, [&](int k, const terms_t<M, numbers>& u) {
              put_on_tape(step + k, x);
              apart<T>(fast::step(together<typename M::template state<numbers>, T>(x), u), x);
            });
          } else {
            this->four_steps(0, step, t + step, [&](int k, int j, const terms_t<M, T>& u) {
              if (j == 0) put_on_tape(step + k, x);
              x[j] = fast::step(x[j], u);
            });
          }
        }
        ordinary = __all_sync(all, are_ordinary<M, T, States>(x));
        if (!ordinary) from_tape(0, x);
      }
      if (!ordinary) {
#pragma unroll 1
        for (int step = 0; step < steps; ++step) {
          put_on_tape(step, x);
          this->one_step(0, step, t + step, [&](int j, const terms_t<M, T>& u) { x[j] = M::step(x[j], u); });
        }
      }
      tile(t, steps, ordinary);
      __syncthreads();
    }
  }

  /// Adds to or replaces what a gradient's array holds.
  template <class E>
  __device__ __forceinline__ void put(E* to, const T& value) const {
    *to = static_cast<E>(job.states.accumulate ? static_cast<T>(*to) + value : value);
  }

  /// The adjoint of steps [step, step + n), n at most 4, of the tile at t, and what they leave for the sums.
  template <class Lane, bool Whole>
  __device__ __forceinline__ void four_adjoints(std::int64_t t, int step, int n, state (&after)[States],
                                                state (&bar)[States]) {
    const int tile = layout.tile();
    const T* rows = stage.rows_of(0, lanes.c) + step;
    const auto* terms_of_states = stage.states_of(0, lanes.g) + step * States * layout.group();
    pack<T, 4> channel[stage_type::rows];
#pragma unroll
    for (int i = 0; i < stage_type::rows; ++i) channel[i] = *reinterpret_cast<const pack<T, 4>*>(rows + i * tile);
    T channel_sum[inputs][4];
#pragma unroll
    for (int i = 3; i >= 0; --i) {
      if (!Whole && i >= n) {
        for_each_index<inputs>([&](auto k) { channel_sum[k()][i] = T(0); });
        continue;
      }
      if constexpr (Varying) this->parameter.load(job.in, lanes, at.batch, at.first + t + step + i);
      state before[States];
      from_tape(step + i, before);
      const auto y_bar = from_words<typename M::template outputs<T>, T>(
          [&](auto o) { return channel[stage_type::channel_rows + static_cast<int>(o())].x[i]; });
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
                put(member<k()>(job.in_bar).at(at.batch, at.first + t + step + i, lanes.m, lanes.s0 + j), g(k()));
            }
          }
        });
      };
      if constexpr (Whole && ordinary_of<M>::exists) {
        using numbers = several<T, States>;
        using wide = typename M::template state<numbers>;
        const auto y_wide = from_words<typename M::template outputs<numbers>, numbers>(
            [&](auto o) { return numbers(words<T>(y_bar)[o()]); });
        const auto back = Lane::adjoint(together<wide, T>(before), this->wide_terms(channel, terms_of_states, i),
                                        together<wide, T>(after), together<wide, T>(bar), y_wide);
        apart<T>(back.earlier, bar);
        const auto g = words<numbers>(back.inputs);
#pragma unroll
        for (int j = 0; j < States; ++j) gather(j, [&](std::size_t k) { return g[k].x[j]; });
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) {
          const auto u = lane_terms<M, T>([&](int k) { return channel[k].x[i]; },
                                          terms_of_states[(i * States + j) * layout.group()], this->parameter, j);
          const auto back = Lane::adjoint(before[j], u, after[j], bar[j], y_bar);
          bar[j] = back.earlier;
          const auto g = words<T>(back.inputs);
          gather(j, [&](std::size_t k) { return g[k]; });
        }
      }
#pragma unroll
      for (int j = 0; j < States; ++j) after[j] = before[j];
      for_each_index<inputs>([&](auto k) {
        if constexpr (over_lanes(k())) on_tape(step + i, lane_sum_of(k())) = lane_sum[k()];
      });
    }
    const int first = kept_step(lanes.g, layout.group()), count = kept_steps(layout.group());
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        if (arrays.how[k()] != gathered::channel) return;
        sum_over_group(channel_sum[k()], lanes.g, layout.group());
        const auto& to = member<k()>(job.in_bar);
        using E = typename std::remove_cvref_t<decltype(to)>::value_type;
        char* place = channel_places[k()];
        channel_places[k()] -= 4 * bytes_of_step(to);
        if (!lanes.owns_channel || lanes.g >= 4) return;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (i < count && (Whole || first + i < n)) put(reinterpret_cast<E*>(place), channel_sum[k()][i]);
          if (i + 1 < count) place += bytes_of_step(to);
        }
      }
    });
  }
  template <class Tensor>
  __device__ __forceinline__ static std::int64_t bytes_of_step(const Tensor& x) {
    return x.stride[1] * static_cast<std::int64_t>(sizeof(typename Tensor::value_type));
  }
  /// Before four_adjoints of the steps from t on, from then on backwards.
  __device__ __forceinline__ void seek_channel_places(std::int64_t t) {
    for_each_index<inputs>([&](auto k) {
      if constexpr (over_states(k())) {
        channel_places[k()] = reinterpret_cast<char*>(
            member<k()>(job.in_bar).at(at.batch, at.first + t + kept_step(lanes.g, layout.group()), lanes.m, 0));
      }
    });
  }

  /// The sums over the block's channels of what the adjoints of a tile left on the tape, into the workspace. Where
  /// there are more threads than rows of sums, neighbours share one: each takes every parts-th channel.
  __device__ __forceinline__ void sum_over_channels(std::int64_t t, int steps) const {
    const int G = layout.group(), rows = steps_of_tile * G, threads = layout.threads();
    const int parts = rows < threads ? threads / rows : 1, part = static_cast<int>(threadIdx.x) & (parts - 1);
    const std::int64_t S = job.shape.states;
    const std::int64_t place = ((channel_block * job.shape.batch + at.batch) * job.shape.time + at.first + t) * S;
#pragma unroll 1
    for (int first_row = 0; first_row < rows; first_row += threads / parts) {  // once, in groups of at most 8 threads
      const int i = first_row + static_cast<int>(threadIdx.x) / parts, step = i / G, g = i & (G - 1);
      const row* from = tape + step * rows_of_step * threads + part * G + g;
      const std::int64_t first_place = place + step * S + g * States;
      for_each_index<inputs>([&](auto k) {
        if constexpr (over_lanes(k())) {
          if (arrays.how[k()] != gathered::over_lanes) return;
          sum_row(from + lane_sum_of(k()) * threads, arrays.lanes[k()] + first_place, part, parts, step < steps,
                  static_cast<int>(S) - g * States);
        }
      });
    }
  }
  __device__ __forceinline__ void sum_row(const row* from, T* to, int part, int parts, bool in_tile, int states) const {
    row r = from[0];
    if constexpr (layout_type::known) {
#pragma unroll
      for (int c = 1; c < layout.channels() / parts; ++c) add_row(r, from[c * parts * layout.group()]);
    } else {
#pragma unroll 1
      for (int c = 1; c < layout.channels() / parts; ++c) add_row(r, from[c * parts * layout.group()]);
    }
    constexpr int at_once = States < 4 ? States : 4;
#pragma unroll
    for (int j0 = 0; j0 < States; j0 += at_once) {
      T some[at_once];
#pragma unroll
      for (int j = 0; j < at_once; ++j) some[j] = r.x[j0 + j];
      sum_over_group(some, part, parts);
      const int first = at_once == 2 ? (parts > 1 ? part & 1 : 0) : kept_step(part, parts);
      const int count = at_once == 2 ? (parts > 1 ? 1 : 2) : kept_steps(parts);
      if (!in_tile || part >= at_once) continue;
#pragma unroll
      for (int j = 0; j < at_once; ++j) {
        if (j < count && (Full || j0 + first + j < states)) to[j0 + first + j] = some[j];
      }
    }
  }
  __device__ __forceinline__ static void add_row(row& r, const row& more) {
#pragma unroll
    for (int j = 0; j < States; ++j) r.x[j] += more.x[j];
  }

  /// The whole chunk, from the adjoints after it to those before it.
  __device__ __forceinline__ void sweep(state (&bar)[States]) {
    using fast = typename ordinary_of<M>::type;
    state x[States];
    each_tile(x, [&](std::int64_t t, int steps, bool ordinary) {
      const int last = (steps - 1) / 4 * 4;
      seek_channel_places(t + last);
      if (ordinary) {
#pragma unroll 1
        for (int step = last; step >= 0; step -= 4) four_adjoints<fast, true>(t, step, 4, x, bar);
      } else {
#pragma unroll 1
        for (int step = last; step >= 0; step -= 4) four_adjoints<M, false>(t, step, steps - step, x, bar);
      }
      if constexpr (lane_sums > 0) {
        __syncthreads();
        sum_over_channels(t, steps);
      }
    });
    for_each_index<inputs>([&](auto k) {
      if constexpr (is_parameter(k())) keep_time_sums<k()>();
    });
  }
  /// The sums over the chunk's steps of input K's gradient, into the workspace.
  template <std::size_t K>
  __device__ __forceinline__ void keep_time_sums() const {
    if (arrays.how[K] != gathered::over_time) return;
    T* to = arrays.time[K] + (at.slot * job.shape.channels + lanes.m) * job.shape.states + lanes.s0;
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
#pragma unroll 1
      for (int step = steps - 1; step >= 0; --step) {
        state before[States];
        from_tape(step, before);
        const T* rows = stage.rows_of(0, lanes.c) + step;
        const auto y_bar = from_words<typename M::template outputs<T>, T>(
            [&](auto o) { return rows[(stage_type::channel_rows + static_cast<int>(o())) * layout.tile()]; });
        this->one_step(0, step, t + step, [&](int j, const terms_t<M, T>& u) {
          if (ordinary) {
            e[j] = combine(ordinary_of<M>::type::adjoint_lift(before[j], u, x[j], y_bar), e[j]);
          } else {
            e[j] = combine(M::adjoint_lift(before[j], u, x[j], y_bar), e[j]);
          }
          x[j] = before[j];
        });
      }
    });
  }

  __device__ void load_final(state (&bar)[States]) const {
    const auto final_bar = job.states.final_bar;
    if (words<tensor<const T>>(final_bar)[0].present()) return lanes.load(final_bar, at.n, 0, bar);
#pragma unroll
    for (int j = 0; j < States; ++j) bar[j] = from_words<state, T>([](auto) { return T(0); });
  }
};

/// First pass (or the only one): the last chunk of each sequence is swept and, with Absorbs, those between it and the
/// first are absorbed. Last pass: all chunks but the last are swept.
template <class Job, class Lanes, bool Absorbs>
__global__ void __launch_bounds__(Lanes::layout::threads(), Lanes::layout::known ? 2 : 1)
    mixer_backward_kernel(const __grid_constant__ Job job, const __grid_constant__ typename Lanes::layout layout,
                          const __grid_constant__ time_cuts cuts,
                          const __grid_constant__ backward_arrays<typename Job::mixer, typename Job::number> arrays,
                          std::int64_t first_block, forward_pass pass) {
  using walk_type = backward_walk_on_device<Job, Lanes>;
  const std::int64_t blocks = (job.shape.channels + layout.channels() - 1) / layout.channels();
  const std::int64_t block = first_block + blockIdx.x;
  const chunk_place at = cuts[block / blocks];
  const bool last = at.k + 1 == at.chunks;
  const bool sweeps = pass == forward_pass::last ? !last : last;
  if (!sweeps && (!Absorbs || at.k == 0)) return;
  walk_type walk(job, layout, at, arrays, block % blocks, mixer_shared_memory);
  if (sweeps) {
    typename walk_type::state bar[Lanes::states];
    if (last) {
      walk.load_final(bar);
    } else {
      walk.lanes.load(arrays.carry, at.slot, bar);
    }
    if (!walk.lanes.owns_channel) {
#pragma unroll
      for (int j = 0; j < Lanes::states; ++j)
        bar[j] =
            from_words<typename walk_type::state, typename Job::number>([](auto) { return typename Job::number(0); });
    }
    walk.sweep(bar);
    if (at.k == 0) {
      walk.lanes.store(job.states.initial_bar, at.n, 0, bar, job.states.accumulate);
    } else if (last) {
      walk.lanes.store(arrays.carry, at.slot - 1, bar);
    }
  } else if constexpr (Absorbs) {
    typename walk_type::element e[Lanes::states];
    walk.absorb(e);
    walk.lanes.store(arrays.element, at.slot, e);
  }
}

/// The adjoints after all chunks of a sequence, from the last to the first, one thread a lane. Where an element is out
/// of range, the lane is walked instead.
template <class Job>
__global__ void mixer_carry_back_kernel(
    const __grid_constant__ Job job, const __grid_constant__ time_cuts cuts,
    const __grid_constant__ backward_arrays<typename Job::mixer, typename Job::number> arrays) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  using state = typename M::template state<T>;
  constexpr int most = backward_tile(4);
  const std::int64_t S = job.shape.states, lanes = job.shape.channels * S, tile = job.states.every;
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < cuts.sequences * lanes;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    const std::int64_t n = i / lanes, lane = i % lanes;
    const std::int64_t slot = cuts.offsets == nullptr ? n * (cuts.slots / cuts.sequences) : cuts.first_slot[n];
    const std::int64_t chunks = cuts.offsets == nullptr ? cuts.slots / cuts.sequences : cuts.first_slot[n + 1] - slot;
    if (chunks < 3) continue;
    state bar = arrays.carry.get(slot + chunks - 2, lane);
#pragma unroll 4
    for (std::int64_t k = chunks - 2; k > 0; --k) {
      const auto e = arrays.element.get(slot + k, lane);
      if (all_finite<T>(e)) {
        bar = M::adjoint_act(e, bar);
      } else {
        const chunk_place at = cuts[slot + k];
        const std::int64_t m = lane / S, s = lane % S;
        const auto kept = words<tensor<const T>>(job.states.checkpoints);
        for (std::int64_t t = at.from + (at.to - at.from - 1) / tile * tile; t >= at.from; t -= tile) {
          const int steps = static_cast<int>(min(tile, at.to - t));
          state x[most + 1];
          x[0] = from_words<state, T>(
              [&](auto w) { return kept[w()](at.batch, at.first_checkpoint(tile) + t / tile, m, s); });
          for (int j = 0; j < steps; ++j)
            x[j + 1] = M::step(x[j], terms_of_lane<M, T>(job.in, at.batch, at.first + t + j, m, s));
          for (int j = steps - 1; j >= 0; --j) {
            const auto y_bar = with_members(job.out_bar, [&](const auto&... y) {
              return typename M::template outputs<T>{
                  (y.present() ? static_cast<T>(y(at.batch, at.first + t + j, m, 0)) : T(0))...};
            });
            bar = M::adjoint(x[j], terms_of_lane<M, T>(job.in, at.batch, at.first + t + j, m, s), x[j + 1], bar, y_bar)
                      .earlier;
          }
        }
      }
      arrays.carry.set(slot + k - 1, lane, bar);
    }
  }
}

}  // namespace kalscan::detail
