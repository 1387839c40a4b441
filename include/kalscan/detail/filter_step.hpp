// SPDX-License-Identifier: MIT
// One step of the matrix Kalman filter: predict, take the observed components one after the other, write down what came
// out.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/detail/observation.hpp>
#include <kalscan/kalman/filter_result.hpp>
#include <kalscan/kalman/matrix_filtering_element.hpp>
#include <kalscan/kalman/model.hpp>
#include <limits>
#include <numbers>

namespace kalscan::detail {

inline constexpr const char* bad_innovation = "the innovation covariance is not finite or not positive semi-definite";
inline constexpr const char* contradiction = "the observation contradicts a prediction that has no variance";

/// A scalar observation h'x + N(0, d) of x ~ N(mean, P).
template <class T, int N>
struct scalar_innovation {
  Eigen::Vector<T, N> Ph, K;
  T s, v;                         // s = 0: it says nothing new
  const char* wrong = nullptr;
};

/// One step of a filter, shared by all that walk through a model.
template <class T, int N, int M>
struct filter_step {
  using vector_n = Eigen::Vector<T, N>;
  using vector_m = Eigen::Vector<T, M>;
  using matrix_nn = Eigen::Matrix<T, N, N>;
  using matrix_mn = Eigen::Matrix<T, M, N>;
  using matrix_mm = Eigen::Matrix<T, M, M>;
  using matrix_nm = Eigen::Matrix<T, N, M>;

  const kalman_model<T, N, M>& model;
  observer<T, N, M> components;
  bool exact;  // R is singular at some step: something may be observed without noise

  filter_step(const kalman_model<T, N, M>& model_)
      : model(model_), components(model), exact(!noise_is_definite(model)) {}

  /// Where something may be known exactly, a belief comes with E: the rounding errors of its covariance lie between -E
  /// and E, as quadratic forms. A variance no larger than that is zero.
  matrix_nn no_rounding() const {
    const Eigen::Index n = exact ? model.states() : 0;
    return N == Eigen::Dynamic ? matrix_nn(matrix_nn::Zero(n, n)) : matrix_nn(matrix_nn::Zero(model.states(), model.states()));
  }

  void predict(std::int64_t t, vector_n& mean, matrix_nn& P, matrix_nn& E) const {
    if (exact) {
      const vector_n terms = congruence_scale(model.F[t], P) + model.Q[t].diagonal();
      E = congruence(model.F[t], E);
      E.diagonal() += pivot_rounding(P) * terms;
    }
    mean = predict_mean(t, mean);
    P = predict_covariance(t, P);
  }

  /// Takes the components of an observation in order. Calls seen(h, x) with a scalar_innovation x for each that says
  /// something, after the update. Returns what is wrong, or nullptr.
  template <class Seen>
  const char* update(const scalar_observations<T, N, M>& o, vector_n& mean, matrix_nn& P, matrix_nn& E, Seen seen) const {
    for (Eigen::Index i = 0; i < o.count; ++i) {
      const vector_n h = o.H.row(i).transpose();
      const auto x = innovation(o, i, h, mean, P, E, exact);
      if (x.wrong) return x.wrong;
      if (x.s == 0) continue;
      mean += x.v * x.K;
      if (exact) {
        // The rounding of a mean that was far away: what is known exactly agrees with the observation afterwards.
        if (o.d(i) == 0) mean += (o.y(i) - h.dot(mean)) * x.K;
        matrix_nn keep = -times(x.K, h.transpose());
        keep.diagonal().array() += T(1);
        const vector_n terms = congruence_scale(keep, P);
        E = congruence(keep, E);
        E.diagonal() += pivot_rounding(P) * terms;
      }
      observe_scalar(P, h, o.d(i), x.Ph, x.K);
      seen(h, x);
    }
    symmetrize(P);
    clear_null_variances(P, [&](Eigen::Index i) { return exact ? E(i, i) : T(0); });
    return nullptr;
  }

  /// The filtering element x, extended by an observation. Returns what is wrong, or nullptr.
  const char* absorb(const scalar_observations<T, N, M>& o, matrix_filtering_element<T, N>& x, matrix_nn& E) const {
    return update(o, x.b, x.C, E, [&](const vector_n& h, const scalar_innovation<T, N>& seen) {
      const vector_n g = times(x.A.transpose(), h);
      const vector_n scaled = g / seen.s;
      for (Eigen::Index j = 0; j < g.size(); ++j) {
        x.A.col(j) -= g(j) * seen.K;
        x.J.col(j) += g(j) * scaled;
      }
      x.eta += seen.v * scaled;
    });
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

  static scalar_innovation<T, N> innovation(const scalar_observations<T, N, M>& o, Eigen::Index i, const vector_n& h,
                                            const vector_n& mean, const matrix_nn& P, const matrix_nn& E, bool exact) {
    constexpr T epsilon = std::numeric_limits<T>::epsilon();
    scalar_innovation<T, N> x;
    x.Ph = times(P, h);
    x.v = o.y(i) - h.dot(mean);
    T variance = h.dot(x.Ph);
    if (!(variance > 0) || o.d(i) == 0) {
      const vector_n size = h.cwiseAbs();
      const T terms = size.dot(times(P.cwiseAbs(), size)), error = exact ? h.dot(times(E, h)) : T(0);
      if (!(variance >= -std::sqrt(epsilon) * terms - error)) x.wrong = bad_innovation;
      if (o.d(i) == 0 && variance <= std::max(pivot_rounding(P) * terms, error)) {
        const T slack = std::sqrt(epsilon) * (o.terms(i) + size.dot(mean.cwiseAbs())) + std::sqrt(error);
        if (!x.wrong && !(std::abs(x.v) <= slack)) x.wrong = contradiction;
        x.s = 0;
        return x;
      }
      if (!(variance > 0)) {
        variance = 0;
        x.Ph.setZero();
      }
    }
    x.s = variance + o.d(i);
    if (!(x.s <= std::numeric_limits<T>::max())) x.wrong = bad_innovation;
    x.K = x.Ph / x.s;
    return x;
  }

  // What follows takes the components together. Only the diffuse start still does.

  /// The observation of one step. Of a missing component the row of H is zero, its noise is one and independent, and
  /// its residual is zero: it changes nothing, and the sizes stay as they are.
  struct observation {
    matrix_mn H;
    matrix_mm R;
    vector_m y;  // less D u
    Eigen::Index present;
  };

  /// The update of a covariance: gain, and the factor of the innovation covariance.
  struct gain {
    matrix_nm K;
    matrix_mm S, factor;
    bool ok;
    bool exact;  // R is singular: something is observed without noise
  };

  template <class Column>
  observation observe(std::int64_t t, const Column& y) const {
    observation o{model.H[t], model.R[t], y, y.size()};
    if (!model.D.empty()) o.y -= model.D[t] * model.u.col(t);
    for (Eigen::Index i = 0; i < y.size(); ++i) {
      if (!std::isnan(y(i))) continue;
      --o.present;
      o.H.row(i).setZero();
      o.R.row(i).setZero();
      o.R.col(i).setZero();
      o.R(i, i) = 1;
      o.y(i) = 0;
    }
    return o;
  }

  static gain gain_of(const observation& o, const matrix_nn& covariance) {
    gain g;
    g.K = times(covariance, o.H.transpose());
    g.S = times(o.H, g.K) + o.R;
    symmetrize(g.S);
    g.factor = g.S;
    // A pivot of S is at least that of R: where R has noise, none is zero, whatever rounding left of it.
    matrix_mm noise = o.R;
    factor_semidefinite(noise);
    const vector_m least = noise.diagonal().cwiseAbs2();
    vector_m scale = g.S.diagonal();
    g.exact = !(least.minCoeff() > 0);
    if (g.exact) scale = congruence_scale(o.H, covariance) + o.R.diagonal();
    g.ok = factor_semidefinite(g.factor, pivot_rounding(g.factor), scale, least);
    divide_by_factored(g.K, g.factor);
    return g;
  }

  /// Joseph's form: semi-definite up to rounding, whatever the rounding of the gain. What is observed without noise has
  /// no variance left.
  static matrix_nn update_covariance(const observation& o, const gain& g, const matrix_nn& covariance) {
    matrix_nn keep = -times(g.K, o.H);
    keep.diagonal().array() += T(1);
    matrix_nn updated = congruence(keep, covariance) + congruence(g.K, o.R);
    symmetrize(updated);
    vector_n rounding = vector_n::Zero(covariance.rows());
    if (g.exact) rounding = pivot_rounding(updated) * congruence_scale(keep, covariance);
    clear_null_variances(updated, [&](Eigen::Index i) { return rounding(i); });
    return updated;
  }
};

/// In a direction in which the innovation has no variance, the observation y must agree with its prediction y - v:
/// `rest`, what is left of v there, is rounding. `variance` is that of the component before it was made independent of
/// others.
template <class T>
bool agrees(T y, T v, T variance, T rest) {
  const T scale = std::abs(y) + std::abs(y - v) + std::sqrt(std::abs(variance));
  return std::abs(rest) <= std::sqrt(std::numeric_limits<T>::epsilon()) * scale;
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
