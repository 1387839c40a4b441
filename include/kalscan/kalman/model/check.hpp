// SPDX-License-Identifier: MIT
// Refuses what is no covariance or no number, by name and value.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

namespace kalscan::detail {

inline std::string shape(Eigen::Index rows, Eigen::Index cols) {
  return std::to_string(rows) + " x " + std::to_string(cols);
}

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

/// The observation of step t: NaN is a missing reading, infinity none.
template <class Column>
void require_no_infinity(const std::string& name, const Column& y, std::int64_t t) {
  for (Eigen::Index i = 0; i < y.size(); ++i) {
    if (!std::isinf(y(i))) continue;
    bad_model(name + " is " + (y(i) > 0 ? "" : "-") + "infinite at component " + std::to_string(i) + ", step " +
              std::to_string(t));
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

}  // namespace kalscan::detail
