// SPDX-License-Identifier: MIT
// A sequence mixer of one's own, on all cores: against one thread, and its adjoint against a difference quotient.
#include <cmath>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <vector>

#include "rotation.hpp"

int main() {
  using in = kalscan::tensor<const double>;
  using out = kalscan::tensor<double>;
  constexpr long B = 2, L = 500, M = 24, S = 8;
  std::vector<double> v(B * L * M, 0.1), k(B * L * S, 0.5), q(B * L * S, 0.25), c(M * S), s(M * S), y(B * L * M),
      check(y), c_bar(M * S);
  for (std::size_t j = 0; j < c.size(); ++j) {
    c[j] = 0.99 * std::cos(0.01 * static_cast<double>(j)), s[j] = 0.99 * std::sin(0.01 * static_cast<double>(j));
  }

  const kalscan::mixer_shape shape{B, L, M, S};
  const rotation::inputs<in> inputs{{v.data(), B, L, M, 1},
                                    {k.data(), B, L, 1, S},
                                    {q.data(), B, L, 1, S},
                                    {c.data(), 1, 1, M, S},
                                    {s.data(), 1, 1, M, S}};
  kalscan::forward(kalscan::omp{}, rotation{}, shape, inputs, rotation::outputs<out>{{y.data(), B, L, M, 1}});
  kalscan::forward(kalscan::seq{}, rotation{}, shape, inputs, rotation::outputs<out>{{check.data(), B, L, M, 1}});

  // The derivative of the sum of y^2 / 2 by one of the rotations, against a difference quotient.
  rotation::inputs<out> bars{};
  bars.c = {c_bar.data(), 1, 1, M, S};
  kalscan::backward(kalscan::omp{}, rotation{}, shape, inputs, rotation::outputs<in>{{y.data(), B, L, M, 1}}, bars);
  const auto half_square = [&](double x) {
    std::vector<double> moved = c, z(y.size());
    moved[77] = x;
    auto other = inputs;
    other.c = in(moved.data(), 1, 1, M, S);
    kalscan::forward(kalscan::omp{}, rotation{}, shape, other, rotation::outputs<out>{{z.data(), B, L, M, 1}});
    double sum = 0;
    for (const double e : z) sum += e * e / 2;
    return sum;
  };
  const double difference = (half_square(c[77] + 1e-6) - half_square(c[77] - 1e-6)) / 2e-6;
  double worst = 0;
  for (std::size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::abs(y[i] - check[i]));
  std::cout << "omp and seq differ by " << worst << ", the adjoint is " << c_bar[77] << ", the difference quotient "
            << difference << '\n';
  return worst < 1e-12 && std::abs(c_bar[77] - difference) < 1e-4 * std::abs(difference) ? 0 : 1;
}
