// expect: kalscan: this header is CUDA: compile the file with nvcc
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/cuda/device.cuh>
