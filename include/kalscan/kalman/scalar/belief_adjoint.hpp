// SPDX-License-Identifier: MIT
// Adjoints of scalar beliefs: in moment and in information form, through a prediction, and as they are carried back.
#pragma once

#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <kalscan/support/power_of_two.hpp>
#include <limits>
#include <type_traits>

namespace kalscan {

/// The affine map of the adjoint of a belief through a stretch of time, from its end to its beginning:
/// mean' = x mean + c, variance' = y mean + x^2 variance + d.
template <class T>
struct belief_adjoint_map {
  T x, y, c, d;
  KALSCAN_HD friend constexpr bool operator==(const belief_adjoint_map& m, const belief_adjoint_map& n) {
    return detail::equal(m.x, n.x) && detail::equal(m.y, n.y) && detail::equal(m.c, n.c) && detail::equal(m.d, n.d);
  }
};

/// Composition of such maps, operands in order of time: `later` acts first. Associative up to rounding.
template <class T>
struct belief_adjoint_monoid {
  KALSCAN_HD static constexpr belief_adjoint_map<T> identity() { return {T(1), T(0), T(0), T(0)}; }
  KALSCAN_HD constexpr belief_adjoint_map<T> operator()(const belief_adjoint_map<T>& earlier,
                                                        const belief_adjoint_map<T>& later) const {
    const auto& [x1, y1, c1, d1] = earlier;
    const auto& [x2, y2, c2, d2] = later;
    return {x1 * x2, y1 * x2 + x1 * x1 * y2, x1 * c2 + c1, y1 * c2 + x1 * x1 * d2 + d1};
  }
};

namespace detail {

/// Beyond this variance the formulas of ordinary beliefs are not used.
template <class T>
inline constexpr T largest_ordinary_variance = power_of_two<T>(std::numeric_limits<T>::max_exponent / 2 - 4);

/// A mean beyond this is far, a variance beyond this is large.
template <class T>
inline constexpr T vague_bound = power_of_two<T>(std::numeric_limits<T>::digits * 2 / 5);

/// |mean| > large; without branches, for vector code. `large` goes by value: a reference to a constant of the host does
/// not exist in device code.
template <class T>
KALSCAN_HD constexpr bool is_far(T mean, std::type_identity_t<T> large) {
#if defined(__CUDA_ARCH__)
  if (!std::is_constant_evaluated()) return fabs(mean) > large;
#endif
  return (mean > large) | (mean < -large);
}

/// Whether the adjoint of a belief is carried in information form, since those of its moments do not exist (infinite
/// variance), underflow (large variance), or lose what matters to rounding: a large mean with a large variance, of
/// which an observation leaves nothing. There the two parts of the adjoint of the precision cancel, and so do those of
/// the adjoint of an observation's information where that is 0. Up to the bound this costs two fifths of the digits,
/// and only where forms are mixed; beyond it beliefs are not ordinary, and adjoints take several times as long.
/// Forms are decided with a margin of 2 to where the formulas of ordinary beliefs may be used (ordinary_adjoint): a
/// belief that two computations round differently is never ordinary in one and vague in the other.
template <class T>
KALSCAN_HD constexpr bool is_vague(const belief<T>& x) {
  constexpr T margin(2), large = vague_bound<T> * margin;
  return (x.variance > large) & (is_far(x.mean, large) | (x.variance > margin * largest_ordinary_variance<T>));
}
/// Whether the formulas of ordinary beliefs hold for the adjoint of a belief of this variance; `far`: one of its means is
/// beyond vague_bound.
template <class T>
KALSCAN_HD constexpr bool ordinary_adjoint(const T& variance, bool far) {
  const bool vague = (variance > vague_bound<T>) & far;
  return (variance > T(0)) & (variance <= largest_ordinary_variance<T>) & !vague;
}

/// The linear part of a belief_adjoint_map. All that is done to adjoints here has this form: steps, and the change
/// between moments and information, since (adjoint of the vector) = P (adjoint of the mean) and
/// -(adjoint of the precision) = P m (adjoint of the mean) + P^2 (adjoint of the variance).
template <class T>
struct adjoint_slope {
  T x, y;
  KALSCAN_HD constexpr belief<T> operator()(const belief<T>& bar) const {
    return {x * bar.mean, y * bar.mean + x * (x * bar.variance)};
  }
};
template <class T>
KALSCAN_HD constexpr adjoint_slope<T> composed(const adjoint_slope<T>& earlier, const adjoint_slope<T>& later) {
  return {earlier.x * later.x, earlier.y * later.x + earlier.x * (earlier.x * later.y)};
}

/// The adjoint of a vague belief is carried as (s times that of the vector, -s^2 times that of the precision). For a
/// finite variance s is small, so that neither what comes from a token that observed something nor what comes from
/// reading so wide a belief leaves the range of T.
template <class T>
KALSCAN_HD constexpr T vague_scale(const belief<T>& x) {
  constexpr T scale = power_of_two<T>(-(std::numeric_limits<T>::max_exponent * 5 / 16));
  return equal(x.variance, infinity<T>) ? T(1) : scale;
}

/// From the carried adjoint of a belief to (adjoint of the vector, -adjoint of the precision). Here and below `vague` is
/// is_vague of the belief; the components of one belief, of which one may be far and another not, share theirs.
template <class T>
KALSCAN_HD constexpr adjoint_slope<T> to_information_slope(const belief<T>& x, bool vague) {
  if (vague) return {T(1) / vague_scale(x), T(0)};
  return {x.variance, x.variance * x.mean};
}

template <class T>
KALSCAN_HD constexpr information_belief<T> information_from_carried(const belief<T>& x, const belief<T>& carried, bool vague) {
  const belief<T> bar = to_information_slope(x, vague)(carried);
  return {-bar.variance, bar.mean};
}
/// A belief without variance has no adjoint in information form but zero.
template <class T>
KALSCAN_HD constexpr belief<T> carried_from_information(const belief<T>& x, const information_belief<T>& bar,
                                                       bool vague) {
  if (vague) return adjoint_slope<T>{vague_scale(x), T(0)}({bar.vector, -bar.precision});
  if (equal(bar.vector, 0) && equal(bar.precision, 0)) return {T(0), T(0)};
  return {bar.vector / x.variance, (-bar.precision - x.mean * bar.vector) / x.variance / x.variance};
}
/// A belief of infinite variance has no adjoint in moment form.
template <class T>
KALSCAN_HD constexpr belief<T> carried_from_moments(const belief<T>& x, const belief<T>& bar, bool vague) {
  if (!vague) return bar;
  if (equal(x.variance, infinity<T>)) return {T(0), T(0)};
  const T s = vague_scale(x), sP = s * x.variance;
  return {sP * bar.mean, sP * (s * (x.mean * bar.mean) + sP * bar.variance)};
}
template <class T>
KALSCAN_HD constexpr belief<T> moments_from_carried(const belief<T>& x, const belief<T>& carried, bool vague) {
  if (!vague) return carried;
  if (equal(x.variance, infinity<T>)) return {T(0), T(0)};
  const T sP = vague_scale(x) * x.variance;
  return {carried.mean / sP, (carried.variance / sP - x.mean / x.variance * carried.mean) / sP};
}

/// From (adjoint of the vector, -adjoint of the precision) after a prediction to those before it.
template <class T>
KALSCAN_HD constexpr adjoint_slope<T> information_slope(const information_prediction<T>& x, const T& p) {
  return {x.gain, x.gain * p * x.h};
}
/// The same to the carried adjoint.
template <class T>
KALSCAN_HD constexpr adjoint_slope<T> carried_slope(const belief<T>& before, const information_prediction<T>& x,
                                                    const T& a, const T& p, bool vague) {
  if (vague) return composed(adjoint_slope<T>{vague_scale(before), T(0)}, information_slope(x, p));
  const T mean = a * x.predicted.precision;
  return {mean, -(mean * mean) * a * before.mean};
}

}  // namespace detail
}  // namespace kalscan
