// SPDX-License-Identifier: MIT
// Who has which steps where sequences go over ranks, and where each rank's chunks lie among those of all. Tested on the
// host, by tests/kla/device_indices.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <numeric>
#include <span>
#include <vector>

namespace kalscan::detail {

/// The steps of all ranks, seen from one of them. Those without any take no part in what goes from rank to rank; where
/// no rank has steps, rank 0 does as one device would.
struct device_stretches {
  std::span<const std::int64_t> steps;
  int me;

  int size() const { return static_cast<int>(steps.size()); }
  std::int64_t steps_of(int rank) const { return steps[static_cast<std::size_t>(rank)]; }
  std::int64_t steps_here() const { return steps_of(me); }
  std::int64_t before() const { return std::accumulate(steps.begin(), steps.begin() + me, std::int64_t{0}); }
  std::int64_t all() const { return std::accumulate(steps.begin(), steps.end(), std::int64_t{0}); }
  /// The next rank with steps from `rank` on, in the given direction, or -1.
  int with_steps(int rank, int direction) const {
    while (rank >= 0 && rank < size() && steps_of(rank) == 0) rank += direction;
    return rank < size() ? rank : -1;
  }
  int previous() const { return with_steps(me - 1, -1); }
  int next() const { return with_steps(me + 1, 1); }
  bool takes_part() const { return steps_here() > 0 || (me == 0 && with_steps(0, 1) < 0); }
  stretch_ends ends() const { return {previous() < 0, next() < 0}; }
};

/// The stretches of a mixer's call. With packed sequences those ranks take part that have any, with steps or without.
struct mixer_device_stretches {
  /// What the ranks have told each other: their steps; with packed sequences then how many each has, whether its first
  /// one goes on where the last one before it has stopped, and its slots in a backward pass.
  static constexpr std::size_t numbers_if_packed = 4;

  device_stretches all;
  bool packed = false;
  std::span<const std::int64_t> sequences{}, continues{}, slots{};

  mixer_device_stretches(std::span<const std::int64_t> told, std::size_t ranks, int me)
      : all{told.first(ranks), me}, packed(told.size() == numbers_if_packed * ranks) {
    if (packed) sequences = told.subspan(ranks, ranks), continues = told.subspan(2 * ranks, ranks);
    if (packed) slots = told.subspan(3 * ranks, ranks);
  }
  device_stretches holders() const { return {packed ? sequences : all.steps, all.me}; }
  bool takes_part() const { return holders().takes_part(); }
  int previous() const { return holders().previous(); }
  int next() const { return holders().next(); }
  /// Whether this rank's sequences, or of packed ones the first and the last one, begin and end here.
  stretch_ends ends() const {
    const auto goes_on = [&](int rank) { return !packed || continues[static_cast<std::size_t>(rank)] != 0; };
    return {previous() < 0 || !goes_on(all.me), next() < 0 || !goes_on(next())};
  }
};

/// The chunks of all ranks: of one sequence how many each has, and how many come before these; in all, and at most on
/// one rank, those of the whole batch.
struct device_slots {
  std::vector<std::int64_t> of_batch, first;
  std::int64_t all = 0, most = 0;
};

/// `slots(shape)` are those of the batch on a rank with that shape.
template <class Slots>
device_slots slots_over_ranks(const device_stretches& ranks, mixer_shape shape, Slots slots) {
  device_slots x;
  std::int64_t before = 0;
  for (int r = 0; r < ranks.size(); ++r) {
    shape.time = ranks.steps_of(r);
    const bool takes_part = device_stretches{ranks.steps, r}.takes_part();
    const std::int64_t here = takes_part && shape.batch > 0 ? slots(shape) : 0;
    x.of_batch.push_back(here == 0 ? 0 : here / shape.batch);
    x.first.push_back(before);
    before += x.of_batch.back();
    x.all += here;
    x.most = std::max(x.most, here);
  }
  return x;
}
/// The same for packed sequences, where `slots` has the number of slots of each rank.
inline device_slots slots_over_ranks(std::span<const std::int64_t> slots) {
  device_slots x;
  for (const std::int64_t here : slots) {
    x.of_batch.push_back(here);
    x.first.push_back(x.all);
    x.all += here;
    x.most = std::max(x.most, here);
  }
  return x;
}

/// The blocks of `block` steps that each rank has of one series, the last one of a rank perhaps shorter, and how many
/// are before these in the direction of time.
struct device_blocks {
  std::vector<std::int64_t> of_rank, before;
  std::int64_t all = 0, most = 0;

  /// Whether they are in order where each rank has room for `most` of them, one rank after the other.
  bool are_in_order() const {
    for (std::size_t r = 0; r < of_rank.size(); ++r) {
      if (of_rank[r] > 0 && before[r] != static_cast<std::int64_t>(r) * most) return false;
    }
    return true;
  }
};
inline device_blocks blocks_over_ranks(const device_stretches& ranks, std::int64_t block, bool goes_back = false) {
  device_blocks x;
  x.before.resize(ranks.steps.size());
  for (const std::int64_t steps : ranks.steps) x.of_rank.push_back((steps + block - 1) / block);
  for (std::size_t i = 0; i < x.of_rank.size(); ++i) {
    const std::size_t r = goes_back ? x.of_rank.size() - 1 - i : i;
    x.before[r] = x.all;
    x.all += x.of_rank[r];
    x.most = std::max(x.most, x.of_rank[r]);
  }
  return x;
}

}  // namespace kalscan::detail
