// SPDX-License-Identifier: MIT
// Rows that are contiguous along time: tiles of a row in shared memory, one launch, look-back between the tiles.
#pragma once

#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>
#include <kalscan/cuda/scan/copy.cuh>
#include <kalscan/cuda/scan/early_launch.cuh>
#include <kalscan/cuda/scan/lookback.cuh>
#include <kalscan/cuda/scan/tiles.hpp>
#include <kalscan/cuda/scope/block.cuh>
#include <span>
#include <type_traits>

namespace kalscan::detail {

/// The sizes of a tile. They depend on the element sizes alone, since they fix the order of operations.
template <class Call, int Threads>
struct contiguous_tile {
  static constexpr int threads = Threads;
  static constexpr int input_size = sizeof(typename Call::input_type), state_size = sizeof(typename Call::state_type);
  static constexpr int widest = Call::has_outputs && state_size > input_size ? state_size : input_size;
  // Enough bytes in flight to fill the memory's latency; odd, so that runs begin in different banks.
  static constexpr int bytes = widest <= 32 ? 144 : 256;
  static constexpr int wanted = bytes / widest < 31 ? bytes / widest : 31;
  static constexpr int items = wanted < 2 ? 1 : wanted % 2 == 0 ? wanted - 1 : wanted;
  static constexpr int size = threads * items;
  static constexpr bool in_place = !Call::has_outputs || input_size == state_size;

  alignas(16) std::byte inputs[size * input_size];
  alignas(16) std::byte outputs[in_place ? 16 : size * state_size];
  typename block<typename Call::monoid_type, threads>::storage scan;
  typename Call::state_type carry;
  std::int64_t number;
  bool taken, waits;
};

/// Threads of the tiles of a long row: fewer of the larger elements, which take more registers.
template <class Call>
inline constexpr int long_tile_threads = contiguous_tile<Call, 32>::widest <= 32 ? 256 : 128;

/// Blocks that a multiprocessor should hold: what the registers are limited to.
template <class Call, int Threads>
inline constexpr int contiguous_blocks = Threads == 32                                  ? 16
                                         : contiguous_tile<Call, Threads>::widest <= 8  ? 6
                                         : contiguous_tile<Call, Threads>::widest <= 32 ? 4
                                                                                        : 3;

/// Takes the first tile that no block has, and returns its number, or this block's own where all before it are taken.
__device__ inline std::int64_t take_first_tile(unsigned* taken) {
  std::int64_t number = 0;
  while (number < blockIdx.x && atomicExch(taken + number, 1u) != 0) ++number;
  return number;
}

/// Scans the tile of a number. `InOrder`, the block first takes it, and leaves it to the block that has it already.
/// Returns false where an earlier tile was long in coming: no output is written then, and the pass may be repeated.
template <class Call, int Threads, bool Backward, bool InOrder>
__device__ __forceinline__ bool contiguous_pass(const Call& call,
                                                const lookback<typename Call::recurrence_type>& look, unsigned* taken,
                                                std::int64_t number) {
  using tile = contiguous_tile<Call, Threads>;
  using U = typename Call::input_type;
  using S = typename Call::state_type;
  using E = typename Call::element;
  extern __shared__ uint4 memory[];
  tile& shared = *reinterpret_cast<tile*>(memory);
  std::byte* outputs = tile::in_place ? shared.inputs : shared.outputs;
  const auto& r = call.recurrence;
  const int rank = static_cast<int>(threadIdx.x);
  const std::int64_t tiles = look.tree.tiles;

  // Time strides are 1 here, or -1 from the row's end.
  const auto first_of = [&](const row_tile& at) { return Backward ? at.begin + 1 - call.length : at.begin; };

  const row_tile at = row_tile::of_number(number, call.count, tiles, tile::size, call.length, Backward);
  const std::int64_t row = at.row, index = at.index;
  const int valid = at.valid;

  load_tile<Threads, tile::size * tile::input_size>(
      shared.inputs, reinterpret_cast<const std::byte*>(call.in.row(row) + first_of(at)), valid * tile::input_size);
  if (InOrder && tiles > 1) {
    wait_for_kernel_before();
    if (rank == 0) shared.taken = atomicExch(taken + number, 1u) != 0;
  }
  wait_for_copies();
  __syncthreads();
  if (InOrder && tiles > 1 && shared.taken) return true;

  const int n = valid - rank * tile::items;
  const int threads = (valid + tile::items - 1) / tile::items;
  const int begin = Backward ? valid - 1 - rank * tile::items : rank * tile::items;
  const auto place_of = [&](int i) { return Backward ? begin - i : begin + i; };
  const auto read = [&](int i) { return get_aligned<U>(shared.inputs, place_of(i)); };
  using scope = block<typename Call::monoid_type, Threads>;
  scope threads_of(shared.scan, r.monoid());

  thread_scan<E> scanned;
  if (InOrder && valid == tile::size) {
    const E sum = scope::template absorb_run<tile::items>(r, read, tile::items);
    scanned = threads_of.template scan<scan_kind::prefix>(r.monoid(), sum, typename scope::all_threads{});
  } else {
    const E sum = scope::template absorb_run<tile::items>(r, read, n);
    scanned = threads_of.template scan<scan_kind::prefix>(r.monoid(), sum, threads);
  }

  const bool last = index + 1 == tiles, needs_carry = Call::has_outputs || last;
  if (rank < 32) {
    S carry = call.before(row);
    const bool there = tiles == 1 || look.carry(r, row, index, scanned.total, needs_carry, carry);
    if (rank == 0) {
      shared.carry = carry;
      if (tiles > 1) shared.waits = !there;
      if (!Call::has_outputs && last && there) call.finish(row, r.act(scanned.total, carry));
    }
  }
  if (Call::has_outputs || tiles > 1) __syncthreads();
  if (tiles > 1 && shared.waits) return false;
  if constexpr (Call::has_outputs) {
    S state = shared.carry;
    if (rank > 0 && rank < threads) state = r.act(scanned.earlier, state);
    const auto visit = [&](int i, const S& before, const S& after) {
      put_aligned<S>(outputs, place_of(i), Call::emits == emit::before ? before : after);
    };
    if (InOrder && valid == tile::size) {
      state = scope::template replay_run<tile::items>(r, read, state, visit, tile::items);
    } else {
      state = scope::template replay_run<tile::items>(r, read, state, visit, n);
    }
    if (last && rank == threads - 1) call.finish(row, state);
    __syncthreads();
    const auto to = reinterpret_cast<std::byte*>(call.out.row(row) + first_of(at));
    store_tile<Threads, tile::size * tile::state_size>(to, outputs, valid * tile::state_size);
  }
  return true;
}

/// Passes of a block that has waited long: first the tiles before its own that no block has taken, then its own. In a
/// function of its own, with copies of arguments that are not large, so that the first pass keeps its registers.
template <class Call, int Threads, bool Backward>
__device__ __noinline__ void contiguous_out_of_order(
    std::conditional_t<(sizeof(Call) <= 512), Call, const Call&> call,
    lookback<typename Call::recurrence_type> look, unsigned* taken) {
  extern __shared__ uint4 memory[];
  auto& shared = *reinterpret_cast<contiguous_tile<Call, Threads>*>(memory);
  bool looks = true;
  while (true) {
    __syncthreads();
    if (looks && threadIdx.x == 0) shared.number = take_first_tile(taken);
    __syncthreads();
    const std::int64_t number = shared.number;
    const bool done = contiguous_pass<Call, Threads, Backward, false>(call, look, taken, number);
    if (done && number == blockIdx.x) return;
    // Nobody else scans a tile that this block has taken, so it repeats the pass until that tile is done. It will be: all
    // tiles before it are taken by blocks that run, and the first of these that is not done waits for nothing.
    looks = done || number == blockIdx.x;
  }
}

/// A block scans the tile that has its number. Blocks start in the order of their numbers on all devices so far, but CUDA
/// does not promise it, and a block that waits for an earlier tile could keep the block of that tile from starting. So
/// tiles are taken, and who waits long takes what is left: progress needs no order, and the bits do not depend on it.
template <class Call, int Threads, bool Backward>
__global__ void __launch_bounds__(Threads, contiguous_blocks<Call, Threads>)
    contiguous_kernel(const __grid_constant__ Call call,
                      const __grid_constant__ lookback<typename Call::recurrence_type> look, unsigned* taken) {
  if (contiguous_pass<Call, Threads, Backward, true>(call, look, taken, blockIdx.x)) return;
  if constexpr (Threads > 32)  // rows of one tile wait for nothing
    contiguous_out_of_order<Call, Threads, Backward>(call, look, taken);
}

template <class Call, int Threads>
constexpr std::int64_t contiguous_tiles(std::int64_t length) {
  return (length + contiguous_tile<Call, Threads>::size - 1) / contiguous_tile<Call, Threads>::size;
}

/// Bytes: the marks, and whether each tile has been taken.
template <class Call, int Threads>
std::size_t contiguous_workspace(std::int64_t rows, std::int64_t length) {
  const std::int64_t tiles = contiguous_tiles<Call, Threads>(length);
  if (tiles <= 1) return 0;
  const std::int64_t bytes = 8 * lookback<typename Call::recurrence_type>::marks(rows, tiles) + 4 * rows * tiles;
  return static_cast<std::size_t>((bytes + 15) / 16 * 16);
}

template <class Call, int Threads>
void launch_contiguous(const char* verb, const cuda& policy, const Call& call) {
  const std::int64_t tiles = contiguous_tiles<Call, Threads>(call.length), blocks = tiles * call.count;
  if (blocks > most_blocks) bad_argument(verb, text({"the arrays have ", blocks, " tiles, more than a launch can"}));
  using look_type = lookback<typename Call::recurrence_type>;
  auto* memory = reinterpret_cast<std::uint64_t*>(policy.workspace.data());
  const look_type look(memory, call.count, tiles);
  auto* taken = reinterpret_cast<unsigned*>(memory + look_type::marks(call.count, tiles));
  const auto kernel =
      call.in.time_stride < 0 ? contiguous_kernel<Call, Threads, true> : contiguous_kernel<Call, Threads, false>;
  constexpr std::size_t shared = sizeof(contiguous_tile<Call, Threads>);
  require_success("cudaFuncSetAttribute", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                               static_cast<int>(shared)));
  const std::span cleared = policy.workspace.first(contiguous_workspace<Call, Threads>(call.count, call.length));
  if (cleared.empty()) {
    kernel<<<static_cast<unsigned>(blocks), Threads, shared, policy.stream>>>(call, look, taken);
  } else {
    clear_memory(policy, cleared);
    launch_after_clear(static_cast<unsigned>(blocks), Threads, shared, policy.stream, kernel, call, look, taken);
  }
  check_launch("contiguous_kernel");
}

}  // namespace kalscan::detail
