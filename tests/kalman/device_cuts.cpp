// SPDX-License-Identifier: MIT
// How a device cuts time into chunks, for elements of any size.
#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/device/chunks.hpp>

namespace device_cuts {

using namespace kalscan::detail;

template <std::size_t Bytes, int Direction>
struct traversal {
  struct element {
    std::array<std::byte, Bytes> bytes;
  };
  struct replay_type {
    static constexpr int direction = Direction;
  };
};

/// With elements of 2, 4 and 8 states in float, of 8 in double, and a larger one.
template <class F>
void for_each_traversal(F f) {
  f(traversal<56, 1>{}), f(traversal<56, -1>{});
  f(traversal<176, 1>{}), f(traversal<176, -1>{});
  f(traversal<608, 1>{}), f(traversal<1216, -1>{}), f(traversal<4544, 1>{});
}

template <class Traversal>
void check_cuts() {
  constexpr std::int64_t at_once = 132 * replay_blocks<Traversal> * chunk_threads_of<Traversal>;
  for (const std::int64_t longest : {33, 100, 10'000, 270'336, 270'337, 1'000'000, 50'000'000}) {
    for (const std::int64_t count : {1, 2, 7, 4095}) {
      CAPTURE(longest);
      CAPTURE(count);
      const std::int64_t chunk = chunk_of_time<Traversal>(0, longest, count);
      CHECK(chunk % 4 == 0);
      CHECK((chunk == 4 || longest * count > (chunk - 4) * at_once));  // no longer than it must be
      CHECK(longest * count <= chunk * at_once);
    }
    CHECK(chunk_of_time<Traversal>(0, longest, 4096) == longest);
    CHECK(chunk_of_time<Traversal>(3, longest, 4096) == 3);
  }
  CHECK(chunk_of_time<Traversal>(0, 32, 1) == 32);
  CHECK(chunk_of_time<Traversal>(0, 0, 1) == 1);
}

TEST_CASE("chunks are as many as a large device replays at once, of multiples of four steps; series are whole where they abound") {
  for_each_traversal([]<class X>(X) { check_cuts<X>(); });
}

/// Blocks as they are launched fit a multiprocessor of 65,536 registers and 227 KiB of shared memory.
template <class Traversal>
void check_fit() {
  constexpr int threads = chunk_threads_of<Traversal>, held = threads * replay_blocks<Traversal>;
  CHECK((threads == 32 || threads == 64 || threads == 128));
  CHECK(held <= 65'536 / (sizeof(typename Traversal::element) > small_element ? 255 : 96));
  CHECK((chunk_shared_bytes<Traversal> <= 80 * 1024 || threads == 32));
  CHECK((carry_shared_bytes<Traversal> <= 80 * 1024 || threads == 32));
  CHECK(carry_threads<Traversal> <= 256);
}

TEST_CASE("threads have registers, and elements shared memory") {
  for_each_traversal([]<class X>(X) { check_fit<X>(); });
}

}  // namespace device_cuts
