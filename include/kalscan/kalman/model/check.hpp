// SPDX-License-Identifier: MIT
// Refuses what is no covariance or no number, by name and value.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

namespace kalscan::detail {

[[gnu::noinline, gnu::cold]] inline std::string shape(Eigen::Index rows, Eigen::Index cols) {
  return text({rows, " x ", cols});
}

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_model(const std::string& what) {
  throw std::invalid_argument("kalscan: " + what);
}

// What follows compiles once for each number type.

template <class T>
void require_finite(const std::string& name, const dense_view<T>& x) {
  for (Eigen::Index j = 0; j < x.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) {
      if (std::isfinite(x(i, j))) continue;
      std::ostringstream text;
      text << name << " is not finite: (" << i << ", " << j << ") = " << x(i, j);
      bad_model(text.str());
    }
  }
}
template <class Matrix>
void require_finite(const std::string& name, const Eigen::PlainObjectBase<Matrix>& x) {
  require_finite(name, dense_view<typename Matrix::Scalar>(x));
}

/// The observation of step t: NaN is a missing reading, infinity none.
template <class T>
void require_no_infinity(const std::string& name, const dense_view<T>& y, std::int64_t t) {
  for (Eigen::Index i = 0; i < y.rows; ++i) {
    if (!std::isinf(y(i))) continue;
    bad_model(text({name, " is ", y(i) > 0 ? "" : "-", "infinite at component ", i, ", step ", t}));
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
void require_covariance(const std::string& name, const dense_view<T>& x, const void* matrix,
                        semidefinite_test<T> semidefinite) {
  const T tolerance = std::sqrt(std::numeric_limits<T>::epsilon()) / 16;
  for (Eigen::Index j = 0; j < x.cols; ++j) {
    for (Eigen::Index i = 0; i < x.rows; ++i) {
      const auto entry = [&](Eigen::Index a, Eigen::Index b) {
        std::ostringstream text;
        text << "(" << a << ", " << b << ") = " << x(a, b);
        return text.str();
      };
      if (i == j && x(i, i) < 0) bad_model(text({name, " has a negative variance: ", entry(i, i)}));
      if (std::abs(x(i, j) - x(j, i)) > tolerance * std::sqrt(std::abs(x(i, i))) * std::sqrt(std::abs(x(j, j)))) {
        bad_model(text({name, " is not symmetric: ", entry(i, j), ", ", entry(j, i)}));
      }
    }
  }
  if (!semidefinite(matrix, tolerance)) {
    std::ostringstream text;
    std::size_t width = 0;
    for (Eigen::Index i = 0; i < x.rows * x.cols; ++i) {
      std::ostringstream entry;
      entry << x(i);
      width = (std::max)(width, entry.str().size());
    }
    text << name << " is not positive semi-definite:";
    for (Eigen::Index i = 0; i < x.rows; ++i) {
      for (Eigen::Index j = 0; j < x.cols; ++j) {
        text << (j == 0 ? "\n" : " ") << std::setw(static_cast<int>(width)) << x(i, j);
      }
    }
    bad_model(text.str());
  }
}
template <class Matrix>
void require_covariance(const std::string& name, const Eigen::PlainObjectBase<Matrix>& x) {
  require_covariance<typename Matrix::Scalar>(name, x, &x.derived(), is_semidefinite<Matrix>);
}

}  // namespace kalscan::detail
