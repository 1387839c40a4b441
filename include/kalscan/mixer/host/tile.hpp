// SPDX-License-Identifier: MIT
// Tiles: a few steps of a line of channels, for all states. Inputs are copied so that neighbouring lanes lie side by
// side, and converted to the number type: whatever the strides, storage types and ragged edges of the caller's arrays,
// the loops over lanes are vector code.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/aligned_vector.hpp>
#include <tuple>
#include <type_traits>

#include <kalscan/support/vector_loops_begin.hpp>

namespace kalscan::detail {

/// Channels in a line. Their numbers fill a cache line, so that threads do not share one.
template <class T>
inline constexpr std::int64_t line_width = 64 / static_cast<std::int64_t>(sizeof(T));
inline constexpr std::int64_t tile_steps = 16;

/// Copies n values at a stride.
template <class T, class E>
void gather(T* to, const E* from, std::int64_t stride, std::int64_t n) {
  if (stride == 1) {
    KALSCAN_LANES
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i * stride]);
  }
}

/// Copies 0 < n <= W values, one for each lane. Lanes beyond the edge repeat the last one, so that nothing but what
/// somebody wrote is computed with, or are zero.
template <class T, class E>
void gather_lanes(T* to, const E* from, std::int64_t stride, std::int64_t n, bool zeros = false) {
  constexpr std::int64_t W = line_width<T>;
  if (stride == 1 && n == W) {
    T lanes[std::size_t{W}];  // as a whole: what is read and what is written are not the same memory
    for (std::int64_t i = 0; i < W; ++i) lanes[i] = static_cast<T>(from[i]);
    std::copy(lanes, lanes + W, to);
    return;
  }
  gather(to, from, stride, n);
  for (std::int64_t i = n; i < W; ++i) to[i] = zeros ? T(0) : to[n - 1];
}

/// Prefetches what a line of channels has at one step: its steps lie pages apart, where hardware does not look ahead.
template <bool Write, class E>
void prefetch_lanes([[maybe_unused]] E* first, [[maybe_unused]] std::int64_t stride, [[maybe_unused]] std::int64_t n) {
#if defined(__GNUC__)
  if (stride != 1) return;
  __builtin_prefetch(first, Write);
  __builtin_prefetch(first + n - 1, Write);
#endif
}

template <class E, class T>
void scatter_lanes(E* to, const T* from, std::int64_t stride, std::int64_t n) {
  constexpr std::int64_t W = line_width<T>;
  if (stride == 1 && n == W) {
    E lanes[std::size_t{W}];
    for (std::int64_t i = 0; i < W; ++i) lanes[i] = static_cast<E>(from[i]);
    std::copy(lanes, lanes + W, to);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i * stride] = static_cast<E>(from[i]);
  }
}

/// The terms of one tile as the loops read them, those of one place side by side so that few pointers reach all: of
/// channels [step][term][lane], of states [step][state][term], of parameters [state][term][lane] or, where parameters
/// vary with time, [step][state][term][lane].
template <class M, class T>
struct tile_terms {
  using info = terms_of<M, T>;

  static constexpr std::int64_t W = line_width<T>;

  const T *channel, *state, *parameter;
  std::int64_t states;
  std::int64_t parameter_rows;  // from one step to the next: as many as states where parameters vary with time, else 0

  terms_t<M, T> operator()(std::int64_t t, std::int64_t s, std::int64_t w) const {
    return from_fields<terms_t<M, T>, T>([&](auto i) {
      constexpr role r = info::varies(i);
      constexpr std::int64_t k = terms_before<M, T>(i, r);
      if constexpr (r == role::channel) {
        return channel[(t * channel_terms<M, T> + k) * W + w];
      } else if constexpr (r == role::state) {
        return state[(t * states + s) * state_terms<M, T> + k];
      } else {
        return parameter[((t * parameter_rows + s) * parameter_terms<M, T> + k) * W + w];
      }
    });
  }
};

/// Calls f(number of the input, tensor) for each parameter.
template <class M, class In, class F>
void for_each_parameter(const In& in, F f) {
  std::size_t i = 0;
  for_each_member(in, [&](const auto& x) {
    if (M::inputs_info[i].varies == role::parameter) f(i, x);
    ++i;
  });
}

/// Whether all batches have the same parameters.
template <class Call>
bool parameters_are_shared(const Call& call) {
  bool shared = true;
  for_each_parameter<typename Call::mixer>(call.in,
                                          [&](std::size_t, const auto& x) { shared = shared && x.extent[0] == 1; });
  return shared;
}

/// Whether a parameter varies with time.
template <class Call>
bool parameters_vary(const Call& call) {
  bool vary = false;
  for_each_parameter<typename Call::mixer>(call.in, [&](std::size_t, const auto& x) { vary = vary || x.extent[1] != 1; });
  return vary;
}

/// Brings the inputs of a call into tiles. One object a task: it owns the tiles' memory.
template <class Call>
class tile_stage {
 public:
  using M = typename Call::mixer;
  using T = typename Call::number;
  using info = terms_of<M, T>;
  static constexpr std::int64_t W = line_width<T>;
  static constexpr std::size_t input_count = M::inputs_info.size();

  tile_stage(const Call& call, std::int64_t first_line, std::int64_t lines)
      : call_(call), first_line_(first_line), lines_(lines), varying_(parameters_vary(call)) {
    const std::int64_t S = call.shape.states;
    raw_.resize(static_cast<std::size_t>((std::max)(S, W)) * input_count);
    channel_.resize(static_cast<std::size_t>(tile_steps * channel_terms<M, T> * W));
    state_.resize(static_cast<std::size_t>(tile_steps * S * state_terms<M, T>));
    parameter_.resize(static_cast<std::size_t>((varying_ ? tile_steps : lines) * line_parameters()));
  }

  /// Parameters that do not vary with time, for all lines of the task. To be called first.
  void start_batch(std::int64_t b) {
    if (varying_ || b == staged_batch_ || (staged_batch_ >= 0 && parameters_are_shared(call_))) return;
    for (std::int64_t g = 0; g < lines_; ++g) stage_parameters(b, 0, 1, g);
    staged_batch_ = b;
  }

  /// Terms of states, which all lines share.
  void stage_states(std::int64_t b, std::int64_t t0, std::int64_t steps) {
    const std::int64_t S = call_.shape.states;
    for (std::int64_t t = 0; t < steps; ++t) {
      for_each_input<role::state>(S,
                                  [&](T* raw, const auto& x) { gather(raw, x.at(b, t0 + t, 0, 0), x.stride[3], S); });
      prepare_terms<role::state, 1>(S, state_.data() + t * S * state_terms<M, T>);
    }
  }

  /// Terms of channels, and of parameters that vary, of line g of the task.
  void stage_line(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    const std::int64_t m = channel(g), n = width(g);
    for (std::int64_t t = 0; t < steps; ++t) {
      for_each_input<role::channel>(W, [&](T* raw, const auto& x) {
        gather_lanes(raw, x.at(b, t0 + t, m, 0), x.stride[2], n);
        if (g + 1 < lines_) prefetch_lanes<false>(x.at(b, t0 + t, m + W, 0), x.stride[2], width(g + 1));
      });
      prepare_terms<role::channel, W>(1, channel_.data() + t * channel_terms<M, T> * W);
    }
    if (varying_) stage_parameters(b, t0, steps, g);
  }

  tile_terms<M, T> terms(std::int64_t g) const {
    const std::int64_t states = call_.shape.states;
    return {channel_.data(), state_.data(), parameter_.data() + (varying_ ? 0 : g * line_parameters()), states,
            varying_ ? states : 0};
  }

  std::int64_t channel(std::int64_t g) const { return (first_line_ + g) * W; }
  bool varying() const { return varying_; }
  std::int64_t width(std::int64_t g) const { return (std::min)(W, call_.shape.channels - channel(g)); }

 private:
  void stage_parameters(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    const std::int64_t S = call_.shape.states, m = channel(g), n = width(g);
    T* to = parameter_.data() + (varying_ ? 0 : g * line_parameters());
    for (std::int64_t t = 0; t < steps; ++t) {
      for (std::int64_t s = 0; s < S; ++s) {
        for_each_input<role::parameter>(
            W, [&](T* raw, const auto& x) { gather_lanes(raw, x.at(b, t0 + t, m, s), x.stride[2], n); });
        prepare_terms<role::parameter, W>(1, to + (t * S + s) * parameter_terms<M, T> * W);
      }
    }
  }

  /// Calls f(where its values go, tensor) for each input that varies as R.
  template <role R, class F>
  void for_each_input(std::int64_t length, F f) {
    with_members(call_.in, [&](const auto&... x) {
      const auto all = std::tie(x...);
      for_each_index<input_count>([&](auto i) {
        if constexpr (M::inputs_info[i].varies == R)
          f(raw_.data() + static_cast<std::int64_t>(i()) * length, std::get<i>(all));
      });
    });
  }

  std::int64_t line_parameters() const { return call_.shape.states * parameter_terms<M, T> * W; }

  /// Makes the terms that vary as R, [row][term][value], from `rows` rows of Width values of the inputs that do.
  template <role R, std::int64_t Width>
  KALSCAN_FLATTEN void prepare_terms(std::int64_t rows, T* to) {
    constexpr std::int64_t terms = terms_before<M, T>(info::count, R);
    const T* raw = raw_.data();
    const std::int64_t length = rows * Width;
    for (std::int64_t row = 0; row < rows; ++row) {
      KALSCAN_LANES
      for (std::int64_t w = 0; w < Width; ++w) {
        const auto u = from_fields<typename M::template inputs<T>, T>([&](auto i) {
          if constexpr (M::inputs_info[i].varies == R) {
            return raw[static_cast<std::int64_t>(i()) * length + row * Width + w];
          } else {
            return T(0);
          }
        });
        const auto x = as_array<T>(prepare<M, T>(u));
        for_each_index<info::count>([&](auto i) {
          if constexpr (info::varies(i) == R)
            to[(row * terms + terms_before<M, T>(i, R)) * Width + w] = x[i];
        });
      }
    }
  }

  const Call& call_;
  std::int64_t first_line_, lines_, staged_batch_ = -1;
  bool varying_;  // parameters, with time
  aligned_vector<T> raw_{}, channel_{}, state_{}, parameter_{};
};

}  // namespace kalscan::detail

#include <kalscan/support/vector_loops_end.hpp>
