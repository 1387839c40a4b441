// SPDX-License-Identifier: MIT
// The index arithmetic of the device, held against its definitions: whatever there is, exactly one thread takes it.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <kalscan/cuda/scan/tiles.hpp>
#include <kalscan/cuda/stretches.hpp>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <map>
#include <random>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../instrument.hpp"

namespace device_indices_tests {
namespace {

using namespace kalscan::detail;
using kalscan::mixer_shape;
using index = std::int64_t;

/// How often each thing was taken.
template <class... Index>
class takers {
 public:
  void take(Index... i) { ++counts_[{i...}]; }
  bool once(index things) const {
    return std::ssize(counts_) == things &&
           std::all_of(counts_.begin(), counts_.end(), [](const auto& x) { return x.second == 1; });
  }

 private:
  std::map<std::tuple<Index...>, int> counts_;
};

/// Calls f(layout, states) for the kernels of forward (eight states a thread at most) and backward (four, in tiles from
/// checkpoint to checkpoint, shorter ones for larger states), with numbers of states that they serve.
template <lanes_kind Kind, class F>
void with_kind(F f, const std::vector<int>& all_states) {
  const auto in_tiles = [&]<std::size_t... Bytes>(int states, std::index_sequence<Bytes...>) {
    (f(lane_layout<lanes_kind{Kind.states, Kind.group, Kind.varying, Kind.full, Kind.splits,
                              backward_tile(Kind.states, Bytes)}>{group_of(states, Kind.states)},
       states),
     ...);
  };
  for (const int states : all_states) {
    f(lane_layout<Kind>{group_of(states, Kind.states)}, states);
    in_tiles(states, std::index_sequence<8, 16, 32>{});
  }
}
template <class F>
void for_each_kind(F f) {
  const auto own = [&]<int... S>(std::integer_sequence<int, S...>) {
    (with_kind<kind_for(S, false, 4)>(f, {S}), ...);
    (with_kind<kind_for(S, false, 8)>(f, {S}), ...);
  };
  own(std::integer_sequence<int, 4, 8, 16, 32, 64>{});
  std::vector<int> few, many;
  for (int states = 1; states <= 128; states += unless_slow(1, 11))
    if (!has_own_kernel(states)) few.push_back(states);
  for (int states = 129; states <= 256; states += states < 131 || states > 250 ? 1 : 30) many.push_back(states);
  with_kind<kind_for(1, false, 8)>(f, few);
  with_kind<kind_for(1, true, 8)>(f, {1, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128});
  with_kind<kind_for(256, true, 8)>(f, many);
  with_kind<kind_for(256, false, 4)>(f, many);
  f(lane_layout<lanes_kind{.states = 16, .group = 1, .full = true, .splits = false, .tile = 16}>{1}, 16);
}

TEST_CASE("every lane of a block has one thread, and a kernel knows its lanes where it says so") {
  for_each_kind([](const auto& layout, int states) {
    CAPTURE(states);
    CAPTURE(layout.group());
    takers<int, int> lanes;
    for (int thread = 0; thread < layout.threads(); ++thread) {
      for (int j = 0; j < layout.states; ++j) {
        const int s = layout.number_in_group(thread) * layout.states + j;
        if (s < states) lanes.take(layout.channel_of(thread), s);
      }
    }
    CHECK(lanes.once(static_cast<index>(layout.channels()) * states));
    CHECK(layout.group() <= 32);
    CHECK(layout.padded_states() >= states);
    CHECK((!layout.kind.full || layout.padded_states() == states));
    CHECK(layout.tile() % 4 == 0);
  });
  for (index states = 1; states <= 256; ++states)
    CHECK(channels_of_block(states) * group_of(states, states_of_thread(states)) == block_threads);
}

TEST_CASE("every value of a tile is staged by one thread, at a place of its own") {
  for_each_kind([](const auto& layout, int states) {
    using L = std::remove_cvref_t<decltype(layout)>;
    CAPTURE(states);
    CAPTURE(layout.group());
    takers<int, int> channels, values;
    takers<int> places;
    bool whole_channels = true, whole_states = true;
    CHECK(layout.channel_units() <= L::most_channel_units);
    for (int thread = 0; thread < layout.threads(); ++thread) {
      for (int n = 0; n < layout.channel_units(); ++n) {
        const int first = layout.staged_step(thread) + 4 * n;
        if (first >= layout.tile()) whole_channels = false;
        for (int step = first; step < first + 4 && first < layout.tile(); ++step)
          channels.take(layout.staged_channel(thread), step);
      }
      for (int n = 0; n < L::state_units; ++n) {
        const int unit = thread + n * layout.threads(), step = layout.step_of_unit(unit);
        if (step >= layout.tile()) {
          whole_states = false;
          continue;
        }
        values.take(step, layout.state_of_unit(unit));
        places.take(layout.term_index(step, layout.state_of_unit(unit)));
        CHECK(layout.term_index(step, layout.state_of_unit(unit)) < layout.tile() * layout.padded_states());
      }
    }
    CHECK(channels.once(index(layout.channels()) * layout.tile()));
    CHECK(values.once(index(layout.tile()) * layout.padded_states()));
    CHECK(places.once(index(layout.tile()) * layout.padded_states()));
    CHECK((!L::whole_channel_units || whole_channels));
    CHECK((!L::whole_state_units || whole_states));
    // Thread g of a group finds the terms of its j-th state at step t where [(t * states + j) * group + g] is.
    for (int s = 0; s < layout.padded_states(); ++s)
      CHECK(layout.term_index(3, s) == (3 * layout.states + s % layout.states) * layout.group() + s / layout.states);
  });
}

TEST_CASE("of four sums over a group, its first four threads keep each one once") {
  for (int group = 1; group <= 32; group *= 2) {
    CAPTURE(group);
    takers<int> steps;
    for (int g = 0; g < group; ++g) {
      for (int i = 0; i < own_steps(group); ++i) {
        if (g < 4) steps.take(own_step(g, group) + i);
        CHECK(own_step(g, group) == own_step(g % 4, group));
      }
    }
    CHECK(steps.once(4));
  }
}

TEST_CASE("sums over channels take every channel of every row once") {
  for (int group = 1; group <= 32; group *= 2) {
    for (const int steps : {4, 16}) {
      CAPTURE(group);
      CAPTURE(steps);
      const channel_sum_rows sums(steps, group);
      takers<int, int, int> taken;
      for (int first = 0; first < sums.rows; first += sums.rows_at_once()) {
        for (int thread = 0; thread < block_threads; ++thread) {
          const int row = first + sums.first_row(thread);
          for (int c = sums.part(thread); c < block_threads / group; c += sums.parts)
            taken.take(sums.step(row), sums.thread_of_group(row), c);
        }
      }
      CHECK(taken.once(steps * block_threads));
    }
  }
}

/// Every step of every sequence is in one chunk, and chunks follow one another in the order of their slots.
void check_cuts(const mixer_shape& shape, index chunk) {
  time_cuts cuts = cuts_of(shape, chunk);
  std::vector<index> first_slot{0};
  for (index n = 0; n < cuts.sequences; ++n)
    first_slot.push_back(first_slot.back() + chunks_of(sequence_at(shape, n).length, chunk));
  CHECK(first_slot.back() == cuts.slots);
  if (!shape.offsets.empty()) cuts.offsets = shape.offsets.data(), cuts.first_slot = first_slot.data();
  std::vector<index> next(static_cast<std::size_t>(cuts.sequences)), chunks(next);
  for (index slot = 0; slot < cuts.slots; ++slot) {
    const chunk_range x = cuts[slot];
    const auto n = static_cast<std::size_t>(x.n);
    const sequence_range in = sequence_at(shape, x.n);
    CHECK(x.slot == slot);
    CHECK((x.batch == in.batch && x.first == in.first && x.length == in.length));
    CHECK(x.k == chunks[n]++);
    CHECK(x.from == next[n]);
    CHECK((x.to - x.from == chunk || x.k + 1 == x.chunks));
    CHECK(x.to - x.from <= chunk);
    next[n] = x.to;
    CHECK(cuts.slots_of(x.n).slot == first_slot[n]);
    CHECK(cuts.slots_of(x.n).chunks == x.chunks);
    CHECK(slot == first_slot[n] + x.k);
    for (const index every : {1, 16}) CHECK(x.first_checkpoint(every) == kalscan::first_checkpoint(shape, x.n, every));
  }
  for (index n = 0; n < cuts.sequences; ++n) {
    CHECK(next[static_cast<std::size_t>(n)] == sequence_at(shape, n).length);
    CHECK(chunks[static_cast<std::size_t>(n)] == cuts.slots_of(n).chunks);
  }
}

TEST_CASE("every step of every sequence is in one chunk") {
  std::mt19937_64 engine(11);
  for (const index chunk : {1, 2, 7, 32, 100, 1000}) {
    CAPTURE(chunk);
    for (const index length : {0, 1, 6, 7, 8, 31, 32, 33, 211}) {
      check_cuts({3, length, 1, 1}, chunk);
      std::vector<index> offsets{0};
      for (int n = 0; n < 9; ++n)
        offsets.push_back(offsets.back() + std::uniform_int_distribution<index>(0, n % 3 * length)(engine));
      check_cuts({1, offsets.back(), 1, 1, offsets}, chunk);
    }
  }
}

TEST_CASE("a chunk has the wanted steps, up to a multiple, and whole sequences where lanes abound") {
  for (const index length : {1, 15, 16, 17, 2048, 65536}) {
    for (const index multiple : {1, 4, 16}) {
      for (const index wanted : {0, 1, 7, 64, 5000}) {
        const mixer_shape few{1, length, 64, 16}, many{512, length, 1024, 16};
        const index chunk = chunk_of(wanted, few, true, multiple);
        CHECK((chunk == length || chunk % multiple == 0));
        CHECK(chunk <= std::max(length, multiple));
        if (wanted > 0) CHECK(chunk >= std::min(wanted, length));
        if (wanted > 0 && wanted + multiple < length) CHECK(chunk < wanted + multiple);
        CHECK(chunk_of(wanted, few, false, multiple) == length);
        CHECK(chunk_of(0, many, true, multiple) == length);
        CHECK(chunk_of(-1 - wanted, few, true, multiple) == chunk_of(0, few, true, multiple));
      }
    }
  }
  CHECK(chunk_of(0, {1, 65536, 64, 16}, true, 1) < 65536);
}

TEST_CASE("a last chunk that is to be shorter is, by as much as it should but for rounding") {
  constexpr index wanted_warps = 1056, last_chunk = 65, least_steps = 32;
  int shorter = 0;
  for (index length = 1; length <= 70'000; length += 1 + length / 23) {
    for (const index batch : {1, 2, 3, 8, 11}) {
      CAPTURE(length);
      CAPTURE(batch);
      const mixer_shape shape{batch, length, 341, 16};
      const index warps = batch * channel_blocks(shape) * (block_threads / 32), parts = wanted_warps / warps;
      const time_cuts cuts = cuts_of(shape, chunk_of(0, shape, true, 8, {512, wanted_warps, last_chunk}));
      const index chunks = cuts.slots / batch, last = length - (chunks - 1) * cuts.chunk;
      CHECK(chunks <= 1 + parts);
      if (chunks == 1) continue;
      // `parts` chunks and last_chunk hundredths of one have all steps, and would not if a chunk were a tile shorter.
      CHECK(cuts.chunk * (100 * parts + last_chunk) >= 100 * length);
      CHECK((cuts.chunk == least_steps || (cuts.chunk - 16) * (100 * parts + last_chunk) < 100 * length));
      CHECK((chunks <= parts || 100 * last <= last_chunk * cuts.chunk));
      shorter += chunks > parts ? 1 : 0;
    }
  }
  CHECK(shorter > 100);
}

TEST_CASE("even cuts have as many chunks, of the fewest whole tiles that they can have") {
  int evened = 0;
  for (index length = 0; length <= 5000; length += 1 + length / 37) {
    for (index chunk = 1; chunk <= 700; chunk += 1 + chunk / 9) {
      CAPTURE(length);
      CAPTURE(chunk);
      const time_cuts cuts = cuts_of({3, length, 1, 16}, chunk), even = even_cuts(cuts);
      CHECK(even.slots == cuts.slots);
      CHECK(even.chunk <= cuts.chunk);
      const index chunks = cuts.slots / cuts.sequences;
      index tiles = 16;  // as few whole tiles as reach the end
      while (chunks * tiles < length) tiles += 16;
      if (even.chunk < cuts.chunk) {
        CHECK(even.chunk == tiles);
        ++evened;
      } else {  // there are no shorter chunks that are as many
        CHECK((tiles >= chunk || length == 0));
      }
      bool right = true;  // none is empty, and they follow on each other
      for (index slot = 0; slot < even.slots; ++slot) {
        const chunk_range x = even[slot];
        const bool last = slot % chunks + 1 == chunks;
        right = right && x.from == (slot % chunks) * even.chunk && (x.to > x.from || length == 0) &&
                x.to == (last ? length : x.from + even.chunk);
      }
      CHECK(right);
    }
  }
  CHECK(evened > 100);
  const std::vector<index> offsets{0, 100}, first_slot{0, 2};
  time_cuts packed = cuts_of({1, 100, 1, 16, offsets}, 70);
  CHECK(even_cuts(packed).chunk == 64);
  packed.offsets = offsets.data(), packed.first_slot = first_slot.data();
  CHECK(even_cuts(packed).chunk == 70);
  CHECK(even_cuts(cuts_of({0, 10, 1, 16}, 100)).chunk == 100);
}

TEST_CASE("turns are taken where they save rounds of blocks, and have whole tiles") {
  CHECK(steps_of_turn(704, 1024, 264) == 352);  // three turns: 8 rounds of 352 steps for 3 of 1024
  CHECK(steps_of_turn(264, 1024, 264) == 1024);
  CHECK(steps_of_turn(100, 1024, 264) == 1024);
  CHECK(steps_of_turn(528, 1024, 264) == 1024);
  CHECK(steps_of_turn(300, 100, 264) == 100);  // too short for two
  std::mt19937 random(5);
  for (int trial = 0; trial < 2000; ++trial) {
    const index chains = 1 + random() % 3000, steps = 1 + random() % 5000, at_once = 1 + random() % 600;
    CAPTURE(chains);
    CAPTURE(steps);
    CAPTURE(at_once);
    const index turn = steps_of_turn(chains, steps, at_once), turns = chunks_of(steps, turn);
    const auto rounds = [&](index parts) { return (chains * parts + at_once - 1) / at_once; };
    CHECK(turns <= most_turns);
    CHECK(rounds(turns) * turn <= rounds(1) * steps);
    if (turn == steps) continue;
    CHECK(turn % 16 == 0);
    CHECK(turn >= least_turn_steps);
    CHECK(turn < steps);
    CHECK(chains > at_once);
  }
}

TEST_CASE("a board has room for each chain, and there is none where no relay can be") {
  const auto room = [](const mixer_shape& shape, index chunk) { return board_size(shape, cuts_of(shape, chunk)); };
  CHECK(room({32, 1024, 2048, 16}, 1024) == 32 * 64 + 1);  // blocks of 32 channels
  CHECK(room({32, 1024, 2047, 16}, 2000) == 32 * 64 + 1);
  CHECK(room({32, 1024, 2048, 16}, 512) == 0);             // time is cut
  CHECK(room({32, 100, 2048, 16}, 100) == 0);              // short
  CHECK(room({1, 1024, 2048, 16}, 1024) == 0);             // few
  const std::vector<index> packed{0, 1024};
  CHECK(room({1, 1024, 65536, 16, packed}, 1024) == 0);
}

TEST_CASE("over ranks every chunk has one place among those of one device, and every carry one rank to go to") {
  std::mt19937_64 engine(12);
  for (int trial = 0; trial < 200; ++trial) {
    const index size = 1 + trial % 6, chunk = 1 + trial % 5, batch = 1 + trial % 3;
    std::vector<index> steps;
    for (index r = 0; r < size; ++r)
      steps.push_back(std::max<index>(0, std::uniform_int_distribution<index>(-3, 4)(engine)) * chunk);
    index length = 0;
    for (const index one : steps) length += one;
    const auto slots = [&](const mixer_shape& shape) { return cuts_of(shape, chunk).slots; };
    const device_stretches first{steps, 0};
    const device_slots x = slots_over_ranks(first, {batch, steps[0], 3, 2}, slots);
    CHECK(x.all == slots({batch, length, 3, 2}));
    takers<index, index> taken;
    int begins = 0, ends = 0, part = 0, hand_over = -1;
    for (int r = 0; r < size; ++r) {
      const auto at = static_cast<std::size_t>(r);
      const device_stretches here{steps, r};
      CHECK(x.of_batch[at] * batch <= x.most);
      for (index b = 0; b < batch; ++b)
        for (index k = 0; k < x.of_batch[at]; ++k) taken.take(b, x.first[at] + k);
      if (!here.takes_part()) continue;
      // What a rank receives comes from the one that sends to it.
      ++part, begins += here.ends().begin, ends += here.ends().end;
      CHECK(here.previous() == hand_over);
      if (!here.ends().begin) CHECK(device_stretches{steps, hand_over}.next() == r);
      hand_over = r;
    }
    CHECK(taken.once(x.all));
    CHECK((part > 0 && begins == 1 && ends == 1));
    const device_blocks blocks = blocks_over_ranks(first, 2 * chunk), back = blocks_over_ranks(first, 2 * chunk, true);
    index before = 0, block = 0;
    for (int r = 0; r < size; ++r) {
      const index own = steps[static_cast<std::size_t>(r)];
      CHECK(device_stretches{steps, r}.before() == before);
      const auto at = static_cast<std::size_t>(r);
      const index here = blocks.of_rank[at];
      CHECK(blocks.before[at] == block);
      CHECK(back.before[at] == blocks.all - block - here);
      CHECK((2 * chunk * (here - 1) < std::max<index>(own, 1) && own <= 2 * chunk * here));
      CHECK(here <= blocks.most);
      before += own, block += here;
    }
    CHECK((first.all() == length && blocks.all == block));
  }
}

TEST_CASE("over ranks each part of a packed sequence hands on to the next part, and whole sequences to nobody") {
  std::mt19937_64 engine(13);
  for (int trial = 0; trial < 200; ++trial) {
    const auto size = static_cast<std::size_t>(1 + trial % 6);
    std::vector<index> told(4 * size);
    for (std::size_t r = 0; r < size; ++r) {
      told[r] = static_cast<index>(engine() % 3), told[size + r] = static_cast<index>(engine() % 3);
      told[2 * size + r] = static_cast<index>(engine() % 2), told[3 * size + r] = static_cast<index>(engine() % 4);
    }
    bool open = false;  // whether the last sequence so far goes on
    int last = -1;
    for (int r = 0; r < static_cast<int>(size); ++r) {
      const mixer_device_stretches x(told, size, r);
      CHECK(x.packed);
      if (!x.takes_part()) continue;
      CHECK(x.ends().begin == !open);
      CHECK(x.previous() == last);
      if (open) CHECK(told[2 * size + static_cast<std::size_t>(r)] != 0);
      open = !x.ends().end, last = r;
    }
    CHECK(!open);
    const device_slots slots = slots_over_ranks(mixer_device_stretches(told, size, 0).slots);
    CHECK((slots.first.back() + slots.of_batch.back() == slots.all && slots.all <= slots.most * std::ssize(told) / 4));
    CHECK(!mixer_device_stretches(std::span(told).first(size), size, 0).packed);
  }
}

TEST_CASE("every number of the workspace's arrays has one place") {
  using numbers = std::array<float, 3>;
  const lane_array<numbers, float> x{nullptr, 5};
  takers<index> places;
  for (index slot = 0; slot < 4; ++slot)
    for (index lane = 0; lane < 5; ++lane)
      for (index i = 0; i < 3; ++i) places.take(slot * x.slot_size() + lane + i * x.lanes);
  CHECK(places.once(4 * 5 * 3));
}

TEST_CASE("every element of a row is in one tile of a scan, in order") {
  for (const bool backward : {false, true}) {
    for (const index length : {1, 6, 7, 8, 50}) {
      const int size = 7;
      const index rows = 3, tiles = (length + size - 1) / size;
      takers<index, index> elements;
      std::vector<index> end(3, backward ? length : 0);
      for (index number = 0; number < rows * tiles; ++number) {
        const row_tile x = row_tile::of_number(number, rows, tiles, size, length, backward);
        index& edge = end[static_cast<std::size_t>(x.row)];
        CHECK((backward ? x.begin + x.valid : x.begin) == edge);
        edge = backward ? x.begin : x.begin + x.valid;
        for (index i = 0; i < x.valid; ++i) elements.take(x.row, x.begin + i);
      }
      CHECK(elements.once(rows * length));
    }
  }
}

TEST_CASE("look-back combines exactly the earlier tiles, in order, and waits for nothing that is not left") {
  struct stretch {
    index from, to;
  };
  for (const index count : {1, 2, 31, 32, 33, 64, 65, 1023, 1024, 1025, 2086, 33000}) {
    CAPTURE(count);
    const lookback_tree tree(count);
    std::map<index, stretch> tiles, bundles, spans;  // what was left, and where
    const index row = 2;
    bool right = true;
    for (index tile = 0; tile < count; ++tile) {
      const auto at = tree.at(tile);
      stretch carry{0, 0};
      const auto append = [&](const std::map<index, stretch>& left, index where) {
        const auto x = left.find(where);
        right = right && x != left.end() && x->second.from == carry.to;
        if (x != left.end()) carry.to = x->second.to;
      };
      if (at.span > 0) append(spans, tree.span_index(row, at.span));
      for (index g = at.bundle - at.in_span; g < at.bundle; ++g) append(bundles, tree.bundle_index(row, g));
      const index before_bundle = carry.to;
      for (index t = tile - at.in_bundle; t < tile; ++t) append(tiles, tree.tile_index(row, t));
      right = right && carry.to == tile;
      right = right && !(at.last && (at.closes_bundle || at.closes_span));
      if (at.last) continue;
      if (at.closes_span) {
        spans[tree.span_index(row, at.span + 1)] = {0, tile + 1};
      } else if (at.closes_bundle) {
        bundles[tree.bundle_index(row, at.bundle)] = {before_bundle, tile + 1};
      } else {
        tiles[tree.tile_index(row, tile)] = {tile, tile + 1};
      }
    }
    CHECK(right);
    const auto within = [&](const std::map<index, stretch>& left, index size) {
      return std::all_of(left.begin(), left.end(),
                         [&](const auto& x) { return x.first >= row * size && x.first < (row + 1) * size; });
    };
    CHECK((within(tiles, tree.tiles) && within(bundles, tree.bundles) && within(spans, tree.spans)));
  }
}

}  // namespace
}  // namespace device_indices_tests
