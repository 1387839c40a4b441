// SPDX-License-Identifier: MIT
// Runs a check on 1, 2, ... ranks.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <kalscan/ranks/ranks.hpp>
#include <kalscan/ranks/threads.hpp>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace test {

/// A communicator of any kind: threads, or the processes of MPI where mpi/processes.cpp is linked to the tests.
class communicator {
 public:
  template <class C>
  static communicator of(const C& c) {
    communicator x;
    x.rank_ = c.rank(), x.size_ = c.size();
    x.gather_ = [c](auto in, auto out) { c.all_gather(in, out); };
    return x;
  }
  int rank() const { return rank_; }
  int size() const { return size_; }
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const { gather_(in, out); }

 private:
  int rank_ = 0, size_ = 1;
  std::function<void(std::span<const std::byte>, std::span<std::byte>)> gather_{};
};

struct ranks_under_test {
  /// Fewer where an instrument is slow, as KALSCAN_MODELS says.
  std::vector<int> counts = std::getenv("KALSCAN_MODELS") ? std::vector<int>{3} : std::vector<int>{1, 2, 3, 5, 16};
  /// Calls work(communicator) on each of so many ranks that this process has.
  std::function<void(int, const std::function<void(const communicator&)>&)> run = [](int ranks, const auto& work) {
    kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& comm) { work(communicator::of(comm)); });
  };
  bool are_threads = true;
};
inline ranks_under_test& under_test() {
  static ranks_under_test x;
  return x;
}
inline const std::vector<int>& rank_counts() { return under_test().counts; }
inline void on_ranks(int ranks, const std::function<void(const communicator&)>& work) { under_test().run(ranks, work); }
/// Whether a rank is one that writes results for the test to check: every process, but one of all threads.
inline bool reports(const communicator& comm) { return !under_test().are_threads || comm.rank() == 0; }

/// bounds[r] to bounds[r + 1] are rank r's steps, of `length`: on multiples of `multiple`, but the last one. Some ranks are
/// empty, some far longer than others.
inline std::vector<std::int64_t> random_bounds(int ranks, std::int64_t length, std::int64_t multiple,
                                               std::uint64_t seed) {
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

/// Every rank must throw an error whose text `what` is part of: of an argument the same text.
template <class Error, class Call>
void check_all_throw(const std::string& what, Call call) {
  for (const int ranks : rank_counts()) {
    if (ranks == 1) continue;
    on_ranks(ranks, [&](const communicator& comm) {
      std::string text;
      try {
        call(comm);
      } catch (const Error& error) {
        text = error.what();
      }
      CAPTURE(text);
      CHECK(text.find(what) != std::string::npos);
      for (const auto& other : collect(comm, std::vector{text})) {
        CHECK((std::is_same_v<Error, std::invalid_argument> ? other == text : !other.empty()));
      }
    });
  }
}

}  // namespace test
