// SPDX-License-Identifier: MIT
// A state given the next one and the data up to now, by roots: how a smoother goes back where differences of covariances
// cancel.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/dense.hpp>

namespace kalscan::detail {

/// x_t = mean + G (x_(t+1) - its prediction) + N(0, rest rest'), of x_t ~ N(mean, P) and x_(t+1) = F x_t + offset + N(0,
/// Q). What the prediction says of some components follows from others, to rounding, where F and Q are singular: columns
/// of G for these are zero.
template <class T>
struct state_given_next {
  dense_matrix<T> G{}, rest{};
};

/// With roots P = U U' and Q = V V', the same reflections turn the columns of [F U, V] into [S, 0], S a triangle, and those
/// of [U, 0] into [K, rest]: then G = K S^-1, and rest is a root of the covariance of x_t given x_(t+1). This is the gain
/// of Rauch, Tung and Striebel by roots. In small steps of time F is near I and Q near 0, and what is left is far below
/// what x_(t+1) tells: covariances would not keep it.
template <class T>
state_given_next<T> given_next(const dense_view<T>& P, const dense_view<T>& F, const dense_view<T>& Q) {
  const Eigen::Index n = P.rows;
  const dense_matrix<T> U = root_of<T>(P), V = root_of<T>(Q);
  const Eigen::Index p = U.cols(), rows = p + V.cols();
  dense_matrix<T> FU, next, now;  // the last two transposed
  multiply(FU, F, U);
  set_zero(next, rows, n);
  set_zero(now, rows, n);
  dense_vector<T> scale(n);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < p; ++j) next(j, i) = FU(i, j), now(j, i) = U(i, j);
    for (Eigen::Index j = p; j < rows; ++j) next(j, i) = V(i, j - p);
    T largest = 0;
    for (Eigen::Index j = 0; j < rows; ++j) largest = (std::max)(largest, std::abs(next(j, i)));
    scale(i) = largest > 0 ? 1 / largest : T(0);  // units of states do not matter
    for (Eigen::Index j = 0; j < rows; ++j) next(j, i) *= scale(i);
  }
  const auto order = triangulate(next, now, pivot_rounding(next));
  const auto told = static_cast<Eigen::Index>(order.size());
  state_given_next<T> x;
  set_zero(x.rest, n, rows - told);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = told; j < rows; ++j) x.rest(i, j - told) = now(j, i);
  }
  solve_triangle<T>(now, dense_view<T>(next), order, n);
  transpose<T>(x.G, now);
  for (Eigen::Index j = 0; j < n; ++j) {
    for (Eigen::Index i = 0; i < n; ++i) x.G(i, j) *= scale(j);
  }
  return x;
}

}  // namespace kalscan::detail
