// SPDX-License-Identifier: MIT
// What every .cuh header meets first: whether this compiler speaks CUDA.
#pragma once

#include <kalscan/support/config.hpp>

#if !defined(__CUDACC__)
#error "kalscan: this header is CUDA: compile the file with nvcc (name it .cu, or nvcc -x cu), or link kalscan::cuda in CMake"
#include <kalscan: this header is CUDA, compile the file with nvcc>  // ends here
#endif
