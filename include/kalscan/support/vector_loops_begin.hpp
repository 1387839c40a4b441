// SPDX-License-Identifier: MIT
// Macros for loops over lanes, from here to <kalscan/support/vector_loops_end.hpp>: a file with such loops includes the one
// after its other includes and the other at its end, so that no macro is left behind.

/// The lanes of a loop are independent of each other.
#if defined(__clang__)
#define KALSCAN_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define KALSCAN_LANES _Pragma("GCC ivdep")
#endif
/// Everything that such a function calls is to be part of it: loops over lanes are vector code only without calls.
#define KALSCAN_FLATTEN [[gnu::flatten]]

// A loop that is better left as it is may be: clang's warning of that is silenced.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif
