// SPDX-License-Identifier: MIT
// One sequence over many ranks, each of which holds a stretch of it: reduce, scans from either end, states of
// recurrences. For mixers include <kalscan/ranks/mixer.hpp> too, for the Kalman filter and smoother
// <kalscan/ranks/kalman.hpp>.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/in_order.hpp>
#include <kalscan/backend/run_sweep.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/bytes.hpp>
#include <kalscan/ranks/chains.hpp>
#include <kalscan/ranks/communicator.hpp>
#include <kalscan/scan.hpp>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {

/// Whether a policy may be the inner one of `ranks`. A back end with verbs of its own over ranks sets it to true for
/// its policy, and specializes `ranks`: for `cuda` see <kalscan/cuda/ranks.cuh>.
template <class Inner>
inline constexpr bool runs_over_ranks = host_policy<Inner>;
template <class Inner>
concept rank_policy = runs_over_ranks<Inner>;

/// Runs a verb over all ranks of a communicator, on each by the policy `inner`: `seq` or `omp`, or `cuda` with
/// <kalscan/cuda/ranks.cuh>, which differs in what it says.
///
/// All ranks call the same verb, each with its stretch of time; stretches follow each other in the order of the ranks'
/// numbers, and may be of any length, 0 included. An initial state is read on rank 0, or on the last rank for a scan from
/// the end; a total, or a final state, comes out on all ranks.
///
/// continues   for calls with packed sequences: whether this rank's first sequence goes on where the last one of the
///             ranks before it has stopped
///
/// The bits of a result depend only on where time is cut. With `omp{.chunk}`, and all ranks'
/// boundaries on multiples of the chunk, they are those of `inner` on one rank with all of the data, for any number of
/// ranks. Without a chunk each rank cuts its stretch for itself. On one rank `inner` runs alone.
///
/// Before it computes, a verb gathers about half a kB of each rank: where ranks differ in what they call, or one has an
/// argument that does not fit, all throw std::invalid_argument with the same text, which says which ranks. Where one
/// throws while it computes, the others throw rank_error. That a rank is lost, or has no memory for what it hands on, is
/// for the communicator to find. Then follow one gather of an element for each lane and piece, and one of final states.
template <communicator Communicator, rank_policy Inner = seq>
struct ranks {
  Communicator communicator;
  Inner inner{};
  bool continues = true;
};
template <class Communicator>
ranks(Communicator) -> ranks<Communicator>;
template <class Communicator, class Inner>
ranks(Communicator, Inner) -> ranks<Communicator, Inner>;
template <class Communicator, class Inner>
ranks(Communicator, Inner, bool) -> ranks<Communicator, Inner>;

template <class Communicator, class Inner>
inline constexpr bool is_policy<ranks<Communicator, Inner>> = true;

template <class Communicator, class Inner>
inline constexpr bool shares_time<ranks<Communicator, Inner>> = true;

namespace detail {

/// The lanes of a sweep over a rank's stretch, as chains. A sweep that may not be split in time is one piece, without an
/// element.
template <sweep S>
struct stretch_of_lanes {
  static constexpr bool may_split = !requires { requires S::whole_lanes; };
  struct nothing {};
  using state = sweep_state_t<S>;
  using step_element = std::conditional_t<may_split, sweep_element_t<S>, nothing>;
  using element = std::optional<step_element>;
  using sent_state = state;
  using sent_element = element;

  cut_lanes<S> lanes;
  shared_sequences table;
  bool splits;

  static constexpr bool has_outputs = S::has_outputs;
  static constexpr bool starts_move = !requires { requires S::starts_at_first_step; };

  std::int64_t chains() const { return lanes.chains(); }
  std::int64_t pieces(std::int64_t i) const { return lanes.pieces(i); }
  state start(std::int64_t i) const { return lanes.start(i); }
  void replay(std::int64_t i, std::int64_t k, state& x) const { lanes.replay(i, k, x); }
  element absorb([[maybe_unused]] std::int64_t i, [[maybe_unused]] std::int64_t k) const {
    if constexpr (may_split) {
      if (splits) return lanes.absorb(i, k);
    }
    return {};
  }
  std::optional<state> act([[maybe_unused]] std::int64_t i, [[maybe_unused]] std::int64_t k, const element& x,
                           [[maybe_unused]] const state& before) const {
    if constexpr (may_split) {
      if (x) return lanes.act(i, k, *x, before);
    }
    return {};
  }
  void finish(std::int64_t i, const state& x) const { lanes.finish(i, x); }

  const shared_sequences& shared() const { return table; }
  std::int64_t number(std::int64_t i) const { return i; }
  std::int64_t local(std::int64_t id) const { return id; }
  void put_start(std::int64_t id, byte_string& to) const { put(to, start(id)); }
  void put_state(std::int64_t, const state& x, byte_string& to) const { put(to, x); }
  void put_element(std::int64_t, const element& x, byte_string& to) const { put(to, x); }
  state get_state(std::int64_t, byte_reader& from) const { return get<state>(from); }
  element get_element(std::int64_t, byte_reader& from) const { return get<element>(from); }
  static std::optional<std::size_t> state_size() {
    return has_fixed_size<state> ? std::optional(sizeof(state)) : std::nullopt;
  }
  static std::optional<std::size_t> element_size() {
    return has_fixed_size<element> ? std::optional(sizeof(element)) : std::nullopt;
  }
  bool advance(std::int64_t id, const element& x, state& s) const {
    auto after = act(id, 0, x, s);
    if (after) s = std::move(*after);
    return after.has_value();
  }
  state take(std::int64_t, const state& x) const { return x; }
  void leave(std::int64_t, const state&) const {}
  void pass(std::int64_t, const state&) const {}
  static constexpr bool wants_end() { return !requires { requires S::ends_unseen; }; }
  void receive(std::int64_t id, const state& x) const { finish(id, x); }
};

/// Whether a sweep goes from the last step to the first.
template <class S>
constexpr bool goes_back() {
  if constexpr (requires { S::goes_back; }) {
    return S::goes_back;
  } else {
    return false;
  }
}

}  // namespace detail

/// Runs the checks that a verb makes of its arguments before it begins. Where they fail, the other ranks, which are about to
/// agree, are told.
template <class Communicator, class Inner, class Check>
void check_arguments(const ranks<Communicator, Inner>& p, Check check) {
  if (p.communicator.size() == 1) return check();
  detail::check_or_disagree(p.communicator, check);
}

template <communicator Communicator, class Inner, sweep S>
void run_sweep(const ranks<Communicator, Inner>& p, const S& s) {
  using namespace detail;
  const Communicator& comm = p.communicator;
  if (comm.size() == 1) return run_sweep(p.inner, s);
  const auto& tasks = tasks_of(p.inner);
  const std::int64_t lanes = s.lanes(), length = s.length();
  std::int64_t chunk = 0, pieces = 0, wanted = 0;
  bool splits = false;
  check_arguments(p, [&] {
    chunk = wanted = chunk_length(tasks);
    splits = stretch_of_lanes<S>::may_split && s.splits();
    const int beside = workers_beside(worker_count(tasks), lanes, length);
    if (chunk == 0) chunk = (length + beside - 1) / beside;
    if (!splits || chunk > length) chunk = length;
    pieces = length == 0 ? 0 : (length - 1) / chunk + 1;
  });
  rank_call call;
  call.text = name_of_call(type_name<S>());
  call.equal = {lanes, wanted, splits};
  call.own.pieces = pieces;
  const auto calls = agree(comm, call, {"the number of sequences", "the chunk", "whether time may be split"});

  shared_sequences table{comm.rank(), lanes, {{}}};
  for (int r = 0; r < comm.size(); ++r) table.holders[0].push_back({r, calls[static_cast<std::size_t>(r)].own.pieces});
  if (goes_back<S>()) std::reverse(table.holders[0].begin(), table.holders[0].end());
  if (lanes == 0) table.holders.clear();
  stretch_of_lanes<S> chains{
      {s, pieces == 0 ? std::vector<std::int64_t>{0} : equal_chunks(length, chunk)}, std::move(table), splits};
  chains_over_ranks(comm, tasks, chains).run();
}

}  // namespace kalscan
