// SPDX-License-Identifier: MIT
// Small aggregates whose fields are all of one type T, as arrays of T: what lets one loop serve every mixer.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <utility>

namespace kalscan::detail {

template <class Aggregate, class T>
inline constexpr std::size_t array_size = sizeof(Aggregate) / sizeof(T);

template <class T, class Aggregate>
KALSCAN_HD constexpr std::array<T, array_size<Aggregate, T>> as_array(const Aggregate& x) {
  return std::bit_cast<std::array<T, array_size<Aggregate, T>>>(x);
}

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wmissing-braces"
#endif
/// The aggregate whose field number I is read(std::integral_constant<std::size_t, I>{}). Fields of aggregates within it
/// count one by one.
template <class Aggregate, class T, class Read>
KALSCAN_HD constexpr Aggregate from_fields(Read read) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return Aggregate{read(std::integral_constant<std::size_t, I>{})...};
  }
  (std::make_index_sequence<array_size<Aggregate, T>>{});
}
#if defined(__clang__)
#pragma clang diagnostic pop
#endif

/// Calls f(std::integral_constant<std::size_t, I>{}) for I = 0 ... N - 1.
template <std::size_t N, class F>
KALSCAN_HD constexpr void for_each_index(F f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) { (f(std::integral_constant<std::size_t, I>{}), ...); }
  (std::make_index_sequence<N>{});
}

/// Whether none of the numbers is infinite or NaN.
template <class T, class Aggregate>
KALSCAN_HD constexpr bool all_finite(const Aggregate& x) {
  T zero(0);
  const auto numbers = as_array<T>(x);
  for_each_index<array_size<Aggregate, T>>([&](auto i) { zero += numbers[i()] * T(0); });
  return equal(zero, T(0));
}

}  // namespace kalscan::detail
