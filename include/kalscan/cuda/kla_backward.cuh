// SPDX-License-Identifier: MIT
// The adjoint of a sequence mixer on an NVIDIA device: the policy `cuda` for the verb of <kalscan/kla/backward.hpp>.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/kla_forward.cuh>
#include <kalscan/kla/backward.hpp>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/device/backward_kernels.cuh>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <string>

namespace kalscan {
namespace detail {

/// How the gradient of input i comes about, from the input's extent.
template <class M>
gathered gathering_of(std::size_t i, const std::array<std::int64_t, 4>& extent) {
  switch (M::inputs_info[i].varies) {
    case role::channel:
      return gathered::channel;
    case role::state:
      return gathered::over_lanes;
    case role::parameter:
      break;
  }
  return extent[1] == 1   ? gathered::over_time
         : extent[2] == 1 ? gathered::over_lanes
         : extent[3] == 1 ? gathered::channel
                          : gathered::lane;
}

/// The distance of the checkpoints that a shape needs.
inline int backward_every(const mixer_shape& shape) { return backward_tile(states_of_thread(shape.states)); }

/// The workspace of a backward call.
template <class M, class T>
struct backward_pieces {
  forward_pieces<M, T> forward;
  backward_arrays<M, T> arrays{};
  state_tensors<M, T> checkpoints{};

  template <class In>
  backward_pieces(workspace_pieces& memory, const mixer_shape& shape, const time_cuts& cuts, const In& in,
                  bool has_checkpoints)
      : forward(memory, shape, cuts) {
    const std::int64_t lanes = shape.channels * shape.states, slots = cuts.slots > cuts.sequences ? cuts.slots : 0;
    arrays.carry = {memory.take<T>(slots * lanes * decltype(arrays.carry)::count), lanes};
    arrays.element = {memory.take<T>(slots * lanes * decltype(arrays.element)::count), lanes};
    if (!has_checkpoints) {
      const std::int64_t times = checkpoint_count(shape, backward_every(shape));
      checkpoints = from_words<state_tensors<M, T>, tensor<T>>([&](auto) {
        return tensor<T>(memory.take<T>(shape.batch * times * lanes), shape.batch, times, shape.channels, shape.states);
      });
    }
    const std::int64_t side = channels_of_block(shape.states), blocks = (shape.channels + side - 1) / side;
    std::size_t i = 0;
    for_each_member(in, [&](const auto& x) {
      arrays.how[i] = gathering_of<M>(i, x.extent);
      arrays.lanes[i] =
          memory.take<T>(arrays.how[i] == gathered::over_lanes ? blocks * shape.batch * shape.time * shape.states : 0);
      arrays.time[i] = memory.take<T>(arrays.how[i] == gathered::over_time ? cuts.slots * lanes : 0);
      ++i;
    });
  }
  template <class In>
  static std::size_t size(const mixer_shape& shape, const time_cuts& cuts, const In& in, bool has_checkpoints) {
    workspace_pieces none({});
    backward_pieces(none, shape, cuts, in, has_checkpoints);
    return none.used();
  }
};

template <class M>
time_cuts backward_cuts(const cuda& policy, const mixer_shape& shape) {
  return cuts_of(shape, chunk_of(policy, shape, mixer_with_adjoint_elements<M>, backward_every(shape)));
}

/// The same lanes, in tiles from checkpoint to checkpoint.
template <class Kind>
struct backward_kind;
template <int States, int Group, bool Varying, bool Full, int Tile, int Threads>
struct backward_kind<lanes_kind<States, Group, Varying, Full, Tile, Threads>>
    : lanes_kind<States, Group, Varying, Full, Tile, Threads> {
  using layout = lane_layout<States, Group, backward_tile(States), Threads>;
};

template <class Job>
void launch_backward(const cuda& policy, const Job& job, const time_cuts& cuts,
                     const backward_arrays<typename Job::mixer, typename Job::number>& arrays) {
  using M = typename Job::mixer;
  with_lanes<4>(job, [&](auto kind) {  // eight states would take twice the tape
    using lanes = backward_kind<decltype(kind)>;
    using walk = backward_walk_on_device<Job, lanes>;
    const typename lanes::layout layout{group_of(job.shape.states)};
    const std::int64_t blocks = (job.shape.channels + layout.channels() - 1) / layout.channels();
    const std::size_t shared = walk::shared_size(layout);
    const auto launch = [&](auto kernel, forward_pass pass) {
      allow_shared_memory("backward", kernel, shared);
      in_grids(cuts.slots * blocks, [&](std::int64_t first, unsigned count) {
        kernel<<<count, layout.threads(), shared, policy.stream>>>(job, layout, cuts, arrays, first, pass);
        check_launch("mixer_backward_kernel");
      });
    };
    const auto sweep = mixer_backward_kernel<Job, lanes, false>;
    if (cuts.slots == cuts.sequences) return launch(sweep, forward_pass::whole);
    if constexpr (mixer_with_adjoint_elements<M>) {
      launch(mixer_backward_kernel<Job, lanes, true>, forward_pass::first);
      const std::int64_t count = cuts.sequences * job.shape.channels * job.shape.states;
      mixer_carry_back_kernel<<<sum_grid(count, 32), 32, 0, policy.stream>>>(job, cuts, arrays);
      check_launch("mixer_carry_back_kernel");
      launch(sweep, forward_pass::last);
    }
  });
}

/// Without outputs, the forward call that leaves the checkpoints.
template <class Job, class T = typename Job::number, class M = typename Job::mixer>
auto checkpoint_job(const Job& job, const state_tensors<M, T>& checkpoints) {
  using none = typename M::template outputs<tensor<T>>;
  return mixer_job<M, decltype(job.in), none>{
      job.shape,
      job.in,
      none{},
      {.initial = job.states.initial, .checkpoints = checkpoints, .every = backward_every(job.shape)}};
}

template <class M, class T, class States>
bool has_checkpoints(const mixer_shape& shape, const States& states) {
  return states.every == backward_every(shape) && words<tensor<const T>>(states.checkpoints)[0].present();
}

template <class Job>
void require_device_adjoints(const Job& job) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  require_device_inputs<M>("backward", job.in, job.states);
  const auto each = [](const std::string& of, const auto& tensors, const auto& name) {
    std::size_t i = 0;
    for_each_member(tensors, [&](const auto& t) { require_device_tensor("backward", of + name(i++), t); });
  };
  const auto input = [](std::size_t i) { return M::inputs_info[i].name; };
  const auto states = [](const std::string& of, const auto& tensors, const auto& given) {
    std::size_t i = 0;
    for (const auto& t : tensors) require_device_tensor("backward", of + describe_state<M>(given, i++).name, t);
  };
  each("the adjoint of ", job.out_bar, [](std::size_t i) { return M::output_names[i]; });
  each("the adjoint of ", job.in_bar, input);
  states("the adjoint of final ", tensors_of<const T>(job.states.final_bar), job.states.final_bar);
  states("the adjoint of initial ", tensors_of<T>(job.states.initial_bar), job.states.initial_bar);
}

template <class Job>
void run_backward(const cuda& policy, const Job& job) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  require_shape("backward", policy, job.shape);
  require_device_adjoints(job);
  time_cuts cuts = backward_cuts<M>(policy, job.shape);
  const bool given = has_checkpoints<M, T>(job.shape, job.states);
  require_workspace("backward", policy, backward_pieces<M, T>::size(job.shape, cuts, job.in, given));
  workspace_pieces memory(policy.workspace);
  backward_pieces<M, T> pieces(memory, job.shape, cuts, job.in, given);
  auto& arrays = pieces.arrays;
  std::size_t i = 0;
  for_each_member(job.in_bar, [&](const auto& to) {
    if (!to.present()) arrays.how[i] = gathered::nowhere;
    ++i;
  });
  if (job.shape.sequences() == 0 || job.shape.channels == 0 || job.shape.states == 0) {
    if (!job.states.accumulate) for_each_member(job.in_bar, [&](const auto& to) { fill_zero(policy, to); });
    return;
  }
  send_cuts(policy, job.shape, cuts, pieces.forward.numbers);
  Job with = job;
  if (!given) {
    launch_forward(policy, checkpoint_job(job, pieces.checkpoints), cuts, pieces.forward.arrays);
    with.states.checkpoints = read_only<M>(pieces.checkpoints);
    with.states.every = backward_every(job.shape);
  }
  launch_backward(policy, with, cuts, arrays);
  const std::int64_t side = channels_of_block(job.shape.states), blocks = (job.shape.channels + side - 1) / side;
  unsummed_gradients<T, M::inputs_info.size(), std::remove_cvref_t<decltype(job.in_bar)>> parts{
      .to = job.in_bar,
      .channel_blocks = blocks,
      .slots = cuts.slots / job.shape.batch,
      .batches = job.shape.batch,
      .channels = job.shape.channels,
      .states = job.shape.states,
      .add = job.states.accumulate};
  for (std::size_t k = 0; k < M::inputs_info.size(); ++k) {
    parts.how[k] = arrays.how[k];
    parts.parts[k] = arrays.how[k] == gathered::over_lanes ? arrays.lanes[k] : arrays.time[k];
  }
  sum_gradients(policy, parts);
}

}  // namespace detail

// backward with the policy `cuda`: results as in <kalscan/kla/backward.hpp>, and what is said of forward in
// <kalscan/cuda/kla_forward.cuh>. All gradients have the same bits on every run: no sum depends on which block comes
// first. States are computed again from checkpoints: those of the forward call if it left one every 16 steps (every 4
// with more than 128 states), else from those that a forward pass of its own leaves in the workspace. `initial` is to
// be that of the forward call in either case. What does not fit a block's shared memory is refused: of KLA on an H200,
// double with parameters that vary with time and at most 4 states.

/// The bytes of workspace that `backward` needs with this policy (its stream and workspace do not matter), this mixer,
/// shape and inputs (whose data do not matter): sums over the channels of a block [B, L, S] for each input that
/// channels share, sums over a chunk [M, S] for each parameter, and, unless `states` has checkpoints of every 16 steps
/// (4 with more than 128 states), these: B x L x M x S / 16 of each of the numbers of a state.
template <mixer M, class In>
[[nodiscard]] std::size_t backward_workspace(const cuda& policy, const M&, const mixer_shape& shape, const In& in,
                               const std::type_identity_t<mixer_adjoints<M, number_t<In>>>& states = {}) {
  using T = number_t<In>;
  detail::require_sizes(shape);
  return detail::backward_pieces<M, T>::size(shape, detail::backward_cuts<M>(policy, shape), in,
                                             detail::has_checkpoints<M, T>(shape, states));
}

}  // namespace kalscan
