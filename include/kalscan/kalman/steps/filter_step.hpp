// SPDX-License-Identifier: MIT
// One step of the matrix Kalman filter: predict, take the observed components one after the other, write down what came
// out.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <kalscan/kalman/steps/scalar_update.hpp>
#include <limits>
#include <numbers>
#include <span>

namespace kalscan::detail {

/// The covariance of the prediction of y_t, by a root of that of x_t: where a sum of states is known far better than
/// they are, their covariance has lost its digits.
template <class T, int N, int M>
Eigen::Matrix<T, M, M> innovation_covariance_of_root(const kalman_model<T, N, M>& model, std::int64_t t,
                                                     const Eigen::Matrix<T, N, N>& root) {
  const Eigen::Matrix<T, M, N> seen = times(model.H[t], root);
  return sum(times(seen, transposed(seen)), model.R[t]);
}

/// One step of a filter, shared by all filters of a model.
template <class T, int N, int M>
struct filter_step {
  using vector_n = Eigen::Vector<T, N>;
  using vector_m = Eigen::Vector<T, M>;
  using matrix_nn = Eigen::Matrix<T, N, N>;
  using matrix_mm = Eigen::Matrix<T, M, M>;

  const kalman_model<T, N, M>& model;
  observer<T, N, M> components;
  bool noiseless;  // R is singular at some step: something may be observed without noise, and roots are carried
  bool sharp;  // roots are carried though R is regular

  filter_step(const kalman_model<T, N, M>& model_)
      : model(model_),
        components(model),
        noiseless(!noise_is_definite(model)),
        sharp(!noiseless && reads_sharply(model)) {}
  explicit filter_step(const kalman_model<T, N, M>* model_) : filter_step(*model_) {}

  void predict(std::int64_t t, vector_n& mean, matrix_nn& P) const {
    mean = predict_mean(t, mean);
    P = predict_covariance(t, P);
  }

  /// Takes y_t into a prediction, and returns the log-density of y_t given that. Throws filter_error. `told_sharply`
  /// becomes true if P loses digits, see tells_sharply.
  T take(std::int64_t t, const vector_m& y, vector_n& mean, matrix_nn& P, std::int64_t series, bool& told_sharply) const {
    T sum = 0;
    const auto o = components.observe(t, y);
    const auto count = [&](Eigen::Index i, const vector_n& h, const scalar_innovation<T, N>& seen) {
      const T scaled = seen.v * seen.scale;
      sum += scaled * scaled + std::log(2 * std::numbers::pi_v<T> * seen.s);
      told_sharply = told_sharply || tells_sharply<T, N>(h, o.d(i), seen, P);
    };
    const char* wrong = detail::observe(o, mean, P, count);
    if (wrong) fail_step(series, t, wrong);
    require_finite_belief("filtered", series, t, mean, P);
    return -sum / 2;
  }

  /// The filtering element x, extended by an observation. Returns what is wrong, or nullptr. With `forgotten`, where A is
  /// 0, nothing is learnt of the state before the stretch.
  const char* absorb(const scalar_observations<T, N, M>& o, matrix_filtering_element<T, N>& x,
                     bool forgotten = false) const {
    const auto extend = [&](Eigen::Index i, const vector_n& h, const scalar_innovation<T, N>& seen) {
      if (!forgotten) extend_likelihood(x, h, o.d(i), seen.s, seen.v, seen.scale, seen.K);
    };
    return detail::observe(o, x.b, x.C, extend);
  }

  /// The prediction of y_t from that of x_t, of all components.
  vector_m observation_mean(std::int64_t t, const vector_n& mean) const {
    vector_m y = times(model.H[t], mean);
    if (!model.D.empty()) y += times_inputs<T, M>(model.D[t], model.u.data() + t * model.u.rows());
    return y;
  }
  matrix_mm innovation_covariance(std::int64_t t, const matrix_nn& P) const {
    matrix_mm S = sum(congruence(model.H[t], P), model.R[t]);
    symmetrize(S);
    return S;
  }

  vector_n transition_offset(std::int64_t t) const {
    if (model.B.empty()) return vector_n::Zero(model.states());
    return times_inputs<T, N>(model.B[t], model.u.data() + t * model.u.rows());
  }

  vector_n predict_mean(std::int64_t t, const vector_n& mean) const {
    vector_n predicted = times(model.F[t], mean);
    if (!model.B.empty()) predicted += transition_offset(t);
    return predicted;
  }

  matrix_nn predict_covariance(std::int64_t t, const matrix_nn& covariance) const {
    matrix_nn predicted = sum(congruence(model.F[t], covariance), model.Q[t]);
    symmetrize(predicted);
    clear_null_variances(predicted, [](Eigen::Index) { return T(0); });
    return predicted;
  }
};

/// What belongs to series i of a batch: the same for all, or one for each.
template <class X>
const X& of_series(std::span<const X> all, std::int64_t i) {
  return all[all.size() == 1 ? 0 : static_cast<std::size_t>(i)];
}

/// Writes the steps of one series into its result, and refuses what is not a belief.
template <class T, int N, int M>
struct filter_recorder {
  using step_type = filter_step<T, N, M>;
  using vector_n = Eigen::Vector<T, N>;
  using matrix_nn = Eigen::Matrix<T, N, N>;
  using matrix_mm = Eigen::Matrix<T, M, M>;
  using vector_m = Eigen::Vector<T, M>;

  filter_result<T, N, M>* result;
  filter_outputs outputs;
  std::int64_t series;

  [[noreturn]] void fail(std::int64_t t, const char* reason) const { fail_step(series, t, reason); }

  void predicted(std::int64_t t, const vector_n& mean, const matrix_nn& covariance) const {
    if (!outputs.predictions) return;
    result->predicted_mean.col(t) = mean;
    result->predicted_covariance[static_cast<std::size_t>(t)] = covariance;
  }

  void innovation(std::int64_t t, const vector_m& y, const vector_m& predicted, const matrix_mm& S) const {
    if (!outputs.innovations) return;
    result->predicted_y.col(t) = predicted;
    for (Eigen::Index i = 0; i < predicted.size(); ++i) result->innovation(i, t) = y(i) - predicted(i);
    result->innovation_covariance[static_cast<std::size_t>(t)] = S;
  }

  /// Whether beliefs are asked for; if not, those of a beginning replace one another.
  bool keeps() const { return !result->log_likelihood_terms.empty(); }
  std::int64_t column(std::int64_t t) const { return keeps() ? t : 0; }

  void filtered(std::int64_t t, const vector_n& mean, const matrix_nn& covariance, T log_density) const {
    require_finite_belief("filtered", series, t, mean, covariance);
    write(t, mean, covariance, log_density);
  }
  void write(std::int64_t t, const vector_n& mean, const matrix_nn& covariance, T log_density) const {
    result->mean.col(column(t)) = mean;
    result->covariance[static_cast<std::size_t>(column(t))] = covariance;
    if (keeps()) {
      result->log_likelihood_terms[static_cast<std::size_t>(t)] = log_density;
    } else {
      result->log_likelihood += log_density;
    }
  }
};

}  // namespace kalscan::detail
