// SPDX-License-Identifier: MIT
// A linear-Gaussian state-space model: its matrices, its prior, and the checks on both.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <kalscan/detail/linalg.hpp>

namespace kalscan {

/// A matrix of the model: one for all steps, or one a step.
template <class Matrix>
class per_step {
 public:
  per_step() = default;
  template <class Derived>
  per_step(const Eigen::MatrixBase<Derived>& constant) : values_{Matrix(constant)}, constant_(true) {}
  per_step(std::vector<Matrix> values) : values_(std::move(values)), constant_(false) {}

  bool constant() const { return constant_; }
  bool empty() const { return values_.empty(); }
  std::int64_t size() const { return std::ssize(values_); }
  const Matrix& operator[](std::int64_t t) const { return values_[constant_ ? 0 : static_cast<std::size_t>(t)]; }

 private:
  std::vector<Matrix> values_;
  bool constant_ = true;
};

/// What is known of the state before the data.
template <class T, int N>
struct gaussian_prior {
  Eigen::Vector<T, N> mean;
  Eigen::Matrix<T, N, N> covariance;  ///< symmetric positive semi-definite
  bool before_first_transition = false;  ///< else of the state at the first observation
  /// Which components are diffuse: the limit of a variance that grows without bound, not a large one. Empty means none.
  /// Their rows and columns of the covariance must be zero; their means do not matter.
  std::vector<bool> diffuse = {};

  /// The state at the first observation is N(mean, covariance): the convention of the state-space literature.
  static gaussian_prior of_first_state(Eigen::Vector<T, N> mean, Eigen::Matrix<T, N, N> covariance) {
    return {std::move(mean), std::move(covariance)};
  }
  /// The state one transition before the first observation: what a final belief is for the data that follow.
  static gaussian_prior before_first_step(Eigen::Vector<T, N> mean, Eigen::Matrix<T, N, N> covariance) {
    return {std::move(mean), std::move(covariance), true};
  }
  /// Nothing is known of the n states at the first observation.
  static gaussian_prior all_diffuse(Eigen::Index n = N) {
    return {Eigen::Vector<T, N>::Zero(n), Eigen::Matrix<T, N, N>::Zero(n, n), false,
            std::vector<bool>(static_cast<std::size_t>(n), true)};
  }

  bool has_diffuse() const { return std::find(diffuse.begin(), diffuse.end(), true) != diffuse.end(); }
};

/// x_t = F_t x_(t-1) + B_t u_t + w_t, w_t ~ N(0, Q_t);   y_t = H_t x_t + D_t u_t + v_t, v_t ~ N(0, R_t).
///
/// n states, m observed components, k inputs; N and M may be Eigen::Dynamic. F, Q: n x n; H: m x n; R: m x m, of any
/// correlation; B: n x k; D: m x k; u: k x length. B, D and u are optional. Each of the matrices is constant or given
/// per step; F_t, Q_t and B_t lead to step t, so that those of step 0 matter only for a prior before the first step. Q and
/// R may be singular.
template <class T, int N, int M>
struct kalman_model {
  per_step<Eigen::Matrix<T, N, N>> F, Q;
  per_step<Eigen::Matrix<T, M, N>> H;
  per_step<Eigen::Matrix<T, M, M>> R;
  gaussian_prior<T, N> prior;
  per_step<Eigen::Matrix<T, N, Eigen::Dynamic>> B = {};
  per_step<Eigen::Matrix<T, M, Eigen::Dynamic>> D = {};
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> u = {};

  Eigen::Index states() const { return F[0].rows(); }
  Eigen::Index observed() const { return H[0].rows(); }
};

namespace detail {

[[noreturn]] inline void bad_model(const std::string& what) { throw std::invalid_argument("kalscan: " + what); }

inline std::string shape(Eigen::Index rows, Eigen::Index cols) {
  return std::to_string(rows) + " x " + std::to_string(cols);
}

template <class Matrix>
void require_shapes(const char* name, const per_step<Matrix>& matrices, Eigen::Index rows, Eigen::Index cols,
                    std::int64_t length) {
  if (matrices.empty()) bad_model(std::string(name) + " is not given");
  if (!matrices.constant() && matrices.size() < length) {
    bad_model(std::string(name) + " is given for " + std::to_string(matrices.size()) + " steps, the data have " +
              std::to_string(length));
  }
  for (std::int64_t t = 0; t < matrices.size(); ++t) {
    const auto& x = matrices[t];
    const std::string step = matrices.constant() ? "" : " of step " + std::to_string(t);
    if (x.rows() != rows || x.cols() != cols) {
      bad_model(std::string(name) + step + " is " + shape(x.rows(), x.cols()) + ", not " + shape(rows, cols));
    }
    if (!x.allFinite()) bad_model(std::string(name) + step + " has an entry that is not finite");
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
      if (std::abs(x(i, j) - x(j, i)) > tolerance * std::sqrt(std::abs(x(i, i) * x(j, j)))) {
        bad_model(name + " is not symmetric: " + entry(i, j) + ", " + entry(j, i));
      }
    }
  }
  Matrix root = x;
  if (!root_semidefinite(root, tolerance)) {
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

/// Throws std::invalid_argument unless the model fits itself and `length` steps of data.
template <class T, int N, int M>
void check_model(const kalman_model<T, N, M>& model, std::int64_t length) {
  if (model.F.empty()) bad_model("F is not given");
  if (model.H.empty()) bad_model("H is not given");
  const Eigen::Index n = model.states(), m = model.observed(), k = model.u.rows();
  require_shapes("F", model.F, n, n, length);
  require_shapes("Q", model.Q, n, n, length);
  require_shapes("H", model.H, m, n, length);
  require_shapes("R", model.R, m, m, length);
  if (!model.B.empty()) require_shapes("B", model.B, n, k, length);
  if (!model.D.empty()) require_shapes("D", model.D, m, k, length);
  if ((!model.B.empty() || !model.D.empty()) && model.u.cols() < length) {
    bad_model("u has " + std::to_string(model.u.cols()) + " columns, the data have " + std::to_string(length) + " steps");
  }
  if (!model.u.allFinite()) bad_model("u has an entry that is not finite");
  require_covariances("Q", model.Q);
  require_covariances("R", model.R);
  const auto& [mean, covariance, before, diffuse] = model.prior;
  if (mean.size() != n) {
    bad_model("the prior's mean has size " + std::to_string(mean.size()) + ", not " + std::to_string(n));
  }
  if (covariance.rows() != n || covariance.cols() != n) {
    bad_model("the prior's covariance is " + shape(covariance.rows(), covariance.cols()) + ", not " + shape(n, n));
  }
  if (!mean.allFinite() || !covariance.allFinite()) bad_model("the prior has an entry that is not finite");
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
