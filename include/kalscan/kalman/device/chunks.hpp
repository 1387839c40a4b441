// SPDX-License-Identifier: MIT
// How a device cuts time into chunks, and how many threads and blocks take them: plain arithmetic, tested on the host.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// Elements up to so many bytes are small: a thread has registers for two of them.
inline constexpr std::size_t small_element = 256;

/// Threads of a block: as many as have room for an element each in 80 KiB of shared memory, from 32 to 128.
template <class Element>
inline constexpr int chunk_threads =
    128 * sizeof(Element) <= 80 * 1024 ? 128 : 64 * sizeof(Element) <= 80 * 1024 ? 64 : 32;
template <class Traversal>
inline constexpr int chunk_threads_of = chunk_threads<typename Traversal::element>;
template <class Traversal>
inline constexpr std::size_t chunk_shared_bytes = sizeof(typename Traversal::element) * chunk_threads_of<Traversal>;

/// Threads of the block that carries, twice as many where elements are small.
template <class Traversal>
inline constexpr int carry_threads =
    sizeof(typename Traversal::element) <= small_element ? 2 * chunk_threads_of<Traversal> : chunk_threads_of<Traversal>;
template <class Traversal>
inline constexpr std::size_t carry_shared_bytes = sizeof(typename Traversal::element) * carry_threads<Traversal>;

/// Blocks that a multiprocessor is to hold at once while chunks are replayed: as many as leave a thread the registers that
/// a step wants, by measurement of 2, 4 and 8 states in float. With five, the smoother of two states is faster, its filter
/// slower than with four.
template <class Traversal>
inline constexpr int replay_blocks = [] {
  constexpr std::size_t size = sizeof(typename Traversal::element);
  constexpr bool forward = Traversal::replay_type::direction > 0;
  return size > small_element ? 256 / chunk_threads_of<Traversal> : forward ? 4 : size > 64 ? 3 : 5;
}();

/// Series so many, or so short, are taken by a thread each.
inline constexpr std::int64_t many_series = 4096, short_series = 32;

/// Multiprocessors of a large device. Not of the one at hand: chunks, and so bits, are to be the same on all.
inline constexpr std::int64_t many_multiprocessors = 132;

/// Steps of a chunk: `given` where that is not 0; whole series where these are many or short. Else so many that a large
/// device replays all chunks at once, a multiple of four, with which rows begin at multiples of 32 bytes; a traversal
/// with chunk_for may choose another number then.
template <class Traversal>
constexpr std::int64_t chunk_of_time(std::int64_t given, std::int64_t longest, std::int64_t count) {
  if (given > 0) return (std::min)(given, (std::max<std::int64_t>)(longest, 1));
  if (count >= many_series || longest <= short_series) return (std::max<std::int64_t>)(longest, 1);
  constexpr std::int64_t chunks = many_multiprocessors * replay_blocks<Traversal> * chunk_threads_of<Traversal>;
  const std::int64_t quarter = (longest * count + 4 * chunks - 1) / (4 * chunks);
  const std::int64_t chunk = 4 * (std::max)(quarter, std::int64_t{1});
  if constexpr (requires { Traversal::chunk_for(chunk); }) {
    return Traversal::chunk_for(chunk);
  } else {
    return chunk;
  }
}

/// How a long series is cut, from its first step or, by the smoother, from its last. Near its ends, where covariances have
/// not settled, a step costs many times as much as elsewhere: the first 32 chunks are short, so that all threads of a
/// warp take such steps together, and few of them; and so are the last ones.
struct cuts_with_short_ends {
  static constexpr std::int64_t short_steps = 4, short_chunks = 32, end_steps = short_steps * short_chunks;

  std::int64_t chunk;

  /// No, if chunks are hardly longer than short ones, or so few that short ones would be a large share of them.
  KALSCAN_HD constexpr bool has_short_ends(std::int64_t length) const {
    return chunk >= 4 * short_steps && length / chunk >= 8 * short_chunks;
  }
  /// How many chunks of length `chunk` lie between the short ends.
  KALSCAN_HD constexpr std::int64_t long_chunks(std::int64_t length) const { return (length - 2 * end_steps) / chunk; }
  KALSCAN_HD constexpr std::int64_t chunks(std::int64_t length) const {
    if (!has_short_ends(length)) return (length + chunk - 1) / chunk;
    const std::int64_t inner = long_chunks(length);
    return inner + (length - inner * chunk + short_steps - 1) / short_steps;
  }
  /// Steps before chunk k.
  KALSCAN_HD constexpr std::int64_t steps_before(std::int64_t k, std::int64_t length) const {
    if (!has_short_ends(length)) return k * chunk;
    const std::int64_t past = k > short_chunks ? k - short_chunks : 0, inner = long_chunks(length);
    return k * short_steps + (past < inner ? past : inner) * (chunk - short_steps);
  }
  KALSCAN_HD constexpr std::int64_t steps_through(std::int64_t k, std::int64_t length) const {
    const std::int64_t end = steps_before(k + 1, length);
    return end < length ? end : length;
  }
  /// The most chunks that a series of at most `longest` steps can have.
  constexpr std::int64_t most_chunks(std::int64_t longest) const {
    return longest / chunk + 1 + (has_short_ends(longest) ? 2 * short_chunks + chunk / short_steps : 0);
  }
};

/// The most chunks that a series of at most `longest` steps can have.
template <class Traversal>
constexpr std::int64_t most_chunks(std::int64_t chunk, std::int64_t longest) {
  if constexpr (requires { Traversal::chunks_at_most(chunk, longest); }) {
    return Traversal::chunks_at_most(chunk, longest);
  } else {
    return (longest + chunk - 1) / chunk;
  }
}

}  // namespace kalscan::detail
