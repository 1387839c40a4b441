// SPDX-License-Identifier: MIT
// A linear-Gaussian state-space model: its matrices, its prior, and the checks on both.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/detail/kalman_misuse.hpp>
#include <kalscan/detail/linalg.hpp>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

inline std::string shape(Eigen::Index rows, Eigen::Index cols) {
  return std::to_string(rows) + " x " + std::to_string(cols);
}

}  // namespace detail

/// A matrix of the model: one for all steps, or one a step.
template <class Matrix>
class per_step {
 public:
  per_step() = default;
  /// One of another size than a fixed one of the model is refused by the filter, which knows its name.
  template <class Derived>
  per_step(const Eigen::MatrixBase<Derived>& constant)
      : constant_(true), rows_(constant.rows()), cols_(constant.cols()) {
    if (fits()) {
      values_.push_back(Matrix(constant));
    } else {
      values_.emplace_back();
    }
  }
  per_step(std::vector<Matrix> values) : values_(std::move(values)), constant_(false) {}

  [[nodiscard]] bool constant() const { return constant_; }
  [[nodiscard]] bool empty() const { return values_.empty(); }
  [[nodiscard]] std::int64_t size() const { return std::ssize(values_); }
  const Matrix& operator[](std::int64_t t) const { return values_[constant_ ? 0 : static_cast<std::size_t>(t)]; }
  /// The size of matrix t as it was given.
  [[nodiscard]] Eigen::Index rows(std::int64_t t) const { return fits() ? (*this)[t].rows() : rows_; }
  [[nodiscard]] Eigen::Index cols(std::int64_t t) const { return fits() ? (*this)[t].cols() : cols_; }

 private:
  bool fits() const {
    return rows_ < 0 || ((Matrix::RowsAtCompileTime == Eigen::Dynamic || Matrix::RowsAtCompileTime == rows_) &&
                         (Matrix::ColsAtCompileTime == Eigen::Dynamic || Matrix::ColsAtCompileTime == cols_));
  }

  std::vector<Matrix> values_{};
  bool constant_ = true;
  Eigen::Index rows_ = -1, cols_ = -1;
};

/// What is known of the state before the data.
template <class T, int N>
struct gaussian_prior {
  Eigen::Vector<T, N> mean{};
  Eigen::Matrix<T, N, N> covariance{};   ///< symmetric positive semi-definite
  bool before_first_transition = false;  ///< else of the state at the first observation
  /// Which components are diffuse: the limit of a variance that grows without bound, not a large one. Empty means none.
  /// Their rows and columns of the covariance must be zero; their means do not matter.
  std::vector<bool> diffuse = {};

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
  /// Nothing is known of the n states at the first observation.
  [[nodiscard]] static gaussian_prior all_diffuse(Eigen::Index n = N) {
    return {Eigen::Vector<T, N>::Zero(n), Eigen::Matrix<T, N, N>::Zero(n, n), false,
            std::vector<bool>(static_cast<std::size_t>(n), true)};
  }

  [[nodiscard]] bool has_diffuse() const { return std::find(diffuse.begin(), diffuse.end(), true) != diffuse.end(); }

 private:
  template <class Mean, class Covariance>
  static void require(const Mean& mean, const Covariance& covariance) {
    const Eigen::Index n = N == Eigen::Dynamic ? mean.rows() : N;
    if (mean.rows() == n && mean.cols() == 1 && covariance.rows() == n && covariance.cols() == n) return;
    throw std::invalid_argument("kalscan: the prior's mean is " + detail::shape(mean.rows(), mean.cols()) +
                                " and its covariance " + detail::shape(covariance.rows(), covariance.cols()) +
                                ", not " + detail::shape(n, 1) + " and " + detail::shape(n, n));
  }
};

/// x_t = F_t x_(t-1) + B_t u_t + w_t, w_t ~ N(0, Q_t);   y_t = H_t x_t + D_t u_t + v_t, v_t ~ N(0, R_t).
///
/// n states, m observed components, k inputs; N and M may be Eigen::Dynamic. F, Q: n x n; H: m x n; R: m x m, of any
/// correlation; B: n x k; D: m x k; u: k x length. B, D and u are optional. Each of the matrices is constant or given
/// per step, for exactly as many steps as the longest series has (as u is); F_t, Q_t and B_t lead to step t, so that
/// those of step 0 matter only for a prior before the first step. Q and R may be singular.
template <class T, int N, int M>
struct kalman_model {
  per_step<Eigen::Matrix<T, N, N>> F{}, Q{};
  per_step<Eigen::Matrix<T, M, N>> H{};
  per_step<Eigen::Matrix<T, M, M>> R{};
  gaussian_prior<T, N> prior{};
  per_step<Eigen::Matrix<T, N, Eigen::Dynamic>> B = {};
  per_step<Eigen::Matrix<T, M, Eigen::Dynamic>> D = {};
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> u = {};

  [[nodiscard]] Eigen::Index states() const { return F[0].rows(); }
  [[nodiscard]] Eigen::Index observed() const { return H[0].rows(); }
};

namespace detail {

[[noreturn]] inline void bad_model(const std::string& what) { throw std::invalid_argument("kalscan: " + what); }

template <class Matrix>
void require_finite(const std::string& name, const Matrix& x) {
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      if (std::isfinite(x(i, j))) continue;
      std::ostringstream text;
      text << name << " is not finite: (" << i << ", " << j << ") = " << x(i, j);
      bad_model(text.str());
    }
  }
}

/// How many steps a model must be given for: those of the longest series. A part of the series that it was made for may
/// be shorter.
struct model_steps {
  std::int64_t least, most;
  bool contain(std::int64_t steps) const { return least <= steps && steps <= most; }
};
inline model_steps steps_of_data(std::int64_t longest) { return {longest, longest}; }
inline model_steps steps_at_least(std::int64_t longest) {
  return {longest, (std::numeric_limits<std::int64_t>::max)()};
}

template <class Matrix>
void require_shapes(const char* name, const per_step<Matrix>& matrices, Eigen::Index rows, Eigen::Index cols,
                    const model_steps& steps) {
  if (matrices.empty()) bad_model(std::string(name) + " is not given");
  if (!matrices.constant() && !steps.contain(matrices.size())) {
    bad_model(std::string(name) + " is given for " + std::to_string(matrices.size()) + " steps, the data have " +
              std::to_string(steps.least) + ": give one a step (F_t, Q_t and B_t lead to step t), or one for all");
  }
  for (std::int64_t t = 0; t < matrices.size(); ++t) {
    const auto& x = matrices[t];
    const std::string step = matrices.constant() ? "" : " of step " + std::to_string(t);
    if (matrices.rows(t) != rows || matrices.cols(t) != cols) {
      const bool transposed = matrices.rows(t) == cols && matrices.cols(t) == rows;
      bad_model(std::string(name) + step + " is " + shape(matrices.rows(t), matrices.cols(t)) + ", not " +
                shape(rows, cols) + (transposed ? ": give its transpose" : ""));
    }
    require_finite(name + step, x);
  }
}

/// Symmetric and positive semi-definite up to the rounding of a matrix that somebody computed.
template <class Matrix>
void require_covariance(const std::string& name, const Matrix& x) {
  using T = typename Matrix::Scalar;
  const T tolerance = std::sqrt(std::numeric_limits<T>::epsilon()) / 16;
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      const auto entry = [&](Eigen::Index a, Eigen::Index b) {
        std::ostringstream text;
        text << "(" << a << ", " << b << ") = " << x(a, b);
        return text.str();
      };
      if (i == j && x(i, i) < 0) bad_model(name + " has a negative variance: " + entry(i, i));
      if (std::abs(x(i, j) - x(j, i)) > tolerance * std::sqrt(std::abs(x(i, i))) * std::sqrt(std::abs(x(j, j)))) {
        bad_model(name + " is not symmetric: " + entry(i, j) + ", " + entry(j, i));
      }
    }
  }
  if (!root_semidefinite(x, tolerance, 4 * tolerance, x.diagonal()).ok) {
    std::ostringstream text;
    text << name << " is not positive semi-definite:\n" << x;
    bad_model(text.str());
  }
}

template <class Matrix>
void require_covariances(const char* name, const per_step<Matrix>& matrices) {
  for (std::int64_t t = 0; t < matrices.size(); ++t) {
    require_covariance(matrices.constant() ? name : name + (" of step " + std::to_string(t)), matrices[t]);
  }
}

/// The number of observed components that the model means, also where H is given transposed.
template <class T, int N, int M>
Eigen::Index meant_observed(const kalman_model<T, N, M>& model, Eigen::Index n) {
  if (M != Eigen::Dynamic) return M;
  const bool transposed = model.H.cols(0) != n && model.H.rows(0) == n;
  return transposed ? model.H.cols(0) : model.H.rows(0);
}

template <class T, int N, int M>
void check_inputs_given(const kalman_model<T, N, M>& model) {
  if (model.u.size() > 0 && model.B.empty() && model.D.empty())
    bad_model("u is given, B and D are not: give B (n x k) or D (m x k), or leave u out");
  const auto alone = [&](const char* name, const auto& matrices) {
    if (model.u.rows() > 0 || matrices.empty() || matrices.cols(0) == 0) return;
    bad_model(std::string(name) + " is given, u is not: give u, the " + std::to_string(matrices.cols(0)) +
              " inputs of each step as a column, or leave " + name + " out");
  };
  alone("B", model.B);
  alone("D", model.D);
}

/// Throws std::invalid_argument unless the model fits itself and the steps of the data.
template <class T, int N, int M>
void check_model(const kalman_model<T, N, M>& model, const model_steps& steps) {
  if (model.F.empty()) bad_model("F is not given");
  if (model.H.empty()) bad_model("H is not given");
  const Eigen::Index n = N == Eigen::Dynamic ? model.F.rows(0) : N, m = meant_observed(model, n), k = model.u.rows();
  if (n == 0 || m == 0)
    bad_model("the model has " + std::to_string(n) + " states and " + std::to_string(m) + " observed components");
  check_inputs_given(model);
  require_shapes("F", model.F, n, n, steps);
  require_shapes("Q", model.Q, n, n, steps);
  require_shapes("H", model.H, m, n, steps);
  require_shapes("R", model.R, m, m, steps);
  if (!model.B.empty()) require_shapes("B", model.B, n, k, steps);
  if (!model.D.empty()) require_shapes("D", model.D, m, k, steps);
  if ((!model.B.empty() || !model.D.empty()) && !steps.contain(model.u.cols())) {
    bad_model("u has " + std::to_string(model.u.cols()) + " columns, the data have " + std::to_string(steps.least) +
              " steps: give one column a step");
  }
  require_finite("u", model.u);
  require_covariances("Q", model.Q);
  require_covariances("R", model.R);
  const auto& [mean, covariance, before, diffuse] = model.prior;
  if (mean.size() != n) {
    bad_model("the prior's mean has size " + std::to_string(mean.size()) + ", not " + std::to_string(n));
  }
  if (covariance.rows() != n || covariance.cols() != n) {
    bad_model("the prior's covariance is " + shape(covariance.rows(), covariance.cols()) + ", not " + shape(n, n));
  }
  require_finite("the prior's mean", mean);
  require_finite("the prior's covariance", covariance);
  require_covariance("the prior's covariance", covariance);
  if (!diffuse.empty() && std::ssize(diffuse) != n) {
    bad_model("the prior's diffuse has size " + std::to_string(diffuse.size()) + ", not " + std::to_string(n));
  }
  for (std::size_t i = 0; i < diffuse.size(); ++i) {
    if (diffuse[i] && !covariance.row(static_cast<Eigen::Index>(i)).isZero(0)) {
      bad_model("the prior's component " + std::to_string(i) + " is diffuse, its row of the covariance is not zero");
    }
  }
}

}  // namespace detail
}  // namespace kalscan
