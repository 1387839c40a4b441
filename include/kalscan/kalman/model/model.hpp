// SPDX-License-Identifier: MIT
// A linear-Gaussian state-space model.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/misuse.hpp>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {

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
      values_.emplace_back().setConstant(std::numeric_limits<typename Matrix::Scalar>::quiet_NaN());
    }
  }
  template <class Number>
    requires std::is_arithmetic_v<Number>
  per_step(Number) {
    static_assert(sizeof(Number) == 0,
                  "kalscan: F, Q, H, R, B and D are matrices, of 1 x 1 too: give Eigen::Matrix<T, 1, 1>(x) or "
                  "Eigen::MatrixXd::Constant(1, 1, x) in place of the number x");
  }
  per_step(std::vector<Matrix> values) : values_(std::move(values)), constant_(false) {}

  [[nodiscard]] bool constant() const { return constant_; }
  [[nodiscard]] bool empty() const { return values_.empty(); }
  [[nodiscard]] std::int64_t size() const { return std::ssize(values_); }
  const Matrix& operator[](std::int64_t t) const { return values_[constant_ ? 0 : static_cast<std::size_t>(t)]; }
  /// The size of matrix t as it was given.
  [[nodiscard]] Eigen::Index rows(std::int64_t t) const { return fits() ? (*this)[t].rows() : rows_; }
  [[nodiscard]] Eigen::Index cols(std::int64_t t) const { return fits() ? (*this)[t].cols() : cols_; }
  /// The matrices of the steps from `first` to before `last`.
  [[nodiscard]] per_step steps(std::int64_t first, std::int64_t last) const {
    if (constant_) return *this;
    return std::vector<Matrix>(values_.begin() + first, values_.begin() + last);
  }

 private:
  bool fits() const {
    return rows_ < 0 || ((Matrix::RowsAtCompileTime == Eigen::Dynamic || Matrix::RowsAtCompileTime == rows_) &&
                         (Matrix::ColsAtCompileTime == Eigen::Dynamic || Matrix::ColsAtCompileTime == cols_));
  }

  std::vector<Matrix> values_{};
  bool constant_ = true;
  Eigen::Index rows_ = -1, cols_ = -1;
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
  gaussian_prior<T, N> prior{};  ///< to be given
  per_step<Eigen::Matrix<T, N, Eigen::Dynamic>> B = {};
  per_step<Eigen::Matrix<T, M, Eigen::Dynamic>> D = {};
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> u = {};

  /// n and m. Throws std::invalid_argument where F, or H, is not given.
  [[nodiscard]] Eigen::Index states() const { return rows_of("F", F); }
  [[nodiscard]] Eigen::Index observed() const { return rows_of("H", H); }

  /// The model of the steps from `first` to before `last` alone, with the same prior: where all matrices are constant,
  /// the same model. Throws std::invalid_argument where it does not have these steps.
  [[nodiscard]] kalman_model steps(std::int64_t first, std::int64_t last) const {
    const auto require = [&](const char* name, std::int64_t given) {
      if (0 <= first && first <= last && last <= given) return;
      detail::bad_model({"steps ", first, " to ", last, " are not in ", name, ", which is given for ", given});
    };
    if (first < 0 || last < first) detail::bad_model({"steps ", first, " to ", last, " are no steps"});
    const auto part = [&](const char* name, const auto& matrices) {
      if (!matrices.constant()) require(name, matrices.size());
      return matrices.steps(first, last);
    };
    kalman_model x{part("F", F), part("Q", Q), part("H", H), part("R", R), prior, part("B", B), part("D", D), u};
    if (u.cols() == 0) return x;
    require("u", u.cols());
    x.u = u.middleCols(first, last - first);
    return x;
  }

 private:
  template <class Matrices>
  static Eigen::Index rows_of(const char* name, const Matrices& matrices) {
    if (matrices.empty()) detail::bad_model({name, " is not given"});
    return matrices[0].rows();
  }
};

namespace detail {

/// One model for all series, or one for each. Models may hold a matrix a step, and are not copied.
template <class T, int N, int M>
using model_list = std::vector<const kalman_model<T, N, M>*>;
template <class T, int N, int M>
model_list<T, N, M> list_of(std::span<const kalman_model<T, N, M>> models) {
  model_list<T, N, M> list(models.size());
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = &models[i];
  return list;
}

/// Whether a transition leads to step t.
template <class T, int N, int M>
bool predicts(const kalman_model<T, N, M>& model, std::int64_t t) {
  return t > 0 || model.prior.before_first_transition;
}

}  // namespace detail
}  // namespace kalscan
