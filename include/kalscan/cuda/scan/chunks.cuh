// SPDX-License-Identifier: MIT
// Chunks of time, a thread each, cut and combined as the OpenMP back end does: absorb, carry, replay in three launches.
#pragma once

#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>

namespace kalscan::detail {

/// Elements and states of chunk k of row i at [k * count + i]. The state is the one before the chunk.
template <class Job>
struct chunk_memory {
  typename Job::element* elements;
  typename Job::state_type* states;
  std::int64_t chunk, chunks;
};

/// Takes steps [first, last) of a row, several loads at a time.
template <class Job>
__device__ typename Job::state_type replay_chunk(const Job& job, std::int64_t row, std::int64_t first, std::int64_t last,
                                                 typename Job::state_type state) {
  using S = typename Job::state_type;
  constexpr int ahead = sizeof(typename Job::input_type) <= 32 ? 4 : 1;
  const auto* in = job.in.row(row);
  S* out = job.has_outputs ? job.out.row(row) : nullptr;
  // The input by value: it may lie where the output goes.
  const auto take = [&](std::int64_t t, const typename Job::input_type u) {
    if constexpr (Job::emits == emit::before) out[t * job.out.time_stride] = state;
    state = job.recurrence.step(state, u);
    if constexpr (Job::emits == emit::after) out[t * job.out.time_stride] = state;
  };
  std::int64_t t = first;
  for (; t + ahead <= last; t += ahead) {
    typename Job::input_type u[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i) u[i] = in[(t + i) * job.in.time_stride];
#pragma unroll
    for (int i = 0; i < ahead; ++i) take(t + i, u[i]);
  }
  for (; t < last; ++t) take(t, in[t * job.in.time_stride]);
  return state;
}

/// The first chunk is replayed, since its state is known; the others are absorbed.
template <class Job>
__global__ void __launch_bounds__(128) absorb_kernel(const __grid_constant__ Job job,
                                                     const __grid_constant__ chunk_memory<Job> memory) {
  const std::int64_t task = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  const std::int64_t row = task % job.count, k = task / job.count;
  if (k >= memory.chunks) return;
  const std::int64_t first = k * memory.chunk, last = min(job.length, first + memory.chunk);
  if (k == 0) {
    const auto state = replay_chunk(job, row, 0, last, job.before(row));
    if (memory.chunks == 1) {
      job.finish(row, state);
    } else {
      memory.states[job.count + row] = state;
    }
    return;
  }
  if (job.has_outputs && k + 1 == memory.chunks) return;
  const auto* in = job.in.row(row);
  auto sum = job.recurrence.lift(in[first * job.in.time_stride]);
#pragma unroll 4
  for (std::int64_t t = first + 1; t < last; ++t) sum = kalscan::absorb(job.recurrence, sum, in[t * job.in.time_stride]);
  memory.elements[k * job.count + row] = sum;
}

template <class Job>
__global__ void __launch_bounds__(128) carry_kernel(const __grid_constant__ Job job,
                                                    const __grid_constant__ chunk_memory<Job> memory) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (row >= job.count) return;
  auto state = memory.states[job.count + row];
  const std::int64_t last = job.has_outputs ? memory.chunks - 1 : memory.chunks;
#pragma unroll 8
  for (std::int64_t k = 1; k < last; ++k) {
    state = job.recurrence.act(memory.elements[k * job.count + row], state);
    if constexpr (Job::has_outputs) memory.states[(k + 1) * job.count + row] = state;
  }
  if constexpr (!Job::has_outputs) job.finish(row, state);
}

template <class Job>
__global__ void __launch_bounds__(128) replay_kernel(const __grid_constant__ Job job,
                                                     const __grid_constant__ chunk_memory<Job> memory) {
  const std::int64_t task = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  const std::int64_t row = task % job.count, k = 1 + task / job.count;
  if (k >= memory.chunks) return;
  const std::int64_t first = k * memory.chunk, last = min(job.length, first + memory.chunk);
  const auto state = replay_chunk(job, row, first, last, memory.states[k * job.count + row]);
  if (k + 1 == memory.chunks) job.finish(row, state);
}

template <class Job>
std::size_t chunks_workspace(std::int64_t rows, std::int64_t length, std::int64_t chunk) {
  const std::int64_t chunks = (length + chunk - 1) / chunk;
  if (chunks <= 1) return 0;
  return workspace_pieces::rounded(static_cast<std::size_t>(rows * chunks) * sizeof(typename Job::element)) +
         workspace_pieces::rounded(static_cast<std::size_t>(rows * chunks) * sizeof(typename Job::state_type));
}

template <class Job>
void launch_chunks(const char* verb, const cuda& policy, const Job& job, std::int64_t chunk) {
  const std::int64_t chunks = std::max<std::int64_t>(1, (job.length + chunk - 1) / chunk);
  workspace_pieces pieces(policy.workspace);
  chunk_memory<Job> memory{nullptr, nullptr, chunk, chunks};
  if (chunks > 1) {
    memory.elements = pieces.take<typename Job::element>(job.count * chunks);
    memory.states = pieces.take<typename Job::state_type>(job.count * chunks);
  }
  const auto blocks = [&](std::int64_t tasks) {
    const std::int64_t n = (tasks + 127) / 128;
    if (n > 0x7fffffff) bad_argument(verb, std::to_string(tasks) + " chunks are more than a launch can take");
    return static_cast<unsigned>(n);
  };
  absorb_kernel<<<blocks(job.count * chunks), 128, 0, policy.stream>>>(job, memory);
  require_success("launch of absorb_kernel", cudaGetLastError());
  if (chunks == 1) return;
  carry_kernel<<<blocks(job.count), 128, 0, policy.stream>>>(job, memory);
  require_success("launch of carry_kernel", cudaGetLastError());
  if constexpr (Job::has_outputs) {
    replay_kernel<<<blocks(job.count * (chunks - 1)), 128, 0, policy.stream>>>(job, memory);
    require_success("launch of replay_kernel", cudaGetLastError());
  }
}

}  // namespace kalscan::detail
