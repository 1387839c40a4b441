// SPDX-License-Identifier: MIT
// Processes in continuous time against the dense Gaussian processes that they are, and their transitions against each
// other.
#include <doctest/doctest.h>

#include <Eigen/Cholesky>
#include <cmath>
#include <functional>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <kalscan/kalman/functions/oscillator.hpp>
#include <numbers>
#include <random>

#include "device_chunks.hpp"

namespace {

using real = long double;
using matrix = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic>;

template <class X>
matrix full(const X& x) {
  return matrix::NullaryExpr(X::rows, X::columns, [&](auto i, auto j) {
    return static_cast<real>(x(static_cast<int>(i), static_cast<int>(j)));
  });
}

/// exp(A dt) and the integral of exp(A s) B exp(A s)' by series over a thousandth of dt, then doublings.
template <class T, int N>
void check_transition(const kalscan::transition_matrices<T, N>& given, const matrix& A, const matrix& B, real dt) {
  constexpr int halvings = 12;
  const real h = dt / (1 << halvings);
  matrix F = matrix::Identity(N, N), term = F, Q = B * h, q = B * h;
  for (int k = 1; k < 20; ++k) {
    term = term * A * h / k;
    F += term;
    q = (A * q + q * A.transpose()).eval() * h / (k + 1);
    Q += q;
  }
  for (int k = 0; k < halvings; ++k) {
    Q += (F * Q * F.transpose()).eval();
    F = (F * F).eval();
  }
  const matrix f = full(given.F), g = full(given.Q);
  const real epsilon = std::numeric_limits<T>::epsilon();
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) {
      CAPTURE(i);
      CAPTURE(j);
      CAPTURE(static_cast<double>(dt));
      CHECK(std::abs(f(i, j) - F(i, j)) <= 200 * epsilon * F.row(i).cwiseAbs().maxCoeff());
      CHECK(std::abs(g(i, j) - Q(i, j)) <= 200 * epsilon * std::sqrt(Q(i, i) * Q(j, j)));
    }
  }
}

template <class T>
void check_transitions() {
  for (const T dt : {T(0), T(1e-4), T(0.01), T(0.3), T(0.9), T(1.7), T(4), T(11)}) {
    {
      const kalscan::matern32<T> p{T(1.7), T(0.8)};
      const real l = std::sqrt(real(3)) / p.length;
      matrix A(2, 2), B = matrix::Zero(2, 2);
      A << 0, 1, -l * l, -2 * l;
      B(1, 1) = 4 * l * l * l * p.variance;
      check_transition(p(dt), A, B, dt);
    }
    {
      const kalscan::matern52<T> p{T(1.7), T(1.8)};
      const real l = std::sqrt(real(5)) / p.length;
      matrix A(3, 3), B = matrix::Zero(3, 3);
      A << 0, 1, 0, 0, 0, 1, -l * l * l, -3 * l * l, -3 * l;
      B(2, 2) = 16 * l * l * l * l * l * p.variance / 3;
      check_transition(p(dt), A, B, dt);
    }
    for (const T quality : {T(0.2), T(0.5), T(0.50001), T(0.7), T(5), T(300)}) {
      CAPTURE(quality);
      const kalscan::damped_oscillator<T> p{T(1.7), T(1.3), quality};
      const real a = real(p.frequency) / (2 * real(quality)), w2 = real(p.frequency) * real(p.frequency);
      matrix A(2, 2), B = matrix::Zero(2, 2);
      A << 0, 1, -w2, -2 * a;
      B(1, 1) = 4 * a * w2 * p.variance;
      check_transition(p(dt), A, B, dt);
    }
    const kalscan::constant_velocity<T> p{T(0.3), T(0.2)};
    matrix A(2, 2), B(2, 2);
    A << 0, 1, 0, 0;
    B << real(p.level), 0, 0, real(p.spectral_density);
    check_transition(p(dt), A, B, dt);
  }
}

TEST_CASE("transitions of processes are the exponentials and integrals that define them") {
  check_transitions<double>();
  check_transitions<float>();
}

/// Mean and variance at the points themselves, and the log-likelihood, by a Cholesky factor of the covariance of all.
template <class Process>
void check_dense(const Process& process, const std::function<real(real)>& kernel, double bound) {
  using T = typename Process::value_type;
  const int points = 200;
  std::mt19937_64 engine(5);
  std::exponential_distribution<double> gap(6);
  std::normal_distribution<double> normal;
  std::vector<double> times;
  std::vector<T> y;
  double at = 3;
  for (int t = 0; t < points; ++t) {
    times.push_back(at += t % 17 == 3 ? 0 : gap(engine));
    y.push_back(static_cast<T>(normal(engine)));
  }
  const real noise = 0.25L;
  const auto between = [&](auto i, auto j) {
    return kernel(std::abs(real(times[static_cast<std::size_t>(i)]) - real(times[static_cast<std::size_t>(j)])));
  };
  const matrix K = matrix::NullaryExpr(points, points, between);
  const matrix S = K + noise * matrix::Identity(points, points);
  const Eigen::LLT<matrix> factor(S);
  const matrix Y = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(y.data(), points).template cast<real>();
  const matrix mean = K * factor.solve(Y), covariance = K - K * factor.solve(K);
  const real log_likelihood = -(Y.cwiseProduct(factor.solve(Y)).sum() + points * std::log(2 * std::numbers::pi_v<real>)) / 2 -
                              factor.matrixLLT().diagonal().array().log().sum();
  const auto model = kalscan::observed_at(process, times.data(), static_cast<T>(noise));
  const auto r = device_chunks::filter_and_smooth(model, y, {.longest = points}, 16, 4);
  CHECK(std::abs(static_cast<double>(real(r.log_likelihood[0]) - log_likelihood)) < bound * points);
  for (int t = 0; t < points; ++t) {
    CHECK(std::abs(static_cast<double>(real(r.smoothed_mean(0, t)) - mean(t))) < bound);
    CHECK(std::abs(static_cast<double>(real(r.smoothed_covariance[static_cast<std::size_t>(t)](0, 0)) -
                                       covariance(t, t))) < bound);
  }
}

template <class T>
void check_against_dense(double bound) {
  const real v = real(T(1.7)), length = real(T(0.8)), l3 = std::sqrt(real(3)) / length, l5 = std::sqrt(real(5)) / length;
  check_dense(kalscan::matern12<T>{T(1.7), T(0.8)}, [&](real d) { return v * std::exp(-d / length); }, bound);
  check_dense(kalscan::matern32<T>{T(1.7), T(0.8)}, [&](real d) { return v * (1 + l3 * d) * std::exp(-l3 * d); }, bound);
  check_dense(
      kalscan::matern52<T>{T(1.7), T(0.8)},
      [&](real d) { return v * (1 + l5 * d + l5 * l5 * d * d / 3) * std::exp(-l5 * d); }, bound);
  const real w0 = real(T(2.3)), quality = 4, eta = std::sqrt(1 - 1 / (4 * quality * quality));
  check_dense(
      kalscan::damped_oscillator<T>{T(1.7), T(2.3), T(4)},
      [&](real d) {
        return v * std::exp(-w0 * d / (2 * quality)) *
               (std::cos(eta * w0 * d) + std::sin(eta * w0 * d) / (2 * eta * quality));
      },
      bound);
}

TEST_CASE("processes over irregular times are the dense Gaussian processes") {
  check_against_dense<double>(1e-11);
  check_against_dense<float>(1e-3);
}

}  // namespace
