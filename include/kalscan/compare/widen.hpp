// SPDX-License-Identifier: MIT
// An operator and its values in long double: what a result is held against.
#pragma once

#include <concepts>
#include <cstddef>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/numbers.hpp>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kalscan::detail {

/// T with long double for every floating-point template argument, also within arguments; T itself where it has none.
template <class T>
struct widen {
  using type = T;
};
template <std::floating_point T>
struct widen<T> {
  using type = long double;
};
template <template <class...> class X, class... A>
requires requires { typename X<typename widen<A>::type...>; }
struct widen<X<A...>> {
  using type = X<typename widen<A>::type...>;
};
template <template <class, int> class X, class T, int N>
requires requires { typename X<typename widen<T>::type, N>; }
struct widen<X<T, N>> {
  using type = X<typename widen<T>::type, N>;
};
template <template <class, std::size_t> class X, class T, std::size_t N>
requires requires { typename X<typename widen<T>::type, N>; }
struct widen<X<T, N>> {
  using type = X<typename widen<T>::type, N>;
};
template <template <class, rounding_mode> class X, class T, rounding_mode How>
struct widen<X<T, How>> {
  using type = X<typename widen<T>::type, How>;
};
template <class T>
using widen_t = typename widen<T>::type;

struct type_list {
  template <class... F>
  std::tuple<std::type_identity<F>...> operator()(const F&...) const;
};

/// A matrix of a size fixed by its type, whose coefficients can be assigned.
template <class T>
concept assignable_matrix = matrix_like<T> && std::default_initializable<T> && requires(T& x) {
  typename std::integral_constant<std::size_t, static_cast<std::size_t>(T::rows() * T::cols())>;
  x(T::rows(), T::cols()) = x(T::rows(), T::cols());
};

template <class T>
consteval bool has_few_fields() {
  if constexpr (has_members<T> && !tuple_like<T>) {
    return field_count<T>() >= 1 && field_count<T>() <= max_fields;
  } else {
    return tuple_like<T>;
  }
}

/// Whether converted<To>(From) is there: numbers to numbers, matrices to matrices, records field by field.
template <class To, class From>
consteval bool converts() {
  if constexpr (std::same_as<To, From>) {
    return true;
  } else if constexpr (std::is_arithmetic_v<To> || std::is_arithmetic_v<From>) {
    return std::is_arithmetic_v<To> && std::is_arithmetic_v<From>;
  } else if constexpr (requires(const From& x) { x.template cast<typename To::Scalar>(); }) {
    return std::is_constructible_v<To, decltype(std::declval<const From&>().template cast<typename To::Scalar>())>;
  } else if constexpr (std::is_empty_v<To> && std::is_empty_v<From>) {
    return std::is_default_constructible_v<To>;
  } else if constexpr (assignable_matrix<To> && assignable_matrix<From>) {
    return To::rows() == From::rows() && To::cols() == From::cols();
  } else if constexpr (has_visit_numbers<To> || has_visit_numbers<From>) {
    return false;  // their fields are not to be counted, arrays for instance
  } else if constexpr (has_few_fields<To>() && has_few_fields<From>()) {
    using to = decltype(with_members(std::declval<const To&>(), type_list{}));
    using from = decltype(with_members(std::declval<const From&>(), type_list{}));
    if constexpr (std::tuple_size_v<to> == std::tuple_size_v<from>) {
      return []<class... T, class... F>(std::type_identity<std::tuple<std::type_identity<T>...>>,
                                        std::type_identity<std::tuple<std::type_identity<F>...>>) {
        return (converts<T, F>() && ...);
      }(std::type_identity<to>{}, std::type_identity<from>{});
    } else {
      return false;
    }
  } else {
    return false;
  }
}

template <class To, class From>
To converted(const From& x);

template <class From>
struct to_be_converted {
  const From& value;
  template <class U>
  operator U() const {
    return converted<U>(value);
  }
};

template <class To, class From>
To converted(const From& x) {
  if constexpr (std::same_as<To, From>) {
    return x;
  } else if constexpr (std::is_arithmetic_v<To>) {
    return static_cast<To>(x);
  } else if constexpr (requires { x.template cast<typename To::Scalar>(); }) {
    return To(x.template cast<typename To::Scalar>());
  } else if constexpr (std::is_empty_v<To>) {
    return To{};
  } else if constexpr (assignable_matrix<To>) {
    To result{};
    for (auto i = To::rows() * 0; i < To::rows(); ++i)
      for (auto j = To::cols() * 0; j < To::cols(); ++j)
        result(i, j) = converted<std::remove_cvref_t<decltype(result(i, j))>>(x(i, j));
    return result;
  } else {
    return with_members(
        x, [](const auto&... fields) { return To{to_be_converted<std::remove_cvref_t<decltype(fields)>>{fields}...}; });
  }
}

/// Whether all floating-point numbers of x are long double, and there are some.
template <class T>
bool is_wide(const T& x) {
  bool some = false, all = true;
  for_each_number(x, [&](const auto& n) {
    using number = std::remove_cvref_t<decltype(n)>;
    if (std::is_floating_point_v<number>) some = true, all = all && std::is_same_v<number, long double>;
  });
  return some && all;
}

}  // namespace kalscan::detail
