// SPDX-License-Identifier: MIT
// Models that people have and that joint formulas lose: vague priors with several sensors, exact constraints,
// components that fade, singular transitions. Random families, and the cases that began them.
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <random>

#include "model_families.hpp"
#include "scalar_oracle.hpp"

namespace {

using Eigen::Dynamic, Eigen::MatrixXd, Eigen::VectorXd;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using float_model = kalscan::kalman_model<float, Dynamic, Dynamic>;
using prior_type = kalscan::gaussian_prior<double, Dynamic>;
using model_families::generator, model_families::identity, model_families::problem_type, model_families::zero;

const std::array policies{kalscan::omp{1, 1 << 20}, kalscan::omp{2, 7}};

constexpr double bound = 1e-8;

/// So many models: no error beyond `bound`, nothing thrown, and no smoothed variance above the filtered one.
void check_family(const model_families::draw_type& draw, int count = 100) {
  // KALSCAN_SEED: other models than those that are always run. About one in a hundred with correlated singular noise
  // then has another log-likelihood than here: in a direction that is known already it depends on which components
  // count as independent. Of 100 models of another family one had a mean off by a deviation (seed 4000).
  const char* other = std::getenv("KALSCAN_SEED");
  const std::uint64_t first = other ? std::strtoull(other, nullptr, 10) : 1000;
  for (int k = 0; k < count; ++k) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(k);
    CAPTURE(seed);
    generator g{std::mt19937_64(seed)};
    const Eigen::Index n = g.between(1, 6), m = g.between(1, 4);
    const problem_type p = draw(g, n, m);
    const auto expected = oracle::run_by_scalars(p);
    const oracle::real largest =
        std::sqrt(p.model.prior.covariance.diagonal().maxCoeff() + p.model.Q[0].diagonal().maxCoeff());
    for (const auto& policy : policies) {
      CAPTURE(policy.chunk);
      const auto s = kalscan::smooth(policy, p.model, p.y);
      const auto& f = s.filtered;
      CHECK(oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, largest) < bound);
      CHECK(oracle::error_in_deviations(s.mean, s.covariance, expected.smoothed_mean, expected.smoothed_covariance,
                                        largest) < bound);
      const auto size = static_cast<double>(p.y.size()) + std::abs(static_cast<double>(expected.log_likelihood));
      CHECK(std::abs(f.log_likelihood - static_cast<double>(expected.log_likelihood)) < bound * size);
      double above = 0;
      for (std::size_t t = 0; t < f.covariance.size(); ++t) {
        const VectorXd rise = s.covariance[t].diagonal() - f.covariance[t].diagonal();
        above = std::max(above, (rise.array() / (f.covariance[t].diagonal().array() + 1e-300)).maxCoeff());
      }
      CHECK(above < 1e-9);
    }
  }
}

TEST_CASE("several sensors and a vague prior, or noise far smaller than the innovations of the state") {
  check_family(model_families::several_sensors(1e7));
  check_family(model_families::several_sensors(1e14));
}

TEST_CASE("an exact constraint of any value") { check_family(model_families::exact_constraint); }

TEST_CASE("exact readings, of the same or of new combinations, until nothing is unknown") {
  check_family(model_families::exact_readings(false));
  check_family(model_families::exact_readings(true));
}

TEST_CASE("correlated noise of any rank, with partly missing observations") {
  check_family(model_families::correlated_noise);
}

TEST_CASE("an observation that is a function of the inputs alone") { check_family(model_families::inputs_alone); }

TEST_CASE("components that fade without innovations") { check_family(model_families::fading, 12); }

TEST_CASE("singular transitions and singular process noise") { check_family(model_families::singular_transitions); }

TEST_CASE("constant states, of which later data know far more") { check_family(model_families::constant_states); }

TEST_CASE("two equal sensors and a vague prior give the mean of both") {
  const auto check = [](auto vague, double tolerance) {
    using T = decltype(vague);
    using matrix = Eigen::Matrix<T, Dynamic, Dynamic>;
    const auto all = [](Eigen::Index rows, Eigen::Index cols, double x) {
      return matrix(matrix::Constant(rows, cols, T(x)));
    };
    const kalscan::kalman_model<T, Dynamic, Dynamic> model{
        all(1, 1, 1), all(1, 1, 0.013), all(2, 1, 1), matrix(matrix::Identity(2, 2) * T(0.007)),
        kalscan::gaussian_prior<T, Dynamic>::of_first_state(Eigen::Vector<T, Dynamic>::Zero(1), all(1, 1, vague))};
    const auto f = kalscan::filter(kalscan::omp{1}, model, matrix{{T(6.0)}, {T(6.1)}});
    CHECK(f.mean(0, 0) == doctest::Approx(6.05).epsilon(tolerance));
    CHECK(f.covariance[0](0, 0) == doctest::Approx(0.0035).epsilon(tolerance));
  };
  for (const double vague : {1e11, 1e14, 1e16}) check(vague, 1e-12);
  for (const float vague : {1e5F, 1e6F, 1e8F}) check(vague, 1e-6);
}

TEST_CASE("in float too, several sensors at every step of a state that moves far") {
  generator g{std::mt19937_64(4)};
  const Eigen::MatrixXf one = Eigen::MatrixXf::Ones(1, 1);
  const float_model model{one, Eigen::MatrixXf(one * 1e6F), Eigen::MatrixXf(Eigen::MatrixXf::Ones(2, 1)),
                          Eigen::MatrixXf(0.01F * Eigen::MatrixXf::Identity(2, 2)),
                          kalscan::gaussian_prior<float, Dynamic>::of_first_state(Eigen::VectorXf::Zero(1), one)};
  const oracle::problem<float, Dynamic, Dynamic> p{model, g.normal(2, 50).cast<float>()};
  const auto expected = oracle::run_by_scalars(p);
  for (const auto& policy : policies) {
    const auto f = kalscan::filter(policy, p.model, p.y);
    CHECK(oracle::error_in_deviations(f.mean, f.covariance, expected.mean, expected.covariance, 0) < 1e-4);
  }
}

TEST_CASE(
    "the whole state read exactly again and again adds nothing to the log-likelihood; a contradiction is reported") {
  const MatrixXd H{{0.1, -0.1, 0.6}, {0.1, -0.5, 0.4}, {1.3, 0.9, -0.7}};
  const model_type model{identity(3), zero(3), H, zero(3), prior_type::of_first_state(VectorXd::Zero(3), identity(3))};
  MatrixXd y = Eigen::Vector3d(-0.07, 0.17, -2.23).replicate(1, 6);
  const auto s = kalscan::smooth(kalscan::omp{1}, model, y);
  CHECK(s.filtered.log_likelihood == doctest::Approx(-2.82470287321961).epsilon(1e-13));
  for (std::size_t t = 1; t < 6; ++t) CHECK(s.filtered.log_likelihood_terms[t] == 0);
  CHECK(s.covariance[0].cwiseAbs().maxCoeff() == 0);
  y(1, 3) += 1e-5;
  CHECK_THROWS_WITH(static_cast<void>(kalscan::filter(kalscan::omp{1}, model, y)),
                    "kalscan: series 0, step 3: the observation contradicts a prediction that has no variance");
}

TEST_CASE("where a variance underflows, the smoother goes on") {
  const MatrixXd one = identity(1);
  const model_type fading{MatrixXd(0.5 * one), zero(1), one, one,
                          prior_type::of_first_state(VectorXd::Zero(1), 2 * one)};
  const auto s = kalscan::smooth(kalscan::omp{2, 100}, fading, MatrixXd(MatrixXd::Ones(1, 2000)));
  CHECK(s.covariance[0](0, 0) == doctest::Approx(6.0 / 11).epsilon(1e-13));
  for (std::size_t t = 0; t < 2000; ++t) CHECK(s.covariance[t](0, 0) <= s.filtered.covariance[t](0, 0));
}

TEST_CASE("the prediction of y has a covariance where y is missing") {
  const auto p = oracle::random_problem<double, Dynamic, Dynamic>(3, 2, 30, {.inputs = true, .missing = true}, 12);
  const auto f = kalscan::filter(kalscan::omp{1}, p.model, p.y, {.predictions = true, .innovations = true});
  for (Eigen::Index t = 0; t < 30; ++t) {
    const auto index = static_cast<std::size_t>(t);
    const MatrixXd S = p.model.H[t] * f.predicted_covariance[index] * p.model.H[t].transpose() + p.model.R[t];
    CHECK(f.innovation_covariance[index].isApprox(S, 1e-13));
    for (Eigen::Index i = 0; i < 2; ++i) CHECK(std::isnan(f.innovation(i, t)) == std::isnan(p.y(i, t)));
  }
}

}  // namespace
