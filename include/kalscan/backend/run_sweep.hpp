// SPDX-License-Identifier: MIT
// How a back end that runs tasks side by side takes a sweep: whole lanes, or chunks of time by absorb, carry, replay. A
// new back end of this kind is a policy, the three functions of `task_policy`, and this header.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <kalscan/backend/any_chains.hpp>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/support/values.hpp>

namespace kalscan {
namespace detail {

/// Chunk k covers steps [bounds[k], bounds[k + 1]).
inline std::vector<std::int64_t> equal_chunks(std::int64_t length, std::int64_t chunk) {
  std::vector<std::int64_t> bounds;
  for (std::int64_t t = 0; t < length; t += (std::min)(chunk, length - t)) bounds.push_back(t);
  bounds.push_back(length);
  return bounds;
}

/// How many workers share a lane where nobody has fixed the chunk: 1, unless there are at least two workers for each lane
/// and 256 steps for each of these. With fewer steps it costs more to start a worker than it saves.
inline int workers_beside(int workers, std::int64_t lanes, std::int64_t length) {
  constexpr std::int64_t shortest_split = 256;
  const auto beside = static_cast<int>(workers / (std::max)(lanes, std::int64_t{1}));
  return beside > 1 && length >= shortest_split * beside ? beside : 1;
}

/// Chunks that keep `workers` equally busy. With outputs there is one chunk more than workers: while one worker replays the
/// first chunk, the others absorb one each; then all workers replay one each. Without outputs there are as many chunks as
/// workers, and the absorbed ones are done. Either way the first chunk is `absorb_cost` times as long as the others.
inline std::vector<std::int64_t> uneven_chunks(std::int64_t length, int workers, double absorb_cost, bool has_outputs) {
  const int others = has_outputs ? workers : workers - 1;
  absorb_cost = std::clamp(absorb_cost, 0.1, 10.0);  // no chunk may be empty
  const double unit = static_cast<double>(length) / (absorb_cost + others);
  std::vector<std::int64_t> bounds{0};
  for (int k = 0; k < others; ++k) {
    bounds.push_back((std::min)(length, static_cast<std::int64_t>((absorb_cost + k) * unit)));
  }
  bounds.push_back(length);
  return bounds;
}

/// x after step(lane, t, x) for each t in [first, last). x is a local variable here, so that it can stay in registers.
template <sweep S, class Lane, class X, class Step>
X each_step(Lane lane, std::int64_t first, std::int64_t last, X x, Step step) {
  for (std::int64_t t = first; t < last; ++t) step(lane, t, x);
  return x;
}
/// The same for states that fit registers: everything that the loop calls is inlined, and the loop is a function of its
/// own. Otherwise g++ does not inline an operator that many scans of a program use, and inlined into a sweep it keeps x in
/// memory; either makes the loop take two to seven times as long.
template <sweep S, class Lane, class X, class Step>
requires S::in_registers
[[gnu::flatten, gnu::noinline]] X each_step(Lane lane, std::int64_t first, std::int64_t last, X x, Step step) {
  for (std::int64_t t = first; t < last; ++t) step(lane, t, x);
  return x;
}

/// Takes steps [first, last) of a lane.
template <sweep S>
sweep_state_t<S> replay_steps(lane_t<S> lane, std::int64_t first, std::int64_t last, sweep_state_t<S> state) {
  return each_step<S>(std::move(lane), first, last, std::move(state),
                      [](lane_t<S>& l, std::int64_t t, sweep_state_t<S>& x) { l.replay(t, x); });
}

/// Steps [first, last) of a lane as an element.
template <sweep S>
sweep_element_t<S> absorb_steps(lane_t<S> lane, std::int64_t first, std::int64_t last) {
  if constexpr (requires { lane.absorb_steps(first, last); }) {
    return lane.absorb_steps(first, last);
  } else {
    sweep_element_t<S> element = lane.lift(first);
    return each_step<S>(std::move(lane), first + 1, last, std::move(element),
                        [](lane_t<S>& l, std::int64_t t, sweep_element_t<S>& x) { l.absorb(t, x); });
  }
}

/// Whether neighbouring lanes share no cache lines: in sweeps that say so, or that are never cut in time.
template <sweep S>
constexpr bool lanes_lie_apart() {
  return requires { requires S::lanes_apart; } || requires { requires S::whole_lanes; };
}

/// Whole lanes, one after the other.
template <sweep S>
void replay_each_lane(const S& s, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    auto lane = s.lane(i);
    lane.finish(replay_steps<S>(lane, 0, s.length(), lane.start()));
  }
}

/// Whole lanes. Neighbours of a [time, lane] array are taken through time together, since they share cache lines.
template <sweep S>
void replay_lanes(const S& s, std::int64_t first, std::int64_t last) {
  if (last - first == 1) return replay_each_lane(s, first, last);
  std::vector<lane_t<S>> lanes;
  values<sweep_state_t<S>> states;
  for (std::int64_t i = first; i < last; ++i) {
    lanes.push_back(s.lane(i));
    states.push_back(lanes.back().start());
  }
  for (std::int64_t t = 0; t < s.length(); ++t) {
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i].replay(t, states[i]);
  }
  for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i].finish(states[i]);
}

/// Whether the action of a chunk's element took a finite state out of the range of its numbers: to NaN, or to infinity for a
/// state that is one number. A product of gains may be out of range where no state is. Whether a state of several
/// numbers holds a NaN is told by its operator==.
template <class State>
bool went_out_of_range(const State& before, const State& after) {
  if constexpr (std::is_floating_point_v<State>) {
    return std::isfinite(before) && !std::isfinite(after);
  } else if constexpr (std::equality_comparable<State>) {
    return before == before && !(after == after);
  } else {
    return false;
  }
}

/// A sweep whose lanes are all cut at the same bounds, as chains: each lane is one.
template <sweep S>
struct cut_lanes {
  using state = sweep_state_t<S>;
  using element = sweep_element_t<S>;

  const S& sweep;
  std::vector<std::int64_t> bounds;

  static constexpr bool has_outputs = S::has_outputs;

  std::int64_t chains() const { return sweep.lanes(); }
  std::int64_t pieces(std::int64_t) const { return std::ssize(bounds) - 1; }
  std::int64_t begin(std::int64_t k) const { return bounds[static_cast<std::size_t>(k)]; }

  state start(std::int64_t i) const { return sweep.lane(i).start(); }
  void replay(std::int64_t i, std::int64_t k, state& x) const {
    x = replay_steps<S>(sweep.lane(i), begin(k), begin(k + 1), std::move(x));
    if constexpr (requires { sweep.end_stretch(x); }) sweep.end_stretch(x);
  }
  element absorb(std::int64_t i, std::int64_t k) const {
    return absorb_steps<S>(sweep.lane(i), begin(k), begin(k + 1));
  }
  std::optional<state> act(std::int64_t, std::int64_t, const element& x, const state& before) const {
    std::optional<state> after(sweep.act(x, before));
    if (went_out_of_range(before, *after)) after.reset();
    return after;
  }
  void finish(std::int64_t i, const state& x) const { sweep.lane(i).finish(x); }
};

/// The bounds of the chunks into which time is cut; empty where lanes are taken whole.
template <task_policy P>
std::vector<std::int64_t> cuts_of_time(const P& p, std::int64_t lanes, std::int64_t length, double absorb_cost,
                                       bool has_outputs) {
  const std::int64_t chunk = chunk_length(p);
  if (chunk > 0) return chunk < length ? equal_chunks(length, chunk) : std::vector<std::int64_t>();
  const int beside = workers_beside(worker_count(p), lanes, length);
  if (beside <= 1 || lanes == 0) return {};
  return uneven_chunks(length, beside, absorb_cost, has_outputs);
}

/// Takes lanes [first, last) through a pointer to a function, as task_ref does with tasks.
class lanes_ref {
 public:
  template <class Take>
  explicit lanes_ref(const Take& take)
      : take_(&take), call_([](const void* t, std::int64_t first, std::int64_t last) {
          (*static_cast<const Take*>(t))(first, last);
        }) {}
  void operator()(std::int64_t first, std::int64_t last) const { call_(take_, first, last); }

 private:
  const void* take_;
  void (*call_)(const void*, std::int64_t, std::int64_t);
};

/// Lanes side by side; a task takes some neighbours.
template <task_policy P>
void run_whole_lanes(const P& p, std::int64_t lanes, lanes_ref take) {
  constexpr std::int64_t most = 64;
  const std::int64_t workers = worker_count(p);
  const std::int64_t width = std::clamp<std::int64_t>((lanes + workers - 1) / workers, 1, most);
  const std::int64_t tasks = (lanes + width - 1) / width;
  if (tasks == 1) return take(0, lanes);  // a short series is done before threads have started
  run_all(p, tasks, [&](std::int64_t task) { take(task * width, (std::min)(lanes, (task + 1) * width)); });
}

}  // namespace detail

/// Lanes side by side where there are enough of them or they are short; else absorb, carry, replay over chunks of time.
template <task_policy P, sweep S>
void run_sweep(const P& policy, const S& s) {
  const detail::any_tasks p(policy);
  if constexpr (!requires { requires S::whole_lanes; }) {
    if (s.splits()) {
      auto bounds = detail::cuts_of_time(p, s.lanes(), s.length(), s.absorb_cost, S::has_outputs);
      if (!bounds.empty()) {
        const detail::cut_lanes<S> chains{s, std::move(bounds)};
        return detail::run_chains(p, detail::any_chains<S::has_outputs>(chains));
      }
    }
  }
  detail::run_whole_lanes(p, s.lanes(), detail::lanes_ref([&](std::int64_t first, std::int64_t last) {
                            if constexpr (detail::lanes_lie_apart<S>()) {
                              detail::replay_each_lane(s, first, last);
                            } else {
                              detail::replay_lanes(s, first, last);
                            }
                          }));
}

}  // namespace kalscan
