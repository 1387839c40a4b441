// SPDX-License-Identifier: MIT
// Constant models of so many states that a device computes ahead what does not depend on data: results against the
// oracle, and that it is used.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <kalscan/kalman/device/planned_traversals.hpp>
#include <kalscan/kalman/function_filter.hpp>
#include <limits>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "../instrument.hpp"
#include "device_chunks.hpp"
#include "oracle.hpp"
#include "small_models.hpp"

namespace planned_tests {
namespace {

using kalscan::small_belief, kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector;
using namespace kalscan::detail;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Every chunk begins where the one before ends, has the planned number of steps or fewer, and there are no more than
/// were announced.
void check_cuts(std::int64_t chunk, std::int64_t length) {
  CAPTURE(chunk);
  CAPTURE(length);
  const cuts_with_short_ends cuts{chunk};
  const std::int64_t chunks = cuts.chunks(length);
  CHECK(chunks <= cuts.most_chunks(length));
  CHECK(chunks <= cuts.most_chunks(length + 1000));
  std::int64_t at = 0, odd = 0;
  for (std::int64_t k = 0; k < chunks; ++k) {
    REQUIRE(cuts.steps_before(k, length) == at);
    const std::int64_t end = cuts.steps_through(k, length);
    REQUIRE(end > at);
    REQUIRE(end - at <= chunk);
    odd += end - at != chunk && end - at != cuts.short_steps;
    at = end;
  }
  CHECK(at == length);
  CHECK(odd <= 1);
  if (!cuts.has_short_ends(length)) return;
  CHECK(cuts.steps_through(31, length) == 128);
  CHECK(length - cuts.steps_before(chunks - 32, length) <= 128);
}

TEST_CASE("a long series is cut into chunks, with short ones at its ends") {
  for (const std::int64_t chunk : {1, 4, 15, 16, 17, 32, 64}) {
    for (const std::int64_t length : {0, 1, 3, 31, 128, 129, 257, 1000}) check_cuts(chunk, length);
    for (std::int64_t beyond = -2; beyond < 40; ++beyond) check_cuts(chunk, 256 * chunk + beyond);
  }
}

/// Its covariances settle within some tens of steps.
template <int N, int M>
auto model_of_seed(std::uint64_t seed) {
  auto drawn = oracle::draw_problem(N, M, 1, {}, seed);
  drawn.model.R = Eigen::MatrixXd::Constant(M, M, 0.3) + Eigen::MatrixXd::Identity(M, M);
  return drawn.model;
}

std::vector<double> data(std::int64_t size) {
  std::mt19937_64 engine(3);
  std::normal_distribution<double> normal;
  std::vector<double> y(static_cast<std::size_t>(size));
  for (auto& x : y) x = normal(engine);
  return y;
}

template <class T, int N, int M>
void check_against_oracle(double bound, double missing) {
  const std::int64_t length = unless_slow(4700, 1300);  // long enough for short chunks at both ends
  const auto drawn = model_of_seed<N, M>(7);
  Eigen::MatrixXd y = Eigen::Map<const Eigen::MatrixXd>(data(length * M).data(), M, length);
  std::mt19937_64 engine(5);
  std::uniform_real_distribution<double> uniform;
  for (auto& x : y.reshaped()) x = uniform(engine) < missing ? nan : x;
  if (missing > 0) y.middleCols(length / 2, 60).setConstant(nan);
  const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> given = y.cast<T>();
  const auto expected = oracle::run(drawn, given.template cast<double>().eval());
  const auto model = kalscan::constant_model(oracle::convert<T, N, M>(drawn));
  static_assert(has_plan<decltype(model)>);
  for (const std::int64_t chunk : {std::int64_t{5}, std::int64_t{16}, std::int64_t{40}, length}) {
    if (under_an_instrument() && (chunk == 16 || chunk == 40)) continue;
    CAPTURE(chunk);
    const auto r = device_chunks::filter_and_smooth(model, device_chunks::numbers_of<T>(given), {.longest = length}, chunk, 32);
    small_models::compare(r, expected, bound);
    int same = 0;
    for (std::size_t t = 1; t < r.covariance.size(); ++t) same += r.covariance[t] == r.covariance[t - 1];
    CHECK(same > (missing > 0 ? length / 10 : length - 200));  // it did settle
  }
}

TEST_CASE("a constant model of many states, planned ahead, keeps its digits, with and without gaps") {
  if (!under_an_instrument()) check_against_oracle<double, 7, 2>(1e-12, 0);
  check_against_oracle<double, 7, 2>(1e-12, 0.003);
  check_against_oracle<float, 7, 2>(2e-4, 0.003);
}

/// What inputs add, by series and step.
struct state_input {
  KALSCAN_HD small_vector<double, 7> operator()(std::int64_t series, std::int64_t t) const {
    return {{std::sin(0.1 * static_cast<double>(t)), static_cast<double>(series), 0, 1, 0, 0, -1}};
  }
};
struct reading_input {
  KALSCAN_HD small_vector<double, 2> operator()(std::int64_t t) const {
    return {{std::cos(0.2 * static_cast<double>(t)), 3}};
  }
};

auto model_with_inputs() {
  const auto x = kalscan::constant_model(oracle::convert<double, 7, 2>(model_of_seed<7, 2>(8)));
  const auto [F, Q] = x.transition(0, 0);
  const auto [H, R] = x.observation(0, 0);
  return kalscan::model_of<double, 7, 2>(F, Q, H, R, x.prior(0), true, state_input{}, reading_input{});
}

TEST_CASE("a planned model has inputs, and many series of any lengths") {
  const auto model = model_with_inputs();
  using model_type = decltype(model_with_inputs());
  const std::vector<std::int64_t> offsets{0, 0, 5000, 5001, 9400, 9500};
  const kalscan::series_layout series{.longest = 5000, .count = 5, .offsets = offsets.data()};
  auto y = data(9500 * 2);
  y[2 * 7000] = y[9] = nan;
  struct results {
    std::vector<double> mean = std::vector<double>(9500 * 7, nan), covariance = std::vector<double>(9500 * 49, nan),
                        sum = std::vector<double>(5, nan), smoothed = mean, spread = covariance;
    kalscan::filter_arrays<double> filtered() { return {.mean = mean, .covariance = covariance, .log_likelihood = sum}; }
  };
  results expected, found;
  kalscan::filter(kalscan::seq{}, model, std::span<const double>(y), series, expected.filtered());
  kalscan::smooth(kalscan::seq{}, model, std::span<const double>(y), series, expected.filtered(),
                  kalscan::smoother_arrays<double>{expected.smoothed, expected.spread});
  const auto filter = planned_traversal<device_filter<model_type>>(model, series, y.data(), found.filtered(), 16);
  CHECK(filter.plan.filter.hold);
  REQUIRE(filter.plan.of_stretch(16) != nullptr);
  REQUIRE(filter.plan.of_stretch(4) != nullptr);
  CHECK(filter.plan.of_stretch(5) == nullptr);
  CHECK(filter.plan.of_stretch(0) == nullptr);
  device_chunks::run(filter, 32);
  const auto smoother = planned_traversal<device_smoother<model_type>>(
      model, series, y.data(), found.mean.data(), found.covariance.data(),
      kalscan::smoother_arrays<double>{found.smoothed, found.spread}, 16);
  CHECK(smoother.plan.smoother.hold);
  device_chunks::run(smoother, 32);
  const auto apart = [](const std::vector<double>& x, const std::vector<double>& z) {
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double d = std::abs(x[i] - z[i]) / (1 + std::abs(z[i]));
      if (!(d <= worst)) worst = d == d ? d : std::numeric_limits<double>::infinity();
    }
    return worst;
  };
  CHECK(apart(found.mean, expected.mean) < 1e-11);
  CHECK(apart(found.covariance, expected.covariance) < 1e-12);
  CHECK(apart(found.sum, expected.sum) < 1e-12);
  CHECK(apart(found.smoothed, expected.smoothed) < 1e-11);
  CHECK(apart(found.spread, expected.spread) < 1e-12);

  // The element of a planned chunk is that of its steps.
  const auto planned = filter.absorb(1, 40), stepped = filter.absorb_steps(1, 256, 272);
  const auto near = [](const auto& x, const auto& z, double bound) {
    for (std::size_t i = 0; i < std::size(z.x); ++i) CHECK(std::abs(x.x[i] - z.x[i]) < bound);
  };
  near(planned.A, stepped.A, 1e-13), near(planned.b, stepped.b, 1e-12), near(planned.C, stepped.C, 1e-13);
  near(planned.eta, stepped.eta, 1e-12), near(planned.J, stepped.J, 1e-13);

  // Smoothed in the place of the filtered beliefs, chunks of earlier steps first.
  results same = found;
  auto in_place = smoother;
  in_place.mean = same.mean.data(), in_place.spread = same.covariance.data();
  in_place.out = kalscan::smoother_arrays<double>{same.mean, same.covariance};
  std::vector<std::function<void()>> replays;
  device_chunks::run(in_place, 32, [&](std::int64_t i, std::int64_t k, const auto& later) {
    replays.push_back([&in_place, i, k, later] { replay_chunk(in_place, i, k, later); });
    return 0.0;
  });
  std::for_each(replays.rbegin(), replays.rend(), [](const auto& replay) { replay(); });
  CHECK(same.mean == found.smoothed);
  CHECK(same.covariance == found.spread);
}

/// As in sequence, in chunks and whole; `still` of the steps leave the covariance as it was.
template <class Model>
void check_as_in_sequence(const Model& model, std::int64_t length, std::int64_t still, bool settles) {
  const auto size = static_cast<std::size_t>(length);
  const auto y = data(length * 2);
  std::vector<double> mean(size * 7), covariance(size * 49), smoothed = mean, spread = covariance, sum(1);
  const kalscan::filter_arrays<double> filtered{.mean = mean, .covariance = covariance, .log_likelihood = sum};
  kalscan::filter(kalscan::seq{}, model, std::span<const double>(y), filtered);
  kalscan::smooth(kalscan::seq{}, model, std::span<const double>(y), filtered, kalscan::smoother_arrays<double>{smoothed, spread});
  CHECK(plan_of(model, 16, 4, true).filter.hold == settles);
  for (const std::int64_t chunk : {std::int64_t{16}, length}) {
    CAPTURE(chunk);
    const auto r = device_chunks::filter_and_smooth(model, y, {.longest = length}, chunk, 32);
    CHECK(r.filtered[0].ok());
    CHECK(r.smoothed[0].ok());
    CHECK(std::abs(r.log_likelihood[0] - sum[0]) < 1e-9 * std::abs(sum[0]));
    double worst = 0;
    std::int64_t same = 0;
    for (std::size_t t = 0; t < size; ++t) {
      const auto row = static_cast<Eigen::Index>(t);
      const auto of_mean = [t](const std::vector<double>& x) { return Eigen::Map<const Eigen::VectorXd>(x.data() + t * 7, 7); };
      const auto of_matrix = [t](const std::vector<double>& x) { return Eigen::Map<const Eigen::MatrixXd>(x.data() + t * 49, 7, 7); };
      const Eigen::VectorXd deviation = of_matrix(covariance).diagonal().cwiseSqrt().array() + 1e-9;
      const Eigen::VectorXd size_of_mean = deviation.array() + of_mean(mean).array().abs();
      worst = std::max(worst, (r.mean.col(row) - of_mean(mean)).cwiseQuotient(size_of_mean).cwiseAbs().maxCoeff());
      worst = std::max(worst, (r.smoothed_mean.col(row) - of_mean(smoothed)).cwiseQuotient(size_of_mean).cwiseAbs().maxCoeff());
      const Eigen::MatrixXd scale = deviation * deviation.transpose();
      worst = std::max(worst, (r.covariance[t] - of_matrix(covariance)).cwiseQuotient(scale).cwiseAbs().maxCoeff());
      worst = std::max(worst, (r.smoothed_covariance[t] - of_matrix(spread)).cwiseQuotient(scale).cwiseAbs().maxCoeff());
      if (t > 0) same += r.covariance[t] == r.covariance[t - 1];
    }
    CHECK(worst < 1e-9);
    if (chunk == length) CHECK(same >= still);
  }
}

TEST_CASE("models that settle slowly, or never, are filtered as without a plan") {
  const auto x = model_with_inputs();
  const auto [F, Q] = x.transition(0, 0);
  const auto [H, R] = x.observation(0, 0);
  const auto prior = x.prior(0);
  const auto model_of = [&noise = R](const auto& f, const auto& q, const auto& h, const auto& belief) {
    return kalscan::model_of<double, 7, 2>(f, q, h, noise, belief);
  };
  auto apart = F;  // the last state beside the others
  for (int j = 0; j < 7; ++j) apart(6, j) = apart(j, 6) = 0;
  apart(6, 6) = 1;
  auto unread = H;
  unread(0, 6) = unread(1, 6) = 0;
  check_as_in_sequence(model_of(apart, Q, unread, prior), 600, 0, false);  // its variance grows
  auto known = prior;
  auto quiet = Q;
  for (int j = 0; j < 7; ++j) known.covariance(6, j) = quiet(6, j) = 0;
  check_as_in_sequence(model_of(apart, quiet, H, known), 600, 300, true);  // a constant that is known: later data say ever more of it
  small_matrix<double, 7, 7> slow{};
  small_symmetric<double, 7> little{};
  for (int i = 0; i < 7; ++i) slow(i, i) = 1, little(i, i) = 1e-4;
  for (int i = 0; i < 6; ++i) slow(i, i + 1) = 0.01;
  check_as_in_sequence(model_of(slow, little, H, prior), unless_slow(4000, 2000), unless_slow(200, 0), true);
}

TEST_CASE("readings without noise, and what overflows, have no plan that hides them") {
  const auto x = model_with_inputs();
  const auto [F, Q] = x.transition(0, 0);
  const auto [H, R] = x.observation(0, 0);
  auto twice = H;  // the same reading twice, without noise: the second one tells nothing new
  for (int j = 0; j < 7; ++j) twice(1, j) = twice(0, j);
  const auto plan = plan_of(kalscan::model_of<double, 7, 2>(F, Q, twice, small_symmetric<double, 2>{}, x.prior(0)), 16, 4, true);
  CHECK(plan.of_stretch(16) == nullptr);
  CHECK(!plan.filter.hold);

  auto huge = x.prior(0);
  for (int i = 0; i < 7; ++i) huge.covariance(i, i) = 1.5e308;
  auto growing = F;
  for (int i = 0; i < 7; ++i) growing(i, i) = 0.9, growing(i, (i + 1) % 7) = 0.7;
  const auto model = kalscan::model_of<double, 7, 2>(growing, Q, H, R, huge);
  auto y = data(2 * 600);
  for (std::size_t t = 0; t < 8; ++t) y[t] = nan;
  for (const std::int64_t chunk : {16, 600}) {
    const auto r = device_chunks::filter_and_smooth(model, y, {.longest = 600}, chunk, 32);
    CHECK(!r.filtered[0].ok());
    CHECK(r.filtered[0].step() < 16);
  }
}

TEST_CASE("chunks are no longer than a plan, unless there would be many more of them") {
  const auto x = kalscan::constant_model(oracle::convert<float, 7, 2>(model_of_seed<7, 2>(7)));
  using filter = device_filter<std::remove_const_t<decltype(x)>>;
  constexpr std::int64_t most = decltype(filter::plan)::most_steps;
  CHECK(most == 64);
  CHECK(chunk_of_time<filter>(0, 1'000'000, 1) == 32);
  CHECK(chunk_of_time<filter>(0, 10'000'000, 1) == most);
  CHECK(chunk_of_time<filter>(0, 100'000'000, 1) > 8 * most);
  CHECK(chunk_of_time<filter>(100, 10'000'000, 1) == 100);
}

}  // namespace
}  // namespace planned_tests
