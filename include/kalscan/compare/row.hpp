// SPDX-License-Identifier: MIT
// What was found of one back end at one size, and a table of such rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <kalscan/support/config.hpp>
#include <limits>
#include <optional>
#include <ostream>
#include <span>
#include <sstream>
#include <string>

namespace kalscan {

/// What was found of one call. Times are seconds a call; what was not found out is NaN or empty.
struct compare_row {
  static constexpr double none = std::numeric_limits<double>::quiet_NaN();

  std::string back_end;
  std::int64_t size = 0;
  std::string missing = {};  ///< why there are no figures: what the back end lacks or what it threw; else empty
  double median = none, lower = none, upper = none;  ///< lower and upper quartile: half of all samples lie between
  int samples = 0;
  double bytes_per_second = none;
  double speed_over_first = none;  ///< median of the first call (seq) over this one's
  /// The worst one, relative; infinite where there is NaN or a wrong exact value; empty without a reference.
  std::optional<double> error = {};
  std::string reference = {};  ///< what the error is against
  bool repeatable = false;     ///< all runs gave the same bits; NaN is taken for the same as any NaN

  explicit operator bool() const { return missing.empty(); }
};

namespace detail {

/// x with so many decimals; with fewer, in the end as a power of ten, where it has no room in `width` characters.
inline std::string in_width(double x, int width, int decimals) {
  std::ostringstream text;
  text << std::fixed;
  for (; decimals >= 0; --decimals) {
    text.str("");
    text << std::setprecision(decimals) << x;
    if (text.str().size() <= static_cast<std::size_t>(width)) return text.str();
  }
  text.str("");
  text << std::scientific << std::setprecision(0) << x;
  return text.str();
}

}  // namespace detail

/// One line a row, at most 96 columns where names have at most 33 characters; reasons apart. Time is the median, and +-
/// half the distance of the quartiles.
inline void print_table(std::ostream& out, std::span<const compare_row> rows) {
  std::size_t longest = 33;
  for (const compare_row& r : rows) longest = (std::max)(longest, r.back_end.size());
  const int name_width = static_cast<int>(longest) + 1;
  std::ostringstream text;
  text << std::left << std::setw(name_width) << "back end" << std::right << std::setw(10) << "size" << std::setw(12)
       << "ms" << std::setw(7) << "+-%" << std::setw(8) << "GB/s" << std::setw(7) << "speed" << std::setw(10) << "error"
       << "  bits\n";
  for (const compare_row& r : rows) {
    const auto number = [&](int width, int decimals, double x) {
      text << std::setw(width) << detail::in_width(x, width - 1, decimals);
    };
    text << std::left << std::setw(name_width) << r.back_end << std::right;
    number(10, 0, static_cast<double>(r.size));
    if (!r) {
      text << "  " << r.missing << '\n';
      continue;
    }
    number(12, r.median < 1e-3 ? 5 : 3, 1e3 * r.median);
    number(7, 1, 50 * (r.upper - r.lower) / r.median);
    number(8, 2, 1e-9 * r.bytes_per_second);
    number(7, 2, r.speed_over_first);
    if (r.error) {
      text << std::setw(10) << std::scientific << std::setprecision(1) << *r.error;
    } else {
      text << std::setw(10) << "no ref.";
    }
    text << (r.repeatable ? "  same" : "  VARY") << '\n';
  }
  out << text.str();
}

}  // namespace kalscan
