// SPDX-License-Identifier: MIT
// The Kalman filter one step at a time, for data that arrive.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <concepts>
#include <cstdint>
#include <kalscan/kalman/diffuse/vague.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/check_model.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/growth.hpp>
#include <kalscan/kalman/steps/square_root_sweep.hpp>
#include <kalscan/support/numbers.hpp>
#include <string>
#include <utility>

namespace kalscan {

/// A Gaussian N(mean, covariance) of n states, on its way from step to step. Where something is observed without noise,
/// or some combination of states has grown far beyond the variances that the series began with, it is carried by a root
/// of the covariance; in the first case with a bound on the errors of that. Whoever makes a belief may leave all of
/// these out.
template <class T, int N>
struct online_belief {
  Eigen::Vector<T, N> mean{};
  Eigen::Matrix<T, N, N> covariance{};
  Eigen::Matrix<T, N, N> rounding = detail::filled<Eigen::Matrix<T, N, N>>(T(0));
  Eigen::Matrix<T, N, N> root = detail::filled<Eigen::Matrix<T, N, N>>(T(0));
  Eigen::Vector<T, N> first_variances = detail::filled<Eigen::Vector<T, N>>(T(0));  // and the most that a step added
};

/// A belief after an observation, and the log-density of that given all before.
template <class T, int N>
struct online_update {
  online_belief<T, N> belief;
  T log_density;
};

/// The steps of a model, with the bits of `filter` on `seq`, or to rounding where filter begins in another way because
/// the prior is vague (see filter) or R is singular, or carries roots because some combination of states grows far
/// beyond the others: here they are carried from where that shows, and from the start where the prior, or the belief of
/// a result, is vague.
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

  explicit online_filter(const kalman_model<T, N, M>& model) : step_(checked(model)), root_steps_(model) {}
  explicit online_filter(const kalman_model<T, N, M>&&) = delete;  // would not live long enough

  /// The prior, which must be proper: under a diffuse one `filter` the first data, and go on from after(result).
  [[nodiscard]] belief start() const {
    const auto& prior = step_.model.prior;
    if (prior.has_diffuse()) {
      const detail::diffuse_directions<T> x{detail::prior_view<T>(prior)};
      require_proper("the prior", detail::outer_square<T>(x.directions));
    }
    belief x{prior.mean, prior.covariance};
    if (step_.noiseless) x.rounding = root_steps::rounding_of(prior).E;
    if (has_root(x) || is_vague(prior.covariance)) x.root = root_steps::root_of(prior);
    return x;
  }

  /// The belief after the last step of a result, which must be proper. The next step is t = its length.
  [[nodiscard]] belief after(const filter_result<T, N, M>& result) const {
    if (result.covariance.empty()) detail::bad_model("the filter result is empty: it has no last belief");
    const Eigen::Index last = result.mean.cols() - 1;
    if (std::ssize(result.diffuse) > last) require_proper("the last belief", result.diffuse.back());
    belief x{result.mean.col(last), result.covariance.back()};
    if (!result.rounding.empty()) x.rounding = result.rounding.back();
    if (!result.covariance_root.empty()) {
      x.root = result.covariance_root.back();
    } else if (result.beginning.size() == last + 1 && is_vague(x.covariance)) {
      x.root = root_steps::root_after(result.beginning);
      x.covariance = detail::times(x.root, x.root.transpose());
    }
    if (result.first_variances.size() > 0) x.first_variances = result.first_variances;
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
    if (has_root(x)) {
      predict_root(x, t);
    } else {
      step_.predict(t, x.mean, x.covariance);
      x.first_variances = x.first_variances.cwiseMax(model.Q[t].diagonal()).eval();
    }
    if (!detail::is_finite(x.mean) || !detail::is_finite(x.covariance)) {
      detail::fail_step(0, t, "the prediction is not finite");
    }
    return x;
  }

  /// x_t given y_0 ... y_t, from the prediction of x_t. NaN marks a missing component of y.
  template <class Y>
    requires std::convertible_to<const Y&, Eigen::Vector<T, M>>
  [[nodiscard]] online_update<T, N> update(belief x, const Y& y, std::int64_t t) const {
    detail::require_rows<Eigen::Vector<T, M>>(y);
    return update(std::move(x), Eigen::Vector<T, M>(y), t);
  }
  [[nodiscard]] online_update<T, N> update(belief x, const Eigen::Vector<T, M>& y, std::int64_t t) const {
    require_belief(x);
    const auto& model = step_.model;
    if (y.size() != model.observed())
      detail::bad_model({"y has size ", y.size(), ", H has ", model.observed(), " rows"});
    detail::require_no_infinity("y", detail::dense_view<T>(y), t);
    require_step("H", model.H, t);
    require_step("R", model.R, t);
    if (!model.D.empty()) require_input("D", model.D, t);
    complete(x);
    if (has_root(x)) {
      const T log_density = take_as_root(x, y, t);
      return {std::move(x), log_density};
    }
    belief after = x;
    bool told_sharply = false;
    T log_density = step_.take(t, y, after.mean, after.covariance, 0, told_sharply);
    if (told_sharply) {
      after = std::move(x);
      after.root = root_steps::root_of(after.covariance);
      log_density = take_as_root(after, y, t);
    }
    return {std::move(after), log_density};
  }

 private:
  using root_steps = detail::square_root_steps<T, N, M>;

  void predict_root(belief& x, std::int64_t t) const {
    const auto& model = step_.model;
    square_root_belief<T, N> carried{x.mean, x.root};
    const Eigen::Matrix<T, N, N> noise =
        root_steps::root_of(model.Q[t].template cast<typename root_steps::wide>()).template cast<T>();
    detail::predict<T, N>(carried, model.F[t], step_.transition_offset(t), noise);
    if (step_.noiseless) {
      detail::root_rounding<T, N> rounding{x.rounding};
      rounding.predict(model.F[t], x.root, carried.root, root_steps_.rounding_of_root(t));
      x.rounding = rounding.E;
    }
    write(carried, x);
  }

  T take_as_root(belief& x, const Eigen::Vector<T, M>& y, std::int64_t t) const {
    square_root_belief<T, N> carried{x.mean, x.root};
    detail::root_rounding<T, N> rounding{x.rounding};
    T log_density = 0;
    const char* wrong = root_steps_.take(t, y, carried, step_.noiseless ? &rounding : nullptr, log_density);
    if (wrong) detail::fail_step(0, t, wrong);
    detail::require_finite_belief("filtered", 0, t, carried.mean, carried.root);
    x.rounding = rounding.E;
    write(carried, x);
    return log_density;
  }

  static void write(const square_root_belief<T, N>& carried, belief& x) {
    x.mean = carried.mean;
    x.root = carried.root;
    x.covariance = detail::times(x.root, x.root.transpose());
  }

  bool has_root(const belief& x) const {
    return step_.noiseless || step_.sharp || (x.root.size() > 0 && !detail::is_zero(x.root));
  }
  bool is_vague(const Eigen::Matrix<T, N, N>& P) const {
    return detail::vague_states<T, N, M>(step_.model).is_vague(P);
  }
  static bool has_outgrown(const belief& x) {
    const Eigen::Vector<T, N> none = Eigen::Vector<T, N>::Zero(x.mean.size());
    return detail::outgrown(x.covariance, detail::growth_limit(x.first_variances, none));
  }

  static const kalman_model<T, N, M>& checked(const kalman_model<T, N, M>& model) {
    detail::check_model(model, detail::steps_at_least(0));
    return model;
  }

  template <class Diffuse>
  static void require_proper(const char* what, const Diffuse& diffuse) {
    for (Eigen::Index i = 0; i < diffuse.rows(); ++i) {
      if (!(diffuse(i, i) > 0)) continue;
      detail::bad_model(
          {what, " is improper, the variance of component ", i,
           " is infinite: filter the data so far until the belief is proper, and go on from after(result)"});
    }
  }

  void require_belief(const belief& x) const {
    const Eigen::Index n = step_.model.states();
    if (x.mean.size() == n && x.covariance.rows() == n && x.covariance.cols() == n) {
      for (Eigen::Index i = 0; i < n; ++i) {
        if (x.covariance(i, i) >= 0 || !std::isfinite(x.covariance(i, i))) continue;
        detail::bad_model({"the belief's variance of component ", i, " is ", static_cast<double>(x.covariance(i, i))});
      }
      return;
    }
    detail::bad_model({"the belief's mean has size ", x.mean.size(), " and its covariance is ",
                       detail::shape(x.covariance.rows(), x.covariance.cols()), ", the model has ", n, " states"});
  }

  template <class Matrices>
  static void require_step(const char* name, const Matrices& given, std::int64_t t) {
    if (t >= 0 && (given.constant() || t < given.size())) return;
    detail::bad_model({name, " is not given for step ", t});
  }
  template <class Matrices>
  void require_input(const char* name, const Matrices& given, std::int64_t t) const {
    require_step(name, given, t);
    const auto& u = step_.model.u;
    if (t >= u.cols()) detail::bad_model({"u is not given for step ", t});
    if (u.rows() != given[t].cols())
      detail::bad_model({"u has ", u.rows(), " rows, ", name, " has ", given[t].cols(), " columns"});
  }

  /// A belief from elsewhere has the rounding of its own numbers.
  void complete(belief& x) const {
    const bool known = x.rounding.size() > 0 && !detail::is_zero(x.rounding);
    if (step_.noiseless && !known) x.rounding = root_steps::rounding_of(x.covariance);
    if (x.first_variances.size() == 0 || detail::is_zero(x.first_variances)) {
      x.first_variances = x.covariance.diagonal();
    }
    if (has_root(x) && x.root.size() > 0 && is_root(x.root, x.covariance)) return;
    if (step_.noiseless || step_.sharp || has_outgrown(x)) {
      x.root = root_steps::root_of(x.covariance);
    } else {
      x.root.setZero();
    }
  }

  static bool is_root(const Eigen::Matrix<T, N, N>& root, const Eigen::Matrix<T, N, N>& P) {
    const T rounding = detail::rounding_of_sum<T>(P.rows());
    const Eigen::Matrix<T, N, N> product = detail::times(root, root.transpose());
    for (Eigen::Index i = 0; i < P.rows(); ++i) {
      for (Eigen::Index j = 0; j < P.cols(); ++j) {
        if (!(std::abs(product(i, j) - P(i, j)) <= rounding * std::sqrt(P(i, i) * P(j, j)))) return false;
      }
    }
    return true;
  }

  detail::filter_step<T, N, M> step_;
  root_steps root_steps_;
};

}  // namespace kalscan
