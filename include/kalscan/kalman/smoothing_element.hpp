// SPDX-License-Identifier: MIT
// The smoothing operator: conditionals of earlier states given later ones, composed.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <kalscan/detail/config.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/monoid.hpp>

namespace kalscan {

/// x_earlier | x_later, data up to earlier ~ N(E x_later + g, L). E, L: n x n; g: n. N may be Eigen::Dynamic.
template <class T, int N>
struct smoothing_element {
  Eigen::Matrix<T, N, N> E;
  Eigen::Vector<T, N> g;
  Eigen::Matrix<T, N, N> L;
};

/// Särkkä & García-Fernández 2021 (arXiv 1905.13002), Lemma 10. Operands in order of time; a smoother is a suffix scan.
/// Associative up to rounding. Fixed sizes run on host and device and allocate nothing.
template <class T, int N>
struct smoothing_monoid {
  using element = smoothing_element<T, N>;
  using matrix = Eigen::Matrix<T, N, N>;
  using vector = Eigen::Vector<T, N>;

  Eigen::Index n = N;  ///< the number of states; to be given when N is Eigen::Dynamic

  KALSCAN_HD element identity() const { return {matrix::Identity(n, n), vector::Zero(n), matrix::Zero(n, n)}; }

  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    using detail::times;
    return {times(earlier.E, later.E), times(earlier.E, later.g) + earlier.g,
            detail::congruence(earlier.E, later.L) + earlier.L};
  }
};
static_assert(monoid<smoothing_monoid<double, 2>>);

}  // namespace kalscan
