// SPDX-License-Identifier: MIT
// Vectors whose memory starts at a cache line, so that no vector access within them crosses one.
#pragma once

#include <cstddef>
#include <kalscan/support/config.hpp>
#include <new>
#include <vector>

namespace kalscan::detail {

template <class T>
struct aligned_allocator {
  using value_type = T;
  static constexpr std::align_val_t alignment{64};

  aligned_allocator() = default;
  template <class U>
  aligned_allocator(const aligned_allocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), alignment)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, alignment); }
  friend bool operator==(const aligned_allocator&, const aligned_allocator&) { return true; }
};

template <class T>
using aligned_vector = std::vector<T, aligned_allocator<T>>;

}  // namespace kalscan::detail
