// SPDX-License-Identifier: MIT
// The Kalman filter and smoother in square-root form: beliefs that are semi-definite whatever the rounding, with their
// roots.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/stretch_sums.hpp>
#include <span>
#include <vector>

namespace kalscan {

/// Asks `filter`, `smooth` and `log_likelihood` for the square-root form: filter(policy, square_root{model}, y), or
/// square_root{models} with one for each series. Refers to the models. <kalscan/kalman/functions/square_root.hpp> has
/// it for models of functions, and for a device.
///
/// What is read exactly, with R = 0, is smoothed to 1e-10 of the prior's deviation, wherever one shock moves all states and
/// the smoothed deviations fade: of those below 1e-8 of the prior's some have two digits.
template <class T, int N, int M>
struct square_root<kalman_model<T, N, M>> {
  std::span<const kalman_model<T, N, M>> models;
  bool one_each;

  explicit square_root(const kalman_model<T, N, M>& model) : models(&model, 1), one_each(false) {}
  explicit square_root(const std::vector<kalman_model<T, N, M>>& models_) : models(models_), one_each(true) {}
  explicit square_root(const kalman_model<T, N, M>&&) = delete;  // would not live long enough
  explicit square_root(const std::vector<kalman_model<T, N, M>>&&) = delete;
};
template <class T, int N, int M>
square_root(const std::vector<kalman_model<T, N, M>>&) -> square_root<kalman_model<T, N, M>>;

namespace detail {

template <host_policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> run_square_root_filter(const P& p, const square_root<kalman_model<T, N, M>>& form,
                                                           std::span<const observations<T, M>> series,
                                                           filter_outputs outputs, bool keeps) {
  static_assert(!shares_time<P>, "kalscan: square-root forms are not run over ranks: pass the model itself");
  check_filter(form.models, series, form.one_each);
  const auto models = list_of(form.models);
  const std::vector<filter_step<T, N, M>> steppers(models.begin(), models.end());
  auto results = start_filter<P, T, N, M>(p, steppers, series, outputs, keeps, true);
  stretch_sums<T> sums;
  for (const bool noiseless : {false, true}) {
    const auto chosen = choose<T, N, M>(results, series, noiseless, [&](std::int64_t i) {
      return of_series<filter_step<T, N, M>>(steppers, i).noiseless == noiseless;
    });
    if (!chosen.numbers.empty()) {
      filter_roots<false, P, T, N, M>(p, models, series, results, outputs, sums, keeps, chosen);
    }
  }
  sum_log_likelihood(results, sums, keeps);
  return results;
}

}  // namespace detail

/// As filter(p, model, ...), with covariances carried as roots: semi-definite whatever the rounding, and with the
/// digits that a covariance loses where its eigenvalues differ by more than 1 / epsilon. `covariance_root` is filled.
/// The first steps under a diffuse or vague prior are filtered as there, but end sooner, and their covariances are
/// factored. See README for when to take which form, and what it costs.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<filter_result<T, N, M>> filter(
    const P& p, const square_root<kalman_model<T, N, M>>& form, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  return detail::run_square_root_filter(p, form, series, outputs, true);
}

/// As log_likelihood(p, model, ...), with covariances carried as roots.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<T> log_likelihood(const P& p, const square_root<kalman_model<T, N, M>>& form,
                                            std::type_identity_t<std::span<const observations<T, M>>> series) {
  return detail::log_likelihoods_of(detail::run_square_root_filter(p, form, series, {}, false));
}

/// As smooth(p, model, ...), which smooths results with roots by these.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const square_root<kalman_model<T, N, M>>& form, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  return detail::run_smoother<false>(p, form.models, filter(p, form, series, outputs));
}

}  // namespace kalscan
