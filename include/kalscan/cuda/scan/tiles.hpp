// SPDX-License-Identifier: MIT
// Tiles of contiguous rows: which one a block takes, and what a tile's carry is combined from. Plain index arithmetic,
// for host and device; tests/kla/device_indices.cpp holds it against its definitions without a GPU.
#pragma once

#include <cstdint>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// Tile `index`, in the order of the scan, of a row. Backward in time is the mirror image in memory, where the tile
/// begins `begin` elements after the row's lowest address; the short tile is the one that memory ends with.
struct row_tile {
  std::int64_t row, index, begin;
  int valid;  // elements

  /// From a ticket: earlier tiles of all rows first.
  KALSCAN_HD static row_tile of_ticket(std::int64_t ticket, std::int64_t rows, std::int64_t tiles, int size,
                                       std::int64_t length, bool backward) {
    row_tile x{};
    x.index = rows == 1 ? ticket : ticket / rows, x.row = rows == 1 ? 0 : ticket % rows;
    x.begin = (backward ? tiles - 1 - x.index : x.index) * size;
    x.valid = static_cast<int>(length - x.begin < size ? length - x.begin : size);
    return x;
  }
};

/// Look-back over a tree that the tiles' numbers fix: 32 tiles make a group, 32 groups a span. The carry of tile 2085 =
/// (2 * 32 + 1) * 32 + 5 is the state after spans 0 and 1, then group 64, then tiles 2080 ... 2084.
struct lookback_tree {
  static constexpr std::int64_t fan = 32;
  std::int64_t tiles, groups, spans;  // of a row

  KALSCAN_HD constexpr explicit lookback_tree(std::int64_t tiles_)
      : tiles(tiles_), groups((tiles_ + fan - 1) / fan), spans((groups + fan - 1) / fan) {}

  /// A tile leaves its element, or the group's where it closes one, or the state after the span where it closes that.
  struct position {
    std::int64_t tile, group, span;
    int in_group, in_span;  // tiles before it in its group, and groups before its own in its span
    bool last, closes_group, closes_span;
  };
  KALSCAN_HD constexpr position at(std::int64_t tile) const {
    position x{};
    x.tile = tile, x.group = tile / fan, x.span = x.group / fan;
    x.in_group = static_cast<int>(tile % fan), x.in_span = static_cast<int>(x.group % fan);
    x.last = tile + 1 == tiles;
    x.closes_group = x.in_group == fan - 1 && !x.last;
    x.closes_span = x.closes_group && x.in_span == fan - 1;
    return x;
  }

  // Where elements and states are left, among those of all rows. The state at a span is the one before it.
  KALSCAN_HD constexpr std::int64_t tile_slot(std::int64_t row, std::int64_t tile) const { return row * tiles + tile; }
  KALSCAN_HD constexpr std::int64_t group_slot(std::int64_t row, std::int64_t group) const {
    return row * groups + group;
  }
  KALSCAN_HD constexpr std::int64_t span_slot(std::int64_t row, std::int64_t span) const { return row * spans + span; }
};

}  // namespace kalscan::detail
