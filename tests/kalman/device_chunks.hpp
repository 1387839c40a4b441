// SPDX-License-Identifier: MIT
// Filter and smoother as their kernels run them, on the host, from arrays that begin as NaN.
#pragma once

#include <algorithm>
#include <cstdint>
#include <kalscan/kalman/device/planned_traversals.hpp>
#include <limits>
#include <span>
#include <vector>

#include "oracle.hpp"
#include "run_chunks.hpp"

namespace device_chunks {

/// Results of all steps in the form of the host's filter.
template <class T>
struct results {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> mean, predicted_mean, smoothed_mean, final_mean;
  std::vector<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>> covariance, predicted_covariance, smoothed_covariance,
      final_covariance;
  std::vector<T> log_likelihood;
  std::vector<kalscan::filter_status> filtered, smoothed;
  std::vector<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>> directions, predicted_directions, smoothed_directions,
      final_directions;  // of all steps, under a diffuse prior
  bool same_in_place = true;  // whether smoothing the filter's arrays in place left the same numbers
  std::vector<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>> covariance_root, final_covariance_root;  // in that form
};

template <class Model>
results<typename Model::value_type> filter_and_smooth(const Model& model, const std::vector<typename Model::value_type>& y,
                                                      const kalscan::series_layout& series, std::int64_t chunk,
                                                      std::int64_t threads,
                                                      std::int64_t beginning = kalscan::detail::steps_from_start,
                                                      std::int64_t window = kalscan::detail::steps_from_start) {
  using T = typename Model::value_type;
  constexpr int n = Model::states, m = Model::observed;
  const std::size_t steps = y.size() / m, count = static_cast<std::size_t>(series.count);
  const auto numbers = [](std::size_t size) { return std::vector<T>(size, std::numeric_limits<T>::quiet_NaN()); };
  auto mean = numbers(steps * n), predicted_mean = mean, smoothed_mean = mean, final_mean = numbers(count * n);
  auto covariance = numbers(steps * n * n), predicted = covariance, smoothed = covariance,
       final_covariance = numbers(count * n * n);
  constexpr bool diffuse = kalscan::detail::has_diffuse_prior<Model>;
  auto directions = numbers(diffuse ? count * static_cast<std::size_t>(series.longest) * n * n : 0),
       predicted_directions = directions, smoothed_directions = directions,
       final_directions = numbers(diffuse ? count * n * n : 0);
  constexpr bool roots = kalscan::detail::is_root<kalscan::detail::prior_type<Model>>;
  auto covariance_root = numbers(roots ? steps * n * n : 0), final_covariance_root = numbers(roots ? count * n * n : 0);
  results<T> r;
  r.log_likelihood = numbers(count);
  r.filtered.resize(count), r.smoothed.resize(count);
  const kalscan::filter_arrays<T> filtered{mean,
                                           covariance,
                                           predicted_mean,
                                           predicted,
                                           final_mean,
                                           final_covariance,
                                           r.log_likelihood,
                                           r.filtered,
                                           directions,
                                           predicted_directions,
                                           final_directions,
                                           covariance_root,
                                           final_covariance_root};
  run(kalscan::detail::planned_traversal<kalscan::detail::device_filter<Model>>(model, series, y.data(), filtered, chunk, beginning),
      threads);
  const kalscan::smoother_arrays<T> out{smoothed_mean, smoothed, r.smoothed, smoothed_directions};
  const T* spread = kalscan::detail::spreads_of<Model>(filtered).data();
  if constexpr (diffuse) {
    using smoother = kalscan::detail::information_smoother<Model>;
    run_diffuse(smoother{{model, series, y.data(), mean.data(), spread, out, chunk, directions}}, threads, window);
    auto mu = mean, P = covariance, D = directions;
    std::vector<kalscan::filter_status> status(count);
    run_diffuse(smoother{{model, series, y.data(), mu.data(), P.data(), {mu, P, status, D}, chunk, D}}, threads, window);
    const auto same = [](const std::vector<T>& x, const std::vector<T>& z) {
      return std::equal(x.begin(), x.end(), z.begin(), z.end(), [](T a, T b) { return a == b || (a != a && b != b); });
    };
    r.same_in_place = same(mu, smoothed_mean) && same(P, smoothed) && same(D, smoothed_directions);
  } else {
    run(kalscan::detail::planned_traversal<kalscan::detail::device_smoother<Model>>(model, series, y.data(), mean.data(), spread, out,
                                                                                    chunk),
        threads);
  }
  const auto vectors = [&](std::vector<T>& x) {
    return Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>>(x.data(), n, std::ssize(x) / n).eval();
  };
  const auto matrices = [&](std::vector<T>& x) {
    std::vector<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>> all;
    for (std::size_t at = 0; at < x.size(); at += n * n)
      all.push_back(Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>>(x.data() + at, n, n));
    return all;
  };
  r.mean = vectors(mean), r.predicted_mean = vectors(predicted_mean), r.smoothed_mean = vectors(smoothed_mean);
  r.final_mean = vectors(final_mean);
  r.covariance = matrices(covariance), r.predicted_covariance = matrices(predicted);
  r.smoothed_covariance = matrices(smoothed), r.final_covariance = matrices(final_covariance);
  r.directions = matrices(directions), r.predicted_directions = matrices(predicted_directions);
  r.smoothed_directions = matrices(smoothed_directions), r.final_directions = matrices(final_directions);
  r.covariance_root = matrices(covariance_root), r.final_covariance_root = matrices(final_covariance_root);
  return r;
}

template <class T>
std::vector<T> numbers_of(const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>& y) {
  return {y.data(), y.data() + y.size()};
}

}  // namespace device_chunks
