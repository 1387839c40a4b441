// expect: calling a __host__ function.*calls_of_a_recurrence_need_KALSCAN_HD
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/device.cuh>
#include <kalscan/monoids/affine.hpp>

struct decay {  // step without KALSCAN_HD
  using state_type = float;
  using input_type = float;
  KALSCAN_HD static kalscan::affine_monoid<float> monoid() { return {}; }
  float step(float state, float input) const { return 0.5f * state + input; }
  KALSCAN_HD kalscan::affine_map<float> lift(float input) const { return {0.5f, input}; }
  KALSCAN_HD float act(const kalscan::affine_map<float>& x, float state) const { return x.gain * state + x.offset; }
};

void misuse(std::span<float> x) { kalscan::scan_states(kalscan::cuda{}, decay{}, x, x, 0.0f); }
