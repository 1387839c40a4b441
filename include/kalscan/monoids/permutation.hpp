// SPDX-License-Identifier: MIT
// Permutations of N things under composition: a group that is exact and, from N = 3, not commutative.
#pragma once

#include <cstddef>
#include <cstdint>

#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// The permutation i -> image[i] of 0, ..., N-1, with 1 <= N <= 256.
template <std::size_t N>
  requires(N >= 1 && N <= 256)
struct permutation {
  std::uint8_t image[N];

  KALSCAN_HD constexpr std::uint8_t operator[](std::size_t i) const { return image[i]; }
  KALSCAN_HD constexpr const std::uint8_t* begin() const { return image; }
  KALSCAN_HD constexpr const std::uint8_t* end() const { return image + N; }
  friend bool operator==(const permutation&, const permutation&) = default;
};

/// Composition i -> later[earlier[i]]; `earlier` acts first. Exact.
template <std::size_t N>
struct permutation_monoid {
  KALSCAN_HD static constexpr permutation<N> identity() {
    permutation<N> result{};
    for (std::size_t i = 0; i < N; ++i) result.image[i] = static_cast<std::uint8_t>(i);
    return result;
  }
  KALSCAN_HD constexpr permutation<N> operator()(const permutation<N>& earlier, const permutation<N>& later) const {
    permutation<N> result{};
    for (std::size_t i = 0; i < N; ++i) result.image[i] = later[earlier[i]];
    return result;
  }
};

}  // namespace kalscan
