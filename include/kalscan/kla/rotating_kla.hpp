// SPDX-License-Identifier: MIT
// Kalman Linear Attention with lanes that turn: an exact Kalman filter of vectors in space, whose transition is a
// rotation given with every token, so that it can track states that do not commute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/scalar/rotating_element.hpp>
#include <kalscan/kla/rotating_beliefs.hpp>
#include <kalscan/kla/rotating_frame.hpp>
#include <kalscan/kla/vector_kla.hpp>
#include <kalscan/mixer/frame.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/monoids/rotation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

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

  KALSCAN_HD constexpr rotation_matrix<T> matrix() const { return {xx, xy, xz, yx, yy, yz, zx, zy, zz}; }
  KALSCAN_HD constexpr vector3<T> rotated(const vector3<T>& v) const { return matrix() * v; }
  KALSCAN_HD constexpr vector3<T> rotated_back(const vector3<T>& v) const { return matrix().transposed_times(v); }
  KALSCAN_HD constexpr quaternion<T> rotation() const { return {rw, rx, ry, rz}; }
};

/// Per (channel, state) an exact Kalman filter of a vector in space with one variance: x' = a R x + noise of variance
/// p I, R the rotation of r / |r|, and v = k x + noise of precision Lambda I. y = sum of q mean and yvar = sum of q^2
/// variance, over the states. Each component is a lane of KLA (see kla_mixer for the range, and for precision 0) whose
/// mean is turned before the step; the variance, and what takes a reciprocal, are computed once for the three.
///
/// A device computes in a frame that turns with the values (rotating_frame), where a step costs three lanes of KLA less
/// what they share; but predictions, and everything without `Framed` (unframed_rotating_kla), are turned lane by lane.
/// Frames start anew every four steps of a call, and decoding uses none. So a device gives a sequence in pieces the bits
/// of the whole one only where all pieces but the last have a multiple of four steps and none has a single step. Without
/// `Framed` it does so for any pieces, decoding included.
///
/// The length of r does not matter, and its adjoint is orthogonal to r. A quaternion whose numbers are all 0 or
/// subnormal is the identity, with adjoint 0. With a NaN or an infinity in it the means become NaN.
template <readout Readout = readout::filtered, bool Ordinary = false, bool Framed = true>
struct rotating_kla_mixer : isotropic_lanes, rotating_kla_frame<Framed && Readout == readout::filtered> {
  template <class T>
  using terms = rotating_kla_terms<T>;
  using ordinary = rotating_kla_mixer<Readout, true, Framed>;
  /// The filter between turns.
  using lanes = vector_kla_mixer<Readout, Ordinary>;

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
    const auto m = matrix_of(unit);
    return {u.vx, u.vy, u.vz, u.Lambda, m.xx, m.xy, m.xz, m.yx, m.yy, m.yz, m.zx, m.zy, m.zz,
            w, x, y, z, inverse_length,
            u.k, u.k * u.k, u.q, u.q * u.q, u.a, u.a * u.a, u.p};
  }

  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> step(const isotropic_belief<T>& before,
                                                       const rotating_kla_terms<T>& u) {
    return lanes::step(turned(before, u), between_turns(u));
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> readout(const isotropic_belief<T>& x,
                                                              const rotating_kla_terms<T>& u) {
    return lanes::readout(predicts ? turned(x, u) : x, between_turns(u));
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> readout(const isotropic_belief<T>& x,
                                                              const rotating_kla_terms<T>& u,
                                                              const rotating_kla_outputs<T>& sums) {
    return lanes::readout(predicts ? turned(x, u) : x, between_turns(u), sums);
  }

  /// What rotations get is the torque of the means that they turn.
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<rotating_kla_mixer, T> adjoint(const isotropic_belief<T>& before,
                                                                          const rotating_kla_terms<T>& u,
                                                                          const isotropic_belief<T>& after,
                                                                          const isotropic_belief<T>& later,
                                                                          const rotating_kla_outputs<T>& bar) {
    auto [earlier, inputs] = lanes::adjoint(turned(before, u), between_turns(u), after, later, read_adjoint(u, bar));
    vector3<T> torque{inputs.rx, inputs.ry, inputs.rz};
    if constexpr (predicts)
      torque = torque + cross((u.q * u.a) * u.rotated(known_mean(after)), {bar.yx, bar.yy, bar.yz});
    const vector3<T> mean = u.rotated_back(earlier.mean());
    const quaternion<T> r = rotation_adjoint(direction<T>{u.rotation(), u.inverse_length}, torque);
    inputs.rw = r.w, inputs.rx = r.x, inputs.ry = r.y, inputs.rz = r.z;
    return {{mean.x, mean.y, mean.z, earlier.variance}, inputs};
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> lift(const rotating_kla_terms<T>& u) {
    const auto x = lanes::lift(between_turns(u));
    return {x.gain, u.rotation(), x.b, x.C, u.rotated_back(x.eta), x.J};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> absorb(const rotating_element<T>& x, const rotating_kla_terms<T>& u) {
    const quaternion<T> rotation = rotation_monoid<T>{}(x.rotation, u.rotation());
    const vector3<T> none{T(0), T(0), T(0)};
    const auto y = lanes::absorb(rotating_element<T>{x.gain, rotation, u.rotated(x.b), x.C, none, x.J},
                                 between_turns(u));
    return {y.gain, rotation, y.b, y.C, x.eta + kalscan::rotated(conjugate(rotation), y.eta), y.J};
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
    const auto x = lanes::adjoint_lift(turned(before, u), between_turns(u), after, read_adjoint(u, bar));
    return {x.x, u.rotation(), x.y, u.rotated_back(x.c), x.d};
  }
 private:
  static constexpr bool predicts = Readout == readout::predicted;

  template <class T>
  KALSCAN_HD static constexpr vector_kla_terms<T> between_turns(const rotating_kla_terms<T>& u) {
    return {u.vx, u.vy, u.vz, u.Lambda, u.k, u.kk, u.q, u.qq, u.a, u.aa, u.p};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> turned(const isotropic_belief<T>& x, const rotating_kla_terms<T>& u) {
    const vector3<T> mean = u.rotated(x.mean());
    return {mean.x, mean.y, mean.z, x.variance};
  }
  /// The adjoints of outputs, as seen before a prediction turned what is read.
  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> read_adjoint(const rotating_kla_terms<T>& u,
                                                                   const rotating_kla_outputs<T>& bar) {
    if constexpr (!predicts) return bar;
    const vector3<T> y = u.rotated_back({bar.yx, bar.yy, bar.yz});
    return {y.x, y.y, y.z, bar.yvar};
  }
  template <class T>
  KALSCAN_HD static constexpr vector3<T> known_mean(const isotropic_belief<T>& x) {
    if constexpr (!Ordinary) {
      if (detail::equal(x.variance, detail::infinity<T>)) return {T(0), T(0), T(0)};
    }
    return x.mean();
  }
};

using rotating_kla = rotating_kla_mixer<>;
using unframed_rotating_kla = rotating_kla_mixer<readout::filtered, false, false>;

}  // namespace kalscan
