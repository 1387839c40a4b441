// SPDX-License-Identifier: MIT
// Filter and smoother on the device with more states than are kept in registers. A file of its own, since it takes long
// to compile.
#include <doctest/doctest.h>

#include <kalscan/cuda/kalman.cuh>
#include <vector>

#include "device_array.hpp"
#include "device_filter.cuh"

namespace {

using namespace device_filter;

template <class T, int N, int M>
void check(double bound) {
  CAPTURE(N);
  CAPTURE(M);
  const auto series = [&](const std::vector<std::int64_t>& lengths, std::int64_t chunk) {
    check_models<T>(turning<T, N, M>::model(), turning<double, N, M>::model(), lengths, chunk, bound);
  };
  for (const std::int64_t chunk : {0, 1, 7}) series({1000}, chunk);
  for (const std::int64_t chunk : {0, 5}) series({3, 0, 100, 1, 40}, chunk);
  series(std::vector<std::int64_t>(5000, 5), 0);
}

TEST_CASE("filter and smoother of 9 to 16 states on the device agree with the same steps in sequence") {
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check<float, 9, 4>(2e-3);
  check<float, 12, 4>(2e-3);
  check<float, 13, 13>(2e-3);
  check<double, 16, 1>(1e-10);
#endif
  check<float, 16, 4>(2e-3);
}

}  // namespace
