// SPDX-License-Identifier: MIT
// Whether a model fits itself and the steps of the data; compiled once for each number type.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/check.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <limits>
#include <stdexcept>
#include <string>

namespace kalscan::detail {

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
  /// The matrix of one step: its size as it was given, and its numbers if that size fits its type.
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
  argument_name name_of(const char* name, std::int64_t t) const { return {name, constant ? nullptr : " of step ", t}; }
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
  if (matrices.empty()) bad_model({name, " is not given"});
  if (!matrices.constant && !steps.contain(matrices.size)) {
    bad_model({name, " is given for ", matrices.size, " steps, ", steps.whose, " ", steps.least,
               ": give one a step (F_t, Q_t and B_t lead to step t), or one for all"});
  }
  for (std::int64_t t = 0; t < matrices.size; ++t) {
    const auto x = matrices[t];
    if (x.rows != rows || x.cols != cols) {
      const bool transposed = x.rows == cols && x.cols == rows;
      bad_model({matrices.name_of(name, t), " is ", shape(x.rows, x.cols), ", not ", shape(rows, cols),
                 transposed ? ": give its transpose" : ""});
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
    bad_model({name, " is given, u is not: give u, the ", matrices[0].cols,
               " inputs of each step as a column, or leave ", name, " out"});
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
  if (n == 0 || m == 0) bad_model({"the model has ", n, " states and ", m, " observed components"});
  check_inputs_given(model);
  require_shapes("F", model.F, n, n, steps);
  require_shapes("Q", model.Q, n, n, steps);
  require_shapes("H", model.H, m, n, steps);
  require_shapes("R", model.R, m, m, steps);
  if (!model.B.empty()) require_shapes("B", model.B, n, k, steps);
  if (!model.D.empty()) require_shapes("D", model.D, m, k, steps);
  if ((!model.B.empty() || !model.D.empty()) && !steps.contain(model.u.cols)) {
    bad_model({"u has ", model.u.cols, " columns, ", steps.whose, " ", steps.least, " steps: give one column a step"});
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
    bad_model({"the model of series ", series, ": ", what.substr(name.size())});
  }
}

}  // namespace kalscan::detail

namespace kalscan {

/// For constant_model, which finds it by argument-dependent lookup: it does not know Eigen.
template <class T, int N, int M>
void check_whole_model(const kalman_model<T, N, M>& model) {
  detail::check_model(model, detail::steps_at_least(0));
}

}  // namespace kalscan
