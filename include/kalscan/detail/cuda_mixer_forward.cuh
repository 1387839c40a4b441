// SPDX-License-Identifier: MIT
// The mixer's kernels, forward: whole sequences in one launch, or chunks of time by absorb, carry, replay in three.
#pragma once

#include <cstdint>
#include <kalscan/detail/cuda_mixer_absorb.cuh>
#include <kalscan/detail/cuda_mixer_lanes.cuh>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>

namespace kalscan::detail {

extern __shared__ __align__(16) unsigned char mixer_shared_memory[];

enum class forward_pass { whole, first, last };

/// Block `first_block` + blockIdx.x: slots in order, the blocks of channels of each side by side.
template <class Job, class Lanes, bool Absorbs>
__global__ void __launch_bounds__(Lanes::layout::threads(), Lanes::layout::known ? 256 / Lanes::layout::threads() : 1)
    mixer_forward_kernel(const __grid_constant__ Job job, const __grid_constant__ typename Lanes::layout layout,
                         const __grid_constant__ time_cuts cuts,
                         const __grid_constant__ forward_arrays<typename Job::mixer, typename Job::number> arrays,
                         std::int64_t first_block, forward_pass pass) {
  using walk_type = absorbing_walk_on_device<Job, Lanes>;
  const std::int64_t blocks = (job.shape.channels + layout.channels() - 1) / layout.channels();
  const std::int64_t block = first_block + blockIdx.x;
  const chunk_place at = cuts[block / blocks];
  const bool replays = pass == forward_pass::last ? at.k > 0 : at.k == 0;
  if (!replays && (!Absorbs || at.k + 1 == at.chunks)) return;
  walk_type walk(job, layout, at, block % blocks * layout.channels(), mixer_shared_memory);
  if (replays) {
    typename walk_type::state x[Lanes::states];
    if (at.k == 0) {
      walk.load_initial(x);
    } else {
      walk.lanes.load(arrays.carry, at.slot, x);
    }
    walk.replay_any(x);
    if (at.k == 0 && at.chunks > 1) walk.lanes.store(arrays.carry, at.slot + 1, x);
  } else if constexpr (Absorbs) {
    typename walk_type::element e[Lanes::states];
    walk.absorb(e);
    walk.lanes.store(arrays.element, at.slot, e);
  }
}

/// Whether none of the numbers is infinite or NaN.
template <class T, class X>
__device__ bool all_finite(const X& x) {
  T zero(0);
  const auto numbers = words<T>(x);
  for_each_index<word_count<X, T>>([&](auto i) { zero += numbers[i()] * T(0); });
  return zero == T(0);
}

/// Calls use(k, get(k)) for `count` steps from `first` on, by `stride`; what `Ahead` steps want is read before the
/// first of them, since a thread that waits for each by itself does little else.
template <int Ahead, class Get, class Use>
__device__ __forceinline__ void read_ahead(std::int64_t first, std::int64_t count, int stride, Get get, Use use) {
  for (std::int64_t i = 0; i < count; i += Ahead) {
    decltype(get(first)) some[Ahead];
#pragma unroll
    for (int j = 0; j < Ahead; ++j) some[j] = get(first + stride * min(i + j, count - 1));
#pragma unroll
    for (int j = 0; j < Ahead; ++j) {
      if (i + j < count) use(first + stride * (i + j), some[j]);
    }
  }
}

/// Calls f(lane, first slot, chunks), a thread each, for the lanes of all sequences with chunks between their first and
/// last one.
template <class F>
__device__ __forceinline__ void for_each_cut_lane(const time_cuts& cuts, std::int64_t lanes, F f) {
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < cuts.sequences * lanes;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    const std::int64_t n = i / lanes, lane = i % lanes;
    const std::int64_t slot = cuts.offsets == nullptr ? n * (cuts.slots / cuts.sequences) : cuts.first_slot[n];
    const std::int64_t chunks = cuts.offsets == nullptr ? cuts.slots / cuts.sequences : cuts.first_slot[n + 1] - slot;
    if (chunks > 2) f(lane, slot, chunks);
  }
}

/// The state after the chunk of a slot, step by step: seldom wanted, and kept out of the way.
template <class Job, class State>
__device__ __noinline__ State walk_lane(const Job& job, const time_cuts& cuts, std::int64_t slot, std::int64_t lane,
                                        State x) {
  using M = typename Job::mixer;
  const chunk_place at = cuts[slot];
  const std::int64_t S = job.shape.states;
  for (std::int64_t t = at.from; t < at.to; ++t)
    x = M::step(x, terms_of_lane<M, typename Job::number>(job.in, at.batch, at.first + t, lane / S, lane % S));
  return x;
}

/// The states before all chunks of a sequence, one thread a lane. Where gains above one took an element out of range,
/// or a run does not act on the state before it, the lane is walked instead, step by step.
template <class Job>
__global__ void mixer_carry_kernel(
    const __grid_constant__ Job job, const __grid_constant__ time_cuts cuts,
    const __grid_constant__ forward_arrays<typename Job::mixer, typename Job::number> arrays) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  const std::int64_t lanes = job.shape.channels * job.shape.states;
  for_each_cut_lane(cuts, lanes, [&](std::int64_t lane, std::int64_t slot, std::int64_t chunks) {
    auto x = arrays.carry.get(slot + 1, lane);
    read_ahead<16>(
        1, chunks - 2, 1, [&](std::int64_t k) { return arrays.element.get(slot + k, lane); },
        [&](std::int64_t k, const auto& e) {
          const auto after = M::act(e, x);
          const bool right = all_finite<T>(e) && (!mixer_with_runs<M> || all_finite<T>(after));
          x = right ? after : walk_lane(job, cuts, slot + k, lane, x);
          arrays.carry.set(slot + k + 1, lane, x);
        });
  });
}

}  // namespace kalscan::detail
