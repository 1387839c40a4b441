// SPDX-License-Identifier: MIT
// The policy `ranks{communicator, cuda{...}}`: one sequence over many devices, each of which holds a stretch of it. For
// NVIDIA's NCCL include <kalscan/ranks/nccl.cuh> too, for reduce and scans <kalscan/cuda/scan_ranks.cuh>, for mixers
// <kalscan/cuda/kla_ranks.cuh>, for the Kalman filter and smoother <kalscan/cuda/kalman_ranks.cuh>.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/stretches.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/communicator.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {

template <std::derived_from<cuda> Inner>
inline constexpr bool runs_over_ranks<Inner> = true;
template <class Communicator, std::derived_from<cuda> Inner>
inline constexpr bool runs_sweeps<ranks<Communicator, Inner>> = false;

/// A communicator whose ranks have a device each. Beside what any communicator does, which may allocate and wait, on
/// device memory, enqueued in a stream, without waiting for it:
///
///     all_gather(in, out, stream)    as all_gather(in, out)
///     send(in, to, stream)           to another rank
///     receive(out, from, stream)     what that rank sends, of the same size
///
/// Every rank calls in the same order; sends and receives go along the ranks, never round in a circle.
template <class C>
concept device_communicator = communicator<C> &&
    requires(const C& c, std::span<const std::byte> in, std::span<std::byte> out, int rank, cudaStream_t stream) {
  c.all_gather(in, out, stream);
  c.send(in, rank, stream);
  c.receive(out, rank, stream);
};

/// Over devices, a thread or a process each.
///
/// steps      of each rank, 0 where it has none: the same on all of them, kept until the call returns. `agree_on_steps`
///            (there is one for scans, for mixers and for filters) asks the ranks, of packed sequences for more
/// continues  for agree_on_steps of packed sequences: whether this rank's first sequence goes on where the last one of
///            the ranks before it has stopped
///
/// Each verb is enqueued on every rank in `inner.stream`, and nobody waits or allocates: calls may be captured into
/// graphs where the communicator's can. Ranks do not ask each other whether their calls fit: agree_on_steps does that,
/// once for a shape. A rank whose call throws leaves the others waiting, until their communicator gives up.
template <communicator Communicator, rank_policy Inner>
  requires std::derived_from<Inner, cuda>
struct ranks<Communicator, Inner> {
  static_assert(device_communicator<Communicator>,
                "kalscan: over ranks with a device each the communicator must move device memory, too: see "
                "device_communicator in <kalscan/cuda/ranks.cuh>");
  Communicator communicator;
  Inner inner{};
  std::span<const std::int64_t> steps{};
  bool continues = true;
};
template <class Communicator, class Inner, class Steps>
  requires std::convertible_to<Steps, std::span<const std::int64_t>>
ranks(Communicator, Inner, Steps) -> ranks<Communicator, Inner>;

namespace detail {

/// The first of these numbers of all ranks, then the second of all ranks, and so on.
inline std::vector<std::int64_t> numbers_of(const std::vector<rank_call>& all,
                                            std::initializer_list<std::int64_t rank_share::*> numbers) {
  std::vector<std::int64_t> x;
  for (const auto number : numbers) {
    for (const rank_call& one : all) x.push_back(one.own.*number);
  }
  return x;
}

/// What each rank has of the time, where all call the same.
template <class Communicator, std::derived_from<cuda> Inner>
std::vector<std::int64_t> agreed_steps(const ranks<Communicator, Inner>& p, const rank_call& mine,
                                       const equal_names& names) {
  return numbers_of(agree(p.communicator, mine, names), {&rank_share::steps});
}

/// All ranks gather parts of one size. Clears what this rank has beyond the bytes that it wrote: nobody reads that, but
/// memory that nobody wrote is not to be sent.
inline void clear_rest(std::span<std::byte> part, std::size_t written, cudaStream_t stream) {
  if (written >= part.size()) return;
  require_success("cudaMemsetAsync", cudaMemsetAsync(part.data() + written, 0, part.size() - written, stream));
}

/// There are so many numbers for each rank.
template <class Communicator, std::derived_from<cuda> Inner>
void require_steps(const char* verb, const ranks<Communicator, Inner>& p, int numbers) {
  if (std::ssize(p.steps) == numbers * p.communicator.size()) return;
  bad_argument(verb, text({"steps has ", p.steps.size(), " numbers, ", numbers == 1 ? "one" : std::to_string(numbers),
                           " for each of ", p.communicator.size(), " ranks ", numbers == 1 ? "is" : "are",
                           " needed: agree_on_steps gives them"}));
}

/// The stretches of a call, or an error. `what` this rank has is `steps_here`.
template <class Communicator, std::derived_from<cuda> Inner>
device_stretches stretches_of(const char* verb, const ranks<Communicator, Inner>& p, const char* what,
                              std::int64_t steps_here) {
  const device_stretches x{p.steps, p.communicator.rank()};
  require_steps(verb, p, 1);
  if (steps_here != x.steps_here()) {
    bad_argument(verb, text({what, " is ", steps_here, ", but steps[", x.me, "] is ", x.steps_here()}));
  }
  return x;
}

}  // namespace detail

/// Nobody is told where a check fails: the ranks of devices do not wait for each other on the host.
template <class Communicator, std::derived_from<cuda> Inner, class Check>
void check_arguments(const ranks<Communicator, Inner>&, Check check) {
  check();
}

}  // namespace kalscan
