// SPDX-License-Identifier: MIT
// Tiles: a few steps of a block of channels, all states. Inputs are copied to where neighbouring lanes lie side by side, so
// that strides, storage types and ragged edges end here, and the loops over lanes are vector code.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/tensor.hpp>

/// The lanes of a loop are independent of each other.
#if defined(__clang__)
#define KALSCAN_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define KALSCAN_LANES _Pragma("GCC ivdep")
#endif
/// Everything that such a function calls is to be part of it: loops over lanes are vector code only without calls.
#define KALSCAN_FLATTEN [[gnu::flatten]]

namespace kalscan::detail {

/// Channels in a block: a cache line, so that threads do not share one.
template <class T>
inline constexpr std::int64_t block_width = 64 / static_cast<std::int64_t>(sizeof(T));
inline constexpr std::int64_t tile_steps = 16;

/// Copies n > 0 values at a stride and fills up to `width`: with the last one, so that lanes beyond the edge only repeat a
/// real one, or with zeros.
template <class T, class E>
void gather(T* to, const E* from, std::int64_t stride, std::int64_t n, std::int64_t width, bool zeros = false) {
  if (stride == 1) {
    KALSCAN_LANES
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i * stride]);
  }
  for (std::int64_t i = n; i < width; ++i) to[i] = zeros ? T(0) : to[n - 1];
}

template <class E, class T>
void scatter(E* to, const T* from, std::int64_t stride, std::int64_t n) {
  if (stride == 1) {
    KALSCAN_LANES
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<E>(from[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i * stride] = static_cast<E>(from[i]);
  }
}

/// The terms of one tile as the loops read them. A term of a channel is [step][lane], of a state [step][state], a parameter
/// [state][lane] or, where parameters vary with time, [step][state][lane].
template <class M, class T, bool Varying>
struct tile_terms {
  using info = terms_of<M, T>;

  std::array<const T*, info::count> field;
  std::int64_t states;

  terms_t<M, T> operator()(std::int64_t t, std::int64_t s, std::int64_t w) const {
    constexpr std::int64_t W = block_width<T>;
    return from_words<terms_t<M, T>, T>([&](auto i) {
      if constexpr (info::varies(i) == role::channel) {
        return field[i][t * W + w];
      } else if constexpr (info::varies(i) == role::state) {
        return field[i][t * states + s];
      } else {
        return field[i][((Varying ? t * states : 0) + s) * W + w];
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
template <class Job>
bool parameters_are_shared(const Job& job) {
  bool shared = true;
  for_each_parameter<typename Job::mixer>(job.in, [&](std::size_t, const auto& x) { shared = shared && x.extent[0] == 1; });
  return shared;
}

/// Whether a parameter varies with time.
template <class Job>
bool parameters_vary(const Job& job) {
  bool vary = false;
  for_each_parameter<typename Job::mixer>(job.in, [&](std::size_t, const auto& x) { vary = vary || x.extent[1] != 1; });
  return vary;
}

/// Brings the inputs of a job into tiles. One object a task: it owns the tiles' memory.
template <class Job, bool Varying>
class tile_stage {
 public:
  using M = typename Job::mixer;
  using T = typename Job::number;
  using info = terms_of<M, T>;
  static constexpr std::int64_t W = block_width<T>;
  static constexpr std::size_t input_count = M::inputs_info.size();

  tile_stage(const Job& job, std::int64_t first_block, std::int64_t blocks)
      : job_(job), first_block_(first_block), blocks_(blocks) {
    const std::int64_t S = job.shape.states;
    longest_ = std::max(tile_steps * std::max(W, S), (Varying ? tile_steps : 1) * S * W);
    raw_.resize(static_cast<std::size_t>(longest_) * input_count);
    for_each_index<info::count>([&](auto i) {
      const std::int64_t size = info::varies(i) == role::channel ? tile_steps * W
                                : info::varies(i) == role::state ? tile_steps * S
                                : Varying                        ? tile_steps * S * W
                                                                 : blocks * S * W;
      terms_[i].resize(static_cast<std::size_t>(size));
    });
  }

  /// Parameters that do not vary with time, for all blocks of the task. To be called first.
  void start_batch(std::int64_t b) {
    if constexpr (!Varying) {
      if (b == staged_batch_ || (staged_batch_ >= 0 && parameters_are_shared(job_))) return;
      for (std::int64_t g = 0; g < blocks_; ++g) stage_parameters(b, 0, 1, g);
      staged_batch_ = b;
    }
  }

  /// Terms of states, which all blocks share.
  void stage_states(std::int64_t b, std::int64_t t0, std::int64_t steps) {
    const std::int64_t S = job_.shape.states;
    for_each_input<role::state>([&](T* raw, const auto& x) {
      for (std::int64_t t = 0; t < steps; ++t) gather(raw + t * S, x.at(b, t0 + t, 0, 0), x.stride[3], S, S);
    });
    prepare_terms<role::state>(steps * S, 0);
  }

  /// Terms of channels, and of parameters that vary, of block g of the task.
  void stage_block(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    const std::int64_t m = channel(g), n = width(g);
    for_each_input<role::channel>([&](T* raw, const auto& x) {
      for (std::int64_t t = 0; t < steps; ++t) gather(raw + t * W, x.at(b, t0 + t, m, 0), x.stride[2], n, W);
    });
    prepare_terms<role::channel>(steps * W, 0);
    if constexpr (Varying) stage_parameters(b, t0, steps, g);
  }

  tile_terms<M, T, Varying> terms(std::int64_t g) const {
    tile_terms<M, T, Varying> x{{}, job_.shape.states};
    for_each_index<info::count>([&](auto i) {
      const bool kept = info::varies(i) == role::parameter && !Varying;
      x.field[i] = terms_[i].data() + (kept ? g * job_.shape.states * W : 0);
    });
    return x;
  }

  std::int64_t channel(std::int64_t g) const { return (first_block_ + g) * W; }
  std::int64_t width(std::int64_t g) const { return std::min(W, job_.shape.channels - channel(g)); }

 private:
  void stage_parameters(std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t g) {
    const std::int64_t S = job_.shape.states, m = channel(g), n = width(g);
    for_each_input<role::parameter>([&](T* raw, const auto& x) {
      for (std::int64_t t = 0; t < steps; ++t) {
        for (std::int64_t s = 0; s < S; ++s) {
          gather(raw + (t * S + s) * W, x.at(b, t0 + t, m, s), x.stride[2], n, W);
        }
      }
    });
    prepare_terms<role::parameter>(steps * S * W, Varying ? 0 : g * S * W);
  }

  /// Calls f(where its values go, tensor) for each input that varies as R.
  template <role R, class F>
  void for_each_input(F f) {
    std::size_t i = 0;
    for_each_member(job_.in, [&](const auto& x) {
      if (M::inputs_info[i].varies == R) f(raw_.data() + static_cast<std::int64_t>(i) * longest_, x);
      ++i;
    });
  }

  /// From the inputs that vary as R, the terms that do.
  template <role R>
  void prepare_terms(std::int64_t count, std::int64_t offset) {
    std::array<const T*, input_count> raw;
    for (std::size_t i = 0; i < input_count; ++i) raw[i] = raw_.data() + static_cast<std::int64_t>(i) * longest_;
    std::array<T*, info::count> to;
    for (std::size_t i = 0; i < info::count; ++i) to[i] = terms_[i].data() + offset;
    KALSCAN_LANES
    for (std::int64_t j = 0; j < count; ++j) {
      const auto u = from_words<typename M::template inputs<T>, T>([&](auto i) {
        if constexpr (M::inputs_info[i].varies == R) {
          return raw[i][j];
        } else {
          return T(0);
        }
      });
      const auto x = words<T>(prepare<M, T>(u));
      for_each_index<info::count>([&](auto i) {
        if constexpr (info::varies(i) == R) to[i][j] = x[i];
      });
    }
  }

  const Job& job_;
  std::int64_t first_block_, blocks_, longest_ = 0, staged_batch_ = -1;
  std::vector<T> raw_;
  std::array<std::vector<T>, info::count> terms_;
};

/// The numbers of a state, an element, ... for all lanes of a block: [number][state][lane].
template <class X, class T>
struct lane_words {
  static constexpr std::size_t count = word_count<X, T>;
  T* first;
  std::int64_t size;  // states * lanes

  lane_words(T* first_, std::int64_t states) : first(first_), size(states * block_width<T>) {}
  static std::int64_t length(std::int64_t states) {
    return static_cast<std::int64_t>(count) * states * block_width<T>;
  }
  X operator[](std::int64_t lane) const {
    return from_words<X, T>([&](auto i) { return first[static_cast<std::int64_t>(i) * size + lane]; });
  }
  void set(std::int64_t lane, const X& x) const {
    const auto w = words<T>(x);
    for_each_index<count>([&](auto i) { first[static_cast<std::int64_t>(i) * size + lane] = w[i]; });
  }
};

template <class M, class T>
bool all_ordinary(const T* state, std::int64_t states) {
  const lane_words<typename M::template state<T>, T> x(const_cast<T*>(state), states);
  int ordinary = 1;
  for (std::int64_t j = 0; j < x.size; ++j) ordinary &= M::is_ordinary(x[j]) ? 1 : 0;
  return ordinary != 0;
}

/// Takes `steps` steps of a block. The states before step t are at state + t * advance, and those after it `advance` further
/// on (0: in place). With Emit, out holds the outputs, [output][step of a tile][lane].
template <class Lane, bool Emit, class M, class T, bool Varying>
KALSCAN_FLATTEN void take_steps(const tile_terms<M, T, Varying> u, std::int64_t steps, T* state, std::int64_t advance, T* out) {
  constexpr std::int64_t W = block_width<T>;
  constexpr std::size_t outputs = word_count<typename M::template outputs<T>, T>;
  const std::int64_t S = u.states;
  for (std::int64_t t = 0; t < steps; ++t) {
    const lane_words<typename M::template state<T>, T> before(state + t * advance, S), after(state + t * advance + advance, S);
    T sum[outputs][W] = {};
    for (std::int64_t s = 0; s < S; ++s) {
      KALSCAN_LANES
      for (std::int64_t w = 0; w < W; ++w) {
        const auto terms = u(t, s, w);
        const auto x = Lane::step(before[s * W + w], terms);
        if constexpr (Emit) {
          const auto y = words<T>(Lane::readout(x, terms));
          for_each_index<outputs>([&](auto i) { sum[i][w] += y[i]; });
        }
        after.set(s * W + w, x);
      }
    }
    if constexpr (Emit) {
      for (std::size_t i = 0; i < outputs; ++i) {
        std::copy(sum[i], sum[i] + W, out + (static_cast<std::int64_t>(i) * tile_steps + t) * W);
      }
    }
  }
}

/// The same, with the formulas of ordinary states where these suffice. `saved` holds a copy of the states.
template <bool Emit, class M, class T, bool Varying>
void advance_block(const tile_terms<M, T, Varying>& u, std::int64_t steps, T* state, std::int64_t advance, T* out,
                   std::vector<T>& saved) {
  if constexpr (requires { typename M::ordinary; }) {
    if (all_ordinary<M>(state, u.states)) {
      const std::int64_t length = lane_words<typename M::template state<T>, T>::length(u.states);
      if (advance == 0) saved.assign(state, state + length);
      take_steps<typename M::ordinary, Emit>(u, steps, state, advance, out);
      bool ordinary = true;
      for (std::int64_t t = advance == 0 ? steps : 1; t <= steps; ++t) {
        ordinary = ordinary && all_ordinary<M>(state + t * advance, u.states);
      }
      if (ordinary) return;
      if (advance == 0) std::copy(saved.begin(), saved.end(), state);
    }
  }
  take_steps<M, Emit>(u, steps, state, advance, out);
}

}  // namespace kalscan::detail
