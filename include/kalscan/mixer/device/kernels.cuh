// SPDX-License-Identifier: MIT
// The kernels of a mixer's forward and backward pass, and their launches. A traversal (forward/forward_traversal.cuh,
// forward/fours_traversal.cuh, backward_traversal.cuh) says how a block takes a chunk of time; all else is the same in
// both directions.
//
// What a call goes through, function by function, from the user to the mixer's formula:
//
//      1  forward            kla/forward.hpp        checks shapes and arguments
//      2  run_forward        cuda/kla_forward.cuh   checks pointers, cuts time, hands out the workspace
//      3  launch_forward     cuda/kla_forward.cuh   a single token, without offsets and checkpoints, goes to the kernel
//                                                   in decode.cuh; where channels abound (16 states, float, not cut,
//                                                   constant parameters), to line 5 with a channel a thread; what
//                                                   goes by fours, to line 5 with that traversal; all else on:
//      4  with_lanes         cuda/kla_forward.cuh   picks the kernel that is compiled for these states
//      5  launch_traversal   here                   launches it once or, where time is cut, absorb, carry, replay:
//                                                   mixer_kernel, mixer_carry_kernel (carry.cuh), mixer_kernel
//      6  mixer_kernel       here                   finds the block's chunk, or its turn of a sequence
//                                                   (backend/relay.cuh); loads the states before it
//      7  replay             forward_traversal.cuh  the chunk's tiles in order, then the final states; tiles that are
//                                                   not whole, or not ordinary, a step at a time (single_steps)
//      8  each_tile          forward_traversal.cuh  the next tile's inputs to registers, this one's as terms to shared
//                                                   memory (stage.cuh)
//      9  whole_tile         forward_traversal.cuh  a tile, four steps at a time, and checkpoints; sums over states to
//                                                   device memory
//     10  each_of_four       traversal.cuh          the terms of four steps, from shared memory
//     11  take_step          traversal.cuh          a step of all lanes of the thread
//     12  step               kla/kla.hpp            the mixer's own formula
//
// By fours, four states of one or two channels a thread (forward/fours_traversal.cuh), 7 to 11 are replay, take_chunk,
// whole_tile and take_step of half of the warps, and help of the others.
//
// Backward has run_backward, launch_passes (a forward pass first, where nobody kept checkpoints) and launch_backward
// (cuda/kla_backward.cuh) for 2 and 3; 4 to 6 are the same. Then its replay takes the tiles from the last to the first
// (each_tile in tile_states.cuh), whose states are computed again from checkpoints, and four adjoints at a time
// (four_adjoints in backward_traversal.cuh).
//
// Words: a lane is one state of one channel. A thread has neighbouring lanes of one channel, a group the threads that
// have all of them, a block of threads neighbouring channels (layout.hpp). A chunk is what a block takes of a sequence
// at a time; slots number the chunks of all sequences (time_cuts.hpp). A tile is the few steps of a chunk whose inputs
// are in shared memory at once (stage.cuh). A traversal takes a chunk: replays its steps or absorbs them.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/backend/relay.cuh>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/device/carry.cuh>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>

namespace kalscan::detail {

extern __shared__ __align__(16) unsigned char mixer_shared_memory[];

/// Which chunks a launch takes. first: replays the one of each sequence whose start is known, and absorbs the others
/// but the last. last: replays all but that one, from their carries. A sequence of one chunk is done in the first.
/// Where a sequence has steps on other ranks, its start is known on the first of them alone, and on the last one alone
/// its last chunk is not absorbed.
enum class device_pass { first, last };

/// What a block takes: a chunk of the channels of channel_block.
struct block_chunk {
  chunk_range at;
  std::int64_t channel_block;
  unsigned number;  ///< in a relay
};

/// Block first_block + blockIdx.x takes a chunk of the channels of a block: slots in order, for each of them the blocks
/// of channels. With a relay that is on, it takes a turn of a sequence in place of a chunk. The Traversal has
/// load_start(x), go_on() after an earlier turn, replay(x) and absorb(elements), its `lanes` to load and store carries,
/// its direction of time, its layout_type, and of a launch States, threads, blocks a multiprocessor, shared_size,
/// spares_registers and splits.
template <class Traversal>
__global__ void __launch_bounds__(Traversal::threads, Traversal::blocks)
    mixer_kernel(const __grid_constant__ typename Traversal::direction::call_type call,
                 const __grid_constant__ typename Traversal::layout_type layout,
                 const __grid_constant__ time_cuts cuts,
                 const __grid_constant__ typename Traversal::direction::arrays arrays,
                 const __grid_constant__ relay turns, std::int64_t first_block, device_pass which) {
  using direction = typename Traversal::direction;
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
  // What all threads of the block know: of large states in shared memory, behind what the traversal has there.
  auto& shared = *reinterpret_cast<block_chunk*>(mixer_shared_memory + Traversal::shared_size(layout));
  block_chunk own;
  block_chunk& mine = Traversal::spares_registers ? shared : own;
  if (turns.on()) turns.start(shared.number);
  if (!Traversal::spares_registers || threadIdx.x == 0) {
    const std::int64_t block = turns.on() ? turns.chain(shared.number) : first_block + blockIdx.x;
    std::int64_t slot = block / blocks;
    if (turns.on()) {
      const std::int64_t turn = turns.turn(shared.number);
      slot = slot * turns.turns + (direction::next > 0 ? turn : turns.turns - 1 - turn);
    }
    mine.at = cuts[slot];
    if (turns.on()) mine.at.slot = mine.at.n;  // what is carried and summed lies by sequence
    mine.channel_block = block % blocks;
  }
  if (Traversal::spares_registers) __syncthreads();
  const chunk_range& at = mine.at;
  const std::int64_t earlier = direction::next > 0 ? at.k : at.chunks - 1 - at.k;  // chunks taken before this one
  const auto ends = ends_of(call, at.n);
  const bool starts = earlier == 0 && direction::starts(ends);
  const bool replays = turns.on() || starts == (which == device_pass::first);
  const auto stops = [&] { return earlier + 1 == at.chunks && direction::stops(ends); };
  if (!replays && (which == device_pass::last || !Traversal::splits || stops())) return;
  Traversal traversal(call, layout, at, arrays, mine.channel_block, mixer_shared_memory);
  if (replays) {
    typename Traversal::state x[Traversal::States];
    if (starts) {
      traversal.load_start(x);
    } else {
      if (turns.on()) {
        turns.wait(shared.number);
        traversal.go_on();
      }
      traversal.lanes.load(arrays.carry, at.slot, x);
    }
    traversal.replay(x);
    if (turns.on()) {
      if (turns.turn(shared.number) + 1 < turns.turns) {
        traversal.lanes.store(arrays.carry, at.slot, x);
        turns.pass(shared.number);
      }
    } else if (starts && at.chunks > 1) {
      traversal.lanes.store(arrays.carry, at.slot + direction::next, x);
    }
    if constexpr (on_stretch<typename direction::call_type>) {
      if (starts && at.chunks == 1 && !stops()) traversal.lanes.store(call.leaving, call.shared(at.n), x);
    }
  } else if constexpr (Traversal::splits) {
    typename Traversal::element e[Traversal::States];
    traversal.absorb(e);
    traversal.lanes.store(arrays.element, at.slot, e);
  }
}

inline std::int64_t multiprocessors() {
  int device = 0, count = 0;
  require_success("cudaGetDevice", cudaGetDevice(&device));
  require_success("cudaDeviceGetAttribute", cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

/// Launches `blocks` blocks: of a pass, each a chunk or, with a relay that is on, all of them in turns.
template <class Traversal, class Call, class Arrays>
void launch_blocks(const cuda& policy, const Call& call, const time_cuts& cuts, const Arrays& arrays, const relay& turns,
                   std::int64_t blocks, device_pass which) {
  const typename Traversal::layout_type layout{group_of(call.shape.states, Traversal::States)};
  const std::size_t shared = Traversal::shared_size(layout) + sizeof(block_chunk);
  const auto kernel = mixer_kernel<Traversal>;
  allow_shared_memory(Traversal::direction::name, kernel, shared);
  for (std::int64_t first = 0; first < blocks; first += most_blocks) {
    const auto count = static_cast<unsigned>((std::min)(most_blocks, blocks - first));
    kernel<<<count, Traversal::threads, shared, policy.stream>>>(call, layout, cuts, arrays, turns, first, which);
    check_launch("mixer_kernel");
  }
}

/// The launches of a pass over time, its cuts made: one, or where sequences are cut absorb, carry, replay. Sequences
/// that are not cut are taken in turns where that keeps the device busier.
template <class Traversal, class Call, class Arrays>
void launch_traversal(const cuda& policy, const Call& call, const time_cuts& cuts, const Arrays& arrays) {
  using direction = typename Traversal::direction;
  const typename Traversal::layout_type layout{group_of(call.shape.states, Traversal::States)};
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels() * cuts.slots;
  if constexpr (!on_stretch<Call>) {
    const std::int64_t steps = arrays.board == nullptr
                                   ? call.shape.time
                                   : steps_of_turn(blocks, call.shape.time, multiprocessors() * Traversal::blocks);
    if (steps < call.shape.time) {
      const time_cuts parts = cuts_of(call.shape, steps);
      const relay turns{arrays.board, static_cast<unsigned>(blocks),
                        static_cast<unsigned>(parts.slots / parts.sequences)};
      turns.clear_board(policy);
      return launch_blocks<Traversal>(policy, call, parts, arrays, turns, std::int64_t{turns.chains} * turns.turns,
                                      device_pass::first);
    }
  }
  launch_blocks<Traversal>(policy, call, cuts, arrays, relay{}, blocks, device_pass::first);
  if constexpr (Traversal::splits) {
    const bool starts = direction::starts(ends_of(call)), done = starts && cuts.slots == cuts.sequences;
    const std::int64_t lanes = cuts.sequences * call.shape.channels * call.shape.states;
    [[maybe_unused]] std::size_t carried = static_cast<std::size_t>(lanes) * sizeof(typename direction::state);
    if constexpr (on_stretch<Call>) {
      if (call.packed > 0) carried /= static_cast<std::size_t>(call.packed);
      if (!starts) call.link->receive(call.entering.data, carried);
    }
    if (!done) {
      mixer_carry_kernel<direction><<<sum_grid(lanes, 32), 32, 0, policy.stream>>>(call, cuts, arrays);
      check_launch("mixer_carry_kernel");
    }
    if constexpr (on_stretch<Call>) {
      if (!direction::stops(ends_of(call))) call.link->send(call.leaving.data, carried);
    }
    if (!done) launch_blocks<Traversal>(policy, call, cuts, arrays, relay{}, blocks, device_pass::last);
  }
}

/// What is carried in a pass over time, in its workspace: over chunks and, on a stretch, into it and out of it.
template <class Arrays, class State, class T>
struct carry_pieces {
  Arrays arrays{};
  lane_array<State, T> entering{}, leaving{};

  void take(workspace_pieces& memory, const mixer_shape& shape, const time_cuts& cuts, bool stretch) {
    const std::int64_t lanes = shape.channels * shape.states, shared = shape.offsets.empty() ? cuts.sequences : 1,
                       ends = stretch ? shared : 0;
    const std::int64_t slots = stretch || cuts.slots > cuts.sequences ? cuts.slots : 0;
    const std::int64_t board = stretch ? 0 : board_size(shape, cuts);
    const auto take = [&]<class X>(lane_array<X, T>& array, std::int64_t count) {
      array = {memory.take<T>(count * lanes * lane_array<X, T>::count), lanes};
    };
    take(arrays.carry, board > 0 ? cuts.slots : slots), take(arrays.element, slots);
    take(entering, ends), take(leaving, ends);
    arrays.board = board > 0 ? memory.take<unsigned>(board) : nullptr;
  }
  /// The call as it is launched: on one device itself.
  template <class Call>
  const Call& linked(const Call& call, std::nullptr_t) const { return call; }
  template <class Call>
  stretch_call<Call> linked(const Call& call, const carry_link& link) const {
    return {call, entering, leaving, &link, call.shape.offsets.empty() ? 0 : call.shape.sequences()};
  }
};

/// Numbers that travel with a launch: nothing is read from the host later on, so that a captured graph may be replayed.
struct number_batch {
  static constexpr int capacity = 448;
  std::int64_t values[capacity];
};
template <class Batch>
__global__ void write_numbers(std::int64_t* to, const __grid_constant__ Batch from, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) to[i] = from.values[i];
}

/// How many numbers send_cuts brings to the device: those of packed sequences.
inline std::int64_t cut_numbers(const mixer_shape& shape) {
  return shape.offsets.empty() ? 0 : 2 * (shape.sequences() + 1);
}
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

}  // namespace kalscan::detail
