// SPDX-License-Identifier: MIT
// The traversal of a chunk of time forward, by one block: replayed, with outputs and checkpoints, or absorbed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/carry.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/stage.cuh>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/device/traversal.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>

namespace kalscan::detail {

/// When the next checkpoint of a chunk is due, and where it goes.
template <class Call>
struct checkpoints_ahead {
  const Call& call;
  const chunk_range& at;
  bool wanted;
  std::int64_t step = 0, index = 0;  ///< of the next one; index is on the time axis of the checkpoints

  __device__ checkpoints_ahead(const Call& call_, const chunk_range& at_) : call(call_), at(at_) {
    wanted = as_array<tensor<typename Call::number>>(call.states.checkpoints)[0].present();
    seek(at.from);
  }
  /// The next one is the first one from step t on.
  __device__ __forceinline__ void seek(std::int64_t t) {
    if (!wanted) return;
    const std::int64_t every = call.states.every, passed = (t + every - 1) / every;
    step = passed * every;
    index = at.first_checkpoint(every) + passed;
  }
  __device__ __forceinline__ bool is_due(std::int64_t t) const { return wanted && t == step; }
  template <class Lanes, class X>
  __device__ __forceinline__ void store_if_due(std::int64_t t, const Lanes& lanes, const X& x) {
    if (!is_due(t)) return;
    lanes.store(call.states.checkpoints, at.batch, index, x);
    step += call.states.every, ++index;
  }
};

/// Writes one number of an output, as it is stored.
template <class Tensor, class T>
__device__ __forceinline__ void write_output(char* to, const Tensor&, const T& value) {
  using E = typename Tensor::value_type;
  *reinterpret_cast<E*>(to) = static_cast<E>(value);
}

template <class Call, lanes_kind Kind>
struct device_forward_traversal : lane_traversal<Call, Kind> {
  using base = lane_traversal<Call, Kind>;
  using base::call, base::layout, base::at, base::stage, base::lanes;
  using base::States, base::outputs, base::all, base::framed;
  using typename base::layout_type;
  using typename base::M;
  using typename base::numbers;
  using typename base::staged_steps;
  using typename base::state;
  using typename base::T;
  using typename base::user_mixer;
  using direction = forward_in_time<Call>;
  using element = typename direction::element;
  static constexpr bool splits = direction::splits && Kind.splits;
  /// How many blocks a multiprocessor has registers for.
  static constexpr int blocks = !layout_type::known ? 1 : States <= 4 && sizeof(T) == 4 && sizeof(state) <= 8 ? 3 : 2;

  /// A copy of the states before a tile, for the case that states in it turn out not to be ordinary.
  parked_states<state, T, States> parked;
  /// The bytes of shared memory: the stage's two buffers, and the states that are parked.
  KALSCAN_HD static std::size_t shared_size(const layout_type& x) {
    return 2 * base::stage_type::buffer_size(x) + (ordinary_of<M>::exists ? decltype(parked)::size() : 0);
  }

  /// Whole tiles store checkpoints only where they fall on multiples of this distance or of the tile's length, if that
  /// is less. It is the distance of backward's checkpoints for up to 128 states; for more, tiles have no more steps
  /// than that.
  static constexpr int checkpoint_distance = backward_tile(4, sizeof(state));
  static constexpr bool checkpoints_in_tiles = checkpoint_distance < 16;

  checkpoints_ahead<Call> checkpoints;

  __device__ device_forward_traversal(const Call& call_, const layout_type& layout_, const chunk_range& at_,
                                      const typename direction::arrays&, std::int64_t channel_block,
                                      unsigned char* memory)
      : base(call_, no_bars_on_device(), layout_, at_, channel_block * layout_.channels(), memory),
        parked{memory + 2 * base::stage_type::buffer_size(layout_)},
        checkpoints(call_, at_) {}

  /// Calls tile(buffer, t, steps) for all tiles of the chunk, each in shared memory by then.
  template <class Tile>
  __device__ __forceinline__ void each_tile(Tile tile) {
    if (at.from >= at.to) return;
    typename base::stage_type::read_ahead next;
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

  /// Takes all steps of a whole tile by the formulas of Lane, and stores the checkpoints that are due in it. `to` is where
  /// this thread's outputs of the tile go.
  template <class Lane, bool Emit>
  __device__ __forceinline__ void whole_tile(int buffer, std::int64_t t, state (&x)[States], char* (&to)[outputs]) {
    const int distance = checkpoints_in_tiles ? min(checkpoint_distance, layout.tile()) : layout.tile();
#pragma unroll 1
    for (int begin = 0; begin < layout.tile(); begin += distance) {
      checkpoints.store_if_due(t + begin, lanes, x);
      unsigned writes = 0;  // bit o: this thread writes output o
      for_each_index<outputs>([&](auto o) {
        if (Emit && member<o()>(call.out).present() && lanes.owns_channel && lanes.g < 4) writes |= 1U << o();
      });
      asm("" : "+r"(writes));  // else the compiler would find it out again for each step
      // Four steps fit the L0 instruction cache, a tile's do not.
#pragma unroll 1
      for (int step = begin; step < begin + distance; step += 4) {
        if constexpr (!Emit) {
          this->each_of_four_steps(buffer, step, t + step, [&](const staged_steps& staged, int i) {
            this->template take_step<Lane>(this->step_terms(staged, i), x, no_readout{});
          });
        } else {
          T sum[outputs][4];
          this->each_of_four_steps(buffer, step, t + step, [&](const staged_steps& staged, int i) {
            readout_sums<M, T, States> sums;
            this->template take_step<Lane>(this->step_terms(staged, i), x, sums);
            const auto y = sums.total();
            for_each_index<outputs>([&](auto o) { sum[o()][i] = y[o()]; });
          });
          if constexpr (framed) {
            for_each_index<outputs>([&](auto o) { sum_over_group(sum[o()], lanes.g, layout.group()); });
            outputs_leave_frame(buffer, step, sum);
          }
          for_each_index<outputs>([&](auto o) {
            if constexpr (!framed) sum_over_group(sum[o()], lanes.g, layout.group());
            const auto& y = member<o()>(call.out);
            const std::int64_t stride = bytes_of_step(y);
            char* pointer = to[o()];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if ((writes >> o() & 1U) != 0 && i < own_steps(layout.group())) write_output(pointer, y, sum[o()][i]);
              if (i + 1 < 4) pointer += stride;
            }
            to[o()] += 4 * stride;
          });
        }
        this->leave_frame(buffer, step + 3, x);
      }
    }
  }
  /// Takes out of the frame the outputs of those of the four steps whose sums this thread has.
  __device__ __forceinline__ void outputs_leave_frame(int buffer, int step, T (&sum)[outputs][4]) const {
    if constexpr (framed) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (i >= own_steps(layout.group())) break;
        T one[outputs];
        for_each_index<outputs>([&](auto o) { one[o()] = sum[o()][i]; });
        leave_frame_of_step(buffer, step + own_step(lanes.g, layout.group()) + i, one);
        for_each_index<outputs>([&](auto o) { sum[o()][i] = one[o()]; });
      }
    }
  }
  __device__ __forceinline__ void leave_frame_of_step(int buffer, int step, T (&one)[outputs]) const {
    if constexpr (framed) {
      using Y = typename M::template outputs<T>;
      const auto y = as_array<T>(user_mixer::frame::out_of(
          this->frame_after(buffer, step), from_fields<Y, T>([&](auto o) { return one[o()]; })));
      for_each_index<outputs>([&](auto o) { one[o()] = y[o()]; });
    }
  }

  /// Takes `steps` steps of a tile one by one, by the formulas that hold everywhere; a checkpoint may be due before any of them.
  __device__ __forceinline__ void single_steps(int buffer, std::int64_t t, int steps, bool emits, state (&x)[States]) {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      checkpoint_within_frame(buffer, step, t + step, x);
      readout_sums<M, T, States> sums;
      this->one_step(buffer, step, t + step, [&](int j, const terms_t<M, T>& u) {
        x[j] = M::step(x[j], u);
        this->template read_out<M>(j, x[j], u, sums);
      });
      if (emits) {
        char* to[outputs];
        output_pointers(t + step, to);
        T sum[outputs];
        const auto y = sums.total();
        for_each_index<outputs>([&](auto o) { sum[o()] = sum_over_group(y[o()], layout.group()); });
        leave_frame_of_step(buffer, step, sum);
        for_each_index<outputs>([&](auto o) {
          const auto& y = member<o()>(call.out);
          if (y.present() && lanes.owns_channel && lanes.g == 0) write_output(to[o()], y, sum[o()]);
        });
      }
      if (base::frame_ends(step, steps)) this->leave_frame(buffer, step, x);
    }
  }
  /// Stores a checkpoint, if one is due, of the states before step `step` of a tile, which are in the frame of the step before.
  __device__ __forceinline__ void checkpoint_within_frame(int buffer, int step, std::int64_t t,
                                                          const state (&x)[States]) {
    if constexpr (framed) {
      if (step % steps_of_frame != 0) {
        if (!checkpoints.is_due(t)) return;
        state seen[States];
#pragma unroll
        for (int j = 0; j < States; ++j) seen[j] = x[j];
        this->leave_frame(buffer, step - 1, seen);
        return checkpoints.store_if_due(t, lanes, seen);
      }
    }
    checkpoints.store_if_due(t, lanes, x);
  }

  __device__ __forceinline__ void load_start(state (&x)[States]) {
    load_initial_states<States>(call, lanes, at.n, x);
  }

  __device__ __forceinline__ void go_on() {}

  /// Takes the whole chunk: x, the states before it, become those after it.
  __device__ __forceinline__ void replay(state (&x)[States]) {
    using fast = typename ordinary_of<M>::type;
    const bool emits = with_members(call.out, [](const auto&... y) { return (y.present() || ...); });
    const int distance = min(checkpoint_distance, layout.tile());
    const bool aligned = !checkpoints.wanted || (call.states.every % distance == 0 && at.from % distance == 0);
    bool ordinary = aligned && __all_sync(all, are_ordinary<M, T, States>(x));
    char* to[outputs];
    const auto seek = [&](std::int64_t t) { output_pointers(t + own_step(lanes.g, layout.group()), to); };
    seek(at.from);
    each_tile([&](int buffer, std::int64_t t, int steps) {
      if (ordinary && steps == layout.tile()) {
        if constexpr (ordinary_of<M>::exists) parked.put(x);
        if (emits) {
          whole_tile<fast, true>(buffer, t, x, to);
        } else {
          whole_tile<fast, false>(buffer, t, x, to);
        }
        if constexpr (!ordinary_of<M>::exists) {
          return;
        } else {
          if (__all_sync(all, are_ordinary<M, T, States>(x))) return;
          parked.take(x);
          if constexpr (checkpoints_in_tiles) checkpoints.seek(t);
        }
      }
      __syncwarp();  // other threads of the warp may have written outputs that are written again
      single_steps(buffer, t, steps, emits, x);
      seek(t + layout.tile());
      ordinary = aligned && __all_sync(all, are_ordinary<M, T, States>(x));
    });
    if (at.to == at.length) {
      if constexpr (on_stretch<Call>) {
        // The next rank starts from the states that this rank's elements led to; so must the backward pass of this rank.
        const stretch_ends ends = ends_of(call, at.n);
        if (checkpoints.wanted && !ends.end && !(ends.begin && at.chunks == 1))
          lanes.load(call.leaving, call.shared(at.n), x);
      }
      checkpoints.store_if_due(at.length, lanes, x);
      if (!ends_of(call, at.n).end) return;
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = numbers_of(call.states.final, x[j]);  // nobody needs the states any more
      lanes.store(call.states.final, at.n, 0, x);
    }
  }

  /// Absorbs the whole chunk, into runs of steps or into elements.
  __device__ __forceinline__ void absorb(element (&e)[States]) requires mixer_with_elements<M> {
#pragma unroll
    for (int j = 0; j < States; ++j) e[j] = no_steps();
    [[maybe_unused]] auto total = no_frame<user_mixer, T>();
    const auto turn = [&](int buffer, int step) {
      if constexpr (framed) {
        this->leave_frame(buffer, step, e);
        total = user_mixer::frame::compose(total, this->frame_after(buffer, step));
      }
    };
    each_tile([&](int buffer, std::int64_t t, int steps) {
      int step = 0;
#pragma unroll 1
      for (; step + 4 <= steps; step += 4) {
        absorb_four_steps(buffer, step, t, e);
        turn(buffer, step + 3);
      }
#pragma unroll 1
      for (; step < steps; ++step) {
        this->one_step(buffer, step, t + step, [&](int j, const terms_t<M, T>& u) {
          if constexpr (mixer_with_runs<M>) {
            e[j] = M::extend(e[j], u);
            if (M::is_large(e[j])) e[j] = M::rescaled(e[j]);
          } else {
            e[j] = M::absorb(e[j], u);
          }
        });
        if (base::frame_ends(step, steps)) turn(buffer, step);
      }
    });
    if constexpr (framed) {
#pragma unroll
      for (int j = 0; j < States; ++j) e[j] = user_mixer::frame::element(total, e[j]);
    }
  }
  __device__ static element no_steps() {
    if constexpr (mixer_with_runs<M>) {
      return M::template no_steps<T>();
    } else {
      return M::template monoid<T>().identity();
    }
  }
  __device__ __forceinline__ void absorb_four_steps(int buffer, int step, std::int64_t t, element (&e)[States]) {
    if constexpr (mixer_with_runs<M>) {
      this->each_of_four_steps(buffer, step, t + step, [&](const staged_steps& staged, int i) {
        const auto run = to_wide<typename M::template run<numbers>, T>(e);
        from_wide<T>(extended<M, Kind.varying>(run, this->wide_terms(staged, i), i), e);
      });
      rescale_together<M>([&](auto f) {
#pragma unroll
        for (int j = 0; j < States; ++j) f(e[j]);
      });
    } else {
      this->each_of_four_steps(buffer, step, t + step, [&](const staged_steps& staged, int i) {
#pragma unroll
        for (int j = 0; j < States; ++j) e[j] = M::absorb(e[j], this->terms(staged, i, j));
      });
    }
  }
};

}  // namespace kalscan::detail
