// SPDX-License-Identifier: MIT
// An exact operator that does not commute, and random elements of it.
#pragma once

#include <cstdint>
#include <kalscan/monoids/affine.hpp>
#include <random>
#include <vector>

namespace {

using map = kalscan::affine_map<std::uint32_t>;
using monoid = kalscan::affine_monoid<std::uint32_t>;
constexpr std::int64_t chunk = 64;
constexpr map start{3, 5};

struct shape {
  std::int64_t batch, time, lanes;
};

inline std::vector<map> random_maps(std::int64_t n, std::uint64_t seed = 1) {
  std::mt19937_64 engine(seed);
  std::vector<map> x(static_cast<std::size_t>(n));
  for (auto& e : x) e = {static_cast<std::uint32_t>(engine()), static_cast<std::uint32_t>(engine())};
  return x;
}

}  // namespace
