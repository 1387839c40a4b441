// SPDX-License-Identifier: MIT
// What must hold of the passes of any mixer: against long double, in pieces, packed, and the derivatives.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>

#include "problem.hpp"

namespace kla_test {

template <class M, class T>
void check_forward(const problem<M, T>& p, double bound) {
  const auto exact = run_forward<M>(kalscan::seq{}, p.template as<long double>(), 5);
  CHECK(difference(run_forward<M>(kalscan::seq{}, p, 5).out, exact.out) < bound);
  for (const omp& policy : policies) {
    CAPTURE(policy.chunk);
    const auto r = run_forward<M>(policy, p, 5, true);
    CHECK(difference(r.out, exact.out) < bound);
    CHECK(difference(r.final, exact.final) < bound);
    CHECK(difference(r.checkpoints, exact.checkpoints) < bound);
    for (const auto& x : r.out) CHECK(x.untouched_between());
    for (const auto& x : r.checkpoints) CHECK(x.untouched_between());
  }
}

template <class M, class T>
problem<M, T> part_of(const problem<M, T>& p, std::int64_t from, std::int64_t to,
                      const std::vector<array<T>>& initial) {
  problem<M, T> q;
  q.shape = {p.shape.batch, to - from, p.shape.channels, p.shape.states, {}};
  const auto cut = [&](const array<T>& x) {
    if (x.extent[1] == 1 && p.shape.time != 1) return x;
    array<T> part(x.extent[0], to - from, x.extent[2], x.extent[3]);
    for (std::int64_t b = 0; b < x.extent[0]; ++b)
      for (std::int64_t t = from; t < to; ++t)
        for (std::int64_t m = 0; m < x.extent[2]; ++m)
          for (std::int64_t s = 0; s < x.extent[3]; ++s) part.view()(b, t - from, m, s) = x.view()(b, t, m, s);
    return part;
  };
  for (const auto& x : p.in) q.in.push_back(cut(x));
  for (const auto& x : p.out_bar) q.out_bar.push_back(cut(x));
  q.initial = initial;
  q.final_bar = p.final_bar;
  return q;
}

/// A sequence in pieces, each from the final states of the one before it, has the bits of the whole.
template <class M>
void check_streamed(given g) {
  const auto p = random_problem<M, float>(2, 60, 20, 3, 3, g);
  for (const auto& run : {+[](const problem<M, float>& x) { return run_forward<M>(kalscan::seq{}, x); },
                          +[](const problem<M, float>& x) { return run_forward<M>(omp{2}, x); }}) {
    const auto whole = run(p);
    std::vector<array<float>> states = p.initial;
    std::int64_t t = 0;
    for (const std::int64_t next : {1, 17, 17, 40, 60}) {
      const auto part = run(part_of(p, t, next, states));
      states = part.final;
      for (std::int64_t i = t; i < next; ++i) {
        CHECK(part.out[0].view()(1, i - t, 19, 0) == whole.out[0].view()(1, i, 19, 0));
      }
      t = next;
    }
    CHECK(same_bits(states, whole.final));
  }
}

/// Packed sequences and one call for each of them.
template <class M, class Policy>
void check_packed(const Policy& policy, const std::vector<std::int64_t>& offsets, given g,
                  std::int64_t C = unless_slow(21, 9)) {
  const std::int64_t lanes = 3 * C;
  const auto p = random_problem<M, float>(1, offsets.back(), C, 3, 6, g, false, offsets);
  const auto packed = run_forward<M>(policy, p, 4);
  for (std::int64_t n = 0; n + 1 < std::ssize(offsets); ++n) {
    CAPTURE(n);
    const auto first = offsets[static_cast<std::size_t>(n)], last = offsets[static_cast<std::size_t>(n) + 1];
    std::vector<array<float>> initial;
    for (const auto& x : p.initial) {
      initial.emplace_back(1, 1, C, 3);
      std::copy_n(x.values.begin() + n * lanes, lanes, initial.back().values.begin());
    }
    const auto alone = run_forward<M>(policy, part_of(p, first, last, initial), 4);
    for (std::size_t i = 0; i < p.outputs; ++i) {
      CHECK(std::equal(alone.out[i].values.begin(), alone.out[i].values.end(),
                       packed.out[i].values.begin() + first * C));
    }
    for (std::size_t i = 0; i < p.states; ++i) {
      CHECK(std::equal(alone.final[i].values.begin(), alone.final[i].values.end(),
                       packed.final[i].values.begin() + n * lanes));
      CHECK(std::equal(alone.checkpoints[i].values.begin(), alone.checkpoints[i].values.end(),
                       packed.checkpoints[i].values.begin() + kalscan::first_checkpoint(p.shape, n, 4) * lanes));
    }
  }
}

/// The sum of all outputs and final states, weighted by their adjoints.
template <class M>
long double objective(const problem<M, long double>& p) {
  const auto r = run_forward<M>(kalscan::seq{}, p);
  long double sum = 0;
  const auto add = [&](const auto& x, const auto& bar) {
    const auto a = x.list(), b = bar.list();
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  };
  for (std::size_t i = 0; i < r.out.size(); ++i) add(r.out[i], p.out_bar[i]);
  for (std::size_t i = 0; i < r.final.size(); ++i) add(r.final[i], p.final_bar[i]);
  return sum;
}

/// Central differences of the objective, extrapolated once.
template <class M>
long double difference_quotient(problem<M, long double>& p, long double& x) {
  const long double at = x;
  const auto central = [&](long double h) {
    x = at + h;
    const long double up = objective<M>(p);
    x = at - h;
    const long double down = objective<M>(p);
    x = at;
    return (up - down) / (2 * h);
  };
  const long double h = 1e-4L;
  return (4 * central(h / 2) - central(h)) / 3;
}

/// Every adjoint against difference quotients, for every kind of parameter.
template <class M>
void check_derivatives() {
  std::uint64_t seed = 50;
  for (const given g :
       {given::fixed, given::per_token, given::per_token_channel, given::per_token_state, given::per_batch}) {
    for (const std::vector<std::int64_t>& offsets :
         {std::vector<std::int64_t>{}, unless_slow<std::vector<std::int64_t>>({0, 2, 2, 3, 7}, {0, 1, 1, 3})}) {
      const std::int64_t B = offsets.empty() ? 2 : 1, L = offsets.empty() ? unless_slow(4, 2) : offsets.back();
      auto p = random_problem<M, long double>(B, L, unless_slow(3, 2), 2, ++seed, g, false, offsets);
      const auto bars = run_backward<M>(kalscan::seq{}, p);
      const auto check = [&](std::vector<array<long double>>& values, const std::vector<array<long double>>& bar) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          for (std::size_t j = 0; j < values[i].values.size(); ++j) {
            const long double d = difference_quotient<M>(p, values[i].values[j]);
            CHECK(std::abs(static_cast<double>(bar[i].values[j] - d)) < 1e-9 * (1 + std::abs(static_cast<double>(d))));
          }
        }
      };
      check(p.in, bars.in_bar);
      check(p.initial, bars.initial_bar);
    }
  }
}

template <class M, class T>
void check_backward(const problem<M, T>& p, double bound) {
  const auto exact = run_backward<M>(kalscan::seq{}, p.template as<long double>());
  CHECK(difference(run_backward<M>(kalscan::seq{}, p).in_bar, exact.in_bar) < bound);
  for (const omp& policy : policies) {
    CAPTURE(policy.chunk);
    const auto r = run_backward<M>(policy, p, nullptr, 0, true);
    CHECK(difference(r.in_bar, exact.in_bar) < bound);
    CHECK(difference(r.initial_bar, exact.initial_bar) < bound);
    for (const auto& x : r.in_bar) CHECK(x.untouched_between());
    for (const auto& x : r.initial_bar) CHECK(x.untouched_between());
  }
}

}  // namespace kla_test
