// SPDX-License-Identifier: MIT
// The fixed-interval smoother of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/model/check_model.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/model/smoother_result.hpp>
#include <kalscan/kalman/smoother_sweep.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/square_root_smoother.hpp>
#include <kalscan/kalman/steps/square_root_sweep.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

/// What a result must have besides its means, for as many steps and of the model's sizes.
template <class T, int N, int M>
void check_result(const filter_result<T, N, M>& x, const kalman_model<T, N, M>& model, const argument_name& name) {
  const Eigen::Index n = model.states(), length = x.mean.cols(), m = model.H.empty() ? x.y.rows() : model.observed();
  if (x.y.rows() != m || x.y.cols() != length) {
    bad_model({name, " has y of ", shape(x.y.rows(), x.y.cols()), ", not ", shape(m, length),
               ": the data are smoothed with it"});
  }
  const auto each = [&](const char* what, const auto& matrices, bool needed) {
    if (matrices.empty() && !needed) return;
    if (std::ssize(matrices) != length) bad_model({name, " has ", matrices.size(), what, " and ", length, " means"});
    for (const auto& matrix : matrices) {
      if (matrix.rows() == n && matrix.cols() == n) continue;
      bad_model({name, " has", what, " of ", shape(matrix.rows(), matrix.cols()), ", not ", shape(n, n)});
    }
  };
  each(" covariances", x.covariance, true);
  each(" covariance roots", x.covariance_root, false);
  each(" bounds on rounding", x.rounding, !x.covariance_root.empty() && !noise_is_definite(model));
}

/// Throws std::invalid_argument unless models and results fit each other: one model for all, or one for each.
template <class T, int N, int M>
void check_smoother(std::span<const kalman_model<T, N, M>> models, std::span<const filter_result<T, N, M>> filtered,
                    bool one_each, bool may_be_empty = false) {
  if (one_each && models.size() != filtered.size()) {
    bad_model({"there are ", models.size(), " models and ", filtered.size(),
               " filter results: give each result the model that it came from"});
  }
  std::int64_t longest = 1;
  for (std::size_t i = 0; i < filtered.size(); ++i) {
    const auto& model = of_series(models, static_cast<std::int64_t>(i));
    const Eigen::Index length = filtered[i].mean.cols();
    const argument_name name("the filter result", " of series ", static_cast<std::int64_t>(i));
    if (model.F.empty()) bad_model("F is not given");
    if (length == 0 && !may_be_empty) bad_model({name, " is empty"});
    if (filtered[i].mean.rows() != model.states()) {
      bad_model({name, " has ", filtered[i].mean.rows(), " states, the model ", model.states()});
    }
    check_result(filtered[i], model, name);
    if (one_each) check_model_of<T>(model_view<T>(model), steps_at_least(length), i);
    longest = (std::max<std::int64_t>)(longest, length);
  }
  if (!one_each) check_model(models[0], steps_at_least(longest));
}

template <class T, int N, int M>
std::vector<smoother_result<T, N, M>> room_to_smooth(std::vector<filter_result<T, N, M>> filtered) {
  std::vector<smoother_result<T, N, M>> results(filtered.size());
  for (std::size_t i = 0; i < filtered.size(); ++i) {
    results[i].mean.resize(filtered[i].mean.rows(), filtered[i].mean.cols());
    results[i].covariance.resize(filtered[i].covariance.size());
    results[i].filtered = std::move(filtered[i]);
  }
  return results;
}

template <bool Whole, host_policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> smooth_here(const P&, const model_list<T, N, M>&,
                                                  std::vector<filter_result<T, N, M>>);

/// Filters these series again, as roots, and smooths them.
template <bool Whole, host_policy P, class T, int N, int M>
void smooth_again(const P& p, const model_list<T, N, M>& all_models, const std::vector<std::int64_t>& which,
                  std::vector<smoother_result<T, N, M>>& results) {
  model_list<T, N, M> models;
  std::vector<observations<T, M>> series(which.size());
  for (std::size_t k = 0; k < which.size(); ++k) {
    if (all_models.size() > 1) models.push_back(all_models[static_cast<std::size_t>(which[k])]);
    series[k] = std::move(results[static_cast<std::size_t>(which[k])].filtered.y);
  }
  if (all_models.size() == 1) models = all_models;
  const auto& given = results[static_cast<std::size_t>(which[0])].filtered;
  const filter_outputs outputs{.predictions = !given.predicted_covariance.empty(),
                               .innovations = !given.innovation_covariance.empty()};
  const std::vector<filter_step<T, N, M>> steppers(models.begin(), models.end());
  auto filtered = start_filter<P, T, N, M>(p, steppers, series, outputs, true, true);
  stretch_sums<T> sums;
  const auto all = choose<T, N, M>(filtered, series, true, [](std::int64_t) { return true; });
  filter_roots<true, P, T, N, M>(p, models, series, filtered, outputs, sums, true, all);
  sum_log_likelihood(filtered, sums, true);
  auto smoothed = smooth_here<Whole, P, T, N, M>(p, models, std::move(filtered));
  for (std::size_t k = 0; k < which.size(); ++k) results[static_cast<std::size_t>(which[k])] = std::move(smoothed[k]);
}

/// With Whole, series with roots are not split in time. The verbs that filter and smooth a model of the default form in
/// one call use it.
template <bool Whole, host_policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> smooth_here(const P& p, const model_list<T, N, M>& models,
                                                  std::vector<filter_result<T, N, M>> filtered) {
  const std::vector<filter_step<T, N, M>> steppers(models.begin(), models.end());
  auto results = room_to_smooth(std::move(filtered));
  const std::vector<square_root_steps<T, N, M>> steps(models.begin(), models.end());
  std::vector<std::vector<char>> cancelled(results.size());
  std::vector<std::int64_t> as_covariances, as_roots, as_noiseless_roots;
  std::int64_t longest = 1;
  for (std::int64_t i = 0; i < std::ssize(results); ++i) {
    const auto& f = results[static_cast<std::size_t>(i)].filtered;
    const bool roots = f.covariance_root.size() == f.covariance.size();
    const bool noiseless = of_series<filter_step<T, N, M>>(steppers, i).noiseless;
    (!roots ? as_covariances : noiseless ? as_noiseless_roots : as_roots).push_back(i);
    cancelled[static_cast<std::size_t>(i)].resize(f.covariance.size());
    longest = (std::max<std::int64_t>)(longest, f.mean.cols());
  }
  std::vector<std::int64_t> taken(results.size()), again;
  std::vector<dense_matrix<T>> rounding(results.size());
  const smoother_sweep<T, N, M> sweep{steppers, results, as_covariances, cancelled, longest, {}, taken, rounding};
  if (!as_covariances.empty()) run_sweep(p, sweep);
  for (const std::int64_t i : as_covariances) {
    const auto index = static_cast<std::size_t>(i);
    // Where most steps were taken from the next one, in sequence, covariances may lack digits everywhere. Roots have them,
    // and take no longer. A step taken so that has lost its digits on the way counts as if all had been.
    if (2 * taken[index] > results[index].mean.cols()) again.push_back(i);
  }
  if (!again.empty()) smooth_again<Whole, P, T, N, M>(p, models, again, results);
  using root_sweep = square_root_smoother_sweep<T, N, M, Whole>;
  std::vector<dense_matrix<T>> Z(results.size()), v(results.size());
  for (const auto* chosen : {&as_roots, &as_noiseless_roots}) {
    if (chosen->empty()) continue;
    run_sweep(p, root_sweep{steps, results, *chosen, longest, chosen == &as_noiseless_roots, Z, v});
    for (const std::int64_t i : *chosen) {
      const auto index = static_cast<std::size_t>(i);
      if (results[index].filtered.beginning.size() > 0) sweep.lane_of(i).smooth_beginning(Z[index], v[index]);
    }
  }
  return results;
}

template <bool Whole, host_policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> run_smoother(const P& p, std::span<const kalman_model<T, N, M>> models,
                                                   std::vector<filter_result<T, N, M>> filtered) {
  if constexpr (!shares_time<P>) {
    return smooth_here<Whole, P, T, N, M>(p, list_of(models), std::move(filtered));
  } else if constexpr (requires { run_smoother_over(p, models, std::move(filtered)); }) {
    return run_smoother_over(p, models, std::move(filtered));
  } else {
    explain_kalman_over_ranks<P>();
    return {};
  }
}

}  // namespace detail

/// Smooths what `filter` returned for the same model, by the backward recursion of Bryson and Frazier (1963) and de
/// Jong (Biometrika 76, 1989), which inverts no covariance: F and Q may be singular, and variances may vanish. Where later
/// data tell far more of a state than all data before, its difference of covariances cancels: such a step is smoothed
/// from the next one instead, by roots and in sequence, and so are the steps before it until both ways agree. Which steps
/// these are depends on the data, not on threads. If they are most steps of a series, or lose digits on the way, it is
/// filtered again as roots, in sequence, and smoothed by roots; `filtered` then has the results of that filter. Covariances
/// are symmetric, and positive semi-definite up to rounding. Errors, memory and the effect of the policy are as for
/// `filter`.
///
/// A result with roots is smoothed by roots, with what later data tell as n more observations of each state. So it is for
/// the square-root form, and for noiseless models (there in sequence). What later readings without noise tell is taken as
/// certain; readings with noise leave at least epsilon^(3/4) of the filtered deviations (in float, where all readings have
/// noise, with the epsilon of double). Sharp and outgrown series (see filter) are smoothed by roots, too: in sequence where
/// smooth filters them itself, split as the policy says where it is given results.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(const P& p, const kalman_model<T, N, M>& model,
                                                           std::vector<filter_result<T, N, M>> filtered) {
  const std::span<const kalman_model<T, N, M>> models(&model, 1);
  check_arguments(p, [&] { detail::check_smoother<T, N, M>(models, filtered, false, shares_time<P>); });
  return detail::run_smoother<false>(p, models, std::move(filtered));
}

/// One series.
template <host_policy P, class T, int N, int M>
[[nodiscard]] smoother_result<T, N, M> smooth(const P& p, const kalman_model<T, N, M>& model,
                                              filter_result<T, N, M> filtered) {
  std::vector<filter_result<T, N, M>> one;
  one.push_back(std::move(filtered));
  return std::move(smooth(p, model, std::move(one)).front());
}

/// Each result has a model of its own: the one that it came from.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(const P& p,
                                                           const std::vector<kalman_model<T, N, M>>& models,
                                                           std::vector<filter_result<T, N, M>> filtered) {
  check_arguments(p, [&] { detail::check_smoother<T, N, M>(models, filtered, true, shares_time<P>); });
  return detail::run_smoother<false>(p, std::span(models), std::move(filtered));
}

/// Filters and smooths independent series, of one model or each of its own.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const kalman_model<T, N, M>& model, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  return detail::run_smoother<true>(p, std::span<const kalman_model<T, N, M>>(&model, 1),
                                    filter(p, model, series, outputs));
}
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const std::vector<kalman_model<T, N, M>>& models,
    std::type_identity_t<std::span<const observations<T, M>>> series, filter_outputs outputs = {}) {
  return detail::run_smoother<true>(p, std::span(models), filter(p, models, series, outputs));
}

/// Filters and smooths one series; of a model or of its square-root form.
template <host_policy P, class Model>
[[nodiscard]] detail::smoothed_type<Model> smooth(const P& p, const Model& model, const detail::data_type<Model>& y,
                                                  filter_outputs outputs = {}) {
  return std::move(smooth(p, model, std::span(&y, 1), outputs).front());
}
template <host_policy P, class Model, detail::other_data_of<Model> Y>
  requires(!std::convertible_to<const Y&, detail::filtered_type<Model>>)
[[nodiscard]] detail::smoothed_type<Model> smooth(const P& p, const Model& model, const Y& y,
                                                  filter_outputs outputs = {}) {
  return kalscan::smooth(p, model, detail::data_from(p, model, y), outputs);
}

/// For arguments that are no data: says what to pass instead.
template <host_policy P, class Model, class Y, class... Rest>
  requires(std::is_class_v<detail::data_type<Model>> && !detail::data_of<Y, Model> &&
           !std::convertible_to<const Y&, detail::filtered_type<Model>> &&
           !std::convertible_to<const Y&, std::vector<detail::filtered_type<Model>>>)
void smooth(const P&, const Model&, const Y&, const Rest&...) {
  detail::explain_data<Y>();
}

}  // namespace kalscan
