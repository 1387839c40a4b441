// SPDX-License-Identifier: MIT
// One step at a time, likelihoods without beliefs, and batches of models: each is the filter, to the bit.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "diffuse_families.hpp"
#include "oracle.hpp"
#include "shared.hpp"

namespace online_tests {
namespace {

using Eigen::Dynamic;
using Eigen::Index;
using matrix = Eigen::MatrixXd;
using model_type = kalscan::kalman_model<double, Dynamic, Dynamic>;
using data_type = kalscan::observations<double, Dynamic>;
using result_type = kalscan::filter_result<double, Dynamic, Dynamic>;

oracle::kind kind_of(std::uint64_t seed) {
  return {.varying = seed % 2 == 0,
          .inputs = seed % 3 == 0,
          .singular_noise = seed % 4 == 0,
          .missing = seed % 5 < 2,
          .before_first = seed % 7 < 3};
}

/// Models and series of different lengths and sizes.
struct batch {
  std::vector<model_type> models;
  std::vector<data_type> series;
};
batch draw_batch(bool exact, bool diffuse) {
  batch b;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const bool noise_free = exact && seed % 3 == 0;
    const auto length = static_cast<std::int64_t>(5 + 7 * seed);
    auto p = oracle::random_problem<double, Dynamic, Dynamic>(1 + seed % 3, noise_free ? 1 : 1 + seed % 2, length,
                                                              kind_of(seed), seed);
    if (noise_free) p.model.R = matrix(matrix::Zero(1, 1));
    if (diffuse && seed % 2 == 0)
      p.model.prior = kalscan::gaussian_prior<double, Dynamic>::all_diffuse(p.model.prior.mean.size());
    b.models.push_back(p.model);
    b.series.push_back(p.y);
  }
  return b;
}

bool same(const result_type& x, const result_type& y) {
  return x.mean == y.mean && x.covariance == y.covariance && x.diffuse == y.diffuse &&
         x.log_likelihood == y.log_likelihood && x.log_likelihood_terms == y.log_likelihood_terms;
}

TEST_CASE("predict and update, one step at a time, give the filter's beliefs to the bit; without noise, to rounding") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    const bool noise_free = seed % 6 == 5;  // filter then begins as under a diffuse prior
    const double bound = noise_free ? 1e-11 : 0;
    auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(1 + seed % 4, noise_free ? 1 : 1 + seed % 3, 25,
                                                                       kind_of(seed), seed);
    if (noise_free) model.R = matrix(matrix::Zero(1, 1));
    const auto f = kalscan::filter(kalscan::seq{}, model, y, {.predictions = true});
    const auto apart = [](const auto& x, const auto& z) { return (x - z).cwiseAbs().maxCoeff(); };
    const kalscan::online_filter steps(model);
    auto x = steps.start();
    for (Index t = 0; t < y.cols(); ++t) {
      const auto i = static_cast<std::size_t>(t);
      x = steps.predict(std::move(x), t);
      CHECK(apart(x.mean, f.predicted_mean.col(t)) <= bound);
      CHECK(apart(x.covariance, f.predicted_covariance[i]) <= bound);
      auto [after, log_density] = steps.update(x, y.col(t), t);
      CHECK(apart(after.mean, f.mean.col(t)) <= bound);
      CHECK(apart(after.covariance, f.covariance[i]) <= bound);
      CHECK(std::abs(log_density - f.log_likelihood_terms[i]) <= bound);
      x = std::move(after);
    }
    // From the middle of a result, too.
    const auto beginning = kalscan::filter(kalscan::seq{}, model.steps(0, 10), y.leftCols(10));
    x = steps.update(steps.predict(steps.after(beginning), 10), y.col(10), 10).belief;
    CHECK(apart(x.mean, f.mean.col(10)) <= bound);
    CHECK(apart(x.covariance, f.covariance[10]) <= bound);
  }
}

TEST_CASE("a Q that is changed between the steps of a noiseless model counts in the bound on their rounding, too") {
  auto model = oracle::random_problem<double, Dynamic, Dynamic>(3, 1, 2, {}, 4).model;
  model.R = matrix(matrix::Zero(1, 1));
  const kalscan::online_filter changed(model);
  const auto before = changed.start();
  const auto small = changed.predict(before, 1).rounding;
  model.Q = matrix(1e6 * model.Q[0]);
  const kalscan::online_filter fresh(model);
  const auto large = fresh.predict(before, 1).rounding;
  CHECK(changed.predict(before, 1).rounding == large);
  CHECK(large != small);
}

TEST_CASE("under a prior that is vague beside the readings, steps have the digits of the filter") {
  for (const double scale : {1e8, 1e12, 1e16}) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      CAPTURE(scale);
      CAPTURE(seed);
      auto [model, y] = oracle::random_problem<double, Dynamic, Dynamic>(3, 2, 12, {}, seed);
      model.prior.covariance *= scale;
      const auto f = kalscan::filter(kalscan::seq{}, model, y);
      const kalscan::online_filter steps(model);
      auto x = steps.start();
      double log_likelihood = 0;
      for (Index t = 0; t < y.cols(); ++t) {
        auto [after, log_density] = steps.update(steps.predict(std::move(x), t), y.col(t), t);
        log_likelihood += log_density;
        x = std::move(after);
        if (t < 3) continue;
        const Eigen::VectorXd deviation = f.covariance[static_cast<std::size_t>(t)].diagonal().cwiseSqrt();
        CHECK((x.mean - f.mean.col(t)).cwiseQuotient(deviation).cwiseAbs().maxCoeff() < 1e-7);
      }
      CHECK(std::abs(log_likelihood - f.log_likelihood) < 1e-7);
    }
  }
}

TEST_CASE(
    "after a diffuse beginning that leaves sums known far better than states, steps have the digits of the filter") {
  for (const double angle : {1e-2, 1e-3}) {  // a cycle that the data hardly tell from the level
    CAPTURE(angle);
    const double c = std::cos(angle), s = std::sin(angle);
    const matrix F{{1, 0, 0}, {0, c, s}, {0, -s, c}}, Q = Eigen::Vector3d(0.01, 0, 0).asDiagonal().toDenseMatrix();
    const model_type model{F, Q, matrix{{1, 1, 0}}, matrix::Constant(1, 1, 0.05),
                           kalscan::gaussian_prior<double, Dynamic>::all_diffuse(3)};
    data_type y(1, 30);
    for (Index t = 0; t < y.cols(); ++t) y(0, t) = std::sin(double(t * t));
    const auto whole = kalscan::filter(kalscan::seq{}, model, y),
               beginning = kalscan::filter(kalscan::seq{}, model, y.leftCols(3));
    REQUIRE(beginning.diffuse.size() == 2);
    const kalscan::online_filter steps(model);
    auto belief = steps.after(beginning);
    for (Index t = 3; t < y.cols(); ++t) {
      CAPTURE(t);
      const auto [updated, log_density] = steps.update(steps.predict(std::move(belief), t), y.col(t), t);
      belief = updated;
      const auto i = static_cast<std::size_t>(t);
      CHECK(std::abs(log_density - whole.log_likelihood_terms[i]) < 1e-7);
      for (Index j = 0; j < 3; ++j) {
        const double deviation = std::sqrt(whole.covariance[i](j, j));
        CHECK(std::abs(belief.mean(j) - whole.mean(j, t)) < 1e-7 * deviation);
        CHECK(std::abs(std::sqrt(belief.covariance(j, j)) / deviation - 1) < 1e-7);
      }
    }
  }
}

TEST_CASE("steps that cannot be taken are refused by name and value") {
  const auto p = oracle::random_problem<double, Dynamic, Dynamic>(2, 1, 10, {.varying = true, .inputs = true}, 3);
  const kalscan::online_filter steps(p.model);
  const auto x = steps.start();
  const auto refused = [](auto call) { return message_of([&] { static_cast<void>(call()); }); };
  CHECK(refused([&] { return steps.predict(x, 10); }) == "kalscan: F is not given for step 10");
  CHECK(refused([&] { return steps.update(x, p.y.col(0), -1); }) == "kalscan: H is not given for step -1");
  CHECK(refused([&] { return steps.update(x, Eigen::VectorXd::Zero(2), 1); }) == "kalscan: y has size 2, H has 1 rows");
  CHECK(refused([&] { return steps.update(x, Eigen::VectorXd::Constant(1, -INFINITY), 4); }) ==
        "kalscan: y is -infinite at component 0, step 4");
  CHECK(refused([&] {
          return steps.predict({Eigen::VectorXd::Zero(3), matrix::Identity(2, 2)}, 1);
        }) == "kalscan: the belief's mean has size 3 and its covariance is 2 x 2, the model has 2 states");
  auto negative = x;
  negative.covariance(1, 1) = -5;
  CHECK(refused([&] { return steps.predict(negative, 1); }) == "kalscan: the belief's variance of component 1 is -5");
  auto diffuse = p.model;
  diffuse.prior.covariance.setZero();
  diffuse.prior.diffuse = {false, true};
  const std::string advice =
      " is improper, the variance of component 1 is infinite: filter the data so far until the belief is proper, and "
      "go "
      "on from after(result)";
  const kalscan::online_filter vague(diffuse);
  CHECK(refused([&] { return vague.start(); }) == "kalscan: the prior" + advice);
  const auto unread = kalscan::filter(kalscan::seq{}, diffuse.steps(0, 1), data_type(data_type::Constant(1, 1, NAN)));
  CHECK(refused([&] { return vague.after(unread); }) == "kalscan: the last belief" + advice);
  CHECK(refused([&] { return vague.after(kalscan::filter(kalscan::seq{}, diffuse, p.y)); }) ==
        "no std::invalid_argument");
  diffuse.prior = {};
  CHECK(refused([&] { return kalscan::online_filter(diffuse); }).substr(0, 32) == "kalscan: the prior is not given:");
  const model_type constant{
      matrix(matrix::Identity(1, 1)), matrix(matrix::Zero(1, 1)), matrix(matrix::Identity(1, 1)),
      matrix(matrix::Zero(1, 1)),
      kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd::Zero(1), matrix::Identity(1, 1))};
  const kalscan::online_filter exact(constant);
  const auto known = exact.update(exact.start(), Eigen::VectorXd::Ones(1), 0).belief;
  CHECK_THROWS_WITH_AS(static_cast<void>(exact.update(known, Eigen::VectorXd::Zero(1), 1)),
                       "kalscan: series 0, step 1: the observation contradicts a prediction that has no variance",
                       kalscan::filter_error);
}

TEST_CASE("each series of a batch can have its own model: the bits of one by one") {
  for (const auto& [models, series] : {draw_batch(false, false), draw_batch(true, false), draw_batch(false, true)}) {
    const auto many = kalscan::smooth(kalscan::seq{}, models, series);
    const auto parallel = kalscan::smooth(kalscan::omp{2, 10'000}, models, series);
    const auto split = kalscan::smooth(kalscan::omp{2, 7}, models, series);
    const auto sums = kalscan::log_likelihood(kalscan::seq{}, models, series);
    const auto filtered = kalscan::filter(kalscan::omp{3, 10'000}, models, series);
    for (std::size_t i = 0; i < models.size(); ++i) {
      CAPTURE(i);
      const auto alone = kalscan::smooth(kalscan::seq{}, models[i], series[i]);
      CHECK(same(many[i].filtered, alone.filtered));
      CHECK(many[i].mean == alone.mean);
      CHECK(many[i].covariance == alone.covariance);
      CHECK(parallel[i].mean == alone.mean);
      CHECK(same(filtered[i], alone.filtered));
      CHECK(sums[i] == alone.filtered.log_likelihood);
      CHECK((split[i].mean - alone.mean).norm() <= 1e-9 * (1 + alone.mean.norm()));
    }
    const auto roots = kalscan::filter(kalscan::seq{}, kalscan::square_root{models}, series);
    const auto root_sums = kalscan::log_likelihood(kalscan::seq{}, kalscan::square_root{models}, series);
    for (std::size_t i = 0; i < models.size(); ++i) {
      CAPTURE(i);
      const auto alone = kalscan::filter(kalscan::seq{}, kalscan::square_root{models[i]}, series[i]);
      CHECK(same(roots[i], alone));
      CHECK(root_sums[i] == alone.log_likelihood);
    }
  }
}

TEST_CASE("models and series that do not fit each other are refused, with the series") {
  batch drawn = draw_batch(false, false);
  auto& models = drawn.models;
  const auto& series = drawn.series;
  const auto refused = [&](auto call) { return message_of([&] { static_cast<void>(call()); }); };
  const auto first = kalscan::filter(kalscan::seq{}, models[0], series[0]);
  CHECK(refused([&] { return kalscan::smooth(kalscan::seq{}, models, std::vector{first}); }) ==
        "kalscan: there are 8 models and 1 filter results: give each result the model that it came from");
  models[3].F = matrix(matrix::Identity(9, 9));
  CHECK(refused([&] { return kalscan::filter(kalscan::seq{}, models, series); }).substr(0, 34) ==
        "kalscan: the model of series 3: Q ");
  models.pop_back();
  CHECK(refused([&] { return kalscan::log_likelihood(kalscan::seq{}, models, series); }) ==
        "kalscan: there are 7 models and 8 series: give each series a model, or all of them one that is not in a "
        "vector");
  CHECK(kalscan::filter(kalscan::seq{}, std::vector<model_type>{}, std::vector<data_type>{}).empty());
}

TEST_CASE("a log-likelihood without beliefs is the filter's: to the bit in sequence, to rounding by chunks") {
  for (std::uint64_t seed = 1; seed <= unless_slow(20U, 4U); ++seed) {
    CAPTURE(seed);
    const auto [model, y] =
        oracle::random_problem<double, Dynamic, Dynamic>(1 + seed % 4, 1 + seed % 3, 200, kind_of(seed), seed);
    const double whole = kalscan::filter(kalscan::seq{}, model, y).log_likelihood;
    CHECK(kalscan::log_likelihood(kalscan::seq{}, model, y) == whole);
    CHECK(kalscan::log_likelihood(kalscan::omp{2, 1000}, model, y) == whole);
    for (const Index chunk : {1, 7, 64, 199}) {
      const double split = kalscan::log_likelihood(kalscan::omp{3, chunk}, model, y);
      CHECK(std::abs(split - whole) < 1e-10 * (1 + std::abs(whole)));
      CHECK(split == kalscan::log_likelihood(kalscan::omp{1, chunk}, model, y));
    }
    const std::vector<data_type> three{y, y.leftCols(20), y.leftCols(1)};
    const auto sums = kalscan::log_likelihood(kalscan::omp{2, 7}, kalscan::kalman_model(model).steps(0, 200), three);
    for (std::size_t i = 0; i < three.size(); ++i) {
      const double alone = kalscan::filter(kalscan::seq{}, model.steps(0, three[i].cols()), three[i]).log_likelihood;
      CHECK(std::abs(sums[i] - alone) < 1e-10 * (1 + std::abs(alone)));
    }
  }
  for (const auto& family : diffuse_families::all) {
    CAPTURE(family.name);
    for (std::uint64_t seed = 200; seed < 220; ++seed) {
      CAPTURE(seed);
      diffuse_families::source draw(seed);
      const auto [model, y] = family.make(draw);
      const double whole = kalscan::filter(kalscan::seq{}, model, y).log_likelihood;
      CHECK(kalscan::log_likelihood(kalscan::seq{}, model, y) == whole);
      const double split = kalscan::log_likelihood(kalscan::omp{2, 2}, model, y);
      CHECK(std::abs(split - whole) < 1e-8 * (1 + std::abs(whole)));
    }
  }
}

TEST_CASE("growth since the beginning of a series is seen after a result that was too short for it") {
  const matrix I = matrix::Identity(2, 2);
  const model_type model{matrix{{10, 0}, {10, 1}}, I, matrix{{1, 0}}, matrix(matrix::Identity(1, 1)),
                         kalscan::gaussian_prior<double, Dynamic>::of_first_state(Eigen::VectorXd::Zero(2), I)};
  const kalscan::online_filter steps(model);
  const data_type y = data_type::Constant(1, 8, std::nan(""));
  const auto first_root = [&](auto belief, std::int64_t t) {
    for (; t < y.cols(); ++t) {
      belief = steps.update(steps.predict(std::move(belief), t), y.col(t), t).belief;
      if (belief.root.size() > 0 && !belief.root.isZero(0)) return t;
    }
    return t;
  };
  const auto result = kalscan::filter(kalscan::seq{}, model, y.leftCols(2));
  CHECK(result.covariance_root.empty());
  CHECK(first_root(steps.start(), 0) < y.cols());
  CHECK(first_root(steps.after(result), 2) == first_root(steps.start(), 0));
}

}  // namespace
}  // namespace online_tests
