// SPDX-License-Identifier: MIT
#include "shared.hpp"

namespace kalscan {
KALSCAN_TEST_FILTERS()
}  // namespace kalscan
