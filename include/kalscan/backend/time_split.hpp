// SPDX-License-Identifier: MIT
// The engine of the back ends that run tasks side by side: absorb, carry, replay over pieces of time. It is the only
// one of the host, and serves scans, recurrences, the Kalman filter and smoother, and the mixers, forwards and
// backwards.
//
// A chain is work that a state passes through from one end of time to the other: a lane of a scan, a series of a
// filter, neighbouring channels of a mixer. It is cut into pieces of time, numbered in the order in which the state meets
// them: from the first step on for a filter, from the last one on for a smoother or an adjoint. Chains do not depend on
// each other, and each may be cut in its own way. `run_chains` takes three passes, each a set of tasks that run side by
// side:
//
//     1. absorb   piece 0 of each chain, whose state is known, is replayed; every other piece becomes an element
//     2. carry    chain by chain, the elements take the state from the end of piece 0 to the beginning of every piece
//     3. replay   every piece takes its steps from there and writes its outputs
//
// A chain of one piece takes all its steps in the first pass. Over ranks (<kalscan/ranks/chains.hpp>) the same passes
// run on the pieces that a rank has, with a gather of elements between the first and the second. Who cuts: for a
// `sweep`, whose steps are all alike, <kalscan/backend/run_sweep.hpp>; mixers and models of functions cut their chains
// themselves (mixer/host/plan.hpp, kalman/series/chains.hpp).
//
// Results depend on the cuts alone, never on how many tasks run at once or in which order: every element, carry and
// output comes from one task, with operands in the order of time. Memory: a state and an element for each piece,
// nothing per step, and nothing at all where no chain is cut. An exception of a task reaches the caller after the pass;
// of several, that of the lowest task.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
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
///     act(i, k, element, state)    the state after piece k from that before it; or nothing, where the element is out of
///                                  range: then piece k is replayed at once
///     finish(i, state)             takes the state after the last piece, when all outputs of the chain are there
///     has_outputs                  false when only finish matters: no piece is then both absorbed and replayed
template <class C>
using chain_state_t = decltype(std::declval<C&>().start(0));

/// An X or none: X itself where it may be none, which takes far less to compile.
template <class X>
struct maybe_of {
  using type = std::optional<X>;
};
template <class X>
  requires X::may_be_none
struct maybe_of<X> {
  using type = X;
};
template <class X>
using maybe = typename maybe_of<X>::type;

template <class C>
using chain_element_t = decltype(std::declval<C&>().absorb(0, 0));
template <class C>
concept piecewise = requires(C& c, std::int64_t i, chain_state_t<C>& state, const chain_element_t<C>& element) {
  { c.chains() } -> std::same_as<std::int64_t>;
  { c.pieces(i) } -> std::same_as<std::int64_t>;
  { C::has_outputs } -> std::convertible_to<bool>;
  { c.act(i, i, element, std::as_const(state)) } -> std::same_as<maybe<chain_state_t<C>>>;
  c.replay(i, i, state);
  c.finish(i, std::as_const(state));
};

/// Of several tasks that fail, the exception of the lowest one.
class first_failure {
 public:
  void keep(std::int64_t task, const std::exception_ptr& exception) {
    while (taken_.test_and_set(std::memory_order_acquire)) {
    }
    if (!exception_ || task < task_) task_ = task, exception_ = exception;
    taken_.clear(std::memory_order_release);
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic_flag taken_{};  // for a few instructions, so rarely that no other waits for long: <mutex> takes long to compile
  std::int64_t task_ = 0;
  std::exception_ptr exception_{};
};

/// Calls task(0) ... task(count - 1) side by side; they may throw.
template <task_policy P>
void run_all(const P& p, std::int64_t count, task_ref task) {
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
template <task_policy P, class Task>
void run_all(const P& p, std::int64_t count, Task task) {
  run_all(p, count, task_ref(task));
}

/// Says that all pieces of every chain are here. Over ranks, others say it: there a rank has some neighbouring pieces.
struct all_pieces {
  static constexpr bool all_here(std::int64_t) { return true; }
  static constexpr bool first_here(std::int64_t) { return true; }
  static constexpr bool last_here(std::int64_t) { return true; }
};

/// The three passes over chains. `Here` says whether the first, the last and all pieces of a chain are here. Where the
/// first is not, somebody calls `arrive` between the first pass and the others.
template <task_policy P, piecewise C, class Here = all_pieces>
class chain_passes {
 public:
  using state = chain_state_t<C>;

  chain_passes(const P& p, C& c, Here here = {}) : p_(p), c_(c), here_(here) {
    const std::int64_t chains = c.chains();
    std::int64_t count = 0;
    offsets_.resize(static_cast<std::size_t>(chains));
    for (std::int64_t i = 0; i < chains; ++i) {
      offsets_[static_cast<std::size_t>(i)] = count;
      count += c.pieces(i);
    }
    summaries_ = std::vector<piece_summary>(static_cast<std::size_t>(count));
    arrivals_ = std::vector<maybe<state>>(static_cast<std::size_t>(chains));
    // The first pieces of all chains, then the second ones, and so on.
    order_ = std::vector<piece>(static_cast<std::size_t>(count));
    std::size_t known = 0;
    for (const bool first : {true, false}) {
      for (std::int64_t i = 0; i < chains; ++i) {
        if (here_.first_here(i) == first && c.pieces(i) > 0) order_[known++] = {i, 0};
      }
      if (first) starts_ = static_cast<std::int64_t>(known);
    }
    for (; pieces_ < static_cast<std::int64_t>(known); ++pieces_) {
      const auto [i, k] = order_[static_cast<std::size_t>(pieces_)];
      if (k + 1 < c.pieces(i)) order_[known++] = {i, k + 1};
    }
  }

  /// Gives chain i the state before the first piece that is here.
  void arrive(std::int64_t i, state x) { arrivals_[static_cast<std::size_t>(i)].emplace(std::move(x)); }

  void absorb() {
    run_pieces(0, [&](std::int64_t i, std::int64_t k) {
      if (c_.pieces(i) == 1 && here_.all_here(i)) return take_whole(c_, i);
      piece_summary& x = at(i, k);
      if (k == 0 && here_.first_here(i)) {
        const auto& arrived = arrivals_[static_cast<std::size_t>(i)];
        x.after.emplace(arrived ? *arrived : c_.start(i));
        c_.replay(i, 0, *x.after);
      } else if (absorbs(i, k)) {
        // Products of gains below one become subnormal, and would stay so, which is slow, for the rest of the piece.
        const no_new_subnormals guard;
        x.element.emplace(c_.absorb(i, k));
      }
    });
  }

  void carry(std::int64_t i) {
    for (std::int64_t k = here_.first_here(i) ? 1 : 0; k < c_.pieces(i) && absorbs(i, k); ++k) {
      const state& before = before_piece(i, k);
      piece_summary& x = at(i, k);
      if (auto after = c_.act(i, k, *x.element, before)) {
        x.after.emplace(std::move(*after));
      } else {
        x.after.emplace(before);
        c_.replay(i, k, *x.after);
        x.replayed = true;
      }
    }
  }
  void carry() {
    run_all(p_, c_.chains(), [&](std::int64_t i) { carry(i); });
  }

  void replay() {
    if constexpr (C::has_outputs) {
      run_pieces(starts_, [&](std::int64_t i, std::int64_t k) {
        if (!at(i, k).replayed) c_.replay(i, k, before_piece(i, k));
      });
    }
  }

  void finish() {
    for (std::int64_t i = 0; i < c_.chains(); ++i) {
      if (c_.pieces(i) > 1) c_.finish(i, end(i));
    }
  }

  /// The element of a piece, after `absorb`.
  const auto& element(std::int64_t i, std::int64_t k) { return *at(i, k).element; }
  /// The state after the last piece that is here, as the next rank needs it; after `carry`. There is such a piece.
  const state& leaving(std::int64_t i) { return *at(i, c_.pieces(i) - 1).after; }
  /// The state at the chain's end, after `replay`, where its last piece is here.
  const state& end(std::int64_t i) {
    const std::int64_t last = c_.pieces(i) - 1;
    if (!C::has_outputs || (last == 0 && here_.first_here(i))) return *at(i, last).after;
    return before_piece(i, last);  // which the last replay has changed
  }

  static void take_whole(C& c, std::int64_t i) {
    auto x = c.start(i);
    c.replay(i, 0, x);
    c.finish(i, x);
  }

 private:
  /// `after` is the state after a piece until the next piece is replayed, which overwrites it with its own.
  struct piece_summary {
    maybe<state> after{};
    maybe<chain_element_t<C>> element{};
    bool replayed = false;
  };
  struct piece {
    std::int64_t chain, k;
  };

  piece_summary& at(std::int64_t i, std::int64_t k) {
    return summaries_[static_cast<std::size_t>(offsets_[static_cast<std::size_t>(i)] + k)];
  }
  state& before_piece(std::int64_t i, std::int64_t k) {
    return k == 0 ? *arrivals_[static_cast<std::size_t>(i)] : *at(i, k - 1).after;
  }
  /// Whether piece k becomes an element. The last one of a chain need not where a replay follows.
  bool absorbs(std::int64_t i, std::int64_t k) const {
    return !C::has_outputs || k + 1 < c_.pieces(i) || !here_.last_here(i);
  }
  template <class Task>
  void run_pieces(std::int64_t from, Task task) {
    run_all(p_, pieces_ - from, [&](std::int64_t t) {
      const auto [i, k] = order_[static_cast<std::size_t>(from + t)];
      task(i, k);
    });
  }

  const P& p_;
  C& c_;
  Here here_;
  std::vector<piece_summary> summaries_{};
  std::vector<std::int64_t> offsets_{};  // of the chains' summaries
  std::vector<maybe<state>> arrivals_{};
  std::vector<piece> order_{};
  std::int64_t pieces_ = 0;
  std::int64_t starts_ = 0;  // the first entries of order_: the first pieces of chains that begin here
};

template <task_policy P, piecewise C>
void run_chains(const P& p, C c) {
  using passes = chain_passes<P, C>;
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < c.chains(); ++i) most = (std::max)(most, c.pieces(i));
  if (most <= 1) return run_all(p, c.chains(), [&](std::int64_t i) { passes::take_whole(c, i); });
  passes run(p, c);
  run.absorb();
  run.carry();
  run.replay();
  run.finish();
}

}  // namespace detail
}  // namespace kalscan
