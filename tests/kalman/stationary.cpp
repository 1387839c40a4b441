// SPDX-License-Identifier: MIT
// The stationary prior: against closed forms and its own equation.
#include <doctest/doctest.h>

#include <cmath>
#include <kalscan/kalman/model/stationary_prior.hpp>
#include <random>
#include <string>

#include "../errors.hpp"
#include "../instrument.hpp"

namespace stationary_tests {
namespace {

using matrix = Eigen::MatrixXd;
using wide = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

template <class F, class Q>
std::string refused(const F& f, const Q& q) {
  return message_of([&] { static_cast<void>(kalscan::stationary_prior(f, q)); });
}

TEST_CASE("the stationary prior of AR(1) and AR(2) processes has the variances of their closed forms") {
  for (const double phi : {0.0, 0.5, -0.9, 0.999999, -0.99999999}) {
    CAPTURE(phi);
    const auto prior = kalscan::stationary_prior(Eigen::Matrix<double, 1, 1>(phi), Eigen::Matrix<double, 1, 1>(3.0));
    const long double expected = 3 / ((1 - static_cast<long double>(phi)) * (1 + static_cast<long double>(phi)));
    CHECK(std::abs(static_cast<double>(prior.covariance(0, 0) / expected - 1)) < 4e-16 + 1e-19 / (1 - std::abs(phi)));
    CHECK(prior.mean(0) == 0);
    CHECK(!prior.before_first_transition);
  }
  const double a = 1.2, b = -0.6;
  const auto prior = kalscan::stationary_prior(Eigen::Matrix2d{{a, b}, {1, 0}}, Eigen::Matrix2d{{2, 0}, {0, 0}},
                                               Eigen::Vector2d(0.7, 0));
  const double variance = 2 * (1 - b) / ((1 + b) * ((1 - b) * (1 - b) - a * a));
  CHECK(prior.covariance(0, 0) == doctest::Approx(variance).epsilon(1e-15));
  CHECK(prior.covariance(1, 1) == doctest::Approx(variance).epsilon(1e-15));
  CHECK(prior.covariance(0, 1) == doctest::Approx(variance * a / (1 - b)).epsilon(1e-15));
  CHECK(prior.mean(0) == doctest::Approx(0.7 / (1 - a - b)).epsilon(1e-15));
}

TEST_CASE("random stationary covariances solve their equation to 1e-12, whatever the units and the rank of Q") {
  std::mt19937_64 engine(3);
  std::normal_distribution<double> normal;
  for (int trial = 0; trial < unless_slow(200, 21); ++trial) {
    CAPTURE(trial);
    const Eigen::Index n = 1 + trial % 7;
    matrix F(n, n), root(n, n);
    Eigen::VectorXd units = Eigen::VectorXd::Ones(n);
    for (double& x : F.reshaped()) x = normal(engine);
    for (double& x : root.reshaped()) x = normal(engine);
    root.rightCols(trial % n).setZero();
    F *= 0.999 / F.norm();
    if (trial % 3 == 0) {
      for (Eigen::Index i = 0; i < n; ++i) units(i) = std::ldexp(1, static_cast<int>(engine() % 60) - 30);
    }
    root = units.asDiagonal() * root;
    const matrix Q = root * root.transpose(), G = units.asDiagonal() * F * units.cwiseInverse().asDiagonal();
    const auto prior = kalscan::stationary_prior(G, Q);
    // The sum itself, term by term.
    wide P = Q.cast<long double>(), term = P;
    for (int k = 0; k < 40000 && !term.isZero(0); ++k) {
      term = (G.cast<long double>() * term * G.cast<long double>().transpose()).eval();
      P += term;
      if ((term.diagonal().array() <= 1e-20L * P.diagonal().array()).all()) break;
    }
    for (Eigen::Index i = 0; i < n; ++i) {
      for (Eigen::Index j = 0; j < n; ++j) {
        const long double scale = std::sqrt(P(i, i) * P(j, j));
        CHECK(std::abs(prior.covariance(i, j) - P(i, j)) <= 1e-15L * scale);
      }
    }
  }
}

TEST_CASE("a state that does not return to its mean has no stationary prior") {
  const matrix one = matrix::Identity(1, 1), two = matrix::Identity(2, 2);
  const std::string advice = ", not below 1: make the components that do not return to their mean diffuse";
  const std::string start = "kalscan: F has no stationary distribution: its spectral radius is about ";
  CHECK(refused(one, one) == start + "1" + advice);
  CHECK(refused(matrix(one * 1.25), one) == start + "1.25" + advice);
  CHECK(refused(matrix{{1, 1}, {0, 1}}, two) == start + "1" + advice);                      // local linear trend
  CHECK(refused(matrix{{1, 0}, {0, .5}}, matrix{{0, 0}, {0, 1}}) == start + "1" + advice);  // not even moved by Q
  const double c = std::cos(0.3), s = std::sin(0.3);
  CHECK(refused(matrix{{c, -s}, {s, c}}, two) == start + "1" + advice);
  CHECK(refused(matrix{{0.5, 1e40}, {0, 1}}, two).substr(0, start.size()) == start);
  CHECK(refused(matrix{{0, 1e40}, {0, 0}}, two) == "no std::invalid_argument");  // nilpotent
  CHECK(refused(two, one) == "kalscan: Q is 1 x 1, not 2 x 2");
  CHECK(refused(matrix{{.5, 0}, {0, NAN}}, two) == "kalscan: F is not finite: (1, 1) = nan");
  CHECK(refused(matrix(one * .5), matrix(-one)) == "kalscan: Q has a negative variance: (0, 0) = -1");
}

}  // namespace
}  // namespace stationary_tests
