// SPDX-License-Identifier: MIT
// What the kernels of filter and smoother do, on the host: the same chunks, the same order of operations.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/device/diffuse_smoother.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <vector>

namespace device_chunks {

/// Elements before chunk k come together by doubling distances among `threads` neighbours, then from block to block.
/// Calls replay(i, k, state before) for each chunk.
template <class Traversal, class Replay>
void run(const Traversal& x, std::int64_t threads, Replay replay) {
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
        total += replay(i, block + k, k == 0 ? carry : Traversal::act(all[static_cast<std::size_t>(k - 1)], carry));
      }
      if (!all.empty()) carry = Traversal::act(all.back(), carry);
    }
    if (x.has_sum() && chunks > 0) x.finish_sum(i, total);
  }
}

template <class Traversal>
void run(const Traversal& x, std::int64_t threads) {
  run(x, threads, [&](std::int64_t i, std::int64_t k, const auto& before) {
    return kalscan::detail::replay_chunk(x, i, k, before);
  });
}

/// The smoother of a diffuse prior, whose equations begin up to `window` steps later.
template <class Model>
void run_diffuse(kalscan::detail::information_smoother<Model> x, std::int64_t threads, std::int64_t window) {
  using known = kalscan::detail::information_smoother<Model>;
  using smoother = kalscan::detail::equations_smoother<Model>;
  const smoother rest(x, window);
  x.most_chunks = x.series.longest / x.chunk + 1;
  const auto all = static_cast<std::size_t>(x.most_chunks * x.series.count);
  std::vector<kalscan::detail::unknown_steps<typename known::T, known::n>> unknown(all);
  std::vector<typename known::state> before(all);
  std::vector<typename smoother::state> later(all);
  x.unknown = unknown.data();
  const auto at = [&](std::int64_t i, std::int64_t k) { return static_cast<std::size_t>(i * x.most_chunks + k); };
  run(x, threads, [&](std::int64_t i, std::int64_t k, const auto& s) {
    before[at(i, k)] = s;
    return kalscan::detail::replay_chunk(x, i, k, s);
  });
  const auto for_each = [&](auto f) {
    for (std::int64_t i = 0; i < x.series.count; ++i) {
      for (std::int64_t k = 0; k < x.chunks(i); ++k) {
        if (unknown[at(i, k)].last >= 0) f(i, k);
      }
    }
  };
  for_each([&](std::int64_t i, std::int64_t k) {
    later[at(i, k)] = rest.equations_at(x, i, k, [&](std::int64_t from) { return before[at(i, from)]; });
  });
  for_each([&](std::int64_t i, std::int64_t k) {
    typename smoother::replay_type replay(rest, i, k, unknown[at(i, k)].last, later[at(i, k)]);
    static_cast<void>(kalscan::detail::replay_steps_into(replay, rest.out));
  });
}

}  // namespace device_chunks
