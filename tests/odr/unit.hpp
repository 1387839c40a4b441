// SPDX-License-Identifier: MIT
// Two units of one program, one compiled with OpenMP and one without: each says what the library does in it.
#pragma once

#include <string>

std::string with_openmp();
std::string without_openmp();
