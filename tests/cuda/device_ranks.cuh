// SPDX-License-Identifier: MIT
// The ranks that tests run over devices: run(ranks, f) of loopback_ranks and of nccl_ranks calls f(communicator) on
// each.
#pragma once

#include <doctest/doctest.h>

#include <kalscan/ranks/threads.hpp>
#include <map>
#include <stdexcept>
#include <vector>

#include "../ranks/on_ranks.hpp"
#include "loopback.cuh"
#include "tool.hpp"

#if __has_include(<nccl.h>) && !defined(KALSCAN_TEST_WITHOUT_NCCL)
#include <kalscan/ranks/nccl.cuh>
#define KALSCAN_TEST_NCCL
#endif

namespace kla_test {

/// Threads of this process that share a device.
struct loopback_ranks {
  template <class F>
  static void run(int ranks, F f) {
    const auto office = loopback::post_office();
    kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& threads) { f(loopback(threads, office)); });
  }
};

inline const std::vector<int> loopback_counts = or_few<int>({3, 1, 2, 5}, 1);

using test::random_bounds;

#ifdef KALSCAN_TEST_NCCL

inline int devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) throw std::runtime_error("cudaGetDeviceCount");
  return count;
}

/// Threads of this process, each with a GPU. Their communicators stay: to make one takes a second.
struct nccl_ranks {
  static std::vector<ncclComm_t>& comms(int ranks) {
    static std::map<int, std::vector<ncclComm_t>> made;
    auto& x = made[ranks];
    if (x.empty()) {
      x.resize(static_cast<std::size_t>(ranks));
      if (ncclCommInitAll(x.data(), ranks, nullptr) != ncclSuccess) throw std::runtime_error("ncclCommInitAll");
    }
    return x;
  }
  template <class F>
  static void run(int ranks, F f) {
    auto& all = comms(ranks);
    kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& threads) {
      if (cudaSetDevice(threads.rank()) != cudaSuccess) throw std::runtime_error("cudaSetDevice");
      f(kalscan::nccl_communicator(all[static_cast<std::size_t>(threads.rank())]));
    });
  }
};
/// Two of them, and all.
inline std::vector<int> nccl_counts() {
  std::vector<int> counts;
  if (devices() >= 2) counts.push_back(2);
  if (devices() > 2) counts.push_back(devices());
  if (counts.empty()) MESSAGE("skipped: NCCL needs two GPUs");
  return counts;
}

#endif

}  // namespace kla_test
