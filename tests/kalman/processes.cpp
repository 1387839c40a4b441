// SPDX-License-Identifier: MIT
// Processes in continuous time against the dense Gaussian processes that they are, and their transitions against each
// other.
#include <doctest/doctest.h>

#include <Eigen/Cholesky>
#include <cmath>
#include <cstring>
#include <functional>
#include <kalscan/kalman/function_filter.hpp>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <kalscan/kalman/functions/oscillator.hpp>
#include <kalscan/kalman/series/stretches.hpp>
#include <numbers>
#include <random>

#include "../instrument.hpp"
#include "device_chunks.hpp"

namespace processes_tests {
namespace {

using real = long double;
using matrix = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic>;

template <class X>
matrix full(const X& x) {
  return matrix::NullaryExpr(X::rows, X::columns, [&](auto i, auto j) {
    return static_cast<real>(x(static_cast<int>(i), static_cast<int>(j)));
  });
}

/// exp(A dt) and the integral of exp(A s) B exp(A s)' by series over a small part of dt, then doublings.
void compare_transition(const matrix& f, const matrix& g, const matrix& A, const matrix& B, real dt, real epsilon) {
  constexpr int halvings = 12;
  const Eigen::Index n = A.rows();
  const real h = dt / (1 << halvings);
  matrix F = matrix::Identity(n, n), term = F, Q = B * h, q = Q;
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
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < n; ++j) {
      CAPTURE(i);
      CAPTURE(j);
      CAPTURE(static_cast<double>(dt));
      CHECK(std::abs(f(i, j) - F(i, j)) <= 200 * epsilon * F.row(i).cwiseAbs().maxCoeff());
      CHECK(std::abs(g(i, j) - Q(i, j)) <= 200 * epsilon * std::sqrt(Q(i, i) * Q(j, j)));
    }
  }
}

template <class T, int N>
void check_transition(const kalscan::transition_matrices<T, N>& given, const matrix& A, const matrix& B, real dt) {
  compare_transition(full(given.F), full(given.Q), A, B, dt, std::numeric_limits<T>::epsilon());
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

struct series {
  std::vector<double> times, y;
};
series draw_series(int points) {
  std::mt19937_64 engine(5);
  std::exponential_distribution<double> gap(6);
  std::normal_distribution<double> normal;
  series x;
  double at = 3;
  for (int t = 0; t < points; ++t) {
    x.times.push_back(at += t % 17 == 3 ? 0 : gap(engine));
    x.y.push_back(normal(engine));
  }
  return x;
}

/// Mean and variance at the points themselves, and the log-likelihood, by a Cholesky factor of the covariance of all.
void compare_dense(const series& x, const device_chunks::results<double>& r, const std::function<real(real)>& kernel,
                   real noise) {
  const auto points = std::ssize(x.y);
  matrix K(points, points);
  for (Eigen::Index i = 0; i < points; ++i) {
    for (Eigen::Index j = 0; j < points; ++j)
      K(i, j) = kernel(std::abs(real(x.times[static_cast<std::size_t>(i)]) - real(x.times[static_cast<std::size_t>(j)])));
  }
  const Eigen::LLT<matrix> factor(K + noise * matrix::Identity(points, points));
  const matrix Y = Eigen::Map<const Eigen::VectorXd>(x.y.data(), points).cast<real>();
  const matrix weights = factor.solve(Y), mean = K * weights, covariance = K - K * factor.solve(K);
  real log_likelihood = -((Y.transpose() * weights)(0, 0) + static_cast<real>(points) * std::log(2 * std::numbers::pi_v<real>)) / 2;
  for (Eigen::Index i = 0; i < points; ++i) log_likelihood -= std::log(factor.matrixLLT()(i, i));
  CHECK(std::abs(static_cast<double>(real(r.log_likelihood[0]) - log_likelihood)) < 1e-9);
  for (Eigen::Index t = 0; t < points; ++t) {
    CHECK(std::abs(static_cast<double>(real(r.smoothed_mean(0, t)) - mean(t, 0))) < 1e-11);
    CHECK(std::abs(static_cast<double>(real(r.smoothed_covariance[static_cast<std::size_t>(t)](0, 0)) - covariance(t, t))) < 1e-11);
  }
}

template <class Process>
void check_dense(const Process& process, const std::function<real(real)>& kernel) {
  const series x = draw_series(unless_slow(200, 70));
  const auto model = kalscan::observed_at(process, x.times.data(), 0.25);
  compare_dense(x, device_chunks::filter_and_smooth(model, x.y, {.longest = std::ssize(x.y)}, 16, 4), kernel, 0.25L);
}

TEST_CASE("processes over irregular times are the dense Gaussian processes") {
  const real v = real(1.7), length = real(0.8), l3 = std::sqrt(real(3)) / length, l5 = std::sqrt(real(5)) / length;
  check_dense(kalscan::matern12<double>{1.7, 0.8}, [&](real d) { return v * std::exp(-d / length); });
  check_dense(kalscan::matern32<double>{1.7, 0.8}, [&](real d) { return v * (1 + l3 * d) * std::exp(-l3 * d); });
  check_dense(kalscan::matern52<double>{1.7, 0.8},
              [&](real d) { return v * (1 + l5 * d + l5 * l5 * d * d / 3) * std::exp(-l5 * d); });
  const real w0 = real(2.3), quality = 4, eta = std::sqrt(1 - 1 / (4 * quality * quality));
  check_dense(kalscan::damped_oscillator<double>{1.7, 2.3, 4}, [&](real d) {
    return v * std::exp(-w0 * d / (2 * quality)) *
           (std::cos(eta * w0 * d) + std::sin(eta * w0 * d) / (2 * eta * quality));
  });
}

/// Readings of a process at irregular times.
struct irregular_readings {
  std::vector<double> times{}, y{};

  irregular_readings(std::int64_t length, std::uint64_t seed) {
    std::mt19937_64 engine(seed);
    std::exponential_distribution<double> gap(10);
    std::normal_distribution<double> normal;
    double at = 0;
    for (std::int64_t t = 0; t < length; ++t) times.push_back(at += gap(engine)), y.push_back(normal(engine));
  }
  auto model() const { return kalscan::observed_at(kalscan::matern32<double>{1.3, 0.7}, times.data(), 0.25); }
};

/// What a rank of a device runs, on the host.
TEST_CASE("a stretch of a series has the elements and the rows of the whole series, and finds its end") {
  const std::int64_t length = 103, chunk = 5;
  const irregular_readings readings(length, 8);
  const auto model = readings.model();
  const auto& y = readings.y;
  using traversal = kalscan::detail::filter_traversal<std::remove_cvref_t<decltype(model)>>;
  using kalscan::detail::counted_from_zero, kalscan::detail::replay_chunk;
  struct arrays {
    std::vector<double> mean, covariance, predicted_mean, predicted_covariance, final_mean, log_likelihood;
    std::vector<kalscan::filter_status> status;
    explicit arrays(std::size_t steps)
        : mean(2 * steps), covariance(4 * steps), predicted_mean(mean), predicted_covariance(covariance),
          final_mean(2, 77.0), log_likelihood(1), status(1) {}
  };
  arrays whole(y.size());
  const traversal all{model,
                      {.longest = length},
                      y.data(),
                      {.mean = whole.mean, .covariance = whole.covariance, .predicted_mean = whole.predicted_mean,
                       .predicted_covariance = whole.predicted_covariance, .final_mean = whole.final_mean,
                       .log_likelihood = whole.log_likelihood, .status = whole.status},
                      chunk};
  auto carry = all.start(0);
  std::vector<traversal::state> carries;
  std::vector<double> sums;
  for (std::int64_t k = 0; k < all.chunks(0); ++k) {
    carries.push_back(carry);
    sums.push_back(replay_chunk(all, 0, k, carry));
    carry = traversal::act(all.absorb(0, k), carry);
  }
  for (const auto& ends : {std::pair<std::int64_t, std::int64_t>{0, 40}, {40, 45}, {45, 45}, {45, length}}) {
    const std::int64_t from = ends.first, to = ends.second;
    CAPTURE(from);
    const std::vector<double> own_y(y.begin() + from, y.begin() + to);
    arrays own(own_y.size());
    kalscan::filter_arrays<double> rows{.final_mean = own.final_mean, .log_likelihood = own.log_likelihood,
                                        .status = own.status};
    rows.mean = counted_from_zero(std::span(own.mean), 2 * from);
    rows.covariance = counted_from_zero(std::span(own.covariance), 4 * from);
    rows.predicted_mean = counted_from_zero(std::span(own.predicted_mean), 2 * from);
    rows.predicted_covariance = counted_from_zero(std::span(own.predicted_covariance), 4 * from);
    const traversal counted{model, {.longest = length}, counted_from_zero(std::span(own_y), from).data(), rows, chunk};
    const kalscan::detail::filter_stretch<std::remove_cvref_t<decltype(model)>> mine{counted, from, to};
    for (std::int64_t k = 0; k < mine.chunks(0); ++k) {
      const auto e = mine.absorb(0, k), of_whole = all.absorb(0, from / chunk + k);
      CHECK(std::memcmp(&e, &of_whole, sizeof(e)) == 0);
      const auto index = static_cast<std::size_t>(from / chunk + k);
      CHECK(replay_chunk(mine, 0, k, carries[index]) == sums[index]);
    }
    const auto same = [&](const std::vector<double>& x, const std::vector<double>& of, std::int64_t numbers) {
      return std::equal(x.begin(), x.end(), of.begin() + from * numbers);
    };
    CHECK(same(own.mean, whole.mean, 2));
    CHECK(same(own.covariance, whole.covariance, 4));
    CHECK(same(own.predicted_mean, whole.predicted_mean, 2));
    CHECK(same(own.predicted_covariance, whole.predicted_covariance, 4));
    CHECK(own.final_mean == (to == length && from < to ? whole.final_mean : std::vector<double>(2, 77.0)));
    CHECK(own.status[0].ok());
  }
}

TEST_CASE("a stretch of a series is smoothed as in the whole series, with the filtered mean of the step before it") {
  const std::int64_t length = 103, chunk = 5;
  const irregular_readings readings(length, 9);
  const auto model = readings.model();
  const auto& y = readings.y;
  using model_type = std::remove_cvref_t<decltype(model)>;
  using traversal = kalscan::detail::unplanned_device_smoother<model_type>;
  using kalscan::detail::counted_from_zero, kalscan::detail::replay_chunk;
  std::vector<double> mean(2 * y.size()), covariance(4 * y.size()), smoothed(mean), smoothed_covariance(covariance);
  kalscan::filter(kalscan::seq{}, model, std::span<const double>(y), {.mean = mean, .covariance = covariance});
  const traversal all{model,    {.longest = length},   y.data(), mean.data(), covariance.data(),
                      {.mean = smoothed, .covariance = smoothed_covariance}, chunk};
  auto carry = all.start(0);
  std::vector<traversal::state> carries;
  for (std::int64_t k = 0; k < all.chunks(0); ++k) {
    carries.push_back(carry);
    replay_chunk(all, 0, k, carry);
    carry = traversal::act(all.absorb(0, k), carry);
  }
  // Cut on chunks counted from the end; and, within the first of these, anywhere.
  for (const auto& ends : {std::pair<std::int64_t, std::int64_t>{63, length}, {58, 63}, {58, 58}, {0, 58}, {1, 3}}) {
    const std::int64_t from = ends.first, to = ends.second;
    CAPTURE(from);
    const auto part = [&](const std::vector<double>& x, std::int64_t numbers) {
      return std::vector<double>(x.begin() + from * numbers, x.begin() + to * numbers);
    };
    std::vector<double> own_mean = part(mean, 2), own_covariance = part(covariance, 4), own_y = part(y, 1);
    std::vector<double> mean_before;
    if (from > 0) mean_before.assign(mean.begin() + 2 * (from - 1), mean.begin() + 2 * from);
    // Its results take the place of the filter's.
    const kalscan::smoother_arrays<double> rows{counted_from_zero(std::span(own_mean), 2 * from),
                                                counted_from_zero(std::span(own_covariance), 4 * from)};
    const kalscan::detail::smoother_stretch<model_type> mine{
        traversal{model, {.longest = to}, counted_from_zero(std::span(own_y), from).data(), rows.mean.data(),
                  rows.covariance.data(), rows, chunk},
        from, mean_before.data()};
    if (to == 3) {  // not on chunks: the element of its steps alone
      traversal expected = all;
      expected.chunk = to - from, expected.series.longest = to;
      const auto e = mine.absorb(0, 0), of_whole = expected.absorb(0, 0);
      CHECK(std::memcmp(&e, &of_whole, sizeof(e)) == 0);
      continue;
    }
    const std::int64_t first = (length - to) / chunk;
    CHECK(mine.chunks(0) == (to - from + chunk - 1) / chunk);
    for (std::int64_t k = 0; k < mine.chunks(0); ++k) {
      const auto e = mine.absorb(0, k), of_whole = all.absorb(0, first + k);
      CHECK(std::memcmp(&e, &of_whole, sizeof(e)) == 0);
    }
    for (std::int64_t k = 0; k < mine.chunks(0); ++k)
      replay_chunk(mine, 0, k, carries[static_cast<std::size_t>(first + k)]);
    // A device's threads that have no chunk make a replay, too: it reads nothing, as AddressSanitizer sees.
    for (std::int64_t k = mine.chunks(0); k < mine.chunks(0) + 128; ++k)
      replay_chunk(mine, 0, k, carries.front());
    CHECK(own_mean == part(smoothed, 2));
    CHECK(own_covariance == part(smoothed_covariance, 4));
  }
}

}  // namespace
}  // namespace processes_tests
