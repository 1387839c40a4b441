// SPDX-License-Identifier: MIT
// The information-form Kalman combine operator with a matrix state.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <kalscan/detail/config.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/filtering_element.hpp>
#include <kalscan/monoid.hpp>

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

/// Särkkä & García-Fernández 2021 (arXiv 1905.13002), Lemma 8, through a root C1 = L L' and the Cholesky factor
/// I + L' J2 L = K K'. `earlier` acts first; C1 may be singular. Associative up to rounding. One state is left to the
/// scalar operator, which loses less. Fixed sizes run on host and device and allocate nothing.
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
    using detail::times;
    if (n == 1) return one_state(earlier, later);
    const auto& [A1, b1, C1, eta1, J1] = earlier;
    const auto& [A2, b2, C2, eta2, J2] = later;
    const matrix L = detail::root_semidefinite(C1, detail::pivot_rounding(C1), T(1), C1.diagonal()).root;
    const matrix J2L = times(J2, L);
    matrix K = times(L.transpose(), J2L);
    K.diagonal().array() += T(1);
    detail::factor_semidefinite(K);
    matrix V = L;
    detail::divide_by_transposed_factor(V, K);  // (I + C1 J2)^-1 C1 = V V'

    const vector e = eta2 - times(J2, b1);
    const vector Ve = times(V.transpose(), e);
    const matrix A2V = times(A2, V);
    const matrix J2A1 = times(J2, A1);
    const matrix VJA = times(V.transpose(), J2A1);
    const vector VVe = times(V, Ve);
    const vector inner = b1 + VVe;
    const vector outer = e - times(J2, VVe);
    element x{times(A2, A1) - times(A2V, VJA), times(A2, inner) + b2, times(A2V, A2V.transpose()) + C2,
              times(A1.transpose(), outer) + eta1, times(A1.transpose(), J2A1) - times(VJA.transpose(), VJA) + J1};
    detail::symmetrize(x.C);
    detail::symmetrize(x.J);
    return x;
  }

 private:
  KALSCAN_HD static element one_state(const element& earlier, const element& later) {
    const auto scalar = [](const element& x) {
      return filtering_element<T>{x.A(0, 0), x.b(0), x.C(0, 0), x.eta(0), x.J(0, 0)};
    };
    const filtering_element<T> x = filtering_monoid<T>{}(scalar(earlier), scalar(later));
    return {matrix::Constant(1, 1, x.A), vector::Constant(1, x.b), matrix::Constant(1, 1, x.C),
            vector::Constant(1, x.eta), matrix::Constant(1, 1, x.J)};
  }
};
static_assert(monoid<matrix_filtering_monoid<double, 2>>);

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
