// SPDX-License-Identifier: MIT
// Which back end for this operator, at this size? Runs them all and shows time, error and repeatability. Host only.
//
//     const auto rows = kalscan::compare(my_monoid{}, draw_element, kalscan::relative(1e-5), {1000, 1'000'000});
//     kalscan::print_table(std::cout, rows);
//
// The laws are checked first; an operator that breaks one is not timed. A back end of one's own is a name and a
// callable:
//
//     const auto call = [](const auto& scan) { my_scan(scan.op, scan.in, scan.initial, scan.out); };
//     const kalscan::back_end<my_monoid> mine{"mine", call};
//     kalscan::compare(my_monoid{}, draw_element, kalscan::exact, {1000}, {}, {mine});
//
// Those of std::execution, Thrust and CUDA are in compare/parallel_std.hpp, compare/thrust.hpp and cuda/compare.cuh.
#pragma once

#include <cstdint>
#include <kalscan/compare/back_end.hpp>
#include <kalscan/compare/calls.hpp>
#include <kalscan/compare/scan_error.hpp>
#include <kalscan/compare/widen.hpp>
#include <kalscan/laws.hpp>
#include <kalscan/support/values.hpp>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {

/// Thrown instead of timing an operator that breaks a law: the message shows the law, the operands and the seed.
struct broken_law : std::invalid_argument {
  explicit broken_law(law_report report_)
      : std::invalid_argument("kalscan::compare: the operator breaks a law\n" + report_.message()),
        report(std::move(report_)) {}
  law_report report;
};

/// What the results are held against. `automatic`: bit for bit a left fold, where the tolerance is kalscan::exact; else
/// a left fold in long double, where operator, inputs and states are templates over their numbers (or aggregates of
/// such); else nothing, and the rows say so.
struct automatic_reference {};
/// Nothing; also for a template that does not compile with long double.
struct no_reference {};
/// The left fold of `op`, an operator of the caller's in higher precision; `convert` takes an input or a state to its
/// type.
template <class Wide, class Convert>
struct wide_reference {
  Wide op;
  Convert convert;
};
template <class Wide, class Convert>
wide_reference(Wide, Convert) -> wide_reference<Wide, Convert>;

namespace detail {

template <class X, class Wide, class Convert>
auto left_fold_states(const scan_call<X>& call, const Wide& wide, Convert convert) {
  const auto& r = scanned<Wide>::recurrence(wide);
  scan_state_t<Wide> state = convert(call.initial);
  values<scan_state_t<Wide>> states;
  states.reserve(call.in.size());
  for (const auto& u : call.in) states.push_back(state = r.step(state, convert(u)));
  return states;
}

template <class Tolerance>
inline constexpr bool measures_itself = !std::is_same_v<Tolerance, relative_tolerance>;

/// Puts error and reference into the work: against the left fold of an operator of the caller's or of the library's
/// choice.
template <class X, class Tolerance, class Wide, class Convert>
void hold_against(compare_work<scan_state_t<X>>& work, const scan_call<X>& call, const Tolerance& tolerance,
                  const wide_reference<Wide, Convert>& reference, const char* name) {
  using state = scan_state_t<X>;
  using wide = scan_state_t<Wide>;
  auto fold = left_fold_states(call, reference.op, reference.convert);
  if constexpr (measures_itself<Tolerance> && converts<state, wide>()) {
    work.error = [=, owner = std::make_shared<const values<wide>>(std::move(fold)), out = call.out] {
      return worst_defect(tolerance, std::span<const wide>(*owner), std::span<const state>(out));
    };
  } else if constexpr (has_numbers<state> && has_numbers<wide>) {
    work.error = relative_error_of<wide>(std::move(fold), call.out);
  } else {
    return;
  }
  work.reference = name;
}

template <class X, class Tolerance>
void hold_against(compare_work<scan_state_t<X>>& work, const scan_call<X>& call, const Tolerance& tolerance,
                  automatic_reference, const char*) {
  using wide = widen_t<X>;
  if constexpr (std::is_same_v<Tolerance, exact_tolerance>) {
    const auto same = [](const auto& x) { return x; };
    hold_against(work, call, tolerance, wide_reference{call.op, same}, "left fold, exact");
  } else if constexpr (!std::is_same_v<wide, X> && (monoid<wide> || recurrence<wide>)) {
    using input = scan_input_t<wide>;
    using state = scan_state_t<wide>;
    if constexpr (converts<wide, X>() && converts<input, scan_input_t<X>>() && converts<state, scan_state_t<X>>() &&
                  has_numbers<state>) {
      if (!is_wide(converted<state>(call.initial))) return;
      const auto convert = [](const auto& x) {
        return converted<
            std::conditional_t<std::is_same_v<std::remove_cvref_t<decltype(x)>, scan_input_t<X>>, input, state>>(x);
      };
      hold_against(work, call, tolerance, wide_reference{converted<wide>(call.op), convert}, "left fold, long double");
    }
  }
}

template <class X, class Tolerance>
void hold_against(compare_work<scan_state_t<X>>&, const scan_call<X>&, const Tolerance&, no_reference, const char*) {}

template <class X, class Generate, class Tolerance, class Reference>
std::vector<compare_row> compare_scans(const X& op, Generate& generate, const scan_state_t<X>& initial,
                                       const Tolerance& tolerance, const std::vector<std::int64_t>& sizes,
                                       const compare_options& options, std::vector<back_end<X>> back_ends,
                                       const std::vector<back_end<X>>& more, const Reference& reference) {
  check_options(options);
  for (const std::int64_t n : sizes)
    if (n < 1) throw std::invalid_argument("kalscan::compare: a size is " + std::to_string(n));
  back_ends.insert(back_ends.end(), more.begin(), more.end());
  std::vector<compare_row> rows;
  for (const std::int64_t n : sizes) {
    std::mt19937_64 engine(options.seed);
    values<scan_input_t<X>> in;
    in.reserve(static_cast<std::size_t>(n));
    for (std::int64_t t = 0; t < n; ++t) in.push_back(generate(engine));
    values<scan_state_t<X>> out(in.size(), initial);
    const scan_call<X> call{op, in, initial, out};
    compare_work<scan_state_t<X>> work{
        .size = n, .bytes = static_cast<double>(n) * (sizeof in[0] + sizeof out[0]), .out = out, .blank = initial};
    hold_against(work, call, tolerance, reference, "left fold, the caller's");
    std::vector<compare_candidate> candidates;
    for (const auto& b : back_ends) candidates.push_back({b.name, [&b, &call] { return b.prepare(call); }});
    const auto found = compare_calls(work, candidates, options);
    rows.insert(rows.end(), found.begin(), found.end());
  }
  return rows;
}

}  // namespace detail

#if defined(_OPENMP)
inline namespace with_openmp {
#else
inline namespace without_openmp {
#endif

/// Rows for each size and each back end: host_back_ends, then `more`. `generate` draws an element; it need not be cheap
/// but should keep products of `size` elements in range. `tolerance` is that of the laws (kalscan::check_monoid), and
/// measures the error too unless it is `relative` or `ulps`: then that is relative_error. Memory: inputs, two results,
/// and the reference.
///
/// Throws broken_law before anything is timed, and std::invalid_argument for sizes below 1 and bad options.
template <monoid M, generator_of<element_t<M>> Generate, tolerance_for<element_t<M>> Tolerance,
          class Reference = automatic_reference>
[[nodiscard]] std::vector<compare_row> compare(const M& m, Generate generate, const Tolerance& tolerance,
                                               const std::vector<std::int64_t>& sizes,
                                               const compare_options& options = {},
                                               const std::vector<back_end<M>>& more = {},
                                               const Reference& reference = {}) {
  if (auto laws = check_monoid(m, generate, tolerance, options.laws); !laws) throw broken_law(std::move(laws));
  return detail::compare_scans(m, generate, m.identity(), tolerance, sizes, options,
                               host_back_ends<M>(options.threads.empty() ? compared_threads() : options.threads), more,
                               reference);
}

/// The same for the states of a recurrence, from one state that `generate_state` draws.
template <recurrence R, generator_of<typename R::input_type> GenerateInput,
          generator_of<typename R::state_type> GenerateState, class Tolerance, class Reference = automatic_reference>
requires tolerance_for<Tolerance, element_t<monoid_t<R>>> && tolerance_for<Tolerance, typename R::state_type>
[[nodiscard]] std::vector<compare_row> compare(const R& r, GenerateInput generate_input, GenerateState generate_state,
                                               const Tolerance& tolerance, const std::vector<std::int64_t>& sizes,
                                               const compare_options& options = {},
                                               const std::vector<back_end<R>>& more = {},
                                               const Reference& reference = {}) {
  auto laws = check_recurrence(r, generate_input, generate_state, tolerance, options.laws);
  if (!laws) throw broken_law(std::move(laws));
  std::mt19937_64 engine(options.seed);
  const typename R::state_type initial = generate_state(engine);
  return detail::compare_scans(r, generate_input, initial, tolerance, sizes, options,
                               host_back_ends<R>(options.threads.empty() ? compared_threads() : options.threads), more,
                               reference);
}

}  // inline namespace
}  // namespace kalscan
