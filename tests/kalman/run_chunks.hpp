// SPDX-License-Identifier: MIT
// What the kernels of filter and smoother do, on the host: the same chunks, the same order of operations.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <vector>

namespace device_chunks {

/// Elements before chunk k come together by doubling distances among `threads` neighbours, then from block to block.
template <class Traversal>
void run(const Traversal& x, std::int64_t threads) {
  for (std::int64_t i = 0; i < x.series.count; ++i) {
    x.begin(i);
    const std::int64_t chunks = x.chunks(i);
    auto carry = x.start(i);
    typename Traversal::sum total = 0;
    for (std::int64_t block = 0; block < chunks; block += threads) {
      const auto count = std::min(threads, chunks - block);
      std::vector<typename Traversal::element> all;
      if (chunks > 1) {
        for (std::int64_t k = 0; k < count; ++k) all.push_back(x.absorb(i, block + k));
      }
      for (std::int64_t d = 1; d < std::ssize(all); d *= 2) {
        const auto before = all;
        for (auto k = static_cast<std::size_t>(d); k < all.size(); ++k)
          all[k] = Traversal::combine(before[k - static_cast<std::size_t>(d)], before[k]);
      }
      for (std::int64_t k = 0; k < count; ++k) {
        total += kalscan::detail::replay_chunk(x, i, block + k,
                          k == 0 ? carry : Traversal::act(all[static_cast<std::size_t>(k - 1)], carry));
      }
      if (!all.empty()) carry = Traversal::act(all.back(), carry);
    }
    if (x.has_sum() && chunks > 0) x.finish_sum(i, total);
  }
}

}  // namespace device_chunks
