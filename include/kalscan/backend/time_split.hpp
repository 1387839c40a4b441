// SPDX-License-Identifier: MIT
// The engine of the back ends that run tasks side by side: absorb, carry, replay over pieces of time. It is the only one
// of the host, and serves scans, recurrences, the Kalman filter and smoother, and the mixers, forwards and backwards.
//
// A chain is work that a state passes through from one end of time to the other: a lane of a scan, a series of a filter,
// a block of channels of a mixer. It is cut into pieces of time, numbered in the order in which the state meets them:
// from the first step on for a filter, from the last one on for a smoother or an adjoint. Chains do not depend on each
// other, and each may be cut in its own way. `run_chains` takes three passes, each a set of tasks that run side by side:
//
//     1. absorb   piece 0 of each chain, whose state is known, is replayed; every other piece becomes an element
//     2. carry    chain by chain, the elements take the state from the end of piece 0 to the beginning of every piece
//     3. replay   every piece takes its steps from there and writes its outputs
//
// A chain of one piece takes all its steps in the first pass. Who cuts: for a `sweep`, whose steps are all alike,
// <kalscan/backend/run_sweep.hpp>; a mixer cuts its chains itself (mixer/host/plan.hpp).
//
// Results depend on the cuts alone, never on how many tasks run at once or in which order: every element, carry and
// output comes from one task, with operands in the order of time. Memory: a state and an element for each piece, nothing
// per step, and nothing at all where no chain is cut. An exception of a task reaches the caller after the pass; of
// several, that of the lowest task.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/subnormals.hpp>

namespace kalscan {
namespace detail {

/// What the engine runs. All calls may come from several threads, for different chains or pieces.
///
///     chains(), pieces(i)          how many chains, and how many pieces chain i has: at least 1
///     start(i)                     the state before piece 0
///     replay(i, k, state)          takes piece k: changes the state, writes the outputs
///     absorb(i, k)                 piece k as an element
///     act(i, k, element, state)    the state after piece k from that before it, or nothing where the element cannot tell:
///                                  then piece k is replayed at once
///     finish(i, state)             takes the state after the last piece, when all outputs of the chain are there
///     has_outputs                  false when only finish matters: pieces are then absorbed or replayed, not both
template <class C>
using chain_state_t = decltype(std::declval<C&>().start(0));
template <class C>
using chain_element_t = decltype(std::declval<C&>().absorb(0, 0));
template <class C>
concept piecewise = requires(C& c, std::int64_t i, chain_state_t<C>& state, const chain_element_t<C>& element) {
  { c.chains() } -> std::same_as<std::int64_t>;
  { c.pieces(i) } -> std::same_as<std::int64_t>;
  { C::has_outputs } -> std::convertible_to<bool>;
  { c.act(i, i, element, std::as_const(state)) } -> std::same_as<std::optional<chain_state_t<C>>>;
  c.replay(i, i, state);
  c.finish(i, std::as_const(state));
};

/// Of several tasks that fail, the exception of the lowest one.
class first_failure {
 public:
  void keep(std::int64_t task, const std::exception_ptr& exception) {
    const std::lock_guard lock(mutex_);
    if (!exception_ || task < task_) task_ = task, exception_ = exception;
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::mutex mutex_{};
  std::int64_t task_ = 0;
  std::exception_ptr exception_{};
};

/// Calls task(0) ... task(count - 1) side by side; they may throw.
template <task_policy P, class Task>
void run_all(const P& p, std::int64_t count, Task task) {
  first_failure failure;
  const auto guarded = [&](std::int64_t i) {
    try {
      task(i);
    } catch (...) {
      failure.keep(i, std::current_exception());
    }
  };
  run_tasks(p, count, task_ref(guarded));
  failure.rethrow();
}

template <task_policy P, piecewise C>
void run_chains(const P& p, C c) {
  /// `after` is the state after a piece, until the next piece starts from it and leaves its own in its place.
  struct record {
    std::optional<chain_state_t<C>> after{};
    std::optional<chain_element_t<C>> element{};
    bool replayed = false;
  };
  struct piece {
    std::int64_t chain, k;
  };
  const auto whole = [&](std::int64_t i) {
    auto state = c.start(i);
    c.replay(i, 0, state);
    c.finish(i, state);
  };
  const std::int64_t chains = c.chains();
  std::int64_t count = 0, most = 0;
  for (std::int64_t i = 0; i < chains; ++i) {
    count += c.pieces(i);
    most = (std::max)(most, c.pieces(i));
  }
  if (most <= 1) return run_all(p, chains, whole);

  std::vector<record> records(static_cast<std::size_t>(count));
  std::vector<std::size_t> first;  // of the chains' records
  first.reserve(static_cast<std::size_t>(chains));
  count = 0;
  for (std::int64_t i = 0; i < chains; count += c.pieces(i++)) first.push_back(static_cast<std::size_t>(count));
  const auto at = [&](std::int64_t i, std::int64_t k) -> record& {
    return records[first[static_cast<std::size_t>(i)] + static_cast<std::size_t>(k)];
  };
  // The first pieces of all chains, then the second ones, and so on.
  std::vector<piece> order;
  order.reserve(records.size());
  for (std::int64_t i = 0; i < chains; ++i) order.push_back({i, 0});
  for (std::size_t j = 0; j < order.size(); ++j) {
    const auto [i, k] = order[j];
    if (k + 1 < c.pieces(i)) order.push_back({i, k + 1});
  }
  const auto run_pieces = [&](std::int64_t from, auto task) {
    run_all(p, std::ssize(order) - from, [&](std::int64_t t) {
      const auto [i, k] = order[static_cast<std::size_t>(from + t)];
      task(i, k);
    });
  };

  // Absorb. The last piece's element is needed only where no replay follows.
  const auto absorbs = [&](std::int64_t i, std::int64_t k) { return !C::has_outputs || k + 1 < c.pieces(i); };
  run_pieces(0, [&](std::int64_t i, std::int64_t k) {
    if (c.pieces(i) == 1) return whole(i);
    record& x = at(i, k);
    if (k == 0) {
      x.after.emplace(c.start(i));
      c.replay(i, 0, *x.after);
    } else if (absorbs(i, k)) {
      // Products of gains below one fade, and would stay subnormal for the rest of the piece.
      const no_new_subnormals guard;
      x.element.emplace(c.absorb(i, k));
    }
  });
  // Carry.
  run_all(p, chains, [&](std::int64_t i) {
    for (std::int64_t k = 1; k < c.pieces(i) && absorbs(i, k); ++k) {
      const auto& before = *at(i, k - 1).after;
      record& x = at(i, k);
      if (auto after = c.act(i, k, *x.element, before)) {
        x.after.emplace(std::move(*after));
      } else {
        x.after.emplace(before);
        c.replay(i, k, *x.after);
        x.replayed = true;
      }
    }
  });
  // Replay.
  if constexpr (C::has_outputs) {
    run_pieces(chains, [&](std::int64_t i, std::int64_t k) {
      if (!at(i, k).replayed) c.replay(i, k, *at(i, k - 1).after);
    });
  }
  for (std::int64_t i = 0; i < chains; ++i) {
    const std::int64_t last = c.pieces(i) - 1;
    if (last > 0) c.finish(i, *at(i, C::has_outputs ? last - 1 : last).after);
  }
}

}  // namespace detail
}  // namespace kalscan
