// SPDX-License-Identifier: MIT
// Filter and smoother of models with dynamic sizes, which most files here run, are compiled once, in shared.cpp.
#pragma once

#include <kalscan/kalscan.hpp>
#include <span>
#include <vector>

#define KALSCAN_TEST_FILTER(prefix, policy, T)                                                     \
  prefix template std::vector<filter_result<T, Eigen::Dynamic, Eigen::Dynamic>> detail::run_filter(   \
      const policy&, std::span<const kalman_model<T, Eigen::Dynamic, Eigen::Dynamic>>,                \
      std::span<const observations<T, Eigen::Dynamic>>, filter_outputs, bool);                        \
  prefix template std::vector<smoother_result<T, Eigen::Dynamic, Eigen::Dynamic>> detail::run_smoother( \
      const policy&, std::span<const kalman_model<T, Eigen::Dynamic, Eigen::Dynamic>>,                \
      std::vector<filter_result<T, Eigen::Dynamic, Eigen::Dynamic>>);

#define KALSCAN_TEST_FILTERS(prefix)       \
  KALSCAN_TEST_FILTER(prefix, seq, double) \
  KALSCAN_TEST_FILTER(prefix, omp, double) \
  KALSCAN_TEST_FILTER(prefix, seq, float)  \
  KALSCAN_TEST_FILTER(prefix, omp, float)

namespace kalscan {
KALSCAN_TEST_FILTERS(extern)
}  // namespace kalscan
