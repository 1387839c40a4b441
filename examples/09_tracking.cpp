// SPDX-License-Identifier: MIT
// A ship followed by two sensors: reports at irregular times, the second sensor only now and then, an hour without
// either, a forecast of the next half hour, and the one unknown number of the model found by maximizing the likelihood.
#include <Eigen/Cholesky>
#include <cmath>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <random>
#include <vector>

using model_type =
    kalscan::kalman_model<double, 4, 4>;  // east, north, and their speeds; two sensors of two coordinates
using matrix = Eigen::Matrix4d;

/// Constant velocity over the given minutes: the speeds take random steps of variance `drift` a minute.
model_type ship(const std::vector<double>& minutes, double drift) {
  std::vector<matrix> F, Q;  // F_t and Q_t lead to step t: those of step 0 lead from the prior, and are not used here
  for (const double dt : minutes) {
    F.push_back(matrix::Identity());
    F.back().topRightCorner<2, 2>().diagonal().setConstant(dt);
    Q.push_back(matrix::Zero());
    Q.back().topLeftCorner<2, 2>().diagonal().setConstant(drift * dt * dt * dt / 3);
    Q.back().topRightCorner<2, 2>().diagonal().setConstant(drift * dt * dt / 2);
    Q.back().bottomLeftCorner<2, 2>().diagonal().setConstant(drift * dt * dt / 2);
    Q.back().bottomRightCorner<2, 2>().diagonal().setConstant(drift * dt);
  }
  matrix H = matrix::Zero();
  H.leftCols<2>() << 1, 0, 0, 1, 1, 0, 0, 1;                                  // both see the position
  const matrix R = Eigen::Vector4d(0.04, 0.04, 0.0025, 0.0025).asDiagonal();  // to 200 m and to 50 m
  return {F, Q, H, R, kalscan::gaussian_prior<double, 4>::all_diffuse()};
}

int main() {
  constexpr double drift = 2e-4;  // (km a minute)^2 a minute: what the likelihood is to find
  constexpr int reports = 400, ahead = 10;
  std::mt19937_64 engine(7);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;

  // The voyage. The last `ahead` steps, three minutes apart, are to be forecast: nobody reports, so that all is NaN
  // there.
  std::vector<double> minutes;
  for (int t = 0; t < reports; ++t) minutes.push_back(t == 250 ? 60 : 0.5 + uniform(engine));
  minutes.resize(reports + ahead, 3);
  const model_type truth = ship(minutes, drift);
  Eigen::Vector4d x(0, 0, 0.4, 0.1);
  Eigen::Matrix<double, 2, Eigen::Dynamic> position(2, reports + ahead);
  kalscan::observations<double, 4> y(4, reports + ahead);
  y.setConstant(NAN);
  for (int t = 0; t < reports + ahead; ++t) {
    const Eigen::Vector4d shock(normal(engine), normal(engine), normal(engine), normal(engine));
    if (t > 0) x = (truth.F[t] * x + truth.Q[t].llt().matrixL() * shock).eval();
    position.col(t) = x.head<2>();
    if (t >= reports) continue;
    y.col(t).head<2>() = x.head<2>() + 0.2 * Eigen::Vector2d(normal(engine), normal(engine));
    if (uniform(engine) < 0.2)
      y.col(t).tail<2>() = x.head<2>() + 0.05 * Eigen::Vector2d(normal(engine), normal(engine));
  }

  double best = 0, most = -INFINITY;
  for (double guess = 1e-5; guess < 1e-2; guess *= 1.25) {
    const double log_likelihood = kalscan::log_likelihood(kalscan::omp{}, ship(minutes, guess), y);
    if (log_likelihood > most) most = log_likelihood, best = guess;
  }
  const auto track = kalscan::smooth(kalscan::omp{}, ship(minutes, best), y);

  const auto error = [&](const auto& mean, int first, int last) {
    return std::sqrt(
        (mean.middleCols(first, last - first).template topRows<2>() - position.middleCols(first, last - first))
            .colwise()
            .squaredNorm()
            .mean());
  };
  const auto within = [&](int t) {  // 95% of a Gaussian in the plane
    return std::sqrt(5.99 * track.filtered.covariance[static_cast<std::size_t>(t)].topLeftCorner<2, 2>().trace() / 2);
  };
  const int end = reports + ahead - 1;
  std::cout << "drift " << best << " maximizes the likelihood (" << drift << " made the data)\n"
            << "  error of the first sensor " << error(y, 0, reports) << " km, filtered "
            << error(track.filtered.mean, 0, reports) << ", smoothed " << error(track.mean, 0, reports) << '\n'
            << "  half an hour ahead: off by " << error(track.mean, end, end + 1) << " km, expected within "
            << within(end) << '\n';
  const bool good = best > drift / 2 && best < drift * 2 &&
                    error(track.mean, 0, reports) < 0.7 * error(y, 0, reports) &&
                    error(track.mean, end, end + 1) < within(end);
  return good ? 0 : 1;
}
