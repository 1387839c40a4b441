// expect: kalscan::cuda include <kalscan/cuda/kla_forward.cuh>
// lines: 12
// SPDX-License-Identifier: MIT
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/gla.hpp>

struct device {};  // as kalscan::cuda is one, of which this header alone knows nothing
template <>
inline constexpr bool kalscan::is_policy<device> = true;
template <>
inline constexpr bool kalscan::runs_sweeps<device> = false;

int main() {
  using in = kalscan::tensor<const float>;
  using out = kalscan::tensor<float>;
  kalscan::forward(device{}, kalscan::gla{}, kalscan::mixer_shape{1, 1, 1, 1}, kalscan::gla_inputs<in>{},
                   kalscan::gla_outputs<out>{});
}
