// SPDX-License-Identifier: MIT
// The verbs of <kalscan/cuda/device.cuh> over devices: the policy `ranks{communicator, cuda{...}}` for reduce, scans
// from either end, segmented ones (<kalscan/monoids/segmented.hpp>) and scan_states, of sequences and of many at once.
//
// Each rank gives its stretch of time, in its device's memory: the length of `in` is its number of `ranks::steps`. The
// initial value is read on the first rank that has steps, of a scan from the end on the last one. Totals, `final`, come
// out on all ranks: all of them ask for it, or none does. No operator is handed to the communicator, and operands stay
// in order. Errors are those of one device, and std::invalid_argument where `in` does not fit `ranks::steps`; the other
// ranks are not told, and wait.
//
// Without a chunk each rank but the last combines its stretch to one element, one gather brings these to all, and each
// scans from what they make: input is read twice, and output written once. For totals one gather more. The bits then
// depend on the stretches.
//
// With a fixed `cuda::chunk` the state goes from rank to rank, in the order of time, through the elements of all
// chunks: R - 1 messages, one after the other, of a state a sequence. Where stretches are whole chunks, counted from
// where the scan begins, all results have the bits of one device with that chunk, for any number of ranks. On one rank
// `inner` runs alone.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/device.cuh>
#include <kalscan/cuda/ranks.cuh>
#include <kalscan/cuda/scan/chunks.cuh>
#include <kalscan/cuda/scan/totals.cuh>
#include <kalscan/cuda/stretches.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

template <class Communicator, std::derived_from<cuda> Inner>
inline constexpr bool scans_on_device<ranks<Communicator, Inner>> = true;

/// The workspace of a verb on a rank, whatever the verb.
template <class R>
struct rank_scan_memory {
  using state = typename R::state_type;
  using element = element_t<monoid_t<R>>;
  using call = scan_arguments<emit::nothing, R>;

  chunk_memory<call, row_stretches> chunks{};    // with a fixed chunk
  std::size_t total_bytes = 0;                   // without: of a rank's totals
  std::byte *total = nullptr, *totals = nullptr;
  state* entering = nullptr;
  std::span<std::byte> here{};                   // of this device's own verbs
  std::span<std::byte> finals{};

  rank_scan_memory(workspace_arena& arena, const cuda& policy, const R& r, std::int64_t length, std::int64_t count,
                   std::int64_t ranks) {
    if (policy.chunk > 0) {
      chunks.chunk = policy.chunk, chunks.chunks = chunks_of_row(length, policy.chunk);
      chunks.elements = arena.take<element>(count * chunks.chunks);
      chunks.states = arena.take<state>(count * (chunks.chunks + 1));
    } else {
      using of_elements = typename element_recurrence<R>::type;
      constexpr std::size_t largest = (std::max)(sizeof(state), sizeof(element));
      total_bytes = workspace_arena::rounded(static_cast<std::size_t>(count) * largest);
      const auto bytes = static_cast<std::int64_t>(total_bytes);
      total = arena.take<std::byte>(bytes), totals = arena.take<std::byte>(bytes * ranks);
      entering = arena.take<state>(count);
      const std::size_t own = (std::max)(scan_workspace(policy, r, length, count),
                                         scan_workspace(policy, of_elements{r}, length, count));
      here = {arena.take<std::byte>(static_cast<std::int64_t>(own)), own};
    }
    const std::size_t bytes = static_cast<std::size_t>(count * ranks) * sizeof(state);
    finals = {arena.take<std::byte>(static_cast<std::int64_t>(bytes)), bytes};
  }
};

/// The ranks in the order in which a scan meets them.
struct scan_course {
  int first, last;      // with steps
  int previous, next;   // of this one, or -1
  int direction;

  scan_course(const device_stretches& all, bool goes_back)
      : first((std::max)(0, all.with_steps(0, 1))),
        last((std::max)(0, all.with_steps(all.size() - 1, -1))),
        previous(all.previous()),
        next(all.next()),
        direction(goes_back ? -1 : 1) {
    if (goes_back) std::swap(first, last), std::swap(previous, next);
  }
  row_stretches ends() const { return {previous < 0, next < 0}; }
};

/// One call of a verb on one rank.
template <class Communicator, class Inner, class Call>
class scan_over_ranks {
  using R = typename Call::recurrence_type;
  using state = typename Call::state_type;

 public:
  scan_over_ranks(const char* verb, const ranks<Communicator, Inner>& p, const Call& call, const device_stretches& all,
                  bool goes_back)
      : verb_(verb), comm_(p.communicator), policy_(p.inner), call_(call), all_(all), course_(all, goes_back) {}

  void run() {
    const auto memory_in = [&](workspace_arena arena) {
      rank_scan_memory<R> x(arena, policy_, call_.recurrence, call_.length, call_.count, comm_.size());
      return std::pair(x, arena.used());
    };
    require_workspace(verb_, policy_, memory_in(workspace_arena({})).second);
    const rank_scan_memory<R> memory = memory_in(workspace_arena(policy_.workspace)).first;
    if (policy_.chunk > 0) {
      if (all_.takes_part()) relay(memory);
    } else {
      here_ = policy_, here_.workspace = memory.here;
      if (gather(memory)) return;
    }
    if (call_.final != nullptr) share_final(memory);
  }

 private:
  template <class X>
  std::span<std::byte> bytes_of(X* first) const {
    return {reinterpret_cast<std::byte*>(first), static_cast<std::size_t>(call_.count) * sizeof(X)};
  }

  /// With a fixed chunk: the states go from rank to rank.
  void relay(const rank_scan_memory<R>& memory) const {
    const chunk_memory<Call, row_stretches> chunks{course_.ends(), memory.chunks.elements, memory.chunks.states,
                                                   memory.chunks.chunk, memory.chunks.chunks};
    launch_chunk_passes(
        verb_, policy_, call_, chunks,
        [&] {
          if (!chunks.begin) comm_.receive(bytes_of(chunks.states), course_.previous, policy_.stream);
        },
        [&] {
          if (!chunks.end)
            comm_.send(bytes_of(chunks.states + chunks.chunks * call_.count), course_.next, policy_.stream);
        });
  }

  /// Without a chunk: gathers one element a stretch. Returns whether all is done, as it is for a reduction, whose totals are
  /// then on all ranks.
  bool gather(const rank_scan_memory<R>& memory) const {
    const bool begins = comm_.rank() == course_.first, ends = comm_.rank() == course_.last;
    if (!Call::has_outputs || course_.first != course_.last) {
      std::size_t written = 0;
      if (begins) {
        reduce_here(call_.recurrence, call_.initial, call_.start, memory.total);
        written = sizeof(state);
      } else if (!Call::has_outputs || !ends) {  // no one else needs the last element
        const typename element_recurrence<R>::type elements{call_.recurrence};
        reduce_here(elements, nullptr, elements.monoid().identity(), memory.total);
        written = sizeof(elements.monoid().identity());
      }
      const std::span part(memory.total, memory.total_bytes);
      clear_rest(part, written * static_cast<std::size_t>(call_.count), policy_.stream);
      comm_.all_gather(part, std::span(memory.totals, memory.total_bytes * all_.steps.size()), policy_.stream);
    }
    if constexpr (!Call::has_outputs) {
      fold(memory, course_.last + course_.direction, call_.final);
      return true;
    } else {
      if (!all_.takes_part()) return false;
      Call here = call_;
      if (!begins) {
        fold(memory, comm_.rank(), memory.entering);
        here.initial = memory.entering;
      }
      if (!ends) here.final = nullptr;
      run_on_device(verb_, here_, here);
      return false;
    }
  }
  template <class X>
  void reduce_here(const X& r, const typename X::state_type* initial, const typename X::state_type& start,
                   std::byte* out) const {
    run_on_device(verb_, here_,
                  scan_arguments<emit::nothing, X>{r, call_.in, {}, call_.count, call_.length, initial, start,
                                                   reinterpret_cast<typename X::state_type*>(out)});
  }
  void fold(const rank_scan_memory<R>& memory, int end, state* out) const {
    const rank_totals<R> totals{memory.totals, static_cast<std::int64_t>(memory.total_bytes)};
    fold_totals_kernel<R><<<static_cast<unsigned>((call_.count + 127) / 128), 128, 0, policy_.stream>>>(
        call_.recurrence, totals, course_.first, end, course_.direction, call_.count, out);
    check_launch("fold_totals_kernel");
  }

  /// The last states, to all.
  void share_final(const rank_scan_memory<R>& memory) const {
    const std::span<std::byte> mine = bytes_of(call_.final);
    if (mine.empty()) return;
    if (comm_.rank() != course_.last) clear_rest(mine, 0, policy_.stream);
    comm_.all_gather(mine, memory.finals, policy_.stream);
    require_success("cudaMemcpyAsync",
                    cudaMemcpyAsync(call_.final, memory.finals.data() + mine.size() * std::size_t(course_.last),
                                    mine.size(), cudaMemcpyDeviceToDevice, policy_.stream));
  }

  const char* verb_;
  const Communicator& comm_;
  const cuda& policy_;
  const Call& call_;
  const device_stretches& all_;
  scan_course course_;
  cuda here_{};
};

template <class Communicator, std::derived_from<cuda> Inner, class Call>
void run_on_device(const char* verb, const ranks<Communicator, Inner>& p, const Call& call, bool goes_back) {
  if (p.communicator.size() == 1) return run_on_device(verb, p.inner, call, goes_back);
  require_chunk(verb, p.inner);
  const device_stretches all = stretches_of(verb, p, "the length of in", call.length);
  if (call.count > 0) scan_over_ranks(verb, p, call, all, goes_back).run();
}

}  // namespace detail

/// What each rank has of `count` sequences, `length` steps here: one small gather on the host, which waits for the
/// device, once for a shape. Throws std::invalid_argument, of the same text on all ranks, where they differ in
/// operator, number of sequences or chunk. The steps are for `ranks::steps`, which is not read here.
template <class MonoidOrRecurrence, class Communicator, std::derived_from<cuda> Inner>
  requires monoid<MonoidOrRecurrence> || recurrence<MonoidOrRecurrence>
[[nodiscard]] std::vector<std::int64_t> agree_on_steps(const ranks<Communicator, Inner>& p, const MonoidOrRecurrence&,
                                                       std::int64_t length, std::int64_t count = 1) {
  detail::rank_call mine;
  mine.text = detail::name_of_call("scan of " + std::string(detail::type_name<MonoidOrRecurrence>()));
  mine.equal = {count, p.inner.chunk};
  mine.own.steps = length;
  return detail::agreed_steps(p, mine, {"the number of sequences", "the chunk"});
}

/// Bytes of workspace that suffice on this rank for every verb with this monoid (or recurrence) and policy, over
/// `count` sequences of `length` steps here: those of one device, and `count` states or elements of each rank.
template <class MonoidOrRecurrence, class Communicator, std::derived_from<cuda> Inner>
[[nodiscard]] std::size_t scan_workspace(const ranks<Communicator, Inner>& p, const MonoidOrRecurrence& m,
                                         std::int64_t length, std::int64_t count = 1) {
  const std::size_t alone = scan_workspace(p.inner, m, length, count);
  if (p.communicator.size() == 1) return alone;
  using R = typename detail::recurrence_of<MonoidOrRecurrence>::type;
  detail::workspace_arena none({});
  detail::rank_scan_memory<R>(none, p.inner, R{m}, length, count, p.communicator.size());
  return none.used();
}

}  // namespace kalscan
