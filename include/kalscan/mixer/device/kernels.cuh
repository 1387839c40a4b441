// SPDX-License-Identifier: MIT
// The kernels of a mixer's forward and backward pass, and their launches. A traversal (forward/forward_traversal.cuh,
// forward/helped_traversal.cuh, backward_traversal.cuh) says how a block takes a chunk of time; all else is the same in
// both directions.
//
// What a call goes through, function by function, from the user to the mixer's formula:
//
//      1  forward            kla/forward.hpp        checks shapes and arguments
//      2  run_forward        cuda/kla_forward.cuh   checks pointers, cuts time, hands out the workspace
//      3  launch_forward     cuda/kla_forward.cuh   sorts calls: 16 states in float with constant parameters may go to
//                                                   line 5 directly, with a channel a thread where there are very many
//                                                   channels, or with helper warps (forward/helped_traversal.cuh); all
//                                                   others go on with line 4, and from there a single token, without
//                                                   offsets and checkpoints, to the kernel in decode.cuh
//      4  with_lanes         cuda/kla_forward.cuh   picks the kernel that is compiled for these states
//      5  launch_traversal   here                   launches it once or, where time is cut, absorb, carry, replay:
//                                                   mixer_kernel, mixer_carry_kernel (carry.cuh), mixer_kernel; before
//                                                   a launch whose blocks take sequences in turns (backend/relay.cuh),
//                                                   clears the relay's board
//      6  mixer_kernel       here                   finds the block's chunk, or its turn of a sequence; loads the
//                                                   states before it
//      7  replay             forward_traversal.cuh  takes the chunk's tiles in order, then stores the final states;
//                                                   takes a step at a time (single_steps) in tiles that are not whole,
//                                                   in tiles whose states are not ordinary (see mixer.hpp), and in all
//                                                   tiles of a chunk that is to leave checkpoints where no whole tile
//                                                   stores them: its first step, or `every`, is no multiple of
//                                                   checkpoint_distance, or of the tile if that is shorter
//      8  each_tile          forward_traversal.cuh  reads the next tile's inputs into registers while a tile is
//                                                   computed, then writes them to shared memory as terms (stage.cuh)
//      9  whole_tile         forward_traversal.cuh  takes a tile, four steps at a time; stores its checkpoints and its
//                                                   outputs, which are sums over states
//     10  each_of_four_steps traversal.cuh          reads the channel's terms of four steps from shared memory;
//                                                   step_terms adds those of the states for each step
//     11  take_step          traversal.cuh          takes a step of all lanes of the thread
//     12  step               kla/kla.hpp            the mixer's own formula; KLA's returns finite_step
//                                                   (kalman/scalar/filter.hpp)
//
// With helper warps, line 4 is left out, and lines 7 to 11 are functions of forward/helped_traversal.cuh: half of a
// block's warps go through replay, take_chunk, each_tile, whole_tile, take_step and each_lane, the others through
// replay and help.
//
// Backward has run_backward, launch_passes (a forward pass first, where nobody kept checkpoints) and launch_backward
// (cuda/kla_backward.cuh) for lines 2 and 3; 4 to 6 are the same. Its replay takes the tiles from the last to the
// first, computes the states of each again from a checkpoint (each_tile in tile_states.cuh), and goes back through them
// four steps at a time (adjoint_of_four_steps in backward_traversal.cuh, or, where a step's adjoint is long, as that of
// rotating KLA, adjoint_of_four_steps_one_by_one).
//
// Words: a lane is one state of one channel. A thread has some neighbouring lanes of one channel; a group is the
// threads that have all lanes of a channel; a block of threads has neighbouring channels (layout.hpp), and a block of
// channels is those of one block of threads. A quartet is four neighbouring states of a channel, whose read-outs are
// summed in their order (readout_sums). A chunk is the steps between two cuts of time, a turn those that a block takes
// where sequences go from block to block; slots number the chunks of all sequences (time_cuts.hpp). A tile is the few
// steps of a chunk whose inputs are in shared memory at once, and terms are inputs prepared for the mixer's formula
// (stage.cuh). A traversal takes a chunk or a turn: replays its steps or absorbs them.
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

/// Which launch this is, in the order in which a pass meets the chunks of a sequence. `first` replays the first chunk,
/// whose start is known, and absorbs the others but the last one, whose element nobody needs. `last` replays all but the
/// first chunk, from their carries. Where other ranks have steps of the sequence, only the rank with its first chunk
/// knows a start, and only the rank with its last chunk leaves that unabsorbed.
enum class device_pass { first, last };

/// What a block of threads takes: a chunk of time, for block of channels number channel_block.
struct block_chunk {
  chunk_range at;
  std::int64_t channel_block;
  unsigned number;  ///< of this block in a relay
};

/// Block first_block + blockIdx.x takes a chunk: blocks are numbered slot after slot, and within a slot by their block of
/// channels. With a relay that is on, a block takes a turn of a sequence in place of a chunk. A Traversal has
/// load_start(x), go_on() (called before a turn that is not the first), replay(x), absorb(elements), and `lanes`, which
/// loads and stores carries; the types `direction` (of time), layout_type, `state` and `element`, of which a thread has
/// `States` each; the constants States, threads, blocks (of a multiprocessor), spares_registers and splits; and
/// shared_size(layout), in bytes.
template <class Traversal>
__global__ void __launch_bounds__(Traversal::threads, Traversal::blocks)
    mixer_kernel(const __grid_constant__ typename Traversal::direction::call_type call,
                 const __grid_constant__ typename Traversal::layout_type layout,
                 const __grid_constant__ time_cuts cuts,
                 const __grid_constant__ typename Traversal::direction::arrays arrays,
                 const __grid_constant__ relay turns, std::int64_t first_block, device_pass which) {
  using direction = typename Traversal::direction;
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
  // Where states are large, what is the same for all threads lies in shared memory, behind the traversal's own.
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

/// The launches of a pass over time, cut by `cuts`: one, or where sequences are cut three: absorb, carry, replay.
/// Sequences that are not cut are taken in turns where that keeps the device busier.
template <class Traversal, class Call, class Arrays>
void launch_traversal(const cuda& policy, const Call& call, const time_cuts& cuts, const Arrays& arrays) {
  using direction = typename Traversal::direction;
  const typename Traversal::layout_type layout{group_of(call.shape.states, Traversal::States)};
  const std::size_t shared = Traversal::shared_size(layout) + sizeof(block_chunk);
  const auto kernel = mixer_kernel<Traversal>;
  allow_shared_memory(direction::name, kernel, shared);
  // Launches `count` blocks, each of which takes a chunk or, with a relay that is on, a turn.
  const auto launch = [&](std::int64_t count, const time_cuts& parts, const relay& turns, device_pass which) {
    for (std::int64_t first = 0; first < count; first += most_blocks) {
      const auto grid = static_cast<unsigned>((std::min)(most_blocks, count - first));
      kernel<<<grid, Traversal::threads, shared, policy.stream>>>(call, layout, parts, arrays, turns, first, which);
      check_launch("mixer_kernel");
    }
  };
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
      return launch(std::int64_t{turns.chains} * turns.turns, parts, turns, device_pass::first);
    }
  }
  launch(blocks, cuts, relay{}, device_pass::first);
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
    if (!done) launch(blocks, cuts, relay{}, device_pass::last);
  }
}

/// The part of a pass's workspace for what is carried: from chunk to chunk and, over ranks (`stretch`), into this rank's
/// stretch and out of it.
template <class Arrays, class State, class T>
struct carry_memory {
  Arrays arrays{};
  lane_array<State, T> entering{}, leaving{};

  void take(workspace_arena& arena, const mixer_shape& shape, const time_cuts& cuts, bool stretch) {
    const std::int64_t lanes = shape.channels * shape.states, shared = shape.offsets.empty() ? cuts.sequences : 1,
                       ends = stretch ? shared : 0;
    const std::int64_t slots = stretch || cuts.slots > cuts.sequences ? cuts.slots : 0;
    const std::int64_t board = stretch ? 0 : board_size(shape, cuts);
    const auto take = [&]<class X>(lane_array<X, T>& array, std::int64_t count) {
      array = {arena.take<T>(count * lanes * lane_array<X, T>::count), lanes};
    };
    take(arrays.carry, board > 0 ? cuts.slots : slots), take(arrays.element, slots);
    take(entering, ends), take(leaving, ends);
    arrays.board = board > 0 ? arena.take<unsigned>(board) : nullptr;
  }
  /// The call as it is launched: itself on one device, a stretch_call over ranks.
  template <class Call>
  const Call& linked(const Call& call, std::nullptr_t) const { return call; }
  template <class Call>
  stretch_call<Call> linked(const Call& call, const carry_link& link) const {
    return {call, entering, leaving, &link, call.shape.offsets.empty() ? 0 : call.shape.sequences()};
  }
};

/// Numbers that are passed by value as a kernel's argument: a captured graph may be replayed, since it reads nothing from
/// the host later on.
struct number_batch {
  static constexpr int capacity = 448;
  std::int64_t values[capacity];
};
template <class Batch>
__global__ void write_numbers(std::int64_t* to, const __grid_constant__ Batch from, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) to[i] = from.values[i];
}

/// How many numbers send_cuts writes to the device: for packed sequences, their offsets and their first slots.
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
