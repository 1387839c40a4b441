// SPDX-License-Identifier: MIT
// Who has what on the device: which thread has which lanes, which inputs it stages, which sums it keeps. Plain index
// arithmetic, for host and device; tests/kla/device_indices.cpp holds it against its definitions without a GPU.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// What is known of a kernel's lanes when it is compiled.
struct lanes_kind {
  int states;            ///< of a thread, all of one channel
  int group = 0;         ///< threads of a channel, a power of two up to 32; 0: only the launch knows
  bool varying = false;  ///< parameters are read at every step, since they may vary with time
  bool full = false;     ///< no thread has states beyond the last one
  bool splits = true;    ///< time may be cut: not where there are lanes enough anyway
  int tile = 0;          ///< steps of a tile; 0: those of small_tile
};

/// Which kernel serves channels of so many states, with up to `most` of them a thread: 4, 8, 16, 32 and 64 have one
/// each; more than 128 share one, parameters that vary with time another, and all else a third.
constexpr bool has_own_kernel(int states) { return states >= 4 && states <= 64 && (states & (states - 1)) == 0; }
constexpr lanes_kind kind_for(int states, bool parameters_vary, int most) {
  if (states > 128) return {.states = 8, .group = 32, .varying = true};
  if (parameters_vary) return {.states = 4, .varying = true};
  if (!has_own_kernel(states)) return {.states = 4};
  const int of_thread = states < most ? states : most, group = states / of_thread;
  return {.states = of_thread, .group = group, .full = true, .tile = group == 1 || group >= 8 ? 8 : 16};
}

/// A step of one token has no tiles, and reads parameters once in any case: kinds that differ in these alone are one.
constexpr lanes_kind of_one_token(lanes_kind kind) {
  return {.states = kind.states, .group = kind.group, .full = kind.full};
}

inline constexpr int block_threads = 128;

/// Steps of a tile in which each thread stages at most four steps of one channel (as many threads as a group has share
/// the steps of a channel): 4, 8, 16, 8, 4, 4 for groups of 1, 2, 4, 8, 16, 32.
KALSCAN_HD constexpr int small_tile(int group) { return group <= 4 ? 4 * group : group == 8 ? 8 : 4; }

/// Which threads have which lanes; a lane is a channel's state. A thread has neighbouring states of one channel, a
/// group of neighbouring threads all states of a channel, and a block neighbouring channels. {.states = 4, .group = 4}:
/// thread 5 has states 4 ... 7 of the block's channel 1.
template <lanes_kind Kind>
struct lane_layout {
  static constexpr lanes_kind kind = Kind;
  static constexpr int states = kind.states, tile_steps = kind.tile;
  static constexpr bool known = kind.group > 0;

  int group_;  // where the compiler does not know it

  KALSCAN_HD static constexpr int threads() { return block_threads; }
  KALSCAN_HD constexpr int group() const { return known ? kind.group : group_; }
  KALSCAN_HD constexpr int channels() const { return threads() / group(); }
  /// A channel's states with those beyond the last one, up to a power of two.
  KALSCAN_HD constexpr int padded_states() const { return states * group(); }
  static constexpr int most_padded_states = states * (known ? kind.group : 32);
  KALSCAN_HD constexpr int tile() const { return tile_steps > 0 ? tile_steps : small_tile(group()); }

  KALSCAN_HD constexpr int channel_of(int thread) const { return thread / group(); }
  /// The thread's number in its group.
  KALSCAN_HD constexpr int number_in_group(int thread) const { return thread & (group() - 1); }

  // What a thread stages of a tile: of one channel channel_units() times four neighbouring steps, and every
  // threads()-th of the tile's values of states, state_units of them. Both may be beyond the tile unless `whole`.
  static constexpr int most_tile = tile_steps > 0 ? tile_steps : known ? small_tile(kind.group) : 4;
  static constexpr int most_channel_units = tile_steps == 0               ? 1
                                            : !known                      ? tile_steps / 4
                                            : tile_steps / 4 > kind.group ? tile_steps / 4 / kind.group
                                                                          : 1;
  static constexpr int state_units =
      (most_tile * most_padded_states + block_threads - 1) / block_threads;  // larger groups have the most
  /// All threads stage just that many: no thread asks, and no branch makes loads wait for each other.
  static constexpr bool whole_channel_units = known && most_channel_units * 4 * kind.group == most_tile,
                        whole_state_units = known && state_units * block_threads == most_tile * most_padded_states;

  KALSCAN_HD constexpr int channel_units() const {
    return known ? most_channel_units : (std::max)(1, tile() / (4 * group()));
  }
  KALSCAN_HD constexpr int staged_channel(int thread) const { return thread & (channels() - 1); }
  /// The first of the steps that a thread stages of its channel.
  KALSCAN_HD constexpr int staged_step(int thread) const { return thread / channels() * channel_units() * 4; }
  /// Value `unit` of a tile's states: that of one step and one state.
  KALSCAN_HD constexpr int step_of_unit(int unit) const { return unit / padded_states(); }
  KALSCAN_HD constexpr int state_of_unit(int unit) const { return unit & (padded_states() - 1); }
  /// Where the terms of a state lie in a tile: the j-th states of all threads of a group side by side.
  KALSCAN_HD constexpr int term_index(int step, int state) const {
    return (step * states + state % states) * group() + state / states;
  }
};

/// Four sums over a group's threads are taken at once (sum_over_group), after which thread g of the group has
/// own_steps(group) of them, from own_step(g, group) on. In groups of more than four the first four have all.
KALSCAN_HD constexpr int own_step(int g, int group) {
  return group == 1 ? 0 : 2 * (g & 1) + (group > 2 ? g >> 1 & 1 : 0);
}
KALSCAN_HD constexpr int own_steps(int group) { return group == 1 ? 4 : group == 2 ? 2 : 1; }

/// Sums over the channels of a block: a row for each of `steps` steps and each thread of a group. Where there are more
/// threads than rows, `parts` neighbours share one: part p takes channels p, p + parts, ... Else a thread takes rows
/// threads / parts apart.
struct channel_sum_rows {
  int group, rows, parts;

  KALSCAN_HD constexpr channel_sum_rows(int steps, int group_)
      : group(group_), rows(steps * group_), parts(rows < block_threads ? block_threads / rows : 1) {}
  KALSCAN_HD constexpr int rows_at_once() const { return block_threads / parts; }
  KALSCAN_HD constexpr int first_row(int thread) const { return thread / parts; }
  KALSCAN_HD constexpr int part(int thread) const { return thread & (parts - 1); }
  KALSCAN_HD constexpr int step(int row) const { return row / group; }
  KALSCAN_HD constexpr int thread_of_group(int row) const { return row & (group - 1); }
};

/// The usual number of states of a thread: 8 where a channel has more than 128, else 4.
inline int states_of_thread(std::int64_t states) { return states > 128 ? 8 : 4; }
inline int group_of(std::int64_t states, int of_thread) {
  int group = 1;
  while (group * of_thread < states) group *= 2;
  return group;
}
inline std::int64_t channels_of_block(std::int64_t states) {
  return block_threads / group_of(states, states_of_thread(states));
}

/// Steps between the checkpoints from which backward computes states again, and of its tiles, whose states lie in
/// shared memory: as many as keep a block's states within 64 KiB, so that a multiprocessor holds two blocks; at most 16,
/// at least the 4 that are taken at once, and just 4 with 8 states a thread, whose terms need the room.
constexpr int backward_tile(int states_of_a_thread, std::size_t bytes_of_a_state) {
  const std::size_t of_step = block_threads * static_cast<std::size_t>(states_of_a_thread) * bytes_of_a_state;
  return states_of_a_thread == 8 || 8 * of_step > 65536 ? 4 : 16 * of_step > 65536 ? 8 : 16;
}

}  // namespace kalscan::detail
