// SPDX-License-Identifier: MIT
// Random calls of a mixer with all their arrays, strided so that whatever lies between the values is poison.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <kalscan/kalscan.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../instrument.hpp"

namespace kla_test {

using kalscan::mixer_shape;
using kalscan::tensor;

template <class T>
double to_double(const T& x) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(x);
  } else {
    return static_cast<double>(static_cast<float>(x));
  }
}

/// An array that owns its values. With `spread` the axes are strided and what lies between the values is NaN.
template <class T>
struct array {
  std::array<std::int64_t, 4> extent{}, stride{};
  std::vector<T> values;

  array() = default;
  array(std::int64_t b, std::int64_t t, std::int64_t m, std::int64_t s, bool spread = false) : extent{b, t, m, s} {
    const std::int64_t gap = spread ? 2 : 1;
    stride = {0, 0, 0, gap};
    for (std::size_t axis = 3; axis-- > 0;) stride[axis] = stride[axis + 1] * extent[axis + 1] + (spread ? 3 : 0);
    values.assign(static_cast<std::size_t>(b * stride[0]), poison());
    each([](T& x) { x = T(0); });
  }
  static T poison() { return static_cast<T>(std::numeric_limits<float>::quiet_NaN()); }

  tensor<T> view() { return {values.data(), extent, stride}; }
  tensor<const T> view() const { return {values.data(), extent, stride}; }

  template <class F>
  void each(F f) {
    const auto x = view();
    for (std::int64_t b = 0; b < extent[0]; ++b)
      for (std::int64_t t = 0; t < extent[1]; ++t)
        for (std::int64_t m = 0; m < extent[2]; ++m)
          for (std::int64_t s = 0; s < extent[3]; ++s) f(x(b, t, m, s));
  }
  std::vector<T> list() const {
    std::vector<T> all;
    const_cast<array*>(this)->each([&](T& x) { all.push_back(x); });
    return all;
  }
  template <class U>
  array<U> as() const {
    array<U> x(extent[0], extent[1], extent[2], extent[3]);
    const auto all = list();
    for (std::size_t i = 0; i < all.size(); ++i) x.values[i] = static_cast<U>(all[i]);
    return x;
  }
  bool untouched_between() const {
    array copy = *this;
    copy.each([](T& x) { x = poison(); });
    return std::all_of(copy.values.begin(), copy.values.end(), [](T x) { return std::isnan(to_double(x)); });
  }
};

/// Whole lanes and chunks of time, shorter and longer than those of the library's choice. Under an instrument fewer,
/// and none of them whole tiles.
using kalscan::omp;
inline const std::vector<omp> policies =
    under_an_instrument() ? std::vector<omp>{omp{2, 0}, omp{3, 1}, omp{8, 33}}
                          : std::vector<omp>{omp{1, 0}, omp{2, 0}, omp{3, 1}, omp{2, 7}, omp{8, 16}, omp{2, 33}};

/// Lengths beside tiles and chunks; channels that leave lines of both number types ragged, or fill none.
using shape_list = std::vector<std::array<std::int64_t, 4>>;
inline const shape_list ragged_shapes =
    unless_slow<shape_list>({{2, 41, 19, 3}, {1, 100, 1, 1}, {3, 16, 33, 5}}, {{2, 41, 9, 2}, {1, 100, 1, 1}, {3, 16, 17, 1}});

/// How the parameters are given.
enum class given { fixed, per_token, per_token_channel, per_token_state, per_batch };

/// Everything that a forward and a backward call of mixer M take. X names a type by its role.
template <class M, class T>
struct problem {
  static constexpr std::size_t inputs = M::inputs_info.size(), outputs = M::output_names.size(),
                               states = M::state_info.size();

  mixer_shape shape;
  std::vector<std::int64_t> offsets;
  std::vector<array<T>> in, initial, out_bar, final_bar;

  template <std::size_t N, class U, class Aggregate>
  static Aggregate views(const std::vector<array<U>>& x) {
    return kalscan::detail::from_fields<Aggregate, tensor<const U>>([&](auto i) { return x[i].view(); });
  }
  template <class Aggregate, class U>
  static Aggregate writable(std::vector<array<U>>& x) {
    return kalscan::detail::from_fields<Aggregate, tensor<U>>([&](auto i) { return x[i].view(); });
  }
  auto in_views() const { return views<inputs, T, typename M::template inputs<tensor<const T>>>(in); }
  auto out_bar_views() const { return views<outputs, T, typename M::template outputs<tensor<const T>>>(out_bar); }
  kalscan::state_tensors<M, const T> initial_views() const {
    return views<states, T, kalscan::state_tensors<M, const T>>(initial);
  }
  kalscan::state_tensors<M, const T> final_bar_views() const {
    return views<states, T, kalscan::state_tensors<M, const T>>(final_bar);
  }

  template <class U>
  problem<M, U> as() const {
    problem<M, U> p;
    p.shape = shape, p.offsets = offsets;
    if (!offsets.empty()) p.shape.offsets = p.offsets;
    const auto convert = [](const auto& from, auto& to) {
      for (const auto& x : from) to.push_back(x.template as<U>());
    };
    convert(in, p.in), convert(initial, p.initial), convert(out_bar, p.out_bar), convert(final_bar, p.final_bar);
    return p;
  }
};

template <class T>
void fill(array<T>& x, std::mt19937_64& engine, double low, double high) {
  std::uniform_real_distribution<double> d(low, high);
  x.each([&](T& v) { v = static_cast<T>(d(engine)); });
}

/// Typical values; `offsets` packs sequences.
template <class M, class T>
problem<M, T> random_problem(std::int64_t B, std::int64_t L, std::int64_t C, std::int64_t S, std::uint64_t seed,
                             given g = given::fixed, bool spread = false, std::vector<std::int64_t> offsets = {}) {
  std::mt19937_64 engine(seed);
  problem<M, T> p;
  p.shape = {B, L, C, S, {}};
  p.offsets = std::move(offsets);
  if (!p.offsets.empty()) p.shape.offsets = p.offsets;
  for (const auto& info : M::inputs_info) {
    switch (info.varies) {
      case kalscan::role::channel:
        p.in.emplace_back(B, L, C, 1, spread);
        break;
      case kalscan::role::state:
        p.in.emplace_back(B, L, 1, S, spread);
        break;
      case kalscan::role::parameter:
        p.in.emplace_back(g == given::fixed ? 1 : B, g == given::fixed || g == given::per_batch ? 1 : L,
                          g == given::per_token_state ? 1 : C, g == given::per_token_channel ? 1 : S, spread);
    }
    const bool parameter = info.varies == kalscan::role::parameter;
    fill(p.in.back(), engine, info.nonnegative ? 0.05 : parameter ? 0.4 : -1.5, parameter ? 0.97 : 1.5);
  }
  const std::int64_t N = p.shape.sequences();
  for (const auto& info : M::state_info) {
    p.initial.emplace_back(N, 1, C, S, spread), p.final_bar.emplace_back(N, 1, C, S, spread);
    fill(p.initial.back(), engine, info.nonnegative ? 0.2 : -1, 1.5);
    fill(p.final_bar.back(), engine, -1, 1);
  }
  for (std::size_t i = 0; i < p.outputs; ++i) {
    p.out_bar.emplace_back(B, L, C, 1, spread);
    fill(p.out_bar.back(), engine, -1, 1);
  }
  return p;
}

template <class T>
struct forward_result {
  std::vector<array<T>> out, final, checkpoints;
};

template <class M, class T, class Policy>
forward_result<T> run_forward(const Policy& policy, const problem<M, T>& p, std::int64_t every = 0,
                              bool spread = false) {
  const auto& s = p.shape;
  forward_result<T> r;
  for (std::size_t i = 0; i < p.outputs; ++i) r.out.emplace_back(s.batch, s.time, s.channels, 1, spread);
  for (std::size_t i = 0; i < p.states; ++i) {
    r.final.emplace_back(s.sequences(), 1, s.channels, s.states, spread);
    if (every > 0)
      r.checkpoints.emplace_back(s.batch, kalscan::checkpoint_count(s, every), s.channels, s.states, spread);
  }
  kalscan::mixer_states<M, T> states{.initial = p.initial_views(),
                                     .final = p.template writable<kalscan::state_tensors<M, T>>(r.final)};
  if (every > 0) {
    states.checkpoints = p.template writable<kalscan::state_tensors<M, T>>(r.checkpoints);
    states.every = every;
  }
  kalscan::forward(policy, M{}, s, p.in_views(), p.template writable<typename M::template outputs<tensor<T>>>(r.out),
                   states);
  return r;
}

template <class T>
struct backward_result {
  std::vector<array<T>> in_bar, initial_bar;
};

template <class M, class T, class Policy>
backward_result<T> run_backward(const Policy& policy, const problem<M, T>& p,
                                const std::type_identity_t<forward_result<T>>* checkpoints = nullptr,
                                std::int64_t every = 0, bool spread = false,
                                const std::type_identity_t<backward_result<T>>* onto = nullptr) {
  backward_result<T> r;
  for (const auto& x : p.in) r.in_bar.emplace_back(x.extent[0], x.extent[1], x.extent[2], x.extent[3], spread);
  for (const auto& x : p.initial)
    r.initial_bar.emplace_back(x.extent[0], x.extent[1], x.extent[2], x.extent[3], spread);
  if (onto) r = *onto;
  kalscan::mixer_adjoints<M, T> states{.initial = p.initial_views(),
                                       .final_bar = p.final_bar_views(),
                                       .initial_bar = p.template writable<kalscan::state_tensors<M, T>>(r.initial_bar),
                                       .accumulate = onto != nullptr};
  if (checkpoints) {
    states.checkpoints =
        p.template views<problem<M, T>::states, T, kalscan::state_tensors<M, const T>>(checkpoints->checkpoints);
    states.every = every;
  }
  kalscan::backward(policy, M{}, p.shape, p.in_views(), p.out_bar_views(),
                    p.template writable<typename M::template inputs<tensor<T>>>(r.in_bar), states);
  return r;
}

/// The largest difference, in units of the largest value.
template <class T, class U>
double difference(const array<T>& x, const array<U>& y) {
  const auto a = x.list();
  const auto b = y.list();
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(to_double(a[i]) - to_double(b[i]));
    if (!(d < std::numeric_limits<double>::infinity())) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, d);
    largest = std::max(largest, std::abs(to_double(b[i])));
  }
  return worst / largest;
}
template <class T, class U>
double difference(const std::vector<array<T>>& x, const std::vector<array<U>>& y) {
  double worst = x.size() == y.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    worst = std::max(worst, difference(x[i], y[i]));
  }
  return worst;
}

template <class T>
bool same_bits(const std::vector<array<T>>& x, const std::vector<array<T>>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i].list() != y[i].list()) return false;
  }
  return x.size() == y.size();
}

}  // namespace kla_test
