// SPDX-License-Identifier: MIT
// When a prior is so wide beside the readings that ordinary steps would lose digits.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <limits>
#include <utility>

namespace kalscan::detail {

/// How far a reading may deviate if the states have these variances: their deviations, each times its `precision`,
/// added.
template <class T, class Variance>
T reading_deviation(view_of<T> precision, Variance variance) {
  T sum = 0;
  for (Eigen::Index j = 0; j < precision.rows; ++j) sum += precision(j) * std::sqrt(variance(j));
  return sum;
}

/// Whether ordinary steps would lose digits at a state with these standard deviations: where a reading may be far more
/// precise than what is known of it before, a covariance is a difference of far larger ones. Where what comes new with
/// each step is as large, nothing is won by another beginning.
template <class T, int N, int M>
class vague_states {
 public:
  explicit vague_states(const kalman_model<T, N, M>& model) : precision_(Eigen::Vector<T, N>::Zero(model.states())) {
    const std::int64_t steps = (std::max)({steps_of(model.H), steps_of(model.R), steps_of(model.Q)});
    for (std::int64_t t = 0; t < steps; ++t) {
      const auto& H = model.H[t];
      for (Eigen::Index i = 0; i < H.rows(); ++i) {
        T deviation = std::sqrt(model.R[t](i, i));
        for (Eigen::Index j = 0; j < H.cols(); ++j) deviation += std::abs(H(i, j)) * std::sqrt(model.Q[t](j, j));
        for (Eigen::Index j = 0; j < H.cols() && deviation > 0; ++j)
          precision_(j) = (std::max)(precision_(j), std::abs(H(i, j)) / deviation);
      }
    }
  }
  explicit vague_states(Eigen::Vector<T, N> precision) : precision_(std::move(precision)) {}

  /// By state: the largest |h| of a reading of it, over the standard deviation that the reading's noise and the step's
  /// noise give that reading.
  const Eigen::Vector<T, N>& precision() const { return precision_; }
  /// How far a reading may deviate if the states have these variances, in units of the standard deviation that its own
  /// noise and the step's noise give it.
  template <class Variance>
  T deviation(Variance variance) const {
    return reading_deviation<T>(precision_, variance);
  }
  /// Whether a belief with this covariance is vague.
  template <class Covariance>
  bool is_vague(const Covariance& P) const {
    return deviation([&](Eigen::Index j) { return P(j, j); }) > much();
  }
  /// Above much() a prior is vague. A beginning goes on at least until what its unknowns add is below enough(): there
  /// further steps of it are cheap. Where roots follow it ends below enough_for_roots(): they lose the digits of a ratio
  /// of deviations, covariances those of its square. Behind a cut there a series of roots may begin so again.
  static T much() { return std::pow(std::numeric_limits<T>::epsilon(), T(-0.15)); }
  static T enough() { return std::pow(std::numeric_limits<T>::epsilon(), T(-0.1)); }
  static T enough_for_roots() { return std::pow(std::numeric_limits<T>::epsilon(), T(-0.25)); }

 private:
  template <class Matrix>
  static std::int64_t steps_of(const per_step<Matrix>& x) {
    return x.constant() ? 1 : x.size();
  }

  Eigen::Vector<T, N> precision_;
};

}  // namespace kalscan::detail
