// SPDX-License-Identifier: MIT
// What the Kalman filter takes and returns besides the model.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <kalscan/kalman/model/filter_error.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace kalscan {

/// Observations of one series, m x length: column t is y_t. A NaN marks a component that is missing.
template <class T, int M>
using observations = Eigen::Matrix<T, M, Eigen::Dynamic>;

/// The observations with those components missing whose entry in `present` (m x length) is false.
template <class T, int M, class Mask>
[[nodiscard]] observations<T, M> masked(observations<T, M> y, const Eigen::DenseBase<Mask>& present) {
  if (present.rows() != y.rows() || present.cols() != y.cols()) {
    throw std::invalid_argument("kalscan: the mask is " + std::to_string(present.rows()) + " x " +
                                std::to_string(present.cols()) + ", y is " + std::to_string(y.rows()) + " x " +
                                std::to_string(y.cols()));
  }
  for (Eigen::Index t = 0; t < y.cols(); ++t) {
    for (Eigen::Index i = 0; i < y.rows(); ++i) {
      if (!present(i, t)) y(i, t) = std::numeric_limits<T>::quiet_NaN();
    }
  }
  return y;
}

/// What a filter returns besides the filtered beliefs.
struct filter_outputs {
  bool predictions = false;  ///< one-step predictions of the state
  bool innovations = false;  ///< the prediction of y_t, y_t minus that, and the covariance of both
};

namespace detail {

/// Throws filter_error unless a belief, which the step has just computed, has finite numbers. `P` is its covariance, or
/// a root of that.
template <class Mean, class Matrix>
void require_finite_belief(const char* which, std::int64_t series, std::int64_t t, const Mean& mean, const Matrix& P) {
  const auto finite = [](const auto& x) {
    return std::all_of(x.data(), x.data() + x.size(), [](auto value) { return std::isfinite(value); });
  };
  const char* wrong = !finite(mean) ? "mean" : !finite(P) ? "covariance" : nullptr;
  if (wrong) not_finite(series, t, which, wrong);
}

/// The components with a variance in the part of the covariance that grows without bound.
template <class Matrix>
std::vector<Eigen::Index> with_variance(const std::vector<Matrix>& diffuse, std::int64_t t) {
  std::vector<Eigen::Index> components;
  if (t >= std::ssize(diffuse)) return components;
  const Matrix& x = diffuse[static_cast<std::size_t>(t)];
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    if (x(i, i) > 0) components.push_back(i);
  }
  return components;
}

}  // namespace detail

/// n states, m observed components, one column or entry a step.
///
/// Under a prior that is diffuse in part, `diffuse` has an entry for each of the first steps whose filtered belief is
/// improper: there the belief is N(mean, covariance + kappa diffuse) with kappa growing without bound; `diffuse` holds
/// n x n matrices. The same of predictions; an innovation's covariance lacks the part kappa H diffuse H'. The mean is
/// the limit of that under variances kappa for the prior's diffuse components, whose own means are taken for zero: in
/// improper directions it is a convention. A step is improper when its state depends on what the data up to it do not
/// tell; a transition may forget that.
template <class T, int N, int M>
struct filter_result {
  Eigen::Matrix<T, N, Eigen::Dynamic> mean{};  ///< of x_t given y_0 ... y_t
  std::vector<Eigen::Matrix<T, N, N>> covariance{};
  std::vector<Eigen::Matrix<T, N, N>> covariance_root{};  ///< root root' = covariance; where roots are carried
  std::vector<Eigen::Matrix<T, N, N>> diffuse{};
  Eigen::Matrix<T, N, Eigen::Dynamic> predicted_mean{};  ///< of x_t given y_0 ... y_(t-1), on request
  std::vector<Eigen::Matrix<T, N, N>> predicted_covariance{};
  std::vector<Eigen::Matrix<T, N, N>> predicted_diffuse{};
  observations<T, M> predicted_y{};  ///< the mean of y_t given y_0 ... y_(t-1), on request; of missing components too
  /// y_t less that; NaN where y is missing.
  observations<T, M> innovation{};
  /// The covariance of the prediction of y_t, missing components included: H P H' + R with the predicted covariance P of x_t.
  std::vector<Eigen::Matrix<T, M, M>> innovation_covariance{};
  std::vector<T> log_likelihood_terms{};  ///< log p(y_t | y_0 ... y_(t-1)), 0 where nothing was observed
  T log_likelihood = 0;                 ///< their sum, in order of time
  observations<T, M> y{};   ///< the data, which the smoother needs again
  detail::diffuse_history<T> beginning{};
  Eigen::Vector<T, Eigen::Dynamic> first_variances{};     // of the prior, or where the beginning ends
  std::vector<Eigen::Matrix<T, N, N>> rounding{};  // bounds on those of roots, where R is singular at some step

  /// The components of x_t, by index, whose variance is infinite given y_0 ... y_t: none at proper steps.
  std::vector<Eigen::Index> improper_components(std::int64_t t) const { return detail::with_variance(diffuse, t); }
};

}  // namespace kalscan
