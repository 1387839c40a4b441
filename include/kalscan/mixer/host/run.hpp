// SPDX-License-Identifier: MIT
// The mixer on back ends that run tasks side by side: blocks of channels at once, and chunks of time where these are few.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/host/backward_traversal.hpp>
#include <kalscan/mixer/host/chains.hpp>
#include <kalscan/mixer/host/forward_traversal.hpp>
#include <kalscan/mixer/host/gradient_parts.hpp>
#include <kalscan/mixer/host/plan.hpp>
#include <kalscan/mixer/host/seq.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/aligned_vector.hpp>

namespace kalscan::detail {

template <bool Varying, task_policy P, class Job>
void forward_in_chains(const P& policy, const Job& job) {
  using traversal = forward_traversal<Job, Varying>;
  const int workers = worker_count(policy);
  const mixer_plan plan = plan_of(job, chunk_length(policy), traversal::splits, 1);
  const auto count = static_cast<std::int64_t>(plan.whole.size() + plan.split.size());
  // Lanes do not depend on each other, so that groups may: the widest that leave two tasks a worker.
  const std::int64_t group = std::clamp<std::int64_t>(count * plan.blocks / (2 * std::int64_t(workers)), 1, 16);
  run_chains(policy, mixer_chains(job, plan, group, [&](std::int64_t first_block, std::int64_t last_block) {
               return traversal(job, first_block, last_block);
             }));
}

template <bool Varying, task_policy P, class Job>
void backward_in_chains(const P& policy, const Job& job) {
  using traversal = backward_traversal<Job, Varying>;
  const mixer_plan plan = plan_of(job, chunk_length(policy), traversal::splits, job.states.every);
  // Sums over channels are made group by group: the groups must not depend on the number of workers.
  const std::int64_t group = std::clamp<std::int64_t>(plan.blocks * job.shape.batch / 16, 1, 8);
  gradient_parts<Job> parts(job, plan, group);
  run_chains(policy, mixer_chains(job, plan, group, [&](std::int64_t first_block, std::int64_t last_block) {
               return traversal(job, parts, first_block / group, first_block, last_block);
             }));
  parts.write();
}

template <task_policy P, class Job>
void run_forward(const P& policy, const Job& job) {
  if (parameters_vary(job)) {
    forward_in_chains<true>(policy, job);
  } else {
    forward_in_chains<false>(policy, job);
  }
}

template <task_policy P, class Job>
void run_backward(const P& policy, const Job& job) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  if (job.shape.sequences() == 0 || job.shape.channels == 0 || job.shape.states == 0) return run_backward(seq{}, job);
  if (!words<tensor<const T>>(job.states.checkpoints)[0].present()) {
    // The forward pass once more, for its checkpoints: one a tile, further apart where these would be many.
    constexpr std::size_t count = word_count<typename M::template state<T>, T>;
    Job with = job;
    std::int64_t longest = 0;
    for (std::int64_t n = 0; n < job.shape.sequences(); ++n) longest = (std::max)(longest, job.sequence_at(n).length);
    with.states.every = tile_steps;
    while (with.states.every * with.states.every < tile_steps * longest / 256) with.states.every *= 2;
    const std::int64_t times = checkpoint_count(job.shape, with.states.every);
    const std::int64_t size = job.shape.batch * times * job.shape.channels * job.shape.states;
    aligned_vector<T> memory(count * static_cast<std::size_t>(size));
    const auto tensors = from_words<state_tensors<M, T>, tensor<T>>([&](auto i) {
      return tensor<T>(memory.data() + static_cast<std::int64_t>(i) * size, job.shape.batch, times, job.shape.channels,
                       job.shape.states);
    });
    const auto none = with_members(job.out_bar, [](const auto&... y) {
      return typename M::template outputs<tensor<T>>{(static_cast<void>(y), tensor<T>())...};
    });
    run_forward(policy, mixer_job<M, decltype(job.in), decltype(none)>{
                            job.shape,
                            job.in,
                            none,
                            {.initial = job.states.initial, .checkpoints = tensors, .every = with.states.every}});
    with.states.checkpoints = read_only<M>(tensors);
    return run_backward(policy, with);
  }
  if (parameters_vary(job)) {
    backward_in_chains<true>(policy, job);
  } else {
    backward_in_chains<false>(policy, job);
  }
}

}  // namespace kalscan::detail
