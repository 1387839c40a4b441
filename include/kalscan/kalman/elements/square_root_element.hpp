// SPDX-License-Identifier: MIT
// The Kalman combine operator with a matrix state in square-root form: no covariance and no information matrix is
// formed.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/monoid.hpp>

namespace kalscan {

/// A stretch of time of a linear-Gaussian model with n states: x_out | x_in ~ N(A x_in + b, U U'), and the likelihood
/// of the stretch's data as a function of x_in, exp(-|Z'x_in - w|^2 / 2) up to a constant. A, U, Z: n x n, Z lower
/// triangular; b, w: n. In the terms of matrix_filtering_element C = U U', J = Z Z', eta = Z w. N may be
/// Eigen::Dynamic.
template <class T, int N>
struct square_root_element {
  Eigen::Matrix<T, N, N> A;
  Eigen::Vector<T, N> b;
  Eigen::Matrix<T, N, N> U, Z;
  Eigen::Vector<T, N> w;
};

/// A Gaussian N(mean, root root') of n states.
template <class T, int N>
struct square_root_belief {
  Eigen::Vector<T, N> mean{};
  Eigen::Matrix<T, N, N> root{};
};

namespace detail {

template <class T, int N>
square_root_element<T, N> no_steps(Eigen::Index n) {
  using matrix = Eigen::Matrix<T, N, N>;
  using vector = Eigen::Vector<T, N>;
  return {matrix::Identity(n, n), vector::Zero(n), matrix::Zero(n, n), matrix::Zero(n, n), vector::Zero(n)};
}

/// A transition x' = F x + offset + root N(0, I) after what x holds.
template <class T, int N>
void predict(square_root_belief<T, N>& x, const Eigen::Matrix<T, N, N>& F, const Eigen::Vector<T, N>& offset,
             const Eigen::Matrix<T, N, N>& root) {
  x.mean = sum(times(F, x.mean), offset);
  x.root = root_of_sum(times(F, x.root), root);
}
template <class T, int N>
void predict(square_root_element<T, N>& x, const Eigen::Matrix<T, N, N>& F, const Eigen::Vector<T, N>& offset,
             const Eigen::Matrix<T, N, N>& root) {
  x.A = times(F, x.A);
  x.b = sum(times(F, x.b), offset);
  x.U = root_of_sum(times(F, x.U), root);
}

/// An observation y = h'x + N(0, d) of what x leads to. For an element, `tell(row, value)` gets what it tells of the state
/// before: row'x = value + N(0, 1). Without `tell` that is added to the element's own Z and w.
template <class T, int N>
void observe(square_root_belief<T, N>& x, const Eigen::Vector<T, N>& h, T d, T y) {
  const root_update<T, N> update(x.root, h, d);
  if (!update.tells()) return;
  x.mean += (y - h.dot(x.mean)) * update.gain();
  update.apply(x.root);
}
template <class T, int N, class Tell>
void observe(square_root_element<T, N>& x, const Eigen::Vector<T, N>& h, T d, T y, Tell tell) {
  const root_update<T, N> update(x.U, h, d);
  if (!update.tells()) return;
  const Eigen::Vector<T, N> row = times(transposed(x.A), h);
  const T v = y - h.dot(x.b), deviation = std::sqrt(update.s);
  tell(Eigen::Vector<T, N>(row / deviation), v / deviation);
  const Eigen::Vector<T, N> gain = update.gain();
  x.A -= times(gain, transposed(row));
  x.b += v * gain;
  update.apply(x.U);
}

template <class T, int N>
void observe(square_root_element<T, N>& x, const Eigen::Vector<T, N>& h, T d, T y) {
  observe<T, N>(x, h, d, y, [&x](const Eigen::Vector<T, N>& row, T value) {
    add_equation<Eigen::Matrix<T, N, N>, Eigen::Vector<T, N>>(x.Z, x.w, row, value);
  });
}

/// The likelihood |Z'x - w|^2 of what comes later: n observations with noise of variance one.
template <class State, class T, int N, class... Tell>
void observe_likelihood(State& x, const Eigen::Matrix<T, N, N>& Z, const Eigen::Vector<T, N>& w, Tell... tell) {
  for (Eigen::Index i = 0; i < w.size(); ++i) {
    const Eigen::Vector<T, N> z = column(Z, i);
    if (!is_zero(z)) observe<T, N>(x, z, T(1), w(i), tell...);
  }
}

}  // namespace detail

/// The operator of matrix_filtering_monoid on square-root elements (Yaghoobi et al. 2022, arXiv 2207.00426). The later
/// likelihood is taken as n scalar observations of the earlier stretch's end. `earlier` acts first; both covariances
/// may be singular. Associative up to rounding and up to the choice of roots. Fixed sizes allocate nothing. Host only.
template <class T, int N>
struct square_root_monoid {
  using element = square_root_element<T, N>;

  Eigen::Index n = N;  ///< the number of states; to be given when N is Eigen::Dynamic

  element identity() const { return detail::no_steps<T, N>(n); }

  element operator()(const element& earlier, const element& later) const {
    element x = earlier;
    detail::observe_likelihood<element, T, N>(x, later.Z, later.w);
    detail::predict<T, N>(x, later.A, later.b, later.U);
    return x;
  }
};

/// The belief after the stretch, from the one before it; either covariance may be singular.
template <class T, int N>
square_root_belief<T, N> act(const square_root_element<T, N>& x, square_root_belief<T, N> belief) {
  detail::observe_likelihood<square_root_belief<T, N>, T, N>(belief, x.Z, x.w);
  detail::predict<T, N>(belief, x.A, x.b, x.U);
  return belief;
}

}  // namespace kalscan
