// SPDX-License-Identifier: MIT
// The smoothing operator: what later data say of an earlier state, composed.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// What a stretch of data adds to a filtered belief N(m, P) of the state before it: N(m + P r, P - P N P). Where later
/// data say r' and N' of the state after the stretch, together they say L' r' + r and L' N' L + N. L, N: n x n, N
/// symmetric positive semi-definite; r: n. States may be Eigen::Dynamic.
template <class T, int States>
struct smoothing_element {
  Eigen::Matrix<T, States, States> L;
  Eigen::Vector<T, States> r;
  Eigen::Matrix<T, States, States> N;
};

/// The backward recursion of Bryson and Frazier (1963) and de Jong (Biometrika 76, 1989), which inverts no covariance.
/// Operands in order of time; a smoother is a suffix scan. Associative up to rounding. Fixed sizes run on host and
/// device and allocate nothing.
template <class T, int States>
struct smoothing_monoid {
  using element = smoothing_element<T, States>;
  using matrix = Eigen::Matrix<T, States, States>;
  using vector = Eigen::Vector<T, States>;

  Eigen::Index n = States;  ///< the number of states; to be given when States is Eigen::Dynamic

  KALSCAN_HD element identity() const { return {matrix::Identity(n, n), vector::Zero(n), matrix::Zero(n, n)}; }

  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    using detail::times;
    const matrix back = earlier.L.transpose();
    element x{times(later.L, earlier.L), detail::sum(times(back, later.r), earlier.r),
              detail::sum(detail::congruence(back, later.N), earlier.N)};
    detail::symmetrize(x.N);
    return x;
  }
};

}  // namespace kalscan
