// SPDX-License-Identifier: MIT
// KLA in float on a device.
#include "cuda_kla_calls.cuh"

namespace bench {

mixer_ms kla_ms(const shape_row& s, std::int64_t chunk) {
  return both_ms<kalscan::kla>(kla_call<float>(s.B, s.L, s.M, 16), chunk);
}
mixer_ms kla_training_ms(const shape_row& s) { return training_ms<kalscan::kla>(kla_call<float>(s.B, s.L, s.M, 16)); }

double kla_step_ms(std::int64_t B, std::int64_t M) {
  const kla_call<float> call(B, 1, M, 16);
  const array<float> mean(B, 1, M, 16, -1, 1), variance(B, 1, M, 16, 0.1F, 1);
  return median_ms([&] {
    kalscan::step(kalscan::cuda{}, kalscan::kla{}, call.shape, call.in(), call.out(),
                  kalscan::belief<tensor<float>>{mean.view, variance.view});
  });
}

}  // namespace bench
