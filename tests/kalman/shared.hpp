// SPDX-License-Identifier: MIT
// Filter and smoother of models in double with dynamic sizes, which most files here run, are compiled once, in shared.cpp.
#pragma once

#include <kalscan/kalscan.hpp>
#include <span>
#include <vector>

#define KALSCAN_TEST_FILTER(prefix, policy)                                                                            \
  prefix template std::vector<filter_result<double, Eigen::Dynamic, Eigen::Dynamic>> filter(                           \
      const policy&, const kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>&,                                      \
      std::span<const observations<double, Eigen::Dynamic>>, filter_outputs);                                          \
  prefix template std::vector<smoother_result<double, Eigen::Dynamic, Eigen::Dynamic>> smooth(                         \
      const policy&, const kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>&,                                      \
      std::vector<filter_result<double, Eigen::Dynamic, Eigen::Dynamic>>);

namespace kalscan {
KALSCAN_TEST_FILTER(extern, seq)
KALSCAN_TEST_FILTER(extern, omp)
}  // namespace kalscan
