// SPDX-License-Identifier: MIT
// What every header of the library meets first: whether this compiler and its switches will do, and the one annotation
// that lets host and device share the algebra. Headers that include no other one of the library include this one.
#pragma once

#if __cplusplus < 202002L
#error "kalscan needs C++20: compile with -std=c++20 (g++ 12, clang++ 14 or nvcc 12, or newer)"
#include <kalscan needs C++20: compile with -std=c++20>  // ends here, without errors by the thousand
#endif

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ && !defined(KALSCAN_ALLOW_FINITE_MATH)
#error "kalscan: -ffast-math assumes that there is no NaN and no infinity, but here NaN marks a missing value and an infinite variance is one that is not known: add -fno-finite-math-only, or define KALSCAN_ALLOW_FINITE_MATH if your data have neither"
#endif

#if defined(__CUDACC__)
#define KALSCAN_HD __host__ __device__
#else
#define KALSCAN_HD
#endif
