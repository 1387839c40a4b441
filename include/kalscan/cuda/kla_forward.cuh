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
#include <kalscan/mixer/device/forward/forward_traversal.cuh>
#include <kalscan/mixer/device/forward/helped_traversal.cuh>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/kernels.cuh>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/support/aggregate.hpp>
#include <string>
#include <type_traits>

namespace kalscan {

/// The calls for which a policy has kernels: those that a program compiles.
struct mixer_kernels {
  int states = 0;               ///< of a channel; 0: any number up to 128
  bool parameters_vary = true;  ///< parameters may be given per token
  bool above_128 = false;       ///< with states = 0: any number up to 256; those above 128 share kernels
};

/// Kernels for every call.
inline constexpr mixer_kernels all_mixer_kernels{.above_128 = true};

/// The policy `cuda` for mixers with the kernels that are named; `cuda` has those of mixer_kernels{}. Those of one number
/// of states take nvcc a fifth as long:
///
///     using policy = kalscan::cuda_for<kalscan::mixer_kernels{.states = 16, .parameters_vary = false}>;
///     kalscan::forward(policy{{.stream = stream, .workspace = memory}}, kalscan::kla{}, shape, in, out);
///
/// Bits, speed and workspace are those of `cuda`. Other states, and parameters per token where they are excluded, throw
/// std::invalid_argument.
template <mixer_kernels Kernels>
struct cuda_for : cuda {};

template <mixer_kernels Kernels>
inline constexpr bool is_policy<cuda_for<Kernels>> = true;
template <mixer_kernels Kernels>
inline constexpr bool runs_sweeps<cuda_for<Kernels>> = false;

namespace detail {

/// The kernels of a policy on the device.
template <class P>
struct kernels_of;
template <>
struct kernels_of<cuda> {
  static constexpr mixer_kernels value{};
};
template <mixer_kernels Kernels>
struct kernels_of<cuda_for<Kernels>> {
  static constexpr mixer_kernels value = Kernels;
};
template <class P>
concept device_policy = requires { kernels_of<P>::value; };

/// Values in device memory are not checked: signs and NaN of inputs are the caller's.
template <device_policy P>
inline constexpr bool reads_values<P> = false;

/// Throws unless the policy has kernels for the call.
template <device_policy P, class Call>
void require_kernels(const char* verb, const P& policy, const Call& call) {
  constexpr mixer_kernels kernels = kernels_of<P>::value;
  static_assert(kernels.states >= 0 && kernels.states <= 256, "kalscan: mixers on a device have at most 256 states");
  const std::int64_t states = call.shape.states;
  require_chunk(verb, policy);
  if (states > 256) bad_argument(verb, text({"states is ", states, ", more than 256"}));
  if (kernels.states == 0 && !kernels.above_128 && states > 128) {
    bad_argument(verb, text({"states is ", states, ", but the policy has kernels of up to 128; one that has them is "
                             "kalscan::cuda_for<kalscan::mixer_kernels{.states = ", states, "}>, and of any number up to 256 "
                             "kalscan::cuda_for<kalscan::all_mixer_kernels>"}));
  }
  if (kernels.states > 0 && states != kernels.states) {
    bad_argument(verb,
                 text({"states is ", states, ", but the policy cuda_for has kernels of ", kernels.states, " alone"}));
  }
  if (!kernels.parameters_vary && parameters_vary(call)) {
    bad_argument(verb, "parameters are given per token, but the policy cuda_for has parameters_vary = false");
  }
}

template <class Tensor, class Name>
void require_device_tensor(const char* verb, const Name& name, const Tensor& x) {
  const auto& e = x.extent;
  if (e[0] * e[1] * e[2] * e[3] > 0) require_device_memory(verb, name, x.data);
}
/// What makes the name of the i-th tensor of states, with `of` before it.
template <class M, class States>
auto device_state_name(const char* of, const States& x, std::size_t i) {
  return [of, &x, i] { return std::string(of) + describe_state<M>(x, i).name; };
}
/// Throws unless the device can reach every array of a call.
template <class M, class In, class States>
void require_device_inputs(const char* verb, const In& in, const States& x) {
  std::size_t i = 0;
  for_each_member(in, [&](const auto& t) { require_device_tensor(verb, M::inputs_info[i++].name, t); });
  i = 0;
  for (const auto& t : x.initial.all_tensors())
    require_device_tensor(verb, device_state_name<M>("initial ", x.initial, i++), t);
  i = 0;
  for_each_member(x.checkpoints, [&](const auto& t) {
    require_device_tensor(verb, [&] { return std::string("checkpoints ") + M::state_info[i].name; }, t);
    ++i;
  });
}

/// Whether lanes have so much to compute that fewer of them keep a thread and the device busy.
template <class M>
inline constexpr bool has_large_state = M::state_info.size() > 2;

/// Where states are large, a multiprocessor has room for two blocks: time is cut into so many chunks that each pass fills
/// that room.
template <class M>
inline constexpr device_fill fill_of = has_large_state<M> ? device_fill{512, 2 * 528} : device_fill{};

template <class M>
time_cuts forward_cuts(const cuda& policy, const mixer_shape& shape) {
  return cuts_of(shape, chunk_of(policy.chunk, shape, mixer_with_elements<M>, 1, fill_of<M>));
}

/// The workspace of a forward call.
template <class M, class T>
struct forward_memory : carry_memory<forward_arrays<M, T>, typename M::template state<T>, T> {
  std::int64_t* numbers = nullptr;

  forward_memory(workspace_arena& arena, const mixer_shape& shape, const time_cuts& cuts, bool stretch) {
    numbers = arena.take<std::int64_t>(cut_numbers(shape));
    this->take(arena, shape, cuts, stretch);
  }
  static std::size_t size(const mixer_shape& shape, const time_cuts& cuts, bool stretch = false) {
    workspace_arena none({});
    forward_memory(none, shape, cuts, stretch);
    return none.used();
  }
};

/// The kernel for so many states, as a type that can be the argument of a generic lambda.
template <int States, bool Vary, int Most>
using kernel_for = std::integral_constant<lanes_kind, kind_for(States, Vary, Most)>;

/// Calls f(kernel_for) for the call's kernel. f is instantiated for every kernel that calls of Kernels may need.
template <mixer_kernels Kernels, int Most, class Call, class F>
void with_lanes(const Call& call, F f) {
  constexpr bool may_vary = Kernels.parameters_vary && inputs_with<typename Call::mixer, role::parameter> > 0;
  const std::int64_t states = call.shape.states;
  if constexpr (Kernels.states > 0) {
    if constexpr (may_vary) {
      if (parameters_vary(call)) return f(kernel_for<Kernels.states, true, Most>{});
    }
    f(kernel_for<Kernels.states, false, Most>{});
  } else {
    if constexpr (Kernels.above_128) {
      if (states > 128) return f(kernel_for<256, true, Most>{});
    }
    if constexpr (may_vary) {
      if (parameters_vary(call)) return f(kernel_for<1, true, Most>{});
    }
    if (states == 4) return f(kernel_for<4, false, Most>{});
    if (states == 8) return f(kernel_for<8, false, Most>{});
    if (states == 16) return f(kernel_for<16, false, Most>{});
    if (states == 32) return f(kernel_for<32, false, Most>{});
    if (states == 64) return f(kernel_for<64, false, Most>{});
    f(kernel_for<1, false, Most>{});
  }
}

/// All 16 states of a channel in one thread: sums over states then cross no threads. Forward 32 x 1024 x 2048 takes
/// 0.64 ms on an H200, with eight states a thread 0.73.
inline constexpr lanes_kind channel_of_thread{.states = 16, .group = 1, .full = true, .splits = false, .tile = 16};

/// Whether there are so many channels that, with a channel a thread, whole blocks give each scheduler of an H200 two warps,
/// and whether a block needs no more shared memory than every device has.
template <class Call>
bool channels_abound(const Call& call) {
  constexpr std::int64_t enough = 2 * 528 * 32;
  constexpr std::size_t room = 80 * 1024;
  return call.shape.sequences() * (call.shape.channels / block_threads * block_threads) >= enough &&
         device_forward_traversal<Call, channel_of_thread>::shared_size({}) <= room;
}

/// Whether a call whose time is not cut is to have helper warps with one channel a taker: with two channels a taker,
/// half of an H200 would be idle, or the number of channels is no multiple of 64.
template <class Call>
bool has_few_channels(const Call& call) {
  constexpr std::int64_t half = 132 / 2;
  const std::int64_t channels = call.shape.sequences() * call.shape.channels;
  return goes_with_helpers<1>(call) && (!goes_with_helpers<2>(call) || channels <= half * helped_block<2>::channels);
}

/// Launches a forward call whose time is cut by `cuts`.
template <mixer_kernels Kernels, class Call>
void launch_forward(const cuda& policy, const Call& call, const time_cuts& cuts,
                    const forward_arrays<typename Call::mixer, typename Call::number>& arrays) {
  using M = typename Call::mixer;
  constexpr bool large = has_large_state<M>, in_float = sizeof(typename Call::number) == 4;
  if constexpr (!on_stretch<Call>) {
    const bool checkpoints = as_array<tensor<typename Call::number>>(call.states.checkpoints)[0].present();
    if (call.shape.time == 1 && call.shape.offsets.empty() && !checkpoints)
      return with_lanes<Kernels, 4>(call, [&](auto lanes) { launch_step<of_one_token(lanes())>(policy, call); });
    if constexpr (in_float && !large && (Kernels.states == 0 || Kernels.states == 16)) {
      const bool whole = cuts.slots == cuts.sequences, sixteen = call.shape.states == 16 && !parameters_vary(call);
      if (whole && sixteen && channels_abound(call))
        return launch_traversal<device_forward_traversal<Call, channel_of_thread>>(policy, call, cuts, arrays);
      if constexpr (mixer_with_helpers<M>) {
        using with_helpers = device_helped_traversal<Call>;
        using of_few_channels = device_helped_traversal<Call, 1>;
        constexpr std::size_t shared = with_helpers::shared_size({}) + sizeof(block_chunk);
        if (sixteen && shared <= most_shared_memory()) {
          if (whole && has_few_channels(call)) return launch_traversal<of_few_channels>(policy, call, cuts, arrays);
          if (goes_with_helpers<2>(call)) return launch_traversal<with_helpers>(policy, call, cuts, arrays);
        }
      }
    }
  }
  // Up to eight states a thread: fewer instructions than with four, and latencies are hidden as well. For eight large
  // states there are no registers.
  with_lanes<Kernels, large ? 4 : 8>(call, [&](auto lanes) {
    launch_traversal<device_forward_traversal<Call, lanes()>>(policy, call, cuts, arrays);
  });
}

/// `link`: nullptr on one device, a carry_link over ranks.
template <device_policy P, class Call, class Link = std::nullptr_t>
void run_forward(const P& policy, const Call& call, const Link& link = nullptr) {
  constexpr bool stretch = !std::is_null_pointer_v<Link>;
  using M = typename Call::mixer;
  using T = typename Call::number;
  require_kernels("forward", policy, call);
  require_device_inputs<M>("forward", call.in, call.states);
  std::size_t i = 0;
  for_each_member(call.out, [&](const auto& t) { require_device_tensor("forward", M::output_names[i++], t); });
  i = 0;
  for (const auto& t : tensors_of<T>(call.states.final))
    require_device_tensor("forward", device_state_name<M>("final ", call.states.final, i++), t);
  if (call.shape.sequences() * call.shape.channels == 0) return;
  if (call.shape.states == 0) return for_each_member(call.out, [&](const auto& y) { fill_zero(policy, y); });
  time_cuts cuts = forward_cuts<M>(policy, call.shape);
  require_workspace("forward", policy, forward_memory<M, T>::size(call.shape, cuts, stretch));
  workspace_arena arena(policy.workspace);
  const forward_memory<M, T> memory(arena, call.shape, cuts, stretch);
  send_cuts(policy, call.shape, cuts, memory.numbers);
  launch_forward<kernels_of<P>::value>(policy, memory.linked(call, link), cuts, memory.arrays);
}

}  // namespace detail

// forward and step with the policy `cuda`: shapes, options and results as in <kalscan/kla/forward.hpp>, with these
// differences.
//
// All arrays lie in device memory; host pointers are refused by name. Values are not checked: signs and NaN of inputs are
// the caller's, and nan_check::on is refused. `offsets` lie in host memory and need not outlive the call.
//
// Up to 128 states, and up to 256 where cuda_for asks for them; 4, 8, 16, 32 and 64 have kernels of their own, and cuda_for
// compiles those of one number alone.
// A program that calls from more than one file compiles the kernels in each: put the call into a function of one .cu.
// `step` is fast where S is a multiple of 4 (of 8 above 128), states are given as moments, and states, k and q lie as
// vectors of 16 bytes; else lanes are taken one by one. Storage may be bfloat16 or float16, arithmetic then is float. Channels
// last are the fast layouts; KLA of 16 states in float, with parameters that do not vary and no checkpoints, is fastest
// where channels are a multiple of 64 (of 32 where time is not cut) and every four of them are one aligned vector. Checkpoints
// are cheap where `every` is a multiple of 16.
//
// With chunk = whole_time no bit of a token's outputs and of the states after it depends on the calls in which its
// sequence comes: whole, in pieces, token by token, packed, alone or in a batch; so for KLA and gla, and for rotating KLA
// in pieces of multiples of four steps (see rotating_kla_mixer). Sums over states have one order in all kernels. A mixer
// of one's own has that, too, if its formulas say by detail::fused which products are rounded together, also in a
// readout(state, terms, sums), and if `ordinary`, where it has that, gives the bits of the general formulas.
//
// Nothing is allocated and nobody waits: calls may be captured into a graph. The bits are the same on every run. Where
// the lanes do not keep a device busy, time is cut into chunks; how depends on the shape, on `every` and on the
// policy's chunk alone (chunk >= length: time is not cut). Where there are more blocks of lanes than the device takes
// at once, they take their sequences in turns; no bit depends on that. Where a chunk takes the element that summarizes
// it out of the number type's range, the steps of that lane are taken one by one instead: the result is right, but
// slow, and a longer chunk helps. In float KLA does so for gains above one over long gaps, observations 2^24 times as
// precise as the prediction at step after step, and a diffuse prior that a chunk leaves diffuse.
//
// A mixer of one's own runs here unchanged if its functions are marked __host__ __device__ or constexpr (the latter
// with nvcc's --expt-relaxed-constexpr, which these headers need).

/// The bytes of workspace that `forward` and `step` need with this policy (its stream and workspace do not matter),
/// this mixer and this shape: where time is cut, what chunks carry; else, for more than 64 blocks of channels of all
/// sequences, which a device may take in turns, a state a lane; none for short sequences. T is the number type,
/// number_t of the inputs.
template <class T = float, mixer M>
[[nodiscard]] std::size_t forward_workspace(const cuda& policy, const M&, const mixer_shape& shape) {
  detail::require_sizes(shape);
  return detail::forward_memory<M, T>::size(shape, detail::forward_cuts<M>(policy, shape));
}

}  // namespace kalscan
