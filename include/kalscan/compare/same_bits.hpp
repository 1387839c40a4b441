// SPDX-License-Identifier: MIT
// Whether two results are the same bit for bit, whatever lies in their padding.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/numbers.hpp>
#include <span>
#include <type_traits>
#include <vector>

namespace kalscan::detail {

/// The numbers of x, by top-level field: f(field, number).
template <class T, class F>
void for_each_number_by_field(const T& x, F f) {
  std::size_t field = 0;
  for_each_field(x, [&](const auto& part) {
    for_each_number(part, [&](const auto& number) { f(field, number); });
    ++field;
  });
}

/// Equal values of equal sign, or both NaN.
inline bool same_number(long double x, long double y) {
  return (equal(x, y) && std::signbit(x) == std::signbit(y)) || (std::isnan(x) && std::isnan(y));
}

template <class T>
bool same_bits(std::span<const T> x, std::span<const T> y) {
  if (x.size() != y.size()) return false;
  if constexpr (std::is_trivially_copyable_v<T>) {
    if (x.empty() || std::memcmp(x.data(), y.data(), x.size_bytes()) == 0) return true;
  }
  if constexpr (has_numbers<T>) {
    std::vector<long double> numbers;
    for (std::size_t i = 0; i < x.size(); ++i) {
      numbers.clear();
      for_each_number(x[i], [&](const auto& n) { numbers.push_back(static_cast<long double>(n)); });
      std::size_t k = 0;
      bool same = true;
      for_each_number(y[i], [&](const auto& n) {
        same = same && k < numbers.size() && same_number(numbers[k], static_cast<long double>(n));
        ++k;
      });
      if (!same || k != numbers.size()) return false;
    }
    return true;
  } else if constexpr (std::equality_comparable<T>) {
    for (std::size_t i = 0; i < x.size(); ++i)
      if (!(x[i] == y[i])) return false;
    return true;
  } else {
    return false;  // trivially copyable and opaque: the bytes above were the question
  }
}

}  // namespace kalscan::detail
