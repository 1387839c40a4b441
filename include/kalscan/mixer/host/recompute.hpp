// SPDX-License-Identifier: MIT
// Computes the states of a mixer again, from checkpoints, for a backward pass: tile by tile, the last tile first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/line.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/aligned_vector.hpp>

namespace kalscan::detail {

/// The states of some lines of channels. An interval is the steps from one checkpoint to the next. Keeps the states before
/// each tile of an interval and, for one line, those before each step of one tile.
template <class Call>
class recomputed_states {
 public:
  using M = typename Call::mixer;
  using T = typename Call::number;
  using state_arrays = lane_words<typename M::template state<T>, T>;

  recomputed_states(const Call& call, std::int64_t first_line, std::int64_t lines)
      : call_(call), stage_(call, first_line, lines), lines_(lines), length_(state_arrays::length(call.shape.states)) {
    const std::int64_t interval = (std::min)(call.states.every, (std::max)(call.shape.time, std::int64_t{1}));
    const std::int64_t tiles = (interval + tile_steps - 1) / tile_steps;
    starts_.resize(static_cast<std::size_t>(tiles * lines_ * length_));
    steps_.resize(static_cast<std::size_t>((tile_steps + 1) * length_));
    saved_.resize(static_cast<std::size_t>(length_));
  }

  std::int64_t lines() const { return lines_; }
  std::int64_t line_length() const { return length_; }
  const tile_stage<Call>& stage() const { return stage_; }

  /// The line's states before step t of the tile; where t is the number of its steps, those after all of them.
  state_arrays before(std::int64_t t) { return {steps_.data() + t * length_}; }
  /// Whether the formulas of ordinary states hold for all of these and their adjoints.
  bool ordinary() const { return ordinary_; }

  /// For each tile of steps [t, t + steps) within [from, to) of sequence n, from the end to the beginning: calls
  /// visit(t, steps, g) for each line g, with its inputs staged and its states there, then done(t, steps). `from` is a
  /// multiple of the distance between checkpoints.
  template <class Visit, class Done>
  void each_tile(std::int64_t n, std::int64_t from, std::int64_t to, Visit visit, Done done) {
    const std::int64_t every = call_.states.every;
    const sequence_range at = call_.sequence_at(n);
    stage_.start_batch(at.batch);
    for (std::int64_t end = to; end > from;) {
      const std::int64_t begin = (std::max)(from, (end - 1) / every * every);
      start_tiles(n, begin, end);
      for (std::int64_t tile = (end - begin - 1) / tile_steps; tile >= 0; --tile) {
        const std::int64_t t = begin + tile * tile_steps, steps = (std::min)(tile_steps, end - t);
        stage_.stage_states(at.batch, at.first + t, steps);
        for (std::int64_t g = 0; g < lines_; ++g) {
          stage_.stage_line(at.batch, at.first + t, steps, g);
          std::copy_n(start_of(tile, g), length_, steps_.data());
          ordinary_ = is_ordinary<M, true>(steps_.data(), call_.shape.states);
          advance_line<false, M>(stage_.terms(g), steps, steps_.data(), length_, static_cast<T*>(nullptr),
                                 saved_.data(), ordinary_);
          if constexpr (requires { typename M::ordinary; }) {
            const bool stored = t + steps < at.length || (!at.ends && at.length % every == 0);
            if (!ordinary_ && stored) take_stored_end(n, t + steps, tile + 1, end, g, steps);
          }
          visit(t, steps, g);
        }
        done(t, steps);
      }
      end = begin;
    }
  }

  /// Where sequence n has no steps here: `before(0)` of line g is its only state.
  void load_only(std::int64_t n, std::int64_t g) {
    ordinary_ = false;
    if (!call_.sequence_at(n).begins) return load_checkpoint(n, 0, g, steps_.data());
    load_line<M>(steps_.data(), call_.shape.states, stage_.channel(g), stage_.width(g),
                 [&](std::int64_t m, std::int64_t s) { return call_.states.initial(n, m, s); });
  }

 private:
  /// Replaces the states after the tile's last step by those from which the next tile started. The two may differ by
  /// rounding, and the form in which an adjoint is carried from one tile to the other depends on them.
  void take_stored_end(std::int64_t n, std::int64_t t, std::int64_t next_tile, std::int64_t interval_end, std::int64_t g,
                       std::int64_t steps) {
    T* to = steps_.data() + steps * length_;
    if (t < interval_end) {
      std::copy_n(start_of(next_tile, g), length_, to);
    } else {
      load_checkpoint(n, t, g, to);
    }
  }
  void load_checkpoint(std::int64_t n, std::int64_t t, std::int64_t g, T* to) {
    const std::int64_t index = first_checkpoint(call_.shape, n, call_.states.every) + t / call_.states.every;
    const std::int64_t batch = call_.sequence_at(n).batch;
    const auto checkpoints = as_array<tensor<const T>>(call_.states.checkpoints);
    load_line<M>(to, call_.shape.states, stage_.channel(g), stage_.width(g), [&](std::int64_t m, std::int64_t s) {
      return from_fields<typename M::template state<T>, T>([&](auto i) { return checkpoints[i](batch, index, m, s); });
    });
  }

  T* start_of(std::int64_t tile, std::int64_t g) { return starts_.data() + (tile * lines_ + g) * length_; }

  /// Computes the states before each tile of an interval [begin, end).
  void start_tiles(std::int64_t n, std::int64_t begin, std::int64_t end) {
    const sequence_range at = call_.sequence_at(n);
    for (std::int64_t g = 0; g < lines_; ++g) load_checkpoint(n, begin, g, start_of(0, g));
    for (std::int64_t tile = 0; begin + (tile + 1) * tile_steps < end; ++tile) {
      const std::int64_t t = at.first + begin + tile * tile_steps;
      stage_.stage_states(at.batch, t, tile_steps);
      for (std::int64_t g = 0; g < lines_; ++g) {
        stage_.stage_line(at.batch, t, tile_steps, g);
        std::copy_n(start_of(tile, g), length_, start_of(tile + 1, g));
        char ordinary = is_ordinary<M>(start_of(tile, g), call_.shape.states);
        advance_line<false, M>(stage_.terms(g), tile_steps, start_of(tile + 1, g), 0, static_cast<T*>(nullptr),
                               saved_.data(), ordinary);
      }
    }
  }

  const Call& call_;
  tile_stage<Call> stage_;
  std::int64_t lines_, length_;
  aligned_vector<T> starts_{}, steps_{}, saved_{};
  char ordinary_ = false;
};

}  // namespace kalscan::detail
