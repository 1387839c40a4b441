// SPDX-License-Identifier: MIT
// KLA with bfloat16 inputs and outputs on a device.
#include <kalscan/mixer/storage.hpp>

#include "cuda_kla_calls.cuh"

namespace bench {

mixer_ms kla_bfloat16_ms(const shape_row& s, std::int64_t chunk) {
  return both_ms<kalscan::kla>(kla_call<kalscan::bfloat16>(s.B, s.L, s.M, 16), chunk);
}
mixer_ms kla_bfloat16_training_ms(const shape_row& s) {
  return training_ms<kalscan::kla>(kla_call<kalscan::bfloat16>(s.B, s.L, s.M, 16));
}

}  // namespace bench
