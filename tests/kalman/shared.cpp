// SPDX-License-Identifier: MIT
#include "shared.hpp"

namespace kalscan {
KALSCAN_TEST_FILTER(, seq)
KALSCAN_TEST_FILTER(, omp)
}  // namespace kalscan
