// SPDX-License-Identifier: MIT
// Calls with models of functions whose prior is diffuse: real series end to end, many series, forecasts, what is refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/forecast.hpp>
#include <kalscan/kalman/function_filter.hpp>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "../../examples/series.hpp"
#include "../errors.hpp"
#include "../instrument.hpp"
#include "oracle.hpp"
#include "real_series.hpp"

namespace diffuse_calls_tests {
namespace {

using kalscan::omp, kalscan::seq, kalscan::series_layout;
using numbers = std::vector<double>;
using Eigen::Dynamic, Eigen::Index, Eigen::MatrixXd;
using host_model = kalscan::kalman_model<double, Dynamic, Dynamic>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Results from arrays that begin as NaN, with room for the directions of `room` first steps.
struct results {
  numbers mean, covariance, smoothed_mean, smoothed_covariance, log_likelihood, directions, smoothed_directions,
      final_mean, final_covariance, final_directions;
  std::vector<kalscan::filter_status> filtered, smoothed;
};

template <class Policy, class Model>
results run(const Policy& policy, const Model& model, const numbers& y, const series_layout& series, std::size_t room) {
  constexpr std::size_t n = Model::states;
  const std::size_t steps = y.size() / Model::observed, count = static_cast<std::size_t>(series.count);
  const auto empty = [](std::size_t size) { return numbers(size, nan); };
  results r{empty(steps * n), empty(steps * n * n), empty(steps * n), empty(steps * n * n), empty(count),
            empty(count * room * n * n), empty(count * room * n * n), empty(count * n), empty(count * n * n),
            empty(count * n * n), {}, {}};
  r.filtered.resize(count), r.smoothed.resize(count);
  const kalscan::filter_arrays<double> out{.mean = r.mean,
                                           .covariance = r.covariance,
                                           .final_mean = r.final_mean,
                                           .final_covariance = r.final_covariance,
                                           .log_likelihood = r.log_likelihood,
                                           .status = r.filtered,
                                           .directions = r.directions,
                                           .final_directions = r.final_directions};
  filter(policy, model, y, series, out);
  smooth(policy, model, y, series, out,
         {r.smoothed_mean, r.smoothed_covariance, r.smoothed, r.smoothed_directions});
  return r;
}

/// The worst difference of proper beliefs, in deviations.
double difference(const numbers& mean, const numbers& covariance, const MatrixXd& means,
                  const std::vector<MatrixXd>& covariances, Index from) {
  const Index n = means.rows();
  double worst = 0;
  for (Index t = from; t < means.cols(); ++t) {
    const MatrixXd& P = covariances[static_cast<std::size_t>(t)];
    for (Index i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(t * n + i);
      const double off = std::abs(mean[at] - means(i, t)) / std::sqrt(P(i, i));
      if (!(off <= worst)) worst = off;
      for (Index j = 0; j < n; ++j) {
        const double own = covariance[at * static_cast<std::size_t>(n) + static_cast<std::size_t>(j)];
        const double error = std::abs(own - P(i, j)) / std::sqrt(P(i, i) * P(j, j));
        if (!(error <= worst)) worst = error;
      }
    }
  }
  return worst;
}

template <class Model>
void check_series(const Model& model, const host_model& host, const numbers& y, double bound, double smoother_bound) {
  const auto expected = kalscan::smooth(seq{}, host, Eigen::Map<const Eigen::RowVectorXd>(y.data(), std::ssize(y)));
  const auto& f = expected.filtered;
  const auto first = std::ssize(f.diffuse);
  const series_layout series{.longest = std::ssize(y)};
  const auto check = [&](const auto& policy) {
    const results r = run(policy, model, y, series, static_cast<std::size_t>(first) + 1);
    CHECK(r.filtered[0].ok());
    CHECK(r.smoothed[0].ok());
    CHECK(difference(r.mean, r.covariance, f.mean, f.covariance, first) < bound);
    CHECK(difference(r.smoothed_mean, r.smoothed_covariance, expected.mean, expected.covariance, 0) < smoother_bound);
    CHECK(r.log_likelihood[0] == doctest::Approx(f.log_likelihood).epsilon(1e-3 * bound));
    CHECK(std::count(r.final_directions.begin(), r.final_directions.end(), 0.0) == std::ssize(r.final_directions));
    constexpr Index n = Model::states;
    for (Index t = 0; t <= first; ++t) {
      const Eigen::Map<const MatrixXd> directions(r.directions.data() + t * n * n, n, n);
      if (t == first) {
        CHECK(directions.isZero(0));
      } else {
        CHECK((directions * directions.transpose() - f.diffuse[static_cast<std::size_t>(t)]).cwiseAbs().maxCoeff() < 1e-9);
      }
    }
    CHECK(std::all_of(r.smoothed_directions.begin(), r.smoothed_directions.end(), [](double x) { return x == 0; }));
  };
  check(seq{});
  check(omp{2, 0});
  check(omp{3, 16});
}

host_model diffuse(host_model model) {
  model.prior = kalscan::gaussian_prior<double, Dynamic>::all_diffuse(model.states());
  return model;
}

TEST_CASE("the Nile and the CO2 of Mauna Loa, also where gaps outlast the first chunks, by models of functions") {
  const auto nile = real_series::nile_model<double>();
  numbers y = real_series::read("nile.csv");
  const auto nile_host = diffuse(oracle::convert<double, Dynamic, Dynamic>(nile_model()));
  check_series(nile, nile_host, y, 1e-11, 1e-11);
  CHECK(log_likelihood(seq{}, nile, y) == doctest::Approx(-633.4646).epsilon(1e-7));  // as others print it
  std::fill_n(y.begin(), 40, nan);
  check_series(nile, nile_host, y, 1e-11, 1e-11);

  const auto co2_host = diffuse(oracle::convert<double, Dynamic, Dynamic>(co2_model()));
  y = real_series::read("co2.csv");
  // Six readings tell of all states, with variances that are 10^11 times those after a year: the smoother begins there.
  if (!under_an_instrument()) check_series(real_series::co2_model<double>(), co2_host, y, 1e-9, 1e-5);
  y.resize(500);
  std::fill_n(y.begin() + 3, 100, nan);
  check_series(real_series::co2_model<double>(), co2_host, y, 1e-9, 1e-5);

  const auto in_float = real_series::nile_model<float>();
  const numbers flow = real_series::read("nile.csv");
  CHECK(log_likelihood(omp{2, 9}, in_float, std::vector<float>(flow.begin(), flow.end())) ==
        doctest::Approx(-633.4646).epsilon(1e-5));
}

/// A position with constant velocity of which only the position is read, beside a level that is not read at all where
/// `hidden`.
template <class Prior>
auto tracked(const Prior& prior, bool before = false) {
  using matrix = kalscan::small_matrix<double, 3, 3>;
  using variances = kalscan::small_symmetric<double, 3>;
  return kalscan::model_of<double, 3, 1>(matrix{{1, 0, 0, 0.5, 1, 0, 0, 0, 1}}, variances{{0.1, 0, 0.2, 0, 0, 0.3}},
                                         kalscan::small_matrix<double, 1, 3>{{1, 0, 0}},
                                         kalscan::small_symmetric<double, 1>{{0.5}}, prior, before);
}
/// Nothing is known of position and velocity, nor of the level where it is `hidden`.
kalscan::small_diffuse_belief<double, 3> unknown(bool hidden) {
  auto prior = kalscan::all_diffuse<double, 3>();
  if (!hidden) prior.directions(2, 2) = 0, prior.covariance(2, 2) = 1;
  return prior;
}

numbers drawn(std::size_t size) {
  numbers y(size);
  std::mt19937_64 engine(size);
  std::normal_distribution<double> normal;
  for (double& value : y) value = normal(engine);
  return y;
}

TEST_CASE("many series under a diffuse prior, of other lengths or none, are what each is alone") {
  numbers y = drawn(60);
  std::fill_n(y.begin() + 24, 9, nan);  // the last one begins with a gap
  const std::vector<std::int64_t> offsets{0, 23, 23, 24, 60};
  const auto model = tracked(unknown(false));
  for (const omp policy : {omp{1, 0}, omp{2, 0}, omp{3, 5}}) {
    const results all = run(policy, model, y, {.longest = 40, .count = 4, .offsets = offsets.data()}, 12);
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(i);
      const results one = run(policy, model, numbers(y.begin() + offsets[i], y.begin() + offsets[i + 1]),
                              {.longest = offsets[i + 1] - offsets[i]}, 12);
      const auto part = [&](const numbers& x, std::int64_t size) {
        return numbers(x.begin() + offsets[i] * size, x.begin() + offsets[i + 1] * size);
      };
      const auto own = [&](const numbers& x, std::size_t size) {
        return numbers(x.begin() + static_cast<std::ptrdiff_t>(i * size), x.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
      };
      CHECK(part(all.mean, 3) == one.mean);
      CHECK(part(all.smoothed_covariance, 9) == one.smoothed_covariance);
      CHECK(all.log_likelihood[i] == one.log_likelihood[0]);
      CHECK(own(all.final_directions, 9) == one.final_directions);
      const auto steps = static_cast<std::size_t>(std::min<std::int64_t>(12, offsets[i + 1] - offsets[i]));
      const auto rows = own(all.directions, 12 * 9);
      CHECK(std::equal(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(steps * 9), one.directions.begin()));
      // One reading is not enough, and there is nothing to tell without any.
      CHECK(one.smoothed[0].reason() == kalscan::step_failure::none);
      CHECK(one.filtered[0].ok());
    }
  }
}

TEST_CASE("a state that is never seen is told by directions, or by the status where there is no room for them") {
  const auto model = tracked(unknown(true));
  const numbers y = drawn(30);
  for (const std::int64_t chunk : {0, 7}) {
    const omp policy{2, chunk};
    const results whole = run(policy, model, y, {.longest = 30}, 30);
    CHECK(whole.filtered[0].ok());
    CHECK(whole.smoothed[0].ok());
    for (std::size_t t = 0; t < 30; ++t) {
      CAPTURE(t);
      const Eigen::Map<const MatrixXd> directions(whole.smoothed_directions.data() + 9 * t, 3, 3);
      const MatrixXd diffuse = directions * directions.transpose();
      CHECK((diffuse - MatrixXd(Eigen::Vector3d(0, 0, 1).asDiagonal())).cwiseAbs().maxCoeff() < 1e-12);
    }
    const results partly = run(policy, model, y, {.longest = 30}, 11);
    CHECK(partly.filtered[0].reason() == kalscan::step_failure::improper);
    CHECK(partly.filtered[0].step() == 11);
    CHECK(partly.mean == whole.mean);
    // What is seen is what it is without the other.
    const results seen = run(policy, tracked(unknown(false)), y, {.longest = 30}, 30);
    for (std::size_t t = 0; t < 30; ++t) {
      for (std::size_t i = 0; i < 2; ++i) CHECK(whole.smoothed_mean[3 * t + i] == doctest::Approx(seen.smoothed_mean[3 * t + i]));
    }
  }
  numbers mean(90), covariance(270), directions(270);
  const kalscan::filter_arrays<double> out{.mean = mean, .covariance = covariance, .directions = directions};
  filter(seq{}, model, y, out);
  CHECK_THROWS_WITH_AS(smooth(seq{}, model, y, out, {mean, covariance}),
                       "kalscan: series 0, step 0: the belief is improper still, and there is no room in directions",
                       kalscan::filter_error);
}

TEST_CASE("a state that two transitions hide from what is read, but for rounding, stays unknown") {
  std::mt19937_64 engine(3);
  std::uniform_real_distribution<double> any(0.3, 1.7);
  using matrix = kalscan::small_matrix<double, 2, 2>;
  for (int i = 0; i < 200; ++i) {
    // After the first one state 1 has c of state 0, of which the second one takes as much off.
    const double b = any(engine), c = any(engine), g = any(engine);
    const auto F = [=](std::int64_t t) {
      matrix x{};
      x(0, 0) = t == 1 ? b : 1;
      x(1, 1) = t == 2 ? g : 1;
      x(1, 0) = t == 1 ? c : t == 2 ? -g * c / b : 0;
      return x;
    };
    kalscan::small_symmetric<double, 2> Q{};
    Q(0, 0) = Q(1, 1) = 0.3;
    const auto model = kalscan::model_of<double, 2, 1>(F, Q, kalscan::small_matrix<double, 1, 2>{{0, 1}},
                                                       kalscan::small_symmetric<double, 1>{{0.5}},
                                                       kalscan::all_diffuse<double, 2>(), true);
    const numbers y{any(engine), nan, any(engine)};
    for (const std::int64_t chunk : {0, 1, 2}) {
      CAPTURE(i);
      CAPTURE(chunk);
      const results x = run(omp{2, chunk}, model, y, {.longest = 3}, 3);
      CHECK(x.smoothed[0].ok());
      const double expected[] = {1, b, b};  // directions of length one of the first state, as they are carried on
      for (std::size_t t = 0; t < 3; ++t) {
        const Eigen::Map<const MatrixXd> directions(x.smoothed_directions.data() + 4 * t, 2, 2);
        CHECK(directions.row(0).norm() == doctest::Approx(expected[t]));
        CHECK(std::abs(x.smoothed_mean[2 * t + 1]) < 100);
      }
    }
  }
}

TEST_CASE("the last belief of a series, improper or not, is the prior of what follows") {
  const numbers y = drawn(20);
  const auto sum = log_likelihood(seq{}, tracked(unknown(true)), y);
  for (const std::ptrdiff_t cut : {0, 1, 2, 9}) {
    CAPTURE(cut);
    const numbers first(y.begin(), y.begin() + cut), second(y.begin() + cut, y.end());
    const results r = run(seq{}, tracked(unknown(true)), first, {.longest = cut}, 20);
    using namespace kalscan::detail;
    const kalscan::small_diffuse_belief<double, 3> last{load<kalscan::small_vector<double, 3>>(r.final_mean.data()),
                                                        load<kalscan::small_symmetric<double, 3>>(r.final_covariance.data()),
                                                        load<kalscan::small_matrix<double, 3, 3>>(r.final_directions.data())};
    CHECK(r.log_likelihood[0] + log_likelihood(seq{}, tracked(last, cut > 0), second) == doctest::Approx(sum).epsilon(1e-12));
  }
}

TEST_CASE("a forecast of what is not known yet has directions, of the state and of y") {
  const host_model host{MatrixXd{{1, 0.5, 0}, {0, 1, 0}, {0, 0, 1}}, MatrixXd{{0.1, 0, 0}, {0, 0.2, 0}, {0, 0, 0.3}},
                        MatrixXd{{1, 0, 0}}, MatrixXd::Constant(1, 1, 0.5),
                        kalscan::gaussian_prior<double, Dynamic>::all_diffuse(3)};
  const numbers y{0.7};
  const auto expected =
      kalscan::forecast(host, kalscan::filter(seq{}, host, MatrixXd::Constant(1, 1, 0.7)), 4);
  const auto model = tracked(unknown(true));
  const results r = run(seq{}, model, y, {.longest = 1}, 1);
  numbers mean_(12), covariance(36), y_mean(4), y_covariance(4), directions(36), y_directions(12);
  numbers final_mean = r.final_mean, final_covariance = r.final_covariance, final_directions = r.final_directions;
  forecast(omp{2}, model, {.longest = 1}, 4,
           {.final_mean = final_mean, .final_covariance = final_covariance, .final_directions = final_directions},
           {.mean = mean_, .covariance = covariance, .y_mean = y_mean, .y_covariance = y_covariance,
            .directions = directions, .y_directions = y_directions});
  for (Index t = 0; t < 4; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const Eigen::Map<const MatrixXd> L(directions.data() + 9 * t, 3, 3), yL(y_directions.data() + 3 * t, 1, 3);
    CHECK((Eigen::Map<const Eigen::Vector3d>(mean_.data() + 3 * t) - expected.mean.col(t)).norm() < 1e-12);
    CHECK((Eigen::Map<const MatrixXd>(covariance.data() + 9 * t, 3, 3) - expected.covariance[i]).norm() < 1e-12);
    CHECK((L * L.transpose() - expected.diffuse[i]).norm() < 1e-12);
    CHECK((yL * yL.transpose() - expected.y_diffuse[i]).norm() < 1e-12);
    CHECK(y_covariance[i] == doctest::Approx(expected.y_covariance[i](0, 0)).epsilon(1e-12));
  }
}

TEST_CASE("a kalman_model of fixed sizes with any prior becomes a model of functions") {
  auto model = co2_model();
  model.prior = kalscan::gaussian_prior<double, 6>::all_diffuse();
  const numbers y = real_series::read("co2.csv");
  const auto sum = log_likelihood(seq{}, real_series::co2_model<double>(), y);
  CHECK(log_likelihood(seq{}, constant_diffuse_model(model), y) == sum);
  model.prior.diffuse.clear();
  model.prior.directions = Eigen::Matrix<double, 6, 6>::Identity();
  CHECK(log_likelihood(seq{}, constant_diffuse_model(model), y) == sum);
  CHECK(message_of([&] { static_cast<void>(constant_model(model)); }) ==
        "kalscan::constant_model: the prior is diffuse: call constant_diffuse_model");
  model.prior.diffuse.assign(6, true);
  CHECK(message_of([&] { static_cast<void>(constant_diffuse_model(model)); }) ==
        "kalscan::constant_diffuse_model: the prior is diffuse in more directions than there are states");
}

TEST_CASE("directions that do not fit are refused before anything is written") {
  const auto model = tracked(unknown(false));
  const auto proper = tracked(kalscan::small_belief<double, 3>{{}, {{1, 0, 1, 0, 0, 1}}});
  const numbers y = drawn(10);
  numbers mean(30, 7), covariance(90), directions(18);
  const series_layout two{.longest = 5, .count = 2};
  const auto refused = [&](const auto& f, std::span<double> given) {
    return message_of([&] { filter(seq{}, f, y, two, {.mean = mean, .directions = given}); });
  };
  CHECK(refused(model, std::span(directions).first(17)) ==
        "kalscan::filter: directions has size 17, no multiple of 18, a step of each series");
  CHECK(refused(proper, directions) == "kalscan::filter: directions is given, the model's prior is proper");
  CHECK(message_of([&] { filter(seq{}, model, y, two, {.mean = mean, .final_directions = std::span(directions).first(9)}); }) ==
        "kalscan::filter: final_directions has size 9, not 18");
  CHECK(message_of([&] { smooth(seq{}, model, y, two, {.mean = mean, .covariance = covariance}, {.mean = mean}); }) ==
        "kalscan::smooth: the prior is diffuse, the filtered directions are not given");
  CHECK(message_of([&] {
          forecast(seq{}, model, two, 1, {.final_mean = std::span(mean).first(6), .final_covariance = std::span(covariance).first(18)}, {});
        }) == "kalscan::forecast: final_directions has size 0, not 18");
  CHECK(mean == numbers(30, 7));
}

}  // namespace
}  // namespace diffuse_calls_tests
