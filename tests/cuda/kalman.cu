// SPDX-License-Identifier: MIT
// Filter and smoother with matrix states on the device against the same steps in sequence on the host, in double.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "../kalman/real_series.hpp"
#include "../kalman/run_chunks.hpp"
#include "device_array.hpp"

namespace {

using kalscan::small_belief, kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector;

template <class T>
std::vector<T> convert(const std::vector<double>& x) {
  return {x.begin(), x.end()};
}

/// A stable model with correlated noise whose matrices turn with time, the same for float and double.
template <class T, int N, int M>
struct turning {
  static constexpr double entry(int i, int j, int k) { return 0.25 * ((7 * i + 5 * j + 3 * k) % 9 - 4); }
  KALSCAN_HD static small_matrix<T, N, N> F(std::int64_t t) {
    small_matrix<T, N, N> x{};
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j < N; ++j) x(i, j) = i == j ? T(0.9) : T(0.1) / T(N) * T((i + 2 * j + t) % 3 - 1);
    }
    return x;
  }
  KALSCAN_HD static small_symmetric<T, N> Q(std::int64_t) {
    small_symmetric<T, N> x{};
    for (int i = 0; i < N; ++i) x(i, i) = T(0.3), x(i, 0) += T(0.125);
    return x;
  }
  KALSCAN_HD static small_matrix<T, M, N> H(std::int64_t series, std::int64_t) {
    small_matrix<T, M, N> x{};
    for (int i = 0; i < M; ++i) {
      for (int j = 0; j < N; ++j) x(i, j) = T(0.25) * T((7 * i + 5 * j + series) % 9 - 4);
    }
    return x;
  }
  KALSCAN_HD static small_symmetric<T, M> R(std::int64_t) {
    small_symmetric<T, M> x{};
    for (int i = 0; i < M; ++i) x(i, i) = T(0.5), x(i, 0) += T(0.125);
    return x;
  }
  struct F_ {
    KALSCAN_HD auto operator()(std::int64_t t) const { return F(t); }
  };
  struct Q_ {
    KALSCAN_HD auto operator()(std::int64_t t) const { return Q(t); }
  };
  struct H_ {
    KALSCAN_HD auto operator()(std::int64_t series, std::int64_t t) const { return H(series, t); }
  };
  struct R_ {
    KALSCAN_HD auto operator()(std::int64_t t) const { return R(t); }
  };
  static auto model() {
    small_belief<T, N> prior{};
    for (int i = 0; i < N; ++i) prior.mean(i) = T(1), prior.covariance(i, i) = T(2);
    return kalscan::model_of<T, N, M>(F_{}, Q_{}, H_{}, R_{}, prior);
  }
  /// The same of which nothing is known before the data; series 1 of which the first state is.
  struct unknown {
    KALSCAN_HD auto operator()(std::int64_t series) const {
      auto prior = kalscan::all_diffuse<T, N>();
      if (series == 1) prior.directions(0, 0) = T(0), prior.mean(0) = T(1), prior.covariance(0, 0) = T(2);
      return prior;
    }
  };
  static auto diffuse_model() { return kalscan::model_of<T, N, M>(F_{}, Q_{}, H_{}, R_{}, unknown{}, true); }
};

std::vector<double> draw(std::int64_t size, bool gaps) {
  std::mt19937_64 engine(static_cast<std::uint64_t>(size));
  std::normal_distribution<double> normal;
  std::vector<double> y(static_cast<std::size_t>(size));
  for (auto& x : y) x = gaps && engine() % 4 == 0 ? std::numeric_limits<double>::quiet_NaN() : normal(engine);
  return y;
}

template <class T>
struct arrays {
  std::vector<T> mean, covariance, predicted_mean, predicted_covariance, final_mean, final_covariance, log_likelihood,
      smoothed_mean, smoothed_covariance;
  // Of diffuse priors.
  std::vector<T> directions = {}, predicted_directions = {}, final_directions = {}, smoothed_directions = {};
};
template <class Model>
constexpr bool diffuse = kalscan::detail::has_diffuse_prior<Model>;

/// In sequence, each series as one chunk.
template <class Model>
arrays<double> on_host(const Model& model, const std::vector<double>& y, const kalscan::series_layout& series) {
  constexpr std::size_t n = Model::states, m = Model::observed;
  const std::size_t steps = y.size() / m, count = static_cast<std::size_t>(series.count);
  const auto all = [](std::size_t size) { return std::vector<double>(size); };
  arrays<double> x{all(steps * n), all(steps * n * n), all(steps * n), all(steps * n * n), all(count * n),
                   all(count * n * n), all(count), all(steps * n), all(steps * n * n)};
  if constexpr (diffuse<Model>) {
    x.directions = x.predicted_directions = x.smoothed_directions =
        all(count * static_cast<std::size_t>(series.longest) * n * n);
    x.final_directions = all(count * n * n);
  }
  const std::int64_t chunk = std::max<std::int64_t>(series.longest, 1);
  device_chunks::run(kalscan::detail::filter_traversal<Model>{model,
                                                              series,
                                                              y.data(),
                                                              {x.mean, x.covariance, x.predicted_mean,
                                                               x.predicted_covariance, x.final_mean, x.final_covariance,
                                                               x.log_likelihood, {}, x.directions,
                                                               x.predicted_directions, x.final_directions},
                                                              chunk},
                     1);
  device_chunks::run(kalscan::detail::smoother_traversal<Model>{model, series, y.data(), x.mean.data(),
                                                                x.covariance.data(),
                                                                {x.smoothed_mean, x.smoothed_covariance, {},
                                                                 x.smoothed_directions},
                                                                chunk,
                                                                x.directions},
                     1);
  return x;
}

template <class T>
struct device_results {
  device_array<T> mean, covariance, predicted_mean, predicted_covariance, final_mean, final_covariance, log_likelihood,
      smoothed_mean, smoothed_covariance;
  device_array<kalscan::filter_status> status, smoother_status;
  device_array<T> directions, predicted_directions, final_directions, smoothed_directions;

  /// `skew` numbers move the arrays off the alignment of their allocations. Directions, of so many first steps of each
  /// series, belong to a diffuse prior.
  device_results(std::size_t steps, std::size_t count, std::size_t n, std::size_t skew = 0, bool diffuse = false,
                 std::size_t first_steps = 0)
      : mean(steps * n, skew * sizeof(T)),
        covariance(steps * n * n, skew * sizeof(T)),
        predicted_mean(steps * n, skew * sizeof(T)),
        predicted_covariance(steps * n * n, skew * sizeof(T)),
        final_mean(count * n, skew * sizeof(T)),
        final_covariance(count * n * n, skew * sizeof(T)),
        log_likelihood(count),
        smoothed_mean(steps * n, skew * sizeof(T)),
        smoothed_covariance(steps * n * n, skew * sizeof(T)),
        status(count),
        smoother_status(count),
        directions(count * first_steps * n * n, skew * sizeof(T)),
        predicted_directions(count * first_steps * n * n),
        final_directions(diffuse ? count * n * n : 0),
        smoothed_directions(count * first_steps * n * n) {}
  kalscan::filter_arrays<T> filtered() const {
    return {mean.span(),       covariance.span(),       predicted_mean.span(), predicted_covariance.span(),
            final_mean.span(), final_covariance.span(), log_likelihood.span(), status.span(),
            directions.span(), predicted_directions.span(), final_directions.span()};
  }
  kalscan::smoother_arrays<T> smoothed() const {
    return {smoothed_mean.span(), smoothed_covariance.span(), smoother_status.span(), smoothed_directions.span()};
  }
  arrays<T> host() const {
    return {mean.host(),       covariance.host(),       predicted_mean.host(), predicted_covariance.host(),
            final_mean.host(), final_covariance.host(), log_likelihood.host(), smoothed_mean.host(),
            smoothed_covariance.host(),
            directions.host(), predicted_directions.host(), final_directions.host(), smoothed_directions.host()};
  }
};

template <class T>
double difference(const std::vector<T>& x, const std::vector<double>& y) {
  if (x.size() != y.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = std::abs(static_cast<double>(x[i]) - y[i]) / (1 + std::abs(y[i]));
    if (!(d <= worst)) worst = d == d ? d : std::numeric_limits<double>::infinity();
  }
  return worst;
}

/// Of means, whose deviations count as their own size does: at first they are huge where little is known.
template <class T>
double difference_of_means(const std::vector<T>& x, const std::vector<double>& y, const std::vector<double>& covariance) {
  const std::size_t n = y.empty() ? 1 : covariance.size() / y.size();
  std::vector<T> error(x.size());
  for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
    const double variance = covariance[i / n * n * n + i % n * (n + 1)];
    error[i] = static_cast<T>((static_cast<double>(x[i]) - y[i]) / (1 + std::abs(y[i]) + std::sqrt(variance)));
  }
  return difference(error, std::vector<double>(y.size()));
}

/// directions directions' of each step, of n states: directions themselves may be turned.
template <class T>
std::vector<T> squares(const std::vector<T>& directions, std::size_t n) {
  std::vector<T> x(directions.size());
  for (std::size_t at = 0; at < x.size(); at += n * n) {
    for (std::size_t i = 0; i < n * n * n; ++i)
      x[at + i % (n * n)] += directions[at + i % n + n * (i / n / n)] * directions[at + i / n % n + n * (i / n / n)];
  }
  return x;
}
/// Of the first steps of all series that arrays have room for, whatever the series' lengths.
template <class T>
void check_directions(const arrays<T>& x, const arrays<double>& y, std::size_t n, double bound) {
  CHECK(difference(squares(x.directions, n), squares(y.directions, n)) < bound);
  CHECK(difference(squares(x.predicted_directions, n), squares(y.predicted_directions, n)) < bound);
  CHECK(difference(squares(x.final_directions, n), squares(y.final_directions, n)) < bound);
  CHECK(difference(squares(x.smoothed_directions, n), squares(y.smoothed_directions, n)) < bound);
}

template <class T>
void check_close(const arrays<T>& x, const arrays<double>& y, double bound) {
  CHECK(difference_of_means(x.mean, y.mean, y.covariance) < bound);
  CHECK(difference(x.covariance, y.covariance) < bound);
  CHECK(difference_of_means(x.predicted_mean, y.predicted_mean, y.predicted_covariance) < bound);
  CHECK(difference(x.predicted_covariance, y.predicted_covariance) < bound);
  CHECK(difference(x.final_mean, y.final_mean) < bound);
  CHECK(difference(x.final_covariance, y.final_covariance) < bound);
  CHECK(difference(x.log_likelihood, y.log_likelihood) < bound);
  CHECK(difference_of_means(x.smoothed_mean, y.smoothed_mean, y.smoothed_covariance) < bound);
  CHECK(difference(x.smoothed_covariance, y.smoothed_covariance) < bound);
}

template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

/// A model on the device, in T, against the same in double on the host. The first `gap` steps of all data are missing.
template <class T, class Model, class HostModel>
void check_models(const Model& model, const HostModel& host_model, const std::vector<std::int64_t>& lengths,
                  std::int64_t chunk, double bound, std::size_t gap = 0) {
  constexpr std::size_t N = Model::states, M = Model::observed;
  std::vector<std::int64_t> offsets{0};
  std::int64_t longest = 0;
  for (const std::int64_t length : lengths) {
    offsets.push_back(offsets.back() + length);
    longest = std::max(longest, length);
  }
  CAPTURE(longest);
  CAPTURE(chunk);
  const std::int64_t count = std::ssize(lengths), steps = offsets.back();
  auto y = draw(steps * std::int64_t{M}, true);
  std::fill_n(y.begin(), std::min(gap * M, y.size()), std::numeric_limits<double>::quiet_NaN());
  const auto expected = on_host(host_model, y, {.longest = longest, .count = count, .offsets = offsets.data()});

  const device_array<std::int64_t> places(offsets);
  const device_array<T> data(convert<T>(y));
  const device_results<T> results(static_cast<std::size_t>(steps), lengths.size(), N, chunk == 7 ? 1 : 0,
                                  diffuse<Model>, diffuse<Model> ? static_cast<std::size_t>(longest) : 0);
  for (const auto* x : {&results.directions, &results.predicted_directions, &results.smoothed_directions})
    require_cuda(cudaMemset(x->data(), 0, x->span().size_bytes()));  // what shorter series leave as it is
  const kalscan::series_layout series{.longest = longest, .count = count, .offsets = places.data()};
  const kalscan::cuda_workspace memory(
      kalscan::filter_workspace<Model>(kalscan::cuda{.chunk = chunk}, longest, count));
  const kalscan::cuda p{.workspace = memory, .chunk = chunk};
  kalscan::filter(p, model, data.span(), series, results.filtered());
  kalscan::smooth(p, model, data.span(), series, results.filtered(), results.smoothed());
  const auto first = results.host();
  check_close(first, expected, bound);
  if constexpr (diffuse<Model>) check_directions(first, expected, N, bound);
  for (const auto& status : results.status.host()) CHECK(status.ok());
  for (const auto& status : results.smoother_status.host()) CHECK(status.ok());

  // Again, in the arrays of the filter: the same bits.
  kalscan::filter(p, model, data.span(), series, results.filtered());
  kalscan::smooth(p, model, data.span(), series, results.filtered(),
                  {results.mean.span(), results.covariance.span(), {}, results.smoothed_directions.span()});
  CHECK(same_bits(results.mean.host(), first.smoothed_mean));
  CHECK(same_bits(results.covariance.host(), first.smoothed_covariance));
  CHECK(same_bits(results.log_likelihood.host(), first.log_likelihood));
  CHECK(same_bits(results.smoothed_directions.host(), first.smoothed_directions));
}
template <class T, int N, int M>
void check_series(const std::vector<std::int64_t>& lengths, std::int64_t chunk, double bound) {
  check_models<T>(turning<T, N, M>::model(), turning<double, N, M>::model(), lengths, chunk, bound);
}
void check_diffuse(const std::vector<std::int64_t>& lengths, std::int64_t chunk, double bound, std::size_t gap = 0) {
  const auto model = turning<double, 2, 1>::diffuse_model();
  check_models<double>(model, model, lengths, chunk, bound, gap);
}

template <class T, int N, int M>
void check_lengths(double bound) {
  for (const std::int64_t length : {0, 1, 2, 31, 33, 1000, 20'011}) {
    for (const std::int64_t chunk : {0, 1, 7, 64}) {
      if (length > 1000 && chunk == 1) continue;
      check_series<T, N, M>({length}, chunk, bound);
    }
  }
  for (const std::int64_t chunk : {0, 1, 5, 1000}) check_series<T, N, M>({3, 0, 100, 1, 0, 517, 64, 40}, chunk, bound);
  check_series<T, N, M>(std::vector<std::int64_t>(9000, 5), 0, bound);
}

TEST_CASE("filter and smoother on the device agree with the same steps in sequence, whole and in chunks") {
  check_lengths<double, 2, 1>(1e-10);
  check_lengths<double, 4, 2>(1e-10);
  check_lengths<float, 2, 1>(2e-3);
  check_series<float, 8, 4>({1000}, 0, 2e-3);
}

void check_diffuse_lengths(double bound) {
  for (const std::int64_t length : {0, 1, 2, 33, 1000}) {
    for (const std::int64_t chunk : {0, 1, 7, 64}) check_diffuse({length}, chunk, bound);
  }
  for (const std::int64_t chunk : {0, 1, 5}) check_diffuse({1000}, chunk, bound, 30);
  for (const std::int64_t chunk : {0, 1, 5, 1000}) check_diffuse({3, 0, 100, 1, 0, 517, 64, 40}, chunk, bound, 2);
  check_diffuse(std::vector<std::int64_t>(9000, 5), 0, bound);
}

TEST_CASE("under a diffuse prior filter and smoother on the device agree with the same steps in sequence") {
  check_diffuse_lengths(1e-7);
  // The first reading comes after many chunks, and blocks of them.
  const auto level = real_series::nile_model<double>();
  for (const std::int64_t chunk : {0, 1, 5}) check_models<double>(level, level, {1000}, chunk, 1e-9, 700);
}

TEST_CASE("the Nile and the CO2 of Mauna Loa, end to end on the device") {
  const auto check = [](const auto& model, const std::vector<double>& y, double bound) {
    using model_type = std::remove_cvref_t<decltype(model)>;
    constexpr std::size_t n = model_type::states;
    const std::int64_t length = std::ssize(y);
    const auto expected = on_host(model, y, {.longest = length});
    const device_array<double> data(y);
    for (const std::int64_t chunk : {0, 3, 100}) {
      CAPTURE(chunk);
      const device_results<double> results(y.size(), 1, n, 0, true, y.size());
      const kalscan::cuda_workspace memory(kalscan::filter_workspace<model_type>(kalscan::cuda{.chunk = chunk}, length));
      const kalscan::cuda p{.workspace = memory, .chunk = chunk};
      kalscan::filter(p, model, data.span(), results.filtered());
      kalscan::smooth(p, model, data.span(), results.filtered(), results.smoothed());
      check_close(results.host(), expected, bound);
      check_directions(results.host(), expected, n, bound);
      CHECK(results.status.host()[0].ok());
      CHECK(results.smoother_status.host()[0].ok());
    }
    return expected.log_likelihood[0];
  };
  CHECK(std::abs(check(real_series::nile_model<double>(), real_series::read("nile.csv"), 1e-11) + 633.4646) < 5e-5);
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  auto co2 = real_series::read("co2.csv");
  check(real_series::co2_model<double>(), co2, 1e-4);
  std::fill_n(co2.begin() + 3, 100, std::numeric_limits<double>::quiet_NaN());
  check(real_series::co2_model<double>(), co2, 1e-4);
#endif
}

TEST_CASE("what a diffuse prior leaves unknown, for which there is no room, is told by the status") {
  const auto model = turning<double, 2, 1>::diffuse_model();
  const std::vector<double> y(50, std::numeric_limits<double>::quiet_NaN());
  const device_array<double> data(y);
  for (const std::int64_t chunk : {0, 4, 50}) {
    CAPTURE(chunk);
    const device_results<double> results(y.size(), 1, 2, 0, true, 20);
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{.chunk = chunk}, 50));
    const kalscan::cuda p{.workspace = memory, .chunk = chunk};
    kalscan::filter(p, model, data.span(), results.filtered());
    CHECK(results.status.host()[0].reason() == kalscan::step_failure::improper);
    CHECK(results.status.host()[0].step() == 20);
    CHECK_THROWS_AS(kalscan::smooth(p, model, data.span(), {.mean = results.mean.span(), .covariance = results.covariance.span()},
                                    results.smoothed()),
                    std::invalid_argument);
  }
}

TEST_CASE("a constant model whose covariance settles, on many threads, with gaps") {
  small_matrix<double, 2, 2> F{{0.9, 0.1, -0.2, 0.8}};
  const small_belief<double, 2> prior{{{1, 2}}, {{3, 1, 2}}};
  const auto model = kalscan::model_of<double, 2, 1>(F, small_symmetric<double, 2>{{0.5, 0.1, 0.3}},
                                                     small_matrix<double, 1, 2>{{1, 0.5}}, small_symmetric<double, 1>{{0.7}}, prior);
  const std::int64_t length = 3000, count = 5;
  auto y = draw(length * count, false);
  for (std::size_t t = 100; t < y.size(); t += 333) y[t] = std::numeric_limits<double>::quiet_NaN();
  const kalscan::series_layout series{.longest = length, .count = count};
  const auto expected = on_host(model, y, series);
  const device_array<double> data(y);
  for (const std::int64_t chunk : {0, 50, 3000}) {
    CAPTURE(chunk);
    const device_results<double> results(y.size(), 5, 2);
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{.chunk = chunk}, length, count));
    const kalscan::cuda p{.workspace = memory, .chunk = chunk};
    kalscan::filter(p, model, data.span(), series, results.filtered());
    kalscan::smooth(p, model, data.span(), series, results.filtered(), results.smoothed());
    check_close(results.host(), expected, 1e-11);
  }
}

TEST_CASE("a Gaussian process over irregular times, of a million points") {
  const std::int64_t steps = 1'000'003;
  std::mt19937_64 engine(3);
  std::exponential_distribution<double> gap(10);
  std::vector<double> times;
  double at = 0;
  for (std::int64_t t = 0; t < steps; ++t) times.push_back(at += gap(engine));
  const auto y = draw(steps, false);
  const kalscan::matern32<double> process{1.3, 0.7};
  const auto expected = on_host(kalscan::observed_at(process, times.data(), 0.25), y, {.longest = steps});

  const device_array<double> where(times), data(y), sum(1), sum_alone(1), mean(y.size() * 2), covariance(y.size() * 4);
  const auto model = kalscan::observed_at(process, where.data(), 0.25);
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{}, steps));
  const kalscan::cuda p{.workspace = memory};
  const kalscan::filter_arrays<double> out{.mean = mean.span(), .covariance = covariance.span(), .log_likelihood = sum.span()};
  kalscan::filter(p, model, data.span(), out);
  kalscan::log_likelihood(p, model, data.span(), sum_alone.span());
  CHECK(same_bits(sum.host(), sum_alone.host()));
  CHECK(difference(sum.host(), expected.log_likelihood) < 1e-12);
  CHECK(difference(mean.host(), expected.mean) < 1e-10);
  kalscan::smooth(p, model, data.span(), out, {mean.span(), covariance.span()});
  CHECK(difference(mean.host(), expected.smoothed_mean) < 1e-10);
  CHECK(difference(covariance.host(), expected.smoothed_covariance) < 1e-10);
}

TEST_CASE("the status of a series names its first failing step and the reason; others are not touched") {
  using model_type = turning<double, 2, 1>;
  const auto model = model_type::model();
  const std::int64_t length = 1000, count = 3;
  for (const std::int64_t chunk : {0, 10, 1000}) {
    CAPTURE(chunk);
    auto y = draw(length * count, false);
    y[static_cast<std::size_t>(length + 777)] = std::numeric_limits<double>::infinity();
    y[static_cast<std::size_t>(length + 345)] = std::numeric_limits<double>::infinity();
    const device_array<double> data(y), sums(3);
    const device_array<kalscan::filter_status> status(3);
    const kalscan::series_layout series{.longest = length, .count = count};
    const kalscan::cuda_workspace memory(
        kalscan::filter_workspace<decltype(model)>(kalscan::cuda{.chunk = chunk}, length, count));
    kalscan::log_likelihood(kalscan::cuda{.workspace = memory, .chunk = chunk}, model, data.span(), series, sums.span(),
                            status.span());
    const auto found = status.host();
    CHECK(found[0].ok());
    CHECK(found[2].ok());
    CHECK(found[1].step() == 345);
    CHECK(found[1].reason() == kalscan::step_failure::mean);
    CHECK(std::isfinite(sums.host()[2]));
  }
}

TEST_CASE("filter and smoother are captured into a graph, and replayed on other data") {
  const auto model = turning<double, 2, 1>::model();
  const std::int64_t length = 5000;
  const auto y = draw(length, false);
  const auto expected = on_host(model, y, {.longest = length});
  const device_array<double> data(std::vector<double>(y.size(), 0.0));
  const device_results<double> results(y.size(), 1, 2);
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{}, length));
  cudaStream_t stream;
  require_cuda(cudaStreamCreate(&stream));
  cudaGraph_t graph;
  cudaGraphExec_t run;
  require_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  const kalscan::cuda p{.stream = stream, .workspace = memory};
  kalscan::filter(p, model, data.span(), results.filtered());
  kalscan::smooth(p, model, data.span(), results.filtered(), results.smoothed());
  require_cuda(cudaStreamEndCapture(stream, &graph));
  require_cuda(cudaGraphInstantiate(&run, graph, 0));
  require_cuda(cudaMemcpy(data.data(), y.data(), y.size() * sizeof(double), cudaMemcpyHostToDevice));
  require_cuda(cudaGraphLaunch(run, stream));
  require_cuda(cudaStreamSynchronize(stream));
  check_close(results.host(), expected, 1e-10);
  cudaGraphExecDestroy(run);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST_CASE("forecasts of many series go on from their last beliefs") {
  const auto model = turning<double, 4, 2>::model();
  const std::vector<std::int64_t> offsets{0, 3, 3, 40};
  const std::int64_t count = 3, steps = 7;
  const auto y = draw(offsets.back() * 2, true);
  const auto last = on_host(model, y, {.longest = 37, .count = count, .offsets = offsets.data()});
  const auto all = [](std::size_t size) { return std::vector<double>(21 * size); };
  std::vector<double> mean = all(4), covariance = all(16), y_mean = all(2), y_covariance = all(4);
  const kalscan::detail::forecast_traversal<std::remove_const_t<decltype(model)>> expected{
      model, {.longest = 37, .count = count, .offsets = offsets.data()}, last.final_mean.data(), last.final_covariance.data(),
      {mean, covariance, y_mean, y_covariance}, steps};
  for (std::int64_t i = 0; i < count; ++i) static_cast<void>(kalscan::detail::replay_chunk(expected, i, 0, expected.start(i)));

  const device_array<std::int64_t> places(offsets);
  const device_array<double> final_mean(last.final_mean), final_covariance(last.final_covariance), m(mean.size()),
      P(covariance.size()), ym(y_mean.size()), S(y_covariance.size());
  const device_array<kalscan::filter_status> status(3);
  kalscan::forecast(kalscan::cuda{}, model, {.longest = 37, .count = count, .offsets = places.data()}, steps,
                    {.final_mean = final_mean.span(), .final_covariance = final_covariance.span()},
                    {m.span(), P.span(), ym.span(), S.span(), status.span()});
  CHECK(difference(m.host(), mean) < 1e-12);
  CHECK(difference(P.host(), covariance) < 1e-12);
  CHECK(difference(ym.host(), y_mean) < 1e-12);
  CHECK(difference(S.host(), y_covariance) < 1e-12);
  for (const auto& x : status.host()) CHECK(x.ok());
}

TEST_CASE("sizes that do not fit, host memory and a small workspace are refused") {
  const auto model = turning<double, 4, 2>::model();
  const device_array<double> y(200), small(399), sum(1);
  std::vector<double> host(200);
  const kalscan::cuda_workspace memory(kalscan::filter_workspace<decltype(model)>(kalscan::cuda{}, 100));
  const kalscan::cuda p{.workspace = memory};
  CHECK_THROWS_AS(kalscan::filter(p, model, y.span(), {.mean = small.span()}), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(p, model, y.span().first(199), sum.span()), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(p, model, host, sum.span()), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(kalscan::cuda{}, model, y.span(), sum.span()), std::invalid_argument);
  CHECK_THROWS_AS(kalscan::log_likelihood(kalscan::cuda{.workspace = memory, .chunk = -1}, model, y.span(), sum.span()),
                  std::invalid_argument);
  CHECK_THROWS_AS(kalscan::smooth(p, model, y.span(), {.mean = small.span()}, {}), std::invalid_argument);
}

}  // namespace
