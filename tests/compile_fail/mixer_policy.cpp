// expect: the first argument is the policy: pass kalscan::seq
// lines: 40
// SPDX-License-Identifier: MIT
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/gla.hpp>

int main() {
  using in = kalscan::tensor<const float>;
  using out = kalscan::tensor<float>;
  kalscan::forward(2, kalscan::gla{}, kalscan::mixer_shape{1, 1, 1, 1}, kalscan::gla_inputs<in>{}, kalscan::gla_outputs<out>{});
}
