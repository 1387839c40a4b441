// SPDX-License-Identifier: MIT
// Filter and smoother for the sizes that the files here run, compiled once, in shared.cpp.
#pragma once

#include <kalscan/kalscan.hpp>
#include <span>
#include <vector>

#define KALSCAN_TEST_FILTER(prefix, policy, T, N, M)                                                             \
  prefix template std::vector<filter_result<T, N, M>> detail::run_filter(                                        \
      const policy&, std::span<const kalman_model<T, N, M>>, std::span<const observations<T, M>>, filter_outputs,\
      bool);                                                                                                     \
  prefix template std::vector<smoother_result<T, N, M>> detail::run_smoother<true>(                              \
      const policy&, std::span<const kalman_model<T, N, M>>, std::vector<filter_result<T, N, M>>);               \
  prefix template std::vector<smoother_result<T, N, M>> detail::run_smoother<false>(                             \
      const policy&, std::span<const kalman_model<T, N, M>>, std::vector<filter_result<T, N, M>>);

#define KALSCAN_TEST_FILTERS(prefix)                                       \
  KALSCAN_TEST_FILTER(prefix, seq, double, Eigen::Dynamic, Eigen::Dynamic) \
  KALSCAN_TEST_FILTER(prefix, omp, double, Eigen::Dynamic, Eigen::Dynamic) \
  KALSCAN_TEST_FILTER(prefix, seq, float, Eigen::Dynamic, Eigen::Dynamic)  \
  KALSCAN_TEST_FILTER(prefix, omp, float, Eigen::Dynamic, Eigen::Dynamic)  \
  KALSCAN_TEST_FILTER(prefix, seq, double, 2, 1)                           \
  KALSCAN_TEST_FILTER(prefix, omp, double, 2, 1)

namespace kalscan {
KALSCAN_TEST_FILTERS(extern)
}  // namespace kalscan
