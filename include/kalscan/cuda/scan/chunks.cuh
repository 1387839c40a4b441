// SPDX-License-Identifier: MIT
// Chunks of time, a thread each, cut and combined as the OpenMP back end does: absorb, carry, replay in three launches.
// The rows may be stretches of longer ones, whose other steps are on other devices: what enters is then carried through
// all chunks, and what leaves goes on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>

namespace kalscan::detail {

/// Whether the rows begin and end here: of one device constants, so that its kernels do not ask.
struct whole_rows {
  static constexpr bool begin = true, end = true;
};
struct row_stretches {
  bool begin, end;
};

/// Elements and states of chunk k of row i at [k * count + i]. The state is the one before the chunk; where the rows do
/// not end here there is one more, which leaves.
template <class Call, class Ends>
struct chunk_memory : Ends {
  typename Call::element* elements;
  typename Call::state_type* states;
  std::int64_t chunk, chunks;
};

/// Takes steps [first, last) of a row, loading up to four inputs at once.
template <class Call>
__device__ typename Call::state_type replay_chunk(const Call& call, std::int64_t row, std::int64_t first,
                                                  std::int64_t last, typename Call::state_type state) {
  using S = typename Call::state_type;
  constexpr int ahead = sizeof(typename Call::input_type) <= 32 ? 4 : 1;
  const auto* in = call.in.row(row);
  S* out = call.has_outputs ? call.out.row(row) : nullptr;
  // The input by value: it may lie where the output goes.
  const auto take = [&](std::int64_t t, const typename Call::input_type u) {
    if constexpr (Call::emits == emit::before) out[t * call.out.time_stride] = state;
    state = call.recurrence.step(state, u);
    if constexpr (Call::emits == emit::after) out[t * call.out.time_stride] = state;
  };
  std::int64_t t = first;
  for (; t + ahead <= last; t += ahead) {
    typename Call::input_type u[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i) u[i] = in[(t + i) * call.in.time_stride];
#pragma unroll
    for (int i = 0; i < ahead; ++i) take(t + i, u[i]);
  }
  for (; t < last; ++t) take(t, in[t * call.in.time_stride]);
  return state;
}

/// The first chunk of rows that begin here is replayed, since its state is known; the others are absorbed.
template <class Call, class Ends>
__global__ void __launch_bounds__(128) absorb_kernel(const __grid_constant__ Call call,
                                                     const __grid_constant__ chunk_memory<Call, Ends> memory) {
  const std::int64_t task = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  const std::int64_t row = task % call.count, k = task / call.count;
  if (k >= memory.chunks) return;
  const std::int64_t first = k * memory.chunk, last = min(call.length, first + memory.chunk);
  if (memory.begin && k == 0) {
    const auto state = replay_chunk(call, row, 0, last, call.before(row));
    if (memory.end && memory.chunks == 1) {
      call.finish(row, state);
    } else {
      memory.states[call.count + row] = state;
    }
    return;
  }
  if (call.has_outputs && memory.end && k + 1 == memory.chunks) return;
  const auto* in = call.in.row(row);
  auto sum = call.recurrence.lift(in[first * call.in.time_stride]);
#pragma unroll 4
  for (std::int64_t t = first + 1; t < last; ++t)
    sum = kalscan::absorb(call.recurrence, sum, in[t * call.in.time_stride]);
  memory.elements[k * call.count + row] = sum;
}

template <class Call, class Ends>
__global__ void __launch_bounds__(128) carry_kernel(const __grid_constant__ Call call,
                                                    const __grid_constant__ chunk_memory<Call, Ends> memory) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (row >= call.count) return;
  const std::int64_t first = memory.begin ? 1 : 0;
  auto state = memory.states[first * call.count + row];
  const std::int64_t last = call.has_outputs && memory.end ? memory.chunks - 1 : memory.chunks;
#pragma unroll 8
  for (std::int64_t k = first; k < last; ++k) {
    state = call.recurrence.act(memory.elements[k * call.count + row], state);
    if constexpr (Call::has_outputs) memory.states[(k + 1) * call.count + row] = state;
  }
  if constexpr (!Call::has_outputs) {
    if (memory.end) {
      call.finish(row, state);
    } else {
      memory.states[memory.chunks * call.count + row] = state;
    }
  }
}

template <class Call, class Ends>
__global__ void __launch_bounds__(128) replay_kernel(const __grid_constant__ Call call,
                                                     const __grid_constant__ chunk_memory<Call, Ends> memory) {
  const std::int64_t task = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  const std::int64_t row = task % call.count, k = (memory.begin ? 1 : 0) + task / call.count;
  if (k >= memory.chunks) return;
  const std::int64_t first = k * memory.chunk, last = min(call.length, first + memory.chunk);
  const auto state = replay_chunk(call, row, first, last, memory.states[k * call.count + row]);
  if (memory.end && k + 1 == memory.chunks) call.finish(row, state);
}

/// The chunks of a row: one where it is empty.
inline std::int64_t chunks_of_row(std::int64_t length, std::int64_t chunk) {
  return std::max<std::int64_t>(1, (length + chunk - 1) / chunk);
}

template <class Call>
std::size_t chunks_workspace(std::int64_t rows, std::int64_t length, std::int64_t chunk) {
  const std::int64_t chunks = (length + chunk - 1) / chunk;
  if (chunks <= 1) return 0;
  return workspace_arena::rounded(static_cast<std::size_t>(rows * chunks) * sizeof(typename Call::element)) +
         workspace_arena::rounded(static_cast<std::size_t>(rows * chunks) * sizeof(typename Call::state_type));
}

/// Calls before(), which may bring what enters, before the carries, and after(), which may send what leaves, behind
/// them.
template <class Call, class Ends, class Before, class After>
void launch_chunk_passes(const char* verb, const cuda& policy, const Call& call, const chunk_memory<Call, Ends>& memory,
                   Before before, After after) {
  const auto blocks = [&](std::int64_t tasks) {
    const std::int64_t n = (tasks + 127) / 128;
    if (n > most_blocks) bad_argument(verb, text({tasks, " chunks are more than a launch can take"}));
    return static_cast<unsigned>(n);
  };
  const unsigned all = blocks(call.count * memory.chunks);
  absorb_kernel<<<all, 128, 0, policy.stream>>>(call, memory);
  check_launch("absorb_kernel");
  const std::int64_t replayed = memory.begin ? 1 : 0;
  before();
  if (memory.chunks > replayed) {
    carry_kernel<<<blocks(call.count), 128, 0, policy.stream>>>(call, memory);
    check_launch("carry_kernel");
  }
  after();
  if constexpr (Call::has_outputs) {
    if (memory.chunks == replayed) return;
    replay_kernel<<<blocks(call.count * (memory.chunks - replayed)), 128, 0, policy.stream>>>(call, memory);
    check_launch("replay_kernel");
  }
}

template <class Call>
void launch_chunks(const char* verb, const cuda& policy, const Call& call, std::int64_t chunk) {
  workspace_arena arena(policy.workspace);
  chunk_memory<Call, whole_rows> memory{{}, nullptr, nullptr, chunk, chunks_of_row(call.length, chunk)};
  if (memory.chunks > 1) {
    memory.elements = arena.take<typename Call::element>(call.count * memory.chunks);
    memory.states = arena.take<typename Call::state_type>(call.count * memory.chunks);
  }
  const auto nothing = [] {};
  launch_chunk_passes(verb, policy, call, memory, nothing, nothing);
}

}  // namespace kalscan::detail
