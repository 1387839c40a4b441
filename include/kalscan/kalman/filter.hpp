// SPDX-License-Identifier: MIT
// The Kalman filter of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/matrix_filtering_element.hpp>
#include <kalscan/kalman/model.hpp>

namespace kalscan {

/// Observations of one series, m x length: column t is y_t. A NaN marks a component that is missing.
template <class T, int M>
using observations = Eigen::Matrix<T, M, Eigen::Dynamic>;

/// A step that could not be computed, found at that step.
class filter_error : public std::runtime_error {
 public:
  filter_error(std::int64_t series_, std::int64_t step_, const std::string& reason)
      : std::runtime_error("kalscan: series " + std::to_string(series_) + ", step " + std::to_string(step_) + ": " +
                           reason),
        series(series_),
        step(step_) {}
  std::int64_t series, step;
};

/// What a filter returns besides the filtered beliefs.
struct filter_outputs {
  bool predictions = false;  ///< one-step predictions of the state
  bool innovations = false;  ///< y_t minus its prediction, and the covariance of that
};

/// n states, m observed components, one column or entry a step.
template <class T, int N, int M>
struct filter_result {
  Eigen::Matrix<T, N, Eigen::Dynamic> mean;            ///< of x_t given y_0 ... y_t
  std::vector<Eigen::Matrix<T, N, N>> covariance;
  Eigen::Matrix<T, N, Eigen::Dynamic> predicted_mean;  ///< of x_t given y_0 ... y_(t-1), on request
  std::vector<Eigen::Matrix<T, N, N>> predicted_covariance;
  observations<T, M> innovation;                       ///< on request; NaN where missing
  std::vector<Eigen::Matrix<T, M, M>> innovation_covariance;
  std::vector<T> log_likelihood_terms;                 ///< log p(y_t | y_0 ... y_(t-1))
  T log_likelihood = 0;                                ///< their sum, in order of time
};

namespace detail {

template <class T, int N>
struct matrix_belief {
  Eigen::Vector<T, N> mean;
  Eigen::Matrix<T, N, N> covariance;
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

  /// The observation of one step. Of a missing component the row of H is zero, its noise is one and independent, and its
  /// residual is zero: it changes nothing, and the sizes stay as they are.
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
  };

  const kalman_model<T, N, M>& model;

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
    return predicted;
  }

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

  gain gain_of(const observation& o, const matrix_nn& covariance) const {
    gain g;
    g.K = times(covariance, o.H.transpose());
    g.S = times(o.H, g.K) + o.R;
    symmetrize(g.S);
    g.factor = g.S;
    g.ok = factor_semidefinite(g.factor);
    divide_by_factored(g.K, g.factor);
    return g;
  }

  /// Joseph's form: semi-definite whatever the rounding of the gain.
  matrix_nn update_covariance(const observation& o, const gain& g, const matrix_nn& covariance) const {
    matrix_nn keep = -times(g.K, o.H);
    keep.diagonal().array() += T(1);
    matrix_nn updated = congruence(keep, covariance) + congruence(g.K, o.R);
    symmetrize(updated);
    return updated;
  }
};

/// Filters a number of series; the lanes of the sweep. Series may be of different lengths: after its end a lane rests.
template <class T, int N, int M>
struct filter_sweep {
  using step_type = filter_step<T, N, M>;
  using state_type = matrix_belief<T, N>;
  using element = matrix_filtering_element<T, N>;

  step_type step;
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

  state_type act(const element& x, const state_type& s) const {
    const Eigen::Index n = step.model.states();
    const matrix_filtering_monoid<T, N> combine{n};
    element before = combine.identity();
    before.A.setZero();
    before.b = s.mean;
    before.C = s.covariance;
    const element after = combine(before, x);
    return {after.b, after.C};
  }

  struct lane_type {
    const filter_sweep* sweep;
    const observations<T, M>* y;
    filter_result<T, N, M>* result;
    std::int64_t series;

    bool predicts(std::int64_t t) const { return t > 0 || sweep->step.model.prior.before_first_transition; }

    state_type start() const { return {sweep->step.model.prior.mean, sweep->step.model.prior.covariance}; }
    void finish(const state_type&) const {}

    void replay(std::int64_t t, state_type& s) const {
      if (t >= y->cols()) return;
      const step_type& step = sweep->step;
      if (predicts(t)) {
        s.mean = step.predict_mean(t, s.mean);
        s.covariance = step.predict_covariance(t, s.covariance);
      }
      const auto column = static_cast<std::size_t>(t);
      if (sweep->outputs.predictions) {
        result->predicted_mean.col(t) = s.mean;
        result->predicted_covariance[column] = s.covariance;
      }
      const auto o = step.observe(t, y->col(t));
      if (o.present > 0 || sweep->outputs.innovations) {
        const auto g = step.gain_of(o, s.covariance);
        if (!g.ok) fail(t, "the innovation covariance is not finite or not positive semi-definite");
        const Eigen::Vector<T, M> v = o.y - times(o.H, s.mean);
        result->log_likelihood_terms[column] = log_density(t, o, g, v);
        if (sweep->outputs.innovations) {
          result->innovation.col(t) = v;
          for (Eigen::Index i = 0; i < v.size(); ++i) {
            if (std::isnan((*y)(i, t))) result->innovation(i, t) = std::numeric_limits<T>::quiet_NaN();
          }
          result->innovation_covariance[column] = g.S;
        }
        s.mean += times(g.K, v);
        s.covariance = step.update_covariance(o, g, s.covariance);
      } else {
        result->log_likelihood_terms[column] = 0;
      }
      if (!s.mean.allFinite()) fail(t, "the filtered mean is not finite");
      if (!s.covariance.allFinite()) fail(t, "the filtered covariance is not finite");
      if (s.covariance.diagonal().minCoeff() < 0) fail(t, "the filtered covariance has a negative variance");
      result->mean.col(t) = s.mean;
      result->covariance[column] = s.covariance;
    }

    element lift(std::int64_t t) const {
      element x = matrix_filtering_monoid<T, N>{sweep->step.model.states()}.identity();
      absorb(t, x);
      return x;
    }

    void absorb(std::int64_t t, element& x) const {
      if (t >= y->cols()) return;
      const step_type& step = sweep->step;
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

   private:
    [[noreturn]] void fail(std::int64_t t, const char* reason) const { throw filter_error(series, t, reason); }

    /// log N(v; 0, S). In a direction in which S is zero the observation must agree with its prediction.
    T log_density(std::int64_t t, const typename step_type::observation& o, const typename step_type::gain& g,
                  const Eigen::Vector<T, M>& v) const {
      T sum = 0;
      Eigen::Index counted = o.present;
      Eigen::Vector<T, M> w = v;
      for (Eigen::Index i = 0; i < v.size(); ++i) {
        for (Eigen::Index k = 0; k < i; ++k) w(i) -= g.factor(i, k) * w(k);
        const T root = g.factor(i, i);
        if (root > 0) {
          w(i) /= root;
          sum += w(i) * w(i) + 2 * std::log(root);
          continue;
        }
        const T scale = std::abs(o.y(i)) + std::abs(o.y(i) - v(i)) + std::sqrt(std::abs(g.S(i, i)));
        if (std::abs(w(i)) > std::sqrt(std::numeric_limits<T>::epsilon()) * scale) {
          fail(t, "the observation contradicts a prediction that has no variance");
        }
        w(i) = 0;
        --counted;
      }
      return -(sum + static_cast<T>(counted) * std::log(2 * std::numbers::pi_v<T>)) / 2;
    }
  };
  lane_type lane(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {this, &data[index], &results[index], i};
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
        bad_model(name + " is infinite at component " + std::to_string(i) + ", step " + std::to_string(t));
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

}  // namespace detail

/// Filters independent series of one model: each series m x length, of any lengths. Beliefs, one-step predictions and
/// innovations as asked for, and the log-likelihood, which is summed from the innovations in order of time. All matrices
/// of the result are symmetric positive semi-definite.
///
/// Throws std::invalid_argument before computing anything when the model or the data do not fit; filter_error when a step
/// has no finite or no semi-definite result. `omp` splits time only where R is positive definite at every step; a
/// noise-free observation of a stretch's unknown beginning has no finite information. With fixed N and M nothing is
/// allocated per step.
template <policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> filter(const P& p, const kalman_model<T, N, M>& model,
                                           std::span<const observations<T, M>> series, filter_outputs outputs = {}) {
  std::int64_t longest = 0;
  for (const auto& y : series) longest = std::max<std::int64_t>(longest, y.cols());
  detail::check_model(model, longest);
  const Eigen::Index n = model.states(), m = model.observed();
  for (std::size_t i = 0; i < series.size(); ++i) detail::check_series<T, M>(series[i], m, i);
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
  run_sweep(p, detail::filter_sweep<T, N, M>{{model}, series, results, outputs, longest, detail::noise_is_definite(model)});
  for (auto& result : results) {
    result.log_likelihood = std::accumulate(result.log_likelihood_terms.begin(), result.log_likelihood_terms.end(), T(0));
  }
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
