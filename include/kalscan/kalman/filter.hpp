// SPDX-License-Identifier: MIT
// The Kalman filter of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/diffuse_sweep.hpp>
#include <kalscan/detail/filter_step.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/filter_result.hpp>
#include <kalscan/kalman/matrix_filtering_element.hpp>
#include <kalscan/kalman/model.hpp>
#include <numbers>
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
  using vector = Eigen::Vector<T, N>;
  using matrix = Eigen::Matrix<T, N, N>;
  using element = matrix_filtering_element<T, N>;

  struct state_type {
    matrix_belief<T, N> belief;
    matrix rounding;  // of the belief's covariance, where something may be observed without noise
  };

  step_type stepper;
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  std::int64_t longest;

  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1.3;  // measured for n = 2 ... 8 in double

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return longest; }
  /// Without noise the likelihood of a stretch has no finite J.
  bool splits() const { return !stepper.exact; }

  state_type act(const element& x, const state_type& s) const { return {kalscan::act(x, s.belief), s.rounding}; }

  struct lane_type {
    const filter_sweep* sweep;
    const observations<T, M>* y;
    filter_recorder<T, N, M> record;

    /// Where the series has a beginning of its own, its steps are done before the sweep.
    std::int64_t time(std::int64_t s) const { return record.result->beginning.size() + s; }
    bool predicts(std::int64_t t) const { return t > 0 || sweep->stepper.model.prior.before_first_transition; }

    state_type start() const {
      const auto& prior = sweep->stepper.model.prior;
      state_type x{{prior.mean, prior.covariance}, {}};
      const std::int64_t done = time(0);
      if (done > 0) {
        x.belief = {record.result->mean.col(done - 1), record.result->covariance[static_cast<std::size_t>(done - 1)]};
      }
      if (sweep->stepper.exact) {
        x.rounding = done > 0 ? record.result->rounding[static_cast<std::size_t>(done - 1)]
                              : sweep->stepper.rounding_of(x.belief.covariance);
      }
      return x;
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      const step_type& step = sweep->stepper;
      auto& [mean, P] = x.belief;
      if (predicts(t)) step.predict(t, mean, P, x.rounding);
      record.predicted(t, mean, P);
      if (record.outputs.innovations) {
        record.innovation(t, step.joint_innovation(t, y->col(t), mean), step.innovation_covariance(t, P));
      }
      T sum = 0;
      const auto count = [&sum](Eigen::Index, const vector&, const scalar_innovation<T, N>& seen) {
        const T scaled = seen.v * seen.scale;
        sum += scaled * scaled + std::log(2 * std::numbers::pi_v<T> * seen.s);
      };
      if (const char* wrong = step.update(step.components.observe(t, y->col(t)), mean, P, x.rounding, count)) {
        record.fail(t, wrong);
      }
      record.filtered(t, mean, P, -sum / 2);
      if (step.exact) record.result->rounding[static_cast<std::size_t>(t)] = x.rounding;
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
      matrix rounding;  // time is split only where it is not used
      if (predicts(t)) {
        x.A = times(step.model.F[t], x.A);
        step.predict(t, x.b, x.C, rounding);
      }
      if (const char* wrong = step.absorb(step.components.observe(t, y->col(t)), x, rounding)) record.fail(t, wrong);
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

/// Makes room for the results, and filters the first steps where the series have a beginning of their own.
template <host_policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> start_filter(const P& p, const filter_step<T, N, M>& stepper,
                                                 std::span<const observations<T, M>> series, filter_outputs outputs,
                                                 bool begins) {
  const Eigen::Index n = stepper.model.states(), m = stepper.model.observed();
  std::vector<filter_result<T, N, M>> results(series.size());
  for (std::size_t i = 0; i < series.size(); ++i) {
    auto& result = results[i];
    const Eigen::Index length = series[i].cols();
    const auto count = static_cast<std::size_t>(length);
    result.mean.resize(n, length);
    result.covariance.resize(count);
    result.log_likelihood_terms.resize(count);
    result.y = series[i];
    if (stepper.exact) result.rounding.resize(count);
    if (outputs.predictions) {
      result.predicted_mean.resize(n, length);
      result.predicted_covariance.resize(count);
    }
    if (outputs.innovations) {
      result.innovation.resize(m, length);
      result.innovation_covariance.resize(count);
    }
  }
  if (begins) run_sweep(p, diffuse_sweep<T, N, M>{stepper, series, results, outputs});
  return results;
}

/// Throws std::invalid_argument unless model and data fit each other.
template <class T, int N, int M>
void check_filter(const kalman_model<T, N, M>& model, std::span<const observations<T, M>> series) {
  std::int64_t longest = 0;
  for (const auto& y : series) longest = (std::max<std::int64_t>)(longest, y.cols());
  check_model(model, longest == 0 ? steps_at_least(0) : steps_of_data(longest));
  for (std::size_t i = 0; i < series.size(); ++i) check_series<T, M>(series[i], model.observed(), i);
}

/// The most steps that are left after a diffuse beginning.
template <class T, int N, int M>
std::int64_t longest_rest(const std::vector<filter_result<T, N, M>>& results) {
  std::int64_t longest = 0;
  for (const auto& result : results)
    longest = (std::max<std::int64_t>)(longest, result.mean.cols() - result.beginning.size());
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
/// each series are taken in sequence, until the states' correlations are far from singular (at two to three times the
/// cost of an ordinary step), and the log-likelihood is the limit for kappa without bound of log p(y) + (d / 2) log
/// kappa under N(0, kappa I) for the diffuse components, where d is the number of directions of these that the data
/// have seen.
///
/// Throws std::invalid_argument before computing anything when the model or the data do not fit; filter_error when a
/// step has no finite or no semi-definite result. `omp` splits time only where R is positive definite at every step; a
/// noise-free observation of a stretch's unknown beginning has no finite information. With fixed N and M and a prior
/// that is neither diffuse nor vague beside R, and R regular, nothing is allocated per step.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<filter_result<T, N, M>> filter(
    const P& p, const kalman_model<T, N, M>& model, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  detail::check_filter(model, series);
  const detail::filter_step<T, N, M> stepper(model);
  auto results = detail::start_filter(p, stepper, series, outputs, has_beginning(stepper));
  run_sweep(p, detail::filter_sweep<T, N, M>{stepper, series, results, outputs, detail::longest_rest(results)});
  detail::sum_log_likelihood(results);
  return results;
}

/// One series.
template <host_policy P, class T, int N, int M>
[[nodiscard]] filter_result<T, N, M> filter(const P& p, const kalman_model<T, N, M>& model,
                                            const std::type_identity_t<observations<T, M>>& y,
                                            filter_outputs outputs = {}) {
  return std::move(filter(p, model, std::span<const observations<T, M>>(&y, 1), outputs).front());
}

/// log p(y), the sum over all steps of the log-density of the innovation. Components count in their order: one that is
/// determined without error by those before it and the earlier steps, as singular R and Q allow, adds nothing.
template <host_policy P, class T, int N, int M>
[[nodiscard]] T log_likelihood(const P& p, const kalman_model<T, N, M>& model,
                               const std::type_identity_t<observations<T, M>>& y) {
  return filter(p, model, y).log_likelihood;
}

}  // namespace kalscan
