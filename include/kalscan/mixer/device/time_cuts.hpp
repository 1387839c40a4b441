// SPDX-License-Identifier: MIT
// How a mixer's time is cut on the device: chunks of all sequences, numbered by slots, the arrays that have one value a
// lane and slot, and what a call is told of ranks that have other steps of its sequences. For host and device;
// tests/kla/device_indices.cpp tests the index arithmetic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// Chunk k of the `chunks` of sequence n: its steps [from, to), counted in the sequence, which has `length` steps and
/// starts at `first` on the time axis of `batch`.
struct chunk_range {
  std::int64_t n, batch, first, length, k, chunks, from, to, slot;
  bool packed;

  /// The index on the time axis of the checkpoints at which those of the sequence start.
  KALSCAN_HD std::int64_t first_checkpoint(std::int64_t every) const { return packed ? first / every + n : 0; }
};

/// The slots of a sequence's chunks: `chunks` of them from `slot` on.
struct sequence_slots {
  std::int64_t slot, chunks;
};

/// Time is cut into chunks of `chunk` steps, the last one of a sequence shorter.
struct time_cuts {
  std::int64_t chunk, slots, sequences, length;
  // With packed sequences, arrays of sequences + 1 numbers in device memory.
  const std::int64_t *offsets, *first_slot;

  KALSCAN_HD sequence_slots slots_of(std::int64_t n) const {
    if (offsets == nullptr) return {n * (slots / sequences), slots / sequences};
    return {first_slot[n], first_slot[n + 1] - first_slot[n]};
  }
  KALSCAN_HD chunk_range operator[](std::int64_t slot) const {
    chunk_range x{};
    x.slot = slot, x.packed = offsets != nullptr;
    if (offsets == nullptr) {
      x.chunks = slots / sequences;
      x.n = x.batch = slot / x.chunks;
      x.k = slot % x.chunks;
      x.length = length;
    } else {
      std::int64_t low = 0, high = sequences;  // first_slot[low] <= slot < first_slot[high]
      while (high - low > 1) {
        const std::int64_t middle = (low + high) / 2;
        (first_slot[middle] <= slot ? low : high) = middle;
      }
      x.n = low;
      x.first = offsets[low];
      x.length = offsets[low + 1] - x.first;
      x.k = slot - first_slot[low];
      x.chunks = first_slot[low + 1] - first_slot[low];
    }
    x.from = x.k * chunk;
    x.to = x.k + 1 == x.chunks ? x.length : x.from + chunk;
    return x;
  }
};

inline std::int64_t chunks_of(std::int64_t length, std::int64_t chunk) {
  return std::max<std::int64_t>(1, (length + chunk - 1) / chunk);
}

/// How a device is filled. enough_warps: with so many warps of 128 lanes time is not cut. wanted_warps: how many warps
/// there should be where it is cut. last_chunk: the length of a sequence's last chunk, in percent of the others'.
struct device_fill {
  std::int64_t enough_warps = 512, wanted_warps = 2112, last_chunk = 100;
};

/// The blocks that the channels of a sequence take, wherever a thread has the usual number of states.
inline std::int64_t channel_blocks(const mixer_shape& shape) {
  const std::int64_t side = channels_of_block(shape.states);
  return (shape.channels + side - 1) / side;
}

/// The steps of a chunk: a multiple of `multiple`, unless there is one chunk only. `wanted` is the policy's; 0 lets the
/// library choose, and so do negative ones, which come from queries of workspace (verbs refuse them).
///
/// With lanes in parallel each step is taken once, with chunks of time twice or more: so time is not cut where the lanes
/// keep the device busy. An H200, with 528 schedulers, is busy from about one warp of 128 lanes a scheduler on (forward
/// passes have half as many warps, of 256 lanes). With fewer, time is cut into so many chunks that each pass, which takes
/// all chunks but one, has four warps a scheduler (fewer where lanes have more to compute). Chunks have at least 32 steps:
/// with fewer the carry would cost more than they gain.
inline std::int64_t chunk_of(std::int64_t wanted, const mixer_shape& shape, bool may_split, std::int64_t multiple,
                             const device_fill& fill = {}) {
  constexpr std::int64_t least_steps = 32;
  std::int64_t longest = 1;
  for (std::int64_t n = 0; n < shape.sequences(); ++n) longest = (std::max)(longest, sequence_at(shape, n).length);
  if (!may_split) return longest;
  std::int64_t chunk = wanted;
  if (chunk <= 0) {
    const std::int64_t warps = shape.sequences() * channel_blocks(shape) * (block_threads / 32);
    if (warps >= fill.enough_warps) return longest;
    const std::int64_t chunks = 1 + fill.wanted_warps / std::max<std::int64_t>(warps, 1);
    const std::int64_t hundredths = 100 * (chunks - 1) + fill.last_chunk;
    chunk = (std::max)(least_steps, (100 * longest + hundredths - 1) / hundredths);
    chunk = (chunk + 15) / 16 * 16;
  }
  if (chunk >= longest || multiple >= longest) return longest;
  return (chunk + multiple - 1) / multiple * multiple;
}

/// The most turns of a sequence (backend/relay.cuh), and the fewest steps of a turn, which has whole tiles.
inline constexpr std::int64_t most_turns = 16, least_turn_steps = 64;
inline constexpr std::int64_t most_chains = (std::int64_t(1) << 31) / most_turns - 1;  // a launch takes no more blocks

/// How many steps a turn should have where `chains` blocks have `steps` steps each to take and a device runs `at_once`
/// blocks at a time: the number that is done first by this estimate, or `steps` where turns gain less than 3%. Starting
/// a turn takes as long as some 16 steps.
inline std::int64_t steps_of_turn(std::int64_t chains, std::int64_t steps, std::int64_t at_once) {
  const auto time = [&](std::int64_t turn) {
    return (chains * chunks_of(steps, turn) + at_once - 1) / at_once * (turn + 16);
  };
  std::int64_t best = steps;
  if (chains <= at_once || chains > most_chains) return best;
  for (std::int64_t turns = 2; turns <= most_turns; ++turns) {
    const std::int64_t turn = ((steps + turns - 1) / turns + 15) / 16 * 16;
    if (turn < least_turn_steps) break;
    if (time(turn) < time(best)) best = turn;
  }
  return 100 * time(best) < 97 * time(steps) ? best : steps;
}

/// The cuts of a call, without the arrays that packed sequences need (see send_cuts).
inline time_cuts cuts_of(const mixer_shape& shape, std::int64_t chunk) {
  time_cuts x{chunk, 0, shape.sequences(), shape.time, nullptr, nullptr};
  for (std::int64_t n = 0; n < x.sequences; ++n) x.slots += chunks_of(sequence_at(shape, n).length, chunk);
  return x;
}

/// The same number of chunks, but all of one length except for rounding, which makes the last one shorter. Unchanged where
/// chunks would not become shorter, and where sequences are packed.
inline time_cuts even_cuts(time_cuts x) {
  if (x.offsets != nullptr || x.slots == 0 || x.length == 0) return x;
  const std::int64_t chunks = x.slots / x.sequences, chunk = ((x.length + chunks - 1) / chunks + 15) / 16 * 16;
  if (chunk < x.chunk) x.chunk = chunk;  // so that there are no fewer
  return x;
}

/// How many numbers the board of a relay may need: none where sequences are cut or packed, or where there are too few
/// blocks of channels for any device.
inline std::int64_t board_size(const mixer_shape& shape, const time_cuts& cuts) {
  constexpr std::int64_t few = 64;
  const std::int64_t chains = shape.sequences() * channel_blocks(shape);
  const bool whole = shape.offsets.empty() && cuts.slots == cuts.sequences;
  return whole && shape.time >= 2 * least_turn_steps && chains > few ? chains + 1 : 0;
}

/// Arrays [slot][number][lane] of the workspace, for values X of `count` numbers T.
template <class X, class T>
struct lane_array {
  static constexpr std::int64_t count = array_size<X, T>;
  T* data;
  std::int64_t lanes;  // of a slot

  /// The distance from a number of a lane to the same number in the next slot.
  KALSCAN_HD std::int64_t slot_size() const { return count * lanes; }
  /// The first number of a lane; the others follow at distances of `lanes`.
  KALSCAN_HD T* at(std::int64_t slot, std::int64_t lane) const { return data + slot * slot_size() + lane; }
  /// Reads, or writes, the value whose first number is at `first`.
  KALSCAN_HD X get(const T* first) const {
    return from_fields<X, T>([&](auto i) { return first[static_cast<std::int64_t>(i()) * lanes]; });
  }
  KALSCAN_HD X get(std::int64_t slot, std::int64_t lane) const { return get(at(slot, lane)); }
  KALSCAN_HD void set(T* first, const X& x) const {
    const auto numbers = as_array<T>(x);
    for_each_index<array_size<X, T>>([&](auto i) { first[static_cast<std::int64_t>(i()) * lanes] = numbers[i()]; });
  }
  KALSCAN_HD void set(std::int64_t slot, std::int64_t lane, const X& x) const { set(at(slot, lane), x); }
};

/// How states, or adjoints, go from rank to rank where ranks share sequences: `receive` gets those before this rank's
/// stretch, `send` passes on those after it, in the direction of the pass. Both are enqueued in the call's stream.
class carry_link {
 public:
  virtual void receive(void* to, std::size_t bytes) const = 0;
  virtual void send(const void* from, std::size_t bytes) const = 0;

 protected:
  ~carry_link() = default;
};

/// A call on a rank that has a stretch of sequences which may begin or end on other ranks, as `ends` says. It has a type,
/// and so kernels, of its own: those for one device need not ask.
template <class Call>
struct stretch_call : Call {
  /// What enters the stretch and what leaves it, in the direction of the pass: of each sequence, or of the one that is
  /// shared.
  lane_array<typename Call::mixer::template state<typename Call::number>, typename Call::number> entering, leaving;
  const carry_link* link;
  std::int64_t packed;  // so many sequences, or 0

  KALSCAN_HD std::int64_t shared(std::int64_t n) const { return packed > 0 ? 0 : n; }
};
template <class Call>
concept on_stretch = requires(const Call& call) { call.entering; };

/// Whether the sequences of a call begin and end in it: `begin` and `end`, of one device constants.
struct whole_ends {
  static constexpr bool begin = true, end = true;
};
template <class Call>
KALSCAN_HD constexpr auto ends_of(const Call& call) {
  if constexpr (on_stretch<Call>) {
    return call.ends;
  } else {
    return whole_ends{};
  }
}
/// The same for sequence n.
template <class Call>
KALSCAN_HD constexpr auto ends_of(const Call& call, [[maybe_unused]] std::int64_t n) {
  if constexpr (on_stretch<Call>) {
    return stretch_ends{call.ends.begin || (call.packed > 0 && n > 0),
                        call.ends.end || (call.packed > 0 && n + 1 < call.packed)};
  } else {
    return whole_ends{};
  }
}

}  // namespace kalscan::detail
