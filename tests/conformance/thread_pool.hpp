// SPDX-License-Identifier: MIT
// A back end that the library does not ship, in one file: threads that stay, and take tasks from a counter, as does the
// thread that calls.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <kalscan/backend/run_sweep.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace test {

class thread_pool {
 public:
  explicit thread_pool(int workers) {
    for (int i = 1; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~thread_pool() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  int workers() const { return static_cast<int>(threads_.size()) + 1; }
  void run(std::int64_t count, kalscan::task_ref task) {
    std::unique_lock lock(mutex_);
    task_ = &task, next_ = 0, count_ = unfinished_ = count;
    changed_.notify_all();
    take_tasks(lock);
    changed_.wait(lock, [this] { return unfinished_ == 0; });
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (!ends_) {
      take_tasks(lock);
      changed_.wait(lock, [this] { return ends_ || next_ < count_; });
    }
  }
  void take_tasks(std::unique_lock<std::mutex>& lock) {
    while (next_ < count_) {
      const std::int64_t i = next_++;
      lock.unlock();
      (*task_)(i);  // it stays until all tasks are done
      lock.lock();
      if (--unfinished_ == 0) changed_.notify_all();
    }
  }

  std::mutex mutex_{};
  std::condition_variable changed_{};
  const kalscan::task_ref* task_ = nullptr;
  std::int64_t next_ = 0, count_ = 0, unfinished_ = 0;
  bool ends_ = false;
  std::vector<std::thread> threads_{};
};

/// The policy: on which threads, and how many steps a chunk of time has, as in kalscan::omp.
struct on_pool {
  thread_pool* pool;
  std::int64_t chunk = 0;
};
inline int worker_count(const on_pool& p) { return p.pool->workers(); }
inline std::int64_t chunk_length(const on_pool& p) { return p.chunk; }
inline void run_tasks(const on_pool& p, std::int64_t count, kalscan::task_ref task) { p.pool->run(count, task); }

}  // namespace test

template <>
inline constexpr bool kalscan::is_policy<test::on_pool> = true;
