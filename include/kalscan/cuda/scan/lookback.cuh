// SPDX-License-Identifier: MIT
// Look-back: how the tiles of one launch hand their carries on, over a tree that is fixed by the tiles' numbers.
#pragma once

#include <cstdint>
#include <kalscan/cuda/scan/tiles.hpp>
#include <kalscan/cuda/scope/shuffle_words.cuh>
#include <kalscan/cuda/scope/warp.cuh>

namespace kalscan::detail {

/// Values that one block leaves for others. Each 32-bit word travels with a mark in one 64-bit access, so that a word
/// is there or not, and no fence is needed. All marks must be zero before the launch.
template <class T>
struct mailbox {
  std::uint64_t* memory;
  static constexpr int words = device_words<T>;

  __device__ void put(std::int64_t index, const T& x) const {
    const packed_words<T> packed = pack_words(x);
#pragma unroll(unroll_words<T>)
    for (int i = 0; i < words; ++i) {
      const std::uint64_t marked = (std::uint64_t{1} << 32) | packed.word[i];
      asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(memory + index * words + i), "l"(marked) : "memory");
    }
  }
  /// Waits until the value is there, but not for ever: returns whether it is.
  __device__ bool wait(std::int64_t index, T& x) const {
    constexpr int at_once = words < 8 ? words : 8;  // loads in flight at once
    packed_words<T> packed;
    int looks = 4096;  // some milliseconds
#pragma unroll(words <= 32 ? 4 : 1)
    for (int first = 0; first < words; first += at_once) {
      bool there;
      do {
        there = true;
#pragma unroll
        for (int i = first; i < first + at_once && i < words; ++i) {
          std::uint64_t marked;
          asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];"
                       : "=l"(marked)
                       : "l"(memory + index * words + i)
                       : "memory");
          packed.word[i] = static_cast<unsigned>(marked);
          there = there && marked >> 32 != 0;
        }
      } while (!there && --looks > 0);
      if (!there) return false;
    }
    x = unpack_words<T>(packed);
    return true;
  }
};

/// The carries of the tiles of many rows, by the tree of lookback_tree. What a tile combines to find its carry follows
/// from its number alone, so the bits are the same on every run, however the tiles are scheduled.
template <class R>
struct lookback {
  using state = typename R::state_type;
  using element = element_t<monoid_t<R>>;

  lookback_tree tree;
  mailbox<element> tiles, bundles;
  mailbox<state> spans;

  static constexpr std::int64_t marks(std::int64_t rows, std::int64_t tiles_in_row) {
    const lookback_tree tree(tiles_in_row);
    return rows * ((tree.tiles + tree.bundles) * device_words<element> + tree.spans * device_words<state>);
  }
  lookback(std::uint64_t* memory, std::int64_t rows, std::int64_t tiles_in_row)
      : tree(tiles_in_row),
        tiles{memory},
        bundles{tiles.memory + rows * tree.tiles * device_words<element>},
        spans{bundles.memory + rows * tree.bundles * device_words<element>} {}

  /// Called by all threads of one warp, with the tile's number in its row and its element. Makes the state before the
  /// row that before the tile, where `needed` or where later tiles wait for it; else what it makes is meaningless.
  /// Returns false where an earlier tile has left nothing for a long time.
  __device__ bool carry(const R& r, std::int64_t row, std::int64_t tile, const element& own, bool needed,
                        state& s) const {
    const lookback_tree::position at = tree.at(tile);
    warp<monoid_t<R>> threads(r.monoid());
    const int thread = threads.thread_rank();
    bool there = true;

    if (thread == 0 && !at.last && !at.closes_bundle) tiles.put(tree.tile_index(row, tile), own);
    if (!needed && !at.closes_bundle) return true;
    element in_this_bundle;
    if (at.in_bundle > 0) {
      element x;
      if (thread < at.in_bundle)
        there = tiles.wait(tree.tile_index(row, at.bundle * lookback_tree::fan + thread), x);
      if (!__all_sync(0xffffffffu, there)) return false;
      in_this_bundle = threads.reduce(x, valid(at.in_bundle));
    }
    element whole_bundle;
    if (at.closes_bundle) {
      whole_bundle = r.monoid()(in_this_bundle, own);
      if (thread == 0 && !at.closes_span) bundles.put(tree.bundle_index(row, at.bundle), whole_bundle);
    }
    if (!needed && !at.closes_span) return true;
    element in_this_span;
    if (at.in_span > 0) {
      element x;
      if (thread < at.in_span)
        there = bundles.wait(tree.bundle_index(row, at.span * lookback_tree::fan + thread), x);
      if (!__all_sync(0xffffffffu, there)) return false;
      in_this_span = threads.reduce(x, valid(at.in_span));
    }
    if (at.span > 0) there = spans.wait(tree.span_index(row, at.span), s);
    if (!__all_sync(0xffffffffu, there)) return false;
    if (at.in_span > 0) s = r.act(in_this_span, s);
    if (thread == 0 && at.closes_span) spans.put(tree.span_index(row, at.span + 1), r.act(whole_bundle, s));
    if (at.in_bundle > 0) s = r.act(in_this_bundle, s);
    return true;
  }
};

}  // namespace kalscan::detail
