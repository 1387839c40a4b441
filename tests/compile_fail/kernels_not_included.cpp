// expect: kalscan::cuda include <kalscan/cuda/kla_forward.cuh>
// expect: kalscan::cuda include <kalscan/cuda/kla_backward.cuh>
// lines: 18
// SPDX-License-Identifier: MIT
#include <kalscan/kla/backward.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/gla.hpp>

struct device {};  // as kalscan::cuda is one, of which these headers know nothing
template <>
inline constexpr bool kalscan::is_policy<device> = true;
template <>
inline constexpr bool kalscan::runs_sweeps<device> = false;

int main() {
  const kalscan::mixer_shape shape{1, 1, 1, 1};
  const kalscan::gla_inputs<kalscan::tensor<const float>> in{};
  kalscan::forward(device{}, kalscan::gla{}, shape, in, kalscan::gla_outputs<kalscan::tensor<float>>{});
  kalscan::backward(device{}, kalscan::gla{}, shape, in, kalscan::gla_outputs<kalscan::tensor<const float>>{},
                    kalscan::gla_inputs<kalscan::tensor<float>>{});
}
