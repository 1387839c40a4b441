// SPDX-License-Identifier: MIT
// Kalman filter and smoother with matrix states on a device: the policy is kalscan::cuda.
//
// Models are those of <kalscan/kalman/functions/model.hpp>, of 1 to 16 states (from 9 on they are slow, and take tens
// of KB of local memory a thread) and as many observed components, with a proper prior: under a diffuse one, let the
// host filter the first steps until its belief is proper, and give that as the prior, before the first transition.
// float or double. Observations lie in device memory, m numbers a step, one series after the other; a NaN is a
// component that is missing. Components are taken one at a time, R decorrelated, so that R may be tiny beside what it
// meets, and correlated, and Q and F may be singular. R may be singular where nothing else is known exactly; else a
// step may fail, which its status tells.
//
// One long series is cut in time; of many, each is taken by a thread. Every verb enqueues its work in policy.stream and
// returns: it neither allocates nor waits, and may be captured into a graph. Its workspace must have
// filter_workspace<Model>(...) bytes. Results have the same bits on every run: they depend on shapes and policy.chunk.
// Wrong sizes, host memory and a small workspace throw std::invalid_argument before anything is enqueued; what CUDA
// refuses throws kalscan::cuda_error. What goes wrong in a step is told by the status of its series, in device memory:
// results from that step on mean nothing.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/kalman/device/filter_traversal.hpp>
#include <kalscan/kalman/device/forecast_traversal.hpp>
#include <kalscan/kalman/device/launch.cuh>
#include <kalscan/kalman/device/series.hpp>
#include <kalscan/kalman/device/smoother_traversal.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <span>
#include <string>
#include <type_traits>

namespace kalscan {
namespace detail {

template <class Model>
using model_number = typename Model::value_type;

template <class Model>
constexpr void explain_device_model() {
  static_assert(Model::states >= 1 && Model::states <= 16 && Model::observed >= 1 && Model::observed <= Model::states,
                "kalscan: on a device, models have 1 to 16 states and at most as many observed components");
  static_assert(std::is_trivially_copyable_v<Model>,
                "kalscan: models on a device are trivially copyable: keep numbers in them, and pointers to device memory");
}

/// The number of steps of all series.
template <class Model>
std::int64_t checked_steps(const char* verb, std::int64_t numbers, const series_layout& series) {
  constexpr int m = Model::observed;
  if (series.count < 0) bad_argument(verb, "the number of series is " + std::to_string(series.count));
  if (series.longest < 0) bad_argument(verb, "the longest series has " + std::to_string(series.longest) + " steps");
  if (numbers % m != 0) {
    bad_argument(verb, "y has " + std::to_string(numbers) + " numbers, which are no steps of " + std::to_string(m));
  }
  if (series.offsets == nullptr) require_size(verb, "y", numbers, series.longest * series.count * m);
  return numbers / m;
}

template <class X>
void require_array(const char* verb, const char* argument, std::span<X> x, std::int64_t size) {
  if (x.empty()) return;
  require_size(verb, argument, std::ssize(x), size);
  require_device_memory(verb, argument, x.data());
}

template <class Model>
series_layout one_series(std::int64_t numbers) {
  return {.longest = numbers / Model::observed};
}

}  // namespace detail

/// Bytes of workspace that suffice for filter, log_likelihood and smooth of `count` series of at most `longest` steps.
template <class Model>
[[nodiscard]] std::size_t filter_workspace(const cuda& policy, std::int64_t longest, std::int64_t count = 1) {
  if (longest < 0) detail::bad_argument("filter_workspace", "longest is " + std::to_string(longest));
  if (count < 0) detail::bad_argument("filter_workspace", "count is " + std::to_string(count));
  return (std::max)(detail::traversal_workspace<detail::filter_traversal<Model>>(policy, longest, count),
                    detail::traversal_workspace<detail::smoother_traversal<Model>>(policy, longest, count));
}

/// Filters series: beliefs, predictions, last beliefs and log-likelihoods as there are arrays for them in `out`.
template <state_space_model Model>
void filter(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const series_layout& series, const filter_arrays<detail::model_number<Model>>& out) {
  constexpr const char* verb = "filter";
  detail::explain_device_model<Model>();
  constexpr int n = Model::states;
  const std::int64_t steps = detail::checked_steps<Model>(verb, std::ssize(y), series), count = series.count;
  if (policy.chunk < 0) detail::bad_argument(verb, "chunk of the policy is " + std::to_string(policy.chunk));
  detail::require_device_memory(verb, "y", y.data());
  detail::require_device_memory(verb, "offsets", series.offsets);
  detail::require_array(verb, "mean", out.mean, steps * n);
  detail::require_array(verb, "covariance", out.covariance, steps * n * n);
  detail::require_array(verb, "predicted_mean", out.predicted_mean, steps * n);
  detail::require_array(verb, "predicted_covariance", out.predicted_covariance, steps * n * n);
  detail::require_array(verb, "final_mean", out.final_mean, count * n);
  detail::require_array(verb, "final_covariance", out.final_covariance, count * n * n);
  detail::require_array(verb, "log_likelihood", out.log_likelihood, count);
  detail::require_array(verb, "status", out.status, count);
  const std::int64_t chunk = detail::chunk_of_time<Model>(policy, series.longest, count);
  detail::run_traversal(verb, policy, detail::filter_traversal<Model>{model, series, y.data(), out, chunk});
}
/// One series.
template <state_space_model Model>
void filter(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& out) {
  kalscan::filter(policy, model, y, detail::one_series<Model>(std::ssize(y)), out);
}

/// log p(y) of each series.
template <state_space_model Model>
void log_likelihood(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
                    const series_layout& series, std::span<detail::model_number<Model>> out,
                    std::span<filter_status> status = {}) {
  detail::require_size("log_likelihood", "out", std::ssize(out), series.count);
  kalscan::filter(policy, model, y, series, {.log_likelihood = out, .status = status});
}
template <state_space_model Model>
void log_likelihood(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
                    std::span<detail::model_number<Model>> out, std::span<filter_status> status = {}) {
  kalscan::log_likelihood(policy, model, y, detail::one_series<Model>(std::ssize(y)), out, status);
}

/// Smooths what `filter` wrote for the same model and y: `filtered` has its means and covariances of all steps. By the
/// backward recursion of Bryson and Frazier (1963) and de Jong (Biometrika 76, 1989), which inverts no covariance.
/// Covariances are differences from the filtered ones, with errors relative to these.
template <state_space_model Model>
void smooth(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const series_layout& series, const filter_arrays<detail::model_number<Model>>& filtered,
            const smoother_arrays<detail::model_number<Model>>& out) {
  constexpr const char* verb = "smooth";
  detail::explain_device_model<Model>();
  constexpr int n = Model::states;
  const std::int64_t steps = detail::checked_steps<Model>(verb, std::ssize(y), series);
  if (policy.chunk < 0) detail::bad_argument(verb, "chunk of the policy is " + std::to_string(policy.chunk));
  detail::require_device_memory(verb, "y", y.data());
  detail::require_device_memory(verb, "offsets", series.offsets);
  detail::require_size(verb, "the filtered mean", std::ssize(filtered.mean), steps * n);
  detail::require_size(verb, "the filtered covariance", std::ssize(filtered.covariance), steps * n * n);
  detail::require_device_memory(verb, "the filtered mean", filtered.mean.data());
  detail::require_device_memory(verb, "the filtered covariance", filtered.covariance.data());
  detail::require_array(verb, "mean", out.mean, steps * n);
  detail::require_array(verb, "covariance", out.covariance, steps * n * n);
  detail::require_array(verb, "status", out.status, series.count);
  const std::int64_t chunk = detail::chunk_of_time<Model>(policy, series.longest, series.count);
  detail::run_traversal(verb, policy,
                        detail::smoother_traversal<Model>{model, series, y.data(), filtered.mean.data(),
                                                          filtered.covariance.data(), out, chunk});
}
/// One series.
template <state_space_model Model>
void smooth(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& filtered,
            const smoother_arrays<detail::model_number<Model>>& out) {
  kalscan::smooth(policy, model, y, detail::one_series<Model>(std::ssize(y)), filtered, out);
}

/// The predictions of the `steps` steps after the data of each series, from the last beliefs that `filter` wrote. What
/// the model gives per step it must give for these too: t goes on from the length of the series. Needs no workspace.
template <state_space_model Model>
void forecast(const cuda& policy, const Model& model, const series_layout& series, std::int64_t steps,
              const filter_arrays<detail::model_number<Model>>& filtered,
              const forecast_arrays<detail::model_number<Model>>& out) {
  constexpr const char* verb = "forecast";
  detail::explain_device_model<Model>();
  constexpr int n = Model::states, m = Model::observed;
  const std::int64_t count = series.count;
  if (steps < 0) detail::bad_argument(verb, "the number of steps is " + std::to_string(steps));
  if (count < 0) detail::bad_argument(verb, "the number of series is " + std::to_string(count));
  detail::require_size(verb, "the last mean", std::ssize(filtered.final_mean), count * n);
  detail::require_size(verb, "the last covariance", std::ssize(filtered.final_covariance), count * n * n);
  detail::require_device_memory(verb, "the last mean", filtered.final_mean.data());
  detail::require_device_memory(verb, "the last covariance", filtered.final_covariance.data());
  detail::require_device_memory(verb, "offsets", series.offsets);
  detail::require_array(verb, "mean", out.mean, count * steps * n);
  detail::require_array(verb, "covariance", out.covariance, count * steps * n * n);
  detail::require_array(verb, "y_mean", out.y_mean, count * steps * m);
  detail::require_array(verb, "y_covariance", out.y_covariance, count * steps * m * m);
  detail::require_array(verb, "status", out.status, count);
  detail::run_series(verb, policy,
                     detail::forecast_traversal<Model>{model, series, filtered.final_mean.data(),
                                                       filtered.final_covariance.data(), out, steps});
}

}  // namespace kalscan
