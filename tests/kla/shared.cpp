// SPDX-License-Identifier: MIT
#include "shared.hpp"

namespace kla_test {
KALSCAN_TEST_PASSES()
}  // namespace kla_test
