// SPDX-License-Identifier: MIT
// Threads of one process as ranks: for tests, and to start a thread for each device of a machine, whose communicators
// are then NCCL's.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <kalscan/ranks/communicator.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kalscan {

/// A rank has ended while others wait for it.
class lost_rank : public std::runtime_error {
 public:
  explicit lost_rank(int rank_)
      : std::runtime_error("kalscan: rank " + std::to_string(rank_) + " has ended"), rank(rank_) {}
  int rank;
};

namespace detail {

/// Where the threads of a group meet.
class thread_meeting {
 public:
  explicit thread_meeting(int size) : given_(static_cast<std::size_t>(size)) {}

  int size() const { return static_cast<int>(given_.size()); }

  void all_gather(int rank, std::span<const std::byte> in, std::span<std::byte> out) {
    given_[static_cast<std::size_t>(rank)] = in;
    wait();  // for all to have given theirs
    std::size_t at = 0;
    bool fits = true;
    for (const auto& one : given_) {
      fits = fits && one.size() == in.size() && out.size() - at >= one.size();
      if (!fits) break;
      std::copy(one.begin(), one.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
      at += one.size();
    }
    wait();  // for all to have read
    if (!fits) throw std::logic_error("kalscan: ranks gather different numbers of bytes");
  }

  /// The rank takes part no longer: who waits for it, now or later, gets lost_rank.
  void leave(int rank) {
    const std::lock_guard lock(mutex_);
    if (!gone_) gone_ = rank;
    changed_.notify_all();
  }

 private:
  void wait() {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = round_;
    if (gone_) throw lost_rank(*gone_);
    if (++arrived_ == size()) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return round_ != round || gone_; });
    if (round_ == round) throw lost_rank(*gone_);
  }

  std::mutex mutex_{};
  std::condition_variable changed_{};
  std::vector<std::span<const std::byte>> given_;
  int arrived_ = 0;
  std::uint64_t round_ = 0;
  std::optional<int> gone_{};
};

}  // namespace detail

/// The communicator of one of the threads that `run_on_threads` starts.
class thread_communicator {
 public:
  thread_communicator(std::shared_ptr<detail::thread_meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}
  int rank() const { return rank_; }
  int size() const { return meeting_->size(); }
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const {
    meeting_->all_gather(rank_, in, out);
  }

 private:
  std::shared_ptr<detail::thread_meeting> meeting_;
  int rank_;
};
static_assert(communicator<thread_communicator>);

/// Calls work(thread_communicator) on `ranks` threads, and returns when all have. Of their exceptions that of the
/// lowest rank is thrown here; those of ranks that were left waiting by one that had ended come last. Where the system
/// gives no thread for a rank, that is its exception (std::system_error).
template <class Work>
void run_on_threads(int ranks, Work work) {
  if (ranks < 1) throw std::invalid_argument("kalscan::run_on_threads: " + std::to_string(ranks) + " ranks");
  const auto meeting = std::make_shared<detail::thread_meeting>(ranks);
  std::vector<std::exception_ptr> failed(static_cast<std::size_t>(ranks)), waited(failed);
  std::vector<std::thread> threads;
  threads.reserve(failed.size());
  for (int r = 0; r < ranks; ++r) {
    const auto run = [&, r] {
      try {
        work(thread_communicator(meeting, r));
      } catch (const lost_rank&) {
        waited[static_cast<std::size_t>(r)] = std::current_exception();
      } catch (...) {
        failed[static_cast<std::size_t>(r)] = std::current_exception();
      }
      meeting->leave(r);
    };
    try {
      threads.emplace_back(run);
    } catch (...) {
      failed[static_cast<std::size_t>(r)] = std::current_exception();
      meeting->leave(r);
      break;
    }
  }
  for (auto& thread : threads) thread.join();
  for (const auto* all : {&failed, &waited}) {
    for (const auto& one : *all) {
      if (one) std::rethrow_exception(one);
    }
  }
}

}  // namespace kalscan
