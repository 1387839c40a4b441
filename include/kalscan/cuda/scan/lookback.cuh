// SPDX-License-Identifier: MIT
// How the tiles of one launch hand their carries on: look-back over a tree that is fixed by the tiles' numbers.
#pragma once

#include <cstdint>
#include <kalscan/cuda/scope/shuffle_words.cuh>
#include <kalscan/cuda/scope/warp.cuh>

namespace kalscan::detail {

/// Values that one block leaves for others. Each 32-bit word travels with a mark in one 64-bit access, so that a word
/// is there or not, and no fence is needed. All marks must be zero before the launch.
template <class T>
struct mailbox {
  std::uint64_t* slots;
  static constexpr int words = device_words<T>;

  __device__ void put(std::int64_t slot, const T& x) const {
    const packed_words<T> packed = pack_words(x);
#pragma unroll(unroll_words<T>)
    for (int i = 0; i < words; ++i) {
      const std::uint64_t marked = (std::uint64_t{1} << 32) | packed.word[i];
      asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(slots + slot * words + i), "l"(marked) : "memory");
    }
  }
  /// Waits until the value is there.
  __device__ T wait(std::int64_t slot) const {
    constexpr int group = words < 8 ? words : 8;  // loads in flight together
    packed_words<T> packed;
#pragma unroll(words <= 32 ? 4 : 1)
    for (int first = 0; first < words; first += group) {
      bool there;
      do {
        there = true;
#pragma unroll
        for (int i = first; i < first + group && i < words; ++i) {
          std::uint64_t marked;
          asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(marked) : "l"(slots + slot * words + i) : "memory");
          packed.word[i] = static_cast<unsigned>(marked);
          there = there && marked >> 32 != 0;
        }
      } while (!there);
    }
    return unpack_words<T>(packed);
  }
};

/// The carries of the tiles of many rows. In a row, 32 tiles make a group and 32 groups a span. A tile leaves its
/// element; the last tile of a group leaves the group's; the last tile of a span leaves the state after it. What a tile
/// combines to find its carry follows from its number alone, so the bits are the same on every run, however the tiles
/// are scheduled. Tiles wait for earlier ones only, and those take lower tickets, so they are running or done.
template <class R>
struct lookback {
  using state = typename R::state_type;
  using element = element_t<monoid_t<R>>;

  mailbox<element> tiles, groups;
  mailbox<state> spans;
  std::int64_t tiles_in_row, groups_in_row, spans_in_row;

  static constexpr std::int64_t fan = 32;
  static constexpr std::int64_t marks(std::int64_t rows, std::int64_t tiles_in_row) {
    const std::int64_t groups = (tiles_in_row + fan - 1) / fan, spans = (groups + fan - 1) / fan;
    return rows * ((tiles_in_row + groups) * device_words<element> + spans * device_words<state>);
  }
  lookback(std::uint64_t* memory, std::int64_t rows, std::int64_t tiles_)
      : tiles_in_row(tiles_), groups_in_row((tiles_ + fan - 1) / fan), spans_in_row((groups_in_row + fan - 1) / fan) {
    tiles.slots = memory;
    groups.slots = tiles.slots + rows * tiles_in_row * device_words<element>;
    spans.slots = groups.slots + rows * groups_in_row * device_words<element>;
  }

  /// Called by all lanes of one warp, with the tile's number in its row and its element. Returns the state before the
  /// tile, given the one before the row, where `needed` or where later tiles wait for it; else what it returns is
  /// meaningless.
  __device__ state carry(const R& r, std::int64_t row, std::int64_t tile, const element& own, const state& before_row,
                         bool needed) const {
    const bool last = tile + 1 == tiles_in_row;
    const std::int64_t group = tile / fan, span = group / fan;
    const int in_group = static_cast<int>(tile % fan), in_span = static_cast<int>(group % fan);
    const bool closes_group = in_group == fan - 1 && !last, closes_span = closes_group && in_span == fan - 1;
    warp<monoid_t<R>> lanes(r.monoid());
    const int lane = lanes.rank();

    if (lane == 0 && !last && !closes_group) tiles.put(row * tiles_in_row + tile, own);
    if (!needed && !closes_group) return before_row;
    element in_this_group;
    if (in_group > 0) {
      element x;
      if (lane < in_group) x = tiles.wait(row * tiles_in_row + group * fan + lane);
      in_this_group = lanes.reduce(x, valid(in_group));
    }
    element whole_group;
    if (closes_group) {
      whole_group = r.monoid()(in_this_group, own);
      if (lane == 0 && !closes_span) groups.put(row * groups_in_row + group, whole_group);
    }
    if (!needed && !closes_span) return before_row;
    state s = before_row;
    element in_this_span;
    if (in_span > 0) {
      element x;
      if (lane < in_span) x = groups.wait(row * groups_in_row + span * fan + lane);
      in_this_span = lanes.reduce(x, valid(in_span));
    }
    if (span > 0) s = spans.wait(row * spans_in_row + span);
    if (in_span > 0) s = r.act(in_this_span, s);
    if (lane == 0 && closes_span) spans.put(row * spans_in_row + span + 1, r.act(whole_group, s));
    if (in_group > 0) s = r.act(in_this_group, s);
    return s;
  }
};

}  // namespace kalscan::detail
