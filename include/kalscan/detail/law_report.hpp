// SPDX-License-Identifier: MIT
// What the law checks are told and what they report. Host only; users meet these through <kalscan/laws.hpp>.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/tolerance.hpp>

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

/// How well one law held: the worst defect of all trials, and the trial and operands where it was found.
struct law_result {
  std::string law;
  double worst, bound;
  bool holds;
  std::uint64_t seed;
  std::size_t trial;
  std::string operands;
};

/// One result a law. True where every law holds.
struct law_report {
  std::vector<law_result> results;

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

  /// The failing laws, each with defect, bound, seed, trial and operands; empty where all hold.
  std::string message() const {
    std::ostringstream out;
    for (const law_result& result : results) {
      if (result.holds) continue;
      out << "law '" << result.law << "' fails: defect " << result.worst << " exceeds the bound " << result.bound
          << " (seed " << result.seed << ", trial " << result.trial << ")\n"
          << result.operands;
    }
    if (results.empty()) out << "no law was checked: zero trials\n";
    return out.str();
  }
};

namespace detail {

/// Collects the worst defect of each law. Every comparison names its operands, in the order in which they are printed.
template <class Tolerance>
class law_book {
 public:
  law_book(const Tolerance& tolerance, std::uint64_t seed) : tolerance_(tolerance), seed_(seed) {}

  void start_trial(std::size_t trial) { trial_ = trial; }

  template <class T, class... Operands>
  void compare(std::string_view law, const T& left, const T& right, const Operands&... operands) {
    std::vector<const T*> same_type;
    (collect(same_type, operands), ...);
    double defect = tolerance_.defect(left, right, std::span<const T* const>(same_type));
    if (std::isnan(defect)) defect = infinite_defect;
    law_result& result = result_of(law);
    if (!result.operands.empty() && !(defect > result.worst)) return;
    std::ostringstream out;
    out << "  left    " << text(left) << "\n  right   " << text(right) << '\n';
    ((out << "  operand " << text(operands) << '\n'), ...);
    result.worst = defect;
    result.holds = defect <= result.bound;
    result.trial = trial_;
    result.operands = out.str();
  }

  law_report report() && { return {std::move(results_)}; }

 private:
  template <class T, class Operand>
  static void collect(std::vector<const T*>& same_type, const Operand& operand) {
    if constexpr (std::is_same_v<Operand, T>) {
      same_type.push_back(&operand);
    } else if constexpr (std::is_same_v<Operand, std::vector<T>> && !std::is_same_v<T, bool>) {
      for (const T& x : operand) same_type.push_back(&x);
    }
  }

  template <class T>
  static std::string text(const T& x) {
    std::ostringstream out;
    print(out, x);
    return out.str();
  }

  law_result& result_of(std::string_view law) {
    for (law_result& result : results_)
      if (result.law == law) return result;
    return results_.emplace_back(
        law_result{std::string(law), 0, static_cast<double>(tolerance_.bound), true, seed_, trial_, {}});
  }

  const Tolerance& tolerance_;
  std::uint64_t seed_;
  std::size_t trial_ = 0;
  std::vector<law_result> results_{};
};

}  // namespace detail
}  // namespace kalscan
