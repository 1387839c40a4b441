// SPDX-License-Identifier: MIT
// One step of the matrix Kalman filter: predict, take the observed components one after the other, write down what came
// out.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/detail/observation.hpp>
#include <kalscan/detail/scalar_update.hpp>
#include <kalscan/kalman/filter_result.hpp>
#include <kalscan/kalman/matrix_filtering_element.hpp>
#include <kalscan/kalman/model.hpp>
#include <limits>
#include <numbers>

namespace kalscan::detail {

/// One step of a filter, shared by all that walk through a model.
template <class T, int N, int M>
struct filter_step {
  using vector_n = Eigen::Vector<T, N>;
  using vector_m = Eigen::Vector<T, M>;
  using matrix_nn = Eigen::Matrix<T, N, N>;
  using matrix_mn = Eigen::Matrix<T, M, N>;
  using matrix_mm = Eigen::Matrix<T, M, M>;

  const kalman_model<T, N, M>& model;
  observer<T, N, M> components;
  bool exact;  // R is singular at some step: something may be observed without noise

  filter_step(const kalman_model<T, N, M>& model_)
      : model(model_), components(model), exact(!noise_is_definite(model)) {}

  /// A bound on the rounding of a covariance, see new_rounding; used where `exact`.
  matrix_nn rounding_of(const matrix_nn& P) const {
    matrix_nn E = matrix_nn::Zero(P.rows(), P.cols());
    E.diagonal() = new_rounding(P.diagonal());
    return E;
  }

  void predict(std::int64_t t, vector_n& mean, matrix_nn& P, matrix_nn& E) const {
    if (exact) {
      E = congruence(model.F[t], E);
      E.diagonal() += new_rounding(congruence_scale(model.F[t], P) + model.Q[t].diagonal());
    }
    mean = predict_mean(t, mean);
    P = predict_covariance(t, P);
  }

  template <class Seen>
  const char* update(const scalar_observations<T, N, M>& o, vector_n& mean, matrix_nn& P, matrix_nn& E, Seen seen) const {
    return detail::observe(o, mean, P, exact ? &E : nullptr, seen);
  }

  /// The filtering element x, extended by an observation. Returns what is wrong, or nullptr.
  const char* absorb(const scalar_observations<T, N, M>& o, matrix_filtering_element<T, N>& x, matrix_nn& E) const {
    const auto extend = [&](Eigen::Index i, const vector_n& h, const scalar_innovation<T, N>& seen) {
      extend_likelihood(x, h, o.d(i), seen.s, seen.v, seen.scale, seen.K);
    };
    return update(o, x.b, x.C, E, extend);
  }

  /// y less its prediction, NaN where y is; and its covariance, of all components.
  template <class Column>
  vector_m joint_innovation(std::int64_t t, const Column& y, const vector_n& mean) const {
    vector_m v = y - times(model.H[t], mean);
    if (!model.D.empty()) v -= model.D[t] * model.u.col(t);
    return v;
  }
  matrix_mm innovation_covariance(std::int64_t t, const matrix_nn& P) const {
    matrix_mm S = congruence(model.H[t], P) + model.R[t];
    symmetrize(S);
    return S;
  }

  vector_n transition_offset(std::int64_t t) const {
    return model.B.empty() ? vector_n(vector_n::Zero(model.states())) : vector_n(model.B[t] * model.u.col(t));
  }

  vector_n predict_mean(std::int64_t t, const vector_n& mean) const {
    vector_n predicted = times(model.F[t], mean);
    if (!model.B.empty()) predicted += transition_offset(t);
    return predicted;
  }

  matrix_nn predict_covariance(std::int64_t t, const matrix_nn& covariance) const {
    matrix_nn predicted = congruence(model.F[t], covariance) + model.Q[t];
    symmetrize(predicted);
    clear_null_variances(predicted, [](Eigen::Index) { return T(0); });
    return predicted;
  }
};

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

  [[noreturn]] void fail(std::int64_t t, const char* reason) const { throw filter_error(series, t, reason); }

  void predicted(std::int64_t t, const vector_n& mean, const matrix_nn& covariance) const {
    if (!outputs.predictions) return;
    result->predicted_mean.col(t) = mean;
    result->predicted_covariance[static_cast<std::size_t>(t)] = covariance;
  }

  void innovation(std::int64_t t, const vector_m& v, const matrix_mm& S) const {
    if (!outputs.innovations) return;
    result->innovation.col(t) = v;
    result->innovation_covariance[static_cast<std::size_t>(t)] = S;
  }

  void filtered(std::int64_t t, const vector_n& mean, const matrix_nn& covariance, T log_density) const {
    if (!mean.allFinite()) fail(t, "the filtered mean is not finite");
    if (!covariance.allFinite()) fail(t, "the filtered covariance is not finite");
    const auto column = static_cast<std::size_t>(t);
    result->mean.col(t) = mean;
    result->covariance[column] = covariance;
    result->log_likelihood_terms[column] = log_density;
  }
};

}  // namespace kalscan::detail
