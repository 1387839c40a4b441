// SPDX-License-Identifier: MIT
// Kalman filters of vectors in space with one variance, as seen from a frame in which nothing turns: what the lanes of
// rotating KLA compute once their inputs are turned into that frame.
#pragma once

#include <array>
#include <cstddef>
#include <kalscan/kalman/scalar/rotating_element.hpp>
#include <kalscan/kla/isotropic_lanes.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_beliefs.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/monoids/rotation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

template <class T>
struct vector_kla_terms {
  T vx, vy, vz, Lambda, k, kk, q, qq, a, aa, p;
};

/// Composition of the maps of adjoints where nothing turns, operands in order of time: rotations count for nothing.
template <class T>
struct vector_adjoint_monoid {
  KALSCAN_HD static constexpr rotating_adjoint_map<T> identity() { return rotating_adjoint_monoid<T>::identity(); }
  KALSCAN_HD constexpr rotating_adjoint_map<T> operator()(const rotating_adjoint_map<T>& earlier,
                                                          const rotating_adjoint_map<T>& later) const {
    const T xx = earlier.x * earlier.x;
    return {earlier.x * later.x, identity().rotation, later.x * earlier.y + xx * later.y,
            earlier.x * later.c + earlier.c, dot(earlier.y, later.c) + xx * later.d + earlier.d};
  }
};

/// Three lanes of KLA with the same variance: what takes a reciprocal is computed once. Inputs are those of rotating
/// KLA, whose quaternion counts for nothing here; the three last numbers of its adjoint are the torque with which a
/// step's adjoint turns the mean before it, the first one is 0.
template <readout Readout = readout::filtered, bool Ordinary = false>
struct vector_kla_mixer : isotropic_lanes {
  template <class T>
  using terms = vector_kla_terms<T>;
  using ordinary = vector_kla_mixer<Readout, true>;
  /// The filter of one component.
  using component = kla_mixer<Readout, Ordinary>;

  static constexpr auto term_roles = [] {
    std::array<role, 11> roles{};
    for (std::size_t i = 0; i < roles.size(); ++i)
      roles[i] = i < 4 ? role::channel : i < 8 ? role::state : role::parameter;
    return roles;
  }();

  template <class T>
  KALSCAN_HD static constexpr vector_kla_terms<T> prepare(const rotating_kla_inputs<T>& u) {
    return {u.vx, u.vy, u.vz, u.Lambda, u.k, u.k * u.k, u.q, u.q * u.q, u.a, u.a * u.a, u.p};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> step(const isotropic_belief<T>& before,
                                                       const vector_kla_terms<T>& u) {
    const T predicted = detail::fused(u.aa, before.variance, u.p);
    if constexpr (!Ordinary) {
      if (detail::equal(before.variance, detail::infinity<T>) || detail::equal(predicted, detail::infinity<T>) ||
          detail::equal(u.Lambda * u.kk * predicted, detail::infinity<T>)) {
        const auto after = detail::each_component(
            [&](const T& mean, const T& v) {
              return component::step(belief<T>{mean, before.variance}, terms_of(u, v));
            },
            before.mean(), value(u));
        return {after.x.mean, after.y.mean, after.z.mean, after.x.variance};
      }
    }
    const T i = gain(predicted, u), variance = predicted * i;
    const T step_gain = u.a * i, taken = variance * (u.Lambda * u.k);
    return {detail::fused(step_gain, before.mean_x, taken * u.vx),
            detail::fused(step_gain, before.mean_y, taken * u.vy),
            detail::fused(step_gain, before.mean_z, taken * u.vz), variance};
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> readout(const isotropic_belief<T>& x,
                                                              const vector_kla_terms<T>& u) {
    const auto y = detail::each_component(
        [&](const T& m) { return component::readout(belief<T>{m, x.variance}, terms_of(u, T(0))); }, x.mean());
    return {y.x.y, y.y.y, y.z.y, y.x.yvar};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> readout(const isotropic_belief<T>& x,
                                                              const vector_kla_terms<T>& u,
                                                              const rotating_kla_outputs<T>& sums) {
    const auto y = detail::each_component(
        [&](const T& m, const T& sum) {
          return component::readout(belief<T>{m, x.variance}, terms_of(u, T(0)), kla_outputs<T>{sum, sums.yvar});
        },
        x.mean(), vector3<T>{sums.yx, sums.yy, sums.yz});
    return {y.x.y, y.y.y, y.z.y, y.x.yvar};
  }

  /// As kla_mixer's, component by component: each takes the adjoint of its own mean, the first also that of the
  /// variance.
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<vector_kla_mixer, T> adjoint(const isotropic_belief<T>& before,
                                                                        const vector_kla_terms<T>& u,
                                                                        const isotropic_belief<T>& after,
                                                                        const isotropic_belief<T>& later,
                                                                        const rotating_kla_outputs<T>& bar) {
    if constexpr (Ordinary) {
      return ordinary_adjoint(before, u, after, later, bar);
    } else {
      const auto vague = which_are_vague(before, u, after);
      const auto one = [&](const T& m, const T& v, const T& m_after, const T& later_mean, const T& later_variance,
                           const T& y, const T& yvar) {
        return component::adjoint(belief<T>{m, before.variance}, terms_of(u, v), belief<T>{m_after, after.variance},
                                  belief<T>{later_mean, later_variance}, kla_outputs<T>{y, yvar}, vague);
      };
      const auto x = one(before.mean_x, u.vx, after.mean_x, later.mean_x, later.variance, bar.yx, bar.yvar);
      const auto y = one(before.mean_y, u.vy, after.mean_y, later.mean_y, T(0), bar.yy, T(0));
      const auto z = one(before.mean_z, u.vz, after.mean_z, later.mean_z, T(0), bar.yz, T(0));
      const vector3<T> mean{x.earlier.mean, y.earlier.mean, z.earlier.mean};
      const vector3<T> torque = turning(before, mean, vague.before);
      const auto sum = [&](auto field) { return field(x.inputs) + field(y.inputs) + field(z.inputs); };
      return {{mean.x, mean.y, mean.z, x.earlier.variance + y.earlier.variance + z.earlier.variance},
              {x.inputs.v, y.inputs.v, z.inputs.v, sum([](const auto& i) { return i.Lambda; }), T(0), torque.x,
               torque.y, torque.z, sum([](const auto& i) { return i.k; }), sum([](const auto& i) { return i.q; }),
               sum([](const auto& i) { return i.a; }), sum([](const auto& i) { return i.p; })}};
    }
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> lift(const vector_kla_terms<T>& u) {
    const auto x = detail::each_component([&](const T& v) { return component::lift(terms_of(u, v)); }, value(u));
    return {x.x.A, rotation_monoid<T>::identity(), {x.x.b, x.y.b, x.z.b}, x.x.C, {x.x.eta, x.y.eta, x.z.eta}, x.x.J};
  }
  /// scalar_filter's absorb with what the components share computed once. The element's rotation stays as it is: both
  /// ends of the element are seen from the same frame.
  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> absorb(const rotating_element<T>& x, const vector_kla_terms<T>& u) {
    const T phi = u.Lambda * u.kk, Lk = u.Lambda * u.k, predicted = u.aa * x.C + u.p, phiC = phi * predicted;
    const T i = detail::reciprocal<detail::rounding_mode::approximate>(T(1) + phiC);
    const T step_gain = u.a * i, C = predicted * i, gain = x.gain * step_gain;
    const vector3<T> innovation = value(u) + -(u.k * u.a) * x.b;
    return {gain,
            x.rotation,
            step_gain * x.b + (C * Lk) * value(u),
            C,
            x.eta + (gain * Lk) * innovation,
            x.J + u.a * x.gain * phi * gain + T(0) * phiC};
  }
  template <class T>
  KALSCAN_HD static constexpr vector_adjoint_monoid<T> adjoint_monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_adjoint_map<T> adjoint_lift(const isotropic_belief<T>& before,
                                                                   const vector_kla_terms<T>& u,
                                                                   const isotropic_belief<T>& after,
                                                                   const rotating_kla_outputs<T>& bar) {
    if constexpr (Ordinary) {
      const T i = gain(u.aa * before.variance + u.p, u), x = u.a * i, xx = x * x;
      const T q = Readout == readout::predicted ? u.a * u.q : u.q;
      const vector3<T> read = q * vector3<T>{bar.yx, bar.yy, bar.yz};
      const vector3<T> y = (xx * (u.Lambda * u.k)) * (value(u) + -(u.k * u.a) * before.mean());
      const T yvar_bar = (Readout == readout::predicted ? u.aa * u.qq : u.qq) * bar.yvar;
      return {x, rotation_monoid<T>::identity(), y, x * read, dot(y, read) + xx * yvar_bar};
    } else {
      return general_adjoint_lift(before, u, after, bar);
    }
  }
 private:
  template <class T>
  KALSCAN_HD static constexpr vector3<T> value(const vector_kla_terms<T>& u) {
    return {u.vx, u.vy, u.vz};
  }
  template <class T>
  KALSCAN_HD static constexpr kla_terms<T> terms_of(const vector_kla_terms<T>& u, const T& v) {
    return {v, u.Lambda, v * u.Lambda, u.k, u.kk, u.q, u.qq, u.a, u.aa, u.p};
  }
  template <class T>
  KALSCAN_HD static constexpr T gain(const T& predicted, const vector_kla_terms<T>& u) {
    constexpr auto how = Ordinary ? detail::rounding_mode::bounded : detail::rounding_mode::approximate;
    return detail::reciprocal<how>(detail::fused(u.Lambda * u.kk, predicted, T(1)));
  }
  template <class T>
  KALSCAN_HD static constexpr typename component::vague_states which_are_vague(const isotropic_belief<T>& before,
                                                                               const vector_kla_terms<T>& u,
                                                                               const isotropic_belief<T>& after) {
    return {!detail::equal(u.a, 0) && detail::is_vague(before), detail::is_vague(after)};
  }
  /// The adjoint of the angle by which a belief's mean was turned, from the carried adjoint of the turned one.
  template <class T>
  KALSCAN_HD static constexpr vector3<T> turning(const isotropic_belief<T>& x, const vector3<T>& carried, bool vague) {
    const vector3<T> torque = cross(x.mean(), carried);
    if (!vague) return torque;
    // Carried is then s times the adjoint of the information vector, which is the mean over the variance.
    const T s = detail::vague_scale(belief<T>{T(0), x.variance});
    return (detail::equal(x.variance, detail::infinity<T>) ? T(1) / s : T(1) / s / x.variance) * torque;
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_adjoint_map<T> general_adjoint_lift(const isotropic_belief<T>& before,
                                                                         const vector_kla_terms<T>& u,
                                                                         const isotropic_belief<T>& after,
                                                                         const rotating_kla_outputs<T>& bar) {
    const auto vague = which_are_vague(before, u, after);
    const auto one = [&](const T& m, const T& v, const T& m_after, const T& y, const T& yvar) {
      return component::adjoint_lift(belief<T>{m, before.variance}, terms_of(u, v), belief<T>{m_after, after.variance},
                                     kla_outputs<T>{y, yvar}, vague);
    };
    const auto x = one(before.mean_x, u.vx, after.mean_x, bar.yx, bar.yvar);
    const auto y = one(before.mean_y, u.vy, after.mean_y, bar.yy, T(0));
    const auto z = one(before.mean_z, u.vz, after.mean_z, bar.yz, T(0));
    return {x.x, rotation_monoid<T>::identity(), {x.y, y.y, z.y}, {x.c, y.c, z.c}, x.d + y.d + z.d};
  }

  /// kla_mixer's adjoint with what the components share computed once.
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<vector_kla_mixer, T> ordinary_adjoint(const isotropic_belief<T>& before,
                                                                                 const vector_kla_terms<T>& u,
                                                                                 const isotropic_belief<T>& after,
                                                                                 const isotropic_belief<T>& later,
                                                                                 const rotating_kla_outputs<T>& bar) {
    constexpr bool predicts = Readout == readout::predicted;
    const vector3<T> y_bar{bar.yx, bar.yy, bar.yz};
    const T yvar_bar = u.qq * bar.yvar;
    const vector3<T> mb = later.mean() + (predicts ? u.a * u.q : u.q) * y_bar;
    const T Pb = later.variance + (predicts ? u.aa * yvar_bar : yvar_bar);
    const T i = gain(u.aa * before.variance + u.p, u);
    const T Lk = u.Lambda * u.k, P = after.variance, forgotten = -(u.k * u.a);
    const vector3<T> ih = i * mb, earlier = u.a * ih;
    const T eh = dot(value(u) + forgotten * before.mean(), ih);
    const T Pmb = i * (Lk * eh + i * Pb);  // of the predicted variance
    const T vPb = P * Pb;
    const T phib = -P * (dot(after.mean(), mb) + vPb), x = P * (eh - u.k * vPb);
    const vector3<T> v_bar = (Lk * P) * mb, torque = cross(before.mean(), earlier);
    const T read = dot(y_bar, after.mean()), twice = bar.yvar + bar.yvar;
    T q_bar = read + u.q * twice * P;
    T a_bar = dot(before.mean(), ih) + (u.a + u.a) * before.variance * Pmb, p_bar = Pmb;
    if constexpr (predicts) {
      q_bar = u.a * read + u.q * twice * (u.aa * P + u.p);
      a_bar += u.q * read + (u.a + u.a) * P * yvar_bar;
      p_bar += yvar_bar;
    }
    return {{earlier.x, earlier.y, earlier.z, u.aa * Pmb},
            {v_bar.x, v_bar.y, v_bar.z, u.k * x, T(0), torque.x, torque.y, torque.z, u.Lambda * (x + u.k * phib),
             q_bar, a_bar, p_bar}};
  }
};

}  // namespace kalscan
