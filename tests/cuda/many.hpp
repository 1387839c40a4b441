// SPDX-License-Identifier: MIT
// Exact, non-commutative elements of any size: K affine maps over 16 bits, 4 K bytes.
#pragma once

#include <cstdint>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <random>
#include <vector>

#if defined(__CUDACC__)
#define MANY_NOINLINE __noinline__
#else
#define MANY_NOINLINE
#endif

/// x -> gain x + offset in one word: the gain above, the offset below.
struct small_map {
  std::uint32_t word;
  KALSCAN_HD constexpr small_map() : word(0) {}
  KALSCAN_HD constexpr small_map(std::uint32_t gain, std::uint32_t offset) : word(gain << 16 | (offset & 0xffff)) {}
  friend bool operator==(const small_map&, const small_map&) = default;
};

template <int K>
struct many {
  small_map maps[K];
  friend bool operator==(const many&, const many&) = default;
};

/// Counts, where `seen` is given, the operands that carry the mark of memory that nobody wrote.
template <int K>
struct many_monoid {
  static constexpr std::uint32_t poison = 0xdbdb;
  int* seen = nullptr;

  KALSCAN_HD many<K> identity() const {
    many<K> x;
    for (auto& e : x.maps) e = {1, 0};
    return x;
  }
  KALSCAN_HD many<K> operator()(const many<K>& earlier, const many<K>& later) const {
    if constexpr (K <= 8) {
      return combine(earlier, later);
    } else {
      return call(earlier, later);
    }
  }

 private:
  /// Large elements by a call: the kernels under test combine at many filled, which would take minutes to compile.
  KALSCAN_HD MANY_NOINLINE many<K> call(const many<K>& earlier, const many<K>& later) const {
    return combine(earlier, later);
  }
  KALSCAN_HD many<K> combine(const many<K>& earlier, const many<K>& later) const {
    many<K> x;
    bool poisoned = false;
    for (int i = 0; i < K; ++i) {
      const std::uint32_t one = earlier.maps[i].word, two = later.maps[i].word;
      x.maps[i] = {(two >> 16) * (one >> 16), (two >> 16) * (one & 0xffff) + (two & 0xffff)};
      poisoned = poisoned || one == (poison << 16 | poison) || two == (poison << 16 | poison);
    }
#if defined(__CUDA_ARCH__)
    if (poisoned && seen != nullptr) atomicAdd(seen, 1);
#endif
    return x;
  }
};
static_assert(kalscan::monoid<many_monoid<5>>);

/// Gains are odd, so that no product forgets; none is the poison.
template <int K>
std::vector<many<K>> random_many(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<many<K>> x(n);
  for (auto& e : x)
    for (auto& m : e.maps) m = {static_cast<std::uint32_t>((engine() & 0x7ffe) | 1), static_cast<std::uint32_t>(engine() & 0xffff)};
  return x;
}
