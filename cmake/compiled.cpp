// SPDX-License-Identifier: MIT
// The whole source of the library kalscan::compiled. Compile it with KALSCAN_COMPILED defined, as all that link it, and
// for the same processor.
#define KALSCAN_COMPILED_SOURCE
#include <kalscan/kalman/compiled.hpp>
