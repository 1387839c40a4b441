// SPDX-License-Identifier: MIT
// Rows that are contiguous along time: tiles of a row in shared memory, one launch, look-back between the tiles.
#pragma once

#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>
#include <kalscan/cuda/scan/copy.cuh>
#include <kalscan/cuda/scan/lookback.cuh>
#include <kalscan/cuda/scope/block.cuh>

namespace kalscan::detail {

/// The sizes of a tile. They depend on the element sizes alone, since they fix the order of operations.
template <class Job, int Threads>
struct along_tile {
  static constexpr int threads = Threads;
  static constexpr int input_size = sizeof(typename Job::input_type), state_size = sizeof(typename Job::state_type);
  static constexpr int widest = Job::has_outputs && state_size > input_size ? state_size : input_size;
  // Enough bytes in flight to fill the memory's latency; odd, so that runs begin in different banks.
  static constexpr int bytes = widest <= 32 ? 144 : 256;
  static constexpr int wanted = bytes / widest < 31 ? bytes / widest : 31;
  static constexpr int items = wanted < 2 ? 1 : wanted % 2 == 0 ? wanted - 1 : wanted;
  static constexpr int size = threads * items;
  static constexpr bool in_place = !Job::has_outputs || input_size == state_size;

  alignas(16) std::byte inputs[size * input_size];
  alignas(16) std::byte outputs[in_place ? 16 : size * state_size];
  typename block<typename Job::monoid_type, threads>::storage scan;
  typename Job::state_type carry;
  std::int64_t ticket;
};

/// Threads of the tiles of a long row: fewer of the larger elements, which take more registers.
template <class Job>
inline constexpr int long_tile_threads = along_tile<Job, 32>::widest <= 32 ? 256 : 128;

/// Blocks that a multiprocessor should hold: what the registers are limited to.
template <class Job, int Threads>
inline constexpr int along_blocks = Threads == 32                            ? 16
                                    : along_tile<Job, Threads>::widest <= 8  ? 6
                                    : along_tile<Job, Threads>::widest <= 32 ? 4
                                                                             : 3;

template <class Job, int Threads, bool Backward>
__global__ void __launch_bounds__(Threads, along_blocks<Job, Threads>) along_kernel(const __grid_constant__ Job job,
                                                        const __grid_constant__ lookback<typename Job::recurrence_type> look,
                                                        unsigned long long* next_ticket) {
  using tile = along_tile<Job, Threads>;
  using U = typename Job::input_type;
  using S = typename Job::state_type;
  using E = typename Job::element;
  extern __shared__ uint4 memory[];
  tile& shared = *reinterpret_cast<tile*>(memory);
  std::byte* outputs = tile::in_place ? shared.inputs : shared.outputs;
  const auto& r = job.recurrence;
  const int rank = static_cast<int>(threadIdx.x);
  const std::int64_t tiles = look.tiles_in_row;

  // Earlier tiles first, so that a tile that waits for others waits for tiles that run.
  std::int64_t ticket = blockIdx.x;
  if (tiles > 1) {
    if (rank == 0) shared.ticket = static_cast<std::int64_t>(atomicAdd(next_ticket, 1ull));
    __syncthreads();
    ticket = shared.ticket;
  }
  const std::int64_t index = job.count == 1 ? ticket : ticket / job.count, row = job.count == 1 ? 0 : ticket % job.count;
  // Backward in time is the mirror image in memory; the short tile is the one that memory ends with.
  const std::int64_t place = (Backward ? tiles - 1 - index : index) * tile::size;
  const int valid = static_cast<int>(min(static_cast<std::int64_t>(tile::size), job.length - place));
  // Time strides are 1 here, or -1 from the row's end.
  const std::int64_t first = Backward ? place + 1 - job.length : place;

  load_tile<Threads, tile::size * tile::input_size>(
      shared.inputs, reinterpret_cast<const std::byte*>(job.in.row(row) + first), valid * tile::input_size);
  wait_for_copies();
  __syncthreads();

  const int n = valid - rank * tile::items;
  const int threads = (valid + tile::items - 1) / tile::items;
  const int begin = Backward ? valid - 1 - rank * tile::items : rank * tile::items;
  const auto place_of = [&](int i) { return Backward ? begin - i : begin + i; };
  const auto read = [&](int i) { return get_aligned<U>(shared.inputs, place_of(i)); };
  using scope = block<typename Job::monoid_type, Threads>;
  scope threads_of(shared.scan, r.monoid());

  thread_scan<E> scanned;
  if (valid == tile::size) {
    const E sum = scope::template absorb_run<tile::items>(r, read, tile::items);
    scanned = threads_of.template scan<false>(r.monoid(), sum, typename scope::all_threads{});
  } else {
    const E sum = scope::template absorb_run<tile::items>(r, read, n);
    scanned = threads_of.template scan<false>(r.monoid(), sum, threads);
  }

  const bool last = index + 1 == tiles, needs_carry = Job::has_outputs || last;
  if (rank < 32) {
    const S carry = tiles == 1 ? job.before(row) : look.carry(r, row, index, scanned.total, job.before(row), needs_carry);
    if (rank == 0) {
      shared.carry = carry;
      if (!Job::has_outputs && last) job.finish(row, r.act(scanned.total, carry));
    }
  }
  if constexpr (Job::has_outputs) {
    __syncthreads();
    S state = shared.carry;
    if (rank > 0 && rank < threads) state = r.act(scanned.earlier, state);
    const auto visit = [&](int i, const S& before, const S& after) {
      put_aligned<S>(outputs, place_of(i), Job::emits == emit::before ? before : after);
    };
    if (valid == tile::size) {
      state = scope::template replay_run<tile::items>(r, read, state, visit, tile::items);
    } else {
      state = scope::template replay_run<tile::items>(r, read, state, visit, n);
    }
    if (last && rank == threads - 1) job.finish(row, state);
    __syncthreads();
    store_tile<Threads, tile::size * tile::state_size>(reinterpret_cast<std::byte*>(job.out.row(row) + first), outputs,
                                                       valid * tile::state_size);
  }
}

template <class Job, int Threads>
constexpr std::int64_t along_tiles(std::int64_t length) {
  return (length + along_tile<Job, Threads>::size - 1) / along_tile<Job, Threads>::size;
}

/// Bytes: a ticket, and the marks.
template <class Job, int Threads>
std::size_t along_workspace(std::int64_t rows, std::int64_t length) {
  const std::int64_t tiles = along_tiles<Job, Threads>(length);
  if (tiles <= 1) return 0;
  return 8 * static_cast<std::size_t>(1 + lookback<typename Job::recurrence_type>::marks(rows, tiles));
}

template <class Job, int Threads>
void launch_along(const char* verb, const cuda& policy, const Job& job) {
  const std::int64_t tiles = along_tiles<Job, Threads>(job.length), blocks = tiles * job.count;
  if (blocks > 0x7fffffff) bad_argument(verb, "the arrays have " + std::to_string(blocks) + " tiles, more than a launch can");
  const std::size_t bytes = along_workspace<Job, Threads>(job.count, job.length);
  auto* memory = reinterpret_cast<unsigned long long*>(policy.workspace.data());
  if (bytes > 0) require_success("cudaMemsetAsync", cudaMemsetAsync(memory, 0, bytes, policy.stream));
  const lookback<typename Job::recurrence_type> look(reinterpret_cast<std::uint64_t*>(memory + 1), job.count, tiles);
  const auto kernel = job.in.time_stride < 0 ? along_kernel<Job, Threads, true> : along_kernel<Job, Threads, false>;
  constexpr std::size_t shared = sizeof(along_tile<Job, Threads>);
  require_success("cudaFuncSetAttribute", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                               static_cast<int>(shared)));
  kernel<<<static_cast<unsigned>(blocks), Threads, shared, policy.stream>>>(job, look, memory);
  require_success("launch of along_kernel", cudaGetLastError());
}

}  // namespace kalscan::detail
