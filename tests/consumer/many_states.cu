// SPDX-License-Identifier: MIT
// What a program of filters of more than 8 states finds, where it links kalscan::cuda_many_states: their kernels may be
// compiled, with the option of nvcc that makes them right, which their headers cannot see themselves.
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/kalman/functions/model.hpp>

#if !defined(KALSCAN_NO_STACK_COLORING)
#error "kalscan::cuda_many_states does not say what it compiles with"
#endif

__global__ void count(int* to) { ++*to; }  // the option goes to nvcc's compiler for the device, which wants code

int main() {
  int* to = nullptr;
  count<<<1, 1>>>(to);
  return 0;
}
