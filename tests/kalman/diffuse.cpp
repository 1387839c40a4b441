// SPDX-License-Identifier: MIT
// The exactly diffuse prior against exact conditioning, on random models and on known cases.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numbers>

#include "../instrument.hpp"
#include "diffuse_families.hpp"
#include "diffuse_oracle.hpp"

namespace diffuse_tests {
namespace {

using Eigen::Dynamic, Eigen::Index;
using diffuse_families::all_diffuse, diffuse_families::identity, diffuse_families::zero;
using diffuse_oracle::model_type, diffuse_oracle::series_type;
using matrix = Eigen::MatrixXd;
using result_type = kalscan::smoother_result<double, Dynamic, Dynamic>;

constexpr double bound = 1e-8;

result_type smoothed(const model_type& model, const series_type& y) {
  return kalscan::smooth(kalscan::seq{}, model, y, {.predictions = true});
}

/// Of a belief of step t, where the first `diffuse.size()` are improper.
double defect(const diffuse_oracle::belief& expected, const matrix& mean, const matrix& covariance,
              const std::vector<matrix>& diffuse, std::size_t t) {
  return diffuse_oracle::defect(expected, mean, covariance, t < diffuse.size() ? &diffuse[t] : nullptr);
}

double filtered_defect(const result_type& s, const diffuse_oracle::conditioning& expected) {
  const auto& f = s.filtered;
  double worst = 0, total = 0;
  for (std::size_t t = 0; t < f.covariance.size(); ++t) {
    const auto column = static_cast<Index>(t);
    worst = std::max({worst, defect(expected.filtered[t], f.mean.col(column), f.covariance[t], f.diffuse, t),
                      defect(expected.predicted[t], f.predicted_mean.col(column), f.predicted_covariance[t],
                             f.predicted_diffuse, t)});
    total += f.log_likelihood_terms[t];
    const double term = expected.log_likelihood_terms[t];
    worst = std::max(worst, std::abs(f.log_likelihood_terms[t] - term) / (1 + std::abs(term)));
  }
  worst = std::max(worst, std::abs(total - f.log_likelihood) / (1 + std::abs(total)));
  return std::isfinite(worst) ? worst : 1;
}
double defect(const result_type& s, const diffuse_oracle::conditioning& expected) {
  double worst = filtered_defect(s, expected);
  for (std::size_t t = 0; t < s.covariance.size(); ++t) {
    const auto column = static_cast<Index>(t);
    worst = std::max(worst, defect(expected.smoothed[t], s.mean.col(column), s.covariance[t], s.diffuse, t));
  }
  return worst;
}

/// So many models: nothing thrown, and no error beyond `bound`, unless a few roundings of the inputs make as much.
/// Returns of how many some belief is improper.
int check_family(const diffuse_families::family& family, std::uint64_t count) {
  // KALSCAN_SEED and KALSCAN_MODELS: other models, and more.
  const char *seed = std::getenv("KALSCAN_SEED"), *models = std::getenv("KALSCAN_MODELS");
  const std::uint64_t first = seed ? std::strtoull(seed, nullptr, 10) : 1;
  if (models) count = std::strtoull(models, nullptr, 10);
  const std::string& name = family.name;
  int improper = 0;
  for (std::uint64_t i = first; i < first + count; ++i) {
    CAPTURE(name);
    CAPTURE(i);
    diffuse_families::source draw(i);
    const auto p = family.make(draw);
    const diffuse_oracle::conditioning expected(p.model, p.y);
    if (expected.contradictory) continue;
    result_type s;
    REQUIRE_NOTHROW(s = smoothed(p.model, p.y));
    const double error = defect(s, expected);
    CHECK(error < (error < bound ? bound : std::max(bound, 32 * condition(expected))));
    improper += s.filtered.diffuse.empty() ? 0 : 1;
  }
  return improper;
}

TEST_CASE("a diffuse prior is the limit of large variances, for every kind of model") {
  for (const auto& family : diffuse_families::all) CHECK(check_family(family, 100) > 0);
}

TEST_CASE("what is read exactly through an unstable inverse stays right while other directions are still unknown") {
  CHECK(check_family({"directions seen late", diffuse_families::seen_late}, 20) > 0);
}

TEST_CASE("what is read exactly through an unstable inverse can be smoothed where its prior is diffuse") {
  for (const std::uint64_t seed : {66U, 121U, 128U, 183U, 192U}) {  // these were off by up to 0.07 deviations
    CAPTURE(seed);
    diffuse_families::source draw(seed);
    const auto p = diffuse_families::seen_late(draw);
    CHECK(defect(smoothed(p.model, p.y), diffuse_oracle::conditioning(p.model, p.y)) < bound);
  }
}

TEST_CASE("a reading without noise is solved for the unknown that it tells most of") {
  // These were off by up to 0.002 deviations. Their units differ by 1e8: a rounding of the inputs makes 5e-12 deviations of
  // the smoothed states, and these are off by 2e-10.
  for (const std::uint64_t seed : {7U, 31U}) {
    CAPTURE(seed);
    diffuse_families::source draw(seed);
    constexpr Index n = 4, length = 8;
    matrix units(1, n), Q = zero(n);
    for (double& unit : units.reshaped()) unit = std::pow(10.0, draw.number(-4, 4));
    std::vector<matrix> H;
    for (Index t = 0; t < length; ++t) {
      H.push_back(draw.normals(1, n).cwiseProduct(units));
      H.back()(0) = units(0);
      if (t % 3 == 2) H.back().rightCols(n - 1).setZero();
    }
    for (const Index i : {0, 1, 3}) Q(i, i) = 1 / (units(i) * units(i));
    const model_type model{identity(n), Q, H, zero(1), all_diffuse(n)};
    const series_type y = draw.normals(1, length);
    const diffuse_oracle::conditioning expected(model, y);
    const auto s = smoothed(model, y);
    for (std::size_t t = 0; t < s.covariance.size(); ++t)
      CHECK(defect(expected.smoothed[t], s.mean.col(static_cast<Index>(t)), s.covariance[t], s.diffuse, t) < 1e-9);
  }
}

TEST_CASE("what exact readings tell in the end is not left unknown for the rounding of directions that stay unknown") {
  diffuse_families::source draw(1'630'068);
  const auto p = diffuse_families::in_part(draw);
  const auto s = smoothed(p.model, p.y);
  CHECK(s.diffuse.empty());
  CHECK(defect(s, diffuse_oracle::conditioning(p.model, p.y)) < 1e-12);
}

TEST_CASE("a sum that exact readings never tell apart stays improper over steps of any length") {
  // A twice differentiable process and one that is not, with the same rate: in the difference of the two a start decays
  // that no reading of their sum sees.
  diffuse_families::source draw(3);
  int improper = 0;
  for (int k = 0; k < 20; ++k) {
    CAPTURE(k);
    const double rate = std::pow(10.0, draw.number(-10, 5) / 10);
    std::vector<matrix> F, Q;
    for (int t = 0; t < 12; ++t) {
      const double dt = std::pow(10.0, draw.number(-30, 3) / 10) / rate, s = rate * dt, fades = std::exp(-s);
      F.push_back(fades * matrix{{1 + s, dt, 0}, {-rate * s, 1 - s, 0}, {0, 0, 1}});
      Q.push_back(matrix{{dt * dt, dt / 2, 0}, {dt / 2, 1, 0}, {0, 0, 1}});
    }
    const model_type model{F, Q, matrix{{1, 0, 1}}, zero(1), all_diffuse(3)};
    const series_type y = draw.normals(1, 12);
    const auto s = smoothed(model, y);
    improper += std::ssize(s.filtered.diffuse) == 12 ? 1 : 0;
    CHECK(filtered_defect(s, diffuse_oracle::conditioning(model, y)) < 1e-6);
  }
  CHECK(improper == 20);
}

TEST_CASE("what later exact readings tell of a sum of unseen states leaves no rounding that would count as unknown") {
  diffuse_families::source draw(9088);
  const auto p = diffuse_families::in_part(draw);
  CHECK(defect(smoothed(p.model, p.y), diffuse_oracle::conditioning(p.model, p.y)) < bound);
}

TEST_CASE("where exact readings tell the whole state at every step, hardly a variance is left that is rounding") {
  Index left = 0;
  for (const std::uint64_t seed : {12U, 140U, 158U, 162U, 192U, 220U, 230U, 238U, 246U, 282U}) {
    diffuse_families::source draw(seed);
    const Index n = draw.in(2, 4);
    const matrix F = draw.normals(n, n), shocks = draw.normals(n, draw.in(1, n)), H = draw.normals(n, n);
    const model_type model{F, shocks * shocks.transpose(), H, zero(n), all_diffuse(n)};
    series_type y(n, 6);
    matrix x = draw.normals(n, 1);
    for (Index t = 0; t < 6; ++t) {
      y.col(t) = H * x;
      x = F * x + shocks * draw.normals(shocks.cols(), 1);
    }
    y(0, 0) = std::nan("");
    const auto f = kalscan::filter(kalscan::seq{}, model, y);
    for (std::size_t t = 1; t < 6; ++t) left += (f.covariance[t].diagonal().array() > 0).count();
  }
  CHECK(left < 3);
}

TEST_CASE("the cosine of a quarter turn is rounding, and tells nothing of a season") {
  const double angle = std::numbers::pi / 2, cosine = std::cos(angle);
  REQUIRE(cosine != 0);
  const matrix F{{1, 0, 0, 0}, {0, cosine, 1, 0}, {0, -1, cosine, 0}, {0, 0, 0, -1}};
  matrix Q = diffuse_families::zero(4);
  Q(0, 0) = 0.016;
  const model_type model{F, Q, matrix{{1, 1, 0, 1}}, matrix{{0.0}}, diffuse_families::all_diffuse(4)};
  const double none = std::numeric_limits<double>::quiet_NaN();
  const series_type y{{-27.7, none, -25.5, none, -27.2, -6.8, none, -7.1, -27.1, -6.9}};
  CHECK(defect(smoothed(model, y), diffuse_oracle::conditioning(model, y)) < bound);
}

TEST_CASE("directions that readings tell apart only over many steps are seen with all their digits") {
  // The expected values were computed with 2000 bits.
  const series_type eight{{1, 4, 2, 5, 3, 1, 4, 2}};
  const matrix decays{{1, 0, 0}, {0, 1 - 0x1p-24, 0}, {0, 0, 1 - 0x1p-25}};
  const model_type sum{decays, zero(3), matrix{{1, 1, 1}}, matrix{{1}}, all_diffuse(3)};
  const auto s = smoothed(sum, eight);
  CHECK(s.filtered.log_likelihood == doctest::Approx(32.616373989010526).epsilon(1e-9));
  CHECK(s.filtered.diffuse.size() == 2);
  CHECK(s.mean(2, 0) == doctest::Approx(268071428760723.16).epsilon(1e-8));
  CHECK(s.filtered.covariance[7](1, 1) == doctest::Approx(7.5455350144565338e+27).epsilon(1e-8));

  matrix F = identity(4);
  for (const Index i : {1, 2, 3}) F(i, i) -= std::ldexp(1.0, -9 - static_cast<int>(i));
  const auto four = kalscan::filter(kalscan::seq{}, model_type{F, zero(4), matrix{{1, 1, 1, 1}}, matrix{{1}}, all_diffuse(4)}, eight);
  CHECK(four.mean(1, 7) == doctest::Approx(-863049328.14433556).epsilon(1e-10));
  CHECK(four.covariance[7](0, 0) == doctest::Approx(4.464303876907111e+18).epsilon(1e-10));
  CHECK(four.covariance[7](1, 1) == doctest::Approx(4.9168997719105237e+17).epsilon(1e-10));

  matrix tides = identity(7), H = matrix::Zero(1, 7);  // a mean, and three rotations read every six minutes
  H(0, 0) = 1;
  const double degrees = std::numbers::pi / 180;
  for (const Index i : {0, 1, 2}) {
    const double angle = std::array{29.0, 30.0, 15.0}[static_cast<std::size_t>(i)] * 0.1 * degrees;
    tides.block(1 + 2 * i, 1 + 2 * i, 2, 2) = matrix{{std::cos(angle), std::sin(angle)}, {-std::sin(angle), std::cos(angle)}};
    H(0, 1 + 2 * i) = 1;
  }
  const auto f = kalscan::filter(kalscan::seq{}, model_type{tides, zero(7), H, matrix{{1}}, all_diffuse(7)}, eight);
  CHECK(f.mean(1, 7) / std::sqrt(8.5702610739988169e+19) ==
        doctest::Approx(-28474044272.413551 / std::sqrt(8.5702610739988169e+19)).epsilon(bound));
  CHECK(f.covariance[7](3, 3) == doctest::Approx(6.2199048679794221e+19).epsilon(bound));
}

TEST_CASE("what is forgotten until its variance underflows is not found again") {
  const std::vector<matrix> F{identity(2), identity(2), matrix{{0, 1e-170}, {1e-170, 0}}, identity(2)};
  series_type y(1, 4);
  y << std::numeric_limits<double>::quiet_NaN(), 1, 2, 3;
  const model_type model{F, identity(2), matrix{{1, 0.5}}, zero(1), all_diffuse(2)};
  const auto f = kalscan::filter(kalscan::seq{}, model, y);
  CHECK(f.diffuse.size() == 2);
  // From step 2 on as if the state before had been zero.
  const model_type rest{identity(2), identity(2), matrix{{1, 0.5}}, zero(1),
                        kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd::Zero(2), identity(2))};
  const auto expected = kalscan::filter(kalscan::seq{}, rest, series_type(y.rightCols(2)));
  CHECK((f.mean.rightCols(2) - expected.mean).norm() < 1e-12);
  CHECK((f.covariance[3] - expected.covariance[1]).norm() < 1e-12);
}

TEST_CASE("after a beginning with exact readings ordinary steps go on, and are smoothed") {
  diffuse_families::source draw(12);
  std::vector<matrix> R;
  for (int t = 0; t < 90; ++t) R.push_back(identity(1) * (t % 3 == 0 ? 0.0 : 0.5));
  const model_type model{matrix{{1, 1}, {0, 1}}, matrix{{0.1, 0}, {0, 0.01}}, matrix{{1, 0}}, R, all_diffuse(2)};
  const series_type y = draw.normals(1, 90);
  const diffuse_oracle::conditioning expected(model, y);
  const auto s = smoothed(model, y);
  CHECK(s.filtered.beginning.size() < 90);
  CHECK(defect(s, expected) < bound);
}

/// The worst error of proper beliefs, in deviations however small these are.
double error_in_deviations(const std::vector<diffuse_oracle::belief>& expected, const matrix& mean,
                           const std::vector<matrix>& covariance) {
  double worst = 0;
  for (std::size_t t = 0; t < expected.size(); ++t) {
    const auto& x = expected[t];
    if (!x.proper) continue;
    const Eigen::VectorXd scale = x.covariance.diagonal().cwiseSqrt().cwiseInverse();
    const matrix off = scale.asDiagonal() * (covariance[t] - x.covariance) * scale.asDiagonal();
    const Eigen::VectorXd means = scale.asDiagonal() * (mean.col(static_cast<Index>(t)) - x.mean);
    worst = std::max({worst, off.cwiseAbs().maxCoeff(), means.cwiseAbs().maxCoeff()});
  }
  return std::isfinite(worst) ? worst : 1;
}

/// Several sensors of each of a few factors.
diffuse_families::problem factors(diffuse_families::source& draw) {
  const Index n = draw.in(1, 3), m = draw.in(n, 4);
  matrix F = identity(n), R = identity(m);
  for (double& f : F.diagonal()) f = draw.number(4, 20) / 20;
  for (double& r : R.diagonal()) r = std::pow(10, -draw.number(6, 11));
  return {{F, identity(n), draw.normals(m, n), R, all_diffuse(n)}, series_type(m, 8)};
}
/// Fewer sensors than states, some of which are seen late.
diffuse_families::problem few_sensors(diffuse_families::source& draw) {
  const Index n = draw.in(2, 6), m = draw.in(1, 3);
  const matrix shocks = draw.integers(n, n, 2);
  diffuse_families::problem p{
      {draw.normals(n, n) / std::sqrt(static_cast<double>(n)), shocks * shocks.transpose(), draw.normals(m, n),
       std::pow(10, -draw.number(6, 10)) * identity(m), all_diffuse(n)},
      series_type(m, 12)};
  p.model.prior.diffuse.back() = draw.one_in(2);
  return p;
}

TEST_CASE("sensors far more precise than the shocks of a step leave a diffuse beginning the digits of its deviations") {
  for (const auto make : {factors, few_sensors}) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      CAPTURE(seed);
      diffuse_families::source draw(seed);
      auto p = make(draw);
      diffuse_families::simulate(p, p.y.cols(), draw);
      diffuse_families::drop(p, 6, draw);
      const diffuse_oracle::conditioning expected(p.model, p.y);
      for (const auto& policy : {kalscan::omp{1, 1 << 20}, kalscan::omp{2, 3}}) {
        const auto s = kalscan::smooth(policy, p.model, p.y, {.predictions = true});
        const auto& f = s.filtered;
        CHECK(error_in_deviations(expected.filtered, f.mean, f.covariance) < bound);
        CHECK(error_in_deviations(expected.predicted, f.predicted_mean, f.predicted_covariance) < bound);
        CHECK(error_in_deviations(expected.smoothed, s.mean, s.covariance) < bound);
        CHECK(std::abs(f.log_likelihood - expected.log_likelihood()) < bound * (1 + std::abs(expected.log_likelihood())));
      }
    }
  }
}

TEST_CASE("omp gives what seq does, after a beginning that is taken in sequence") {
  diffuse_families::source draw(4);
  const model_type model{matrix{{1, 1, 0}, {0, 1, 0}, {0, 0, 0.5}}, identity(3), matrix{{1, 0, 1}}, identity(1), all_diffuse(3)};
  const series_type y = draw.normals(1, 60);
  std::vector<series_type> batch{y, y.leftCols(7), y.leftCols(25)};
  batch[2].leftCols(10).setConstant(std::nan(""));
  const auto together = kalscan::smooth(kalscan::omp{2, 8}, model, std::span<const series_type>(batch));
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto alone = kalscan::smooth(kalscan::seq{}, model, batch[i]);
    CHECK((together[i].mean - alone.mean).cwiseAbs().maxCoeff() < 1e-9);
    CHECK(together[i].filtered.diffuse.size() == alone.filtered.diffuse.size());
    CHECK(together[i].filtered.log_likelihood == doctest::Approx(alone.filtered.log_likelihood));
    CHECK(alone.filtered.beginning.size() < 25);
  }
}

TEST_CASE("a state that its transition forgets is improper only until then") {
  series_type y(1, 6);
  y << 1120, 1160, 963, 1210, 1160, 1160;
  const matrix R = matrix::Constant(1, 1, 15099), Q = Eigen::Vector2d(1469.1, 0).asDiagonal();
  model_type lagged{matrix{{1, 0}, {1, 0}}, Q, matrix{{1, 0}}, R, all_diffuse(2)};
  const auto level = smoothed({identity(1), identity(1) * 1469.1, identity(1), R, all_diffuse(1)}, y);
  for (const bool before : {false, true}) {
    lagged.prior.before_first_transition = before;
    const auto s = smoothed(lagged, y);
    CHECK(s.filtered.diffuse.size() == (before ? 0 : 1));
    CHECK(s.improper_components(0) == (before ? std::vector<Index>{} : std::vector<Index>{1}));
    CHECK(s.improper_components(1).empty());
    CHECK((s.mean.row(0) - level.mean).norm() < 1e-8);
    CHECK(s.filtered.log_likelihood == doctest::Approx(level.filtered.log_likelihood).epsilon(1e-12));
  }
}

TEST_CASE("one direction is read with noise, then without") {
  series_type y(1, 4);
  y << 1, 2, 3, 4;
  const auto smooth = [&](double w) {
    const std::vector<matrix> H{matrix{{1, w, 1}}, matrix{{1, w, 1}}, matrix{{1, 0, 0}}, matrix{{0, 1, 0}}};
    const std::vector<matrix> R{identity(1), zero(1), identity(1), identity(1)};
    return smoothed({identity(3), zero(3), H, R, all_diffuse(3)}, y);
  };
  for (const double w : {1.0, 3.0}) {
    const auto s = smooth(w);
    CHECK(s.filtered.log_likelihood == doctest::Approx(-4.175754132818691).epsilon(1e-13));
    const Eigen::Vector3d direction(1, w, 1), second = direction * (2 / direction.squaredNorm());
    CHECK((s.filtered.mean.col(1) - second).norm() < 1e-14);
    CHECK((s.filtered.mean.col(3) - Eigen::Vector3d(3, 4, w == 1 ? -5 : -13)).norm() < 1e-13);
    CHECK(s.filtered.diffuse.size() == 3);
  }
}

TEST_CASE("every squared residual counts where a direction is never seen") {
  series_type y(1, 4);
  y << 1, 2, -1, 3;
  const auto s = smoothed(
      {identity(2), matrix(Eigen::Vector2d(.1, .3).asDiagonal()), matrix::Ones(1, 2), identity(1), all_diffuse(2)}, y);
  CHECK(s.filtered.log_likelihood == doctest::Approx(-8.93211199600843).epsilon(1e-14));
  CHECK(s.filtered.diffuse.size() == 4);
}

TEST_CASE("components never seen are named, and the others are smoothed as if alone") {
  const Index n = 10, silent = 3, length = 30;
  diffuse_families::source draw(5);
  series_type y = draw.normals(n, length);
  y.row(silent).setConstant(std::nan(""));
  const auto s = smoothed({identity(n), identity(n), identity(n), identity(n), all_diffuse(n)}, y);
  const auto one = smoothed({identity(1), identity(1), identity(1), identity(1), all_diffuse(1)}, y.row(0));
  for (Index t = 0; t < length; ++t) {
    CHECK(s.improper_components(t) == std::vector<Index>{silent});
    CHECK(s.filtered.improper_components(t) == std::vector<Index>{silent});
    CHECK(std::abs(s.mean(0, t) - one.mean(0, t)) < 1e-12);
    CHECK(s.covariance[static_cast<std::size_t>(t)](0, 0) ==
          doctest::Approx(one.covariance[static_cast<std::size_t>(t)](0, 0)).epsilon(1e-12));
    CHECK(s.mean(silent, t) == 0);
  }
}

TEST_CASE("the given means of diffuse components do not matter") {
  diffuse_families::source draw(6);
  for (int i = 0; i < 20; ++i) {
    auto p = diffuse_families::never_seen(draw);
    const auto s = smoothed(p.model, p.y);
    p.model.prior.mean.setConstant(7);
    CHECK(smoothed(p.model, p.y).filtered.mean == s.filtered.mean);
  }
}

/// Level, slope and two regressors, all diffuse.
template <class T>
void check_units(T unit) {
  using matrix_type = Eigen::Matrix<T, Dynamic, Dynamic>;
  diffuse_families::source draw(7);
  const Index length = 40;
  const matrix_type x = draw.normals(2, length).cast<T>(), y = draw.normals(1, length).cast<T>();
  const auto smooth = [&](T regressors, T data) {
    matrix_type F = matrix_type::Identity(4, 4), Q = matrix_type::Zero(4, 4);
    F(0, 1) = 1;
    Q(0, 0) = data * data;
    std::vector<matrix_type> H;
    for (Index t = 0; t < length; ++t) H.push_back(matrix_type{{1, 0, regressors * x(0, t), regressors * x(1, t)}});
    const kalscan::kalman_model<T, Dynamic, Dynamic> model{
        F, Q, H, matrix_type::Constant(1, 1, data * data), kalscan::gaussian_prior<T, Dynamic>::all_diffuse(4)};
    return kalscan::smooth(kalscan::seq{}, model, kalscan::observations<T, Dynamic>(data * y));
  };
  const auto plain = smooth(1, 1);
  for (const T regressors : {T(1), unit}) {
    for (const T data : {T(1), T(8), 1 / T(1024)}) {
      const auto scaled = smooth(regressors, data);
      const Eigen::Vector<T, 4> units(data, data, data / regressors, data / regressors);
      const auto improper = static_cast<Index>(plain.filtered.diffuse.size());
      CHECK(improper == 3);
      CHECK(scaled.filtered.diffuse.size() == plain.filtered.diffuse.size());
      CHECK(scaled.mean == units.asDiagonal() * plain.mean);
      CHECK(scaled.filtered.mean.rightCols(length - improper) ==
            units.asDiagonal() * plain.filtered.mean.rightCols(length - improper));
      for (std::size_t t = 0; t < plain.covariance.size(); ++t) {
        CHECK(scaled.covariance[t] == units.asDiagonal() * plain.covariance[t] * units.asDiagonal());
      }
    }
  }
}

TEST_CASE("a change of units by powers of two changes the answer by these, bit for bit") {
  check_units<double>(0x1p-60);
  check_units<float>(0x1p-24F);
}

TEST_CASE("a direction that stays unknown for long costs no more time or memory the longer it lasts") {
  diffuse_families::source draw(8);
  const Index length = unless_slow(20000, 2000);
  matrix F = identity(3), H = matrix::Ones(1, 3);
  F(0, 0) = 0.5;
  H(2) = 0;
  const series_type y = draw.normals(1, length);
  const auto s = smoothed({F, identity(3), H, identity(1), all_diffuse(3)}, y);
  CHECK(s.diffuse.size() == static_cast<std::size_t>(length));
  const auto seen = smoothed({F.topLeftCorner(2, 2).eval(), identity(2), H.leftCols(2).eval(), identity(1), all_diffuse(2)}, y);
  CHECK((s.mean.topRows(2) - seen.mean).cwiseAbs().maxCoeff() < 1e-9);
  CHECK(s.filtered.log_likelihood == doctest::Approx(seen.filtered.log_likelihood).epsilon(1e-12));
}

TEST_CASE("the Nile without observation noise is its own diffuse filter") {
  const model_type model{identity(1), identity(1), identity(1), zero(1), all_diffuse(1)};
  series_type y(1, 3);
  y << 1, 2, 4;
  const auto s = smoothed(model, y);
  CHECK(s.filtered.mean == y);
  CHECK(s.mean == y);
  CHECK(s.covariance[0](0, 0) == 0);
  CHECK(s.filtered.log_likelihood == doctest::Approx(-1.5 * std::log(2 * std::numbers::pi) - 0.5 - 2));
}

TEST_CASE("a noise-free diffuse trend is filtered and smoothed beyond its beginning") {
  series_type y(1, 150);
  for (Index t = 0; t < y.cols(); ++t) y(0, t) = 3 * std::sin(0.1 * static_cast<double>(t)) + static_cast<double>(t);
  y(0, 120) = std::nan("");
  model_type model{matrix{{1, 1}, {0, 1}}, matrix{{0.5, 0.1}, {0.1, 0.2}}, matrix{{1, 0}}, zero(1), all_diffuse(2)};
  const auto exact = smoothed(model, y);
  CHECK(exact.filtered.beginning.size() < 100);
  model.R = matrix(identity(1) * 1e-12);
  const auto noisy = smoothed(model, y);
  CHECK((exact.mean - noisy.mean).cwiseAbs().maxCoeff() < 1e-9);
  for (std::size_t t = 0; t < exact.covariance.size(); ++t) {
    CHECK((exact.covariance[t] - noisy.covariance[t]).cwiseAbs().maxCoeff() < 1e-9);
  }
}

TEST_CASE("exact readings of a diffuse state that contradict each other are reported") {
  series_type y(1, 3);
  y << 2, 2, 3;
  const model_type model{identity(1), zero(1), identity(1), zero(1), all_diffuse(1)};
  CHECK_THROWS_WITH(smoothed(model, y),
                    "kalscan: series 0, step 2: the observation contradicts a prediction that has no variance");
}

TEST_CASE("a diffuse prior that does not fit is refused") {
  diffuse_families::source draw(9);
  auto [model, y] = diffuse_families::walks(draw);
  model.prior = all_diffuse(model.states());
  model.prior.diffuse.resize(1);
  CHECK_THROWS_WITH(smoothed(model, y),
                    ("kalscan: the prior's diffuse has size 1, not " + std::to_string(model.states())).c_str());
  model.prior = all_diffuse(model.states());
  model.prior.covariance(1, 1) = 1;
  CHECK_THROWS_WITH(smoothed(model, y), "kalscan: the prior's component 1 is diffuse, its row of the covariance is not zero");
}

}  // namespace
}  // namespace diffuse_tests
