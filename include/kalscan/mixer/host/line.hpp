// SPDX-License-Identifier: MIT
// Lines of channels (see README.md): how their states, elements and adjoints lie in memory, and the loop that takes them
// through the steps of a tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <type_traits>

#include <kalscan/support/vector_loops_begin.hpp>

namespace kalscan::detail {

/// The states, or elements, of all lanes of a line, as numbers [state][number][channel]: neighbouring channels side by
/// side.
template <class X, class T>
struct lane_words {
  static constexpr auto count = static_cast<std::int64_t>(array_size<X, T>);
  static constexpr std::int64_t W = line_width<T>;
  T* first;

  static std::int64_t length(std::int64_t states) { return count * states * W; }
  X operator()(std::int64_t s, std::int64_t w) const {
    return from_fields<X, T>([&](auto i) { return first[(s * count + static_cast<std::int64_t>(i())) * W + w]; });
  }
  void set(std::int64_t s, std::int64_t w, const X& x) const {
    const auto numbers = as_array<T>(x);
    for_each_index<array_size<X, T>>(
        [&](auto i) { first[(s * count + static_cast<std::int64_t>(i())) * W + w] = numbers[i]; });
  }
};

/// Calls f(s, w) on every lane of a line.
template <class T, class F>
void for_each_lane(std::int64_t states, F f) {
  for (std::int64_t s = 0; s < states; ++s) {
    for (std::int64_t w = 0; w < line_width<T>; ++w) f(s, w);
  }
}

/// Fills a line's states: read(channel, state) gives that of a lane. Channels beyond `width` do not exist, and get
/// M::start.
template <class M, class T, class Read>
void load_line(T* state, std::int64_t states, std::int64_t channel, std::int64_t width, Read read) {
  const lane_words<typename M::template state<T>, T> x{state};
  for_each_lane<T>(states, [&](std::int64_t s, std::int64_t w) {
    x.set(s, w, w < width ? read(channel + w, s) : M::template start<T>());
  });
}

/// Writes a line's states to those of the tensors that are present.
template <class T, class Tensors>
void store_line(const Tensors& tensors, std::int64_t n, std::int64_t t, const T* state, std::int64_t states,
                std::int64_t channel, std::int64_t width, bool add = false) {
  constexpr std::int64_t W = line_width<T>;
  const auto to = tensors_of<T>(tensors);
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (!to[i].present()) continue;
    for (std::int64_t s = 0; s < states; ++s) {
      const T* from = state + (s * std::ssize(to) + static_cast<std::int64_t>(i)) * W;
      for (std::int64_t w = 0; w < width; ++w) {
        T& x = to[i](n, t, channel + w, s);
        x = add ? x + from[w] : from[w];
      }
    }
  }
}

/// Whether the formulas of ordinary states hold for the states of a line or, with Adjoint, for their adjoints too.
template <class M, bool Adjoint = false, class T>
bool all_ordinary(const T* state, std::int64_t states) {
  const lane_words<typename M::template state<T>, T> x{const_cast<T*>(state)};
  int ordinary = 1;
  for (std::int64_t s = 0; s < states; ++s) {
    int all = 1;
    for (std::int64_t w = 0; w < line_width<T>; ++w) all &= is_ordinary_state<M, Adjoint>(x(s, w));
    ordinary &= all;
  }
  return ordinary != 0;
}

/// Takes `steps` steps of a line. The states before step t are at state + t * advance, and those after it `advance`
/// further on (0: in place). With Emit, out holds the outputs, [output][step of a tile][lane].
template <class Lane, bool Emit, class M, class T>
KALSCAN_FLATTEN void take_steps(const tile_terms<M, T> u, std::int64_t steps, T* state, std::int64_t advance, T* out) {
  constexpr std::int64_t W = line_width<T>;
  constexpr std::size_t outputs = array_size<typename M::template outputs<T>, T>;
  const std::int64_t S = u.states;
  for (std::int64_t t = 0; t < steps; ++t) {
    const lane_words<typename M::template state<T>, T> before{state + t * advance},
        after{state + t * advance + advance};
    T sum[outputs][std::size_t{W}];
    using read_type = typename M::template outputs<T>;
    const auto one_state = [&](std::int64_t s, auto first) {
      KALSCAN_LANES
      for (std::int64_t w = 0; w < W; ++w) {
        const auto terms = u(t, s, w);
        const auto x = Lane::step(before(s, w), terms);
        if constexpr (Emit) {
          const auto read = [&] {
            if constexpr (first()) {
              return Lane::readout(x, terms);
            } else {
              return readout_onto<Lane, T>(from_fields<read_type, T>([&](auto i) { return sum[i()][w]; }), x, terms);
            }
          };
          const auto y = as_array<T>(read());
          for_each_index<outputs>([&](auto i) { sum[i()][w] = y[i()]; });
        }
        after.set(s, w, x);
      }
    };
    if (S > 0)
      one_state(0,
                std::true_type{});  // so that sums need not be zero before: clearing them takes as long as a few states
    for (std::int64_t s = 1; s < S; ++s) one_state(s, std::false_type{});
    if constexpr (Emit) {
      for (std::size_t i = 0; i < outputs; ++i) {
        for (std::int64_t w = 0; w < W; ++w)
          out[(static_cast<std::int64_t>(i) * tile_steps + t) * W + w] = S > 0 ? sum[i][w] : T(0);
      }
    }
  }
}

/// The same, with the formulas of ordinary states where these suffice. In place, `saved` has room for the states;
/// `ordinary` is whether they are that, before and after.
template <bool Emit, class M, class T>
void advance_line(const tile_terms<M, T>& u, std::int64_t steps, T* state, std::int64_t advance, T* out, T* saved,
                  [[maybe_unused]] char& ordinary) {
  if constexpr (requires { typename M::ordinary; }) {
    if (ordinary) {
      const std::int64_t length = lane_words<typename M::template state<T>, T>::length(u.states);
      if (advance == 0) std::copy_n(state, length, saved);
      take_steps<typename M::ordinary, Emit>(u, steps, state, advance, out);
      for (std::int64_t t = advance == 0 ? steps : 1; t <= steps && ordinary; ++t) {
        ordinary = advance == 0 ? all_ordinary<M>(state, u.states)
                                : all_ordinary<M, true>(state + t * advance, u.states);  // of the backward pass
      }
      if (ordinary) return;
      if (advance == 0) std::copy_n(saved, length, state);
    }
    take_steps<M, Emit>(u, steps, state, advance, out);
    ordinary = advance == 0 && all_ordinary<M>(state, u.states);
  } else {
    take_steps<M, Emit>(u, steps, state, advance, out);
  }
}

/// Whether all states are ordinary; false of a mixer that knows of no ordinary ones.
template <class M, bool Adjoint = false, class T>
char is_ordinary(const T* state, std::int64_t states) {
  if constexpr (requires { typename M::ordinary; }) {
    return all_ordinary<M, Adjoint>(state, states);
  } else {
    return false;
  }
}

}  // namespace kalscan::detail

#include <kalscan/support/vector_loops_end.hpp>
