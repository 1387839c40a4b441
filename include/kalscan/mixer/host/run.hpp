// SPDX-License-Identifier: MIT
// The mixer on back ends that run tasks side by side: lines of channels in parallel and, where these are few, chunks of
// time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/mixer/call.hpp>
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

template <task_policy P, class Call>
void run_forward(const P& policy, const Call& call) {
  using traversal = forward_traversal<Call>;
  const int workers = worker_count(policy);
  const mixer_plan plan = plan_of(call, chunk_length(policy), traversal::splits, 1);
  const auto count = static_cast<std::int64_t>(plan.whole.size() + plan.split.size());
  // The widest strips that leave two tasks a worker. No bit depends on them, since lanes are independent.
  const std::int64_t strip = std::clamp<std::int64_t>(count * plan.lines / (2 * std::int64_t(workers)), 1, 16);
  run_chains(policy, mixer_chains(call, plan, strip, [&](std::int64_t first_line, std::int64_t last_line) {
               return traversal(call, first_line, last_line);
             }));
}

template <task_policy P, class Call>
void backward_in_chains(const P& policy, const Call& call) {
  using traversal = backward_traversal<Call>;
  const mixer_plan plan = plan_of(call, chunk_length(policy), traversal::splits, call.states.every);
  const std::int64_t strip = lines_of_strip(plan);
  gradient_parts<Call> parts(call, plan, strip);
  run_chains(policy, mixer_chains(call, plan, strip, [&](std::int64_t first_line, std::int64_t last_line) {
               return traversal(call, parts, first_line / strip, first_line, last_line);
             }));
  parts.write();
}

inline std::int64_t longest_sequence(const auto& call) {
  std::int64_t longest = 0;
  for (std::int64_t n = 0; n < call.shape.sequences(); ++n) longest = (std::max)(longest, call.sequence_at(n).length);
  return longest;
}

/// Runs backward, after the forward pass if no checkpoints are given.
template <policy P, class Call>
void run_backward_passes(const P& policy, const Call& call, std::int64_t longest, bool checkpoints) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  if (!checkpoints) {
    // One checkpoint a tile; further apart where these would be many.
    constexpr std::size_t count = array_size<typename M::template state<T>, T>;
    Call with = call;
    with.states.every = tile_steps;
    while (with.states.every * with.states.every < tile_steps * longest / 256) with.states.every *= 2;
    const std::int64_t times = checkpoint_count(call.shape, with.states.every);
    const std::int64_t size = call.shape.batch * times * call.shape.channels * call.shape.states;
    aligned_vector<T> memory(count * static_cast<std::size_t>(size));
    const auto tensors = from_fields<state_tensors<M, T>, tensor<T>>([&](auto i) {
      return tensor<T>(memory.data() + static_cast<std::int64_t>(i) * size, call.shape.batch, times,
                       call.shape.channels, call.shape.states);
    });
    const auto none = with_members(call.out_bar, [](const auto&... y) {
      return typename M::template outputs<tensor<T>>{(static_cast<void>(y), tensor<T>())...};
    });
    run_forward(policy, forward_call<M, decltype(call.in), decltype(none)>{
                            call.shape,
                            call.in,
                            none,
                            {.initial = call.states.initial, .checkpoints = tensors, .every = with.states.every}});
    with.states.checkpoints = read_only<M>(tensors);
    return backward_in_chains(policy, with);
  }
  backward_in_chains(policy, call);
}

template <task_policy P, class Call>
void run_backward(const P& policy, const Call& call) {
  if (call.shape.sequences() == 0 || call.shape.channels == 0 || call.shape.states == 0)
    return run_backward(seq{}, call);
  const bool checkpoints = as_array<tensor<const typename Call::number>>(call.states.checkpoints)[0].present();
  run_backward_passes(policy, call, longest_sequence(call), checkpoints);
}

}  // namespace kalscan::detail
