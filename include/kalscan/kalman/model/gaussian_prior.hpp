// SPDX-License-Identifier: MIT
// What is known of the state of a model before the data.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/model/check.hpp>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace kalscan {
namespace detail {

/// A matrix of fixed size that holds x everywhere, an empty one where a size is dynamic.
template <class Matrix>
Matrix filled(typename Matrix::Scalar x) {
  constexpr int rows = Matrix::RowsAtCompileTime, cols = Matrix::ColsAtCompileTime;
  return Matrix::Constant((std::max)(rows, 0), (std::max)(cols, 0), x);
}

/// What a matrix holds that nobody has given.
template <class Matrix>
Matrix not_given() {
  return filled<Matrix>(std::numeric_limits<typename Matrix::Scalar>::quiet_NaN());
}
template <class Matrix>
bool is_not_given(const Matrix& x) {
  return x.array().isNaN().all();  // an empty one too
}

}  // namespace detail

/// What is known of the state before the data. There is no default: a model whose prior was not given is refused.
template <class T, int N>
struct gaussian_prior {
  Eigen::Vector<T, N> mean = detail::not_given<Eigen::Vector<T, N>>();
  Eigen::Matrix<T, N, N> covariance =
      detail::not_given<Eigen::Matrix<T, N, N>>();  ///< symmetric positive semi-definite
  bool before_first_transition = false;             ///< else of the state at the first observation
  /// Which components are diffuse: the limit of a variance that grows without bound, not a large one. Empty means none.
  /// Their rows and columns of the covariance must be zero; their means do not matter.
  std::vector<bool> diffuse = {};
  /// The same of q directions that are not components, n x q: the state is mean + directions d + N(0, covariance),
  /// where the d are independent, of mean zero and a variance that grows without bound. What `prior_after` an improper
  /// belief is made of.
  Eigen::Matrix<T, N, Eigen::Dynamic> directions = {};
  /// A bound on the rounding errors of the covariance, as a quadratic form; empty or zero where it is as good as its
  /// numbers. Matters where something is observed without noise.
  Eigen::Matrix<T, N, N> rounding = detail::filled<Eigen::Matrix<T, N, N>>(T(0));
  /// Optional, n x r: a root of the covariance, root root' = covariance, known to more digits than its square has. What
  /// begins in square-root form begins with it.
  Eigen::Matrix<T, N, Eigen::Dynamic> root = {};

  /// The state at the first observation is N(mean, covariance): the convention of the state-space literature.
  template <class Mean, class Covariance>
  [[nodiscard]] static gaussian_prior of_first_state(const Eigen::MatrixBase<Mean>& mean,
                                                     const Eigen::MatrixBase<Covariance>& covariance) {
    require(mean, covariance);
    return {mean, covariance};
  }
  /// The state one transition before the first observation: what a final belief is for the data that follow.
  template <class Mean, class Covariance>
  [[nodiscard]] static gaussian_prior before_first_step(const Eigen::MatrixBase<Mean>& mean,
                                                        const Eigen::MatrixBase<Covariance>& covariance) {
    require(mean, covariance);
    return {mean, covariance, true};
  }
  /// Nothing is known of the n states at the first observation. With a dynamic N, n is to be given.
  [[nodiscard]] static gaussian_prior all_diffuse(Eigen::Index n = N) {
    if (n < 0) detail::bad_model("all_diffuse(n) needs the number of states where that is not fixed");
    return {Eigen::Vector<T, N>::Zero(n), Eigen::Matrix<T, N, N>::Zero(n, n), false,
            std::vector<bool>(static_cast<std::size_t>(n), true)};
  }

  [[nodiscard]] bool has_diffuse() const {
    return directions.cols() > 0 || std::find(diffuse.begin(), diffuse.end(), true) != diffuse.end();
  }

 private:
  template <class Mean, class Covariance>
  static void require(const Mean& mean, const Covariance& covariance) {
    const Eigen::Index n = N == Eigen::Dynamic ? mean.rows() : N;
    if (mean.rows() == n && mean.cols() == 1 && covariance.rows() == n && covariance.cols() == n) return;
    detail::bad_model("the prior's mean is " + detail::shape(mean.rows(), mean.cols()) + " and its covariance " +
                      detail::shape(covariance.rows(), covariance.cols()) + ", not " + detail::shape(n, 1) + " and " +
                      detail::shape(n, n));
  }
};

namespace detail {

/// A prior as mean + directions d + N(0, covariance), the diffuse components among the directions.
template <class T>
struct diffuse_directions {
  Eigen::Vector<T, Eigen::Dynamic> mean{};
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> directions{};

  template <int N>
  explicit diffuse_directions(const gaussian_prior<T, N>& prior) : mean(prior.mean) {
    const Eigen::Index q = prior.directions.cols();
    directions.setZero(mean.size(), q + std::count(prior.diffuse.begin(), prior.diffuse.end(), true));
    Eigen::Index j = 0;
    for (Eigen::Index i = 0; i < std::ssize(prior.diffuse); ++i) {
      if (!prior.diffuse[static_cast<std::size_t>(i)]) continue;
      mean(i) = 0;
      directions(i, j++) = 1;
    }
    if (q > 0) directions.rightCols(q) = prior.directions;
  }
};

template <class Root, class Covariance>
void check_root(const Root& root, const Covariance& covariance) {
  if (root.cols() == 0) return;
  const Eigen::Index n = covariance.rows();
  if (root.rows() != n)
    bad_model("the prior's root is " + shape(root.rows(), root.cols()) + ", its covariance " + shape(n, n));
  require_finite("the prior's root", root);
  using T = typename Covariance::Scalar;
  const T epsilon = std::numeric_limits<T>::epsilon(), largest = covariance.diagonal().maxCoeff();
  for (Eigen::Index i = 0; i < n; ++i) {
    const T square = root.row(i).squaredNorm();
    const T slack = std::sqrt(epsilon) * (square + covariance(i, i)) + epsilon * largest;
    if (std::abs(square - covariance(i, i)) <= slack) continue;
    std::ostringstream text;
    text << "the prior's root does not belong to its covariance: row " << i << " has the squared length " << square
         << ", the variance is " << covariance(i, i);
    bad_model(text.str());
  }
}

/// Throws std::invalid_argument unless this is the prior of n states.
template <class T, int N>
void check_prior(const gaussian_prior<T, N>& prior, Eigen::Index n) {
  const auto& [mean, covariance, before, diffuse, directions, rounding, root] = prior;
  if (is_not_given(mean) && is_not_given(covariance)) {
    bad_model(
        "the prior is not given: set the model's prior to gaussian_prior::of_first_state(mean, covariance), "
        "before_first_step(mean, covariance) or all_diffuse(), or to a stationary_prior(F, Q) of "
        "<kalscan/kalman/model/stationary_prior.hpp>");
  }
  const auto require_size = [&](const char* name, const auto& x) {
    if (x.rows() != n || x.cols() != n)
      bad_model("the prior's " + std::string(name) + " is " + shape(x.rows(), x.cols()) + ", not " + shape(n, n));
  };
  if (mean.size() != n)
    bad_model("the prior's mean has size " + std::to_string(mean.size()) + ", not " + std::to_string(n));
  require_size("covariance", covariance);
  require_finite("the prior's mean", mean);
  require_finite("the prior's covariance", covariance);
  require_covariance("the prior's covariance", covariance);
  if (!diffuse.empty() && std::ssize(diffuse) != n)
    bad_model("the prior's diffuse has size " + std::to_string(diffuse.size()) + ", not " + std::to_string(n));
  for (std::size_t i = 0; i < diffuse.size(); ++i) {
    if (diffuse[i] && !covariance.row(static_cast<Eigen::Index>(i)).isZero(0))
      bad_model("the prior's component " + std::to_string(i) + " is diffuse, its row of the covariance is not zero");
  }
  if (directions.cols() > 0 && directions.rows() != n) {
    bad_model("the prior's directions are " + shape(directions.rows(), directions.cols()) + ": give one a column, of " +
              std::to_string(n) + " states");
  }
  require_finite("the prior's directions", directions);
  if (rounding.size() > 0) require_size("rounding", rounding);
  require_finite("the prior's rounding", rounding);
  check_root(root, covariance);
}

}  // namespace detail
}  // namespace kalscan
