// SPDX-License-Identifier: MIT
// Derivatives by difference quotients, for tests of those that somebody wrote down.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/support/aggregate_as_array.hpp>
#include <limits>

namespace kalscan::detail {

/// The derivative of f by number i of x, an aggregate of doubles: central differences, extrapolated to a step of zero
/// (Ridders 1982), at the step where two extrapolations agree best. The first step is an eighth of the number, so that
/// one with a sign keeps it.
template <class X, class F>
double derivative(const X& x, std::size_t i, F f) {
  const auto central = [&](double h) {
    const auto moved = [&](double by) {
      auto all = as_array<double>(x);
      all[i] += by;
      return f(from_fields<X, double>([&](auto k) { return all[k()]; }));
    };
    return (moved(h) - moved(-h)) / (2 * h);
  };
  constexpr int most = 10;
  double table[most][most];
  double best = std::numeric_limits<double>::quiet_NaN(), error = std::numeric_limits<double>::infinity();
  const double size = std::abs(as_array<double>(x)[i]);
  double h = size > 0 ? size / 8 : 1.0 / 64;
  for (int n = 0; n < most; ++n, h /= 2) {
    table[0][n] = central(h);
    double factor = 1;
    for (int k = 1; k <= n; ++k) {
      factor *= 4;
      table[k][n] = (factor * table[k - 1][n] - table[k - 1][n - 1]) / (factor - 1);
      const double change =
          (std::max)(std::abs(table[k][n] - table[k - 1][n]), std::abs(table[k][n] - table[k - 1][n - 1]));
      if (change <= error) error = change, best = table[k][n];
    }
  }
  return best;
}

}  // namespace kalscan::detail
