// SPDX-License-Identifier: MIT
// Sums over time of what a sweep finds, without a number for each step.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <kalscan/support/config.hpp>
#include <numeric>
#include <vector>

namespace kalscan::detail {

/// The terms of a series' log-likelihood, summed chunk by chunk after its beginning.
template <class T>
std::vector<T> sums_by_chunk(const std::vector<T>& terms, std::int64_t beginning, std::int64_t chunk) {
  std::vector<T> sums;
  const auto size = std::ssize(terms);
  for (std::int64_t t = 0; t < size;) {
    const std::int64_t end = chunk == 0 ? size : (std::min)(size, (t == 0 ? beginning : t) + chunk);
    sums.push_back(std::accumulate(terms.begin() + t, terms.begin() + end, T(0)));
    t = end;
  }
  return sums;
}

/// A back end takes time in stretches, each in order, on any thread. Each has a sum of its own, and the sums of a lane
/// are added in order of time: the result depends on the stretches, not on the threads, and with one stretch it is the
/// sum of all terms in order.
template <class T>
class stretch_sums {
 public:
  stretch_sums() = default;
  stretch_sums(const stretch_sums&) = delete;
  stretch_sums& operator=(const stretch_sums&) = delete;
  ~stretch_sums() {
    for (stretch* x = last_; x != nullptr;) {
      const stretch* done = x;
      x = x->before;
      delete done;
    }
  }

  /// Adds to the sum of a stretch of a lane. Where there is none yet, this step is its first. May be called by many
  /// threads, each for its own stretches.
  void add(T*& sum, std::int64_t lane, std::int64_t step, T value) {
    if (!sum) sum = begin(lane, step);
    *sum += value;
  }

  /// Of each lane, in the order of time.
  std::vector<std::vector<T>> by_stretch(std::size_t lanes) const;
  std::vector<T> totals(std::size_t lanes) const;

 private:
  T* begin(std::int64_t lane, std::int64_t step) {
    auto* x = new stretch{lane, step, T(0), last_};
    while (!last_.compare_exchange_weak(x->before, x)) {
    }
    return &x->sum;
  }

  struct stretch {
    std::int64_t lane, step;
    T sum;
    stretch* before;
  };

  std::atomic<stretch*> last_{nullptr};
};

template <class T>
std::vector<std::vector<T>> stretch_sums<T>::by_stretch(std::size_t lanes) const {
  std::vector<const stretch*> all;
  for (const stretch* x = last_; x != nullptr; x = x->before) all.push_back(x);
  const auto earlier = [](const stretch* x, const stretch* y) { return x->step < y->step; };
  std::make_heap(all.begin(), all.end(), earlier);  // compiles in less time than std::sort
  std::sort_heap(all.begin(), all.end(), earlier);
  std::vector<std::vector<T>> sums(lanes);
  for (const stretch* x : all) sums[static_cast<std::size_t>(x->lane)].push_back(x->sum);
  return sums;
}
template <class T>
std::vector<T> stretch_sums<T>::totals(std::size_t lanes) const {
  std::vector<T> sums;
  for (const auto& lane : by_stretch(lanes)) sums.push_back(std::accumulate(lane.begin(), lane.end(), T(0)));
  return sums;
}

}  // namespace kalscan::detail
