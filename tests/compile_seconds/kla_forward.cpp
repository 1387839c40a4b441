// SPDX-License-Identifier: MIT
// The smallest program with a mixer: one forward pass of KLA on the host, with the headers that it needs.
#include <kalscan/backend/omp.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/kla.hpp>
#include <vector>

int main() {
  using in = kalscan::tensor<const float>;
  using out = kalscan::tensor<float>;
  const std::vector<float> v(64, 1), Lambda(64, 1), k(16, 1), q(16, 1), a(16, 0.9F), p(16, 0.1F);
  std::vector<float> y(64), yvar(64);
  const kalscan::kla_inputs inputs{in(v.data(), 1, 16, 4, 1), in(Lambda.data(), 1, 16, 4, 1), in(k.data(), 1, 16, 1, 1),
                                   in(q.data(), 1, 16, 1, 1), in(a.data(), 1, 1, 4, 1),       in(p.data(), 1, 1, 4, 1)};
  const kalscan::kla_outputs outputs{out(y.data(), 1, 16, 4, 1), out(yvar.data(), 1, 16, 4, 1)};
  kalscan::forward(kalscan::omp{}, kalscan::kla{}, {1, 16, 4, 1}, inputs, outputs);
}
