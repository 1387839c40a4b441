// SPDX-License-Identifier: MIT
// Series as chains of chunks, for the engine of the host's back ends (<kalscan/backend/time_split.hpp>).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/run_sweep.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <optional>
#include <vector>

namespace kalscan::detail {

template <class Belief>
bool is_finite_state(const Belief& x) {
  return judge_belief(x) == step_failure::none;
}
template <class T, int N>
bool is_finite_state(const small_likelihood<T, N>& x) {
  return is_finite_state(small_belief<T, N>{x.eta, x.J});
}
template <class T, int N>
bool is_finite_state(const small_root_likelihood<T, N>& x) {
  return is_finite_state(small_root_belief<T, N>{x.w, x.Z});
}

/// A chain is a series, its pieces are the chunks of the traversal (kalman/device/README.md says what one is).
template <class Traversal>
class series_chains {
 public:
  using state = typename Traversal::state;
  using element = typename Traversal::element;

  static constexpr bool has_outputs = true;
  /// Whether a chunk is replayed at once if its element makes a state that is not finite of one that is. The smoother's
  /// is not: its results may overwrite the filter's, which the neighbouring chunk (earlier in time) still has to read.
  static constexpr bool replays_what_overflows = Traversal::replay_type::direction > 0;

  explicit series_chains(const Traversal& x) : x_(x) {
    std::size_t count = 0;
    offsets_.reserve(static_cast<std::size_t>(chains()));
    for (std::int64_t i = 0; i < chains(); ++i) {
      offsets_.push_back(count);
      count += static_cast<std::size_t>(pieces(i));
    }
    sums_.resize(count);
  }

  std::int64_t chains() const { return x_.series.count; }
  std::int64_t pieces(std::int64_t i) const { return (std::max)(x_.chunks(i), std::int64_t{1}); }

  state start(std::int64_t i) const {
    x_.begin(i);
    return x_.start(i);
  }
  void replay(std::int64_t i, std::int64_t k, state& s) {
    if (x_.chunks(i) == 0) return;
    typename Traversal::replay_type replay(x_, i, k, s, k == 0 && pieces(i) > 1);
    sum_of(i, k) = replay_steps_into(replay, x_.out);
    s = replay.after();
  }
  element absorb(std::int64_t i, std::int64_t k) const { return x_.absorb(i, k); }
  std::optional<state> act(std::int64_t, std::int64_t, const element& x, const state& before) const {
    std::optional<state> after(Traversal::act(x, before));
    if (replays_what_overflows && !is_finite_state(*after) && is_finite_state(before)) after.reset();
    return after;
  }
  void finish(std::int64_t i, const state&) {
    if (!x_.has_sum() || x_.chunks(i) == 0) return;
    typename Traversal::sum total = 0;
    for (std::int64_t k = 0; k < pieces(i); ++k) total += sum_of(i, k);
    x_.finish_sum(i, total);
  }

 private:
  typename Traversal::sum& sum_of(std::int64_t i, std::int64_t k) {
    return sums_[offsets_[static_cast<std::size_t>(i)] + static_cast<std::size_t>(k)];
  }

  const Traversal& x_;
  std::vector<typename Traversal::sum> sums_{};  // of the chunks, added in their order
  std::vector<std::size_t> offsets_{};           // where those of a series begin
};

/// Steps of a chunk on the host: those that the policy gives; else whole series, unless there are at least two workers
/// for each and 256 steps for each of these.
template <task_policy P>
std::int64_t host_chunk(const P& policy, const series_layout& series) {
  const std::int64_t longest = (std::max)(series.longest, std::int64_t{1});
  if (const std::int64_t given = chunk_length(policy); given > 0) return (std::min)(given, longest);
  const int beside = workers_beside(worker_count(policy), series.count, longest);
  // While one worker replays the first chunk the others absorb one each; then all replay one each.
  return beside > 1 ? (longest + beside) / (beside + 1) : longest;
}

/// Runs a traversal whose chunk is that of host_chunk.
template <task_policy P, class Traversal>
void run_series_on_host(const P& policy, const Traversal& x) {
  run_chains(policy, series_chains<Traversal>(x));
}

/// Runs a traversal whose series are one chunk each, or none.
template <task_policy P, class Traversal>
void run_whole_series_on_host(const P& policy, const Traversal& x) {
  run_all(policy, x.series.count, [&](std::int64_t i) {
    x.begin(i);
    if (x.chunks(i) > 0) replay_chunk(x, i, 0, x.start(i));
  });
}

}  // namespace kalscan::detail
