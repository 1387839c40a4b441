// SPDX-License-Identifier: MIT
// Some lines of channels of a mixer's adjoint, taken through time from the last step on, tile by tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/chains.hpp>
#include <kalscan/mixer/host/gradients.hpp>
#include <kalscan/mixer/host/line.hpp>
#include <kalscan/mixer/host/recompute.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/aligned_vector.hpp>
#include <kalscan/support/vector_loops_begin.hpp>

namespace kalscan::detail {

/// A traversal as `mixer_chains` wants it: the states that it carries are the adjoints of the mixer's. Allocates its
/// tiles when it is made, and nothing after that.
template <class Call>
class backward_traversal {
 private:
  using M = typename Call::mixer;
  using T = typename Call::number;
  using outputs = typename M::template outputs<T>;
  using state_arrays = lane_words<typename M::template state<T>, T>;
  static constexpr std::int64_t W = line_width<T>;
  static constexpr std::size_t output_count = array_size<outputs, T>;

 public:
  using mixer = M;
  using number = T;
  using state = typename M::template state<T>;
  static constexpr auto direction = time_direction::backward;
  static constexpr bool splits = mixer_with_adjoint_elements<M>;

  backward_traversal(const Call& call, gradient_parts<Call>& parts, std::int64_t strip, std::int64_t first_line,
                     std::int64_t last_line)
      : call_(call),
        states_(call, first_line, last_line - first_line),
        sums_(call, parts, strip, first_line, last_line - first_line) {
    out_bar_.resize(output_count * static_cast<std::size_t>(tile_steps * W));
  }

  static auto monoid() requires splits { return M::template adjoint_monoid<T>(); }
  template <class Element>
  static state act(const Element& x, const state& later) {
    return M::adjoint_act(x, later);
  }

  /// The numbers of the final states' adjoints as they are given; `take` makes of them what is carried.
  void load(std::int64_t n, T* bars) {
    const auto final = tensors_of<const T>(call_.states.final_bar);
    for (std::int64_t g = 0; g < states_.lines(); ++g) {
      const state_arrays x{line_of(bars, g)};
      for_each_lane<T>(call_.shape.states, [&](std::int64_t s, std::int64_t w) {
        x.set(s, w, from_fields<state, T>([&](auto i) {
                return final[i].present() && w < stage().width(g) ? final[i](n, 0, stage().channel(g) + w, s) : T(0);
              }));
      });
    }
  }
  /// Writes or sums the adjoints of the inputs.
  void take(std::int64_t n, std::int64_t from, std::int64_t to, T* bars) {
    const sequence_range at = call_.sequence_at(n);
    states_.each_tile(
        n, from, to,
        [&](std::int64_t t, std::int64_t steps, std::int64_t g) {
          T* bar = line_of(bars, g);
          stage_out_bar(at.batch, at.first + t, steps, g);
          if (t + steps == at.length && at.ends) take_final(steps, bar);
          adjoint_steps<true>(steps, g, bar);
          if (t == 0 && at.begins) give_initial(0, bar);
          sums_.add_line(at, stage(), t, steps, g);
        },
        [&](std::int64_t t, std::int64_t steps) { sums_.finish_tile(at, t, steps); });
  }
  /// Inside a sequence: not its first or last steps.
  void advance(std::int64_t n, std::int64_t from, std::int64_t to, T* bars) {
    each_tile_inside(n, from, to,
                     [&](std::int64_t steps, std::int64_t g) { adjoint_steps<false>(steps, g, line_of(bars, g)); });
  }
  void store(std::int64_t n, T* bars) {
    for (std::int64_t g = 0; g < states_.lines(); ++g) {
      T* bar = line_of(bars, g);
      const sequence_range at = call_.sequence_at(n);
      if (at.length == 0) {
        states_.load_only(n, g);
        if (at.ends) take_final(0, bar);
        give_initial(0, bar);
      }
      store_line(call_.states.initial_bar, n, 0, bar, call_.shape.states, stage().channel(g), stage().width(g),
                 call_.states.accumulate);
    }
  }
  void finish(std::int64_t slot) { sums_.finish(slot); }

  sequence_range range(std::int64_t n) const { return call_.sequence_at(n); }
  static bool enters(const sequence_range& at) { return at.ends; }
  static bool leaves(const sequence_range& at) { return at.begins; }
  /// For a stretch without steps of a sequence that ranks share.
  void load_empty(std::int64_t n, T* bars) {
    load(n, bars);
    for (std::int64_t g = 0; g < states_.lines(); ++g) {
      states_.load_only(n, g);
      take_final(0, line_of(bars, g));
    }
  }
  void store_end(std::int64_t, const T*) {}
  void take_end(std::int64_t n, T* bars) {
    if (call_.sequence_at(n).begins && call_.sequence_at(n).length == 0) store(n, bars);
  }

  void absorb(std::int64_t n, std::int64_t from, std::int64_t to, T* elements) requires splits {
    using element_words = lane_words<element_t<decltype(monoid())>, T>;
    const std::int64_t S = call_.shape.states, length = element_words::length(S);
    for (std::int64_t g = 0; g < states_.lines(); ++g) {
      const element_words x{elements + g * length};
      for_each_lane<T>(S, [&](std::int64_t s, std::int64_t w) { x.set(s, w, monoid().identity()); });
    }
    each_tile_inside(n, from, to, [&](std::int64_t steps, std::int64_t g) {
      absorb_steps(steps, g, element_words{elements + g * length});
    });
  }

 private:
  const tile_stage<Call>& stage() const { return states_.stage(); }
  T* line_of(T* bars, std::int64_t g) const { return bars + g * states_.line_length(); }

  template <class Visit>
  void each_tile_inside(std::int64_t n, std::int64_t from, std::int64_t to, Visit visit) {
    const sequence_range at = call_.sequence_at(n);
    states_.each_tile(
        n, from, to,
        [&](std::int64_t t, std::int64_t steps, std::int64_t g) {
          stage_out_bar(at.batch, at.first + t, steps, g);
          visit(steps, g);
        },
        [](std::int64_t, std::int64_t) {});
  }

  /// take_final converts the final states' adjoints from the form in which they are given to the one that is carried,
  /// give_initial to the form in which those of the initial states are wanted. The states are those before step t of the
  /// tile.
  void take_final(std::int64_t t, T* bar) {
    if constexpr (has_own_form<decltype(call_.states.final_bar)>) {
      if (states_.ordinary() && is_plain(call_.states.final_bar)) return;
      const state_arrays x{bar}, states = states_.before(t);
      for_each_lane<T>(call_.shape.states, [&](std::int64_t s, std::int64_t w) {
        x.set(s, w, adjoint_of(call_.states.final_bar, states(s, w), x(s, w)));
      });
    }
  }
  void give_initial(std::int64_t t, T* bar) {
    if constexpr (has_own_form<decltype(call_.states.initial_bar)>) {
      if (states_.ordinary() && is_plain(call_.states.initial_bar)) return;
      const state_arrays x{bar}, states = states_.before(t);
      for_each_lane<T>(call_.shape.states, [&](std::int64_t s, std::int64_t w) {
        x.set(s, w, numbers_of_adjoint(call_.states.initial_bar, states(s, w), x(s, w)));
      });
    }
  }

  void stage_out_bar(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    T* to = out_bar_.data();
    for_each_member(call_.out_bar, [&](const auto& y) {
      for (std::int64_t t = 0; t < steps; ++t) {
        if (y.present()) {
          gather_lanes(to + t * W, y.at(b, t0 + t, stage().channel(g), 0), y.stride[2], stage().width(g), true);
        } else {
          std::fill_n(to + t * W, W, T(0));
        }
      }
      to += tile_steps * W;
    });
  }

  template <class Elements>
  void absorb_steps(std::int64_t steps, std::int64_t g, const Elements& x) {
    if constexpr (requires { typename M::ordinary; }) {
      if (states_.ordinary()) return absorb_steps_by<typename M::ordinary>(steps, g, x);
    }
    absorb_steps_by<M>(steps, g, x);
  }
  template <class Lane, class Elements>
  KALSCAN_FLATTEN void absorb_steps_by(std::int64_t steps, std::int64_t g, const Elements x) {
    const auto combine = monoid();
    const auto u = stage().terms(g);
    const T* y_bar = out_bar_.data();
    for (std::int64_t t = steps - 1; t >= 0; --t) {
      const state_arrays before = states_.before(t), after = states_.before(t + 1);
      for (std::int64_t s = 0; s < u.states; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) {
          const auto y = from_fields<outputs, T>(
              [&](auto i) { return y_bar[(static_cast<std::int64_t>(i()) * tile_steps + t) * W + w]; });
          x.set(s, w, combine(Lane::adjoint_lift(before(s, w), u(t, s, w), after(s, w), y), x(s, w)));
        }
      }
    }
  }

  /// Takes the tile's steps backwards: changes the adjoints of the line's states and, with Gradients, adds those of the
  /// inputs to the arrays of `sums_`.
  template <bool Gradients>
  void adjoint_steps(std::int64_t steps, std::int64_t g, T* bars) {
    if constexpr (requires { typename M::ordinary; }) {
      if (states_.ordinary()) return adjoint_steps_of<typename M::ordinary, Gradients>(steps, g, bars);
    }
    adjoint_steps_of<M, Gradients>(steps, g, bars);
  }
  template <class Lane, bool Gradients>
  void adjoint_steps_of(std::int64_t steps, std::int64_t g, T* bars) {
    if constexpr (Gradients) {
      if (stage().varying()) return adjoint_steps_by<Lane, true, true>(steps, g, bars);
    }
    adjoint_steps_by<Lane, Gradients, false>(steps, g, bars);
  }
  template <class Lane, bool Gradients, bool Varying>
  KALSCAN_FLATTEN void adjoint_steps_by(std::int64_t steps, std::int64_t g, T* bars) {
    constexpr std::size_t inputs = M::inputs_info.size();
    const std::int64_t S = call_.shape.states;
    const auto u = stage().terms(g);
    [[maybe_unused]] const auto sums = sums_.tile(g);
    const state_arrays bar{bars};
    for (std::int64_t t = steps - 1; t >= 0; --t) {
      const state_arrays before = states_.before(t), after = states_.before(t + 1);
      [[maybe_unused]] T channel[inputs][std::size_t{W}] = {};
      T y_bar[output_count][std::size_t{W}];
      for (std::size_t i = 0; i < output_count; ++i) {
        std::copy_n(out_bar_.data() + (static_cast<std::int64_t>(i) * tile_steps + t) * W, W, y_bar[i]);
      }
      for (std::int64_t s = 0; s < S; ++s) {
        KALSCAN_LANES
        for (std::int64_t w = 0; w < W; ++w) {
          const auto y = from_fields<outputs, T>([&](auto i) { return y_bar[i][w]; });
          const auto back = Lane::adjoint(before(s, w), u(t, s, w), after(s, w), bar(s, w), y);
          bar.set(s, w, back.earlier);
          if constexpr (Gradients) {
            const auto x = as_array<T>(back.inputs);
            for_each_index<inputs>([&](auto i) {
              if constexpr (M::inputs_info[i].varies == role::channel) {
                channel[i][w] += x[i];
              } else if constexpr (M::inputs_info[i].varies == role::state) {
                sums.field[i][(t * S + s) * W + w] += x[i];
              } else if constexpr (Varying) {
                sums.field[i][(t * S + s) * W + w] = x[i];
              } else {
                sums.field[i][s * W + w] += x[i];
              }
            });
          }
        }
      }
      if constexpr (Gradients) {
        for_each_index<inputs>([&](auto i) {
          if constexpr (M::inputs_info[i].varies == role::channel) std::copy_n(channel[i], W, sums.field[i] + t * W);
        });
      }
    }
  }

  const Call& call_;
  recomputed_states<Call> states_;
  gradient_sums<Call> sums_;
  aligned_vector<T> out_bar_{};
};

}  // namespace kalscan::detail

#include <kalscan/support/vector_loops_end.hpp>
