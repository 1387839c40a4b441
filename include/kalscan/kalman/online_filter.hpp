// SPDX-License-Identifier: MIT
// The Kalman filter one step at a time, for data that arrive.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstdint>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <string>
#include <utility>

namespace kalscan {

/// A Gaussian N(mean, covariance) of n states, on its way from step to step. `rounding` bounds the rounding errors of
/// the covariance where something is observed without noise; whoever makes a belief may leave it out.
template <class T, int N>
struct online_belief {
  Eigen::Vector<T, N> mean{};
  Eigen::Matrix<T, N, N> covariance{};
  Eigen::Matrix<T, N, N> rounding = detail::filled<Eigen::Matrix<T, N, N>>(T(0));
};

/// A belief after an observation, and the log-density of that given all before.
template <class T, int N>
struct online_update {
  online_belief<T, N> belief;
  T log_density;
};

/// The steps of a model, with the bits of `filter` on `seq`, or to rounding where filter begins in another way because
/// the prior is vague beside R or R is singular:
///
///     kalscan::online_filter steps(model);
///     auto belief = steps.start();
///     for (std::int64_t t = 0;; ++t) {
///       belief = steps.predict(std::move(belief), t);
///       const auto [after, log_density] = steps.update(std::move(belief), next_reading(), t);
///       belief = after;
///     }
///
/// t is the index of the step: it picks the matrices that are given per step, and at t = 0 predict does nothing where
/// the prior is of the first state. Refers to the model, whose F, Q, B, D and u may be changed between calls, but not
/// their sizes, and H and R not at all. With fixed sizes nothing is allocated. Throws std::invalid_argument where
/// model, belief, data and t do not fit, filter_error (with series 0) where a step cannot be computed; then nothing has
/// changed.
template <class T, int N, int M>
class online_filter {
 public:
  using belief = online_belief<T, N>;

  explicit online_filter(const kalman_model<T, N, M>& model) : step_(checked(model)) {}
  explicit online_filter(const kalman_model<T, N, M>&&) = delete;  // would not live long enough

  /// The prior, which must be proper: under a diffuse one `filter` the first data, and go on from after(result).
  [[nodiscard]] belief start() const {
    const auto& prior = step_.model.prior;
    if (prior.has_diffuse()) {
      const detail::diffuse_directions<T> x(prior);
      require_proper("the prior", (x.directions * x.directions.transpose()).eval());
    }
    return {prior.mean, prior.covariance, step_.rounding_of(prior)};
  }

  /// The belief after the last step of a result, which must be proper. The next step is t = its length.
  [[nodiscard]] belief after(const filter_result<T, N, M>& result) const {
    if (result.covariance.empty()) detail::bad_model("the filter result is empty: it has no last belief");
    const Eigen::Index last = result.mean.cols() - 1;
    if (std::ssize(result.diffuse) > last) require_proper("the last belief", result.diffuse.back());
    belief x{result.mean.col(last), result.covariance.back()};
    if (!result.rounding.empty()) x.rounding = result.rounding.back();
    return x;
  }

  /// x_t given y_0 ... y_(t-1), from the belief of x_(t-1).
  [[nodiscard]] belief predict(belief x, std::int64_t t) const {
    require_belief(x);
    const auto& model = step_.model;
    if (t == 0 && !model.prior.before_first_transition) return x;
    require_step("F", model.F, t);
    require_step("Q", model.Q, t);
    if (!model.B.empty()) require_input("B", model.B, t);
    complete(x);
    step_.predict(t, x.mean, x.covariance, x.rounding);
    if (!x.mean.allFinite() || !x.covariance.allFinite()) throw filter_error(0, t, "the prediction is not finite");
    return x;
  }

  /// x_t given y_0 ... y_t, from the prediction of x_t. NaN marks a missing component of y.
  [[nodiscard]] online_update<T, N> update(belief x, const Eigen::Vector<T, M>& y, std::int64_t t) const {
    require_belief(x);
    const auto& model = step_.model;
    if (y.size() != model.observed())
      detail::bad_model("y has size " + std::to_string(y.size()) + ", H has " + std::to_string(model.observed()) +
                        " rows");
    detail::require_no_infinity("y", y, t);
    require_step("H", model.H, t);
    require_step("R", model.R, t);
    if (!model.D.empty()) require_input("D", model.D, t);
    complete(x);
    const T log_density = step_.take(t, y, x.mean, x.covariance, x.rounding, 0);
    return {std::move(x), log_density};
  }

 private:
  static const kalman_model<T, N, M>& checked(const kalman_model<T, N, M>& model) {
    detail::check_model(model, detail::steps_at_least(0));
    return model;
  }

  template <class Diffuse>
  static void require_proper(const char* what, const Diffuse& diffuse) {
    for (Eigen::Index i = 0; i < diffuse.rows(); ++i) {
      if (!(diffuse(i, i) > 0)) continue;
      detail::bad_model(
          std::string(what) + " is improper, the variance of component " + std::to_string(i) +
          " is infinite: filter the data so far until the belief is proper, and go on from after(result)");
    }
  }

  void require_belief(const belief& x) const {
    const Eigen::Index n = step_.model.states();
    if (x.mean.size() == n && x.covariance.rows() == n && x.covariance.cols() == n) return;
    detail::bad_model("the belief's mean has size " + std::to_string(x.mean.size()) + " and its covariance is " +
                      detail::shape(x.covariance.rows(), x.covariance.cols()) + ", the model has " + std::to_string(n) +
                      " states");
  }

  template <class Matrices>
  static void require_step(const char* name, const Matrices& given, std::int64_t t) {
    if (t >= 0 && (given.constant() || t < given.size())) return;
    detail::bad_model(std::string(name) + " is not given for step " + std::to_string(t));
  }
  template <class Matrices>
  void require_input(const char* name, const Matrices& given, std::int64_t t) const {
    require_step(name, given, t);
    const auto& u = step_.model.u;
    if (t >= u.cols()) detail::bad_model("u is not given for step " + std::to_string(t));
    if (u.rows() != given[t].cols())
      detail::bad_model("u has " + std::to_string(u.rows()) + " rows, " + name + " has " +
                        std::to_string(given[t].cols()) + " columns");
  }

  /// A belief from elsewhere has the rounding of its own numbers.
  void complete(belief& x) const {
    if (step_.exact && (x.rounding.size() == 0 || x.rounding.isZero(0))) x.rounding = step_.rounding_of(x.covariance);
  }

  detail::filter_step<T, N, M> step_;
};

}  // namespace kalscan
