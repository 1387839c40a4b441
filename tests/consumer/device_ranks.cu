// SPDX-License-Identifier: MIT
// What a program of several GPUs does first: agrees with the other ranks on what each has, and scans.
#include <kalscan/cuda/scan_ranks.cuh>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/ranks/nccl.cuh>

int main() {
  ncclComm_t comm = nullptr;
  const int device = 0;
  if (ncclCommInitAll(&comm, 1, &device) != ncclSuccess) return 1;
  const kalscan::ranks policy{kalscan::nccl_communicator(comm), kalscan::cuda{}};
  const auto steps = kalscan::agree_on_steps(policy, kalscan::affine_monoid<double>{}, 10);
  ncclCommDestroy(comm);
  return steps.size() == 1 && steps[0] == 10 ? 0 : 1;
}
