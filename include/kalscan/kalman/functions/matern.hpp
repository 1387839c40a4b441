// SPDX-License-Identifier: MIT
// Gaussian processes of the Matérn family as processes in time: smoothness 1/2, 3/2 and 5/2.
#pragma once

#include <cmath>
#include <cstddef>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {
namespace detail {

/// The integrals of s^k exp(-rate s) over s from 0 to dt, k = 0 ... Order, without cancellation: for short times by
/// their series, whose terms are positive.
template <int Order, class T>
struct decayed_moments {
  static constexpr int series_below = Order <= 2 ? 1 : 3;  // rate dt
  static constexpr int terms = (sizeof(T) == 4 ? 8 : 16) + 3 * (series_below - 1);

  T of[static_cast<std::size_t>(Order + 1)];

  KALSCAN_HD decayed_moments(T rate, T dt) : of{} {
    const T x = rate * dt, decay = std::exp(-x);
    if (x < series_below) {
      // gamma(a, x) = x^a e^-x S(a), S(a) = (1 + x S(a + 1)) / a
      T sum = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll  // for the reciprocals to be constants
#endif
      for (int k = Order + terms; k >= 0; --k) {
        const T inverse = T(1) / static_cast<T>(k + 1);
        sum = inverse + inverse * x * sum;
        if (k <= Order) of[k] = sum * decay;
      }
      T power = dt;
      for (int k = 0; k <= Order; ++k, power *= dt) of[k] *= power;
    } else {
      const T time = 1 / rate;
      of[0] = -std::expm1(-x) * time;
      T power = dt;
      for (int k = 1; k <= Order; ++k, power *= dt) of[k] = (static_cast<T>(k) * of[k - 1] - power * decay) * time;
    }
  }
};

}  // namespace detail

/// Covariance variance exp(-d / length). State: the process.
template <class T>
struct matern12 {
  using value_type = T;
  static constexpr int states = 1;

  T variance, length;

  KALSCAN_HD transition_matrices<T, 1> operator()(T dt) const {
    return {{{std::exp(-dt / length)}}, {{-variance * std::expm1(-2 * dt / length)}}};
  }
  KALSCAN_HD constexpr small_symmetric<T, 1> stationary() const { return {{variance}}; }
  KALSCAN_HD constexpr small_matrix<T, 1, 1> observed() const { return {{1}}; }
};

/// Covariance variance (1 + l d) exp(-l d), l = sqrt(3) / length. State: the process and its derivative.
template <class T>
struct matern32 {
  using value_type = T;
  static constexpr int states = 2;

  T variance, length;

  KALSCAN_HD T rate() const { return std::sqrt(T(3)) / length; }
  /// Q is the integral of q g g', where g(s) = exp(-l s) (s, 1 - l s) is what a unit impulse leaves after s.
  KALSCAN_HD transition_matrices<T, 2> operator()(T dt) const {
    const T l = rate(), x = l * dt, decay = std::exp(-x), q = 4 * l * l * l * variance, g = dt * decay;
    const detail::decayed_moments<2, T> moment(2 * l, dt);
    return {{{decay * (1 + x), -decay * l * x, g, decay * (1 - x)}},
            {{q * moment.of[2], q * g * g / 2, q * (moment.of[0] - 2 * l * moment.of[1] + l * l * moment.of[2])}}};
  }
  KALSCAN_HD constexpr small_symmetric<T, 2> stationary() const { return {{variance, 0, rate() * rate() * variance}}; }
  KALSCAN_HD constexpr small_matrix<T, 1, 2> observed() const { return {{1, 0}}; }
};

/// Covariance variance (1 + l d + l^2 d^2 / 3) exp(-l d), l = sqrt(5) / length. State: the process and two derivatives.
template <class T>
struct matern52 {
  using value_type = T;
  static constexpr int states = 3;

  T variance, length;

  KALSCAN_HD T rate() const { return std::sqrt(T(5)) / length; }
  /// As for matern32, with g(s) = exp(-l s) (s^2 / 2, s - l s^2 / 2, 1 - 2 l s + l^2 s^2 / 2).
  KALSCAN_HD transition_matrices<T, 3> operator()(T dt) const {
    const T l = rate(), x = l * dt, decay = std::exp(-x), l2 = l * l, q = 16 * l2 * l2 * l * variance / 3;
    const T g0 = decay * dt * dt / 2, g1 = decay * dt * (1 - x / 2);
    const detail::decayed_moments<4, T> moment(2 * l, dt);
    const auto& I = moment.of;
    return {{{decay * (1 + x + x * x / 2), -decay * l * x * x / 2, decay * l2 * x * (x / 2 - 1),
              decay * dt * (1 + x), decay * (1 + x - x * x), decay * l * x * (x - 3),
              g0, g1, decay * (1 - 2 * x + x * x / 2)}},
            {{q * I[4] / 4,
              q * g0 * g0 / 2, q * (I[2] - l * I[3] + l2 * I[4] / 4),
              q * (I[2] / 2 - l * I[3] + l2 * I[4] / 4), q * g1 * g1 / 2,
              q * (I[0] - 4 * l * I[1] + 5 * l2 * I[2] - 2 * l2 * l * I[3] + l2 * l2 * I[4] / 4)}}};
  }
  KALSCAN_HD constexpr small_symmetric<T, 3> stationary() const {
    const T l2 = rate() * rate(), k = l2 * variance / 3;
    return {{variance, 0, k, -k, 0, l2 * l2 * variance}};
  }
  KALSCAN_HD constexpr small_matrix<T, 1, 3> observed() const { return {{1, 0, 0}}; }
};

}  // namespace kalscan
