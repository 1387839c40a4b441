// SPDX-License-Identifier: MIT
// The frame that turns with rotating KLA's values: seen from it, nothing turns.
#pragma once

#include <kalscan/kalman/scalar/rotating_element.hpp>
#include <kalscan/kla/vector_kla.hpp>
#include <kalscan/monoids/rotation.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// The adjoint of a quaternion from the torque of what it turns.
template <class T>
[[nodiscard]] KALSCAN_HD constexpr quaternion<T> rotation_adjoint(const direction<T>& of, const vector3<T>& torque) {
  const quaternion<T> r = quaternion<T>{T(0), torque.x, torque.y, torque.z} * of.unit;
  const T twice = of.inverse_length + of.inverse_length;
  return {twice * r.w, twice * r.x, twice * r.y, twice * r.z};
}

/// The `frame` of rotating KLA (see mixer_with_frame): after t steps it is turned by the product of their rotations,
/// R_t ... R_1.
struct rotating_frame {
  using lanes = vector_kla_mixer<>;
  template <class T>
  using value = quaternion<T>;
  template <class T>
  using step = direction<T>;

  template <class T>
  KALSCAN_HD static constexpr quaternion<T> identity() {
    return rotation_monoid<T>::identity();
  }
  template <class T>
  KALSCAN_HD static constexpr quaternion<T> compose(const quaternion<T>& earlier, const quaternion<T>& later) {
    return rotation_monoid<T>{}(earlier, later);
  }
  template <class T>
  KALSCAN_HD static constexpr direction<T> of_inputs(const rotating_kla_inputs<T>& u) {
    return direction_of(quaternion<T>{u.rw, u.rx, u.ry, u.rz});
  }
  template <class T>
  KALSCAN_HD static constexpr quaternion<T> after(const direction<T>& step) {
    return step.unit;
  }
  /// Not normalized: four steps change the length of a quaternion by no more than rounding.
  template <class T>
  KALSCAN_HD static constexpr quaternion<T> after(const quaternion<T>& f, const direction<T>& step) {
    return step.unit * f;
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_kla_inputs<T> into(const quaternion<T>& f, rotating_kla_inputs<T> u) {
    const vector3<T> v = rotated(conjugate(f), vector3<T>{u.vx, u.vy, u.vz});
    u.vx = v.x, u.vy = v.y, u.vz = v.z;
    return u;
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> into(const quaternion<T>& f, const rotating_kla_outputs<T>& y) {
    const vector3<T> v = rotated(conjugate(f), vector3<T>{y.yx, y.yy, y.yz});
    return {v.x, v.y, v.z, y.yvar};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_kla_outputs<T> out_of(const quaternion<T>& f, const rotating_kla_outputs<T>& y) {
    const vector3<T> v = rotated(f, vector3<T>{y.yx, y.yy, y.yz});
    return {v.x, v.y, v.z, y.yvar};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> into(const quaternion<T>& f, const isotropic_belief<T>& x) {
    const vector3<T> mean = matrix_of(f).transposed_times(x.mean());
    return {mean.x, mean.y, mean.z, x.variance};
  }
  template <class T>
  KALSCAN_HD static constexpr isotropic_belief<T> out_of(const quaternion<T>& f, const isotropic_belief<T>& x) {
    const vector3<T> mean = matrix_of(f) * x.mean();
    return {mean.x, mean.y, mean.z, x.variance};
  }

  /// An element of the lanes has both of its ends in one frame, that after the steps so far. `element` makes of it the
  /// element of the mixer, which is in no frame.
  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> out_of(const quaternion<T>& f, const rotating_element<T>& x) {
    const auto turn = matrix_of(f);
    return {x.gain, x.rotation, turn * x.b, x.C, turn * x.eta, x.J};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_element<T> element(const quaternion<T>& total, const rotating_element<T>& x) {
    return {x.gain, total, x.b, x.C, rotated(conjugate(total), x.eta), x.J};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_adjoint_map<T> into(const quaternion<T>& f, const rotating_adjoint_map<T>& x) {
    const auto turn = matrix_of(f);
    return {x.x, x.rotation, turn.transposed_times(x.y), turn.transposed_times(x.c), x.d};
  }
  template <class T>
  KALSCAN_HD static constexpr rotating_adjoint_map<T> element(const quaternion<T>& total,
                                                              const rotating_adjoint_map<T>& x) {
    return {x.x, total, rotated(total, x.y), x.c, x.d};
  }

  template <class T>
  KALSCAN_HD static constexpr rotating_kla_inputs<T> adjoint(const quaternion<T>& f, const direction<T>& step,
                                                             rotating_kla_inputs<T> bar) {
    const vector3<T> v = rotated(f, vector3<T>{bar.vx, bar.vy, bar.vz});
    const quaternion<T> r = rotation_adjoint(step, rotated(f, vector3<T>{bar.rx, bar.ry, bar.rz}));
    bar.vx = v.x, bar.vy = v.y, bar.vz = v.z, bar.rw = r.w, bar.rx = r.x, bar.ry = r.y, bar.rz = r.z;
    return bar;
  }
};

/// A base class that gives a mixer its frame, if it has one. Mixers that read out predictions have none, since these are
/// turned once more.
template <bool Framed>
struct rotating_kla_frame {};
template <>
struct rotating_kla_frame<true> {
  using frame = rotating_frame;
};

}  // namespace kalscan
