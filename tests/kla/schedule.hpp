// SPDX-License-Identifier: MIT
// Sequences that come in pieces: random schedules of prefill, decoding, batches and packed calls, whose outputs, states
// and gradients are held bit by bit against each sequence taken whole and alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "problem.hpp"

namespace kla_test {

/// How many numbers differ in any bit.
template <class T>
std::int64_t different(const T* x, const T* y, std::int64_t count) {
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < count; ++i) n += std::memcmp(x + i, y + i, sizeof(T)) != 0 ? 1 : 0;
  return n;
}
template <class T>
std::int64_t different(const std::vector<array<T>>& x, const std::vector<array<T>>& y) {
  std::int64_t n = x.size() == y.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    const auto a = x[i].list(), b = y[i].list();
    n += a.size() == b.size() ? different(a.data(), b.data(), std::ssize(a)) : 1;
  }
  return n;
}

/// One forward call with all its arrays: tokens and outputs stored as E, parameters and states in float. Inputs have
/// their own numbers in `tokens` or in `parameters`, and nothing in the other one.
template <class M, class E>
struct served_call {
  static constexpr std::size_t inputs = M::inputs_info.size(), outputs = M::output_names.size(),
                               states = M::state_info.size();
  static constexpr bool is_parameter(std::size_t i) { return M::inputs_info[i].varies == kalscan::role::parameter; }
  using in_type = typename M::template inputs<tensor<const E>, tensor<const float>>;

  mixer_shape shape{};
  std::vector<std::int64_t> offsets{};
  std::vector<array<E>> tokens{std::vector<array<E>>(inputs)}, out{};
  std::vector<array<float>> parameters{std::vector<array<float>>(inputs)}, initial{}, final{};

  /// The inputs' tensors from the view that is taken of each array.
  template <class Tokens, class Parameters, class View>
  static in_type in_views(const Tokens& tokens, const Parameters& parameters, View view) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      const auto one = [&]<std::size_t K>(std::integral_constant<std::size_t, K>) {
        if constexpr (is_parameter(K)) {
          return tensor<const float>(view(parameters[K]));
        } else {
          return tensor<const E>(view(tokens[K]));
        }
      };
      return in_type{one(std::integral_constant<std::size_t, I>{})...};
    }(std::make_index_sequence<inputs>{});
  }
};

/// The sequences that a server has, their tokens one after another on one time axis.
template <class M, class E>
class served_sequences {
 public:
  using call_type = served_call<M, E>;

  served_sequences(std::vector<std::int64_t> lengths, std::int64_t channels, std::int64_t states, bool parameters_vary,
                   std::uint64_t seed)
      : lengths_(std::move(lengths)), channels_(channels), states_(states), engine_(seed) {
    for (const auto n : lengths_) starts_.push_back(total_), total_ += n;
    const auto chance = [&](int one_in) { return engine_() % static_cast<std::uint64_t>(one_in) == 0; };
    std::uniform_real_distribution<float> any(-1.5F, 1.5F), positive(0.05F, 1.5F), gain(0.4F, 0.999F);
    for (std::size_t i = 0; i < call_type::inputs; ++i) {
      const auto& info = M::inputs_info[i];
      const auto draw = [&](auto& x) {
        using X = std::remove_reference_t<decltype(x)>;
        // What makes beliefs of no variance, or keeps them diffuse: the formulas for these stand elsewhere.
        if (info.nonnegative && chance(5)) return void(x = static_cast<X>(0.0F));
        x = static_cast<X>(info.nonnegative ? positive(engine_) : info.gain ? gain(engine_) : any(engine_));
      };
      if (call_type::is_parameter(i)) {
        all_.parameters[i] = array<float>(1, parameters_vary ? total_ : 1, channels, states);
        all_.parameters[i].each(draw);
      } else {
        const bool channel = info.varies == kalscan::role::channel;
        all_.tokens[i] = array<E>(1, total_, channel ? channels : 1, channel ? 1 : states);
        all_.tokens[i].each(draw);
      }
    }
    for (const auto& info : M::state_info) {
      all_.initial.emplace_back(std::ssize(lengths_), 1, channels, states);
      all_.initial.back().each([&](float& x) {
        x = info.nonnegative ? positive(engine_) : any(engine_);
        if (info.nonnegative && chance(8)) x = chance(2) ? 1e20F : std::numeric_limits<float>::infinity();
      });
    }
    all_.out = outputs(1, total_);
    all_.final = all_.initial;
  }

  std::int64_t tokens() const { return total_; }

  /// Takes each sequence whole and alone, then as a server would, `schedules` times; returns how many numbers differ of
  /// the tokens' outputs and of the states in the end. `run(call)` makes the call; pieces but the last of a sequence
  /// have multiples of `multiple` tokens.
  template <class Run>
  std::int64_t differences(const Run& run, int schedules, std::int64_t multiple = 1) {
    for (std::int64_t n = 0; n < std::ssize(lengths_); ++n) {
      position_.assign(lengths_.size(), 0);
      take(run, {{n, lengths_[static_cast<std::size_t>(n)]}}, false, all_.initial, all_.final, all_.out);
    }
    std::int64_t count = 0;
    for (int i = 0; i < schedules; ++i) {
      auto states = all_.initial;
      auto out = outputs(1, total_);
      position_.assign(lengths_.size(), 0);
      while (serve(run, multiple, states, out)) {
      }
      count += different(out, all_.out) + different(states, all_.final);
    }
    return count;
  }

 private:
  struct piece {
    std::int64_t sequence, steps;
  };

  std::vector<array<E>> outputs(std::int64_t batch, std::int64_t time) const {
    return std::vector<array<E>>(call_type::outputs, array<E>(batch, time, channels_, 1));
  }
  std::int64_t left(std::int64_t n) const {
    return lengths_[static_cast<std::size_t>(n)] - position_[static_cast<std::size_t>(n)];
  }

  /// One call of a schedule: a token each of some sequences, pieces of one length as a batch, or pieces of any lengths
  /// packed. False where all is done.
  template <class Run>
  bool serve(const Run& run, std::int64_t multiple, std::vector<array<float>>& states, std::vector<array<E>>& out) {
    std::vector<piece> pieces;
    for (std::int64_t n = 0; n < std::ssize(lengths_); ++n) {
      if (left(n) > 0) pieces.push_back({n, 0});
    }
    if (pieces.empty()) return false;
    std::shuffle(pieces.begin(), pieces.end(), engine_);
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(n));
    };
    if (below(3) > 0) pieces.resize(static_cast<std::size_t>(1 + below(std::ssize(pieces))));
    const std::int64_t most = below(4) == 0 ? 1 : below(2) == 0 ? 40 : 700;
    const auto steps = [&] { return (1 + below(most) + multiple - 1) / multiple * multiple; };
    const bool packed = below(2) == 0;
    const std::int64_t common = steps();
    for (auto& x : pieces) x.steps = std::min(left(x.sequence), packed ? steps() : common);
    if (!packed) {  // a batch has one length
      std::erase_if(pieces, [&](const piece& x) { return x.steps != pieces.front().steps; });
    }
    take(run, pieces, packed, states, states, out);
    return true;
  }

  /// The call for the pieces from where their sequences are, which then have moved on.
  template <class Run>
  void take(const Run& run, const std::vector<piece>& pieces, bool packed, const std::vector<array<float>>& before,
            std::vector<array<float>>& after, std::vector<array<E>>& out) {
    call_type call;
    const std::int64_t batch = packed ? 1 : std::ssize(pieces);
    std::int64_t time = packed ? 0 : pieces.front().steps;
    if (packed) {
      call.offsets.push_back(0);
      for (const auto& x : pieces) call.offsets.push_back(time += x.steps);
    }
    call.shape = {batch, time, channels_, states_, {}};
    call.out = outputs(batch, time);
    // Rows of a step lie side by side, in `all_` and in the call.
    const auto each_piece = [&](auto copy) {
      std::int64_t at = 0;
      for (const auto& x : pieces) {
        const auto n = static_cast<std::size_t>(x.sequence);
        copy(starts_[n] + position_[n], at, x.steps);
        at += x.steps;
      }
    };
    const auto gather = [&](const auto& from) {
      std::remove_cvref_t<decltype(from)> to(batch, time, from.extent[2], from.extent[3]);
      each_piece([&](std::int64_t first, std::int64_t at, std::int64_t steps) {
        std::copy_n(from.values.begin() + first * from.stride[1], steps * from.stride[1],
                    to.values.begin() + at * from.stride[1]);
      });
      return to;
    };
    for (std::size_t i = 0; i < call_type::inputs; ++i) {
      if (!call_type::is_parameter(i)) {
        call.tokens[i] = gather(all_.tokens[i]);
      } else {
        call.parameters[i] = all_.parameters[i].extent[1] == 1 ? all_.parameters[i] : gather(all_.parameters[i]);
      }
    }
    for (const auto& x : before) {
      array<float> some(std::ssize(pieces), 1, channels_, states_);
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        std::copy_n(x.values.begin() + pieces[i].sequence * x.stride[0], x.stride[0],
                    some.values.begin() + static_cast<std::int64_t>(i) * x.stride[0]);
      }
      call.initial.push_back(std::move(some));
    }
    call.final = call.initial;
    if (packed) call.shape.offsets = call.offsets;
    run(call);
    for (std::size_t o = 0; o < out.size(); ++o) {
      each_piece([&](std::int64_t first, std::int64_t at, std::int64_t steps) {
        std::copy_n(call.out[o].values.begin() + at * channels_, steps * channels_,
                    out[o].values.begin() + first * channels_);
      });
    }
    for (std::size_t w = 0; w < after.size(); ++w) {
      const std::int64_t size = channels_ * states_;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        std::copy_n(call.final[w].values.begin() + static_cast<std::int64_t>(i) * size, size,
                    after[w].values.begin() + pieces[i].sequence * size);
      }
    }
    for (const auto& x : pieces) position_[static_cast<std::size_t>(x.sequence)] += x.steps;
  }

  std::vector<std::int64_t> lengths_, starts_{}, position_{};
  std::int64_t channels_, states_, total_ = 0;
  std::mt19937_64 engine_;
  call_type all_{};
};

/// Sequences [b0, b1) and steps [t0, t1) of a problem.
template <class M, class T>
problem<M, T> part_of(const problem<M, T>& p, std::int64_t b0, std::int64_t b1, std::int64_t t0, std::int64_t t1) {
  problem<M, T> q;
  q.shape = {b1 - b0, t1 - t0, p.shape.channels, p.shape.states, {}};
  const auto cut = [&](const std::vector<array<T>>& from, std::vector<array<T>>& to) {
    for (const auto& x : from) {
      const bool batch = x.extent[0] == p.shape.batch, time = x.extent[1] == p.shape.time && p.shape.time > 1;
      array<T> y(batch ? b1 - b0 : 1, time ? t1 - t0 : 1, x.extent[2], x.extent[3]);
      const auto in = x.view();
      const auto out = y.view();
      for (std::int64_t b = 0; b < y.extent[0]; ++b)
        for (std::int64_t t = 0; t < y.extent[1]; ++t)
          for (std::int64_t m = 0; m < y.extent[2]; ++m)
            for (std::int64_t s = 0; s < y.extent[3]; ++s)
              out(b, t, m, s) = in(batch ? b0 + b : 0, time ? t0 + t : 0, m, s);
      to.push_back(std::move(y));
    }
  };
  cut(p.in, q.in), cut(p.initial, q.initial), cut(p.out_bar, q.out_bar), cut(p.final_bar, q.final_bar);
  return q;
}

/// The sequences of a batch packed, one after another.
template <class M, class T>
problem<M, T> packed(const problem<M, T>& p) {
  problem<M, T> q = p;
  const std::int64_t B = p.shape.batch, L = p.shape.time;
  for (std::int64_t b = 0; b <= B; ++b) q.offsets.push_back(b * L);
  q.shape = {1, B * L, p.shape.channels, p.shape.states, q.offsets};
  const auto lay = [&](array<T>& x) {
    if (x.extent[1] == L) x.extent = {1, B * L, x.extent[2], x.extent[3]}, x.stride[0] *= B;
  };
  std::for_each(q.in.begin(), q.in.end(), lay), std::for_each(q.out_bar.begin(), q.out_bar.end(), lay);
  return q;
}

/// The numbers that differ between gradients of a batch and those of its sequences alone and whole, alone in pieces at
/// random multiples of `multiple` steps (of tokens and initial states), and packed, where parameters are shared.
/// forward(p) and backward(p) make the calls.
template <class M, class Forward, class Backward>
std::int64_t gradient_differences(const problem<M, float>& p, std::int64_t multiple, std::uint64_t seed,
                                  const Forward& forward, const Backward& backward) {
  const std::int64_t B = p.shape.batch, L = p.shape.time;
  const backward_result<float> all = backward(p);
  problem<M, float> as_batch = p;  // only its arrays count
  std::int64_t count = 0;
  const auto compare = [&](const backward_result<float>& r, std::int64_t b, std::int64_t from, std::int64_t to,
                           bool parameters, bool begins) {
    as_batch.in = all.in_bar;
    as_batch.initial = all.initial_bar;
    const auto expected = part_of(as_batch, b, b + 1, from, to);
    for (std::size_t i = 0; i < r.in_bar.size(); ++i) {
      const bool parameter = M::inputs_info[i].varies == kalscan::role::parameter;
      if (parameter && (!parameters || p.in[i].extent[0] != B)) continue;  // a sum over sequences, or over pieces
      count += different(std::vector{r.in_bar[i]}, std::vector{expected.in[i]});
    }
    if (begins) count += different(r.initial_bar, expected.initial);
  };
  if (p.in.back().extent[0] == 1) {
    const backward_result<float> r = backward(packed(p));
    for (std::size_t i = 0; i < r.in_bar.size(); ++i) {
      if (M::inputs_info[i].varies != kalscan::role::parameter)
        count += different(std::vector{r.in_bar[i]}, std::vector{all.in_bar[i]});
    }
    count += different(r.initial_bar, all.initial_bar);
  }
  std::mt19937_64 engine(seed);
  for (std::int64_t b = 0; b < B; ++b) {
    compare(backward(part_of(p, b, b + 1, 0, L)), b, 0, L, true, true);
    std::vector<problem<M, float>> pieces;
    std::vector<std::int64_t> starts;
    auto state = part_of(p, b, b + 1, 0, L).initial;
    for (std::int64_t t = 0; t < L;) {
      const auto steps = std::min<std::int64_t>(L - t, multiple * static_cast<std::int64_t>(1 + engine() % 4));
      pieces.push_back(part_of(p, b, b + 1, t, t + steps));
      pieces.back().initial = state;
      state = forward(pieces.back()).final;
      starts.push_back(t);
      t += steps;
    }
    std::vector<array<float>> bar = pieces.back().final_bar;
    for (std::size_t i = pieces.size(); i-- > 0;) {
      pieces[i].final_bar = bar;
      const auto r = backward(pieces[i]);
      bar = r.initial_bar;
      compare(r, b, starts[i], starts[i] + pieces[i].shape.time, false, i == 0);
    }
  }
  return count;
}

}  // namespace kla_test
