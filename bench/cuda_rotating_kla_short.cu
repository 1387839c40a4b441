// SPDX-License-Identifier: MIT
// Rotating KLA on a device, with bfloat16 as storage.
#include <kalscan/mixer/storage.hpp>

#include "cuda_rotating_kla_calls.cuh"

namespace bench {

mixer_ms rotating_kla_bfloat16_ms(const shape_row& s) {
  return both_ms<kalscan::rotating_kla>(rotating_kla_call<kalscan::bfloat16>(s.B, s.L, s.M, 16));
}

}  // namespace bench
