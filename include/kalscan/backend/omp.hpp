// SPDX-License-Identifier: MIT
// The OpenMP back end: lanes in parallel where there are enough of them, else absorb, carry, replay over chunks of time.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/values.hpp>

namespace kalscan {

/// Runs on several CPU threads.
///
/// threads   how many; 0 takes OpenMP's default. OpenMP may give fewer: the results do not depend on it.
/// chunk     steps per chunk of time. 0 lets the library choose: whole lanes when there are at least as many lanes as
///           threads or the lanes are short, else one chunk more than threads, the first one of another length
///           because its state is known. A chunk of at least the length forces whole lanes.
///
/// The bits of a result depend on the chunks alone: with `chunk` fixed they are the same for any number of threads, and
/// with whole lanes they are those of `seq`. Exact monoids give the bits of `seq` always. Allocates the chunks' elements
/// and states, nothing per step.
struct omp {
  int threads = 0;
  std::int64_t chunk = 0;
};

template <>
inline constexpr bool is_policy<omp> = true;

namespace detail {

// What needs OpenMP does not exist without it, so that a program may have units of both kinds: no function has one name
// and two bodies.
#if defined(_OPENMP)

/// How many threads a policy means. Throws std::invalid_argument where it means nothing.
inline int threads_of(const omp& policy) {
  const auto bad = [](const std::string& what) { throw std::invalid_argument("kalscan::omp: " + what); };
  if (policy.threads < 0)
    bad("threads is " + std::to_string(policy.threads) + ": pass how many, or 0 for as many as OpenMP would take");
  if (policy.chunk < 0)
    bad("chunk is " + std::to_string(policy.chunk) + ": pass how many steps, or 0 to let the library choose");
  return policy.threads > 0 ? policy.threads : omp_get_max_threads();
}

/// Calls task(0) ... task(count - 1) on the given number of threads, then throws the exception of the lowest task, if any.
template <class Task>
void parallel_tasks(int threads, std::int64_t count, Task task) {
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(count));
  threads = static_cast<int>(std::clamp<std::int64_t>(count, 1, threads > 0 ? threads : 1));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (std::int64_t i = 0; i < count; ++i) {
    try {
      task(i);
    } catch (...) {
      failures[static_cast<std::size_t>(i)] = std::current_exception();
    }
  }
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

#endif

/// Chunk k covers steps [bounds[k], bounds[k + 1]).
inline std::vector<std::int64_t> equal_chunks(std::int64_t length, std::int64_t chunk) {
  std::vector<std::int64_t> bounds;
  for (std::int64_t t = 0; t < length; t += (std::min)(chunk, length - t)) bounds.push_back(t);
  bounds.push_back(length);
  return bounds;
}

/// Chunks that keep `workers` equally busy. While one replays the first chunk, the others absorb one chunk each; then,
/// with outputs, all replay one chunk each, so that there is one chunk more than workers. Without outputs the absorbed
/// chunks are done. Either way the first chunk is `absorb_cost` times as long as the others.
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

/// x after step(lane, t, x) for each t in [first, last). It is a local of the loop, so that it can stay in registers.
template <sweep S, class Lane, class X, class Step>
X each_step(Lane lane, std::int64_t first, std::int64_t last, X x, Step step) {
  for (std::int64_t t = first; t < last; ++t) step(lane, t, x);
  return x;
}
/// The same, where it can indeed: with all that the loop calls made part of it. Left to itself, g++ calls an operator
/// that many scans of a program use, and the loop then takes up to twice the time.
template <sweep S, class Lane, class X, class Step>
requires S::in_registers
[[gnu::flatten]] X each_step(Lane lane, std::int64_t first, std::int64_t last, X x, Step step) {
  for (std::int64_t t = first; t < last; ++t) step(lane, t, x);
  return x;
}

/// Takes steps [first, last) of a lane.
template <sweep S>
sweep_state_t<S> replay_steps(lane_t<S> lane, std::int64_t first, std::int64_t last, sweep_state_t<S> state) {
  return each_step<S>(std::move(lane), first, last, std::move(state),
                      [](lane_t<S>& l, std::int64_t t, sweep_state_t<S>& x) { l.replay(t, x); });
}

template <sweep S>
sweep_element_t<S> absorb_steps(lane_t<S> lane, std::int64_t first, std::int64_t last) {
  sweep_element_t<S> element = lane.lift(first);
  return each_step<S>(std::move(lane), first + 1, last, std::move(element),
                      [](lane_t<S>& l, std::int64_t t, sweep_element_t<S>& x) { l.absorb(t, x); });
}

/// Whole lanes. Neighbours of a [time, lane] array walk through time together, to share cache lines.
template <sweep S>
void replay_lanes(const S& s, std::int64_t first, std::int64_t last) {
  if (last - first == 1) {
    auto lane = s.lane(first);
    lane.finish(replay_steps<S>(lane, 0, s.length(), lane.start()));
    return;
  }
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

/// Whether a state went out of the range of its numbers in a chunk: NaN, or infinite where it is one number. A product
/// of gains may, where no state on the way does. A state of another kind says by operator== whether it holds a NaN.
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

#if defined(_OPENMP)

template <sweep S>
void absorb_carry_replay(const S& s, int threads, const std::vector<std::int64_t>& bounds) {
  using state = sweep_state_t<S>;
  using element = sweep_element_t<S>;
  const auto chunks = static_cast<std::int64_t>(bounds.size()) - 1;
  const auto begin = [&](std::int64_t k) { return bounds[static_cast<std::size_t>(k)]; };
  const auto cell = [&](std::int64_t i, std::int64_t k) { return static_cast<std::size_t>(i * chunks + k); };
  std::vector<std::optional<element>> elements(static_cast<std::size_t>(s.lanes() * chunks));
  std::vector<std::optional<state>> states(elements.size());  // at the beginning of a chunk, then at its end

  // Absorb. The first chunk's state is known, so it is replayed at once; the last one's element is needed only where no
  // replay follows.
  const std::int64_t absorbed = S::has_outputs ? chunks - 1 : chunks;
  parallel_tasks(threads, s.lanes() * absorbed, [&](std::int64_t task) {
    const std::int64_t i = task % s.lanes(), k = task / s.lanes();
    auto lane = s.lane(i);
    if (k == 0) {
      states[cell(i, 0)] = replay_steps<S>(lane, 0, begin(1), lane.start());
    } else {
      elements[cell(i, k)] = absorb_steps<S>(lane, begin(k), begin(k + 1));
    }
  });
  // Carry. A chunk whose element takes the state out of range is replayed here, from the carry before it.
  std::vector<char> replayed(elements.size());
  const auto after = [&](std::int64_t i, std::int64_t k, const state& before) -> state {
    state x = s.act(*elements[cell(i, k)], before);
    if (!went_out_of_range(before, x)) return x;
    replayed[cell(i, k)] = true;
    return replay_steps<S>(s.lane(i), begin(k), begin(k + 1), before);
  };
  for (std::int64_t i = 0; i < s.lanes(); ++i) {
    for (std::int64_t k = 1; k < chunks; ++k) {
      const state& before = *states[cell(i, k - 1)];
      states[cell(i, k)].emplace(k == 1 ? before : after(i, k - 1, before));
    }
  }
  // Replay.
  if constexpr (S::has_outputs) {
    parallel_tasks(threads, s.lanes() * (chunks - 1), [&](std::int64_t task) {
      const std::int64_t i = task / (chunks - 1), k = 1 + task % (chunks - 1);
      if (replayed[cell(i, k)]) return;
      auto& x = states[cell(i, k)];
      x = replay_steps<S>(s.lane(i), begin(k), begin(k + 1), std::move(*x));
    });
  }
  for (std::int64_t i = 0; i < s.lanes(); ++i) {
    state& last = *states[cell(i, chunks - 1)];
    s.lane(i).finish(S::has_outputs ? last : after(i, chunks - 1, last));
  }
}

}  // namespace detail

template <sweep S>
void run_sweep(const omp& policy, const S& s) {
  const int threads = detail::threads_of(policy);
  const std::int64_t lanes = s.lanes(), length = s.length();
  constexpr std::int64_t shortest_split = 256;  // steps a thread: below, starting the threads costs more than it saves

  if (s.splits() && policy.chunk > 0 && policy.chunk < length) {
    detail::absorb_carry_replay(s, threads, detail::equal_chunks(length, policy.chunk));
    return;
  }
  const auto workers = static_cast<int>(threads / std::max<std::int64_t>(lanes, 1));
  if (s.splits() && policy.chunk == 0 && workers > 1 && lanes > 0 && length >= shortest_split * workers) {
    detail::absorb_carry_replay(s, threads, detail::uneven_chunks(length, workers, s.absorb_cost, S::has_outputs));
    return;
  }
  constexpr std::int64_t widest_block = 64;
  const std::int64_t block = std::clamp<std::int64_t>((lanes + threads - 1) / threads, 1, widest_block);
  const std::int64_t tasks = (lanes + block - 1) / block;
  if (tasks == 1) return detail::replay_lanes(s, 0, lanes);  // a short series is done before threads have started
  detail::parallel_tasks(threads, tasks, [&](std::int64_t task) {
    detail::replay_lanes(s, task * block, (std::min)(lanes, (task + 1) * block));
  });
}

#else

/// Does not compile where it is called: Work is what would have run.
template <class Work>
void openmp_is_off() {
  static_assert(!std::is_class_v<Work>,
                "kalscan::omp needs OpenMP: compile with -fopenmp, or link kalscan::omp in CMake");
}

}  // namespace detail

template <sweep S, class Work = S>
void run_sweep(const omp&, const S&) {
  detail::openmp_is_off<Work>();
}

#endif

}  // namespace kalscan
