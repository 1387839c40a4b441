// SPDX-License-Identifier: MIT
// Rotating KLA on a device.
#include "cuda_rotating_kla_calls.cuh"

namespace bench {

mixer_ms rotating_kla_ms(const shape_row& s, std::int64_t chunk) {
  return both_ms<kalscan::rotating_kla>(rotating_kla_call<float>(s.B, s.L, s.M, 16), chunk);
}

}  // namespace bench
