// SPDX-License-Identifier: MIT
// What the benchmarks scan: elements and inputs that neither overflow nor die out over ten million steps.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <kalscan/kalscan.hpp>
#include <random>
#include <vector>

/// `length` elements, drawn once and repeated every 4096 steps: what is drawn does not matter to the time.
template <class Draw>
auto repeated(std::int64_t length, Draw draw) {
  std::mt19937_64 engine(1);
  std::vector<decltype(draw(engine))> distinct;
  for (int i = 0; i < 4096; ++i) distinct.push_back(draw(engine));
  std::vector<decltype(draw(engine))> all;
  all.reserve(static_cast<std::size_t>(length));
  for (std::int64_t t = 0; t < length; ++t) all.push_back(distinct[static_cast<std::size_t>(t % 4096)]);
  return all;
}

/// Affine maps in float whose gains multiply to a random walk around 1; as a recurrence h' = g h + u.
struct affine_float {
  using recurrence = kalscan::linear_recurrence<float>;
  static recurrence make() { return {}; }
  static float initial() { return 0; }
  static kalscan::affine_map<float> element(std::mt19937_64& engine) {
    std::normal_distribution<float> normal;
    return {std::exp(0.001F * normal(engine)), normal(engine)};
  }
  static auto inputs(std::int64_t length) { return repeated(length, element); }
  static auto elements(std::int64_t length) { return inputs(length); }
};

/// One lane of a Kalman filter, in float.
struct scalar_float {
  using recurrence = kalscan::scalar_filter<float>;
  static recurrence make() { return {0.99F, 0.1F}; }
  static kalscan::belief<float> initial() { return {0, 1}; }
  static kalscan::scalar_observation<float> input(std::mt19937_64& engine) {
    std::normal_distribution<float> normal;
    const float phi = std::exp(normal(engine));
    return {phi, phi * normal(engine)};
  }
  static kalscan::filtering_element<float> element(std::mt19937_64& engine) { return make().lift(input(engine)); }
  static auto inputs(std::int64_t length) { return repeated(length, input); }
  static auto elements(std::int64_t length) { return repeated(length, element); }
};

/// Stretches of a Kalman filter with four states, in float; as a recurrence they act on a belief.
struct matrix_float {
  struct recurrence {
    using state_type = kalscan::matrix_belief<float, 4>;
    using input_type = kalscan::matrix_filtering_element<float, 4>;
    static kalscan::matrix_filtering_monoid<float, 4> monoid() { return {}; }
    static state_type step(const state_type& s, const input_type& x) { return kalscan::act(x, s); }
    static input_type lift(const input_type& x) { return x; }
    static state_type act(const input_type& x, const state_type& s) { return kalscan::act(x, s); }
  };
  static recurrence make() { return {}; }
  static recurrence::state_type initial() { return {Eigen::Vector4f::Zero(), Eigen::Matrix4f::Identity()}; }
  static recurrence::input_type element(std::mt19937_64& engine) {
    std::normal_distribution<float> normal;
    const auto draw = [&] { return Eigen::Matrix4f::NullaryExpr([&] { return normal(engine); }).eval(); };
    const Eigen::Matrix4f C = draw(), J = draw();
    return {0.3F * draw(), draw().col(0), C * C.transpose(), draw().col(0), J * J.transpose()};
  }
  static auto inputs(std::int64_t length) { return repeated(length, element); }
  static auto elements(std::int64_t length) { return inputs(length); }
};

/// The largest difference of two arrays of structs of floats, over the largest absolute value.
template <class X>
float difference(const std::vector<X>& a, const std::vector<X>& b) {
  static_assert(sizeof(X) % sizeof(float) == 0);
  float largest = 1e-30F, worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    float x[sizeof(X) / sizeof(float)], y[sizeof(X) / sizeof(float)];
    std::memcpy(x, &a[i], sizeof(X));
    std::memcpy(y, &b[i], sizeof(X));
    for (std::size_t k = 0; k < sizeof(X) / sizeof(float); ++k) {
      if (!(std::abs(x[k] - y[k]) <= worst)) worst = std::abs(x[k] - y[k]);
      largest = std::max(largest, std::abs(y[k]));
    }
  }
  return worst / largest;
}
