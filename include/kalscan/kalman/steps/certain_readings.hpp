// SPDX-License-Identifier: MIT
// Whether a model has readings that are certain given the state before.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cstdint>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// Whether all that is read at each step has a variance given the state before, or says nothing of that. Then what is
/// read without noise never has to be told apart from what is known exactly, and later data have finite information
/// about a state. Q tells such a variance to the rounding of its own terms.
template <class T, int N, int M>
bool no_reading_is_certain(const kalman_model<T, N, M>& model) {
  const auto count = [](const auto& x) { return x.constant() ? std::int64_t(1) : std::int64_t(x.size()); };
  const std::int64_t last = (std::max)({count(model.F), count(model.Q), count(model.H), count(model.R)});
  const T rounding = 64 * static_cast<T>(model.states()) * std::numeric_limits<T>::epsilon();
  const Eigen::Vector<T, M> all = Eigen::Vector<T, M>::Zero(model.observed());
  for (std::int64_t t = 0; t < last; ++t) {
    const auto given = [t](const auto& x) { return x.constant() || t < x.size(); };
    if (!given(model.F) || !given(model.Q) || !given(model.H) || !given(model.R)) break;
    const Eigen::Matrix<T, N, N> Q = model.Q[t];
    Eigen::Matrix<T, N, N> U = root_semidefinite(Q, pivot_rounding(Q), T(1), Q.diagonal()).root;
    const Eigen::Vector<T, N> deviations = U.rowwise().norm();
    const noise_factor<T, M> noise(model.R[t], all);
    const Eigen::Matrix<T, M, N> H = independent_rows(noise, model.H[t]);
    for (Eigen::Index i = 0; i < noise.count; ++i) {
      const Eigen::Vector<T, N> h = H.row(i).transpose();
      const root_update<T, N> update(U, h, noise.d(i));
      const T terms = h.cwiseAbs().dot(deviations);
      const bool certain = equal(noise.d(i), 0) && times(U.transpose(), h).squaredNorm() <= rounding * terms * terms;
      if (certain && !times(model.F[t].transpose(), h).isZero(0)) return false;
      if (update.tells()) update.apply(U);
    }
  }
  return true;
}

}  // namespace kalscan::detail
