// SPDX-License-Identifier: MIT
// Some lines of channels of a mixer's call, taken through time from the first step on, tile by tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/chains.hpp>
#include <kalscan/mixer/host/line.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/aligned_vector.hpp>
#include <kalscan/support/vector_loops_begin.hpp>
#include <vector>

namespace kalscan::detail {

/// A traversal as `mixer_chains` wants it. Allocates its tiles when it is made, and nothing after that.
template <class Call>
class forward_traversal {
 private:
  using M = typename Call::mixer;
  using T = typename Call::number;
  using state_arrays = lane_words<typename M::template state<T>, T>;
  static constexpr std::int64_t W = line_width<T>;

 public:
  using mixer = typename Call::mixer;
  using number = typename Call::number;
  using state = typename mixer::template state<number>;
  static constexpr auto direction = time_direction::forward;
  static constexpr bool splits = mixer_with_elements<mixer>;

  forward_traversal(const Call& call, std::int64_t first_line, std::int64_t last_line)
      : call_(call), stage_(call, first_line, last_line - first_line), lines_(last_line - first_line) {
    with_members(call.out, [&](const auto&... y) { emits_ = (y.present() || ...); });
    checkpoints_ = as_array<tensor<T>>(call.states.checkpoints)[0].present();
    const auto outputs = static_cast<std::int64_t>(array_size<typename M::template outputs<T>, T>);
    out_.resize(static_cast<std::size_t>(outputs * tile_steps * W));
    saved_.resize(static_cast<std::size_t>(line_length()));
    ordinary_.resize(static_cast<std::size_t>(lines_));
  }

  static auto monoid() requires splits { return M::template monoid<T>(); }
  template <class Element>
  static state act(const Element& x, const state& before) {
    return M::act(x, before);
  }

  void load(std::int64_t n, T* states) {
    for (std::int64_t g = 0; g < lines_; ++g) {
      load_line<M>(states + g * line_length(), call_.shape.states, stage_.channel(g), stage_.width(g),
                   [&](std::int64_t m, std::int64_t s) { return call_.states.initial(n, m, s); });
    }
  }
  /// Writes outputs and checkpoints.
  void take(std::int64_t n, std::int64_t from, std::int64_t to, T* states) { each_tile<true>(n, from, to, states); }
  void advance(std::int64_t n, std::int64_t from, std::int64_t to, T* states) { each_tile<false>(n, from, to, states); }
  void store(std::int64_t n, const T* states) {
    checkpoint(n, call_.sequence_at(n).length, states);
    store_final(n, states);
  }
  void finish(std::int64_t) {}

  sequence_range range(std::int64_t n) const { return call_.sequence_at(n); }
  static bool enters(const sequence_range& at) { return at.begins; }
  static bool leaves(const sequence_range& at) { return !at.is_shared(); }
  /// For sequences that ranks share. load_empty is for a rank without steps of one; store_end leaves the checkpoint after
  /// the last step here; take_end stores the final states.
  void load_empty(std::int64_t n, T* states) { load(n, states); }
  void store_end(std::int64_t n, const T* states) { checkpoint(n, call_.sequence_at(n).length, states); }
  void take_end(std::int64_t n, const T* states) {
    for (std::int64_t g = 0; g < lines_; ++g) {
      ordinary_[static_cast<std::size_t>(g)] = is_ordinary<M>(states + g * line_length(), call_.shape.states);
    }
    store_final(n, states);
  }

  void absorb(std::int64_t n, std::int64_t from, std::int64_t to, T* elements) requires splits {
    using element = element_t<decltype(monoid())>;
    const std::int64_t S = call_.shape.states;
    const sequence_range at = call_.sequence_at(n);
    stage_.start_batch(at.batch);
    for (std::int64_t t = from; t < to;) {
      const std::int64_t steps = (std::min)(tile_steps, to - t);
      stage_.stage_states(at.batch, at.first + t, steps);
      for (std::int64_t g = 0; g < lines_; ++g) {
        stage_.stage_line(at.batch, at.first + t, steps, g);
        const auto u = stage_.terms(g);
        const lane_words<element, T> x{elements + g * lane_words<element, T>::length(S)};
        if (t == from) {
          for_each_lane<T>(S, [&](std::int64_t s, std::int64_t w) { x.set(s, w, monoid().identity()); });
        }
        absorb_steps(u, steps, x);
      }
      t += steps;
    }
  }

 private:
  std::int64_t line_length() const { return state_arrays::length(call_.shape.states); }

  template <bool Writes>
  void each_tile(std::int64_t n, std::int64_t from, std::int64_t to, T* states) {
    const sequence_range at = call_.sequence_at(n);
    stage_.start_batch(at.batch);
    for (std::int64_t g = 0; g < lines_; ++g) {
      ordinary_[static_cast<std::size_t>(g)] = is_ordinary<M>(states + g * line_length(), call_.shape.states);
    }
    for (std::int64_t t = from; t < to;) {
      if constexpr (Writes) checkpoint(n, t, states);
      const std::int64_t steps = tile(t, to);
      stage_.stage_states(at.batch, at.first + t, steps);
      for (std::int64_t g = 0; g < lines_; ++g) {
        stage_.stage_line(at.batch, at.first + t, steps, g);
        T* line = states + g * line_length();
        char& ordinary = ordinary_[static_cast<std::size_t>(g)];
        if (Writes && emits_) {
          prefetch(at.batch, at.first + t, steps, g);
          advance_line<true, M>(stage_.terms(g), steps, line, 0, out_.data(), saved_.data(), ordinary);
          write(at.batch, at.first + t, steps, g);
        } else {
          advance_line<false, M>(stage_.terms(g), steps, line, 0, out_.data(), saved_.data(), ordinary);
        }
      }
      t += steps;
    }
  }

  template <class Terms, class Elements>
  KALSCAN_FLATTEN static void absorb_steps(const Terms u, std::int64_t steps, const Elements x) {
    for (std::int64_t t = 0; t < steps; ++t) {
      for (std::int64_t s = 0; s < u.states; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) x.set(s, w, M::absorb(x(s, w), u(t, s, w)));
      }
    }
  }

  std::int64_t tile(std::int64_t t, std::int64_t to) const {
    std::int64_t steps = (std::min)(tile_steps, to - t);
    if (checkpoints_) steps = (std::min)(steps, call_.states.every - t % call_.states.every);
    return steps;
  }
  void checkpoint(std::int64_t n, std::int64_t t, const T* states) {
    if (!checkpoints_ || t % call_.states.every != 0) return;
    const std::int64_t index = first_checkpoint(call_.shape, n, call_.states.every) + t / call_.states.every;
    for (std::int64_t g = 0; g < lines_; ++g) {
      store_line(call_.states.checkpoints, call_.sequence_at(n).batch, index, states + g * line_length(),
                 call_.shape.states, stage_.channel(g), stage_.width(g));
    }
  }
  /// Stores the final states in the form that is wanted. Uses `saved_`.
  void store_final(std::int64_t n, const T* states) {
    for (std::int64_t g = 0; g < lines_; ++g) {
      const T* line = states + g * line_length();
      if constexpr (has_own_form<decltype(call_.states.final)>) {
        if (!is_plain(call_.states.final) || !ordinary_[static_cast<std::size_t>(g)]) {
          const state_arrays x{const_cast<T*>(line)}, numbers{saved_.data()};
          for_each_lane<T>(call_.shape.states, [&](std::int64_t s, std::int64_t w) {
            numbers.set(s, w, numbers_of(call_.states.final, x(s, w)));
          });
          line = saved_.data();
        }
      }
      store_line(call_.states.final, n, 0, line, call_.shape.states, stage_.channel(g), stage_.width(g));
    }
  }
  void prefetch(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    for_each_member(call_.out, [&](const auto& y) {
      for (std::int64_t t = 0; t < steps && y.present(); ++t) {
        prefetch_lanes<true>(y.at(b, t0 + t, stage_.channel(g), 0), y.stride[2], stage_.width(g));
      }
    });
  }
  void write(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    for (std::int64_t t = 0; t < steps; ++t) {
      const T* from = out_.data() + t * W;
      for_each_member(call_.out, [&](const auto& y) {
        if (y.present()) scatter_lanes(y.at(b, t0 + t, stage_.channel(g), 0), from, y.stride[2], stage_.width(g));
        from += tile_steps * W;
      });
    }
  }

  const Call& call_;
  tile_stage<Call> stage_;
  std::int64_t lines_;
  bool emits_ = false, checkpoints_ = false;
  aligned_vector<T> out_{}, saved_{};
  std::vector<char> ordinary_{};  // for each line
};

}  // namespace kalscan::detail

#include <kalscan/support/vector_loops_end.hpp>
