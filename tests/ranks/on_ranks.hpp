// SPDX-License-Identifier: MIT
// Runs a check on 1, 2, ... ranks: threads, or the processes of MPI where the tests are built for these.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/ranks/ranks.hpp>
#include <optional>
#include <random>
#include <vector>

#if defined(KALSCAN_TEST_MPI)
#include <kalscan/ranks/mpi.hpp>
#else
#include <kalscan/ranks/threads.hpp>
#endif

namespace test {

#if defined(KALSCAN_TEST_MPI)
using communicator = kalscan::mpi_communicator;
inline std::vector<int> rank_counts() { return {communicator().size()}; }
inline bool reports(const communicator&) { return true; }
template <class Work>
void on_ranks(int, Work work) {
  work(communicator());
}
#else
using communicator = kalscan::thread_communicator;
inline std::vector<int> rank_counts() { return {1, 2, 3, 5, 16}; }
/// Whether a rank is one that writes results for the test to check: every process, but one of all threads.
inline bool reports(const communicator& comm) { return comm.rank() == 0; }
template <class Work>
void on_ranks(int ranks, Work work) {
  kalscan::run_on_threads(ranks, work);
}
#endif

/// bounds[r] to bounds[r + 1] are rank r's steps, of `length`: on multiples of `multiple`, but the last one. Some ranks are
/// empty, some far longer than others.
inline std::vector<std::int64_t> random_bounds(int ranks, std::int64_t length, std::int64_t multiple, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::uniform_int_distribution<std::int64_t> cut(0, length / multiple);
  std::vector<std::int64_t> bounds{0, length};
  for (int r = 1; r < ranks; ++r) bounds.push_back(cut(engine) * multiple);
  std::sort(bounds.begin(), bounds.end());
  return bounds;
}

/// All ranks' parts, one after the other.
template <class X>
std::vector<X> collect(const communicator& comm, const std::vector<X>& part) {
  kalscan::detail::byte_string mine, memory;
  kalscan::detail::put(mine, part);
  std::vector<X> whole;
  for (auto& from : kalscan::detail::exchange(comm, {}, mine, std::nullopt, memory)) {
    const auto x = kalscan::detail::get<std::vector<X>>(from);
    whole.insert(whole.end(), x.begin(), x.end());
  }
  return whole;
}

}  // namespace test
