// expect: NaN marks a missing value.*-fno-finite-math-only
// flags: -ffast-math
// lines: 12
// SPDX-License-Identifier: MIT
#include <kalscan/scan.hpp>
