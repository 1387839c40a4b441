// SPDX-License-Identifier: MIT
// Fewer checks of the same kind where a tool makes kernels many times slower.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <vector>

namespace kla_test {

/// Whether somebody asks for short runs.
inline bool under_a_tool() { return std::getenv("KALSCAN_TEST_LONGEST") != nullptr; }

/// All of them, but under a tool the first few.
template <class T>
std::vector<T> or_few(std::vector<T> all, std::size_t few) {
  if (under_a_tool() && all.size() > few) all.resize(few);
  return all;
}

}  // namespace kla_test
