// SPDX-License-Identifier: MIT
// The final belief of a filter as the prior of the data that follow.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
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

/// A root of the covariance after a beginning, of no more columns than states.
template <class T>
dense_matrix<T> root_after(const diffuse_history<T>& beginning) {
  const auto last = beginning.after(beginning.size() - 1);
  const dense_matrix<T> known = cleared_product(beginning.A, beginning.root), rest = root_of<T>(last.C);
  const Eigen::Index n = known.rows(), q = known.cols() + rest.cols();
  dense_matrix<T> all(n, q);
  all.leftCols(known.cols()) = known;
  all.rightCols(rest.cols()) = rest;
  if (q <= n) return all;
  dense_matrix<T> root = all.leftCols(n);
  for (Eigen::Index j = n; j < q; j += n) {
    dense_matrix<T> more = dense_matrix<T>::Zero(n, n);
    const Eigen::Index columns = (std::min)(n, q - j);
    more.leftCols(columns) = all.middleCols(j, columns);
    root = root_of_sum(root, more);
  }
  return root;
}

}  // namespace detail

/// The belief after the last step of `result`, as the prior of a model whose first step is the next one. With it, what
/// follows is filtered as one series would have been, and the log-likelihoods add up: to the rounding of the numbers in
/// `result`, and with the bits of the one series where the prior was proper and R is definite. An improper belief is
/// handed on with the directions that are still unknown; a covariance by its root where that is known. F, Q, H, R, B, D
/// and u of the steps that follow are `model.steps(length, ...)`. Throws std::invalid_argument where the result is
/// empty.
template <class T, int N, int M>
[[nodiscard]] gaussian_prior<T, N> prior_after(const filter_result<T, N, M>& result) {
  if (result.covariance.empty()) detail::bad_model("the filter result is empty: it has no last belief");
  const Eigen::Index last = result.mean.cols() - 1;
  const auto& beginning = result.beginning;
  auto prior = gaussian_prior<T, N>::before_first_step(result.mean.col(last), result.covariance.back());
  if (!result.rounding.empty()) prior.rounding = result.rounding.back();
  if (std::ssize(result.diffuse) == last + 1)
    prior.directions = detail::cleared_product(beginning.A, beginning.free);
  if (!result.covariance_root.empty()) {
    prior.root = result.covariance_root.back();
  } else if (beginning.size() == last + 1 && beginning.precise && beginning.kept) {
    prior.root = detail::root_after(beginning);
    if (beginning.rounding.size() > 0) prior.rounding = beginning.rounding;
  }
  return prior;
}

}  // namespace kalscan
