// SPDX-License-Identifier: MIT
// Where a covariance loses the digits of some combination of states beside another that grows, as where no sensor reads
// what an unstable F makes larger at every step: roots, which do not, are carried there.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <limits>
#include <span>
#include <vector>

namespace kalscan::detail {

/// The variances with which a series begins: of its prior, or where its beginning ends.
template <class T, int N, int M>
Eigen::Vector<T, Eigen::Dynamic> first_variances(const gaussian_prior<T, N>& prior,
                                                 const filter_result<T, N, M>& result) {
  const std::int64_t done = (std::min)(result.beginning.size(), std::ssize(result.covariance));
  const auto& P = done > 0 ? result.covariance[static_cast<std::size_t>(done - 1)] : prior.covariance;
  Eigen::Vector<T, Eigen::Dynamic> variances(P.rows());
  for (Eigen::Index i = 0; i < P.rows(); ++i) variances(i) = P(i, i);
  return variances;
}

/// Variances beyond this are far more than the first ones and the most that a step adds. What begins with no variance
/// is not judged.
template <class T, int N, class First>
Eigen::Vector<T, N> growth_limit(const First& first, const Eigen::Vector<T, N>& noise) {
  const T much = std::pow(std::numeric_limits<T>::epsilon(), T(-0.33));
  Eigen::Vector<T, N> limit(noise.size());
  for (Eigen::Index i = 0; i < limit.size(); ++i) {
    limit(i) = much * (first(i) + noise(i));
    if (!(limit(i) > 0)) limit(i) = (std::numeric_limits<T>::max)();
  }
  return limit;
}

/// Whether some variance is beyond the limit, and some combination of states is known far better than these, so that
/// it has lost some digits, but not yet those that count.
template <class T, int N>
bool outgrown(const Eigen::Matrix<T, N, N>& P, const Eigen::Vector<T, N>& limit) {
  bool grown = false;
  for (Eigen::Index i = 0; i < P.rows(); ++i) grown = grown || P(i, i) > limit(i);
  if (!grown) return false;
  // Before it shows in float, fewer digits are left: there ordinary models would often be filtered twice.
  const T tolerance = sizeof(T) < sizeof(double) ? T(2e-3) : T(2e-5);
  Eigen::Index varying = 0;
  for (Eigen::Index i = 0; i < P.rows(); ++i) varying += P(i, i) > 0;
  return varying > root_semidefinite(P, tolerance, T(1), P.diagonal()).rank;
}

/// Of one series.
template <class T, int N>
struct growth_watch {
  Eigen::Vector<T, N> limit{};
  std::atomic<bool> outgrown = false;  // at some step
};

/// The most that a step of each model adds to each variance.
template <class T, int N, int M>
std::vector<Eigen::Vector<T, N>> largest_noise(std::span<const kalman_model<T, N, M>> models) {
  std::vector<Eigen::Vector<T, N>> noise;
  for (const auto& model : models) {
    noise.push_back(model.Q[0].diagonal());
    for (std::int64_t t = 1; t < model.Q.size(); ++t) {
      for (Eigen::Index i = 0; i < noise.back().size(); ++i) {
        noise.back()(i) = (std::max)(noise.back()(i), model.Q[t](i, i));
      }
    }
  }
  return noise;
}

/// Of series whose beginnings are done, with the noise of one model for all, or of one each.
template <class T, int N, int M>
std::vector<growth_watch<T, N>> growth_watches(const std::vector<Eigen::Vector<T, N>>& noise,
                                               const std::vector<filter_result<T, N, M>>& results) {
  std::vector<growth_watch<T, N>> watches(results.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    watches[i].limit = growth_limit<T, N>(results[i].first_variances, noise[noise.size() == 1 ? 0 : i]);
  }
  return watches;
}

}  // namespace kalscan::detail
