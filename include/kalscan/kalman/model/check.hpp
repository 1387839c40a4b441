// SPDX-License-Identifier: MIT
// Refuses what is no covariance or no number, by name and value.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <limits>
#include <stdexcept>
#include <string>

namespace kalscan::detail {

inline text_item::extent shape(Eigen::Index rows, Eigen::Index cols) { return {rows, cols}; }

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_model(const std::string& what) {
  throw std::invalid_argument("kalscan: " + what);
}
[[noreturn, gnu::noinline, gnu::cold]] inline void bad_model(const char* what) { bad_model(std::string(what)); }
[[noreturn, gnu::noinline, gnu::cold]] inline void bad_model(std::initializer_list<text_item> what) {
  bad_model(text(what));
}

/// Refuses rows that do not fit fixed ones of `To`: Eigen would convert them all the same. A vector may stand for one of
/// the other orientation.
template <class To, class Y>
void require_rows(const Y& y) {
  if constexpr (requires { Y::IsVectorAtCompileTime; }) {
    const auto fits = [](Eigen::Index rows, Eigen::Index cols) {
      return (To::RowsAtCompileTime == Eigen::Dynamic || rows == To::RowsAtCompileTime) &&
             (To::ColsAtCompileTime == Eigen::Dynamic || cols == To::ColsAtCompileTime);
    };
    const bool vectors = To::IsVectorAtCompileTime && Y::IsVectorAtCompileTime;
    if (fits(y.rows(), y.cols()) || (vectors && fits(y.cols(), y.rows()))) return;
    bad_model({"y is ", shape(y.rows(), y.cols()), ", but H has ", Eigen::Index{To::RowsAtCompileTime},
               " rows: give a column of so many for each step"});
  }
}
// What follows compiles once for each number type.

template <class T>
[[gnu::noinline, gnu::cold]] std::string entry_text(const dense_view<T>& x, Eigen::Index i, Eigen::Index j) {
  return text({"(", i, ", ", j, ") = ", static_cast<double>(x(i, j))});
}

template <class T>
void require_finite(const argument_name& name, const dense_view<T>& x) {
  for (Eigen::Index j = 0; j < x.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) {
      if (!std::isfinite(x(i, j))) bad_model({name, " is not finite: ", entry_text(x, i, j)});
    }
  }
}
template <class Matrix>
void require_finite(const argument_name& name, const Eigen::PlainObjectBase<Matrix>& x) {
  require_finite(name, dense_view<typename Matrix::Scalar>(x));
}

/// The rows of a matrix below each other, its columns aligned.
template <class T>
[[gnu::noinline, gnu::cold]] std::string rows_text(const dense_view<T>& x) {
  const auto number = [&](Eigen::Index i, Eigen::Index j) { return text({static_cast<double>(x(i, j))}); };
  std::size_t width = 0;
  for (Eigen::Index j = 0; j < x.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) width = (std::max)(width, number(i, j).size());
  }
  std::string all;
  for (Eigen::Index i = 0; i < x.rows; ++i) {
    for (Eigen::Index j = 0; j < x.cols; ++j) {
      const std::string own = number(i, j);
      all += j == 0 ? '\n' : ' ';
      all.append(width - own.size(), ' ');
      all += own;
    }
  }
  return all;
}

/// The observation of step t: NaN is a missing reading, infinity none.
template <class T>
void require_no_infinity(const argument_name& name, const dense_view<T>& y, std::int64_t t) {
  for (Eigen::Index i = 0; i < y.rows; ++i) {
    if (!std::isinf(y(i))) continue;
    bad_model({name, " is ", y(i) > 0 ? "" : "-", "infinite at component ", i, ", step ", t});
  }
}

/// Whether a matrix of its own type is positive semi-definite to a tolerance.
template <class T>
using semidefinite_test = bool (*)(const void* matrix, T tolerance);
template <class Matrix>
bool is_semidefinite(const void* matrix, typename Matrix::Scalar tolerance) {
  const auto& x = *static_cast<const Matrix*>(matrix);
  return root_semidefinite(x, tolerance, 4 * tolerance, x.diagonal()).ok;
}

/// Symmetric and positive semi-definite up to the rounding of a matrix that somebody computed: `x` is that `matrix`.
template <class T>
void require_covariance(const argument_name& name, const dense_view<T>& x, const void* matrix,
                        semidefinite_test<T> semidefinite) {
  const T tolerance = std::sqrt(std::numeric_limits<T>::epsilon()) / 16;
  for (Eigen::Index j = 0; j < x.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) {
      if (i == j && x(i, i) < 0) bad_model({name, " has a negative variance: ", entry_text(x, i, i)});
      if (std::abs(x(i, j) - x(j, i)) > tolerance * std::sqrt(std::abs(x(i, i))) * std::sqrt(std::abs(x(j, j)))) {
        bad_model({name, " is not symmetric: ", entry_text(x, i, j), ", ", entry_text(x, j, i)});
      }
    }
  }
  if (!semidefinite(matrix, tolerance)) bad_model({name, " is not positive semi-definite:", rows_text(x)});
}
template <class Matrix>
void require_covariance(const argument_name& name, const Eigen::PlainObjectBase<Matrix>& x) {
  require_covariance<typename Matrix::Scalar>(name, x, &x.derived(), is_semidefinite<Matrix>);
}

}  // namespace kalscan::detail
