// SPDX-License-Identifier: MIT
// KLA with beliefs in information form, and its derivatives by dual numbers through the paper's recurrence.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalscan.hpp>
#include <limits>
#include <random>
#include <vector>

#include "problem.hpp"

namespace kla_test {

using kalscan::kla;

/// A number and its derivative in one direction.
struct dual {
  long double x = 0, d = 0;
};
inline dual operator+(dual a, dual b) { return {a.x + b.x, a.d + b.d}; }
inline dual operator*(dual a, dual b) { return {a.x * b.x, a.d * b.x + a.x * b.d}; }
inline dual operator/(dual a, dual b) { return {a.x / b.x, (a.d - a.x / b.x * b.d) / b.x}; }

/// A problem whose beliefs before the first token are (precision, vector) in `initial`, and whose adjoints of the final
/// beliefs are in `final_bar`, in information form too.
template <class T>
struct information_problem : problem<kla, T> {
  bool predicted = false;

  /// The objective (outputs and final beliefs, weighted by their adjoints) of one lane and its derivative in number
  /// `wanted` of: the tokens' v, Lambda, k, q, then the parameters a, p, then the prior's precision and vector.
  long double derivative(std::int64_t n, std::int64_t m, std::int64_t s, std::size_t wanted, std::int64_t at) const {
    const auto place = kalscan::detail::sequence_at(this->shape, n);
    const auto value = [&](const array<T>& x, std::int64_t b, std::int64_t t, std::size_t i) {
      return dual{static_cast<long double>(x.view()(x.extent[0] == 1 ? 0 : b, x.extent[1] == 1 ? 0 : t,
                                                    x.extent[2] == 1 ? 0 : m, x.extent[3] == 1 ? 0 : s)),
                  i == wanted && (x.extent[1] == 1 || t == at) ? 1.0L : 0.0L};
    };
    dual lambda = value(this->initial[0], n, 0, 6), eta = value(this->initial[1], n, 0, 7), sum;
    for (std::int64_t t = place.first; t < place.first + place.length; ++t) {
      const auto input = [&](std::size_t i) { return value(this->in[i], place.batch, t, i); };
      const dual v = input(0), Lambda = input(1), k = input(2), q = input(3), a = input(4), p = input(5);
      if (a.x == 0) {  // nothing is remembered, exactly
        eta = lambda.x == 0 ? dual{} : a * (eta / (p * lambda));
        lambda = dual{1} / p;
      } else {
        const dual D = a * a + p * lambda;
        lambda = lambda / D, eta = a * eta / D;
      }
      lambda = lambda + Lambda * k * k, eta = eta + v * Lambda * k;
      if (lambda.x == 0) continue;  // nothing to read
      dual mean = eta / lambda, variance = dual{1} / lambda;
      if (predicted) mean = a * mean, variance = a * a * variance + p;
      const auto weight = [&](std::size_t i) {
        return dual{static_cast<long double>(this->out_bar[i].view()(place.batch, t, m, 0))};
      };
      sum = sum + weight(0) * q * mean + weight(1) * q * q * variance;
    }
    const auto weight = [&](std::size_t i) {
      return dual{static_cast<long double>(this->final_bar[i].view()(n, 0, m, s))};
    };
    return (sum + weight(0) * lambda + weight(1) * eta).d;
  }

  /// All derivatives, in arrays like those of a backward call.
  backward_result<long double> derivatives() const {
    backward_result<long double> r;
    for (const auto& x : this->in) r.in_bar.emplace_back(x.extent[0], x.extent[1], x.extent[2], x.extent[3]);
    for (const auto& x : this->initial) r.initial_bar.emplace_back(x.extent[0], 1, x.extent[2], x.extent[3]);
    for (std::int64_t n = 0; n < this->shape.sequences(); ++n) {
      const auto place = kalscan::detail::sequence_at(this->shape, n);
      for (std::int64_t m = 0; m < this->shape.channels; ++m) {
        for (std::int64_t s = 0; s < this->shape.states; ++s) {
          for (std::size_t i = 0; i < 6; ++i) {
            auto& to = r.in_bar[i];
            const bool fixed = to.extent[1] == 1;
            for (std::int64_t t = place.first; t < (fixed ? place.first + 1 : place.first + place.length); ++t) {
              if (place.length == 0) continue;
              to.view()(to.extent[0] == 1 ? 0 : place.batch, fixed ? 0 : t, to.extent[2] == 1 ? 0 : m,
                        to.extent[3] == 1 ? 0 : s) += derivative(n, m, s, i, t);
            }
          }
          for (std::size_t i = 0; i < 2; ++i) r.initial_bar[i].view()(n, 0, m, s) = derivative(n, m, s, 6 + i, 0);
        }
      }
    }
    return r;
  }
};

/// What a family of problems has in common.
struct family {
  double precision, vector;  // of the prior; the vector is drawn from within +- `vector`
  std::int64_t gap;          // leading tokens that observe nothing
  double a_low, a_high, p;   // p = 0, or up to p
  std::vector<std::int64_t> offsets = {};
};
inline const std::vector<family> families = {
    {0, 0, 0, 0.5, 0.97, 1},
    {0, 1, 0, 0.5, 0.97, 1},
    {0, 1, 3, 0.5, 0.97, 1},
    {0, 1, 21, 0.8, 1, 1},
    {0, 1, 2, 0, 0, 1},
    {0, 1, 3, 1, 1, 0},
    {0, 1, 3, 0.9, 0.97, 0},
    {1e-30, 0, 0, 0.5, 0.97, 1},
    {1e-30, 1, 0, 0.5, 0.97, 1},
    {1e-30, 1, 3, 0.5, 0.97, 1},
    {1e-30, 1, 21, 0.9, 1, 1},
    {1e-30, 1, 2, 0, 0, 1},
    {1e-30, 1, 18, 1, 1, 0},
    {0x1p-61, 1, 18, 1, 1, 0},
    {0x1p-60, 1, 18, 1, 1, 0},
    {1e-12, 1, 3, 0.5, 0.97, 1},
    {1e-8, 1, 0, 0.5, 0.97, 1},
    {1e-8, 1, 3, 0.5, 0.97, 1},
    {1e-18, 1, 5, 1.1, 1.3, 1},
    {1e-2, 10, 12, 1.5, 1.7, 1},
    {1e-3, 1, 3, 0.5, 0.97, 1},
    {1, 1, 0, 0.5, 0.97, 1},
    {1, 1, 3, 0, 0, 1},
    {1, 1, 3, 0.9, 1, 0},
    {1e8, 1e8, 0, 0.5, 0.97, 1},
    {1e8, 1e8, 3, 0.5, 0.97, 1},
    {0, 1, 3, 0.5, 0.97, 1, {0, 5, 5, 6, 30, 47}},
    {1e-30, 1, 3, 0.9, 1, 1, {0, 5, 5, 6, 30, 47}},
};

/// Sequences of 47 tokens. What is not observed yet is not read either.
template <class T>
information_problem<T> information_problem_of(const family& f, std::uint64_t seed, given g = given::fixed,
                                              std::int64_t channels = 3, std::int64_t states = 2) {
  information_problem<T> x;
  static_cast<problem<kla, T>&>(x) =
      random_problem<kla, T>(f.offsets.empty() ? 2 : 1, 47, channels, states, seed, g, false, f.offsets);
  if (!x.offsets.empty()) x.shape.offsets = x.offsets;
  std::mt19937_64 engine(seed);
  x.initial[0].each([&](T& v) { v = static_cast<T>(f.precision); });
  fill(x.initial[1], engine, -f.vector, f.vector);
  fill(x.in[1], engine, 0.3, 1.5);
  x.in[2].each([](T& k) { k += k < 0 ? T(-0.2) : T(0.2); });
  fill(x.in[4], engine, f.a_low, f.a_high), fill(x.in[5], engine, 0, f.p);
  if (f.a_low == 0) x.in[5].each([](T& p) { p += T(0.1); });
  for (std::int64_t n = 0; n < x.shape.sequences(); ++n) {
    const auto place = kalscan::detail::sequence_at(x.shape, n);
    for (std::int64_t t = place.first; t < place.first + std::min(f.gap, place.length); ++t) {
      for (std::int64_t s = 0; s < states; ++s) {
        if (t % 2 == 0) x.in[2].view()(place.batch, t, 0, s) = 0;
        x.in[3].view()(place.batch, t, 0, s) = 0;
      }
      for (std::int64_t m = 0; m < channels; ++m) {
        if (t % 2 == 1) x.in[1].view()(place.batch, t, m, 0) = 0;
      }
    }
  }
  return x;
}

template <class Tensors, class T>
kalscan::information_belief<Tensors> as_information(std::vector<array<T>>& x) {
  return {Tensors(x[0].view()), Tensors(x[1].view())};
}

/// The two calls with all beliefs and their adjoints in information form; `every` > 0: with checkpoints.
template <class M = kla, class T, class Policy>
backward_result<T> information_backward(const Policy& policy, information_problem<T> x, std::int64_t every = 0) {
  backward_result<T> r;
  for (const auto& a : x.in) r.in_bar.emplace_back(a.extent[0], a.extent[1], a.extent[2], a.extent[3]);
  for (const auto& a : x.initial) r.initial_bar.emplace_back(a.extent[0], 1, a.extent[2], a.extent[3]);
  kalscan::mixer_adjoints<M, T> states{.initial = as_information<tensor<const T>>(x.initial),
                                       .final_bar = as_information<tensor<const T>>(x.final_bar),
                                       .initial_bar = as_information<tensor<T>>(r.initial_bar)};
  std::vector<array<T>> checkpoints;
  if (every > 0) {
    for (int i = 0; i < 2; ++i) {
      checkpoints.emplace_back(x.shape.batch, kalscan::checkpoint_count(x.shape, every), x.shape.channels,
                               x.shape.states);
    }
    kalscan::forward(
        policy, M{}, x.shape, x.in_views(), kalscan::kla_outputs<tensor<T>>{},
        {.initial = states.initial, .checkpoints = {checkpoints[0].view(), checkpoints[1].view()}, .every = every});
    states.checkpoints = {checkpoints[0].view(), checkpoints[1].view()}, states.every = every;
  }
  kalscan::backward(policy, M{}, x.shape, x.in_views(), x.out_bar_views(),
                    x.template writable<kalscan::kla_inputs<tensor<T>>>(r.in_bar), states);
  return r;
}
template <class T, class Policy>
forward_result<T> information_forward(const Policy& policy, information_problem<T> x) {
  forward_result<T> r;
  for (int i = 0; i < 2; ++i) {
    r.out.emplace_back(x.shape.batch, x.shape.time, x.shape.channels, 1);
    r.final.emplace_back(x.shape.sequences(), 1, x.shape.channels, x.shape.states);
  }
  kalscan::forward(
      policy, kla{}, x.shape, x.in_views(), kalscan::kla_outputs{r.out[0].view(), r.out[1].view()},
      {.initial = as_information<tensor<const T>>(x.initial), .final = as_information<tensor<T>>(r.final)});
  return r;
}

/// The largest error of all arrays, each in units of its largest value.
template <class T, class U>
double worst_difference(const backward_result<T>& x, const backward_result<U>& exact) {
  double worst = 0;
  for (std::size_t i = 0; i < 6; ++i) worst = std::max(worst, difference(x.in_bar[i], exact.in_bar[i]));
  for (std::size_t i = 0; i < 2; ++i) worst = std::max(worst, difference(x.initial_bar[i], exact.initial_bar[i]));
  return worst;
}

}  // namespace kla_test
