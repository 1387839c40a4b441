// SPDX-License-Identifier: MIT
// A linear-Gaussian state-space model, and the checks on its matrices.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/misuse.hpp>
#include <limits>
#include <stdexcept>
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
      values_.emplace_back();
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

  [[nodiscard]] Eigen::Index states() const { return F[0].rows(); }
  [[nodiscard]] Eigen::Index observed() const { return H[0].rows(); }

  /// The model of the steps from `first` to before `last` alone, with the same prior: where all matrices are constant,
  /// the same model. Throws std::invalid_argument where it does not have these steps.
  [[nodiscard]] kalman_model steps(std::int64_t first, std::int64_t last) const {
    const auto require = [&](const char* name, std::int64_t given) {
      if (0 <= first && first <= last && last <= given) return;
      detail::bad_model(
          detail::text({"steps ", first, " to ", last, " are not in ", name, ", which is given for ", given}));
    };
    if (first < 0 || last < first) detail::bad_model(detail::text({"steps ", first, " to ", last, " are no steps"}));
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
};

namespace detail {

/// How many steps a model must be given for: those of the longest series. A part of the series that it was made for may
/// be shorter.
struct model_steps {
  std::int64_t least, most;
  const char* whose = "the data have";
  bool contain(std::int64_t steps) const { return least <= steps && steps <= most; }
};
inline model_steps steps_of_data(std::int64_t longest) { return {longest, longest}; }
inline model_steps steps_at_least(std::int64_t longest) {
  return {longest, (std::numeric_limits<std::int64_t>::max)()};
}

/// A matrix of the model, one for all steps or one a step, whatever its type.
template <class T>
struct steps_view {
  /// Of one step: its size as it was given, and what it holds where that is the size of its type.
  struct given {
    Eigen::Index rows, cols;
    dense_view<T> x;
    const void* matrix;
  };

  const void* matrices;
  given (*at)(const void* matrices, std::int64_t t);
  semidefinite_test<T> semidefinite;  // null where it need not be
  std::int64_t size;
  bool constant;

  template <class Matrix>
  explicit steps_view(const per_step<Matrix>& x, semidefinite_test<T> test = nullptr)
      : matrices(&x),
        at([](const void* all, std::int64_t t) -> given {
          const auto& steps = *static_cast<const per_step<Matrix>*>(all);
          return {steps.rows(t), steps.cols(t), steps[t], &steps[t]};
        }),
        semidefinite(test),
        size(x.size()),
        constant(x.constant()) {}

  given operator[](std::int64_t t) const { return at(matrices, t); }
  bool empty() const { return size == 0; }
  std::string name_of(const char* name, std::int64_t t) const {
    return constant ? name : name + (" of step " + std::to_string(t));
  }
};

/// A model of any sizes; those that are fixed, else Eigen::Dynamic.
template <class T>
struct model_view {
  steps_view<T> F, Q, H, R, B, D;
  dense_view<T> u;
  prior_view<T> prior;
  Eigen::Index fixed_states, fixed_observed;

  template <int N, int M>
  explicit model_view(const kalman_model<T, N, M>& model)
      : F(model.F),
        Q(model.Q, is_semidefinite<Eigen::Matrix<T, N, N>>),
        H(model.H),
        R(model.R, is_semidefinite<Eigen::Matrix<T, M, M>>),
        B(model.B),
        D(model.D),
        u(model.u),
        prior(model.prior),
        fixed_states(N),
        fixed_observed(M) {}
};

template <class T>
void require_shapes(const char* name, const steps_view<T>& matrices, Eigen::Index rows, Eigen::Index cols,
                    const model_steps& steps) {
  if (matrices.empty()) bad_model(text({name, " is not given"}));
  if (!matrices.constant && !steps.contain(matrices.size)) {
    bad_model(text({name, " is given for ", matrices.size, " steps, ", steps.whose, " ", steps.least,
                    ": give one a step (F_t, Q_t and B_t lead to step t), or one for all"}));
  }
  for (std::int64_t t = 0; t < matrices.size; ++t) {
    const auto x = matrices[t];
    if (x.rows != rows || x.cols != cols) {
      const bool transposed = x.rows == cols && x.cols == rows;
      bad_model(text({matrices.name_of(name, t), " is ", shape(x.rows, x.cols), ", not ", shape(rows, cols),
                      transposed ? ": give its transpose" : ""}));
    }
    require_finite(matrices.name_of(name, t), x.x);
  }
}

template <class T>
void require_covariances(const char* name, const steps_view<T>& matrices) {
  for (std::int64_t t = 0; t < matrices.size; ++t) {
    const auto x = matrices[t];
    require_covariance(matrices.name_of(name, t), x.x, x.matrix, matrices.semidefinite);
  }
}

/// The number of observed components that the model means, also where H is given transposed.
template <class T>
Eigen::Index meant_observed(const model_view<T>& model, Eigen::Index n) {
  if (model.fixed_observed != Eigen::Dynamic) return model.fixed_observed;
  const auto H = model.H[0];
  return H.cols != n && H.rows == n ? H.cols : H.rows;
}

template <class T>
void check_inputs_given(const model_view<T>& model) {
  if (model.u.rows * model.u.cols > 0 && model.B.empty() && model.D.empty())
    bad_model("u is given, B and D are not: give B (n x k) or D (m x k), or leave u out");
  const auto alone = [&](const char* name, const steps_view<T>& matrices) {
    if (model.u.rows > 0 || matrices.empty() || matrices[0].cols == 0) return;
    bad_model(text({name, " is given, u is not: give u, the ", matrices[0].cols,
                    " inputs of each step as a column, or leave ", name, " out"}));
  };
  alone("B", model.B);
  alone("D", model.D);
}

/// Throws std::invalid_argument unless the model fits itself and the steps of the data.
template <class T>
void check_model(const model_view<T>& model, const model_steps& steps) {
  if (model.F.empty()) bad_model("F is not given");
  if (model.H.empty()) bad_model("H is not given");
  const Eigen::Index n = model.fixed_states == Eigen::Dynamic ? model.F[0].rows : model.fixed_states;
  const Eigen::Index m = meant_observed(model, n), k = model.u.rows;
  if (n == 0 || m == 0) bad_model(text({"the model has ", n, " states and ", m, " observed components"}));
  check_inputs_given(model);
  require_shapes("F", model.F, n, n, steps);
  require_shapes("Q", model.Q, n, n, steps);
  require_shapes("H", model.H, m, n, steps);
  require_shapes("R", model.R, m, m, steps);
  if (!model.B.empty()) require_shapes("B", model.B, n, k, steps);
  if (!model.D.empty()) require_shapes("D", model.D, m, k, steps);
  if ((!model.B.empty() || !model.D.empty()) && !steps.contain(model.u.cols)) {
    bad_model(
        text({"u has ", model.u.cols, " columns, ", steps.whose, " ", steps.least, " steps: give one column a step"}));
  }
  require_finite("u", model.u);
  require_covariances("Q", model.Q);
  require_covariances("R", model.R);
  check_prior(model.prior, n);
}
template <class T, int N, int M>
void check_model(const kalman_model<T, N, M>& model, const model_steps& steps) {
  check_model(model_view<T>(model), steps);
}

/// The same of the model of one series among others.
template <class T>
void check_model_of(const model_view<T>& model, const model_steps& steps, std::size_t series) {
  try {
    check_model(model, steps);
  } catch (const std::invalid_argument& error) {
    const std::string what = error.what(), name = "kalscan: ";
    bad_model(text({"the model of series ", series, ": ", what.substr(name.size())}));
  }
}

/// Whether a transition leads to step t.
template <class T, int N, int M>
bool predicts(const kalman_model<T, N, M>& model, std::int64_t t) {
  return t > 0 || model.prior.before_first_transition;
}

}  // namespace detail
}  // namespace kalscan
