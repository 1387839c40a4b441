// SPDX-License-Identifier: MIT
// Kalman Linear Attention with lanes that turn: an exact Kalman filter of vectors in space, whose transition is a
// rotation given with every token, so that it can track states that do not commute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/scalar/rotating_element.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_beliefs.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/monoids/rotation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// A channel is a head: three values that turn together. Value (vx, vy, vz) and its precision Lambda >= 0 [B, L, M]; the
/// quaternion (rw, rx, ry, rz) [B, L, M]; key k and query q [B, L, S]; decay a and process noise p >= 0 ([M, S] or per
/// token). An array [B, L, M, 3] of values is three tensors with a stride of three between channels: see
/// rotating_values and rotating_quaternions.
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

/// The tensors of the N components of an array [B, L, M, N]: component i is the view from data + i on.
template <std::size_t N, class T>
[[nodiscard]] std::array<tensor<T>, N> components(T* data, std::int64_t batch, std::int64_t time,
                                                  std::int64_t channels) {
  std::array<tensor<T>, N> views;
  constexpr auto n = static_cast<std::int64_t>(N);
  for (std::size_t i = 0; i < N; ++i) {
    views[i] = tensor<T>(data == nullptr ? nullptr : data + i, {batch, time, channels, 1},
                         {time * channels * n, channels * n, n, 1});
  }
  return views;
}

/// The inputs with what lanes share: the rotation as a matrix and as a unit quaternion, and 1 / |r|.
template <class T>
struct rotating_kla_terms {
  T vx, vy, vz, Lambda;
  T xx, xy, xz, yx, yy, yz, zx, zy, zz;
  T rw, rx, ry, rz, inverse_length;
  T k, kk, q, qq, a, aa, p;

  KALSCAN_HD constexpr vector3<T> rotated(const vector3<T>& v) const {
    return {xx * v.x + xy * v.y + xz * v.z, yx * v.x + yy * v.y + yz * v.z, zx * v.x + zy * v.y + zz * v.z};
  }
  KALSCAN_HD constexpr vector3<T> rotated_back(const vector3<T>& v) const {
    return {xx * v.x + yx * v.y + zx * v.z, xy * v.x + yy * v.y + zy * v.z, xz * v.x + yz * v.y + zz * v.z};
  }
  KALSCAN_HD constexpr quaternion<T> rotation() const { return {rw, rx, ry, rz}; }
};

/// Per (channel, state) an exact Kalman filter of a vector in space with one variance: x' = a R x + noise of variance
/// p I, R the rotation of r / |r|, and v = k x + noise of precision Lambda I. y = sum of q mean and yvar = sum of q^2
/// variance, over the states. Each component is a lane of KLA (see kla_mixer for the range, and for precision 0) whose
/// mean is turned before the step; the variance, and what takes a reciprocal, are computed once for the three.
///
/// The length of r does not matter, and its adjoint is orthogonal to r. A quaternion whose numbers are all 0 or
/// subnormal is the identity, with adjoint 0. With a NaN or an infinity in it the means become NaN.
template <readout Readout = readout::filtered, bool Ordinary = false>
struct rotating_kla_mixer {
  template <class X, class P = X>
  using inputs = rotating_kla_inputs<X, P>;
  template <class X>
  using outputs = rotating_kla_outputs<X>;
  template <class X>
  using state = isotropic_belief<X>;
  template <class T>
  using given_states = rotating_belief_tensors<T>;  ///< in either form; N(0, I) where none are given
  template <class T>
  using terms = rotating_kla_terms<T>;
  using ordinary = rotating_kla_mixer<Readout, true>;
  /// The filter of one component.
  using component = kla_mixer<Readout, Ordinary>;

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
  static constexpr auto term_roles = [] {
    std::array<role, 25> roles{};
    for (std::size_t i = 0; i < roles.size(); ++i)
      roles[i] = i < 18 ? role::channel : i < 22 ? role::state : role::parameter;
    return roles;
  }();

  template <class T>
  KALSCAN_HD static constexpr rotating_kla_terms<T> prepare(const rotating_kla_inputs<T>& u) {
    const auto [unit, inverse_length] = direction_of(quaternion<T>{u.rw, u.rx, u.ry, u.rz});
    const auto [w, x, y, z] = unit;
    const T two = T(1) + T(1);
    return {u.vx, u.vy, u.vz, u.Lambda,
            T(1) - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y),
            two * (x * y + w * z), T(1) - two * (x * x + z * z), two * (y * z - w * x),
            two * (x * z - w * y), two * (y * z + w * x), T(1) - two * (x * x + y * y),
            w, x, y, z, inverse_length,
            u.k, u.k * u.k, u.q, u.q * u.q, u.a, u.a * u.a, u.p};
  }

  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> start() {
    return {T(0), T(0), T(0), T(1)};
  }
  template <class T>
  KALSCAN_HD static constexpr bool is_ordinary(const isotropic_belief<T>& x) {
    return component::is_ordinary(belief<T>{T(0), x.variance});
  }
  template <class T>
  KALSCAN_HD static constexpr bool has_ordinary_adjoint(const isotropic_belief<T>& x) {
    return component::has_ordinary_adjoint(belief<T>{x.mean_x, x.variance}) &
           component::has_ordinary_adjoint(belief<T>{x.mean_y, x.variance}) &
           component::has_ordinary_adjoint(belief<T>{x.mean_z, x.variance});
  }

  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> step(const isotropic_belief<T>& before,
                                                       const rotating_kla_terms<T>& u) {
    const auto after = detail::each_component(
        [&](const T& mean, const T& v) { return component::step(belief<T>{mean, before.variance}, terms_of(u, v)); },
        u.rotated(before.mean()), value(u));
    return {after.x.mean, after.y.mean, after.z.mean, after.x.variance};
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> readout(const isotropic_belief<T>& x,
                                                              const rotating_kla_terms<T>& u) {
    const vector3<T> mean = Readout == kalscan::readout::filtered ? x.mean() : u.rotated(x.mean());
    const auto y = detail::each_component(
        [&](const T& m) { return component::readout(belief<T>{m, x.variance}, terms_of(u, T(0))); }, mean);
    return {y.x.y, y.y.y, y.z.y, y.x.yvar};
  }

  /// As kla_mixer's, component by component: each takes the adjoint of its own mean, the first also that of the
  /// variance. What rotations get is the torque of the means that they turn.
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<rotating_kla_mixer, T> adjoint(const isotropic_belief<T>& before,
                                                                          const rotating_kla_terms<T>& u,
                                                                          const isotropic_belief<T>& after,
                                                                          const isotropic_belief<T>& later,
                                                                          const rotating_kla_outputs<T>& bar) {
    const vector3<T> mean = u.rotated(before.mean()), y_bar{bar.yx, bar.yy, bar.yz};
    const vector3<T> read = Readout == kalscan::readout::filtered ? y_bar : u.rotated_back(y_bar);
    const auto vague = which_are_vague(before, u, after);
    const auto one = [&](const T& m, const T& v, const T& m_after, const T& later_mean, const T& later_variance,
                         const T& y, const T& yvar) {
      const belief<T> x{m, before.variance}, x_after{m_after, after.variance}, x_later{later_mean, later_variance};
      if constexpr (Ordinary) {
        return component::adjoint(x, terms_of(u, v), x_after, x_later, kla_outputs<T>{y, yvar});
      } else {
        return component::adjoint(x, terms_of(u, v), x_after, x_later, kla_outputs<T>{y, yvar}, vague);
      }
    };
    const auto x = one(mean.x, u.vx, after.mean_x, later.mean_x, later.variance, read.x, bar.yvar);
    const auto y = one(mean.y, u.vy, after.mean_y, later.mean_y, T(0), read.y, T(0));
    const auto z = one(mean.z, u.vz, after.mean_z, later.mean_z, T(0), read.z, T(0));
    const vector3<T> mean_bar{x.earlier.mean, y.earlier.mean, z.earlier.mean}, back = u.rotated_back(mean_bar);

    vector3<T> torque = turning(mean, mean_bar, before.variance, vague.before);
    if constexpr (Readout == kalscan::readout::predicted) {
      torque = torque + cross((u.q * u.a) * u.rotated(known_mean(after)), y_bar);
    }
    const quaternion<T> r = quaternion<T>{T(0), torque.x, torque.y, torque.z} * u.rotation();
    const T twice = u.inverse_length + u.inverse_length;
    const auto sum = [&](auto field) { return field(x.inputs) + field(y.inputs) + field(z.inputs); };
    return {{back.x, back.y, back.z, x.earlier.variance + y.earlier.variance + z.earlier.variance},
            {x.inputs.v, y.inputs.v, z.inputs.v, sum([](const auto& i) { return i.Lambda; }), twice * r.w, twice * r.x,
             twice * r.y, twice * r.z, sum([](const auto& i) { return i.k; }), sum([](const auto& i) { return i.q; }),
             sum([](const auto& i) { return i.a; }), sum([](const auto& i) { return i.p; })}};
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_monoid<T> monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> lift(const rotating_kla_terms<T>& u) {
    const auto x = detail::each_component([&](const T& v) { return component::lift(terms_of(u, v)); }, value(u));
    return {x.x.A, u.rotation(), {x.x.b, x.y.b, x.z.b}, x.x.C, u.rotated_back({x.x.eta, x.y.eta, x.z.eta}), x.x.J};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> absorb(const rotating_element<T>& x, const rotating_kla_terms<T>& u) {
    const quaternion<T> rotation = rotation_monoid<T>{}(x.rotation, u.rotation());
    const auto y = detail::each_component(
        [&](const T& b, const T& v) {
          return component::absorb(filtering_element<T>{x.gain, b, x.C, T(0), x.J}, terms_of(u, v));
        },
        u.rotated(x.b), value(u));
    const vector3<T> eta{y.x.eta, y.y.eta, y.z.eta};
    return {y.x.A, rotation, {y.x.b, y.y.b, y.z.b}, y.x.C, x.eta + kalscan::rotated(conjugate(rotation), eta), y.x.J};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> act(const rotating_element<T>& x,
                                                      const isotropic_belief<T>& before) {
    return kalscan::act(x, before);
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_adjoint_monoid<T> adjoint_monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_adjoint_map<T> adjoint_lift(const isotropic_belief<T>& before,
                                                                   const rotating_kla_terms<T>& u,
                                                                   const isotropic_belief<T>& after,
                                                                   const rotating_kla_outputs<T>& bar) {
    const vector3<T> mean = u.rotated(before.mean()), y_bar{bar.yx, bar.yy, bar.yz};
    const vector3<T> read = Readout == kalscan::readout::filtered ? y_bar : u.rotated_back(y_bar);
    const auto vague = which_are_vague(before, u, after);
    const auto one = [&](const T& m, const T& v, const T& m_after, const T& y, const T& yvar) {
      return component::adjoint_lift(belief<T>{m, before.variance}, terms_of(u, v), belief<T>{m_after, after.variance},
                                     kla_outputs<T>{y, yvar}, vague);
    };
    const auto x = one(mean.x, u.vx, after.mean_x, read.x, bar.yvar), y = one(mean.y, u.vy, after.mean_y, read.y, T(0)),
               z = one(mean.z, u.vz, after.mean_z, read.z, T(0));
    return {x.x, u.rotation(), {x.y, y.y, z.y}, u.rotated_back({x.c, y.c, z.c}), x.d + y.d + z.d};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> adjoint_act(const rotating_adjoint_map<T>& map,
                                                              const isotropic_belief<T>& later) {
    return kalscan::act(map, later);
  }

 private:
  template <class T>
  KALSCAN_HD static constexpr vector3<T> value(const rotating_kla_terms<T>& u) {
    return {u.vx, u.vy, u.vz};
  }
  template <class T>
  KALSCAN_HD static constexpr kla_terms<T> terms_of(const rotating_kla_terms<T>& u, const T& v) {
    return {v, u.Lambda, v * u.Lambda, u.k, u.kk, u.q, u.qq, u.a, u.aa, u.p};
  }
  template <class T>
  KALSCAN_HD static constexpr typename component::vague_states which_are_vague(const isotropic_belief<T>& before,
                                                                               const rotating_kla_terms<T>& u,
                                                                               const isotropic_belief<T>& after) {
    if constexpr (Ordinary) {
      return {false, false};
    } else {
      return {!detail::equal(u.a, 0) && detail::is_vague(before), detail::is_vague(after)};
    }
  }
  template <class T>
  KALSCAN_HD static constexpr vector3<T> known_mean(const isotropic_belief<T>& x) {
    if constexpr (!Ordinary) {
      if (detail::equal(x.variance, detail::infinity<T>)) return {T(0), T(0), T(0)};
    }
    return x.mean();
  }
  /// The adjoint of the angle by which a belief's mean was turned, from the carried adjoint of the turned one.
  template <class T>
  KALSCAN_HD static constexpr vector3<T> turning(const vector3<T>& mean, const vector3<T>& carried, const T& variance,
                                                 bool vague) {
    const vector3<T> torque = cross(mean, carried);
    if constexpr (!Ordinary) {
      // Carried is then s times the adjoint of the information vector, which is the mean over the variance.
      if (vague) {
        const T s = detail::vague_scale(belief<T>{T(0), variance});
        return (detail::equal(variance, detail::infinity<T>) ? T(1) / s : T(1) / s / variance) * torque;
      }
    }
    return torque;
  }
};

using rotating_kla = rotating_kla_mixer<>;
static_assert(mixer_with_adjoint_elements<rotating_kla>);
static_assert(mixer_with_adjoint_elements<rotating_kla::ordinary>);

}  // namespace kalscan
