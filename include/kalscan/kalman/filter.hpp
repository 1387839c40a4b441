// SPDX-License-Identifier: MIT
// The Kalman filter of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/kalman/diffuse/sweep.hpp>
#include <kalscan/kalman/model/check_model.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/filter_sweep.hpp>
#include <kalscan/kalman/steps/growth.hpp>
#include <kalscan/kalman/steps/square_root_sweep.hpp>
#include <kalscan/kalman/steps/stretch_sums.hpp>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {

template <class Model>
struct square_root;
template <class T, int N, int M>
struct smoother_result;

namespace detail {

/// The types that belong to what a filter runs: a model, or the square-root form of one.
template <class Model>
struct model_types;
template <class T, int N, int M>
struct model_types<kalman_model<T, N, M>> {
  using data = observations<T, M>;
  using filtered = filter_result<T, N, M>;
  using smoothed = smoother_result<T, N, M>;
  using number = T;
};
template <class T, int N, int M>
struct model_types<square_root<kalman_model<T, N, M>>> : model_types<kalman_model<T, N, M>> {};
template <class Model>
using data_type = typename model_types<Model>::data;
template <class Model>
using filtered_type = typename model_types<Model>::filtered;
template <class Model>
using smoothed_type = typename model_types<Model>::smoothed;

template <class T>
void check_series(const dense_view<T>& y, Eigen::Index m, std::size_t series, bool may_be_empty) {
  const argument_name name("y", " of series ", static_cast<std::int64_t>(series));
  if (y.rows != m) bad_model({name, " has ", y.rows, " rows, H has ", m});
  if (y.cols == 0 && !may_be_empty) bad_model({name, " is empty"});
  for (Eigen::Index t = 0; t < y.cols; ++t) require_no_infinity(name, dense_view<T>(y.col(t), m, 1), t);
}

/// Throws std::invalid_argument unless models and data fit each other: one model for all series, or one for each.
template <class T, int N, int M>
void check_filter(std::span<const kalman_model<T, N, M>> models, std::span<const observations<T, M>> series,
                  bool one_each, bool may_be_empty = false) {
  if (!one_each) {
    std::int64_t longest = 0;
    for (const auto& y : series) longest = (std::max<std::int64_t>)(longest, y.cols());
    check_model(models[0], longest == 0 ? steps_at_least(0) : steps_of_data(longest));
  } else if (models.size() != series.size()) {
    bad_model({"there are ", models.size(), " models and ", series.size(),
               " series: give each series a model, or all of them one that is not in a vector"});
  }
  for (std::size_t i = 0; i < series.size(); ++i) {
    if (one_each) check_model_of<T>(model_view<T>(models[i]), steps_of_data(series[i].cols()), i);
    check_series<T>(series[i], of_series(models, static_cast<std::int64_t>(i)).observed(), i, may_be_empty);
  }
}

/// Makes room for the results of one series. Without `keeps` there is room for one belief: the last one of its
/// beginning.
template <class T, int N, int M>
void make_room(filter_result<T, N, M>& result, const filter_step<T, N, M>& stepper, const observations<T, M>& y,
               filter_outputs outputs, bool keeps) {
  const Eigen::Index n = stepper.model.states(), m = stepper.model.observed(), length = keeps ? y.cols() : 1;
  const auto count = static_cast<std::size_t>(length);
  result.mean.resize(n, length);
  result.covariance.resize(count);
  if (stepper.noiseless) result.rounding.resize(count);
  for (auto& E : result.rounding) E = filled<Eigen::Matrix<T, N, N>>(T(0));
  if (!keeps) return;
  result.log_likelihood_terms.resize(count);
  result.y.resize(m, length);
  if (outputs.predictions) {
    result.predicted_mean.resize(n, length);
    result.predicted_covariance.resize(count);
  }
  if (outputs.innovations) {
    result.predicted_y.resize(m, length);
    result.innovation.resize(m, length);
    result.innovation_covariance.resize(count);
  }
}

/// Copies a series into its result, in parallel: most of the time goes into touching new memory for the first time.
template <host_policy P, class T, int M>
void copy_data(const P& p, const observations<T, M>& from, observations<T, M>& to) {
  constexpr std::int64_t at_once = 1 << 16;
  const std::int64_t parts = (to.size() + at_once - 1) / at_once;
  const auto copy = [&](std::int64_t k) {
    const std::int64_t first = k * at_once;
    std::copy_n(from.data() + first, (std::min<std::int64_t>)(at_once, to.size() - first), to.data() + first);
  };
  if constexpr (task_policy<P>) {
    if (parts > 1) return run_all(p, parts, copy);
  }
  for (std::int64_t k = 0; k < parts; ++k) copy(k);
}

/// Makes room for the results, and filters the beginnings that are not ordinary steps. `roots`: whether all series are
/// carried as roots after that. `vague` has an entry for each of the steppers; over ranks the caller makes it, from the
/// steps of all ranks.
template <host_policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> start_filter(const P& p, std::span<const filter_step<T, N, M>> steppers,
                                                 std::span<const observations<T, M>> series, filter_outputs outputs,
                                                 bool keeps, bool roots,
                                                 std::vector<vague_states<T, N, M>> vague = {}) {
  if (vague.empty()) {
    for (const auto& stepper : steppers) vague.emplace_back(stepper.model);
  }
  std::vector<filter_result<T, N, M>> results(series.size());
  for (std::size_t i = 0; i < series.size(); ++i) {
    make_room(results[i], of_series(steppers, static_cast<std::int64_t>(i)), series[i], outputs, keeps);
    if (keeps) copy_data(p, series[i], results[i].y);
  }
  const diffuse_sweep<T, N, M> beginnings{steppers, series, results, outputs, vague, roots};
  if (beginnings.any()) run_sweep(p, beginnings);
  for (std::size_t i = 0; i < series.size(); ++i) {
    results[i].first_variances =
        first_variances(of_series(steppers, static_cast<std::int64_t>(i)).model.prior, results[i]);
  }
  return results;
}

/// Chooses the series for which belongs(i) holds.
template <class T, int N, int M, class Belongs>
chosen_series choose(const std::vector<filter_result<T, N, M>>& results, std::span<const observations<T, M>> series,
                     bool whole, Belongs belongs) {
  chosen_series chosen{{}, 0, whole};
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!belongs(static_cast<std::int64_t>(i))) continue;
    chosen.numbers.push_back(static_cast<std::int64_t>(i));
    const std::int64_t rest = series[i].cols() - results[i].beginning.size();
    chosen.longest = (std::max)(chosen.longest, rest);
  }
  return chosen;
}

template <class T, int N, int M>
void sum_log_likelihood(std::vector<filter_result<T, N, M>>& results, const stretch_sums<T>& sums, bool keeps) {
  const std::vector<T> totals = sums.totals(results.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& terms = results[i].log_likelihood_terms;
    results[i].log_likelihood = keeps ? std::accumulate(terms.begin(), terms.end(), T(0)) : totals[i];
  }
}

/// Filters the chosen series as roots, from the end of their beginnings on. With Whole none is split in time.
template <bool Whole, host_policy P, class T, int N, int M>
void filter_roots(const P& p, const model_list<T, N, M>& models, std::span<const observations<T, M>> series,
                  std::vector<filter_result<T, N, M>>& results, filter_outputs outputs, stretch_sums<T>& sums,
                  bool keeps, const chosen_series& chosen) {
  for (const std::int64_t i : chosen.numbers) {
    auto& result = results[static_cast<std::size_t>(i)];
    result.covariance_root.resize(result.covariance.size());
    for (std::int64_t t = 0; keeps && t < result.beginning.size(); ++t) {
      const auto index = static_cast<std::size_t>(t);
      result.covariance_root[index] = t + 1 == result.beginning.size()
                                          ? square_root_steps<T, N, M>::root_after(result.beginning)
                                          : square_root_steps<T, N, M>::root_of(result.covariance[index]);
    }
  }
  const std::vector<square_root_steps<T, N, M>> steps(models.begin(), models.end());
  run_sweep(p, square_root_filter_sweep<T, N, M, Whole>{steps, series, results, outputs, &sums, chosen});
}

/// What the public functions do. Without `keeps` the results hold the log-likelihood alone. Noiseless models are carried as
/// roots: where only a noiseless reading keeps a variance small, a covariance loses its digits. So are sharp ones.
/// Series that turn out to be outgrown are filtered again, as roots.
template <host_policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> filter_here(const P& p, std::span<const kalman_model<T, N, M>> models,
                                                std::span<const observations<T, M>> series, filter_outputs outputs,
                                                bool keeps) {
  const auto list = list_of(models);
  const std::vector<filter_step<T, N, M>> steppers(list.begin(), list.end());
  auto results = start_filter<P, T, N, M>(p, steppers, series, outputs, keeps, false);
  stretch_sums<T> sums, root_sums;
  auto watches = growth_watches<T, N, M>(largest_noise(models), results);
  const std::span<const filter_step<T, N, M>> all(steppers);
  const auto sharp = [&](std::int64_t i) { return of_series(all, i).noiseless || of_series(all, i).sharp; };
  const auto chosen = choose<T, N, M>(results, series, false, [&](std::int64_t i) { return !sharp(i); });
  if (!chosen.numbers.empty()) {
    run_sweep(p, filter_sweep<T, N, M>{steppers, series, results, outputs, &sums, chosen, watches});
  }
  const auto as_roots = choose<T, N, M>(results, series, true, [&](std::int64_t i) {
    return sharp(i) || watches[static_cast<std::size_t>(i)].outgrown;
  });
  if (!as_roots.numbers.empty()) {
    filter_roots<true, P, T, N, M>(p, list, series, results, outputs, root_sums, keeps, as_roots);
  }
  sum_log_likelihood(results, sums, keeps);
  const std::vector<T> totals = keeps ? std::vector<T>() : root_sums.totals(results.size());
  for (const std::int64_t i : as_roots.numbers) {
    const auto index = static_cast<std::size_t>(i);
    if (!keeps) results[index].log_likelihood = totals[index];
  }
  return results;
}

template <class P>
constexpr void explain_kalman_over_ranks() {
  static_assert(!shares_time<P>,
                "kalscan: for filter, smooth and log_likelihood over kalscan::ranks include <kalscan/ranks/kalman.hpp>");
}

template <host_policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> run_filter(const P& p, std::span<const kalman_model<T, N, M>> models,
                                               std::span<const observations<T, M>> series, filter_outputs outputs,
                                               bool keeps) {
  if constexpr (!shares_time<P>) {
    return filter_here(p, models, series, outputs, keeps);
  } else if constexpr (requires { run_filter_over(p, models, series, outputs, keeps); }) {
    return run_filter_over(p, models, series, outputs, keeps);
  } else {
    explain_kalman_over_ranks<P>();
    return {};
  }
}

template <class T, int N, int M>
std::vector<T> log_likelihoods_of(const std::vector<filter_result<T, N, M>>& results) {
  std::vector<T> sums;
  for (const auto& result : results) sums.push_back(result.log_likelihood);
  return sums;
}

/// What the observations of one series or a batch may be given as.
template <class Y, class Model>
concept data_of = std::convertible_to<const Y&, data_type<Model>> ||
                  std::convertible_to<const Y&, std::span<const data_type<Model>>>;

/// One series in a type that converts to the model's, such as a matrix whose sizes are not fixed.
template <class Y, class Model>
concept other_data_of = std::convertible_to<const Y&, data_type<Model>> && !std::same_as<Y, data_type<Model>> &&
                        !std::convertible_to<const Y&, std::span<const data_type<Model>>>;

template <host_policy P, class Model, class Y>
data_type<Model> data_from(const P& p, const Model&, const Y& y) {
  check_arguments(p, [&] { require_rows<data_type<Model>>(y); });
  return data_type<Model>(y);
}

template <class Y>
constexpr void explain_data() {
  static_assert(sizeof(Y) == 0,
                "kalscan: y is a matrix, m x length, a column a step: give an Eigen matrix of the model's number type "
                "(Eigen::Map<const Eigen::MatrixXd>(pointer, m, length) of an array), or a std::vector of "
                "kalscan::observations<T, M> for a batch");
}

}  // namespace detail

/// Filters independent series of one model: each series m x length, of any lengths. Beliefs, one-step predictions and
/// innovations as asked for, and the log-likelihood, which is summed from the innovations in order of time. All
/// matrices of the result are symmetric positive semi-definite.
///
/// How a series is carried depends on its model and data:
///
///     noiseless   R is singular at some step: as roots (see square_root.hpp), with a bound on their rounding
///     sharp       a step's noise moves a reading of several states by more than 170 deviations of the reading's own
///                 noise (30 in float), or one of a single state by 980 (180) and moves another state with it, at that
///                 step or where transitions have brought it to a reading: as roots
///     outgrown    a combination of states has grown beyond the digits of the others, or one reading has told as much
///                 more than was known: filtered again, as roots
///     diffuse     the prior is diffuse in part: the first steps in a form of their own, at two to three times the cost
///                 of an ordinary step. Covariances follow once the states' correlations are far from singular, roots
///                 once the unknowns add no more than 8,000 deviations to a reading (50 in float); where R is singular,
///                 after the first proper step (64 of them if H or R changes)
///     vague       the prior is proper, but with its deviations some reading may deviate by more than 220 times (11 in
///                 float) the deviation that the step's own noise and the reading's give it, sqrt(R) + |H| sqrt(Q); and
///                 R is regular: the first steps as under a diffuse prior
///     all others  as covariances
///
/// Roots and the first steps under a diffuse or vague prior are taken in sequence. Under a diffuse prior the
/// log-likelihood is the limit for kappa without bound of log p(y) + (d / 2) log kappa under N(0, kappa I) for the
/// diffuse components, where d is the number of directions of these that the data have seen.
///
/// Throws std::invalid_argument before computing anything when the model or the data do not fit; filter_error when a
/// step has no finite or no semi-definite result. `omp` splits time only of series whose R is definite at every step: a
/// noise-free observation would give infinite information on the unknown state before a chunk. With fixed N and M and a prior
/// that is neither diffuse nor vague, and R regular, nothing is allocated per step.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<filter_result<T, N, M>> filter(
    const P& p, const kalman_model<T, N, M>& model, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  const std::span<const kalman_model<T, N, M>> models(&model, 1);
  check_arguments(p, [&] { detail::check_filter(models, series, false, shares_time<P>); });
  return detail::run_filter(p, models, series, outputs, true);
}

/// Each series has a model of its own, for exactly its steps; all have the same fixed sizes, dynamic ones may differ.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<filter_result<T, N, M>> filter(
    const P& p, const std::vector<kalman_model<T, N, M>>& models,
    std::type_identity_t<std::span<const observations<T, M>>> series, filter_outputs outputs = {}) {
  check_arguments(p, [&] { detail::check_filter(std::span(models), series, true, shares_time<P>); });
  return detail::run_filter(p, std::span(models), series, outputs, true);
}

/// One series; of a model or of its square-root form.
template <host_policy P, class Model>
[[nodiscard]] detail::filtered_type<Model> filter(const P& p, const Model& model, const detail::data_type<Model>& y,
                                                  filter_outputs outputs = {}) {
  return std::move(filter(p, model, std::span(&y, 1), outputs).front());
}

template <host_policy P, class Model, detail::other_data_of<Model> Y>
[[nodiscard]] detail::filtered_type<Model> filter(const P& p, const Model& model, const Y& y,
                                                  filter_outputs outputs = {}) {
  return kalscan::filter(p, model, detail::data_from(p, model, y), outputs);
}

/// log p(y) of each series, the sum over all steps of the log-density of the innovation. Components count in their
/// order: one that is determined without error by those before it and the earlier steps, as singular R and Q allow,
/// adds nothing. No beliefs are kept: besides the data, what a step or an element needs is in memory for each series
/// and each chunk of time at hand. Where whole series are taken (`seq`, and `omp` unless it splits time) the sum has
/// the bits of filter's; where time is split it is summed by chunks first.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<T> log_likelihood(const P& p, const kalman_model<T, N, M>& model,
                                            std::type_identity_t<std::span<const observations<T, M>>> series) {
  const std::span<const kalman_model<T, N, M>> models(&model, 1);
  check_arguments(p, [&] { detail::check_filter(models, series, false, shares_time<P>); });
  return detail::log_likelihoods_of(detail::run_filter(p, models, series, {}, false));
}

/// Each series has a model of its own.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<T> log_likelihood(const P& p, const std::vector<kalman_model<T, N, M>>& models,
                                            std::type_identity_t<std::span<const observations<T, M>>> series) {
  check_arguments(p, [&] { detail::check_filter(std::span(models), series, true, shares_time<P>); });
  return detail::log_likelihoods_of(detail::run_filter(p, std::span(models), series, {}, false));
}

/// One series; of a model or of its square-root form.
template <host_policy P, class Model>
[[nodiscard]] typename detail::model_types<Model>::number log_likelihood(const P& p, const Model& model,
                                                                         const detail::data_type<Model>& y) {
  return log_likelihood(p, model, std::span(&y, 1)).front();
}
template <host_policy P, class Model, detail::other_data_of<Model> Y>
[[nodiscard]] typename detail::model_types<Model>::number log_likelihood(const P& p, const Model& model, const Y& y) {
  return kalscan::log_likelihood(p, model, detail::data_from(p, model, y));
}

// For arguments that are no data: says what to pass instead.
template <host_policy P, class Model, class Y, class... Rest>
  requires(std::is_class_v<detail::data_type<Model>> && !detail::data_of<Y, Model>)
void filter(const P&, const Model&, const Y&, const Rest&...) {
  detail::explain_data<Y>();
}
template <host_policy P, class Model, class Y, class... Rest>
  requires(std::is_class_v<detail::data_type<Model>> && !detail::data_of<Y, Model>)
void log_likelihood(const P&, const Model&, const Y&, const Rest&...) {
  detail::explain_data<Y>();
}

}  // namespace kalscan

#include <kalscan/kalman/compiled.hpp>  // last
