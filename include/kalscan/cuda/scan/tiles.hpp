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

  /// The tile of a number. Numbers count the first tiles of all rows, then the second ones, and so on.
  KALSCAN_HD static row_tile of_number(std::int64_t number, std::int64_t rows, std::int64_t tiles, int size,
                                       std::int64_t length, bool backward) {
    row_tile x{};
    x.index = rows == 1 ? number : number / rows, x.row = rows == 1 ? 0 : number % rows;
    x.begin = (backward ? tiles - 1 - x.index : x.index) * size;
    x.valid = static_cast<int>(length - x.begin < size ? length - x.begin : size);
    return x;
  }
};

/// Look-back over a tree that the tiles' numbers fix: 32 tiles make a bundle, 32 bundles a span. The carry of tile 2085
/// = (2 * 32 + 1) * 32 + 5 is the state after spans 0 and 1, then bundle 64, then tiles 2080 ... 2084.
struct lookback_tree {
  static constexpr std::int64_t fan = 32;
  std::int64_t tiles, bundles, spans;  // of a row

  KALSCAN_HD constexpr explicit lookback_tree(std::int64_t tiles_)
      : tiles(tiles_), bundles((tiles_ + fan - 1) / fan), spans((bundles + fan - 1) / fan) {}

  /// A tile leaves its element, or the bundle's where it closes one, or the state after the span where it closes that.
  struct position {
    std::int64_t tile, bundle, span;
    int in_bundle, in_span;  // tiles before it in its bundle, and bundles before its own in its span
    bool last, closes_bundle, closes_span;
  };
  KALSCAN_HD constexpr position at(std::int64_t tile) const {
    position x{};
    x.tile = tile, x.bundle = tile / fan, x.span = x.bundle / fan;
    x.in_bundle = static_cast<int>(tile % fan), x.in_span = static_cast<int>(x.bundle % fan);
    x.last = tile + 1 == tiles;
    x.closes_bundle = x.in_bundle == fan - 1 && !x.last;
    x.closes_span = x.closes_bundle && x.in_span == fan - 1;
    return x;
  }

  // Where elements and states are left, among those of all rows. The state at a span is the one before it.
  KALSCAN_HD constexpr std::int64_t tile_index(std::int64_t row, std::int64_t tile) const { return row * tiles + tile; }
  KALSCAN_HD constexpr std::int64_t bundle_index(std::int64_t row, std::int64_t bundle) const {
    return row * bundles + bundle;
  }
  KALSCAN_HD constexpr std::int64_t span_index(std::int64_t row, std::int64_t span) const { return row * spans + span; }
};

}  // namespace kalscan::detail
