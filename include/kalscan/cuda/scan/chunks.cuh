// SPDX-License-Identifier: MIT
// Chunks of time, a thread each, cut and combined as the OpenMP back end does: absorb, carry, replay in three launches.
#pragma once

#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>

namespace kalscan::detail {

/// Elements and states of chunk k of row i at [k * count + i]. The state is the one before the chunk.
template <class Call>
struct chunk_memory {
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

/// The first chunk is replayed, since its state is known; the others are absorbed.
template <class Call>
__global__ void __launch_bounds__(128) absorb_kernel(const __grid_constant__ Call call,
                                                     const __grid_constant__ chunk_memory<Call> memory) {
  const std::int64_t task = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  const std::int64_t row = task % call.count, k = task / call.count;
  if (k >= memory.chunks) return;
  const std::int64_t first = k * memory.chunk, last = min(call.length, first + memory.chunk);
  if (k == 0) {
    const auto state = replay_chunk(call, row, 0, last, call.before(row));
    if (memory.chunks == 1) {
      call.finish(row, state);
    } else {
      memory.states[call.count + row] = state;
    }
    return;
  }
  if (call.has_outputs && k + 1 == memory.chunks) return;
  const auto* in = call.in.row(row);
  auto sum = call.recurrence.lift(in[first * call.in.time_stride]);
#pragma unroll 4
  for (std::int64_t t = first + 1; t < last; ++t)
    sum = kalscan::absorb(call.recurrence, sum, in[t * call.in.time_stride]);
  memory.elements[k * call.count + row] = sum;
}

template <class Call>
__global__ void __launch_bounds__(128) carry_kernel(const __grid_constant__ Call call,
                                                    const __grid_constant__ chunk_memory<Call> memory) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (row >= call.count) return;
  auto state = memory.states[call.count + row];
  const std::int64_t last = call.has_outputs ? memory.chunks - 1 : memory.chunks;
#pragma unroll 8
  for (std::int64_t k = 1; k < last; ++k) {
    state = call.recurrence.act(memory.elements[k * call.count + row], state);
    if constexpr (Call::has_outputs) memory.states[(k + 1) * call.count + row] = state;
  }
  if constexpr (!Call::has_outputs) call.finish(row, state);
}

template <class Call>
__global__ void __launch_bounds__(128) replay_kernel(const __grid_constant__ Call call,
                                                     const __grid_constant__ chunk_memory<Call> memory) {
  const std::int64_t task = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  const std::int64_t row = task % call.count, k = 1 + task / call.count;
  if (k >= memory.chunks) return;
  const std::int64_t first = k * memory.chunk, last = min(call.length, first + memory.chunk);
  const auto state = replay_chunk(call, row, first, last, memory.states[k * call.count + row]);
  if (k + 1 == memory.chunks) call.finish(row, state);
}

template <class Call>
std::size_t chunks_workspace(std::int64_t rows, std::int64_t length, std::int64_t chunk) {
  const std::int64_t chunks = (length + chunk - 1) / chunk;
  if (chunks <= 1) return 0;
  return workspace_pieces::rounded(static_cast<std::size_t>(rows * chunks) * sizeof(typename Call::element)) +
         workspace_pieces::rounded(static_cast<std::size_t>(rows * chunks) * sizeof(typename Call::state_type));
}

template <class Call>
void launch_chunks(const char* verb, const cuda& policy, const Call& call, std::int64_t chunk) {
  const std::int64_t chunks = std::max<std::int64_t>(1, (call.length + chunk - 1) / chunk);
  workspace_pieces pieces(policy.workspace);
  chunk_memory<Call> memory{nullptr, nullptr, chunk, chunks};
  if (chunks > 1) {
    memory.elements = pieces.take<typename Call::element>(call.count * chunks);
    memory.states = pieces.take<typename Call::state_type>(call.count * chunks);
  }
  const auto blocks = [&](std::int64_t tasks) {
    const std::int64_t n = (tasks + 127) / 128;
    if (n > most_blocks) bad_argument(verb, std::to_string(tasks) + " chunks are more than a launch can take");
    return static_cast<unsigned>(n);
  };
  absorb_kernel<<<blocks(call.count * chunks), 128, 0, policy.stream>>>(call, memory);
  require_success("launch of absorb_kernel", cudaGetLastError());
  if (chunks == 1) return;
  carry_kernel<<<blocks(call.count), 128, 0, policy.stream>>>(call, memory);
  require_success("launch of carry_kernel", cudaGetLastError());
  if constexpr (Call::has_outputs) {
    replay_kernel<<<blocks(call.count * (chunks - 1)), 128, 0, policy.stream>>>(call, memory);
    require_success("launch of replay_kernel", cudaGetLastError());
  }
}

}  // namespace kalscan::detail
