// SPDX-License-Identifier: MIT
// The passes that more than one of the files here runs, compiled once, in shared.cpp.
#pragma once

#include "problem.hpp"

#define KALSCAN_TEST_FORWARD(prefix, mixer, T, policy) \
  prefix template forward_result<T> run_forward(const policy&, const problem<mixer, T>&, std::int64_t, bool);
#define KALSCAN_TEST_BACKWARD(prefix, mixer, T, policy)                                                              \
  prefix template backward_result<T> run_backward(const policy&, const problem<mixer, T>&, const forward_result<T>*, \
                                                  std::int64_t, bool, const backward_result<T>*);
#define KALSCAN_TEST_PASSES_OF(prefix, mixer)                      \
  KALSCAN_TEST_FORWARD(prefix, mixer, float, kalscan::seq)         \
  KALSCAN_TEST_FORWARD(prefix, mixer, float, kalscan::omp)         \
  KALSCAN_TEST_FORWARD(prefix, mixer, long double, kalscan::seq)   \
  KALSCAN_TEST_BACKWARD(prefix, mixer, float, kalscan::seq)        \
  KALSCAN_TEST_BACKWARD(prefix, mixer, float, kalscan::omp)
#define KALSCAN_TEST_PASSES(prefix)                                         \
  KALSCAN_TEST_PASSES_OF(prefix, kalscan::kla)                              \
  KALSCAN_TEST_PASSES_OF(prefix, kalscan::gla)                              \
  KALSCAN_TEST_FORWARD(prefix, kalscan::kla, double, kalscan::seq)          \
  KALSCAN_TEST_FORWARD(prefix, kalscan::kla, double, kalscan::omp)          \
  KALSCAN_TEST_BACKWARD(prefix, kalscan::kla, long double, kalscan::seq)    \
  KALSCAN_TEST_FORWARD(prefix, kalscan::kla_mixer<kalscan::readout::predicted>, long double, kalscan::seq)

namespace kla_test {
KALSCAN_TEST_PASSES(extern)
}  // namespace kla_test
