// SPDX-License-Identifier: MIT
// The Kalman filter and smoother of a series over devices: the bits of one device, however its blocks are shared out,
// and the same results up to rounding for any stretches.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <kalscan/cuda/kalman_ranks.cuh>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "device_array.hpp"
#include "device_ranks.cuh"

namespace kalman_ranks_tests {
namespace {

using kla_test::loopback_ranks, kla_test::loopback_counts, kla_test::random_bounds;

/// A Gaussian process at the given times, and one whose covariance settles.
struct irregular {
  template <class T>
  static auto of(const double* times) {
    return kalscan::observed_at(kalscan::matern32<T>{T(1.3), T(0.7)}, times, T(0.25));
  }
};
struct constant {
  template <class T>
  static auto of(const double*) {
    const kalscan::small_belief<T, 2> prior{{{1, 2}}, {{3, 1, 2}}};
    return kalscan::model_of<T, 2, 1>(kalscan::small_matrix<T, 2, 2>{{T(0.9), T(0.1), T(-0.2), T(0.8)}},
                                      kalscan::small_symmetric<T, 2>{{T(0.5), T(0.1), T(0.3)}},
                                      kalscan::small_matrix<T, 1, 2>{{1, T(0.5)}},
                                      kalscan::small_symmetric<T, 1>{{T(0.7)}}, prior);
  }
};
template <class Maker, class T>
using model_type = decltype(Maker::template of<T>(nullptr));

template <class T>
struct series {
  std::vector<double> times;
  std::vector<T> y;

  explicit series(std::int64_t length) {
    std::mt19937_64 engine(static_cast<std::uint64_t>(length));
    std::exponential_distribution<double> gap(10);
    std::normal_distribution<double> normal;
    double at = 0;
    for (std::int64_t t = 0; t < length; ++t) {
      times.push_back(at += gap(engine));
      y.push_back(engine() % 5 == 0 ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(normal(engine)));
    }
  }
};

template <class T>
struct results {
  std::vector<T> mean, covariance, predicted_mean, predicted_covariance, final_mean, final_covariance, log_likelihood;
  std::vector<kalscan::filter_status> status;
};
template <class T>
struct smoothed_results {
  std::vector<T> mean, covariance;
  std::vector<kalscan::filter_status> status;
};

/// `policy` has its workspace; all steps' times, the observations of a stretch.
template <class Maker, class T, class Policy>
results<T> filtered(const Policy& policy, const device_array<double>& times, const std::vector<T>& y) {
  const auto model = Maker::template of<T>(times.data());
  const std::size_t steps = y.size();
  const device_array<T> data(y), mean(steps * 2), covariance(steps * 4), predicted_mean(steps * 2),
      predicted_covariance(steps * 4), final_mean(2), final_covariance(4), log_likelihood(1), alone(1);
  const device_array<kalscan::filter_status> status(1);
  kalscan::filter(policy, model, std::span<const T>(data.span()),
                  {mean.span(), covariance.span(), predicted_mean.span(), predicted_covariance.span(),
                   final_mean.span(), final_covariance.span(), log_likelihood.span(), status.span()});
  kalscan::log_likelihood(policy, model, std::span<const T>(data.span()), alone.span());
  require_cuda(cudaDeviceSynchronize());
  CHECK(std::memcmp(log_likelihood.host().data(), alone.host().data(), sizeof(T)) == 0);
  return {mean.host(),       covariance.host(),       predicted_mean.host(), predicted_covariance.host(),
          final_mean.host(), final_covariance.host(), log_likelihood.host(), status.host()};
}
/// In place of what was filtered.
template <class Maker, class T, class Policy>
smoothed_results<T> smoothed(const Policy& policy, const device_array<double>& times, const std::vector<T>& y,
                             const std::vector<T>& filtered_mean, const std::vector<T>& filtered_covariance) {
  const auto model = Maker::template of<T>(times.data());
  const device_array<T> data(y), mean(filtered_mean), covariance(filtered_covariance);
  const device_array<kalscan::filter_status> status(1);
  kalscan::smooth(policy, model, std::span<const T>(data.span()),
                  {.mean = mean.span(), .covariance = covariance.span()},
                  {mean.span(), covariance.span(), status.span()});
  require_cuda(cudaDeviceSynchronize());
  return {mean.host(), covariance.host(), status.host()};
}

template <class T>
std::vector<T> rows(const std::vector<T>& whole, std::int64_t from, std::int64_t to, std::int64_t numbers) {
  return {whole.begin() + from * numbers, whole.begin() + to * numbers};
}
template <class T>
bool same_bits(const std::vector<T>& part, const std::vector<T>& whole, std::int64_t from, std::int64_t numbers) {
  const std::size_t first = static_cast<std::size_t>(from * numbers);
  return first + part.size() <= whole.size() &&
         (part.empty() || std::memcmp(part.data(), whole.data() + first, part.size() * sizeof(T)) == 0);
}
template <class T>
bool near(const std::vector<T>& part, const std::vector<T>& whole, std::int64_t from, std::int64_t numbers) {
  const T bound = std::sqrt(std::numeric_limits<T>::epsilon()) / 100;
  for (std::size_t i = 0; i < part.size(); ++i) {
    const T exact = whole[static_cast<std::size_t>(from * numbers) + i];
    if (!(std::abs(part[i] - exact) <= bound * (1 + std::abs(exact)))) return false;
  }
  return true;
}

/// Calls run(policy, times, y, from, to) on each rank, its workspace made.
template <class Ranks, class Model, class T, class Run>
void on_stretches(const std::vector<std::int64_t>& bounds, const series<T>& all, std::int64_t chunk, Run run) {
  Ranks::run(static_cast<int>(bounds.size()) - 1, [&](const auto& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const std::vector<T> mine = rows(all.y, bounds[r], bounds[r + 1], 1);
    const device_array<double> times(all.times);
    cudaStream_t stream;
    require_cuda(cudaStreamCreate(&stream));
    kalscan::ranks policy{comm, kalscan::cuda{.stream = stream, .chunk = chunk}};
    const auto steps = kalscan::agree_on_steps<Model>(policy, std::ssize(mine));
    policy.steps = steps;
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<Model>(policy, std::ssize(mine)));
    policy.inner.workspace = memory;
    run(policy, times, mine, r);
    require_cuda(cudaStreamDestroy(stream));
  });
}

/// Of a filter over ranks, and of a smoother over perhaps other stretches.
template <class Ranks, class Maker, class T, class Same>
void check_stretches(const series<T>& all, std::int64_t chunk, const results<T>& whole,
                     const smoothed_results<T>& whole_smoothed, const std::vector<std::int64_t>& bounds,
                     const std::vector<std::int64_t>& smoother_bounds, Same same) {
  using model = model_type<Maker, T>;
  const auto length = std::ssize(all.y);
  std::vector<results<T>> found(bounds.size() - 1);
  std::vector<smoothed_results<T>> found_smoothed(bounds.size() - 1);
  on_stretches<Ranks, model>(
      bounds, all, chunk, [&](const auto& policy, const auto& times, const auto& y, std::size_t r) {
        found[r] = filtered<Maker>(policy, times, y);
      });
  on_stretches<Ranks, model>(
      smoother_bounds, all, chunk, [&](const auto& policy, const auto& times, const auto& y, std::size_t r) {
        const std::int64_t from = smoother_bounds[r], to = smoother_bounds[r + 1];
        found_smoothed[r] =
            smoothed<Maker>(policy, times, y, rows(whole.mean, from, to, 2), rows(whole.covariance, from, to, 4));
      });
  for (std::size_t r = 0; r < found.size(); ++r) {
    CAPTURE(r);
    const auto& x = found[r];
    CHECK(same(x.mean, whole.mean, bounds[r], 2));
    CHECK(same(x.covariance, whole.covariance, bounds[r], 4));
    CHECK(same(x.predicted_mean, whole.predicted_mean, bounds[r], 2));
    CHECK(same(x.predicted_covariance, whole.predicted_covariance, bounds[r], 4));
    CHECK(same(x.log_likelihood, whole.log_likelihood, 0, 1));
    CHECK(x.status[0].ok());
    CHECK(same(found_smoothed[r].mean, whole_smoothed.mean, smoother_bounds[r], 2));
    CHECK(same(found_smoothed[r].covariance, whole_smoothed.covariance, smoother_bounds[r], 4));
    CHECK(found_smoothed[r].status[0].ok());
    if (bounds[r + 1] < length || bounds[r] == length) continue;
    CHECK(same(x.final_mean, whole.final_mean, 0, 2));
    CHECK(same(x.final_covariance, whole.final_covariance, 0, 4));
  }
}

template <class Ranks, class Maker, class T>
void check(const std::vector<int>& rank_counts, std::int64_t length, std::int64_t chunk) {
  CAPTURE(length);
  CAPTURE(chunk);
  using model = model_type<Maker, T>;
  const series<T> all(length);
  for (const int ranks : rank_counts) {
    CAPTURE(ranks);
    kalscan::cuda one{.chunk = kalscan::detail::chunk_over_ranks<model>(kalscan::cuda{.chunk = chunk}, length, ranks)};
    results<T> whole;
    smoothed_results<T> whole_smoothed;
    {
      const device_array<double> times(all.times);
      const kalscan::cuda_workspace memory(kalscan::filter_workspace<model>(one, length));
      one.workspace = memory;
      whole = filtered<Maker>(one, times, all.y);
      whole_smoothed = smoothed<Maker>(one, times, all.y, whole.mean, whole.covariance);
      CHECK(whole.status[0].ok());
    }
    const auto seed = static_cast<std::uint64_t>(length + ranks);
    const std::int64_t block = kalscan::filter_block<model>(kalscan::cuda{.chunk = chunk}, length, ranks);
    const auto from_the_end = [&](std::vector<std::int64_t> bounds) {
      for (auto& x : bounds) x = length - x;
      std::reverse(bounds.begin(), bounds.end());
      return bounds;
    };
    check_stretches<Ranks, Maker>(all, chunk, whole, whole_smoothed, random_bounds(ranks, length, block, seed),
                                  from_the_end(random_bounds(ranks, length, block, seed + 1)),
                                  [](const auto&... x) { return same_bits(x...); });
    // Any stretches, one of a single step among them where there is room.
    auto bounds = random_bounds(ranks, length, 1, seed + 2);
    if (ranks > 2) bounds[2] = (std::min)(bounds[3], bounds[1] + 1);
    check_stretches<Ranks, Maker>(all, chunk, whole, whole_smoothed, bounds, bounds,
                                  [](const auto&... x) { return near(x...); });
  }
}

template <class Ranks>
void check_all(const std::vector<int>& rank_counts) {
  for (const std::int64_t length : {1, 255, 256, 257, 3001}) check<Ranks, irregular, double>(rank_counts, length, 2);
  check<Ranks, irregular, double>(rank_counts, 20'011, 0);
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check<Ranks, constant, double>(rank_counts, 20'011, 7);
  check<Ranks, constant, float>(rank_counts, 5000, 3);
#endif
}

TEST_CASE("filter and smoother over ranks that share a device have the bits of one") {
  check_all<loopback_ranks>(loopback_counts);
}

TEST_CASE("without a chunk of the policy each of several devices has as many chunks as one") {
  using model = model_type<irregular, double>;
  const std::int64_t of_one = kalscan::filter_block<model>(kalscan::cuda{}, 1 << 22);
  CHECK(of_one == 4 * kalscan::filter_block<model>(kalscan::cuda{}, 1 << 22, 4));
  CHECK_THROWS_WITH(static_cast<void>(kalscan::filter_block<model>(kalscan::cuda{}, 100, 0)),
                    "kalscan::filter_block: ranks is 0");
}

#ifdef KALSCAN_TEST_NCCL
TEST_CASE("filter and smoother over the GPUs of NCCL have the bits of one") {
  check_all<kla_test::nccl_ranks>(kla_test::nccl_counts());
}
#endif

TEST_CASE("a filter over ranks refuses stretches that do not fit by name") {
  std::string lengths, memory;
  loopback_ranks::run(2, [&](const kla_test::loopback& comm) {
    if (comm.rank() != 0) return;
    const device_array<double> y(std::vector<double>(100, 1.0)), out(1);
    const auto message = [&](const std::vector<std::int64_t>& steps) {
      try {
        kalscan::log_likelihood(kalscan::ranks{comm, kalscan::cuda{.chunk = 2}, steps}, constant::of<double>(nullptr),
                                std::span<const double>(y.span()), out.span());
      } catch (const std::invalid_argument& error) {
        return std::string(error.what());
      }
      return std::string("none");
    };
    lengths = message({99, 100}), memory = message({100, 100});
  });
  CHECK(lengths == "kalscan::filter: the number of steps of y is 100, but steps[0] is 99");
  CHECK(memory.find("kalscan::filter: workspace has 0 bytes, but") == 0);
}

}  // namespace
}  // namespace kalman_ranks_tests
