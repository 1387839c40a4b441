// SPDX-License-Identifier: MIT
// All arrays of a call of KLA or of the gated linear recurrence on the host, forward and backward.
#pragma once

#include <cstdint>
#include <kalscan/kla/backward.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <random>
#include <type_traits>
#include <vector>

namespace bench {

using kalscan::tensor;

/// In any type N the same numbers: those of float.
template <class N>
struct arrays {
  std::int64_t B, L, M, S;
  std::mt19937 engine{1};
  std::vector<N> v, Lambda, k, q, a, p, y, yvar, y_bar, yvar_bar, v_bar, Lambda_bar, k_bar, q_bar, a_bar, p_bar, mean,
      variance;

  std::vector<N> draw(std::int64_t n, float low, float high) {
    std::uniform_real_distribution<float> d(low, high);
    std::vector<N> x(static_cast<std::size_t>(n));
    for (N& e : x) e = d(engine);
    return x;
  }
  arrays(std::int64_t B_, std::int64_t L_, std::int64_t M_, std::int64_t S_) : B(B_), L(L_), M(M_), S(S_) {
    v = draw(B * L * M, -1, 1), Lambda = draw(B * L * M, 0, 2), k = draw(B * L * S, -1, 1), q = draw(B * L * S, -1, 1);
    a = draw(M * S, 0.9F, 0.999F), p = draw(M * S, 0, 0.1F), y_bar = draw(B * L * M, -1, 1),
    yvar_bar = draw(B * L * M, -1, 1);
    y = yvar = v_bar = Lambda_bar = v, k_bar = q_bar = k, a_bar = p_bar = a;
    mean = variance = draw(B * (L / 16 + 1) * M * S, 0, 1);
  }
  auto shape() const { return kalscan::mixer_shape{B, L, M, S}; }
  template <class T>
  tensor<T> channels(std::vector<std::remove_const_t<T>>& x) const {
    return {x.data(), B, L, M, 1};
  }
  template <class T>
  tensor<T> states(std::vector<std::remove_const_t<T>>& x) const {
    return {x.data(), B, L, 1, S};
  }
  template <class T>
  tensor<T> parameters(std::vector<std::remove_const_t<T>>& x) const {
    return {x.data(), 1, 1, M, S};
  }

  auto kla_in() {
    using T = const N;
    return kalscan::kla_inputs{channels<T>(v), channels<T>(Lambda), states<T>(k),
                               states<T>(q),   parameters<T>(a),    parameters<T>(p)};
  }
  auto kla_in_bar() {
    using T = N;
    return kalscan::kla_inputs{channels<T>(v_bar), channels<T>(Lambda_bar), states<T>(k_bar),
                               states<T>(q_bar),   parameters<T>(a_bar),    parameters<T>(p_bar)};
  }
  auto kla_out() { return kalscan::kla_outputs{channels<N>(y), channels<N>(yvar)}; }
  auto kla_out_bar() { return kalscan::kla_outputs{channels<const N>(y_bar), channels<const N>(yvar_bar)}; }
  auto gla_in() {
    using T = const N;
    return kalscan::gla_inputs{channels<T>(v), states<T>(k), states<T>(q), parameters<T>(a)};
  }
  auto gla_in_bar() {
    using T = N;
    return kalscan::gla_inputs{channels<T>(v_bar), states<T>(k_bar), states<T>(q_bar), parameters<T>(a_bar)};
  }
  auto gla_out() { return kalscan::gla_outputs{channels<N>(y)}; }
  template <class T>
  auto checkpoints() {
    return kalscan::belief<tensor<T>>{{mean.data(), B, L / 16 + 1, M, S}, {variance.data(), B, L / 16 + 1, M, S}};
  }
};

}  // namespace bench
