// SPDX-License-Identifier: MIT
// How far a scan's result is from a left fold in higher precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/compare/same_bits.hpp>
#include <kalscan/compare/widen.hpp>
#include <kalscan/laws/tolerance.hpp>
#include <kalscan/support/numbers.hpp>
#include <span>
#include <type_traits>
#include <vector>

namespace kalscan::detail {

/// For each top-level field, the mean over all steps of the largest magnitude in it; what is not finite does not count.
template <class W>
std::vector<long double> field_scales(std::span<const W> reference) {
  std::vector<long double> sums, largest;
  for (const W& x : reference) {
    largest.assign(largest.size(), 0);
    for_each_number_by_field(x, [&](std::size_t field, const auto& n) {
      if (field >= largest.size()) largest.resize(field + 1, 0);
      const long double magnitude = std::abs(static_cast<long double>(n));
      if (std::isfinite(magnitude)) largest[field] = (std::max)(largest[field], magnitude);
    });
    sums.resize(largest.size(), 0);
    for (std::size_t i = 0; i < largest.size(); ++i) sums[i] += largest[i];
  }
  for (long double& s : sums) s /= static_cast<long double>(reference.size());
  return sums;
}

/// The worst |out - reference| over all numbers, relative to the largest magnitude of the number's field in that step
/// or to its mean over all steps, whichever is larger. Equal infinities agree; NaN agrees with nothing.
template <class W, class S>
double worst_relative_error(std::span<const W> reference, const std::vector<long double>& scales,
                            std::span<const S> out) {
  long double worst = 0;
  std::vector<long double> numbers, largest(scales.size());
  for (std::size_t t = 0; t < reference.size(); ++t) {
    numbers.clear();
    largest = scales;
    for_each_number_by_field(reference[t], [&](std::size_t field, const auto& n) {
      const auto value = static_cast<long double>(n);
      numbers.push_back(value);
      if (std::isfinite(value)) largest[field] = (std::max)(largest[field], std::abs(value));
    });
    std::size_t k = 0;
    for_each_number_by_field(out[t], [&](std::size_t field, const auto& n) {
      const auto value = static_cast<long double>(n);
      const long double expected = k < numbers.size() ? numbers[k] : std::nanl("");
      ++k;
      if (equal(value, expected)) return;
      const long double error = std::abs(value - expected) / (field < largest.size() ? largest[field] : 0);
      worst = (std::max)(worst, std::isnan(error) ? static_cast<long double>(infinite_defect) : error);
    });
    if (k != numbers.size()) return infinite_defect;
  }
  return static_cast<double>(worst);
}

/// The worst defect as a tolerance measures it: in the reference's type if it knows that one, which may have the
/// greater range, else with the reference rounded.
template <class Tolerance, class W, class S>
double worst_defect(const Tolerance& tolerance, std::span<const W> reference, std::span<const S> out) {
  using measured = std::conditional_t<tolerance_for<Tolerance, W>, W, S>;
  double worst = 0;
  for (std::size_t t = 0; t < reference.size(); ++t) {
    const double defect = tolerance.defect(converted<measured>(out[t]), converted<measured>(reference[t]),
                                           std::span<const measured* const>());
    worst = (std::max)(worst, std::isnan(defect) ? infinite_defect : defect);
  }
  return worst;
}

}  // namespace kalscan::detail
