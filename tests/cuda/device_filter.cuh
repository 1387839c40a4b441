// SPDX-License-Identifier: MIT
// Filter and smoother with matrix states on the device, whatever their form, against the same steps in sequence on the
// host, in double.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <kalscan/cuda/kalman.cuh>
#include <limits>
#include <random>
#include <vector>

#include "../kalman/run_chunks.hpp"
#include "device_array.hpp"

namespace device_filter {

using kalscan::small_belief, kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector;

template <class T>
std::vector<T> convert(const std::vector<double>& x) {
  return {x.begin(), x.end()};
}

/// A stable model with correlated noise whose matrices turn with time, the same for float and double.
template <class T, int N, int M>
struct turning {
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

inline std::vector<double> draw(std::int64_t size, bool gaps) {
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
  std::vector<T> covariance_root = {}, final_covariance_root = {};  // of the square-root form
};
template <class Model>
constexpr bool diffuse = kalscan::detail::has_diffuse_prior<Model>;
template <class Model>
constexpr bool roots = kalscan::detail::is_root<kalscan::detail::prior_type<Model>>;

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
  if constexpr (roots<Model>) x.covariance_root = all(steps * n * n), x.final_covariance_root = all(count * n * n);
  const std::int64_t chunk = std::max<std::int64_t>(series.longest, 1);
  const kalscan::filter_arrays<double> filtered{
      x.mean, x.covariance, x.predicted_mean, x.predicted_covariance, x.final_mean, x.final_covariance, x.log_likelihood,
      {}, x.directions, x.predicted_directions, x.final_directions, x.covariance_root, x.final_covariance_root};
  device_chunks::run(kalscan::detail::filter_traversal<Model>{model, series, y.data(), filtered, chunk}, 1);
  device_chunks::run(kalscan::detail::smoother_traversal<Model>{model, series, y.data(), x.mean.data(),
                                                                kalscan::detail::spreads_of<Model>(filtered).data(),
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
  device_array<T> covariance_root, final_covariance_root;

  /// `skew` numbers move the arrays off the alignment of their allocations. Directions, of so many first steps of each
  /// series, belong to a diffuse prior; roots to the form that has them.
  device_results(std::size_t steps, std::size_t count, std::size_t n, std::size_t skew = 0, bool diffuse = false,
                 std::size_t first_steps = 0, bool roots = false)
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
        smoothed_directions(count * first_steps * n * n),
        covariance_root(roots ? steps * n * n : 0, skew * sizeof(T)),
        final_covariance_root(roots ? count * n * n : 0) {}
  kalscan::filter_arrays<T> filtered() const {
    return {mean.span(),       covariance.span(),       predicted_mean.span(), predicted_covariance.span(),
            final_mean.span(), final_covariance.span(), log_likelihood.span(), status.span(),
            directions.span(), predicted_directions.span(), final_directions.span(),
            covariance_root.span(), final_covariance_root.span()};
  }
  kalscan::smoother_arrays<T> smoothed() const {
    return {smoothed_mean.span(), smoothed_covariance.span(), smoother_status.span(), smoothed_directions.span()};
  }
  arrays<T> host() const {
    return {mean.host(),       covariance.host(),       predicted_mean.host(), predicted_covariance.host(),
            final_mean.host(), final_covariance.host(), log_likelihood.host(), smoothed_mean.host(),
            smoothed_covariance.host(),
            directions.host(), predicted_directions.host(), final_directions.host(), smoothed_directions.host(),
            covariance_root.host(), final_covariance_root.host()};
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
  CHECK(difference(x.covariance_root, y.covariance_root) < bound);
  CHECK(difference(x.final_covariance_root, y.final_covariance_root) < bound);
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
                                  diffuse<Model>, diffuse<Model> ? static_cast<std::size_t>(longest) : 0,
                                  roots<Model>);
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
  CHECK(same_bits(results.covariance_root.host(), first.covariance_root));
  CHECK(same_bits(results.mean.host(), first.smoothed_mean));
  CHECK(same_bits(results.covariance.host(), first.smoothed_covariance));
  CHECK(same_bits(results.log_likelihood.host(), first.log_likelihood));
  CHECK(same_bits(results.smoothed_directions.host(), first.smoothed_directions));
}

/// Of three series one has two readings that are infinite: its status names the first one, and the others are right.
template <class Model>
void check_first_failure(const Model& model) {
  const std::int64_t length = 1000, count = 3;
  auto y = draw(length * count, false);
  y[static_cast<std::size_t>(length + 777)] = std::numeric_limits<double>::infinity();
  y[static_cast<std::size_t>(length + 345)] = std::numeric_limits<double>::infinity();
  const device_array<double> data(y), sums(3);
  const device_array<kalscan::filter_status> status(3);
  const kalscan::series_layout series{.longest = length, .count = count};
  for (const std::int64_t chunk : {0, 10, 1000}) {
    CAPTURE(chunk);
    const kalscan::cuda_workspace memory(
        kalscan::filter_workspace<Model>(kalscan::cuda{.chunk = chunk}, length, count));
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

/// One series under a diffuse prior, filtered and smoothed whole and in chunks. Returns its log-likelihood.
template <class Model>
double check_whole(const Model& model, const std::vector<double>& y, double bound) {
  constexpr std::size_t n = Model::states;
  const std::int64_t length = std::ssize(y);
  const auto expected = on_host(model, y, {.longest = length});
  const device_array<double> data(y);
  for (const std::int64_t chunk : {0, 3, 100}) {
    CAPTURE(chunk);
    const device_results<double> results(y.size(), 1, n, 0, true, y.size());
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<Model>(kalscan::cuda{.chunk = chunk}, length));
    const kalscan::cuda p{.workspace = memory, .chunk = chunk};
    kalscan::filter(p, model, data.span(), results.filtered());
    kalscan::smooth(p, model, data.span(), results.filtered(), results.smoothed());
    check_close(results.host(), expected, bound);
    check_directions(results.host(), expected, n, bound);
    CHECK(results.status.host()[0].ok());
    CHECK(results.smoother_status.host()[0].ok());
  }
  return expected.log_likelihood[0];
}

template <class Model>
void check_settling(const Model& model, std::int64_t length, double bound) {
  constexpr std::int64_t count = 5;
  auto y = draw(length * count * Model::observed, false);
  for (auto t = static_cast<std::size_t>(length / 30); t < y.size(); t += 333) y[t] = std::numeric_limits<double>::quiet_NaN();
  // The last series has none.
  for (std::size_t t = y.size() / 5 * 4; t < y.size(); ++t) y[t] = y[t] == y[t] ? y[t] : 0.5;
  const kalscan::series_layout series{.longest = length, .count = count};
  const auto expected = on_host(model, y, series);
  const device_array<double> data(y);
  for (const std::int64_t chunk : {std::int64_t{0}, std::int64_t{16}, std::int64_t{50}, length}) {
    CAPTURE(chunk);
    const device_results<double> results(static_cast<std::size_t>(length * count), count, Model::states);
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<Model>(kalscan::cuda{.chunk = chunk}, length, count));
    const kalscan::cuda p{.workspace = memory, .chunk = chunk};
    kalscan::filter(p, model, data.span(), series, results.filtered());
    kalscan::smooth(p, model, data.span(), series, results.filtered(), results.smoothed());
    const auto found = results.host();
    check_close(found, expected, bound);
    kalscan::smooth(p, model, data.span(), series, results.filtered(), {results.mean.span(), results.covariance.span()});  // in place
    CHECK(results.mean.host() == found.smoothed_mean);
    CHECK(results.covariance.host() == found.smoothed_covariance);
  }
}

/// Damped turns of neighbouring states, and inputs.
template <int N>
struct damped {
  static constexpr int n = N, m = 2;
  struct state_input {
    KALSCAN_HD small_vector<double, n> operator()(std::int64_t series, std::int64_t t) const {
      small_vector<double, n> x{{0.1 * static_cast<double>(t % 5), static_cast<double>(series), 0, 1}};
      x(n - 1) = -1;
      return x;
    }
  };
  struct reading_input {
    KALSCAN_HD small_vector<double, m> operator()(std::int64_t t) const { return {{0.2 * static_cast<double>(t % 7), 3}}; }
  };
  static auto model() {
    small_matrix<double, n, n> F{};
    small_symmetric<double, n> Q{};
    small_matrix<double, m, n> H{};
    small_belief<double, n> prior{};
    for (int i = 0; i < n; ++i) {
      F(i, i) = 0.8 + 0.01 * i, F(i, (i + 1) % n) = 0.1, Q(i, i) = 0.3, Q(i, 0) += 0.1;
      H(0, i) = 1 - 0.2 * i, H(1, i) = 0.3 * i;
      prior.mean(i) = i, prior.covariance(i, i) = 2;
    }
    return kalscan::model_of<double, n, m>(F, Q, H, small_symmetric<double, m>{{0.7, 0.2, 0.5}}, prior, true, state_input{},
                                           reading_input{});
  }
};

}  // namespace device_filter
