// SPDX-License-Identifier: MIT
// What the law checks are told and what they report. Host only; users meet these through <kalscan/laws.hpp>.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/support/config.hpp>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace kalscan {

/// Trial number t draws from trial_engine(seed, t) alone, so {.seed = s, .trials = 1, .first_trial = t} repeats it.
struct law_options {
  std::uint64_t seed = 1;
  std::size_t trials = 1000;
  std::size_t first_trial = 0;
  std::size_t max_length = 8;  ///< of the random sequences that are combined or scanned in one trial
};

inline std::mt19937_64 trial_engine(std::uint64_t seed, std::uint64_t trial) {
  std::seed_seq sequence{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                         static_cast<std::uint32_t>(trial), static_cast<std::uint32_t>(trial >> 32)};
  return std::mt19937_64(sequence);
}

/// How well one law held: the worst defect of all trials and the trial where it was found, and for a law that fails a
/// counterexample, the simplest found from there: its operands by name and both sides, a line each.
struct law_result {
  std::string law, equation;
  double worst, bound;
  bool holds;
  std::uint64_t seed;
  std::size_t trial;
  std::string operands;
  double defect = 0;         ///< of the counterexample
  std::string follows_from;  ///< the failing law of which this failure is a consequence, or empty
};

/// One result a law. True where every law holds.
struct law_report {
  std::vector<law_result> results = {};

  explicit operator bool() const {
    for (const law_result& result : results)
      if (!result.holds) return false;
    return !results.empty();
  }

  /// The result of the named law, or nullptr if it was not checked.
  const law_result* find(std::string_view law) const {
    for (const law_result& result : results)
      if (result.law == law) return &result;
    return nullptr;
  }

  /// The failing laws, less those that follow from another one: each as an equation, with a counterexample, how far its
  /// sides are apart, and how to repeat the trial; empty where all hold.
  std::string message() const {
    std::ostringstream out;
    for (const law_result& result : results) {
      if (result.holds || !result.follows_from.empty()) continue;
      out << result.law << " fails: " << result.equation << '\n' << result.operands;
      if (!std::isfinite(result.defect)) {
        out << "  the sides differ";
      } else {
        out << "  the sides are " << result.defect << " apart, the bound is " << result.bound;
      }
      out << "; again with {.seed = " << result.seed << ", .trials = 1, .first_trial = " << result.trial << "}\n";
    }
    if (results.empty()) out << "no law was checked: zero trials\n";
    return out.str();
  }
};

}  // namespace kalscan
