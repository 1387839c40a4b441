// SPDX-License-Identifier: MIT
// A mixer's lanes on the device: which thread has which channel and states, how time is cut, and where a block finds
// its sequence.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <string>
#include <type_traits>

namespace kalscan::detail {

/// Member I of an aggregate.
template <std::size_t I, class First, class... Rest>
KALSCAN_HD constexpr const auto& pick(const First& first, const Rest&... rest) {
  if constexpr (I == 0) {
    return first;
  } else {
    return pick<I - 1>(rest...);
  }
}
template <std::size_t I, class Aggregate>
KALSCAN_HD constexpr const auto& member(const Aggregate& x) {
  return with_members(
      x, [](const auto&... fields) -> const auto& { return pick<I>(fields...); });
}

/// Which threads have which lanes; a lane is a channel's state. Each thread has States states of one channel, a group
/// of threads the states of a channel, and a block channels side by side. The group is known to the compiler, or (Group
/// = 0) not. A tile has Tile steps or, with Tile = 0, so many that each thread stages at most one channel for four of
/// them.
template <int States, int Group, int Tile = 0, int Threads = 128>
struct lane_layout {
  int group_;
  static constexpr bool known = Group > 0;
  KALSCAN_HD constexpr int group() const { return Group > 0 ? Group : group_; }
  KALSCAN_HD static constexpr int threads() { return Threads; }
  KALSCAN_HD constexpr int tile() const { return Tile > 0 ? Tile : group() <= 4 ? 4 * group() : group() == 8 ? 8 : 4; }
  KALSCAN_HD constexpr int channels() const { return threads() / group(); }
  KALSCAN_HD constexpr int padded_states() const { return States * group(); }

  /// What a thread stages of a tile, at most: channels for four steps, and values of states.
  static constexpr int most_tile = Tile > 0 ? Tile : Group == 0 ? 4 : Group <= 4 ? 4 * Group : Group == 8 ? 8 : 4;
  static constexpr int channel_units = Tile == 0 ? 1 : Group == 0 ? Tile / 4 : Tile / 4 > Group ? Tile / 4 / Group : 1;
  static constexpr int state_units = (most_tile * States * (Group > 0 ? Group : 32) + threads() - 1) /
                                     threads();  // the tiles of larger groups are the most
  /// Whether all threads stage just that many: no thread asks, and no branch makes loads wait for each other.
  static constexpr bool whole_channel_units = known && channel_units * 4 * Group == most_tile,
                        whole_state_units = known && state_units * threads() == most_tile * States * Group;
};

/// The states of a thread wherever there is no reason for another number: 8 for the shapes that need them.
inline int states_of_thread(std::int64_t states) { return states > 128 ? 8 : 4; }
inline int group_of(std::int64_t states) {
  int group = 1;
  while (group * states_of_thread(states) < states) group *= 2;
  return group;
}
inline std::int64_t channels_of_block(std::int64_t states) { return lane_layout<4, 0>{group_of(states)}.channels(); }

/// Steps [from, to) of sequence n, which starts at `first` on the time axis of `batch`: its chunk k of `chunks`.
struct chunk_range {
  std::int64_t n, batch, first, length, k, chunks, from, to, slot;
  bool packed;

  /// The index on the time axis of the checkpoints at which those of the sequence start.
  __device__ std::int64_t first_checkpoint(std::int64_t every) const { return packed ? first / every + n : 0; }
};

/// How time is cut: into chunks of `chunk` steps, the last one shorter. Chunks of all sequences are numbered by slots.
struct time_cuts {
  std::int64_t chunk, slots, sequences, length;
  // With packed sequences, arrays of sequences + 1 numbers in device memory.
  const std::int64_t *offsets, *first_slot;

  __device__ chunk_range operator[](std::int64_t slot) const {
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

/// The steps of a chunk; `multiple` divides it, unless there is one chunk only.
///
/// Lanes side by side cost one step per step, cut in time two or more: so whole sequences wherever their lanes keep the
/// device busy. Counted in warps of 128 lanes (forward passes have half as many, of 256), an H200 with its 528
/// schedulers is from about one a scheduler on. Below, as many chunks as make four a scheduler in each pass, which
/// reads all chunks but one; not shorter than 32 steps, where the carry would cost more than it gains.
inline std::int64_t chunk_of(const cuda& policy, const mixer_shape& shape, bool may_split, std::int64_t multiple) {
  constexpr std::int64_t enough_warps = 512, wanted_warps = 2112, least_steps = 32;
  std::int64_t longest = 1;
  for (std::int64_t n = 0; n < shape.sequences(); ++n) longest = (std::max)(longest, sequence_at(shape, n).length);
  if (!may_split) return longest;
  std::int64_t chunk = policy.chunk;
  if (chunk == 0) {
    const std::int64_t side = channels_of_block(shape.states), blocks = (shape.channels + side - 1) / side;
    const std::int64_t warps = shape.sequences() * blocks * (lane_layout<4, 0>::threads() / 32);
    if (warps >= enough_warps) return longest;
    const std::int64_t chunks = 1 + wanted_warps / std::max<std::int64_t>(warps, 1);
    chunk = (std::max)(least_steps, (longest + chunks - 1) / chunks);
    chunk = (chunk + 15) / 16 * 16;
  }
  if (chunk >= longest || multiple >= longest) return longest;
  return (chunk + multiple - 1) / multiple * multiple;
}

/// The cuts of a call, their arrays still missing.
inline time_cuts cuts_of(const mixer_shape& shape, std::int64_t chunk) {
  time_cuts x{chunk, 0, shape.sequences(), shape.time, nullptr, nullptr};
  for (std::int64_t n = 0; n < x.sequences; ++n) x.slots += chunks_of(sequence_at(shape, n).length, chunk);
  return x;
}

/// Numbers that travel with a launch: nothing is read from the host later on, so that a captured graph may be replayed.
struct number_batch {
  static constexpr int capacity = 448;
  std::int64_t values[capacity];
};
template <class Batch>
__global__ void write_numbers(std::int64_t* to, const __grid_constant__ Batch from, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) to[i] = from.values[i];
}

inline void check_launch(const char* what) { require_success(what, cudaGetLastError()); }

inline std::int64_t cut_numbers(const mixer_shape& shape) {
  return shape.offsets.empty() ? 0 : 2 * (shape.sequences() + 1);
}
/// Brings the arrays of packed sequences to the device.
inline void send_cuts(const cuda& policy, const mixer_shape& shape, time_cuts& cuts, std::int64_t* memory) {
  if (shape.offsets.empty()) return;
  const std::int64_t count = shape.sequences() + 1;
  number_batch batch;
  const auto send = [&](std::int64_t* to, auto value) {
    for (std::int64_t i = 0; i < count; i += number_batch::capacity) {
      const auto n = static_cast<int>(std::min<std::int64_t>(number_batch::capacity, count - i));
      for (int j = 0; j < n; ++j) batch.values[j] = value(i + j);
      write_numbers<<<1, 128, 0, policy.stream>>>(to + i, batch, n);
      check_launch("write_numbers");
    }
  };
  send(memory, [&](std::int64_t i) { return shape.offsets[static_cast<std::size_t>(i)]; });
  std::int64_t slot = 0;
  send(memory + count, [&](std::int64_t i) {
    const std::int64_t mine = slot;
    if (i + 1 < count) slot += chunks_of(sequence_at(shape, i).length, cuts.chunk);
    return mine;
  });
  cuts.offsets = memory, cuts.first_slot = memory + count;
}

/// Launches blocks 0 ... count - 1, in pieces that fit a grid: `launch(first, blocks)`.
template <class Launch>
void in_grids(std::int64_t count, Launch launch) {
  constexpr std::int64_t largest = (std::int64_t(1) << 31) - 1;
  for (std::int64_t first = 0; first < count; first += largest) {
    launch(first, static_cast<unsigned>((std::min)(largest, count - first)));
  }
}

/// Kernels with much shared memory must be told so.
template <class Kernel>
void allow_shared_memory(const char* verb, Kernel kernel, std::size_t bytes) {
  if (bytes <= 48 * 1024) return;
  int device = 0, most = 0;
  require_success("cudaGetDevice", cudaGetDevice(&device));
  require_success("cudaDeviceGetAttribute",
                  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (bytes > static_cast<std::size_t>(most)) {
    bad_argument(verb, "these states in this number type take " + std::to_string(bytes) +
                           " bytes of shared memory, more than the " + std::to_string(most) + " of a block");
  }
  require_success("cudaFuncSetAttribute",
                  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

/// Arrays [slot][number][channel][state] of the workspace.
template <class X, class T>
struct lane_array {
  static constexpr std::int64_t count = array_size<X, T>;
  T* data;
  std::int64_t lanes;  // of a slot

  /// From a number of a lane to the same one of the next slot.
  KALSCAN_HD std::int64_t slot_size() const { return count * lanes; }
  /// The first number of a lane; the others follow at distances of `lanes`.
  KALSCAN_HD T* at(std::int64_t slot, std::int64_t lane) const { return data + slot * slot_size() + lane; }
  /// From and to the place of a lane's first number.
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

}  // namespace kalscan::detail
