// SPDX-License-Identifier: MIT
// The information-form Kalman combine operator with a matrix state.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// A stretch of time of a linear-Gaussian model with n states: x_out | x_in ~ N(A x_in + b, C), and the likelihood of
/// the stretch's data as a function of x_in, in information form (eta, J). A, C, J: n x n; b, eta: n. C and J are
/// symmetric positive semi-definite. N may be Eigen::Dynamic.
template <class T, int N>
struct matrix_filtering_element {
  Eigen::Matrix<T, N, N> A;
  Eigen::Vector<T, N> b;
  Eigen::Matrix<T, N, N> C;
  Eigen::Vector<T, N> eta;
  Eigen::Matrix<T, N, N> J;
};

/// A Gaussian N(mean, covariance) of n states.
template <class T, int N>
struct matrix_belief {
  Eigen::Vector<T, N> mean;
  Eigen::Matrix<T, N, N> covariance;
};

namespace detail {

/// What a scalar observation h'x + N(0, d) of the state after the stretch, with innovation v of variance s, scale = 1 /
/// sqrt(s), and gain K, says of the state before it.
template <class T, int N>
KALSCAN_HD void extend_likelihood(matrix_filtering_element<T, N>& x, const Eigen::Vector<T, N>& h, T d, T s, T v,
                                  T scale, const Eigen::Vector<T, N>& K) {
  const Eigen::Vector<T, N> g = times(transposed(x.A), h);
  const Eigen::Vector<T, N> scaled = scale * g;
  for (Eigen::Index j = 0; j < g.size(); ++j) x.J.col(j) += scaled(j) * scaled;
  x.eta += (v * scale) * scaled;
  reduce_by_gain(x.A, h, d, s, K, g);
}

}  // namespace detail

/// Särkkä & García-Fernández 2021 (arXiv 1905.13002), Lemma 8. `earlier` acts first. The likelihood of the later
/// stretch, J2 = Z Z', is taken as observations Z'x of unit noise, one after the other: nothing is lost where C1 J2 is
/// huge, and both may be singular. Associative up to rounding. One state is left to the scalar operator, which loses
/// less. Fixed sizes run on host and device and allocate nothing.
template <class T, int N>
struct matrix_filtering_monoid {
  using element = matrix_filtering_element<T, N>;
  using matrix = Eigen::Matrix<T, N, N>;
  using vector = Eigen::Vector<T, N>;

  Eigen::Index n = N;  ///< the number of states; to be given when N is Eigen::Dynamic

  KALSCAN_HD element identity() const {
    return {matrix::Identity(n, n), vector::Zero(n), matrix::Zero(n, n), vector::Zero(n), matrix::Zero(n, n)};
  }

  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    if constexpr (N == 1) {
      return one_state(earlier, later);
    } else {
      return n == 1 ? one_state(earlier, later) : all_states(earlier, later);
    }
  }

 private:
  KALSCAN_HD static element all_states(const element& earlier, const element& later) {
    using detail::times;
    const Eigen::Index n = later.b.size();
    const auto root = detail::root_semidefinite(later.J, detail::pivot_rounding(later.J), T(1), later.J.diagonal());
    const auto& Z = root.root;
    vector w = vector::Zero(n);  // Z w = eta2: the values of the observations
    element x = earlier;
    for (Eigen::Index k = 0; k < root.rank; ++k) {
      const Eigen::Index pivot = root.pivot(k);
      T known = 0;
      for (Eigen::Index j = 0; j < k; ++j) known += Z(pivot, j) * w(j);
      w(k) = (later.eta(pivot) - known) / Z(pivot, k);
      const vector h = detail::column(Z, k), Ch = times(x.C, h);
      const T variance = h.dot(Ch), s = T(1) + (variance > 0 ? variance : T(0)), scale = 1 / std::sqrt(s);
      const vector q = scale * Ch, K = scale * q;
      const T v = w(k) - h.dot(x.b);
      detail::extend_likelihood(x, h, T(1), s, v, scale, K);
      x.b += v * K;
      detail::observe_scalar(x.C, h, T(1), s, q, K);
    }
    vector rest = later.eta;
    rest -= times(Z, w);  // outside the range of J: rounding if data made eta
    x.eta += times(detail::transposed(x.A), rest);
    x.b += times(x.C, rest);
    x.A = times(later.A, x.A);
    x.b = detail::sum(times(later.A, x.b), later.b);
    x.C = detail::sum(detail::congruence(later.A, x.C), later.C);
    detail::symmetrize(x.C);
    detail::symmetrize(x.J);
    return x;
  }

  KALSCAN_HD static element one_state(const element& earlier, const element& later) {
    const auto scalar = [](const element& x) {
      return filtering_element<T>{x.A(0, 0), x.b(0), x.C(0, 0), x.eta(0), x.J(0, 0)};
    };
    const filtering_element<T> x = filtering_monoid<T>{}(scalar(earlier), scalar(later));
    return {matrix::Constant(1, 1, x.A), vector::Constant(1, x.b), matrix::Constant(1, 1, x.C),
            vector::Constant(1, x.eta), matrix::Constant(1, 1, x.J)};
  }
};

/// The belief after the stretch, from the one before it; the covariance before may be singular.
template <class T, int N>
KALSCAN_HD matrix_belief<T, N> act(const matrix_filtering_element<T, N>& x, const matrix_belief<T, N>& before) {
  const matrix_filtering_monoid<T, N> combine{before.mean.size()};
  matrix_filtering_element<T, N> all = combine.identity();
  all.A.setZero();
  all.b = before.mean;
  all.C = before.covariance;
  all = combine(all, x);
  return {all.b, all.C};
}

}  // namespace kalscan
