// expect: calling a __host__ function.*calls_of_a_monoid_need_KALSCAN_HD
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/device.cuh>

struct plus {  // no KALSCAN_HD
  static float identity() { return 0; }
  float operator()(float earlier, float later) const { return earlier + later; }
};

void misuse(std::span<float> x) { kalscan::inclusive_scan(kalscan::cuda{}, plus{}, x, x); }
