// SPDX-License-Identifier: MIT
// Kalman filter, smoother and forecast of models whose matrices are functions of the step, on the host: the same calls
// as <kalscan/cuda/kalman.cuh> has for a device. Needs no Eigen.
//
// Models are those of <kalscan/kalman/functions/model.hpp>, of 1 to 16 states and at most as many observed
// components. float or double. y has m numbers a step, one series after the other; a NaN is a component that is missing.
// Components are taken one at a time, R decorrelated, so that R may be tiny beside what it meets, and correlated, and Q
// and F may be singular.
//
// R may be singular. What is read exactly and moved by Q at each step, as in ARMA models, is filtered and smoothed.
// An exact reading of what nothing but the unknown state before moves would be infinite information on that state: in a
// chunk of time (under a diffuse prior one that starts at step 64 or later), and in the smoother, such a step fails, which
// the status or an exception tells. A reading of what is known exactly already tells nothing, and must agree; where
// rounding hides that it is known, beliefs stay right to 2e-9 of the size of the states, but the log-likelihood may have
// a term too many (in 26 of 5,908 random models that repeat noiseless readings of sums of states; kalman_model keeps
// bounds on rounding for that).
//
// Covariances are carried, not roots: where Q has not full rank their digits fade over long series (constant velocity
// in two dimensions with Q of rank one, 20,000 steps in double: the log-likelihood is off by 7, where chunks of 500
// steps leave 0.01; in float such series are lost). square_root{model} is for these, for proper priors: the same calls
// then carry roots (<kalscan/kalman/functions/square_root.hpp>), and the smoother takes covariance_root from the filter.
//
// A proper prior that is vague beside the readings silently costs digits: where it predicts a reading with r times the
// deviation of what is new in the reading, the first beliefs lose a factor of up to r^2 (in double they are off by 4e-8
// deviations at r = 10^4, by 4e-4 at 10^6, and lost at 10^8). Give such a model as square_root{model}, which keeps
// these digits, or with a diffuse prior; a kalman_model chooses by itself.
//
// The prior may be diffuse in part, a small_diffuse_belief: exactly, as the limit of large variances, with the
// log-likelihood of <kalscan/kalman/filter.hpp>. <kalscan/kalman/series/series.hpp> says how beliefs are given that
// are not proper yet. Where the first readings tell little of some direction and later ones much, the filter keeps its
// digits: six weeks of a trend with yearly harmonics leave variances 10^11 times those after a year, and in double an
// error of 8e-11 deviations. The smoother begins with the covariance that the filter wrote, and loses epsilon times the
// ratio of filtered and smoothed variances: there 2e-6 deviations at those steps alone (kalman_model keeps these digits);
// in float that is lost. What later data tell is kept as equations then, in double, so that directions of which they tell
// little keep their digits, and directions of which they tell nothing stay unknown.
//
// Results go into the caller's arrays; those that are empty are not computed. Policies: `seq`, `omp`, or a task_policy
// of one's own. With `omp{.chunk = c}` each series is cut in time into chunks of c steps. Without a chunk only few long
// series are cut, where there are at least two workers for each and 256 steps for each of these: into one chunk more
// than a series has workers. Results have the same bits on every run: they depend on the shapes and on the chunks
// alone. Allocates a state, an element and a sum a chunk, nothing a step.
//
// Wrong sizes and offsets throw std::invalid_argument before anything is written. A step that cannot be computed throws
// kalscan::filter_error when all series are done, for the first series that has one; where `status` is given it is told
// there instead. Results from that step on mean nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/in_order.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <kalscan/kalman/model/filter_error.hpp>
#include <kalscan/kalman/series/chains.hpp>
#include <kalscan/kalman/series/checks.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/series/forecast_traversal.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace kalscan {
namespace detail {

inline const char* description_of(step_failure reason) {
  switch (reason) {
    case step_failure::none: break;
    case step_failure::innovation: return bad_innovation;
    case step_failure::contradiction: return contradiction;
    case step_failure::mean: return "the mean is not finite";
    case step_failure::covariance: return "the covariance is not finite";
    case step_failure::carry: return "the summary of the steps before is not finite";
    case step_failure::improper: return "the belief is improper still, and there is no room in directions";
  }
  return "";
}

/// Calls run(out), where out.status has room for all series. Throws filter_error where the caller asked for no status.
template <class Out, class Run>
void run_and_judge(Out out, std::int64_t count, Run run) {
  if (!out.status.empty()) return run(out);
  std::vector<filter_status> status(static_cast<std::size_t>(count));
  out.status = status;
  run(out);
  for (std::int64_t i = 0; i < count; ++i) {
    const filter_status& x = status[static_cast<std::size_t>(i)];
    if (!x.ok()) throw filter_error(i, x.step(), description_of(x.reason()));
  }
}

/// Offsets that begin at 0 or later and do not decrease; within the steps of y where there is one.
inline void require_offsets(const char* verb, const series_layout& series,
                            std::int64_t steps = (std::numeric_limits<std::int64_t>::max)()) {
  std::int64_t before = 0;
  for (std::int64_t i = 0; series.offsets != nullptr && i <= series.count; ++i) {
    const std::int64_t at = series.offsets[i];
    if (at < before) bad_argument(verb, {"offsets[", i, "] is ", at, ", less than ", before});
    if (at > steps) bad_argument(verb, {"offsets[", i, "] is ", at, ", more than ", steps, ", the steps of y"});
    before = at;
  }
}

/// The checks of a verb of this header. Returns the policy that runs it.
template <class Model, host_policy P, class Checks>
decltype(auto) check_host_series(const char* verb, const P& policy, const series_layout& series, const Checks& run) {
  static_assert(!shares_time<P>,
                "kalscan: models of functions are not run over ranks: pass a kalman_model, or seq or omp");
  const auto accessible = [](const char*, const void*) {};
  series_checks<Model, decltype(accessible)> checks(verb, series, accessible);
  run(checks);
  return tasks_of(policy);
}

/// What `filter` and `log_likelihood` do; `verb` is named in errors.
template <host_policy P, state_space_model Model>
void filter_series(const char* verb, const P& policy, const Model& model, std::span<const model_number<Model>> y,
                   const series_layout& series, const filter_arrays<model_number<Model>>& out) {
  decltype(auto) tasks = check_host_series<Model>(verb, policy, series, [&](auto& check) {
    require_variances(verb, model);
    check.data(y);
    require_offsets(verb, series, std::ssize(y) / Model::observed);
    check.results(out);
  });
  const std::int64_t chunk = host_chunk(tasks, series);
  run_and_judge(out, series.count, [&](const auto& to) {
    run_series_on_host(tasks, filter_traversal<Model>{model, series, y.data(), to, chunk});
  });
}

}  // namespace detail

/// Filters series: beliefs, predictions, last beliefs and log-likelihoods as there are arrays for them in `out`.
template <host_policy P, state_space_model Model>
void filter(const P& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const series_layout& series, const filter_arrays<detail::model_number<Model>>& out) {
  detail::filter_series("filter", policy, model, y, series, out);
}
/// One series.
template <host_policy P, state_space_model Model>
void filter(const P& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& out) {
  kalscan::filter(policy, model, y, detail::one_series<Model>(std::ssize(y)), out);
}

/// log p(y) of each series.
template <host_policy P, state_space_model Model>
void log_likelihood(const P& policy, const Model& model, std::span<const detail::model_number<Model>> y,
                    const series_layout& series, std::span<detail::model_number<Model>> out,
                    std::span<filter_status> status = {}) {
  detail::require_size("log_likelihood", "out", std::ssize(out), series.count);
  detail::filter_series("log_likelihood", policy, model, y, series, {.log_likelihood = out, .status = status});
}
/// log p(y) of one series.
template <host_policy P, state_space_model Model>
[[nodiscard]] detail::model_number<Model> log_likelihood(const P& policy, const Model& model,
                                                         std::span<const detail::model_number<Model>> y) {
  detail::model_number<Model> value = 0;
  kalscan::log_likelihood(policy, model, y, detail::one_series<Model>(std::ssize(y)), {&value, 1});
  return value;
}

/// Smooths what `filter` wrote for the same model and y: `filtered` has its means and covariances of all steps, or, of
/// square_root{model}, means and covariance_root. By the backward recursion of Bryson and Frazier (1963) and de Jong
/// (Biometrika 76, 1989), which inverts no covariance. The results may go where the filter's are.
template <host_policy P, state_space_model Model>
void smooth(const P& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const series_layout& series, const filter_arrays<detail::model_number<Model>>& filtered,
            const smoother_arrays<detail::model_number<Model>>& out) {
  decltype(auto) tasks = detail::check_host_series<Model>("smooth", policy, series, [&](auto& check) {
    check.data(y);
    detail::require_offsets("smooth", series, std::ssize(y) / Model::observed);
    check.filtered_steps(filtered);
    check.results(out);
  });
  const std::int64_t chunk = detail::host_chunk(tasks, series);
  detail::run_and_judge(out, series.count, [&](const auto& to) {
    detail::run_series_on_host(tasks, detail::smoother_traversal<Model>{model, series, y.data(), filtered.mean.data(),
                                                                         detail::spreads_of<Model>(filtered).data(), to,
                                                                         chunk, filtered.directions});
  });
}
/// One series.
template <host_policy P, state_space_model Model>
void smooth(const P& policy, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& filtered,
            const smoother_arrays<detail::model_number<Model>>& out) {
  kalscan::smooth(policy, model, y, detail::one_series<Model>(std::ssize(y)), filtered, out);
}

/// The predictions of the `steps` steps after the data of each series, from the last beliefs that `filter` wrote. What
/// the model gives per step it must give for these too: t goes on from the length of the series.
template <host_policy P, state_space_model Model>
void forecast(const P& policy, const Model& model, const series_layout& series, std::int64_t steps,
              const filter_arrays<detail::model_number<Model>>& filtered,
              const forecast_arrays<detail::model_number<Model>>& out) {
  decltype(auto) tasks = detail::check_host_series<Model>("forecast", policy, series, [&](auto& check) {
    detail::require_offsets("forecast", series);
    check.last_beliefs(filtered);
    check.results(out, steps);
  });
  detail::run_and_judge(out, series.count, [&](const auto& to) {
    detail::run_whole_series_on_host(
        tasks, detail::forecast_traversal<Model>{model, series, filtered.final_mean.data(),
                                                  filtered.final_covariance.data(), to, steps,
                                                  filtered.final_directions.data()});
  });
}

}  // namespace kalscan
