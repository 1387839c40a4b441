// SPDX-License-Identifier: MIT
// The Kalman filter of a series over devices: the bits of one device, however its blocks are shared out.
#include <doctest/doctest.h>

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

/// `policy(model)` has its workspace; all steps' times, the observations of a stretch.
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

template <class T>
bool same_bits(const std::vector<T>& part, const std::vector<T>& whole, std::int64_t from, std::int64_t numbers) {
  const std::size_t first = static_cast<std::size_t>(from * numbers);
  return first + part.size() <= whole.size() &&
         std::memcmp(part.data(), whole.data() + first, part.size() * sizeof(T)) == 0;
}

template <class Ranks, class Maker, class T>
void check(const std::vector<int>& rank_counts, std::int64_t length, std::int64_t chunk) {
  CAPTURE(length);
  CAPTURE(chunk);
  using model = model_type<Maker, T>;
  const series<T> all(length);
  kalscan::cuda one{.chunk = chunk};
  results<T> whole;
  {
    const device_array<double> times(all.times);
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<model>(one, length));
    one.workspace = memory;
    whole = filtered<Maker>(one, times, all.y);
    one.workspace = {};
  }
  CHECK(whole.status[0].ok());
  for (const int ranks : rank_counts) {
    CAPTURE(ranks);
    const auto bounds = random_bounds(ranks, length, kalscan::filter_block<model>(one, length),
                                      static_cast<std::uint64_t>(length + ranks));
    std::vector<results<T>> found(static_cast<std::size_t>(ranks));
    Ranks::run(ranks, [&](const auto& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const std::vector<T> mine(all.y.begin() + bounds[r], all.y.begin() + bounds[r + 1]);
      const device_array<double> times(all.times);
      cudaStream_t stream;
      require_cuda(cudaStreamCreate(&stream));
      kalscan::ranks policy{comm, kalscan::cuda{.stream = stream, .chunk = chunk}};
      const auto steps = kalscan::agree_on_steps<model>(policy, std::ssize(mine));
      policy.steps = steps;
      const kalscan::cuda_workspace memory(kalscan::filter_workspace<model>(policy, std::ssize(mine)));
      policy.inner.workspace = memory;
      found[r] = filtered<Maker>(policy, times, mine);
      require_cuda(cudaStreamDestroy(stream));
    });
    for (std::size_t r = 0; r < found.size(); ++r) {
      CAPTURE(r);
      const auto& x = found[r];
      CHECK(same_bits(x.mean, whole.mean, bounds[r], 2));
      CHECK(same_bits(x.covariance, whole.covariance, bounds[r], 4));
      CHECK(same_bits(x.predicted_mean, whole.predicted_mean, bounds[r], 2));
      CHECK(same_bits(x.predicted_covariance, whole.predicted_covariance, bounds[r], 4));
      CHECK(same_bits(x.log_likelihood, whole.log_likelihood, 0, 1));
      CHECK(x.status[0].ok());
      if (bounds[r + 1] < length || bounds[r] == length) continue;
      CHECK(same_bits(x.final_mean, whole.final_mean, 0, 2));
      CHECK(same_bits(x.final_covariance, whole.final_covariance, 0, 4));
    }
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

TEST_CASE("the filter over ranks that share a device has the bits of one") {
  check_all<loopback_ranks>(loopback_counts);
}

#ifdef KALSCAN_TEST_NCCL
TEST_CASE("the filter over the GPUs of NCCL has the bits of one") {
  check_all<kla_test::nccl_ranks>(kla_test::nccl_counts());
}
#endif

TEST_CASE("a filter over ranks refuses stretches that do not fit by name") {
  using model = model_type<constant, double>;
  std::string cut, lengths;
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
    cut = message({100, 100}), lengths = message({99, 100});
  });
  CHECK(kalscan::filter_block<model>(kalscan::cuda{.chunk = 2}, 200) == 256);
  CHECK(cut == "kalscan::filter: steps[0] is 100, which filter_block, 256, does not divide: only the last stretch may "
               "have any number of steps");
  CHECK(lengths == "kalscan::filter: the number of steps of y is 100, but steps[0] is 99");
}

}  // namespace
