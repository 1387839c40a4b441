// SPDX-License-Identifier: MIT
// The stationary distribution of a constant model, as its prior.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <limits>
#include <sstream>
#include <string>

namespace kalscan {
namespace detail {

[[noreturn]] inline void no_stationary_distribution(long double spectral_radius) {
  std::ostringstream text;
  text << "F has no stationary distribution: its spectral radius is about " << spectral_radius
       << ", not below 1: make the components that do not return to their mean diffuse";
  bad_model(text.str());
}

}  // namespace detail

/// The state at the first observation is N(m, P) with P = F P F' + Q and m = F m + offset, which transitions leave as
/// it is. F, Q: n x n, fixed or dynamic; `offset` is B u where that is constant, else left out. By the doubling
/// algorithm (Anderson and Moore, Optimal Filtering, 1979, section 6.7) in long double: relative errors are some
/// epsilon of that over 1 - (spectral radius of F), and those of T. Throws std::invalid_argument unless Q is a
/// covariance and the spectral radius is below 1 - 2e-10.
template <class F_, class Q_, class Offset>
[[nodiscard]] gaussian_prior<typename F_::Scalar, F_::RowsAtCompileTime> stationary_prior(
    const Eigen::MatrixBase<F_>& F, const Eigen::MatrixBase<Q_>& Q, const Eigen::MatrixBase<Offset>& offset) {
  using T = typename F_::Scalar;
  using prior = gaussian_prior<T, F_::RowsAtCompileTime>;
  using real = long double;
  using matrix = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic>;
  const Eigen::Index n = F.rows();
  const auto require_size = [&](const char* name, const auto& x, Eigen::Index rows, Eigen::Index cols) {
    if (x.rows() != rows || x.cols() != cols || rows == 0)
      detail::bad_model({name, " is ", detail::shape(x.rows(), x.cols()), ", not ", detail::shape(rows, cols)});
    detail::require_finite(name, Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>(x));
  };
  require_size("F", F, n, n);
  require_size("Q", Q, n, n);
  require_size("the offset", offset, n, 1);
  detail::require_covariance("Q", Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>(Q));

  // After k doublings A = F^(2^k), P is the sum of the first 2^k terms F^i Q F'^i, and m that of F^i offset.
  constexpr int most_doublings = 38;
  matrix A = F.template cast<real>(), P = Q.template cast<real>(), m = offset.template cast<real>();
  real power = 1, radius = 0;
  for (int k = 0;; ++k, power *= 2) {
    const real size = A.cwiseAbs().maxCoeff();
    if (!(size <= (std::numeric_limits<real>::max)())) detail::no_stationary_distribution(radius);
    radius = std::pow(size, 1 / power);  // in the limit
    const matrix more = A * P * A.transpose(), further = A * m;
    constexpr real rounding = std::numeric_limits<real>::epsilon() / 2;
    const bool settled = (more.diagonal().array() <= rounding * P.diagonal().array()).all();
    P += more;
    m += further;
    // A norm of A below 1 proves that its spectral radius is.
    if (settled && size * static_cast<real>(n) <= rounding) break;
    if (k == most_doublings) detail::no_stationary_distribution(radius);
    A = (A * A).eval();
  }
  detail::symmetrize(P);
  auto stationary = prior::of_first_state(m.template cast<T>(), P.template cast<T>());
  detail::require_finite("the stationary mean", stationary.mean);
  detail::require_finite("the stationary covariance", stationary.covariance);
  return stationary;
}

template <class F_, class Q_>
[[nodiscard]] gaussian_prior<typename F_::Scalar, F_::RowsAtCompileTime> stationary_prior(
    const Eigen::MatrixBase<F_>& F, const Eigen::MatrixBase<Q_>& Q) {
  return stationary_prior(F, Q, Eigen::Vector<typename F_::Scalar, F_::RowsAtCompileTime>::Zero(F.rows()));
}

}  // namespace kalscan
