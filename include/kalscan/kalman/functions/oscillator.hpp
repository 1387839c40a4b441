// SPDX-License-Identifier: MIT
// A damped oscillator driven by white noise: the quasi-periodic Gaussian process of light curves and tide gauges.
#pragma once

#include <cmath>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// x'' + (w0 / quality) x' + w0^2 x = white noise, of the stationary variance given; `frequency` is w0, in radians per
/// unit of time. In celerite's terms (Foreman-Mackey and others 2017, arXiv 1703.09710) variance = S0 w0 Q. Any
/// quality > 0: above 1/2 it oscillates. State: x and x'.
template <class T>
struct damped_oscillator {
  using value_type = T;
  static constexpr int states = 2;

  T variance, frequency, quality;

  KALSCAN_HD transition_matrices<T, 2> operator()(T dt) const {
    const T a = frequency / (2 * quality), w2 = frequency * frequency, turn2 = (w2 - a * a) * dt * dt;
    T c = 0, s = 0;  // exp(-a dt) times the cosine, and times the sine over its frequency, circular or hyperbolic
    if (turn2 > T(1e-4)) {
      const T angle = std::sqrt(turn2), decay = std::exp(-a * dt);
      c = decay * std::cos(angle);
      s = decay * dt * std::sin(angle) / angle;
    } else if (turn2 < T(-1e-4)) {
      const T angle = std::sqrt(-turn2), slow = std::exp(angle - a * dt), fast = std::exp(-angle - a * dt);
      c = (slow + fast) / 2;
      s = dt * (slow - fast) / (2 * angle);
    } else {
      const T decay = std::exp(-a * dt);
      c = decay * (1 - turn2 / 2 * (1 - turn2 / 12 * (1 - turn2 / 30)));
      s = decay * dt * (1 - turn2 / 6 * (1 - turn2 / 20 * (1 - turn2 / 42)));
    }
    return {{{c + a * s, -w2 * s, s, c - a * s}}, noise(dt, a, w2, c, s)};
  }
  KALSCAN_HD constexpr small_symmetric<T, 2> stationary() const {
    return {{variance, 0, frequency * frequency * variance}};
  }
  KALSCAN_HD constexpr small_matrix<T, 1, 2> observed() const { return {{1, 0}}; }

 private:
  KALSCAN_HD small_symmetric<T, 2> noise(T dt, T a, T w2, T c, T s) const {
    const T q = 4 * a * w2 * variance;
    if (frequency * dt < T(0.5) && a * dt < T(0.5)) {
      // The series of Q' = A Q + Q A' + (0, q), scaled so that nothing cancels in its first terms.
      constexpr int terms = sizeof(T) == 4 ? 14 : 24;
      T x = 0, y = 0, z = q * dt;  // of dt^k / k! times the k-th derivative at 0
      T X = 0, Y = 0, Z = z;
#if defined(__CUDA_ARCH__)
#pragma unroll  // for the reciprocals to be constants
#endif
      for (int k = 2; k < terms; ++k) {
        const T step = dt * (T(1) / static_cast<T>(k)), x_ = 2 * y, y_ = z - w2 * x - 2 * a * y,
                z_ = -2 * w2 * y - 4 * a * z;
        X += x = step * x_;
        Y += y = step * y_;
        Z += z = step * z_;
      }
      return {{X, Y, Z}};
    }
    // The stationary covariance less F times it times F', with what is common to both taken out.
    const T decay2 = -std::expm1(-2 * a * dt);
    return {{variance * (decay2 - 2 * a * s * (c + a * s)), q * s * s / 2,
             w2 * variance * (decay2 + 2 * a * s * (c - a * s))}};
  }
};

}  // namespace kalscan
