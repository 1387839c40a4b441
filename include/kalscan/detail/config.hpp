// SPDX-License-Identifier: MIT
// The one annotation that lets host and device share the algebra.
#pragma once

#if defined(__CUDACC__)
#define KALSCAN_HD __host__ __device__
#else
#define KALSCAN_HD
#endif
