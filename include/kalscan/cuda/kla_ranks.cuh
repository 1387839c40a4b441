// SPDX-License-Identifier: MIT
// Sequence mixers over devices, forward and backward: the policy `ranks{communicator, cuda{...}}` for the verbs of
// <kalscan/kla/forward.hpp> and <kalscan/kla/backward.hpp>.
//
// Each rank gives the shape, inputs, outputs and adjoints of its stretch, of any number of steps, in its device's
// memory: the time of the shape is its number of `ranks::steps`. Batch, channels and states are the same on all.
// Initial states are read on the first rank that has steps, and the adjoints of these are written there; final states
// come out on the last rank that has steps, and their adjoints are read there. Checkpoints count steps from the
// beginning of a stretch; for `backward` all ranks give them, or none does, which no verb checks: the ranks would wait
// for each other. agree_on_steps sees it if it is given the states, and if it is given the inputs, whether the same
// parameters vary with time on all ranks: where a stretch is of one step nobody could tell, and `backward` needs a
// policy cuda_for with parameters_vary = false. Gradients of what all times share are sums over all ranks and come out
// on all.
//
// With offsets, each rank has those of its own stretch, and states of its own sequences; agree_on_steps reads
// `ranks::continues`, whether the first of these is the rest of the last one before. A sequence may go over any number
// of ranks, and begin or end on one with no step of it. Its initial state is read on the first of these ranks.
//
// `step` over ranks takes a token on each; for a single one, the rank that has the states calls it with `inner`.
//
// What goes from rank to rank is the state, in the order of time, and back the adjoint: each rank absorbs its chunks,
// receives the state before them, carries it through their elements to the next rank, and replays. The message is a
// state a lane, of KLA 8 bytes. For the same bits a gather of elements would take 28 bytes a lane and chunk, and where
// an element does not hold, its steps, which are taken instead, are on another rank. The price is that R ranks hand on
// R - 1 times, one after the other: some 20 us each. Of gradients that all times share, one gather brings the sums of
// all chunks to all ranks, which add them up as one device does.
//
// With `cuda::chunk` fixed, and all ranks' boundaries on multiples of it (of backward also of backward_checkpoints),
// counted from the beginning of a sequence, all results have the bits of one device with that chunk, for any number of
// ranks; but packed sequences that begin or end on a rank with no step of them may differ in the last bits. On one rank
// `inner` runs alone.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/cuda/kla_forward.cuh>
#include <kalscan/cuda/ranks.cuh>
#include <kalscan/cuda/stretches.hpp>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/device/gradient_sums.cuh>
#include <kalscan/mixer/device/kernels.cuh>
#include <kalscan/mixer/device/time_cuts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/mixer_stretches.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <kalscan/support/aggregate.hpp>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

template <class Communicator, device_policy Inner>
inline constexpr bool reads_values<ranks<Communicator, Inner>> = false;

template <class Communicator, class Inner>
mixer_device_stretches stretches_of(const char* verb, const ranks<Communicator, Inner>& p, const mixer_shape& shape) {
  const auto size = static_cast<std::size_t>(p.communicator.size());
  const int me = p.communicator.rank();
  require_steps(verb, p, shape.offsets.empty() ? 1 : static_cast<int>(mixer_device_stretches::numbers_if_packed));
  const mixer_device_stretches x(p.steps, size, me);
  const auto fits = [&](const char* what, std::int64_t given, std::size_t at) {
    if (given == p.steps[at]) return;
    bad_argument(verb, text({what, " is ", given, ", but steps[", at, "] is ", p.steps[at]}));
  };
  fits("the shape's time", shape.time, static_cast<std::size_t>(me));
  if (x.packed) fits("the number of sequences", shape.sequences(), size + static_cast<std::size_t>(me));
  return x;
}

/// Carries go to the next rank that has steps.
template <class Communicator>
class rank_link final : public carry_link {
 public:
  rank_link(const Communicator& comm, cudaStream_t stream, int from, int to)
      : comm_(comm), stream_(stream), from_(from), to_(to) {}
  void receive(void* to, std::size_t bytes) const override {
    comm_.receive(std::span(static_cast<std::byte*>(to), bytes), from_, stream_);
  }
  void send(const void* from, std::size_t bytes) const override {
    comm_.send(std::span(static_cast<const std::byte*>(from), bytes), to_, stream_);
  }

 private:
  const Communicator& comm_;
  cudaStream_t stream_;
  int from_, to_;
};

template <class M>
constexpr void require_elements() {
  static_assert(mixer_with_adjoint_elements<M>,
                "kalscan: over devices time is split, for which the mixer needs elements, and elements of the adjoint");
}

template <class Communicator, device_policy Inner, class Call>
void run_forward(const ranks<Communicator, Inner>& p, Call call) {
  require_elements<typename Call::mixer>();
  if (p.communicator.size() == 1) return run_forward(p.inner, call);
  const mixer_device_stretches all = stretches_of("forward", p, call.shape);
  if (!all.takes_part()) return;
  call.ends = all.ends();
  const rank_link link(p.communicator, p.inner.stream, all.previous(), all.next());
  run_forward(p.inner, call, link);
}

template <class M>
inline constexpr bool has_parameters = inputs_with<M, role::parameter> > 0;

/// The workspace of a backward call on a rank.
template <class M, class T>
struct rank_backward_memory {
  time_cuts cuts;
  device_slots slots;
  backward_memory<M, T> mine;
  std::span<std::byte> gathered_sums{};
  T* in_order[M::inputs_info.size()] = {};

  template <class In>
  rank_backward_memory(workspace_arena& arena, const cuda& policy, const mixer_device_stretches& ranks,
                       const mixer_shape& shape, const In& in, bool has_checkpoints)
      : cuts(backward_cuts<M, T>(policy, shape)),
        slots(ranks.packed ? slots_over_ranks(ranks.slots) : slots_over_ranks(ranks.all, shape, [&](const auto& x) {
          return backward_cuts<M, T>(policy, x).slots;
        })),
        mine(arena, shape, cuts, in, has_checkpoints, true, slots.most) {
    gathered_sums = {arena.take<std::byte>(std::ssize(mine.time_sums) * ranks.all.size()),
                     mine.time_sums.size() * ranks.all.steps.size()};
    const std::int64_t lanes = shape.channels * shape.states;
    for (std::size_t i = 0; i < M::inputs_info.size(); ++i)
      in_order[i] = arena.take<T>(mine.arrays.how[i] == device_gathering::over_time ? slots.all * lanes : 0);
    const auto me = static_cast<std::size_t>(ranks.all.me);
    if (ranks.packed && cuts.slots != ranks.slots[me]) {
      bad_argument("backward", text({"the sequences have ", cuts.slots, " chunks, but steps[",
                                     3 * ranks.slots.size() + me, "] is ", ranks.slots[me],
                                     ": agree_on_steps is to be asked for these offsets, this chunk and number type"}));
    }
  }
};

/// The sums of all ranks' chunks, in the order of one device with all of the time.
template <class Communicator, class Inner, class Memory, class T>
void gather_time_sums(const ranks<Communicator, Inner>& p, Memory& memory, const mixer_shape& shape, const T*) {
  const std::span<std::byte> mine = memory.mine.time_sums;
  if (mine.empty()) return;
  p.communicator.all_gather(mine, memory.gathered_sums, p.inner.stream);
  auto& arrays = memory.mine.arrays;
  const std::size_t lane_bytes = static_cast<std::size_t>(shape.channels * shape.states) * sizeof(T);
  for (std::size_t i = 0; i < std::size(memory.in_order); ++i) {
    if (memory.in_order[i] == nullptr) continue;
    const auto at = reinterpret_cast<const std::byte*>(arrays.time[i]) - mine.data();
    for (std::size_t r = 0; r < memory.slots.of_batch.size(); ++r) {
      // Of each batch the chunks of this rank, after those of the ranks before it.
      const std::size_t row = static_cast<std::size_t>(memory.slots.of_batch[r]) * lane_bytes;
      if (row == 0) continue;
      const std::size_t whole_row = static_cast<std::size_t>(memory.slots.all / shape.batch) * lane_bytes;
      std::byte* to = reinterpret_cast<std::byte*>(memory.in_order[i]);
      to += static_cast<std::size_t>(memory.slots.first[r]) * lane_bytes;
      const std::byte* from = memory.gathered_sums.data() + r * mine.size() + at;
      const cudaStream_t stream = p.inner.stream;
      if (shape.batch == 1) {  // one sequence may have rows of 2 GiB, which cudaMemcpy2DAsync refuses
        require_success("cudaMemcpyAsync", cudaMemcpyAsync(to, from, row, cudaMemcpyDeviceToDevice, stream));
      } else {
        require_success("cudaMemcpy2DAsync",
                        cudaMemcpy2DAsync(to, whole_row, from, row, row, static_cast<std::size_t>(shape.batch),
                                          cudaMemcpyDeviceToDevice, stream));
      }
    }
    arrays.time[i] = memory.in_order[i];
  }
}

template <class Communicator, device_policy Inner, class Call>
void run_backward(const ranks<Communicator, Inner>& p, Call call) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  require_elements<M>();
  if (p.communicator.size() == 1) return run_backward(p.inner, call);
  const mixer_device_stretches all = stretches_of("backward", p, call.shape);
  require_kernels("backward", p.inner, call);
  require_device_adjoints(call);
  const auto& steps = all.all.steps;
  if constexpr (has_parameters<M> && kernels_of<Inner>::value.parameters_vary) {
    if (const auto one = std::find(steps.begin(), steps.end(), 1); one != steps.end()) {
      bad_argument("backward",
                   text({"steps[", one - steps.begin(),
                         "] is 1: of one step nobody can tell a parameter per token from one of all tokens, "
                         "unless the policy is a cuda_for with parameters_vary = false"}));
    }
  }
  const bool given = has_checkpoints<M, T>(call.shape, call.states);
  workspace_arena none({});
  rank_backward_memory<M, T>(none, p.inner, all, call.shape, call.in, given);
  require_workspace("backward", p.inner, none.used());
  workspace_arena arena(p.inner.workspace);
  rank_backward_memory<M, T> memory(arena, p.inner, all, call.shape, call.in, given);
  const auto& of_ranks = all.sequences;
  const bool none_packed = std::all_of(of_ranks.begin(), of_ranks.end(), [](std::int64_t x) { return x == 0; });
  const bool no_sequences = all.packed ? none_packed : call.shape.batch == 0;
  if (no_sequences || call.shape.channels * call.shape.states == 0) {
    has_no_lanes(p.inner, call);
    return;
  }
  clear_rest(memory.mine.time_sums, 0, p.inner.stream);  // this rank may have fewer chunks than another one, or none
  if (all.takes_part()) {
    call.ends = all.ends();
    const rank_link forward(p.communicator, p.inner.stream, all.previous(), all.next());
    const rank_link backward(p.communicator, p.inner.stream, all.next(), all.previous());
    launch_passes(p.inner, call, memory.cuts, memory.mine, given, forward, backward);
  }
  gather_time_sums(p, memory, call.shape, static_cast<const T*>(nullptr));
  leave_out_absent(call, memory.mine.arrays);
  sum_parts(p.inner, call, memory.mine.arrays, memory.slots.all / call.shape.batch);
}

/// `told` is what is told of parameters and checkpoints.
template <class M, class T, class Communicator, device_policy Inner>
std::vector<std::int64_t> agreed_stretches(const ranks<Communicator, Inner>& p, const mixer_shape& shape,
                                           const rank_share& told) {
  const bool packed = !shape.offsets.empty();
  rank_call mine;
  mine.own = told;
  mine.text = name_of_call("mixer " + std::string(type_name<std::pair<M, T>>()));
  mine.equal = {shape.batch, shape.channels, shape.states, p.inner.chunk, packed};
  mine.own.steps = shape.time, mine.own.continues = p.continues;
  check_or_disagree(p.communicator, [&] {
    require_sizes(shape);
    mine.own.sequences = shape.sequences();
    if (packed) mine.own.pieces = backward_cuts<M, T>(p.inner, shape).slots;
  });
  const auto all = agree(p.communicator, mine,
                         {"the batch", "the channels", "the states", "the chunk", "whether sequences are packed"});
  require_same_parameters<M>(all);
  require_same_checkpoints(all);
  if (!packed) return numbers_of(all, {&rank_share::steps});
  return numbers_of(all, {&rank_share::steps, &rank_share::sequences, &rank_share::continues, &rank_share::pieces});
}

}  // namespace detail

/// What each rank has of the time: one small gather on the host, which waits for the device, once for a shape. Throws
/// std::invalid_argument, of the same text on all ranks, where they differ in mixer, number type, batch, channels,
/// states, chunk or in whether sequences are packed. What it returns is for `ranks::steps`, which is not read here.
template <class T = float, class Communicator, detail::device_policy Inner, mixer M>
[[nodiscard]] std::vector<std::int64_t> agree_on_steps(const ranks<Communicator, Inner>& p, const M&,
                                                       const mixer_shape& shape) {
  return detail::agreed_stretches<M, T>(p, shape, {});
}
/// The same, and whether all ranks have the same parameters vary with time, and, with the states that `backward` is to
/// get, whether all give checkpoints or none does.
template <class Communicator, detail::device_policy Inner, mixer M, class In>
[[nodiscard]] std::vector<std::int64_t> agree_on_steps(
    const ranks<Communicator, Inner>& p, const M&, const mixer_shape& shape, const In& in,
    const std::type_identity_t<mixer_adjoints<M, number_t<In>>>& states = {}) {
  detail::rank_share told;
  detail::tell_parameters<M>(told, in, shape);
  const bool given = detail::has_checkpoints<M, number_t<In>>(shape, states);
  told.has_checkpoints = given;
  told.lacks_checkpoints = !given && (shape.offsets.empty() ? shape.time : shape.sequences()) > 0;
  return detail::agreed_stretches<M, number_t<In>>(p, shape, told);
}

/// The bytes of workspace that `forward` needs on this rank.
template <class T = float, class Communicator, detail::device_policy Inner, mixer M>
[[nodiscard]] std::size_t forward_workspace(const ranks<Communicator, Inner>& p, const M& m, const mixer_shape& shape) {
  if (p.communicator.size() == 1) return forward_workspace<T>(p.inner, m, shape);
  detail::require_sizes(shape);
  return detail::forward_memory<M, T>::size(shape, detail::forward_cuts<M>(p.inner, shape), true);
}

/// The bytes of workspace that `backward` needs on this rank, by a policy that has the steps of all ranks: those of
/// `cuda` for this rank's shape, and for each parameter the sums [M, S] of all ranks' chunks, twice: as they were
/// gathered, where each rank has room for as many as the one with the most has, and in the order of time.
template <class Communicator, detail::device_policy Inner, mixer M, class In>
[[nodiscard]] std::size_t backward_workspace(const ranks<Communicator, Inner>& p, const M& m, const mixer_shape& shape,
                                             const In& in,
                                             const std::type_identity_t<mixer_adjoints<M, number_t<In>>>& states = {}) {
  using T = number_t<In>;
  if (p.communicator.size() == 1) return backward_workspace(p.inner, m, shape, in, states);
  detail::require_sizes(shape);
  const detail::mixer_device_stretches all = detail::stretches_of("backward_workspace", p, shape);
  detail::workspace_arena none({});
  detail::rank_backward_memory<M, T>(none, p.inner, all, shape, in, detail::has_checkpoints<M, T>(shape, states));
  return none.used();
}

}  // namespace kalscan
