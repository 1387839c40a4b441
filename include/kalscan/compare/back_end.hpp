// SPDX-License-Identifier: MIT
// What <kalscan/compare.hpp> runs: a scan in host memory, and a back end as a name and a callable. A new one is a few
// lines.
#pragma once

#include <functional>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/compare/calls.hpp>
#include <kalscan/scan.hpp>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {

/// The recurrence that a monoid's scan is, or the recurrence itself.
template <class X>
struct scanned {
  using type = X;
  static const X& recurrence(const X& r) { return r; }
};
template <monoid M>
struct scanned<M> {
  using type = running<M>;
  static running<M> recurrence(const M& m) { return {m}; }
};
template <class X>
using scan_input_t = typename scanned<X>::type::input_type;
template <class X>
using scan_state_t = typename scanned<X>::type::state_type;

/// One inclusive scan of a monoid, or the states of a recurrence, in host memory: out[t] is the state after in[0], ...,
/// in[t] from `initial` (of a monoid the identity).
template <class X>
struct scan_call {
  X op;
  std::span<const scan_input_t<X>> in;
  scan_state_t<X> initial;
  std::span<scan_state_t<X>> out;
};

/// A name, and a callable that takes a scan_call: it either does the scan, or returns a compare_run that does, for
/// whoever must prepare something or has a clock of its own.
template <class X>
struct back_end {
  std::string name;
  std::function<compare_run(const scan_call<X>&)> prepare{};

  template <class Scan>
  back_end(std::string name_, Scan scan) : name(std::move(name_)) {
    if constexpr (std::is_void_v<std::invoke_result_t<Scan&, const scan_call<X>&>>) {
      prepare = [scan](const scan_call<X>& call) { return run_on_host([scan, call]() mutable { scan(call); }); };
    } else {
      prepare = scan;
    }
  }
};

/// A row that says why a back end is not there.
template <class X>
[[nodiscard]] back_end<X> absent_back_end(const std::string& name, const std::string& why) {
  return {name, [why](const scan_call<X>&) -> compare_run { throw back_end_absent(why); }};
}

namespace detail {

template <class X, class Policy>
void scan_on(const Policy& policy, const scan_call<X>& call) {
  scan_states(policy, scanned<X>::recurrence(call.op), call.in, call.out, call.initial);
}

}  // namespace detail

// Functions that differ with and without OpenMP, and those that call them, have different names too: a program may have
// units of both kinds.
#if defined(_OPENMP)
inline namespace with_openmp {
#else
inline namespace without_openmp {
#endif

/// The processors' powers of two, and all of them.
[[nodiscard]] inline std::vector<int> compared_threads() {
#if defined(_OPENMP)
  const int all = omp_get_num_procs();
#else
  const int all = 1;
#endif
  std::vector<int> threads;
  for (int n = 1; n < all; n *= 2) threads.push_back(n);
  threads.push_back(all);
  return threads;
}

/// Those that need nothing but this library and the standard one: seq, omp, and std::inclusive_scan for a monoid.
template <class X>
[[nodiscard]] std::vector<back_end<X>> host_back_ends(
    [[maybe_unused]] const std::vector<int>& threads = compared_threads()) {
  std::vector<back_end<X>> all;
  all.emplace_back("seq", [](const scan_call<X>& c) { detail::scan_on(seq{}, c); });
#if defined(_OPENMP)
  for (const int n : threads) {
    all.emplace_back("omp{" + std::to_string(n) + "}", [n](const scan_call<X>& c) { detail::scan_on(omp{n}, c); });
  }
#else
  all.push_back(absent_back_end<X>("omp", "compiled without OpenMP"));
#endif
  if constexpr (monoid<X>) {
    all.emplace_back("std::inclusive_scan", [](const scan_call<X>& c) {
      std::inclusive_scan(c.in.begin(), c.in.end(), c.out.begin(), c.op, c.initial);
    });
  }
  return all;
}

}  // inline namespace
}  // namespace kalscan
