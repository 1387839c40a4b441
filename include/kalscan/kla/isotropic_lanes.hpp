// SPDX-License-Identifier: MIT
// What lanes of vectors in space with one variance have in common, whether they turn or not: inputs, outputs, states and
// elements.
#pragma once

#include <array>
#include <cstddef>
#include <kalscan/kalman/scalar/rotating_element.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_beliefs.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/monoids/rotation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// A channel is a head: three values that turn together. Value (vx, vy, vz) and its precision Lambda >= 0 [B, L, M];
/// the quaternion (rw, rx, ry, rz) [B, L, M]; key k and query q [B, L, S]; decay a and process noise p >= 0 ([M, S] or
/// per token). An array [B, L, M, 3] of values is three tensors with a stride of three between channels: see
/// `components`.
template <class X, class P = X>
struct rotating_kla_inputs {
  X vx, vy, vz, Lambda, rw, rx, ry, rz, k, q;
  P a, p;
};
template <class X, class P>
rotating_kla_inputs(X, X, X, X, X, X, X, X, X, X, P, P) -> rotating_kla_inputs<X, P>;

/// The mean of the value that the query asks for, and the variance of each of its components [B, L, M].
template <class X>
struct rotating_kla_outputs {
  X yx, yy, yz, yvar;
};
template <class X>
rotating_kla_outputs(X, X, X, X) -> rotating_kla_outputs<X>;

/// What lanes of vectors with one variance have in common, whether they turn or not.
struct isotropic_lanes {
  template <class X, class P = X>
  using inputs = rotating_kla_inputs<X, P>;
  template <class X>
  using outputs = rotating_kla_outputs<X>;
  template <class X>
  using state = isotropic_belief<X>;
  template <class T>
  using given_states = rotating_belief_tensors<T>;  ///< in either form; N(0, I) where none are given

  static constexpr std::array<mixer_input, 12> inputs_info{{{"vx", role::channel},
                                                            {"vy", role::channel},
                                                            {"vz", role::channel},
                                                            {"Lambda", role::channel, true},
                                                            {"rw", role::channel},
                                                            {"rx", role::channel},
                                                            {"ry", role::channel},
                                                            {"rz", role::channel},
                                                            {"k", role::state},
                                                            {"q", role::state},
                                                            {"a", role::parameter, false, true},
                                                            {"p", role::parameter, true}}};
  static constexpr std::array output_names{"yx", "yy", "yz", "yvar"};
  static constexpr std::array<mixer_state, 4> state_info{{{"mean x"}, {"mean y"}, {"mean z"}, {"variance", true}}};

  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> start() {
    return {T(0), T(0), T(0), T(1)};
  }
  template <class T>
  KALSCAN_HD static constexpr bool is_ordinary(const isotropic_belief<T>& x) {
    return kla::is_ordinary(belief<T>{T(0), x.variance});
  }
  template <class T>
  KALSCAN_HD static constexpr bool has_ordinary_adjoint(const isotropic_belief<T>& x) {
    constexpr T bound = detail::vague_bound<T>;
    const bool far_x = detail::is_far(x.mean_x, bound), far_y = detail::is_far(x.mean_y, bound),
               far_z = detail::is_far(x.mean_z, bound);
    return detail::ordinary_adjoint(x.variance, far_x | far_y | far_z);
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_monoid<T> monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> act(const rotating_element<T>& x,
                                                      const isotropic_belief<T>& before) {
    return kalscan::act(x, before);
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> adjoint_act(const rotating_adjoint_map<T>& map,
                                                              const isotropic_belief<T>& later) {
    return kalscan::act(map, later);
  }
};

}  // namespace kalscan
