// expect: NaN marks a missing value.*-fno-finite-math-only
// flags: -ffast-math
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/scan.hpp>
