// SPDX-License-Identifier: MIT
// Rows that are contiguous along time: tiles of a row in shared memory, one launch, look-back between the tiles.
#pragma once

#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>
#include <kalscan/cuda/scan/copy.cuh>
#include <kalscan/cuda/scan/lookback.cuh>
#include <kalscan/cuda/scan/tiles.hpp>
#include <kalscan/cuda/scope/block.cuh>

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
  std::int64_t ticket;
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

template <class Call, int Threads, bool Backward>
__global__ void __launch_bounds__(Threads, contiguous_blocks<Call, Threads>)
    contiguous_kernel(const __grid_constant__ Call call,
                      const __grid_constant__ lookback<typename Call::recurrence_type> look,
                      unsigned long long* next_ticket) {
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

  const auto tile_of = [&](std::int64_t ticket) {
    return row_tile::of_ticket(ticket, call.count, tiles, tile::size, call.length, Backward);
  };
  // Time strides are 1 here, or -1 from the row's end.
  const auto first_of = [&](const row_tile& at) { return Backward ? at.begin + 1 - call.length : at.begin; };
  const auto inputs_of = [&](const row_tile& at) {
    return reinterpret_cast<const std::byte*>(call.in.row(at.row) + first_of(at));
  };

  // Earlier tiles first, so that a tile that waits for others waits for tiles that run. Blocks mostly start in the order
  // of their numbers: while a block waits for its ticket, it asks for the inputs of the tile that has its number.
  std::int64_t ticket = blockIdx.x;
  if (tiles > 1) {
    unsigned long long own = 0;
    if (rank == 0) own = atomicAdd(next_ticket, 1ull);
    const row_tile probably = tile_of(ticket);
    prefetch_tile<Threads>(inputs_of(probably), probably.valid * tile::input_size);
    if (rank == 0) shared.ticket = static_cast<std::int64_t>(own);
    __syncthreads();
    ticket = shared.ticket;
  }
  const row_tile at = tile_of(ticket);
  const std::int64_t row = at.row, index = at.index;
  const int valid = at.valid;

  load_tile<Threads, tile::size * tile::input_size>(shared.inputs, inputs_of(at), valid * tile::input_size);
  wait_for_copies();
  __syncthreads();

  const int n = valid - rank * tile::items;
  const int threads = (valid + tile::items - 1) / tile::items;
  const int begin = Backward ? valid - 1 - rank * tile::items : rank * tile::items;
  const auto place_of = [&](int i) { return Backward ? begin - i : begin + i; };
  const auto read = [&](int i) { return get_aligned<U>(shared.inputs, place_of(i)); };
  using scope = block<typename Call::monoid_type, Threads>;
  scope threads_of(shared.scan, r.monoid());

  thread_scan<E> scanned;
  if (valid == tile::size) {
    const E sum = scope::template absorb_run<tile::items>(r, read, tile::items);
    scanned = threads_of.template scan<scan_kind::prefix>(r.monoid(), sum, typename scope::all_threads{});
  } else {
    const E sum = scope::template absorb_run<tile::items>(r, read, n);
    scanned = threads_of.template scan<scan_kind::prefix>(r.monoid(), sum, threads);
  }

  const bool last = index + 1 == tiles, needs_carry = Call::has_outputs || last;
  if (rank < 32) {
    const S carry =
        tiles == 1 ? call.before(row) : look.carry(r, row, index, scanned.total, call.before(row), needs_carry);
    if (rank == 0) {
      shared.carry = carry;
      if (!Call::has_outputs && last) call.finish(row, r.act(scanned.total, carry));
    }
  }
  if constexpr (Call::has_outputs) {
    __syncthreads();
    S state = shared.carry;
    if (rank > 0 && rank < threads) state = r.act(scanned.earlier, state);
    const auto visit = [&](int i, const S& before, const S& after) {
      put_aligned<S>(outputs, place_of(i), Call::emits == emit::before ? before : after);
    };
    if (valid == tile::size) {
      state = scope::template replay_run<tile::items>(r, read, state, visit, tile::items);
    } else {
      state = scope::template replay_run<tile::items>(r, read, state, visit, n);
    }
    if (last && rank == threads - 1) call.finish(row, state);
    __syncthreads();
    const auto to = reinterpret_cast<std::byte*>(call.out.row(row) + first_of(at));
    store_tile<Threads, tile::size * tile::state_size>(to, outputs, valid * tile::state_size);
  }
}

template <class Call, int Threads>
constexpr std::int64_t contiguous_tiles(std::int64_t length) {
  return (length + contiguous_tile<Call, Threads>::size - 1) / contiguous_tile<Call, Threads>::size;
}

/// Bytes: a ticket, and the marks.
template <class Call, int Threads>
std::size_t contiguous_workspace(std::int64_t rows, std::int64_t length) {
  const std::int64_t tiles = contiguous_tiles<Call, Threads>(length);
  if (tiles <= 1) return 0;
  return 8 * static_cast<std::size_t>(1 + lookback<typename Call::recurrence_type>::marks(rows, tiles));
}

template <class Call, int Threads>
void launch_contiguous(const char* verb, const cuda& policy, const Call& call) {
  const std::int64_t tiles = contiguous_tiles<Call, Threads>(call.length), blocks = tiles * call.count;
  if (blocks > most_blocks) bad_argument(verb, text({"the arrays have ", blocks, " tiles, more than a launch can"}));
  const std::size_t bytes = contiguous_workspace<Call, Threads>(call.count, call.length);
  auto* memory = reinterpret_cast<unsigned long long*>(policy.workspace.data());
  if (bytes > 0) require_success("cudaMemsetAsync", cudaMemsetAsync(memory, 0, bytes, policy.stream));
  const lookback<typename Call::recurrence_type> look(reinterpret_cast<std::uint64_t*>(memory + 1), call.count, tiles);
  const auto kernel =
      call.in.time_stride < 0 ? contiguous_kernel<Call, Threads, true> : contiguous_kernel<Call, Threads, false>;
  constexpr std::size_t shared = sizeof(contiguous_tile<Call, Threads>);
  require_success("cudaFuncSetAttribute", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                               static_cast<int>(shared)));
  kernel<<<static_cast<unsigned>(blocks), Threads, shared, policy.stream>>>(call, look, memory);
  check_launch("contiguous_kernel");
}

}  // namespace kalscan::detail
