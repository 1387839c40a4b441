// expect: kalscan needs C\+\+20: compile with -std=c\+\+20
// flags: -std=c++17
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/kalscan.hpp>
