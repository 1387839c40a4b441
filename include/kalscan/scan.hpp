// SPDX-License-Identifier: MIT
// The verbs: reduce, scans from either end, and the states of a recurrence. One signature on every back end.
//
// The first argument is the policy: kalscan::seq{}, kalscan::omp{.threads = 4}, ... (include the back end's header).
// `in` and `out` are random-access ranges of one size, or `sequences` views of one shape, which hold many sequences.
// `out` may be `in` itself; a partial overlap is an error that is not detected. Wrong sizes throw
// std::invalid_argument, before anything is written. Numbers that would lose digits in `in`'s or `out`'s type (a double
// in an int) do not compile; a double may be rounded to a float. `out` may be a std::vector<bool>, whose bits other
// policies than seq write by way of a copy of a byte each. What a policy guarantees about bits, threads and memory
// stands at the policy.
//
// For one sequence, `initial` acts before everything and defaults to the identity; the value returned is the total with
// `initial` included, so that scan(A ++ B) is scan(A), then scan(B) with A's total as its initial value. For
// `sequences`, `initial` lists one value a sequence (none: the identity), and the totals go to `final`, where it is not
// empty; the two may be the same memory.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include <kalscan/backend/contract.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/monoids/reversed.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/scan/misuse.hpp>
#include <kalscan/scan/rows.hpp>
#include <kalscan/sequences.hpp>

namespace kalscan {
namespace detail {

/// What is written at each step: nothing, or the state before or after it.
enum class emit { nothing, before, after };

/// The cost of one absorb over that of one step: what the recurrence says in `absorb_cost`, else 1.
template <recurrence R>
constexpr double absorb_cost_of() {
  if constexpr (requires { R::absorb_cost; }) {
    return R::absorb_cost;
  } else {
    return 1;
  }
}

/// A recurrence over rows, as a sweep.
template <emit Emit, recurrence R, class In, class Out, class Initial, class Final>
struct recurrence_sweep {
  using state_type = typename R::state_type;
  using element = element_t<monoid_t<R>>;

  R recurrence;
  In in;
  Out out;
  Initial initial;
  Final final;

  static constexpr bool has_outputs = Emit != emit::nothing, goes_back = is_reversed<In>;
  static constexpr bool in_registers = std::is_trivially_copyable_v<state_type> &&
                                       std::is_trivially_copyable_v<element> &&
                                       sizeof(state_type) <= 64;  // more would not fit, and g++ makes worse loops of it
  static constexpr double absorb_cost = absorb_cost_of<R>();

  std::int64_t lanes() const { return in.count(); }
  std::int64_t length() const { return in.length; }
  bool splits() const { return true; }
  state_type act(const element& x, const state_type& s) const { return recurrence.act(x, s); }

  struct lane_type {
    const recurrence_sweep* sweep;
    decltype(std::declval<const In&>()[0]) in;
    decltype(std::declval<const Out&>()[0]) out;
    std::int64_t index;

    state_type start() const { return sweep->initial(index); }
    void finish(const state_type& s) const { sweep->final(index, s); }
    element lift(std::int64_t t) const { return sweep->recurrence.lift(in[t]); }
    void absorb(std::int64_t t, element& x) const { x = kalscan::absorb(sweep->recurrence, x, in[t]); }
    // Left to itself, g++ 12 calls this in the parallel loops, and the state goes through memory: twice the time.
    [[gnu::always_inline]] void replay(std::int64_t t, state_type& s) const {
      if constexpr (Emit == emit::before) {
        const typename R::input_type input = in[t];  // out may be in
        detail::write(out[t], s);
        s = sweep->recurrence.step(s, input);
      } else {
        s = sweep->recurrence.step(s, in[t]);
        if constexpr (Emit == emit::after) detail::write(out[t], s);
      }
    }
  };
  lane_type lane(std::int64_t i) const { return {this, in[i], out[i], i}; }
};

template <emit Emit, host_policy P, recurrence R, class In, class Out>
typename R::state_type scan_one(const P& p, const R& r, In in, Out out, const typename R::state_type& initial) {
  typename R::state_type total = initial;
  const auto start = [&](std::int64_t) { return initial; };
  const auto finish = [&](std::int64_t, const typename R::state_type& s) { total = s; };
  run_sweep(p, recurrence_sweep<Emit, R, In, Out, decltype(start), decltype(finish)>{r, in, out, start, finish});
  return total;
}

template <emit Emit, host_policy P, recurrence R, class In, class Out, class Start>
void scan_many(const P& p, const R& r, In in, Out out, Start start, std::span<typename R::state_type> final) {
  const auto finish = [&](std::int64_t i, const typename R::state_type& s) {
    if (!final.empty()) final[static_cast<std::size_t>(i)] = s;
  };
  run_sweep(p, recurrence_sweep<Emit, R, In, Out, Start, decltype(finish)>{r, in, out, start, finish});
}

template <class R>
concept readable = sized_random_access_range<R>;

// Arguments that take part in no deduction, so that vectors convert to spans and writable views to readable ones.
template <class M>
using elements_in = sequences<const element_t<M>>;
template <class M>
using elements_out = sequences<element_t<M>>;
template <class M>
using values_in = std::span<const element_t<M>>;
template <class M>
using values_out = std::span<element_t<M>>;

/// Checks sizes, turns ranges into rows, and mirrors both for a suffix scan.
template <emit Emit, scan_kind Kind, host_policy P, monoid M, readable In, readable Out>
element_t<M> scan_range(const char* verb, const P& p, const M& m, In& in, Out& out, const element_t<M>& initial) {
  require_range_to_read<In, element_t<M>>();
  require_range_to_write<Out, element_t<M>>();
  const range_rows<In> from(in);
  check_arguments(p, [&] { require_size(verb, "out", range_rows<Out>(out).length, from.length); });
  return with_rows_to_write<P>(out, [&](auto to) {
    if constexpr (Kind == scan_kind::suffix) {
      return scan_one<Emit>(p, running<reversed<M>>{{m}}, reversed_rows(from), reversed_rows(to), initial);
    } else {
      return scan_one<Emit>(p, running<M>{m}, from, to, initial);
    }
  });
}

template <emit Emit, scan_kind Kind, host_policy P, monoid M, class T>
void scan_sequences(const char* verb, const P& p, const M& m, const sequences<const T>& in, const sequences<T>& out,
                    std::span<const element_t<M>> initial, std::span<element_t<M>> final) {
  const array_rows<const T> from(in);
  const array_rows<T> to(out);
  check_arguments(p, [&] {
    require_same_shape(verb, in, out);
    if (!initial.empty()) require_size(verb, "initial", std::ssize(initial), from.count());
    if (!final.empty()) require_size(verb, "final", std::ssize(final), from.count());
  });
  const auto start = [&](std::int64_t i) -> element_t<M> {
    return initial.empty() ? m.identity() : initial[static_cast<std::size_t>(i)];
  };
  if constexpr (Kind == scan_kind::suffix) {
    scan_many<Emit>(p, running<reversed<M>>{{m}}, reversed_rows(from), reversed_rows(to), start, final);
  } else {
    scan_many<Emit>(p, running<M>{m}, from, to, start, final);
  }
}

}  // namespace detail

/// initial, in[0], ..., in[n - 1] combined.
template <host_policy P, monoid M, detail::readable In>
[[nodiscard]] element_t<M> reduce(const P& p, const M& m, In&& in, const element_t<M>& initial) {
  detail::require_range_to_read<In, element_t<M>>();
  const detail::range_rows<std::remove_reference_t<In>> rows(in);
  return detail::scan_one<detail::emit::nothing>(p, running<M>{m}, rows, rows, initial);
}
template <host_policy P, monoid M, detail::readable In>
[[nodiscard]] element_t<M> reduce(const P& p, const M& m, In&& in) {
  return kalscan::reduce(p, m, in, m.identity());
}
/// Each sequence combined into final[b * lanes + l].
template <host_policy P, monoid M>
void reduce(const P& p, const M& m, const detail::elements_in<M>& in, detail::values_out<M> final,
            detail::values_in<M> initial = {}) {
  const detail::array_rows<const element_t<M>> rows(in);
  check_arguments(p, [&] {
    detail::require_valid("reduce", "in", in);
    detail::require_size("reduce", "final", std::ssize(final), rows.count());
    if (!initial.empty()) detail::require_size("reduce", "initial", std::ssize(initial), rows.count());
  });
  const auto start = [&](std::int64_t i) -> element_t<M> {
    return initial.empty() ? m.identity() : initial[static_cast<std::size_t>(i)];
  };
  detail::scan_many<detail::emit::nothing>(p, running<M>{m}, rows, rows, start, final);
}

/// out[t] = initial, in[0], ..., in[t] combined.
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> inclusive_scan(const P& p, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  return detail::scan_range<detail::emit::after, detail::scan_kind::prefix>("inclusive_scan", p, m, in, out, initial);
}
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> inclusive_scan(const P& p, const M& m, In&& in, Out&& out) {
  return kalscan::inclusive_scan(p, m, in, out, m.identity());
}
template <host_policy P, monoid M>
void inclusive_scan(const P& p, const M& m, const detail::elements_in<M>& in, const detail::elements_out<M>& out,
    detail::values_in<M> initial = {}, detail::values_out<M> final = {}) {
  detail::scan_sequences<detail::emit::after, detail::scan_kind::prefix>("inclusive_scan", p, m, in, out, initial,
                                                                         final);
}

/// out[t] = initial, in[0], ..., in[t - 1] combined.
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> exclusive_scan(const P& p, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  return detail::scan_range<detail::emit::before, detail::scan_kind::prefix>("exclusive_scan", p, m, in, out, initial);
}
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> exclusive_scan(const P& p, const M& m, In&& in, Out&& out) {
  return kalscan::exclusive_scan(p, m, in, out, m.identity());
}
template <host_policy P, monoid M>
void exclusive_scan(const P& p, const M& m, const detail::elements_in<M>& in, const detail::elements_out<M>& out,
    detail::values_in<M> initial = {}, detail::values_out<M> final = {}) {
  detail::scan_sequences<detail::emit::before, detail::scan_kind::prefix>("exclusive_scan", p, m, in, out, initial,
                                                                          final);
}

/// out[t] = in[t], ..., in[n - 1], initial combined: the mirror image of inclusive_scan.
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> inclusive_suffix_scan(const P& p, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  return detail::scan_range<detail::emit::after, detail::scan_kind::suffix>("inclusive_suffix_scan", p, m, in, out,
                                                                            initial);
}
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> inclusive_suffix_scan(const P& p, const M& m, In&& in, Out&& out) {
  return kalscan::inclusive_suffix_scan(p, m, in, out, m.identity());
}
template <host_policy P, monoid M>
void inclusive_suffix_scan(const P& p, const M& m, const detail::elements_in<M>& in, const detail::elements_out<M>& out,
    detail::values_in<M> initial = {}, detail::values_out<M> final = {}) {
  detail::scan_sequences<detail::emit::after, detail::scan_kind::suffix>("inclusive_suffix_scan", p, m, in, out,
                                                                         initial, final);
}

/// out[t] = in[t + 1], ..., in[n - 1], initial combined: the mirror image of exclusive_scan.
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> exclusive_suffix_scan(const P& p, const M& m, In&& in, Out&& out, const element_t<M>& initial) {
  return detail::scan_range<detail::emit::before, detail::scan_kind::suffix>("exclusive_suffix_scan", p, m, in, out,
                                                                             initial);
}
template <host_policy P, monoid M, detail::readable In, detail::readable Out>
element_t<M> exclusive_suffix_scan(const P& p, const M& m, In&& in, Out&& out) {
  return kalscan::exclusive_suffix_scan(p, m, in, out, m.identity());
}
template <host_policy P, monoid M>
void exclusive_suffix_scan(const P& p, const M& m, const detail::elements_in<M>& in, const detail::elements_out<M>& out,
    detail::values_in<M> initial = {}, detail::values_out<M> final = {}) {
  detail::scan_sequences<detail::emit::before, detail::scan_kind::suffix>("exclusive_suffix_scan", p, m, in, out,
                                                                          initial, final);
}

/// The states of a recurrence: out[t] is the state after in[0], ..., in[t] from `initial`. Returns the last one
/// (`initial` when `in` is empty), which can be fed back as the initial state of what follows.
template <host_policy P, recurrence R, detail::readable In, detail::readable Out>
typename R::state_type scan_states(const P& p, const R& r, In&& in, Out&& out, const typename R::state_type& initial) {
  using out_range = std::remove_reference_t<Out>;
  detail::require_range_to_read<In, typename R::input_type>();
  detail::require_range_to_write<Out, typename R::state_type>();
  const detail::range_rows<std::remove_reference_t<In>> from(in);
  check_arguments(p, [&] {
    detail::require_size("scan_states", "out", detail::range_rows<out_range>(out).length, from.length);
  });
  return detail::with_rows_to_write<P>(
      out, [&](auto to) { return detail::scan_one<detail::emit::after>(p, r, from, to, initial); });
}
/// One initial state a sequence, and one final state where `final` is not empty.
template <host_policy P, recurrence R>
void scan_states(const P& p, const R& r, const std::type_identity_t<sequences<const typename R::input_type>>& in,
                 const std::type_identity_t<sequences<typename R::state_type>>& out,
                 std::type_identity_t<std::span<const typename R::state_type>> initial,
                 std::type_identity_t<std::span<typename R::state_type>> final = {}) {
  const detail::array_rows<const typename R::input_type> from(in);
  const detail::array_rows<typename R::state_type> to(out);
  check_arguments(p, [&] {
    detail::require_same_shape("scan_states", in, out);
    detail::require_size("scan_states", "initial", std::ssize(initial), from.count());
    if (!final.empty()) detail::require_size("scan_states", "final", std::ssize(final), from.count());
  });
  const auto start = [&](std::int64_t i) { return initial[static_cast<std::size_t>(i)]; };
  detail::scan_many<detail::emit::after>(p, r, from, to, start, final);
}

}  // namespace kalscan
