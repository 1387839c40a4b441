// expect: success
// flags: -ffast-math -DKALSCAN_ALLOW_FINITE_MATH
// SPDX-License-Identifier: MIT
#include <kalscan/scan.hpp>
