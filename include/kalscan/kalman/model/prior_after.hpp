// SPDX-License-Identifier: MIT
// The final belief of a filter as the prior of the data that follow.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <limits>

namespace kalscan {
namespace detail {

/// x y, where sums that are no more than the rounding of their terms are zero.
template <class X, class Y>
product_t<X, Y> cleared_product(const Eigen::MatrixBase<X>& x, const Eigen::MatrixBase<Y>& y) {
  using T = typename X::Scalar;
  product_t<X, Y> product(x.rows(), y.cols());
  const T rounding = 8 * static_cast<T>(x.cols()) * std::numeric_limits<T>::epsilon();
  for (Eigen::Index j = 0; j < y.cols(); ++j) {
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      T sum = 0, terms = 0;
      for (Eigen::Index k = 0; k < x.cols(); ++k) {
        sum += x(i, k) * y(k, j);
        terms += std::abs(x(i, k) * y(k, j));
      }
      product(i, j) = std::abs(sum) > rounding * terms ? sum : T(0);
    }
  }
  return product;
}

}  // namespace detail

/// The belief after the last step of `result`, as the prior of a model whose first step is the next one. With it, what
/// follows is filtered as one series would have been, and the log-likelihoods add up: to the rounding of the numbers in
/// `result`, and with the bits of the one series where the prior was proper, R is
/// definite, and `result` is not of the square-root form, whose roots are factored anew. An improper belief is
/// handed on with the directions that are still unknown. F, Q, H, R, B, D and u of the steps that follow are
/// `model.steps(length, ...)`. Throws std::invalid_argument where the result is empty.
template <class T, int N, int M>
[[nodiscard]] gaussian_prior<T, N> prior_after(const filter_result<T, N, M>& result) {
  if (result.covariance.empty()) detail::bad_model("the filter result is empty: it has no last belief");
  const Eigen::Index last = result.mean.cols() - 1;
  auto prior = gaussian_prior<T, N>::before_first_step(result.mean.col(last), result.covariance.back());
  if (!result.rounding.empty()) prior.rounding = result.rounding.back();
  if (std::ssize(result.diffuse) == last + 1)
    prior.directions = detail::cleared_product(result.beginning.A, result.beginning.free);
  return prior;
}

}  // namespace kalscan
