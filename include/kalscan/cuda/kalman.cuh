// SPDX-License-Identifier: MIT
// Kalman filter and smoother with matrix states on a device: the policy is kalscan::cuda.
//
// Models are those of <kalscan/kalman/functions/model.hpp>, of 1 to 16 states and at most as many observed components, in
// float or double. Observations lie in device memory, m numbers a step, one series after the other; a NaN is a component that
// is missing. Components are taken one at a time, R decorrelated. The prior may be diffuse in part.
// <kalscan/kalman/function_filter.hpp> says what singular R, F and Q and diffuse priors cost. square_root{model} in place
// of a model carries roots in place of covariances, for proper priors (<kalscan/kalman/functions/square_root.hpp>):
//
//   const kalscan::square_root form{model};
//   filter(policy, form, y, {.mean = m, .covariance_root = U, .log_likelihood = sum});
//   smooth(policy, form, y, {.mean = m, .covariance_root = U}, {.mean = m, .covariance = P});
//
// Where what later data tell of a state is nearly singular in its first components, the host factors it by pivots; a
// device does not, and loses digits there: in the smoother, and where a series is cut in time.
//
// The matrices of more than 8 states, or 5 in square-root form or to smooth under a diffuse prior, are too large for
// registers. They lie in local memory, where nvcc 13.0 gives two matrices that are both in use the same place: its results
// are wrong and nothing says so. Such models compile where nvcc is told to give each a place of its own, and
// KALSCAN_NO_STACK_COLORING says that it was:
//
//   nvcc -Xcicc --Xopt,-no-stack-coloring -DKALSCAN_NO_STACK_COLORING ...
//
// which kalscan::cuda_many_states does in CMake.
//
// With policy.chunk > 0 every series is cut in time into chunks of so many steps, but for the ends of long series of
// planned models (below). Where it is 0, filter and smoother choose a chunk each, by the sizes and the type of the
// model; then 4096 series or more, and series of at most 32 steps, are not cut: a thread takes each of them. Every verb
// enqueues its work in policy.stream and returns: it neither allocates nor waits, and may be captured into a graph. Its
// workspace must have filter_workspace<Model>(...) bytes. Results have the same bits on every run: they depend on
// shapes and policy.chunk. Wrong sizes, host memory and a small workspace throw std::invalid_argument before anything
// is enqueued; what CUDA refuses throws kalscan::cuda_error. What goes wrong in a step is told by the status of its
// series, in device memory: results from that step on mean nothing.
//
// Models of constant F, Q, H and R (model.constant) with 7 states or more and a proper prior, in covariance form, are
// planned: filter and smooth compute what does not depend on data once a call, on the host, which asks the model for these
// matrices; it takes 0.1 ms for 8 states, 0.3 ms for 12. Stretches without missing components then take means alone. Where
// such a series has 256 chunks of 16 steps or more, some 128 steps at its beginning, and as many at its end, are cut into
// chunks of 4, whatever policy.chunk is. A plan must fit a kernel's parameters, beside the model: in float that of 12
// states and 12 components does, of 16 and 7; in double of 8 and 8, of 12 and 4, of 16 and 2. Others are taken as they are.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/kalman/device/diffuse_smoother.hpp>
#include <kalscan/kalman/device/launch.cuh>
#include <kalscan/kalman/device/planned_traversals.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <kalscan/kalman/series/checks.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/series/forecast_traversal.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <span>
#include <string>
#include <type_traits>

namespace kalscan {
namespace detail {

/// `Triangles`: whether the verb has the elements of square_root.hpp, for which straight<...> says what fits registers.
template <class Model, bool Triangles = is_root<prior_type<Model>>>
constexpr void explain_device_model() {
  static_assert(std::is_trivially_copyable_v<Model>,
                "kalscan: models on a device are trivially copyable: keep numbers in them, and pointers to device "
                "memory");
#if !defined(KALSCAN_NO_STACK_COLORING)
  using form = form_of_model<Model>;
  constexpr bool in_registers = Triangles ? straight<typename form::number, Model::states> : Model::states <= 8;
  static_assert(in_registers,
                "kalscan: on a device a model of more than 8 states, or 5 in square-root form or to smooth under a "
                "diffuse prior, needs CMake's kalscan::cuda_many_states, or nvcc -Xcicc --Xopt,-no-stack-coloring "
                "-DKALSCAN_NO_STACK_COLORING");
#endif
}

template <class Model>
constexpr void explain_device_smoother() {
  explain_device_model<Model, is_root<prior_type<Model>> || has_diffuse_prior<Model>>();
}

/// The checks of a verb of this header.
template <class Model, class Checks>
void check_series(const char* verb, const cuda& policy, const series_layout& series, const Checks& run) {
  explain_device_model<Model>();
  require_chunk(verb, policy);
  const auto accessible = [verb](const char* argument, const void* pointer) {
    require_device_memory(verb, argument, pointer);
  };
  series_checks<Model, decltype(accessible)> checks(verb, series, accessible);
  run(checks);
}

/// What `filter` and `log_likelihood` do; `verb` is named in errors.
template <state_space_model Model>
void filter_series(const char* verb, const cuda& policy, const Model& model, std::span<const model_number<Model>> y,
                   const series_layout& series, const filter_arrays<model_number<Model>>& out) {
  check_series<Model>(verb, policy, series, [&](auto& check) {
    require_variances(verb, model);
    check.data(y);
    check.results(out);
  });
  using traversal = device_filter<Model>;
  const std::int64_t chunk = chunk_of_time<traversal>(policy.chunk, series.longest, series.count);
  run_traversal(verb, policy, planned_traversal<traversal>(model, series, y.data(), out, chunk));
}

}  // namespace detail

/// Bytes of workspace that suffice for filter, log_likelihood and smooth of `count` series of at most `longest` steps.
template <class Model>
[[nodiscard]] std::size_t filter_workspace(const cuda& policy, std::int64_t longest, std::int64_t count = 1) {
  if (longest < 0) detail::bad_argument("filter_workspace", detail::text({"longest is ", longest}));
  if (count < 0) detail::bad_argument("filter_workspace", detail::text({"count is ", count}));
  std::size_t smoother = 0;
  if constexpr (detail::has_diffuse_prior<Model>) {
    smoother = detail::diffuse_smoother_memory<Model>::size(policy, longest, count);
  } else {
    smoother = detail::traversal_workspace<detail::device_smoother<Model>>(policy, longest, count);
  }
  return (std::max)(detail::traversal_workspace<detail::device_filter<Model>>(policy, longest, count), smoother);
}

/// Filters series: beliefs, predictions, last beliefs and log-likelihoods as there are arrays for them in `out`.
template <state_space_model Model>
void filter(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const series_layout& series, const filter_arrays<detail::model_number<Model>>& out) {
  detail::filter_series("filter", policy, model, y, series, out);
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
  detail::filter_series("log_likelihood", policy, model, y, series, {.log_likelihood = out, .status = status});
}
/// log p(y) of one series.
template <state_space_model Model>
void log_likelihood(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
                    std::span<detail::model_number<Model>> out, std::span<filter_status> status = {}) {
  kalscan::log_likelihood(policy, model, y, detail::one_series<Model>(std::ssize(y)), out, status);
}

/// Smooths what `filter` wrote for the same model and y: `filtered` has its means and covariances of all steps, or, of
/// square_root{model}, means and covariance_root. By the backward recursion of Bryson and Frazier (1963) and de Jong
/// (Biometrika 76, 1989), which inverts no covariance. Covariances are differences from the filtered ones, with errors
/// relative to these; in square-root form deviations keep their digits down to epsilon^(3/4) of the filtered ones, in
/// float down to that of double. Under a diffuse prior this is done at steps at which nothing is unknown any more. Before
/// these, what later data say is kept as equations in double, which cost a step several times as much. They are made of
/// the information at the last of these steps. Where that has too few digits, data from there on are taken as equations,
/// too, until information has the digits; in a series that is cut in time, data of 64 to 2,048 steps.
template <state_space_model Model>
void smooth(const cuda& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const series_layout& series, const filter_arrays<detail::model_number<Model>>& filtered,
            const smoother_arrays<detail::model_number<Model>>& out) {
  constexpr const char* verb = "smooth";
  detail::explain_device_smoother<Model>();
  detail::check_series<Model>(verb, policy, series, [&](auto& check) {
    check.data(y);
    check.filtered_steps(filtered);
    check.results(out);
  });
  const auto spread = detail::spreads_of<Model>(filtered).data();
  if constexpr (detail::has_diffuse_prior<Model>) {
    using traversal = detail::information_smoother<Model>;
    const std::int64_t chunk = detail::chunk_of_time<traversal>(policy.chunk, series.longest, series.count);
    detail::run_diffuse_smoother(
        verb, policy,
        traversal{{model, series, y.data(), filtered.mean.data(), spread, out, chunk, filtered.directions}});
  } else {
    using traversal = detail::device_smoother<Model>;
    const std::int64_t chunk = detail::chunk_of_time<traversal>(policy.chunk, series.longest, series.count);
    detail::run_traversal(verb, policy,
                          detail::planned_traversal<traversal>(model, series, y.data(), filtered.mean.data(), spread,
                                                               out, chunk));
  }
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
  detail::check_series<Model>(verb, policy, series, [&](auto& check) {
    check.last_beliefs(filtered);
    check.results(out, steps);
  });
  detail::run_series(verb, policy,
                     detail::forecast_traversal<Model>{model, series, filtered.final_mean.data(),
                                                       filtered.final_covariance.data(), out, steps,
                                                       filtered.final_directions.data()});
}

}  // namespace kalscan
