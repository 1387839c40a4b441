// SPDX-License-Identifier: MIT
// What the filters of the host throw when data and model cannot both be right.
#pragma once

#include <cstdint>
#include <kalscan/support/bad_argument.hpp>
#include <stdexcept>
#include <string>

namespace kalscan {
namespace detail {

inline constexpr const char* bad_innovation = "the innovation covariance is not finite or not positive semi-definite";
inline constexpr const char* contradiction = "the observation contradicts a prediction that has no variance";

template <class Index>
std::string text_of_failure(Index series, Index step, const std::string& reason) {
  return text({"kalscan: series ", series, ", step ", step, ": ", reason});
}

}  // namespace detail

/// A step that could not be computed, found at that step.
class filter_error : public std::runtime_error {
 public:
  filter_error(std::int64_t series_, std::int64_t step_, const std::string& reason)
      : std::runtime_error(detail::text_of_failure(series_, step_, reason)),
        series(series_),
        step(step_) {}
  std::int64_t series, step;
};

namespace detail {

[[noreturn, gnu::noinline, gnu::cold]] inline void fail_step(std::int64_t series, std::int64_t step,
                                                             const char* reason) {
  throw filter_error(series, step, reason);
}
[[noreturn, gnu::noinline, gnu::cold]] inline void not_finite(std::int64_t series, std::int64_t step, const char* which,
                                                              const char* part) {
  throw filter_error(series, step, text({"the ", which, " ", part, " is not finite"}));
}

}  // namespace detail

}  // namespace kalscan
