// SPDX-License-Identifier: MIT
// Ends what <kalscan/support/vector_loops_begin.hpp> began.
#undef KALSCAN_LANES
#undef KALSCAN_FLATTEN
#if defined(__clang__)
#pragma clang diagnostic pop
#endif
