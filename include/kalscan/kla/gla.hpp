// SPDX-License-Identifier: MIT
// Gated linear attention and diagonal state-space models as a mixer: the linear recurrence beside which KLA is
// measured.
#pragma once

#include <array>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/reversed.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// Value v [B, L, M], key k and query q [B, L, S], gate g ([M, S] or per token).
template <class X, class P = X>
struct gla_inputs {
  X v, k, q;
  P g;
};
template <class X, class P>
gla_inputs(X, X, X, P) -> gla_inputs<X, P>;

template <class X>
struct gla_outputs {
  X y;
};
template <class X>
gla_outputs(X) -> gla_outputs<X>;

template <class X>
struct gla_state {
  X h;
};

/// h' = g h + k v, y = sum over the states of q h (Yang et al. 2023, arXiv 2312.06635; with k and q named B and C, Gu &
/// Dao 2023, arXiv 2312.00752).
struct gla {
  template <class X, class P = X>
  using inputs = gla_inputs<X, P>;
  template <class X>
  using outputs = gla_outputs<X>;
  template <class X>
  using state = gla_state<X>;

  static constexpr std::array<mixer_input, 4> inputs_info{
      {{"v", role::channel}, {"k", role::state}, {"q", role::state}, {"g", role::parameter, false, true}}};
  static constexpr std::array output_names{"y"};
  static constexpr std::array<mixer_state, 1> state_info{{{"h"}}};

  template <class T>
  KALSCAN_HD static constexpr gla_state<T> start() {
    return {T(0)};
  }
  template <class T>
  KALSCAN_HD static constexpr gla_state<T> step(const gla_state<T>& x, const gla_inputs<T>& u) {
    return {detail::fused(u.g, x.h, u.k * u.v)};
  }
  template <class T>
  KALSCAN_HD static constexpr gla_outputs<T> readout(const gla_state<T>& x, const gla_inputs<T>& u) {
    return {u.q * x.h};
  }
  template <class T>
  KALSCAN_HD static constexpr gla_outputs<T> readout(const gla_state<T>& x, const gla_inputs<T>& u,
                                                     const gla_outputs<T>& sums) {
    return {detail::fused(u.q, x.h, sums.y)};
  }
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<gla, T> adjoint(const gla_state<T>& before, const gla_inputs<T>& u,
                                                           const gla_state<T>& after, const gla_state<T>& later,
                                                           const gla_outputs<T>& bar) {
    const T hb = later.h + u.q * bar.y;
    return {{u.g * hb}, {u.k * hb, u.v * hb, bar.y * after.h, before.h * hb}};
  }

  template <class T>
  KALSCAN_HD static constexpr affine_monoid<T> monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr affine_map<T> lift(const gla_inputs<T>& u) {
    return {u.g, u.k * u.v};
  }
  template <class T>
  KALSCAN_HD static constexpr affine_map<T> absorb(const affine_map<T>& x, const gla_inputs<T>& u) {
    return {u.g * x.gain, u.g * x.offset + u.k * u.v};
  }
  template <class T>
  KALSCAN_HD static constexpr gla_state<T> act(const affine_map<T>& x, const gla_state<T>& before) {
    return {x.gain * before.h + x.offset};
  }

  template <class T>
  KALSCAN_HD static constexpr reversed<affine_monoid<T>> adjoint_monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr affine_map<T> adjoint_lift(const gla_state<T>&, const gla_inputs<T>& u,
                                                         const gla_state<T>&, const gla_outputs<T>& bar) {
    return {u.g, u.g * (u.q * bar.y)};
  }
  template <class T>
  KALSCAN_HD static constexpr gla_state<T> adjoint_act(const affine_map<T>& x, const gla_state<T>& later) {
    return act(x, later);
  }
};

}  // namespace kalscan
