// SPDX-License-Identifier: MIT
// The Kalman filter of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/diffuse_start.hpp>
#include <kalscan/detail/filter_step.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/filter_result.hpp>
#include <kalscan/kalman/matrix_filtering_element.hpp>
#include <kalscan/kalman/model.hpp>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

/// Filters a number of series; the lanes of the sweep. Series may be of different lengths: after its end a lane rests.
template <class T, int N, int M>
struct filter_sweep {
  using step_type = filter_step<T, N, M>;
  using state_type = matrix_belief<T, N>;
  using element = matrix_filtering_element<T, N>;

  step_type stepper;
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  std::int64_t longest;
  bool noisy;  // R is positive definite at every step: a stretch's likelihood then has a finite J

  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1.3;  // measured for n = 2 ... 8 in double

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return longest; }
  bool splits() const { return noisy; }

  state_type act(const element& x, const state_type& s) const { return kalscan::act(x, s); }

  struct lane_type {
    const filter_sweep* sweep;
    const observations<T, M>* y;
    filter_recorder<T, N, M> record;

    /// Where the prior is diffuse, the first steps are done before the sweep.
    std::int64_t time(std::int64_t s) const { return record.result->beginning.size() + s; }
    bool predicts(std::int64_t t) const { return t > 0 || sweep->stepper.model.prior.before_first_transition; }

    state_type start() const {
      const std::int64_t done = time(0);
      if (done == 0) return {sweep->stepper.model.prior.mean, sweep->stepper.model.prior.covariance};
      return {record.result->mean.col(done - 1), record.result->covariance[static_cast<std::size_t>(done - 1)]};
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      const step_type& step = sweep->stepper;
      if (predicts(t)) {
        x.mean = step.predict_mean(t, x.mean);
        x.covariance = step.predict_covariance(t, x.covariance);
      }
      record.predicted(t, x.mean, x.covariance);
      const auto o = step.observe(t, y->col(t));
      T log_density = 0;
      if (o.present > 0 || record.outputs.innovations) {
        const auto g = step.gain_of(o, x.covariance);
        const Eigen::Vector<T, M> v = o.y - times(o.H, x.mean);
        record.innovation(t, y->col(t), v, g);
        log_density = record.log_density(t, o, g, v);
        x.mean += times(g.K, v);
        x.covariance = step.update_covariance(o, g, x.covariance);
      }
      record.filtered(t, x.mean, x.covariance, log_density);
    }

    element lift(std::int64_t s) const {
      element x = matrix_filtering_monoid<T, N>{sweep->stepper.model.states()}.identity();
      absorb(s, x);
      return x;
    }

    void absorb(std::int64_t s, element& x) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      const step_type& step = sweep->stepper;
      if (predicts(t)) {
        x.A = times(step.model.F[t], x.A);
        x.b = step.predict_mean(t, x.b);
        x.C = step.predict_covariance(t, x.C);
      }
      const auto o = step.observe(t, y->col(t));
      if (o.present == 0) return;
      const auto g = step.gain_of(o, x.C);
      const Eigen::Vector<T, M> v = o.y - times(o.H, x.b);
      const Eigen::Matrix<T, M, N> HA = times(o.H, x.A);
      Eigen::Matrix<T, N, M> Z = HA.transpose();
      divide_by_transposed_factor(Z, g.factor);
      Eigen::Matrix<T, 1, M> w = v.transpose();
      divide_by_transposed_factor(w, g.factor);
      x.A -= times(g.K, HA);
      x.b += times(g.K, v);
      x.C = step.update_covariance(o, g, x.C);
      x.eta += times(Z, w.transpose());
      x.J += times(Z, Z.transpose());
    }
  };
  lane_type lane(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {this, &data[index], {&results[index], outputs, i}};
  }
};

template <class T, int M>
void check_series(const observations<T, M>& y, Eigen::Index m, std::size_t series) {
  const std::string name = "y of series " + std::to_string(series);
  if (y.rows() != m) bad_model(name + " has " + std::to_string(y.rows()) + " rows, H has " + std::to_string(m));
  if (y.cols() == 0) bad_model(name + " is empty");
  for (Eigen::Index t = 0; t < y.cols(); ++t) {
    for (Eigen::Index i = 0; i < m; ++i) {
      if (std::isinf(y(i, t))) {
        bad_model(name + " is " + (y(i, t) > 0 ? "" : "-") + "infinite at component " + std::to_string(i) + ", step " +
                  std::to_string(t));
      }
    }
  }
}

template <class T, int N, int M>
bool noise_is_definite(const kalman_model<T, N, M>& model) {
  for (std::int64_t t = 0; t < model.R.size(); ++t) {
    Eigen::Matrix<T, M, M> factor = model.R[t];
    if (!factor_semidefinite(factor) || factor.diagonal().minCoeff() <= 0) return false;
  }
  return true;
}

/// Checks model and data, makes room for the results, and filters the first steps where the prior is diffuse in part.
template <policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> start_filter(const P& p, const kalman_model<T, N, M>& model,
                                                 std::span<const observations<T, M>> series, filter_outputs outputs) {
  std::int64_t longest = 0;
  for (const auto& y : series) longest = std::max<std::int64_t>(longest, y.cols());
  check_model(model, longest);
  const Eigen::Index n = model.states(), m = model.observed();
  for (std::size_t i = 0; i < series.size(); ++i) check_series<T, M>(series[i], m, i);
  std::vector<filter_result<T, N, M>> results(series.size());
  for (std::size_t i = 0; i < series.size(); ++i) {
    auto& result = results[i];
    const Eigen::Index length = series[i].cols();
    const auto count = static_cast<std::size_t>(length);
    result.mean.resize(n, length);
    result.covariance.resize(count);
    result.log_likelihood_terms.resize(count);
    if (outputs.predictions) {
      result.predicted_mean.resize(n, length);
      result.predicted_covariance.resize(count);
    }
    if (outputs.innovations) {
      result.innovation.resize(m, length);
      result.innovation_covariance.resize(count);
    }
  }
  if (model.prior.has_diffuse()) run_sweep(p, diffuse_sweep<T, N, M>{{model}, series, results, outputs});
  return results;
}

/// The most steps that are left after a diffuse beginning.
template <class T, int N, int M>
std::int64_t longest_rest(const std::vector<filter_result<T, N, M>>& results) {
  std::int64_t longest = 0;
  for (const auto& result : results)
    longest = std::max<std::int64_t>(longest, result.mean.cols() - result.beginning.size());
  return longest;
}

template <class T, int N, int M>
void sum_log_likelihood(std::vector<filter_result<T, N, M>>& results) {
  for (auto& result : results) {
    result.log_likelihood =
        std::accumulate(result.log_likelihood_terms.begin(), result.log_likelihood_terms.end(), T(0));
  }
}

}  // namespace detail

/// Filters independent series of one model: each series m x length, of any lengths. Beliefs, one-step predictions and
/// innovations as asked for, and the log-likelihood, which is summed from the innovations in order of time. All
/// matrices of the result are symmetric positive semi-definite. Where the prior is diffuse in part, the first steps of
/// each series are taken in sequence, until its state is well known, and the log-likelihood is the limit for kappa
/// without bound of log p(y) + (d / 2) log kappa under N(0, kappa I) for the d diffuse components.
///
/// Throws std::invalid_argument before computing anything when the model or the data do not fit; filter_error when a
/// step has no finite or no semi-definite result. `omp` splits time only where R is positive definite at every step; a
/// noise-free observation of a stretch's unknown beginning has no finite information. With fixed N and M and a proper
/// prior nothing is allocated per step.
template <policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> filter(const P& p, const kalman_model<T, N, M>& model,
                                           std::type_identity_t<std::span<const observations<T, M>>> series,
                                           filter_outputs outputs = {}) {
  auto results = detail::start_filter(p, model, series, outputs);
  run_sweep(p, detail::filter_sweep<T, N, M>{{model}, series, results, outputs, detail::longest_rest(results),
                                             detail::noise_is_definite(model)});
  detail::sum_log_likelihood(results);
  return results;
}

/// One series.
template <policy P, class T, int N, int M>
filter_result<T, N, M> filter(const P& p, const kalman_model<T, N, M>& model,
                              const std::type_identity_t<observations<T, M>>& y, filter_outputs outputs = {}) {
  return std::move(filter(p, model, std::span<const observations<T, M>>(&y, 1), outputs).front());
}

/// log p(y), the sum over all steps of the log-density of the innovation.
template <policy P, class T, int N, int M>
T log_likelihood(const P& p, const kalman_model<T, N, M>& model, const std::type_identity_t<observations<T, M>>& y) {
  return filter(p, model, y).log_likelihood;
}

}  // namespace kalscan
