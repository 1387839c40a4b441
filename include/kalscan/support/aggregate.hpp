// SPDX-License-Identifier: MIT
// Visits the members of an aggregate, and the numbers in a value, without being told its type.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <kalscan/support/config.hpp>
#include <ostream>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kalscan::detail {

template <class T>
concept number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

struct ignore_number {
  template <class N>
  void operator()(const N&) const {}
};

/// A type may say itself what its numbers are: `void visit_numbers(const T& x, F f)`, found by ADL, calls f on each.
template <class T>
concept has_visit_numbers = requires(const T& x) { visit_numbers(x, ignore_number{}); };

/// Matrices: Eigen's, and everything else with rows(), cols() and (i, j).
template <class T>
concept matrix_like = requires(const T& x) {
  { x.rows() } -> std::integral;
  { x.cols() } -> std::integral;
  x(x.rows(), x.cols());
};

template <class T>
concept range_like = requires(const T& x) {
  { std::begin(x) != std::end(x) } -> std::convertible_to<bool>;
  *std::begin(x);
};

template <class T>
concept tuple_like = requires { std::tuple_size<T>::value; };

inline constexpr std::size_t max_fields = 12;

template <class Aggregate>
struct any_field {
  template <class U>
    requires(!std::same_as<U, Aggregate>)
  operator U() const;
};

template <class T, std::size_t... I>
consteval bool has_fields(std::index_sequence<I...>) {
  return requires { T{((void)I, any_field<T>{})...}; };
}

/// The number of fields of an aggregate that has no bases and no C arrays; max_fields + 1 stands for too many.
template <class T, std::size_t N = max_fields + 1>
consteval std::size_t field_count() {
  if constexpr (N == 0 || has_fields<T>(std::make_index_sequence<N>{})) {
    return N;
  } else {
    return field_count<T, N - 1>();
  }
}

template <class T>
concept has_members = tuple_like<T> || (std::is_aggregate_v<T> && !std::is_array_v<T>);

/// f(fields...) of an aggregate or tuple.
template <has_members T, class F>
KALSCAN_HD constexpr decltype(auto) with_members(const T& x, F f) {
  if constexpr (tuple_like<T>) {
    return std::apply(f, x);
  } else {
    constexpr std::size_t count = field_count<T>();
    static_assert(count <= max_fields,
                  "more than 12 fields: offer `void visit_numbers(const T&, F)` in the namespace of the type");
    if constexpr (count == 1) {
      const auto& [a] = x;
      return f(a);
    } else if constexpr (count == 2) {
      const auto& [a, b] = x;
      return f(a, b);
    } else if constexpr (count == 3) {
      const auto& [a, b, c] = x;
      return f(a, b, c);
    } else if constexpr (count == 4) {
      const auto& [a, b, c, d] = x;
      return f(a, b, c, d);
    } else if constexpr (count == 5) {
      const auto& [a, b, c, d, e] = x;
      return f(a, b, c, d, e);
    } else if constexpr (count == 6) {
      const auto& [a, b, c, d, e, g] = x;
      return f(a, b, c, d, e, g);
    } else if constexpr (count == 7) {
      const auto& [a, b, c, d, e, g, h] = x;
      return f(a, b, c, d, e, g, h);
    } else if constexpr (count == 8) {
      const auto& [a, b, c, d, e, g, h, i] = x;
      return f(a, b, c, d, e, g, h, i);
    } else if constexpr (count == 9) {
      const auto& [a, b, c, d, e, g, h, i, j] = x;
      return f(a, b, c, d, e, g, h, i, j);
    } else if constexpr (count == 10) {
      const auto& [a, b, c, d, e, g, h, i, j, k] = x;
      return f(a, b, c, d, e, g, h, i, j, k);
    } else if constexpr (count == 11) {
      const auto& [a, b, c, d, e, g, h, i, j, k, l] = x;
      return f(a, b, c, d, e, g, h, i, j, k, l);
    } else if constexpr (count == 12) {
      const auto& [a, b, c, d, e, g, h, i, j, k, l, m] = x;
      return f(a, b, c, d, e, g, h, i, j, k, l, m);
    }
  }
}

/// Calls f on each field of an aggregate or tuple.
template <has_members T, class F>
KALSCAN_HD constexpr void for_each_member(const T& x, F f) {
  with_members(x, [&f](const auto&... fields) { (f(fields), ...); });
}

/// Field number I of a list of fields, and of an aggregate.
template <std::size_t I, class First, class... Rest>
KALSCAN_HD constexpr const auto& pick(const First& first, const Rest&... rest) {
  if constexpr (I == 0) {
    return first;
  } else {
    return pick<I - 1>(rest...);
  }
}
template <std::size_t I, class Aggregate>
KALSCAN_HD constexpr const auto& member(const Aggregate& x) {
  return with_members(
      x, [](const auto&... fields) -> const auto& { return pick<I>(fields...); });
}

/// What for_each_number can take apart.
template <class T>
concept has_numbers = number<T> || has_visit_numbers<T> || matrix_like<T> || range_like<T> || has_members<T>;

/// Calls f on the direct parts of x: coefficients (row by row), elements or fields.
template <has_numbers T, class F>
  requires(!number<T>)
void for_each_part(const T& x, F f) {
  if constexpr (has_visit_numbers<T>) {
    visit_numbers(x, f);
  } else if constexpr (matrix_like<T>) {
    using index = std::remove_cvref_t<decltype(x.rows())>;
    for (index i = 0; i < x.rows(); ++i)
      for (index j = 0; j < x.cols(); ++j) f(x(i, j));
  } else if constexpr (range_like<T>) {
    for (auto&& part : x) f(part);
  } else {
    for_each_member(x, f);
  }
}

/// Calls f on every number in x, in a fixed order.
template <class T, class F>
void for_each_number(const T& x, F f) {
  static_assert(has_numbers<T>, "no numbers found: offer `void visit_numbers(const T&, F)` in the namespace of the type");
  if constexpr (number<T>) {
    f(x);
  } else if constexpr (has_numbers<T>) {
    for_each_part(x, [&f](const auto& part) { for_each_number(part, f); });
  }
}

/// Calls f on every top-level field of x: the fields of an aggregate or tuple, else x itself.
template <class T, class F>
void for_each_field(const T& x, F f) {
  if constexpr (!number<T> && !has_visit_numbers<T> && !matrix_like<T> && !range_like<T> && has_members<T>) {
    for_each_member(x, f);
  } else {
    f(x);
  }
}

/// Prints x so that its numbers can be read back without loss: {1, {0.5, 2}}.
template <class T>
void print(std::ostream& out, const T& x) {
  if constexpr (std::is_enum_v<T>) {
    print(out, static_cast<std::underlying_type_t<T>>(x));
  } else if constexpr (number<T>) {
    if constexpr (std::is_floating_point_v<T>) {
      char text[64];  // the shortest that reads back as the same number
      const char* last = std::to_chars(text, text + sizeof(text), x).ptr;
      const char* first = text[0] == '-' && text[1] == 'n' ? text + 1 : text;  // the sign of NaN says nothing
      out.write(first, last - first);
    } else {
      out << +x;
    }
  } else if constexpr (has_numbers<T>) {
    const char* separator = "{";
    for_each_part(x, [&](const auto& part) {
      out << separator;
      print(out, part);
      separator = ", ";
    });
    out << (*separator == '{' ? "{}" : "}");
  } else if constexpr (requires { out << x; }) {
    out << x;
  } else {
    out << "(not printable)";
  }
}

}  // namespace kalscan::detail
