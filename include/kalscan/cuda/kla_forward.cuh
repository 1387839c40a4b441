// SPDX-License-Identifier: MIT
// The forward pass of a sequence mixer, and its one-token step, on an NVIDIA device: the policy `cuda` for the verbs of
// <kalscan/kla/forward.hpp>.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/device/decode.cuh>
#include <kalscan/mixer/device/forward_kernels.cuh>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/layout.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace kalscan {
namespace detail {

/// Device memory is not looked at: signs and NaN of inputs are left to the caller.
template <>
inline constexpr bool reads_values<cuda> = false;

inline void require_shape(const char* verb, const cuda& policy, const mixer_shape& shape) {
  if (policy.chunk < 0) bad_argument(verb, "chunk is " + std::to_string(policy.chunk));
  if (shape.states > 256) bad_argument(verb, "states is " + std::to_string(shape.states) + ", more than 256");
}

template <class Tensor>
void require_device_tensor(const char* verb, const std::string& name, const Tensor& x) {
  const auto& e = x.extent;
  if (e[0] * e[1] * e[2] * e[3] > 0) require_device_memory(verb, name, x.data);
}
/// Every array of a call lies where the device can reach it.
template <class M, class In, class States>
void require_device_inputs(const char* verb, const In& in, const States& x) {
  std::size_t i = 0;
  for_each_member(in, [&](const auto& t) { require_device_tensor(verb, M::inputs_info[i++].name, t); });
  i = 0;
  for (const auto& t : x.initial.all_tensors())
    require_device_tensor(verb, std::string("initial ") + describe_state<M>(x.initial, i++).name, t);
  i = 0;
  for_each_member(x.checkpoints, [&](const auto& t) {
    require_device_tensor(verb, std::string("checkpoints ") + M::state_info[i++].name, t);
  });
}

template <class M>
bool may_split() {
  return mixer_with_elements<M>;
}

/// The workspace of a forward call, by name or by size: `take(type, count)` gives the place of an array.
template <class M, class T>
struct forward_pieces {
  std::int64_t* numbers = nullptr;
  forward_arrays<M, T> arrays{};

  forward_pieces(workspace_pieces& memory, const mixer_shape& shape, const time_cuts& cuts) {
    numbers = memory.take<std::int64_t>(cut_numbers(shape));
    const std::int64_t lanes = shape.channels * shape.states, slots = cuts.slots > cuts.sequences ? cuts.slots : 0;
    arrays.carry = {memory.take<T>(slots * lanes * decltype(arrays.carry)::count), lanes};
    arrays.element = {memory.take<T>(slots * lanes * decltype(arrays.element)::count), lanes};
  }
  static std::size_t size(const mixer_shape& shape, const time_cuts& cuts) {
    workspace_pieces none({});
    forward_pieces(none, shape, cuts);
    return none.used();
  }
};

/// Calls f(lanes_kind) with what a shape's kernels are compiled for: the usual numbers of states one by one, with up to
/// Most of them a thread, all else together.
template <int Most, class Call, class F>
void with_lanes(const Call& call, F f) {
  if (states_of_thread(call.shape.states) == 8) return f(lanes_kind<8, 0, true, false>{});
  if (parameters_vary(call)) return f(lanes_kind<4, 0, true, false>{});
  const auto known = [&](auto states) {
    constexpr int of_thread = (std::min)(Most, states()), group = states() / of_thread;
    f(lanes_kind<of_thread, group, false, true, (group == 1 || group >= 8 ? 8 : 16)>{});
  };
  switch (call.shape.states) {
    case 4:
      return known(std::integral_constant<int, 4>{});
    case 8:
      return known(std::integral_constant<int, 8>{});
    case 16:
      return known(std::integral_constant<int, 16>{});
    case 32:
      return known(std::integral_constant<int, 32>{});
    case 64:
      return known(std::integral_constant<int, 64>{});
    default:
      return f(lanes_kind<4, 0, false, false>{});
  }
}

/// One token of each sequence.
template <class Call>
void launch_step(const cuda& policy, const Call& call) {
  with_lanes<4>(call, [&](auto kind) {
    using lanes = decltype(kind);
    const typename lanes::layout layout{group_of(call.shape.states)};
    const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
    // Several sequences a block where blocks abound: they share the parameters and the addresses.
    const std::int64_t several = std::clamp<std::int64_t>(call.shape.batch * blocks / 4096, 1, 8);
    in_grids((call.shape.batch + several - 1) / several * blocks, [&](std::int64_t first, unsigned count) {
      mixer_step_kernel<Call, lanes>
          <<<count, layout.threads(), 0, policy.stream>>>(call, layout, blocks, first, static_cast<int>(several));
      check_launch("mixer_step_kernel");
    });
  });
}

/// One launch of all chunks; Absorbs: where some of them are to be absorbed.
template <class Lanes, bool Absorbs, class Call>
void launch_forward_pass(const cuda& policy, const Call& call, const time_cuts& cuts,
                         const forward_arrays<typename Call::mixer, typename Call::number>& arrays, forward_pass pass) {
  const typename Lanes::layout layout{group_of(call.shape.states)};
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
  const std::size_t shared = device_forward_traversal<Call, Lanes>::shared_size(layout);
  const auto kernel = mixer_forward_kernel<Call, Lanes, Absorbs>;
  allow_shared_memory("forward", kernel, shared);
  in_grids(cuts.slots * blocks, [&](std::int64_t first, unsigned count) {
    kernel<<<count, layout.threads(), shared, policy.stream>>>(call, layout, cuts, arrays, first, pass);
    check_launch("mixer_forward_kernel");
  });
}

/// Whether there are so many channels that threads with all 16 states of one, in whole blocks, fill an H200 with two
/// warps a scheduler, and a block of them has its shared memory on all devices. Sums over states then cross no
/// threads: 32 x 1024 x 2048 in 0.64 ms, with eight states a thread in 0.73.
template <class Call, class Lanes>
bool channels_abound(const Call& call) {
  constexpr std::int64_t enough = 2 * 528 * 32, side = typename Lanes::layout{}.channels();
  constexpr std::size_t room = 80 * 1024;
  return call.shape.sequences() * (call.shape.channels / side * side) >= enough &&
         device_forward_traversal<Call, Lanes>::shared_size(typename Lanes::layout{}) <= room;
}

/// The launches of a forward call, its cuts made.
template <class Call>
void launch_forward(const cuda& policy, const Call& call, const time_cuts& cuts,
                    const forward_arrays<typename Call::mixer, typename Call::number>& arrays) {
  using M = typename Call::mixer;
  const bool checkpoints = as_array<tensor<typename Call::number>>(call.states.checkpoints)[0].present();
  if (call.shape.time == 1 && call.shape.offsets.empty() && !checkpoints) return launch_step(policy, call);
  const bool whole = cuts.slots == cuts.sequences;
  if constexpr (sizeof(typename Call::number) == 4) {
    using one_each = lanes_kind<16, 1, false, true, 16>;
    if (whole && call.shape.states == 16 && !parameters_vary(call) && channels_abound<Call, one_each>(call))
      return launch_forward_pass<one_each, false>(policy, call, cuts, arrays, forward_pass::whole);
  }
  // Eight states a thread: fewer instructions than with four, and latencies as well hidden.
  with_lanes<8>(call, [&](auto kind) {
    using lanes = decltype(kind);
    if (whole) return launch_forward_pass<lanes, false>(policy, call, cuts, arrays, forward_pass::whole);
    if constexpr (mixer_with_elements<M>) {
      launch_forward_pass<lanes, true>(policy, call, cuts, arrays, forward_pass::first);
      const std::int64_t count = cuts.sequences * call.shape.channels * call.shape.states;
      mixer_carry_kernel<<<sum_grid(count, 32), 32, 0, policy.stream>>>(call, cuts, arrays);
      check_launch("mixer_carry_kernel");
      launch_forward_pass<lanes, false>(policy, call, cuts, arrays, forward_pass::last);
    }
  });
}

template <class Call>
void run_forward(const cuda& policy, const Call& call) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  require_shape("forward", policy, call.shape);
  require_device_inputs<M>("forward", call.in, call.states);
  std::size_t i = 0;
  for_each_member(call.out, [&](const auto& t) { require_device_tensor("forward", M::output_names[i++], t); });
  i = 0;
  for (const auto& t : tensors_of<T>(call.states.final))
    require_device_tensor("forward", std::string("final ") + describe_state<M>(call.states.final, i++).name, t);
  const std::int64_t size = call.shape.sequences() * call.shape.channels;
  if (size == 0) return;
  if (call.shape.states == 0) return for_each_member(call.out, [&](const auto& y) { fill_zero(policy, y); });
  time_cuts cuts = cuts_of(call.shape, chunk_of(policy, call.shape, may_split<M>(), 1));
  require_workspace("forward", policy, forward_pieces<M, T>::size(call.shape, cuts));
  workspace_pieces memory(policy.workspace);
  const forward_pieces<M, T> pieces(memory, call.shape, cuts);
  send_cuts(policy, call.shape, cuts, pieces.numbers);
  launch_forward(policy, call, cuts, pieces.arrays);
}

}  // namespace detail

// forward and step with the policy `cuda`: shapes, options and results as in <kalscan/kla/forward.hpp>, with these
// differences.
//
// All arrays lie in device memory; host pointers are refused by name. Values are not looked at: signs and NaN of inputs
// are the caller's, and nan_check::on is refused. `offsets` lie in host memory and need not outlive the call.
//
// At most 256 states; 4, 8, 16, 32 and 64 have kernels of their own. `step` is fast where S is a multiple of 4 (of 8
// above 128), states are given as moments, and they, k and q lie as vectors of 16 bytes; else lanes go one by one.
// Storage may be bfloat16 or float16, arithmetic then is float. Channels last are the fast layouts. Checkpoints are
// cheap where `every` is a multiple of 16.
//
// Nothing is allocated and nobody waits: calls may be captured into a graph. The bits are the same on every run; they
// depend on the shape, on `every`, and on the policy's chunk, as the way does in which time is cut (chunk >= length:
// not at all). Where time is cut and a chunk takes what stands for its steps out of the number type's range, that lane
// is walked step by step, right but slow: name a long chunk then. Of KLA in float: gains above one over long gaps,
// observations 2^24 times as precise as the prediction at step after step, a diffuse prior that a chunk leaves diffuse.
//
// A mixer of one's own runs here unchanged if its functions are marked __host__ __device__ or constexpr (the latter
// with nvcc's --expt-relaxed-constexpr, which these headers need).

/// The bytes of workspace that `forward` and `step` need with this policy (its stream and workspace do not matter),
/// this mixer and this shape: none where whole sequences are walked, which short ones and all with many lanes are. T is
/// the number type, number_t of the inputs.
template <class T = float, mixer M>
[[nodiscard]] std::size_t forward_workspace(const cuda& policy, const M&, const mixer_shape& shape) {
  detail::require_sizes(shape);
  const auto cuts = detail::cuts_of(shape, detail::chunk_of(policy, shape, detail::may_split<M>(), 1));
  return detail::forward_pieces<M, T>::size(shape, cuts);
}

}  // namespace kalscan
