// SPDX-License-Identifier: MIT
// Models of functions on the back ends of the host, against the long double oracle and against each other.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/function_filter.hpp>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <limits>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

#include "../errors.hpp"
#include "functions_of.hpp"
#include "oracle.hpp"

namespace function_filter_tests {
namespace {

using kalscan::omp, kalscan::seq, kalscan::series_layout;
using numbers = std::vector<double>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Results of all steps of all series, from arrays that begin as NaN.
struct results {
  numbers mean, covariance, predicted_mean, predicted_covariance, final_mean, final_covariance, log_likelihood,
      smoothed_mean, smoothed_covariance;
  bool operator==(const results&) const = default;
};

template <class Policy, class Model>
results filter_and_smooth(const Policy& policy, const Model& model, const numbers& y, const series_layout& series,
                          bool in_place = false) {
  constexpr std::size_t n = Model::states, m = Model::observed;
  const std::size_t steps = y.size() / m, count = static_cast<std::size_t>(series.count);
  results r;
  for (numbers* x : {&r.mean, &r.predicted_mean, &r.smoothed_mean}) x->assign(steps * n, nan);
  for (numbers* x : {&r.covariance, &r.predicted_covariance, &r.smoothed_covariance}) x->assign(steps * n * n, nan);
  r.final_mean.assign(count * n, nan), r.final_covariance.assign(count * n * n, nan), r.log_likelihood.assign(count, nan);
  const kalscan::filter_arrays<double> out{r.mean,       r.covariance,       r.predicted_mean, r.predicted_covariance,
                                           r.final_mean, r.final_covariance, r.log_likelihood};
  filter(policy, model, y, series, out);
  if (in_place) {
    smooth(policy, model, y, series, out, {r.mean, r.covariance});
    r.smoothed_mean = r.mean, r.smoothed_covariance = r.covariance;
  } else {
    smooth(policy, model, y, series, out, {r.smoothed_mean, r.smoothed_covariance});
  }
  return r;
}

void check_against_oracle(const results& r, const oracle::beliefs& expected, int n) {
  const auto means = [&](const numbers& x) {
    return Eigen::MatrixXd(Eigen::Map<const Eigen::MatrixXd>(x.data(), n, std::ssize(x) / n));
  };
  const auto covariances = [&](const numbers& x) {
    std::vector<Eigen::MatrixXd> all;
    for (std::ptrdiff_t at = 0; at < std::ssize(x); at += n * n) all.push_back(Eigen::Map<const Eigen::MatrixXd>(x.data() + at, n, n));
    return all;
  };
  CHECK(oracle::defect(means(r.predicted_mean), covariances(r.predicted_covariance), expected.predicted_mean,
                       expected.predicted_covariance) < 1e-10);
  CHECK(oracle::defect(means(r.mean), covariances(r.covariance), expected.mean, expected.covariance) < 1e-10);
  CHECK(oracle::defect(means(r.smoothed_mean), covariances(r.smoothed_covariance), expected.smoothed_mean,
                       expected.smoothed_covariance) < 1e-10);
  CHECK(std::abs(r.log_likelihood[0] - static_cast<double>(expected.log_likelihood)) <
        1e-10 * (static_cast<double>(r.mean.size()) + std::abs(r.log_likelihood[0])));
}

numbers numbers_of(const Eigen::MatrixXd& y) { return {y.data(), y.data() + y.size()}; }

TEST_CASE("models of functions on seq and omp, whole and in chunks, agree with the oracle") {
  const oracle::kind kinds[] = {
      {.missing = true},
      {.varying = true, .inputs = true, .singular_noise = true, .missing = true, .before_first = true}};
  std::uint64_t seed = 70;
  for (const auto& kind : kinds) {
    for (const std::int64_t length : {1, 2, 47}) {
      CAPTURE(length);
      const auto problem = oracle::draw_problem(3, 2, length, kind, ++seed);
      const auto model = functions_of<double, 3, 2>(problem.model);
      const numbers y = numbers_of(problem.y);
      const series_layout series{.longest = length};
      const auto expected = oracle::run(problem.model, problem.y);
      const results whole = filter_and_smooth(seq{}, model, y, series);
      check_against_oracle(whole, expected, 3);
      CHECK(log_likelihood(seq{}, model, y) == whole.log_likelihood[0]);
      CHECK(filter_and_smooth(omp{2, length}, model, y, series) == whole);
      for (const std::int64_t chunk : {1, 3, 16}) {
        CAPTURE(chunk);
        const results parts = filter_and_smooth(omp{3, chunk}, model, y, series);
        check_against_oracle(parts, expected, 3);
        CHECK(filter_and_smooth(omp{1, chunk}, model, y, series) == parts);
        const results over = filter_and_smooth(omp{3, chunk}, model, y, series, true);
        CHECK(over.smoothed_mean == parts.smoothed_mean);
        CHECK(over.smoothed_covariance == parts.smoothed_covariance);
      }
    }
  }
}

TEST_CASE("a series among others, of other lengths or none, is what it is alone") {
  const auto problem = oracle::draw_problem(3, 2, 60, {.missing = true}, 81);
  const auto model = functions_of<double, 3, 2>(problem.model);
  const numbers y = numbers_of(problem.y);
  const std::vector<std::int64_t> offsets{0, 23, 23, 24, 60};
  for (const omp policy : {omp{1, 0}, omp{2, 0}, omp{3, 5}}) {
    const results all = filter_and_smooth(policy, model, y, {.longest = 40, .count = 4, .offsets = offsets.data()});
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(i);
      const auto first = static_cast<std::size_t>(offsets[i]), last = static_cast<std::size_t>(offsets[i + 1]);
      const results one = filter_and_smooth(policy, model, {y.begin() + 2 * offsets[i], y.begin() + 2 * offsets[i + 1]},
                                            {.longest = offsets[i + 1] - offsets[i]});
      const auto part = [&](const numbers& x, std::size_t size) {
        return numbers(x.begin() + static_cast<std::ptrdiff_t>(first * size), x.begin() + static_cast<std::ptrdiff_t>(last * size));
      };
      CHECK(part(all.mean, 3) == one.mean);
      CHECK(part(all.smoothed_covariance, 9) == one.smoothed_covariance);
      CHECK(all.log_likelihood[i] == one.log_likelihood[0]);
      CHECK(numbers(all.final_mean.begin() + 3 * static_cast<std::ptrdiff_t>(i),
                    all.final_mean.begin() + 3 * static_cast<std::ptrdiff_t>(i + 1)) == one.final_mean);
    }
  }
}

/// x' = gain x + w, w ~ N(0, Q), y = x + v, v ~ N(0, R), from N(0, Q).
auto scalar_model(double gain, double Q, double R) {
  using one = kalscan::small_matrix<double, 1, 1>;
  using variance = kalscan::small_symmetric<double, 1>;
  return kalscan::model_of<double, 1, 1>(one{{gain}}, variance{{Q}}, one{{1}}, variance{{R}},
                                         kalscan::small_belief<double, 1>{{{0}}, {{Q}}});
}

TEST_CASE("a chunk whose product of gains overflows is replayed") {
  const auto model = scalar_model(1e3, 0, 1);  // 1000^120 is too large, while all states are known to be 0
  const numbers y(300, 0.5);
  numbers whole(300, nan), parts(300, nan);
  const double value = log_likelihood(seq{}, model, y);
  CHECK(log_likelihood(omp{3, 120}, model, y) == doctest::Approx(value).epsilon(1e-12));
  filter(seq{}, model, y, {.mean = whole});
  filter(omp{3, 120}, model, y, {.mean = parts});
  CHECK(whole == numbers(300, 0.0));
  CHECK(parts == whole);
}

TEST_CASE("chunks that outlast all memory of what was before them give what whole series give") {
  using matrix = kalscan::small_matrix<double, 2, 2>;
  using variances = kalscan::small_symmetric<double, 2>;
  using row = kalscan::small_matrix<double, 1, 2>;
  using variance = kalscan::small_symmetric<double, 1>;
  const matrix F{{0.92, -0.1, 0.1, 0.92}};  // forgets a tenth or more a step: 292 powers of ten in some 5,000
  const variances Q{{0.01, 0, 0.01}};
  const kalscan::small_belief<double, 2> prior{{}, Q};
  const row H{{1, 0.5}};
  const auto constant = kalscan::model_of<double, 2, 1>(F, Q, H, variance{{1}}, prior);
  const auto varying = kalscan::model_of<double, 2, 1>(
      F, Q, H, [](std::int64_t t) { return variance{{1 + 0.1 * static_cast<double>(t % 5)}}; }, prior);
  constexpr std::size_t length = 20000;
  numbers y(length);
  std::mt19937_64 engine(85);
  std::normal_distribution<double> normal;
  for (double& value : y) value = normal(engine);
  const auto check = [&](const auto& model) {
    const series_layout series{.longest = length};
    const results whole = filter_and_smooth(seq{}, model, y, series);
    const results parts = filter_and_smooth(omp{3, 8000}, model, y, series);
    const auto close = [](const numbers& x, const numbers& expected) {
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double d = std::abs(x[i] - expected[i]) / (1 + std::abs(expected[i]));
        if (!(d <= worst)) worst = d;
      }
      return worst < 1e-12;
    };
    CHECK(close(parts.mean, whole.mean));
    CHECK(close(parts.covariance, whole.covariance));
    CHECK(close(parts.smoothed_mean, whole.smoothed_mean));
    CHECK(close(parts.smoothed_covariance, whole.smoothed_covariance));
    CHECK(close(parts.final_mean, whole.final_mean));
    CHECK(close(parts.log_likelihood, whole.log_likelihood));
  };
  check(constant);
  check(varying);
  y[15000] = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(filter(omp{3, 8000}, constant, y, {}), doctest::Contains("step 15000"), kalscan::filter_error);
}

TEST_CASE("where covariances of a constant model have settled, smoothed beliefs are those of steps taken in full") {
  using matrix = kalscan::small_matrix<double, 3, 3>;
  using variances = kalscan::small_symmetric<double, 3>;
  using rows = kalscan::small_matrix<double, 2, 3>;
  using noise = kalscan::small_symmetric<double, 2>;
  const matrix F{{0.9, -0.1, 0, 0.2, 0.8, 0.1, 0, 0.1, 0.95}};
  const variances Q{{0.3, 0.1, 0.2, 0, 0.05, 0.1}};
  const rows H{{1, 0.5, 0, -1, 0.3, 1}};
  const noise R{{0.5, 0.2, 0.7}};
  const kalscan::small_belief<double, 3> prior{{{5, 6, 7}}, {{4, 0, 4, 0, 0, 4}}};
  const auto constant = kalscan::model_of<double, 3, 2>(F, Q, H, R, prior);
  const auto in_full = kalscan::model_of<double, 3, 2>([=](std::int64_t) { return F; }, Q, H, R, prior);
  static_assert(decltype(constant)::constant && !decltype(in_full)::constant);
  numbers y(2 * 2000);
  std::mt19937_64 engine(86);
  std::normal_distribution<double> normal;
  for (double& value : y) value = 100 + 3 * normal(engine);
  for (std::size_t k = 900; k < y.size(); k += 777) y[k] = nan;  // one component or the other
  const series_layout series{.longest = 2000};
  const results expected = filter_and_smooth(seq{}, in_full, y, series);
  const auto difference = [](const numbers& x, const numbers& other) {
    double worst = 0;
    for (std::size_t k = 0; k < x.size(); ++k) worst = std::max(worst, std::abs(x[k] - other[k]));
    return worst;
  };
  for (const std::int64_t chunk : {2000, 60}) {
    const results r = filter_and_smooth(omp{2, chunk}, constant, y, series);
    CHECK(difference(r.mean, expected.mean) < 1e-11);
    CHECK(difference(r.covariance, expected.covariance) < 1e-14);
    CHECK(difference(r.smoothed_mean, expected.smoothed_mean) < 1e-11);
    CHECK(difference(r.smoothed_covariance, expected.smoothed_covariance) < 1e-14);
  }
}

TEST_CASE("matrices of each step and of each series may lie in arrays") {
  using matrix = kalscan::small_matrix<double, 3, 3>;
  using variances = kalscan::small_symmetric<double, 3>;
  constexpr std::int64_t length = 20, count = 2;
  const auto problem = oracle::draw_problem(3, 2, count * length, {.varying = true}, 87);
  const auto& given = problem.model;
  numbers F(9 * length), Q(9 * count);
  for (std::int64_t t = 0; t < length; ++t) Eigen::Map<Eigen::Matrix3d>(F.data() + 9 * t) = given.F[t];
  for (std::int64_t i = 0; i < count; ++i) Eigen::Map<Eigen::Matrix3d>(Q.data() + 9 * i) = given.Q[i];
  const auto H = kalscan::detail::to_small<kalscan::small_matrix<double, 2, 3>>(given.H[0]);
  const auto R = kalscan::detail::to_small<kalscan::small_symmetric<double, 2>>(given.R[0]);
  const kalscan::small_belief<double, 3> prior{{{5, 6, 7}}, {{4, 0, 4, 0, 0, 4}}};
  const auto in_arrays = kalscan::model_of<double, 3, 2>(kalscan::matrix_of_step<matrix>{F.data()},
                                                         kalscan::matrix_of_series<variances>{Q.data()}, H, R, prior);
  const auto in_functions = kalscan::model_of<double, 3, 2>(
      [&](std::int64_t t) { return kalscan::detail::to_small<matrix>(given.F[t]); },
      [&](std::int64_t i, std::int64_t) { return kalscan::detail::to_small<variances>(given.Q[i]); }, H, R, prior);
  const series_layout series{.longest = length, .count = count};
  const numbers y = numbers_of(problem.y);
  CHECK(filter_and_smooth(omp{2, 7}, in_arrays, y, series) == filter_and_smooth(omp{2, 7}, in_functions, y, series));
}

TEST_CASE("what fails at a step is told by the status, or thrown, with series and step") {
  const auto model = scalar_model(1, 1, 1);
  numbers y(40, 1.0);
  y[33] = std::numeric_limits<double>::infinity();
  for (const omp policy : {omp{1, 0}, omp{2, 7}}) {
    const series_layout series{.longest = 20, .count = 2};
    std::vector<kalscan::filter_status> status(2);
    filter(policy, model, y, series, {.status = status});
    CHECK(status[0].ok());
    CHECK(status[1].step() == 13);
    CHECK_THROWS_WITH_AS(filter(policy, model, y, series, {}), "kalscan: series 1, step 13: the mean is not finite",
                         kalscan::filter_error);
  }
}

TEST_CASE("a forecast of models of functions goes on from the last beliefs") {
  const auto problem = oracle::draw_problem(3, 2, 30, {}, 83);
  const auto model = functions_of<double, 3, 2>(problem.model);
  numbers y = numbers_of(problem.y), mean(30 * 3), final_mean(3), final_covariance(9), ahead(5 * 3);
  std::fill(y.begin() + 50, y.end(), nan);  // the last five steps
  filter(seq{}, model, y, {.mean = mean});
  const series_layout series{.longest = 25};
  const std::span<const double> known(y.data(), 50);
  const kalscan::filter_arrays<double> last{.final_mean = final_mean, .final_covariance = final_covariance};
  filter(seq{}, model, known, last);
  forecast(omp{2}, model, series, 5, last, {.mean = ahead});
  CHECK(ahead == numbers(mean.begin() + 75, mean.end()));
}

TEST_CASE("arrays of other sizes than the series' are refused before anything is written") {
  const auto problem = oracle::draw_problem(3, 2, 4, {}, 84);
  const auto model = functions_of<double, 3, 2>(problem.model);
  const numbers y = numbers_of(problem.y);
  numbers mean(12, 7), covariance(35);
  const kalscan::filter_arrays<double> out{.mean = mean, .covariance = covariance};
  CHECK(message_of([&] { filter(seq{}, model, y, out); }) == "kalscan::filter: covariance has size 35, not 36");
  CHECK(mean == numbers(12, 7));
  CHECK(message_of([&] { smooth(seq{}, model, y, {}, {}); }) == "kalscan::smooth: the filtered mean has size 0, not 12");
  CHECK(message_of([&] { filter(seq{}, model, y, series_layout{.longest = 5}, {}); }) ==
        "kalscan::filter: y has size 8, not 10");
  CHECK(message_of([&] { filter(seq{}, model, std::span(y).first(7), {}); }) ==
        "kalscan::filter: y has 7 numbers, which are no steps of 2");
  const std::int64_t beyond[] = {0, 2, 5}, back[] = {1, 3, 2};
  CHECK(message_of([&] { filter(seq{}, model, y, {.longest = 4, .count = 2, .offsets = beyond}, {.mean = mean}); }) ==
        "kalscan::filter: offsets[2] is 5, more than 4, the steps of y");
  CHECK(message_of([&] { filter(omp{2}, model, y, {.longest = 4, .count = 2, .offsets = back}, {.mean = mean}); }) ==
        "kalscan::filter: offsets[2] is 2, less than 3");
  CHECK(mean == numbers(12, 7));
  CHECK(message_of([&] { forecast(seq{}, model, series_layout{.longest = 4}, -1, out, {}); }) ==
        "kalscan::forecast: the last mean has size 0, not 3");
  const std::int64_t offsets[] = {0, 2, 4};
  CHECK(message_of([&] { filter(seq{}, model, y, {.count = 2, .offsets = offsets}, {.mean = mean}); }) ==
        "kalscan::filter: longest is 0, y has 4 steps: give the length of the longest series");
  CHECK(message_of([&] { forecast(seq{}, model, {.longest = 4, .count = 2, .offsets = back}, 1, out, {}); }) ==
        "kalscan::forecast: offsets[2] is 2, less than 3");
  CHECK(message_of([&] {
          filter(seq{}, model, y, {.longest = std::int64_t{1} << 62, .count = 4, .offsets = offsets}, {.mean = mean});
        }) == "kalscan::filter: 4 series of 4611686018427387904 steps have more numbers than can be counted");
  CHECK(mean == numbers(12, 7));
}

TEST_CASE("a chunk of any length takes a series as a whole") {
  const auto problem = oracle::draw_problem(3, 2, 40, {}, 88);
  const auto model = functions_of<double, 3, 2>(problem.model);
  const numbers y = numbers_of(problem.y);
  const series_layout series{.longest = 40};
  CHECK(filter_and_smooth(omp{2, std::numeric_limits<std::int64_t>::max()}, model, y, series) ==
        filter_and_smooth(seq{}, model, y, series));
}

TEST_CASE("what is no variance, and time that goes back, are refused") {
  const numbers y{1, 2, 3};
  const auto refused = [&](double Q, double R, double P) {
    auto model = scalar_model(1, Q, R);
    model.prior_of.covariance(0, 0) = P;
    return message_of([&] { static_cast<void>(log_likelihood(seq{}, model, y)); });
  };
  CHECK(refused(1, 1, 1) == "no std::invalid_argument");
  CHECK(refused(-1, 1, 1) == "kalscan::log_likelihood: Q(0, 0) is -1, no variance");
  CHECK(refused(1, -2, 1) == "kalscan::log_likelihood: R(0, 0) is -2, no variance");
  CHECK(refused(1, 1, -3) == "kalscan::log_likelihood: the prior's covariance(0, 0) is -3, no variance");
  const numbers times{0, 2, 1};
  const kalscan::matern32<double> process{1.0, 1.0};
  CHECK_THROWS_WITH_AS(static_cast<void>(log_likelihood(seq{}, kalscan::observed_at(process, times.data(), 0.5), y)),
                       doctest::Contains("series 0, step 2"), kalscan::filter_error);
  CHECK(message_of([&] { return kalscan::observed_at(process, times.data(), -0.5); }) ==
        "kalscan::observed_at: noise is -0.5, no variance");
}

}  // namespace
}  // namespace function_filter_tests
