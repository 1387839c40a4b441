// SPDX-License-Identifier: MIT
// Filter and smoother on the device with more states than are kept in registers.
#include <doctest/doctest.h>

#include <algorithm>
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/square_root.hpp>
#include <limits>
#include <vector>

#include "../kalman/real_series.hpp"
#include "device_array.hpp"
#include "device_filter.cuh"
#include "tool.hpp"

namespace {

using namespace device_filter;

template <class T, bool Short = true, class Model, class HostModel>
void check(const Model& model, const HostModel& host_model, double bound) {
  CAPTURE(Model::states);
  CAPTURE(Model::observed);
  const auto series = [&](const std::vector<std::int64_t>& lengths, std::int64_t chunk) {
    check_models<T>(model, host_model, lengths, chunk, bound);
  };
  const bool few = kla_test::under_a_tool();
  for (const std::int64_t chunk : {0, 1, 7}) series({few ? 50 : 1000}, chunk);
  for (const std::int64_t chunk : {0, 5}) series({3, 0, few ? 20 : 100, 1, 40}, chunk);
  if (Short) series(std::vector<std::int64_t>(few ? 40U : 5000U, 5), 0);
}
template <class T, int N, int M>
void check_proper(double bound) {
  check<T>(turning<T, N, M>::model(), turning<double, N, M>::model(), bound);
}

TEST_CASE("filter and smoother of 9 to 16 states on the device agree with the same steps in sequence") {
  check_proper<float, 13, 13>(2e-3);
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check_proper<float, 9, 4>(2e-3);
  check_proper<double, 16, 2>(1e-10);
#endif
}

TEST_CASE("constant ones, whose covariances settle, do") {
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check_settling(damped<10>::model(), kla_test::under_a_tool() ? 500 : 9000, 1e-10);
#endif
}

TEST_CASE("with diffuse priors they do") {
  // Five steps alone leave directions that next to nothing is known of.
  check<double, false>(turning<double, 9, 2>::diffuse_model(), turning<double, 9, 2>::diffuse_model(), 1e-6);
}

TEST_CASE("the CO2 of Mauna Loa, end to end on the device") {
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  auto co2 = real_series::read("co2.csv");
  check_whole(real_series::co2_model<double>(), co2, 1e-4);
  std::fill_n(co2.begin() + 3, 100, std::numeric_limits<double>::quiet_NaN());
  check_whole(real_series::co2_model<double>(), co2, 1e-4);
#endif
}

TEST_CASE("in square-root form they do") {
  check<float>(kalscan::square_root{turning<float, 6, 2>::model()},
               kalscan::square_root{turning<double, 6, 2>::model()}, 2e-3);
}

}  // namespace
