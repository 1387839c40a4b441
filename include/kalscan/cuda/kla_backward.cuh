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
#include <kalscan/mixer/device/backward_traversal.cuh>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/kernels.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <span>
#include <string>
#include <type_traits>

namespace kalscan {
namespace detail {

/// How the gradient of input i comes about, from the input's extent.
template <class M>
device_gathering gathering_of(std::size_t i, const extents& extent) {
  switch (M::inputs_info[i].varies) {
    case role::channel:
      return device_gathering::channel;
    case role::state:
      return device_gathering::over_channels;
    case role::parameter:
      break;
  }
  return extent[1] == 1   ? device_gathering::over_time
         : extent[2] == 1 ? device_gathering::over_channels
         : extent[3] == 1 ? device_gathering::channel
                          : device_gathering::lane;
}

/// The distance of the checkpoints that a shape needs.
template <class M, class T>
int backward_every(const mixer_shape& shape) {
  return backward_tile(states_of_thread(shape.states), sizeof(typename M::template state<T>));
}

/// The workspace of a backward call.
template <class M, class T>
struct backward_memory : carry_memory<backward_arrays<M, T>, typename M::template state<T>, T> {
  using backward_memory::carry_memory::arrays;
  forward_memory<M, T> forward;
  state_tensors<M, T> checkpoints{};
  std::span<std::byte> time_sums{};  ///< those of all inputs

  /// `slots`: of sums over the steps of a chunk.
  template <class In>
  backward_memory(workspace_arena& arena, const mixer_shape& shape, const time_cuts& cuts, const In& in,
                  bool has_checkpoints, bool stretch, std::int64_t slots)
      : forward(arena, shape, cuts, stretch) {
    const std::int64_t lanes = shape.channels * shape.states;
    this->take(arena, shape, cuts, stretch);
    if (!has_checkpoints) {
      const std::int64_t times = checkpoint_count(shape, backward_every<M, T>(shape));
      checkpoints = from_fields<state_tensors<M, T>, tensor<T>>([&](auto) {
        return tensor<T>(arena.take<T>(shape.batch * times * lanes), shape.batch, times, shape.channels, shape.states);
      });
    }
    const std::int64_t blocks = channel_blocks(shape);
    std::size_t i = 0;
    for_each_member(in, [&](const auto& x) {
      arrays.how[i] = gathering_of<M>(i, x.extent);
      arrays.over_channels[i] =
          arena.take<T>(arrays.how[i] == device_gathering::over_channels
                            ? blocks * shape.batch * shape.time * shape.states
                            : 0);
      ++i;
    });
    const std::size_t first = arena.used();
    for (i = 0; i < M::inputs_info.size(); ++i)
      arrays.time[i] = arena.take<T>(arrays.how[i] == device_gathering::over_time ? slots * lanes : 0);
    time_sums = arena.since(first);
  }
  template <class In>
  static std::size_t size(const mixer_shape& shape, const time_cuts& cuts, const In& in, bool has_checkpoints) {
    workspace_arena none({});
    backward_memory(none, shape, cuts, in, has_checkpoints, false, cuts.slots);
    return none.used();
  }
};

/// The last chunk of a sequence is replayed while those before it are absorbed, in two thirds of the time that larger
/// states take for a replay: it has fewer steps, so that both are done at once.
template <class M>
inline constexpr device_fill backward_fill_of = [] {
  device_fill fill = fill_of<M>;
  if (has_large_state<M>) fill.last_chunk = 65;
  return fill;
}();

template <class M, class T>
time_cuts backward_cuts(const cuda& policy, const mixer_shape& shape) {
  const int every = backward_every<M, T>(shape);
  return cuts_of(shape, chunk_of(policy.chunk, shape, mixer_with_adjoint_elements<M>, every, backward_fill_of<M>));
}

template <class Call>
constexpr lanes_kind in_tiles(lanes_kind kind) {
  kind.tile = backward_tile(kind.states, sizeof(typename Call::mixer::template state<typename Call::number>));
  return kind;
}

/// The launches of a backward call, its cuts made.
template <mixer_kernels Kernels, class Call>
void launch_backward(const cuda& policy, const Call& call, const time_cuts& cuts,
                     const backward_arrays<typename Call::mixer, typename Call::number>& arrays) {
  with_lanes<Kernels, 4>(call, [&](auto lanes) {  // the states of a tile of eight would take twice the shared memory
    launch_traversal<device_backward_traversal<Call, in_tiles<Call>(lanes())>>(policy, call, cuts, arrays);
  });
}

template <class Aggregate>
struct written;
template <template <class...> class Aggregate, class... E>
struct written<Aggregate<tensor<E>...>> {
  using type = Aggregate<tensor<std::remove_const_t<E>>...>;
};

/// The forward call that leaves the checkpoints. It writes no outputs, but has those of which out_bar are the adjoints,
/// so that its kernels are those of the user's forward call.
template <class Call, class T = typename Call::number, class M = typename Call::mixer>
auto checkpoint_call(const Call& call, const state_tensors<M, T>& checkpoints) {
  using none = typename written<std::remove_cvref_t<decltype(call.out_bar)>>::type;
  return forward_call<M, decltype(call.in), none>{
      call.shape,
      call.in,
      none{},
      {.initial = call.states.initial, .checkpoints = checkpoints, .every = backward_every<M, T>(call.shape)},
      call.ends};
}

template <class M, class T, class States>
bool has_checkpoints(const mixer_shape& shape, const States& states) {
  return states.every == backward_every<M, T>(shape) && as_array<tensor<const T>>(states.checkpoints)[0].present();
}

template <class Call>
void require_device_adjoints(const Call& call) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  require_device_inputs<M>("backward", call.in, call.states);
  const auto each = [](const char* of, const auto& tensors, const auto& name) {
    std::size_t i = 0;
    for_each_member(tensors, [&](const auto& t) {
      require_device_tensor("backward", [&] { return of + std::string(name(i)); }, t);
      ++i;
    });
  };
  const auto input = [](std::size_t i) { return M::inputs_info[i].name; };
  const auto states = [](const char* of, const auto& tensors, const auto& given) {
    std::size_t i = 0;
    for (const auto& t : tensors) require_device_tensor("backward", device_state_name<M>(of, given, i++), t);
  };
  each("the adjoint of ", call.out_bar, [](std::size_t i) { return M::output_names[i]; });
  each("the adjoint of ", call.in_bar, input);
  states("the adjoint of final ", tensors_of<const T>(call.states.final_bar), call.states.final_bar);
  states("the adjoint of initial ", tensors_of<T>(call.states.initial_bar), call.states.initial_bar);
}

/// The inputs whose gradients nobody asks for.
template <class Call, class Arrays>
void leave_out_absent(const Call& call, Arrays& arrays) {
  std::size_t i = 0;
  for_each_member(call.in_bar, [&](const auto& to) {
    if (!to.present()) arrays.how[i] = device_gathering::nowhere;
    ++i;
  });
}

/// Both passes; what blocks and chunks share is still to be summed. Links as of run_forward.
template <device_policy P, class Call, class Memory, class Link>
void launch_passes(const P& policy, const Call& call, time_cuts& cuts, const Memory& memory, bool has_checkpoints,
                   const Link& forward, const Link& backward) {
  constexpr mixer_kernels kernels = kernels_of<P>::value;
  using M = typename Call::mixer;
  send_cuts(policy, call.shape, cuts, memory.forward.numbers);
  Call with = call;
  if (!has_checkpoints) {
    // Forward replays its last chunk together with the others, so that a shorter one gains nothing.
    const bool evens = std::is_null_pointer_v<Link> && policy.chunk <= 0;
    launch_forward<kernels>(policy, memory.forward.linked(checkpoint_call(call, memory.checkpoints), forward),
                            evens ? even_cuts(cuts) : cuts, memory.forward.arrays);
    with.states.checkpoints = read_only<M>(memory.checkpoints);
    with.states.every = backward_every<M, typename Call::number>(call.shape);
  }
  launch_backward<kernels>(policy, memory.linked(with, backward), cuts, memory.arrays);
}

/// The sums of what a pass has left, over the given slots of chunks a batch.
template <class Call, class Arrays>
void sum_parts(const cuda& policy, const Call& call, const Arrays& arrays, std::int64_t slots) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  unsummed_gradients<T, M::inputs_info.size(), std::remove_cvref_t<decltype(call.in_bar)>> parts{
      .to = call.in_bar,
      .channel_blocks = channel_blocks(call.shape),
      .slots = slots,
      .batches = call.shape.batch,
      .channels = call.shape.channels,
      .states = call.shape.states,
      .add = call.states.accumulate};
  for (std::size_t k = 0; k < M::inputs_info.size(); ++k) {
    parts.how[k] = arrays.how[k];
    parts.parts[k] = arrays.how[k] == device_gathering::over_channels ? arrays.over_channels[k] : arrays.time[k];
  }
  sum_gradients(policy, parts);
}

/// Whether there is no lane at all: gradients are then 0.
template <class Call>
bool has_no_lanes(const cuda& policy, const Call& call) {
  if (call.shape.sequences() > 0 && call.shape.channels > 0 && call.shape.states > 0) return false;
  if (!call.states.accumulate) for_each_member(call.in_bar, [&](const auto& to) { fill_zero(policy, to); });
  return true;
}

template <device_policy P, class Call>
void run_backward(const P& policy, const Call& call) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  require_kernels("backward", policy, call);
  require_device_adjoints(call);
  time_cuts cuts = backward_cuts<M, T>(policy, call.shape);
  const bool given = has_checkpoints<M, T>(call.shape, call.states);
  require_workspace("backward", policy, backward_memory<M, T>::size(call.shape, cuts, call.in, given));
  workspace_arena arena(policy.workspace);
  backward_memory<M, T> memory(arena, call.shape, cuts, call.in, given, false, cuts.slots);
  leave_out_absent(call, memory.arrays);
  if (has_no_lanes(policy, call)) return;
  launch_passes(policy, call, cuts, memory, given, nullptr, nullptr);
  sum_parts(policy, call, memory.arrays, cuts.slots / call.shape.batch);
}

}  // namespace detail

// backward with the policy `cuda`: results as in <kalscan/kla/backward.hpp>, and what is said of forward in
// <kalscan/cuda/kla_forward.cuh>. All gradients have the same bits on every run: no sum depends on which block comes
// first. States are computed again from checkpoints: those of the forward call if it left one every
// backward_checkpoints steps, else from those that a forward pass of its own leaves in the workspace. `initial` is to
// be that of the forward call in either case. What does not fit a block's shared memory is refused.
//
// With chunk = whole_time gradients of tokens and initial states have the same bits alone, packed and in a batch, and in
// pieces where all but the last have multiples of backward_checkpoints steps and no belief at a cut is vague. Gradients
// that sequences share are summed over them in their order.

/// The distance of the checkpoints that save `backward` a forward pass of its own: 16 steps for KLA in float, 8 for
/// states of 9 to 16 bytes, 4 for larger ones and for more than 128 states.
template <class T = float, mixer M>
[[nodiscard]] int backward_checkpoints(const M&, const mixer_shape& shape) {
  return detail::backward_every<M, T>(shape);
}

/// The bytes of workspace that `backward` needs with this policy (its stream and workspace do not matter), this mixer,
/// shape and inputs (whose data do not matter): sums over the channels of a block [B, L, S] for each input that
/// channels share, sums over a chunk [M, S] for each parameter, and, unless `states` has them, checkpoints every N =
/// backward_checkpoints steps: B x L x M x S / N of each of the numbers of a state.
template <mixer M, class In>
[[nodiscard]] std::size_t backward_workspace(const cuda& policy, const M&, const mixer_shape& shape, const In& in,
                               const std::type_identity_t<mixer_adjoints<M, number_t<In>>>& states = {}) {
  using T = number_t<In>;
  detail::require_sizes(shape);
  return detail::backward_memory<M, T>::size(shape, detail::backward_cuts<M, T>(policy, shape), in,
                                             detail::has_checkpoints<M, T>(shape, states));
}

}  // namespace kalscan
