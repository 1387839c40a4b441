// SPDX-License-Identifier: MIT
// A sequence mixer of one's own: on all cores and on one thread, its own test, and the gradients of a call.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <kalscan/kla/check_mixer.hpp>
#include <random>
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

  double worst = 0;
  for (std::size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::abs(y[i] - check[i]));
  std::cout << "omp and seq differ by " << worst << '\n';

  // The mixer's own test: does the adjoint that rotation.hpp spells out belong to its step and readout?
  const auto draw = [](std::mt19937_64& engine) -> kalscan::mixer_trial<rotation> {
    std::uniform_real_distribution<double> x(-1, 1);
    return {.before = {x(engine), x(engine)},
            .inputs = {x(engine), x(engine), x(engine), x(engine), x(engine)}};
  };
  const auto laws = kalscan::check_mixer(rotation{}, draw, kalscan::relative(1e-6));
  std::cout << (laws ? "every adjoint is the derivative\n" : laws.message());

  // And the gradients of a whole call: of the sum of y^2 / 2 by all rotations.
  rotation::inputs<out> bars{};
  bars.c = {c_bar.data(), 1, 1, M, S};
  kalscan::backward(kalscan::omp{}, rotation{}, shape, inputs, rotation::outputs<in>{{y.data(), B, L, M, 1}}, bars);
  std::cout << "d / d c[77] = " << c_bar[77] << '\n';
  return worst < 1e-12 && laws ? 0 : 1;
}
