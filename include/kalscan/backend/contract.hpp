// SPDX-License-Identifier: MIT
// What the verbs hand to a back end, and what a back end must do with it. A new back end of the host is one file: the
// three functions of `task_policy`; <kalscan/backend/run_sweep.hpp> does the rest.
#pragma once

#include <concepts>
#include <cstdint>
#include <kalscan/support/config.hpp>
#include <type_traits>
#include <utility>

namespace kalscan {

/// As a policy's `chunk`: time is not cut, however long it is and however few the lanes are.
inline constexpr std::int64_t whole_time = std::int64_t{1} << 62;

/// Set to true by each back end for its policy type.
template <class P>
inline constexpr bool is_policy = false;

/// Set to false by a back end whose verbs are all its own: its policy then runs no sweep.
template <class P>
inline constexpr bool runs_sweeps = is_policy<P>;

/// The first argument of every verb: which back end runs it, and how. `seq`, `omp`, ...
template <class P>
concept policy = is_policy<std::remove_cvref_t<P>>;

/// A policy that runs any sweep, on arrays that the host reads and writes. `seq`, `omp`.
template <class P>
concept host_policy = policy<P> && runs_sweeps<std::remove_cvref_t<P>>;

namespace detail {

/// Does not compile for what is no policy.
template <class P>
constexpr void explain_policy() {
  static_assert(policy<P>,
                "kalscan: the first argument is the policy: pass kalscan::seq{}, kalscan::omp{} or kalscan::cuda{}");
}

}  // namespace detail

/// Set to true by a back end whose callers, the ranks, each have a stretch of one time axis. Verbs that do more than run a
/// sweep have overloads for it.
template <class P>
inline constexpr bool shares_time = false;

/// Runs the checks that a verb makes of its arguments before it begins, which throw. A back end whose workers wait for
/// each other has an overload for its policy, found by argument-dependent lookup, that tells them.
template <class P, class Check>
void check_arguments(const P&, Check check) {
  check();
}

/// What the lanes of a sweep are, their states and their elements.
template <class S>
using lane_t = decltype(std::declval<const S&>().lane(0));
template <class S>
using sweep_state_t = decltype(std::declval<lane_t<S>&>().start());
template <class S>
using sweep_element_t = decltype(std::declval<lane_t<S>&>().lift(0));

/// Work along time, for a number of independent lanes. A sweep has
///
///     lanes(), length()          64-bit counts
///     lane(i)                    a light view of one lane, below
///     act(element, state)        the state after the stretch that the element summarizes
///     splits()                   whether lift, absorb and act may be used; if not, each lane is replayed in order
///     whole_lanes                optional: true where splits() never is, so that nothing is compiled for it
///     lanes_apart                optional: true where lanes share no cache lines, as series do, so that nothing is won
///                                by taking neighbours through time together
///     has_outputs                false when only the final state matters (a reduction)
///     absorb_cost                the cost of one absorb over that of one replay
///     end_stretch(state)         optional: where time is cut, called with the state after the last step of each chunk
///                                that is replayed
///     goes_back                  optional: true where step 0 is the last one in time
///     starts_at_first_step       optional, over ranks: true where start() is called on the rank with the first step;
///                                else on the rank where time begins, even if that has no steps
///     ends_unseen                optional, over ranks: true where finish() does not use the state, which then is not
///                                sent to all ranks
///     in_registers               optional: true where states and elements are so few plain numbers that they fit
///                                registers: loops over steps then inline all that they call
///
/// and a lane has
///
///     start()                    the state before the first step
///     replay(t, state)           takes step t: changes the state, writes the step's outputs
///     lift(t)                    step t as an element
///     absorb(t, element)         extends the element by step t
///     finish(state)              takes the state after the last step
///     absorb_steps(first, last)  optional: steps [first, last) as an element, where a lane does better than step by step
///
/// `run_sweep(policy, sweep)`, found by argument-dependent lookup, must leave for each lane the outputs of start,
/// replay for t = 0 ... length-1, finish. It may reach the state before step t by any association of lift, absorb and
/// act over the steps before t; it replays each step at most once, and exactly once where there are outputs. For a
/// fixed association the result has the same bits on every run. An exception that a sweep throws reaches the caller.
template <class S>
concept sweep = requires(const S& s, std::int64_t i) {
  { s.lanes() } -> std::same_as<std::int64_t>;
  { s.length() } -> std::same_as<std::int64_t>;
  { s.splits() } -> std::same_as<bool>;
  { S::has_outputs } -> std::convertible_to<bool>;
  { s.absorb_cost } -> std::convertible_to<double>;
  s.lane(i).start();
  s.lane(i).lift(i);
} && requires(const S& s, lane_t<S>& lane, std::int64_t t, sweep_state_t<S>& state, sweep_element_t<S>& element) {
  { s.act(std::as_const(element), std::as_const(state)) } -> std::convertible_to<sweep_state_t<S>>;
  lane.replay(t, state);
  lane.absorb(t, element);
  lane.finish(std::as_const(state));
};

/// Tasks by number, called through a pointer, so that what runs them is compiled once. Holds a reference: the callable
/// must outlive it.
class task_ref {
 public:
  template <class Task>
  explicit task_ref(const Task& task)
      : task_(&task), call_([](const void* t, std::int64_t i) { (*static_cast<const Task*>(t))(i); }) {}
  void operator()(std::int64_t i) const { call_(task_, i); }

 private:
  const void* task_;
  void (*call_)(const void*, std::int64_t);
};

/// A policy whose back end runs tasks side by side, and brings no more than that: `omp`. The functions are found by
/// argument-dependent lookup, and the file that has them includes <kalscan/backend/run_sweep.hpp>.
///
///     int worker_count(const P&)             how many tasks run at once, at least 1
///     std::int64_t chunk_length(const P&)    steps in a chunk of time where the caller fixed that, else 0. Both throw
///                                            std::invalid_argument where the policy means nothing
///     void run_tasks(const P&, std::int64_t count, task_ref task)
///                                            calls task(0) ... task(count - 1), each once, in any order and on any
///                                            thread, and returns when all have returned. They do not throw
template <class P>
concept task_policy = host_policy<P> && requires(const P& p, task_ref task) {
  { worker_count(p) } -> std::same_as<int>;
  { chunk_length(p) } -> std::same_as<std::int64_t>;
  run_tasks(p, std::int64_t(), task);
};

/// Defined in <kalscan/backend/run_sweep.hpp>.
template <task_policy P, sweep S>
void run_sweep(const P&, const S&);

}  // namespace kalscan
