// SPDX-License-Identifier: MIT
// What later readings tell of a state without error.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <kalscan/kalman/linalg/equations.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan::detail {

/// Equations row'x = value. Each has a component, its pivot, that those after it have not. They are scaled so that the
/// largest term of each, of an x as large as was said when it came, is one.
template <class T, int N>
struct exact_equations {
  Eigen::Matrix<T, N, N> rows{};
  Eigen::Vector<T, N> values{};
  Eigen::Vector<Eigen::Index, N> pivots{};
  Eigen::Index count = 0;

  exact_equations() = default;
  explicit exact_equations(Eigen::Index n) {
    rows.resize(n, n);
    values.resize(n);
    pivots.resize(n);
  }

  /// Adds row'x = value, unless no more than `tolerance` of it is left when the others are known. `size`: of x.
  void add(Eigen::Vector<T, N> row, T value, const Eigen::Vector<T, N>& size, T tolerance) {
    T terms = sum_of_terms(row, size), most = 0;
    for (Eigen::Index k = 0; k < count; ++k) {
      const T factor = eliminate(k, row, value);
      if (equal(factor, 0)) continue;
      terms += std::abs(factor) * sum_of_terms(column(rows, k), size);
    }
    Eigen::Index pivot = 0;
    for (Eigen::Index i = 0; i < row.size(); ++i) {
      const T own = std::abs(row(i)) * size(i);
      if (own > most) most = own, pivot = i;
    }
    if (!(most > tolerance * terms)) return;
    for (Eigen::Index i = 0; i < row.size(); ++i) rows(i, count) = row(i) / most;
    values(count) = value / most;
    pivots(count++) = pivot;
  }

  /// Leaves to row'x = value + N(0, 1) only what these equations do not tell: information along what they tell may double
  /// with every step, and would take the digits of the other entries of its row.
  template <class Row>
  void take_from(Row& row, T& value) const {
    for (Eigen::Index k = 0; k < count; ++k) eliminate(k, row, value);
  }

  /// Adds them to equations with errors of variance one, each with an error of `tolerance` beside its terms.
  void add_to(equations<T>& others, const Eigen::Vector<T, N>& size, T tolerance) const {
    for (Eigen::Index k = 0; k < count; ++k) {
      const Eigen::Vector<T, N> row = column(rows, k);
      const T error = tolerance * sum_of_terms(row, size);
      others.add(Eigen::Vector<T, N>(row / error), values(k) / error);
    }
  }

 private:
  /// Takes that multiple of equation k from another one which leaves nothing of its pivot, and returns the factor.
  template <class Row>
  T eliminate(Eigen::Index k, Row& row, T& value) const {
    const T factor = row[pivots(k)] / rows(pivots(k), k);
    if (equal(factor, 0)) return factor;
    for (Eigen::Index i = 0; i < rows.rows(); ++i) row[i] -= factor * rows(i, k);
    row[pivots(k)] = 0;
    value -= factor * values(k);
    return factor;
  }
};

}  // namespace kalscan::detail
