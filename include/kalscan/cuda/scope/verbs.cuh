// SPDX-License-Identifier: MIT
// How the verbs of warp.cuh and block.cuh are made of scans of one element a thread.
#pragma once

#include <concepts>
#include <kalscan/cuda/scope/operators.cuh>
#include <kalscan/monoid.hpp>
#include <kalscan/monoids/reversed.hpp>
#include <kalscan/recurrence.hpp>
#include <type_traits>

namespace kalscan {

/// How many items a tile has. A type of its own, since items may be numbers too.
struct valid {
  int count;
  KALSCAN_HD constexpr explicit valid(int count_) : count(count_) {}
};

namespace detail {

/// A tile with as many items as the threads can hold, a number that is known when compiling.
struct full_tile {};
template <class P>
concept tile_fill = std::same_as<P, full_tile> || std::same_as<P, valid>;

/// Whether a scan combines each item with those before it, or these alone.
enum class bounds { inclusive, exclusive };

/// What a scan over threads leaves in each of them. Meaningless in threads beyond the valid ones.
template <class E>
struct thread_scan {
  E earlier;  ///< all threads before this one combined; meaningless in the first
  E total;    ///< all valid threads combined, the same in every thread
};

/// The verbs of warp and block, which are documented in warp.cuh. `Scope` has `threads`, `thread_rank()` and, for a
/// monoid m, one element x a thread and the number of threads that hold one (the same in all threads;
/// std::integral_constant<int, threads> where all do),
///
///     scan<Kind>(m, x, valid)        thread_scan, from the last thread to the first of a suffix scan
///     inclusive<Kind>(m, x, valid)   the elements up to this thread's own combined
///     total(m, x, valid)               all of them combined, in every thread
template <class Scope, device_monoid M, int Threads>
class scope_verbs {
 public:
  using value_type = element_t<M>;
  using all_threads = std::integral_constant<int, Threads>;

  template <int N, tile_fill Filled = full_tile>
  __device__ void inclusive_scan(value_type (&items)[N], Filled filled = {}) {
    run<scan_kind::prefix, bounds::inclusive>(items, nullptr, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void inclusive_scan(value_type (&items)[N], value_type& carry, Filled filled = {}) {
    run<scan_kind::prefix, bounds::inclusive>(items, &carry, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void exclusive_scan(value_type (&items)[N], Filled filled = {}) {
    run<scan_kind::prefix, bounds::exclusive>(items, nullptr, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void exclusive_scan(value_type (&items)[N], value_type& carry, Filled filled = {}) {
    run<scan_kind::prefix, bounds::exclusive>(items, &carry, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void inclusive_suffix_scan(value_type (&items)[N], Filled filled = {}) {
    run<scan_kind::suffix, bounds::inclusive>(items, nullptr, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void inclusive_suffix_scan(value_type (&items)[N], value_type& carry, Filled filled = {}) {
    run<scan_kind::suffix, bounds::inclusive>(items, &carry, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void exclusive_suffix_scan(value_type (&items)[N], Filled filled = {}) {
    run<scan_kind::suffix, bounds::exclusive>(items, nullptr, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ void exclusive_suffix_scan(value_type (&items)[N], value_type& carry, Filled filled = {}) {
    run<scan_kind::suffix, bounds::exclusive>(items, &carry, filled);
  }
  template <int N, tile_fill Filled = full_tile>
  __device__ value_type reduce(const value_type (&items)[N], Filled filled = {}) {
    if (threads_with<N>(filled) == 0) return monoid_.identity();
    const value_type sum = fold<N, scan_kind::prefix>(
        monoid_, [&](int i) { return items[i]; }, items_with<N>(filled));
    return scope().total(monoid_, sum, threads_with<N>(filled));
  }

  // One item a thread.
  template <tile_fill Filled = full_tile>
  __device__ value_type inclusive_scan(const value_type& item, Filled filled = {}) {
    value_type items[1] = {item};
    inclusive_scan(items, filled);
    return items[0];
  }
  template <tile_fill Filled = full_tile>
  __device__ value_type exclusive_scan(const value_type& item, Filled filled = {}) {
    value_type items[1] = {item};
    exclusive_scan(items, filled);
    return items[0];
  }
  template <tile_fill Filled = full_tile>
  __device__ value_type inclusive_suffix_scan(const value_type& item, Filled filled = {}) {
    value_type items[1] = {item};
    inclusive_suffix_scan(items, filled);
    return items[0];
  }
  template <tile_fill Filled = full_tile>
  __device__ value_type exclusive_suffix_scan(const value_type& item, Filled filled = {}) {
    value_type items[1] = {item};
    exclusive_suffix_scan(items, filled);
    return items[0];
  }
  template <tile_fill Filled = full_tile>
  __device__ value_type reduce(const value_type& item, Filled filled = {}) {
    const value_type items[1] = {item};
    return reduce(items, filled);
  }

  template <int N, device_recurrence R, class Read, class Visit, tile_fill Filled = full_tile>
  __device__ void scan_states(const R& r, Read read, typename R::state_type& carry, Visit visit,
                              Filled filled = {}) {
    static_assert(std::same_as<monoid_t<R>, M>, "the scope's monoid is not the recurrence's");
    const int n = items_with<N>(filled);
    const auto start = start_run(r, absorb_run<N>(r, read, n), carry, threads_with<N>(filled));
    replay_run<N>(r, read, start, visit, n);
  }
  template <int N, device_recurrence R, tile_fill Filled = full_tile>
  __device__ void scan_states(const R& r, const typename R::input_type (&inputs)[N],
                              typename R::state_type (&states)[N], typename R::state_type& carry, Filled filled = {}) {
    scan_states<N>(
        r, [&](int i) { return inputs[i]; }, carry, [&](int i, const auto&, const auto& after) { states[i] = after; },
        filled);
  }

  // The three steps of scan_states (absorb, carry, replay), for kernels that do something between them.

  /// How many of the items from this thread's first one on are filled: perhaps more than N, not positive where none
  /// are.
  template <int N, tile_fill Filled>
  __device__ int items_with(Filled filled) const {
    if constexpr (std::same_as<Filled, full_tile>) {
      return N;
    } else {
      return filled.count - scope().thread_rank() * N;
    }
  }
  /// How many threads hold items: a constant where all do.
  template <int N, tile_fill Filled>
  __device__ static auto threads_with(Filled filled) {
    if constexpr (std::same_as<Filled, full_tile>) {
      return all_threads{};
    } else {
      return (filled.count + N - 1) / N;
    }
  }
  /// The element of this thread's inputs, the first n of its N (all where n is larger); meaningless where n is
  /// not positive.
  template <int N, device_recurrence R, class Read>
  __device__ static element_t<monoid_t<R>> absorb_run(const R& r, Read read, int n) {
    element_t<monoid_t<R>> sum;
    if (n > 0) sum = r.lift(read(0));
#pragma unroll
    for (int i = 1; i < N; ++i) {
      if (i < n) sum = kalscan::absorb(r, sum, read(i));
    }
    return sum;
  }
  /// The state before this thread's first input, from the elements of the `valid` threads that hold inputs (an int, or
  /// all_threads) and the state before the first one's, which becomes the state after the last one's.
  template <device_recurrence R, class Count>
  __device__ typename R::state_type start_run(const R& r, const value_type& element, typename R::state_type& carry,
                                              Count valid) {
    if (valid == 0) return carry;
    const thread_scan<value_type> threads = scope().template scan<scan_kind::prefix>(monoid_, element, valid);
    typename R::state_type start = carry;
    if (scope().thread_rank() > 0 && scope().thread_rank() < valid) start = r.act(threads.earlier, carry);
    carry = r.act(threads.total, carry);
    return start;
  }
  /// Takes the steps of the first n inputs (all where n is larger); returns the state after them.
  template <int N, device_recurrence R, class Read, class Visit>
  __device__ static typename R::state_type replay_run(const R& r, Read read, typename R::state_type state, Visit visit,
                                                      int n) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (i < n) {
        const typename R::state_type before = state;
        state = r.step(before, read(i));
        visit(i, before, state);
      }
    }
    return state;
  }

 protected:
  __device__ explicit scope_verbs(const M& m) : monoid_(m) {}

 private:
  M monoid_;

  __device__ Scope& scope() { return static_cast<Scope&>(*this); }
  __device__ const Scope& scope() const { return static_cast<const Scope&>(*this); }

  /// The item at step k of the scan's order.
  template <int N, scan_kind Kind>
  __device__ static constexpr int item_at(int k) {
    return Kind == scan_kind::suffix ? N - 1 - k : k;
  }
  /// Items 0 ... n - 1 (all where n is larger) combined, in the scan's order.
  template <int N, scan_kind Kind, class Op, class Read>
  __device__ static value_type fold(const Op& op, Read read, int n) {
    value_type sum;
    bool any = false;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const int i = item_at<N, Kind>(k);
      if (i < n) {
        sum = any ? op(sum, read(i)) : read(i);
        any = true;
      }
    }
    return sum;
  }

  template <scan_kind Kind, bounds Bounds, int N, class Filled>
  __device__ void run(value_type (&items)[N], value_type* carry, Filled filled) {
    if constexpr (Kind == scan_kind::suffix) {
      run_with<Kind, Bounds>(reversed<M>{monoid_}, items, carry, filled);
    } else {
      run_with<Kind, Bounds>(monoid_, items, carry, filled);
    }
  }

  template <scan_kind Kind, bounds Bounds, class Op, int N, class Filled>
  __device__ void run_with(const Op& op, value_type (&items)[N], value_type* carry, Filled filled) {
    const int n = items_with<N>(filled);
    const auto threads = threads_with<N>(filled);
    if (threads <= 0) return;
    const bool first = scope().thread_rank() == (Kind == scan_kind::suffix ? threads - 1 : 0);
    if constexpr (N == 1 && Bounds == bounds::inclusive) {
      if (carry == nullptr) {
        const value_type sum = scope().template inclusive<Kind>(op, items[0], threads);
        if (n > 0) items[0] = sum;
        return;
      }
    }
    value_type sum = fold<N, Kind>(
        op, [&](int i) { return items[i]; }, n);
    if (carry != nullptr && first) sum = op(*carry, sum);  // the scan hands it on to everyone
    const thread_scan<value_type> scanned = scope().template scan<Kind>(op, sum, threads);
    value_type running = first ? (carry != nullptr ? *carry : op.identity()) : scanned.earlier;
    bool any = !first || carry != nullptr;  // else `running` is a mere placeholder, which no operator sees
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const int i = item_at<N, Kind>(k);
      if (i < n) {
        const value_type item = items[i];
        if constexpr (Bounds == bounds::exclusive) items[i] = running;
        running = any ? op(running, item) : item;
        any = true;
        if constexpr (Bounds == bounds::inclusive) items[i] = running;
      }
    }
    if (carry != nullptr) *carry = scanned.total;
  }
};

}  // namespace detail
}  // namespace kalscan
