// SPDX-License-Identifier: MIT
// Backward's tiles: the states before each of a tile's steps, computed again from a checkpoint and kept in shared
// memory. When a step's adjoint is done, the rows of its states are reused for what is to be summed over channels and,
// where a step is long, over a group's threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/device/carry.cuh>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/device/traversal.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>

namespace kalscan::detail {

template <class Call, lanes_kind Kind>
struct tile_state_traversal : lane_traversal<Call, Kind, decltype(Call::out_bar)> {
  using base = lane_traversal<Call, Kind, decltype(Call::out_bar)>;
  using base::call, base::layout, base::at, base::stage, base::lanes;
  using base::States, base::Full, base::Varying, base::outputs, base::all, base::reads_ahead;
  using typename base::layout_type;
  using typename base::M;
  using typename base::stage_type;
  using typename base::state;
  using typename base::T;
  using arrays_type = backward_arrays<typename base::user_mixer, T>;
  using row = vec<T, States>;
  static constexpr int steps_of_tile = backward_tile(States, sizeof(state));
  static constexpr std::size_t inputs = M::inputs_info.size(), state_arrays = array_size<state, T>;

  /// Inputs whose gradients may be summed over channels, over states, over time.
  static constexpr bool is_parameter(std::size_t i) { return M::inputs_info[i].varies == role::parameter; }
  static constexpr bool over_channels(std::size_t i) {
    return M::inputs_info[i].varies == role::state || (Varying && is_parameter(i));
  }
  static constexpr bool over_states(std::size_t i) {
    return M::inputs_info[i].varies == role::channel || (Varying && is_parameter(i));
  }
  /// The number of input i's sum among those of `summed`, which is over_channels or over_states; for i = inputs, how
  /// many sums there are.
  static constexpr int number_of_sum(std::size_t i, bool (*summed)(std::size_t)) {
    int n = 0;
    for (std::size_t k = 0; k < i; ++k) n += summed(k) ? 1 : 0;
    return n;
  }
  static constexpr int channel_sum_of(std::size_t i) { return number_of_sum(i, over_channels); }
  static constexpr int state_sum_of(std::size_t i) { return number_of_sum(i, over_states); }
  static constexpr int sums_over_channels = channel_sum_of(inputs), sums_over_states = state_sum_of(inputs);

  /// Rows that are kept of a step: the state before it and, once its adjoint is done, the thread's part of sums over
  /// threads. These sums are made once a tile; where parameters vary, so that there are more of them, every four steps,
  /// and those that do not fit the rows of a state have rows of their own (more_rows).
  static constexpr int state_rows = static_cast<int>(state_arrays);
  static constexpr int rows_of_step = Varying ? state_rows : (std::max)(state_rows, sums_over_channels);
  static constexpr int more_rows = (std::max)(sums_over_channels - rows_of_step, 0);
  static constexpr int summed_steps = Varying ? 4 : steps_of_tile;

  /// Whether pointers that advance from tile to tile lie in shared memory: where states are large, a step's adjoint needs
  /// the registers, and computing the pointers anew takes as long as a step.
  static constexpr bool parks_pointers = state_rows > 2 && !Varying && layout_type::known && Kind.group >= 4;
  static constexpr int parked_pointers = parks_pointers ? state_rows + sums_over_states : 0;

  const arrays_type& arrays;
  std::int64_t channel_block;
  row* kept;  // [step][row][thread]: the states before each step of the tile

  __device__ tile_state_traversal(const Call& call_, const layout_type& layout_, const chunk_range& at_,
                                  const arrays_type& arrays_, std::int64_t channel_block_, unsigned char* memory)
      : base(call_, call_.out_bar, layout_, at_, channel_block_ * layout_.channels(), memory + stage_offset(layout_)),
        arrays(arrays_),
        channel_block(channel_block_),
        kept(reinterpret_cast<row*>(memory)) {}
  KALSCAN_HD static std::size_t stage_offset(const layout_type& x) {
    return static_cast<std::size_t>((steps_of_tile * rows_of_step + summed_steps * more_rows) * x.threads()) *
           sizeof(row);
  }
  KALSCAN_HD static std::size_t pointers_offset(const layout_type& x) {
    return stage_offset(x) + stage_type::buffer_size(x) + stage_type::addresses_size(x);
  }
  KALSCAN_HD static std::size_t shared_size(const layout_type& x) {
    return pointers_offset(x) + static_cast<std::size_t>(parked_pointers * x.threads()) * sizeof(void*);
  }
  /// This thread's pointer number i of those in shared memory.
  template <class E>
  __device__ __forceinline__ E*& parked(int i) const {
    return reinterpret_cast<E**>(reinterpret_cast<unsigned char*>(kept) +
                                 pointers_offset(layout))[i * layout.threads() + threadIdx.x];
  }
  __device__ __forceinline__ row& kept_row(int step, int i) const {
    return kept[(step * rows_of_step + i) * layout.threads() + threadIdx.x];
  }

  /// The row of all threads for number l of a step's sums: first those over channels, then those over states.
  __device__ __forceinline__ row* sums_of(int step, int l) const {
    const int i = l < rows_of_step ? step * rows_of_step + l
                                   : steps_of_tile * rows_of_step + step % summed_steps * more_rows + l - rows_of_step;
    return kept + i * layout.threads();
  }

  __device__ __forceinline__ void keep_state(int step, const state (&x)[States]) {
    for_each_index<state_arrays>([&](auto w) {
      row r;
#pragma unroll
      for (int j = 0; j < States; ++j) r.x[j] = as_array<T>(x[j])[w()];
      kept_row(step, static_cast<int>(w())) = r;
    });
  }
  __device__ __forceinline__ void kept_state(int step, state (&x)[States]) const {
    row r[state_arrays];
#pragma unroll
    for (int w = 0; w < state_rows; ++w) r[w] = kept_row(step, w);
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = from_fields<state, T>([&](auto w) { return r[w()].x[j]; });
  }

  __device__ __forceinline__ auto checkpoints() const { return as_array<tensor<const T>>(call.states.checkpoints); }
  __device__ __forceinline__ std::int64_t checkpoint_of(std::int64_t t) const {
    return at.first_checkpoint(steps_of_tile) + t / steps_of_tile;
  }
  __device__ void load_checkpoint(std::int64_t t, state (&x)[States]) const {
    lanes.load(checkpoints(), at.batch, checkpoint_of(t), x);
  }
  /// load_next_checkpoint is to be called for the tile at t first, then for those before it, one after the other.
  __device__ __forceinline__ void seek_checkpoint(std::int64_t t) const {
    if constexpr (parks_pointers) {
      for_each_index<state_arrays>([&](auto i) {
        parked<const T>(static_cast<int>(i())) = lanes.row_of(checkpoints()[i()], at.batch, checkpoint_of(t));
      });
    }
  }
  __device__ __forceinline__ void load_next_checkpoint(std::int64_t t, state (&x)[States]) const {
    if constexpr (parks_pointers) {
      const auto from = checkpoints();
      const T* rows[state_arrays];
      for_each_index<state_arrays>([&](auto i) {
        const T*& next = parked<const T>(static_cast<int>(i()));
        rows[i()] = known_global(next);
        next = rows[i()] - from[i()].stride[1];
      });
      lanes.load(from, rows, x);
    } else {
      load_checkpoint(t, x);
    }
  }

  /// Calls tile(t, steps, ordinary) for all tiles of the chunk, from the last to the first, each with its inputs and
  /// the states before its steps in shared memory, and the states after its last step in x.
  template <class Tile>
  __device__ __forceinline__ void each_tile(state (&x)[States], Tile tile) {
    using fast = typename ordinary_of<M>::type;
    if (at.from >= at.to) return;
    const std::int64_t tiles = (at.to - at.from + steps_of_tile - 1) / steps_of_tile;
    typename stage_type::read_ahead next;
    state before[States];
    stage.seek(at.from + (tiles - 1) * steps_of_tile);
    stage.template read<true>(next, at.to - at.from - (tiles - 1) * steps_of_tile);
    seek_checkpoint(at.from + (tiles - 1) * steps_of_tile);
    load_next_checkpoint(at.from + (tiles - 1) * steps_of_tile, before);
    for (std::int64_t i = tiles - 1; i >= 0; --i) {
      const std::int64_t t = at.from + i * steps_of_tile;
      const int steps = static_cast<int>(min(static_cast<std::int64_t>(steps_of_tile), at.to - t));
      stage.write(next, 0);
      __syncthreads();
#pragma unroll
      for (int j = 0; j < States; ++j) x[j] = before[j];
      bool ordinary = steps == steps_of_tile && __all_sync(all, are_ordinary<M, T, States, true>(x));
      if (i > 0) {  // early: the steps below hide how long memory takes
        stage.template read<true>(next, steps_of_tile);
        load_next_checkpoint(t - steps_of_tile, before);
      }
      if (ordinary) {
#pragma unroll 1
        for (int step = 0; step < steps_of_tile; step += 4) {
          this->each_terms_of_four_steps(0, step, t + step, [&](int k, const auto& u) {
            keep_state(step + k, x);
            this->template take_step<fast>(u, x, no_readout{});
          });
          this->leave_frame(0, step + 3, x);
        }
        ordinary = __all_sync(all, are_ordinary<M, T, States, true>(x));
        if (!ordinary) kept_state(0, x);
      }
      if (!ordinary) {
#pragma unroll 1
        for (int step = 0; step < steps; ++step) {
          keep_state(step, x);
          this->one_step(0, step, t + step, [&](int j, const terms_t<M, T>& u) { x[j] = M::step(x[j], u); });
          if (base::frame_ends(step, steps)) this->leave_frame(0, step, x);
        }
        // The form in which an adjoint is carried depends on the state. These states may differ by rounding from the
        // checkpoint from which the next tile was computed, whose adjoints are at hand: so the checkpoint is taken.
        const bool stored = t + steps < at.length || (!ends_of(call, at.n).end && steps == steps_of_tile);
        if (ordinary_of<M>::exists && stored) load_checkpoint(t + steps, x);
      }
      tile(t, steps, ordinary);
      __syncthreads();
    }
  }

  /// The adjoints of a step's outputs: row(r) is number r of those staged by channel.
  template <class Row>
  __device__ __forceinline__ static auto output_adjoints(Row row) {
    return from_fields<typename M::template outputs<T>, T>([&](auto o) { return row(stage_type::channel_rows + o()); });
  }

  /// Calls f(i, states before, terms, adjoints of outputs) for steps i = 3, ..., 0 of the four from `step` on. At each
  /// call `after` holds the states after that step. All are seen from the frame.
  template <class F>
  __device__ __forceinline__ void each_of_four_steps_back(std::int64_t t, int step, state (&after)[States], F f) {
    const auto staged = this->four_steps_staged(0, step);
    this->enter_frame(0, step + 3, after);
    state before[2][States];
    decltype(this->step_terms(staged, 0)) u[2];
    const auto read = [&](int i) {
      if constexpr (Varying) this->parameter.load(call.in, lanes, at.batch, at.first + t + step + i);
      kept_state(step + i, before[i & 1]);
      u[i & 1] = this->step_terms(staged, i);
    };
    if (reads_ahead) read(3);
#pragma unroll
    for (int i = 3; i >= 0; --i) {
      if (!reads_ahead || i > 0) read(reads_ahead ? i - 1 : i);
      f(i, before[i & 1], u[i & 1], output_adjoints([&](std::size_t r) { return staged.rows[r].x[i]; }));
#pragma unroll
      for (int j = 0; j < States; ++j) after[j] = before[i & 1][j];
    }
  }
  /// Calls f(j, state before, terms, adjoints of outputs) for the lanes of one of the tile's `steps` steps, with `after`
  /// as above.
  template <class F>
  __device__ __forceinline__ void each_lane_back(std::int64_t t, int step, int steps, state (&after)[States], F f) {
    if (base::frame_ends(step, steps)) this->enter_frame(0, step, after);
    state before[States];
    kept_state(step, before);
    const T* rows = stage.rows_of(0, lanes.c) + step;
    const auto y_bar = output_adjoints([&](std::size_t r) { return rows[r * layout.tile()]; });
    this->one_step(0, step, t + step, [&](int j, const terms_t<M, T>& u) {
      f(j, before[j], u, y_bar);
      after[j] = before[j];
    });
  }

  /// Sums over the block's channels what the adjoints of steps [first_step, first_step + summed_steps) of the tile at t
  /// left in sums_of, and writes the sums to the workspace.
  __device__ __forceinline__ void sum_over_channels(std::int64_t t, int first_step, int steps) const {
    const channel_sum_rows sums(summed_steps, layout.group());
    const int part = sums.part(static_cast<int>(threadIdx.x));
    const std::int64_t S = call.shape.states;
    const std::int64_t tile = ((channel_block * call.shape.batch + at.batch) * call.shape.time + at.first + t) * S;
#pragma unroll 1
    for (int first = 0; first < sums.rows; first += sums.rows_at_once()) {  // once, unless groups are large
      const int i = first + sums.first_row(static_cast<int>(threadIdx.x)), g = sums.thread_of_group(i);
      const int step = first_step + sums.step(i);
      const std::int64_t to = tile + step * S + g * States;
      for_each_index<inputs>([&](auto k) {
        if constexpr (over_channels(k())) {
          if (arrays.how[k()] != device_gathering::over_channels) return;
          sum_row(sums_of(step, channel_sum_of(k())) + part * layout.group() + g, arrays.over_channels[k()] + to, part,
                  sums.parts, step < steps, static_cast<int>(S) - g * States);
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
    const int first = own_step(part, parts), count = own_steps(parts);
#pragma unroll
    for (int j0 = 0; j0 < States; j0 += 4) {
      T some[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) some[j] = r.x[j0 + j];
      sum_over_group(some, part, parts);
      if (!in_tile || part >= 4) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (j < count && (Full || j0 + first + j < states)) to[j0 + first + j] = some[j];
      }
    }
  }
  __device__ __forceinline__ static void add_row(row& r, const row& more) {
#pragma unroll
    for (int j = 0; j < States; ++j) r.x[j] += more.x[j];
  }
};

}  // namespace kalscan::detail
