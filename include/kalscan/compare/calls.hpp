// SPDX-License-Identifier: MIT
// Times calls that do the same work, one beside the other, and says of each whether it is right and repeatable. Host
// only. Scans of an operator have <kalscan/compare.hpp>, which is made of this.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <kalscan/compare/row.hpp>
#include <kalscan/compare/same_bits.hpp>
#include <kalscan/compare/scan_error.hpp>
#include <kalscan/laws.hpp>
#include <kalscan/support/values.hpp>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan {

struct compare_options {
  int repetitions = 11;           ///< samples of each call, at least 3
  double sample_seconds = 2e-3;   ///< a call shorter than this is sampled many times in a row
  double row_seconds = 2;         ///< fewer samples, but at least 5, of calls for which all of them would take longer
  int identical_runs = 3;         ///< runs beside the first one that must have its bits, at least 1
  std::vector<int> threads = {};  ///< of omp; none: the powers of two up to all processors, and all of them
  std::uint64_t seed = 1;         ///< of what the generators draw
  law_options laws = {};
};

/// To be thrown by a call that cannot run here (no device, not compiled in): its message becomes the row's.
struct back_end_absent : std::runtime_error {
  explicit back_end_absent(const std::string& why) : std::runtime_error("absent: " + why) {}
};

/// A call that is ready to run: `seconds(n)` runs it n times and returns how long all n took, by the clock that suits
/// it; `fetch`, not timed, brings the last run's result to where it is looked at.
struct compare_run {
  std::function<double(std::int64_t)> seconds;
  std::function<void()> fetch = [] {};
};

/// A call on the host, by the wall clock.
template <class Call>
[[nodiscard]] compare_run run_on_host(Call call) {
  return {[call](std::int64_t calls) mutable {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < calls; ++i) {
      call();
#if defined(__GNUC__)
      asm volatile("" ::: "memory");  // each call's result is needed
#endif
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }};
}

/// `prepare` allocates and copies what the call needs; no part of it is timed.
struct compare_candidate {
  std::string name;
  std::function<compare_run()> prepare;
};

/// The work that all candidates do. Before each run that is looked at, `out` is filled with `blank`, so that none
/// passes with what another one left there.
template <class Out>
struct compare_work {
  std::int64_t size = 0;  ///< what the rows call the size
  double bytes = 0;       ///< that one call must read and write
  std::span<Out> out;
  Out blank = {};
  std::function<std::optional<double>()> error = [] { return std::optional<double>(); };  ///< of what `out` holds
  std::string reference = "none";
};

namespace detail {

template <class Wide, class Out>
std::function<std::optional<double>()> relative_error_of(values<Wide> reference, std::span<Out> out) {
  const auto owner = std::make_shared<const values<Wide>>(std::move(reference));
  const std::span<const Wide> expected(*owner);
  return [owner, expected, out, scales = field_scales(expected)] {
    return worst_relative_error(expected, scales, std::span<const Out>(out));
  };
}

}  // namespace detail

/// For compare_work::error: the worst |out - reference| over all numbers, relative to the largest magnitude of the
/// number's field (kalscan::relative says which these are) in that step or to its mean over all steps, whichever is
/// larger.
template <class Wide, class Out>
[[nodiscard]] std::function<std::optional<double>()> relative_error(std::vector<Wide> reference, std::span<Out> out) {
  if (reference.size() != out.size()) {
    throw std::invalid_argument("kalscan::relative_error: out has size " + std::to_string(out.size()) + ", not " +
                                std::to_string(reference.size()));
  }
  if constexpr (std::is_same_v<Wide, bool>) {
    detail::values<bool> left;
    left.assign(reference.begin(), reference.end());
    return detail::relative_error_of<bool>(std::move(left), out);
  } else {
    return detail::relative_error_of<Wide>(std::move(reference), out);
  }
}

namespace detail {

inline void check_options(const compare_options& o) {
  const auto bad = [](const char* name, auto value, const char* bound) {
    std::ostringstream text;
    text << "kalscan::compare: " << name << " is " << value << ", but must be " << bound;
    throw std::invalid_argument(text.str());
  };
  if (o.repetitions < 3) bad("repetitions", o.repetitions, "at least 3");
  if (o.identical_runs < 1) bad("identical_runs", o.identical_runs, "at least 1");
  if (!(o.sample_seconds >= 0)) bad("sample_seconds", o.sample_seconds, "at least 0");
  if (!(o.row_seconds > 0)) bad("row_seconds", o.row_seconds, "positive");
  for (const int n : o.threads)
    if (n < 1) bad("threads", n, "positive");
}

/// A candidate on its way to a row.
struct compared_call {
  compare_row row;
  compare_run run;
  std::int64_t calls = 1;  // a sample
  int samples = 0;
  std::vector<double> seconds;

  /// Runs f; what it throws becomes the row's reason, and the figures are no more.
  template <class F>
  void attempt(F f) {
    if (!row) return;
    try {
      f();
    } catch (const std::exception& error) {
      fail(error.what());
    } catch (...) {
      fail("threw what is not a std::exception");
    }
  }
  void fail(const std::string& why) {
    row = {.back_end = row.back_end, .size = row.size, .missing = why.empty() ? "threw without a message" : why};
    run = {};
  }
};

template <class Out>
void look_at(compared_call& call, const compare_work<Out>& work, values<Out>& first, const compare_options& o) {
  double shortest = std::numeric_limits<double>::infinity();
  call.row.repeatable = true;
  for (int k = 0; k <= o.identical_runs; ++k) {
    std::fill(work.out.begin(), work.out.end(), work.blank);
    shortest = (std::min)(shortest, call.run.seconds(1));
    call.run.fetch();
    if (k == 0) {
      call.row.error = work.error();
      call.row.reference = work.reference;
      first.assign(work.out.begin(), work.out.end());
    } else if (call.row.repeatable) {
      call.row.repeatable = same_bits(std::span<const Out>(first), std::span<const Out>(work.out));
    }
  }
  // The first estimate counts the clock's own time, which many calls in a row share.
  if (shortest < o.sample_seconds) shortest = call.run.seconds(8) / 8;
  shortest = (std::max)(shortest, 1e-9);
  call.calls =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil((std::min)(o.sample_seconds / shortest, 1e9))));
  const double sample = static_cast<double>(call.calls) * shortest;
  const double affordable = (std::min)(o.row_seconds / sample, static_cast<double>(o.repetitions));
  call.samples = (std::min)(o.repetitions, (std::max)(5, static_cast<int>(affordable)));
}

/// Where a sample takes far longer than it should, as on a busy machine, the next ones have fewer calls.
inline void take_sample(compared_call& call, int round, const compare_options& o) {
  if (round >= call.samples) return;
  const double seconds = call.run.seconds(call.calls);
  call.seconds.push_back(seconds / static_cast<double>(call.calls));
  if (seconds > 4 * o.sample_seconds && call.calls > 1) {
    call.calls = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(static_cast<double>(call.calls) * o.sample_seconds / seconds));
  }
}

inline void summarize(compared_call& call, double bytes) {
  auto& s = call.seconds;
  std::sort(s.begin(), s.end());
  const auto at = [&](double share) {
    return s[static_cast<std::size_t>(std::lround(share * static_cast<double>(s.size() - 1)))];
  };
  call.row.lower = at(0.25), call.row.median = at(0.5), call.row.upper = at(0.75);
  call.row.samples = static_cast<int>(s.size());
  call.row.bytes_per_second = bytes / call.row.median;
}

}  // namespace detail

/// One row a candidate, in their order. Each is prepared, run once against the reference, then identical_runs times
/// against its own first result; then all are sampled in turn, round by round, so that a busy neighbour slows all of
/// them alike. What a candidate throws becomes the reason in its row, and the others still run. Holds a copy of `out`,
/// and what each candidate prepared until all are done. Throws std::invalid_argument for bad options.
template <class Out>
[[nodiscard]] std::vector<compare_row> compare_calls(const compare_work<Out>& work,
                                                     const std::vector<compare_candidate>& candidates,
                                                     const compare_options& options = {}) {
  detail::check_options(options);
  std::vector<detail::compared_call> calls;
  {
    detail::values<Out> first;
    for (const auto& c : candidates) {
      auto& call = calls.emplace_back(detail::compared_call{{.back_end = c.name, .size = work.size}, {}, 1, 0, {}});
      call.attempt([&] { call.run = c.prepare(); });
      call.attempt([&] { detail::look_at(call, work, first, options); });
    }
  }
  for (int round = 0; round < options.repetitions; ++round) {
    for (auto& call : calls) call.attempt([&] { detail::take_sample(call, round, options); });
  }
  std::vector<compare_row> rows;
  for (auto& call : calls) {
    if (call.row) detail::summarize(call, work.bytes);
    rows.push_back(std::move(call.row));
    rows.back().speed_over_first = rows.front().median / rows.back().median;
  }
  return rows;
}

}  // namespace kalscan
