// SPDX-License-Identifier: MIT
// What is known of the state of a model before the data.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
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
template <class T>
bool is_not_given(const dense_view<T>& x) {
  return std::all_of(x.data, x.data + x.rows * x.cols, [](T value) { return std::isnan(value); });  // an empty one too
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
  /// Optional, n x 4 q, what `prior_after` knows of the directions beyond their numbers. The first q columns are what they
  /// are more than these; each of three times q are a sample of the errors that rounded F and H may have brought them.
  Eigen::Matrix<T, N, Eigen::Dynamic> directions_rounding = {};
  /// Optional, n x (1 + r), what `prior_after` knows of mean and root beyond their numbers: what the mean is more, and
  /// then what each column of the root is more. The first steps under a diffuse or vague prior begin with it. Who clears
  /// the root clears this, too.
  Eigen::Matrix<T, N, Eigen::Dynamic> rest = {};

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
    detail::bad_model({"the prior's mean is ", detail::shape(mean.rows(), mean.cols()), " and its covariance ",
                       detail::shape(covariance.rows(), covariance.cols()), ", not ", detail::shape(n, 1), " and ",
                       detail::shape(n, n)});
  }
};

namespace detail {

/// The parts of a prior of any size.
template <class T>
struct prior_view {
  dense_view<T> mean, covariance, directions, rounding, root, directions_rounding, rest;
  const std::vector<bool>& diffuse;
  const void* covariance_matrix;
  semidefinite_test<T> semidefinite;

  template <int N>
  explicit prior_view(const gaussian_prior<T, N>& prior)
      : mean(prior.mean),
        covariance(prior.covariance),
        directions(prior.directions),
        rounding(prior.rounding),
        root(prior.root),
        directions_rounding(prior.directions_rounding),
        rest(prior.rest),
        diffuse(prior.diffuse),
        covariance_matrix(&prior.covariance),
        semidefinite(is_semidefinite<Eigen::Matrix<T, N, N>>) {}
};

/// A prior as mean + directions d + N(0, covariance), the diffuse components among the directions; their rounding as in
/// gaussian_prior.
template <class T>
struct diffuse_directions {
  dense_vector<T> mean;
  dense_matrix<T> directions{}, rounding{};

  explicit diffuse_directions(const prior_view<T>& prior) : mean(prior.mean) {
    const auto components = std::count(prior.diffuse.begin(), prior.diffuse.end(), true);
    set_zero(directions, mean.size(), components + prior.directions.cols);
    Eigen::Index j = 0;
    for (Eigen::Index i = 0; i < std::ssize(prior.diffuse); ++i) {
      if (!prior.diffuse[static_cast<std::size_t>(i)]) continue;
      mean(i) = 0;
      directions(i, j++) = 1;
    }
    const Eigen::Index given = mean.size() * prior.directions.cols, first = j * mean.size();
    std::copy_n(prior.directions.data, given, directions.data() + first);
    if (prior.directions_rounding.cols == 0) return;
    set_zero(rounding, mean.size(), 4 * directions.cols());
    for (Eigen::Index k = 0; k < 4; ++k)
      std::copy_n(prior.directions_rounding.data + k * given, given, rounding.data() + k * directions.size() + first);
  }
};

template <class T>
void check_root(const dense_view<T>& root, const dense_view<T>& covariance) {
  if (root.cols == 0) return;
  const Eigen::Index n = covariance.rows;
  if (root.rows != n)
    bad_model({"the prior's root is ", shape(root.rows, root.cols), ", its covariance ", shape(n, n)});
  require_finite("the prior's root", root);
  const T epsilon = std::numeric_limits<T>::epsilon();
  T largest = covariance(0, 0);
  for (Eigen::Index i = 1; i < n; ++i) largest = (std::max)(largest, covariance(i, i));
  for (Eigen::Index i = 0; i < n; ++i) {
    T square = 0;
    for (Eigen::Index j = 0; j < root.cols; ++j) square += root(i, j) * root(i, j);
    const T slack = std::sqrt(epsilon) * (square + covariance(i, i)) + epsilon * largest;
    if (std::abs(square - covariance(i, i)) <= slack) continue;
    bad_model({"the prior's root does not belong to its covariance: row ", i, " has the squared length ",
               static_cast<double>(square), ", the variance is ", static_cast<double>(covariance(i, i))});
  }
}

/// Throws std::invalid_argument unless this is the prior of n states.
template <class T>
void check_prior(const prior_view<T>& prior, Eigen::Index n) {
  if (is_not_given(prior.mean) && is_not_given(prior.covariance)) {
    bad_model(
        "the prior is not given: set the model's prior to gaussian_prior::of_first_state(mean, covariance), "
        "before_first_step(mean, covariance) or all_diffuse(), or to a stationary_prior(F, Q) of "
        "<kalscan/kalman/model/stationary_prior.hpp>");
  }
  const auto require_size = [&](const char* name, const dense_view<T>& x) {
    if (x.rows != n || x.cols != n)
      bad_model({"the prior's ", name, " is ", shape(x.rows, x.cols), ", not ", shape(n, n)});
  };
  if (prior.mean.rows != n) bad_model({"the prior's mean has size ", prior.mean.rows, ", not ", n});
  require_size("covariance", prior.covariance);
  require_finite("the prior's mean", prior.mean);
  require_finite("the prior's covariance", prior.covariance);
  require_covariance("the prior's covariance", prior.covariance, prior.covariance_matrix, prior.semidefinite);
  const auto& diffuse = prior.diffuse;
  if (!diffuse.empty() && std::ssize(diffuse) != n)
    bad_model({"the prior's diffuse has size ", diffuse.size(), ", not ", n});
  for (Eigen::Index i = 0; i < std::ssize(diffuse); ++i) {
    for (Eigen::Index j = 0; j < n && diffuse[static_cast<std::size_t>(i)]; ++j) {
      if (equal(prior.covariance(i, j), 0)) continue;
      bad_model({"the prior's component ", i, " is diffuse, its row of the covariance is not zero"});
    }
  }
  const auto& directions = prior.directions;
  if (directions.cols > 0 && directions.rows != n) {
    bad_model({"the prior's directions are ", shape(directions.rows, directions.cols), ": give one a column, of ", n,
               " states"});
  }
  require_finite("the prior's directions", directions);
  const auto& beyond = prior.directions_rounding;
  if (beyond.cols > 0 && (beyond.rows != n || beyond.cols != 4 * directions.cols)) {
    bad_model({"the prior's directions_rounding is ", shape(beyond.rows, beyond.cols), ", not ",
               shape(n, 4 * directions.cols)});
  }
  require_finite("the prior's directions_rounding", beyond);
  if (prior.rounding.rows > 0) require_size("rounding", prior.rounding);
  require_finite("the prior's rounding", prior.rounding);
  check_root(prior.root, prior.covariance);
  if (prior.rest.cols > 0 && (prior.rest.rows != n || prior.rest.cols != 1 + prior.root.cols)) {
    bad_model({"the prior's rest is ", shape(prior.rest.rows, prior.rest.cols), ", not ",
               shape(n, 1 + prior.root.cols), ": a column for the mean, and one for each of the root"});
  }
  require_finite("the prior's rest", prior.rest);
}

}  // namespace detail
}  // namespace kalscan
