// SPDX-License-Identifier: MIT
// States and elements as bytes, to go from rank to rank: what is trivially copyable as it is, matrices and containers
// with their sizes, aggregates member by member.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <kalscan/support/aggregate.hpp>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace kalscan::detail {

using byte_string = std::vector<std::byte>;

/// Takes bytes from the front.
struct byte_reader {
  std::span<const std::byte> rest;

  void read(void* to, std::size_t size) {
    if (size > rest.size()) throw std::runtime_error("kalscan: a message of another rank is too short");
    if (size > 0) std::memcpy(to, rest.data(), size);
    rest = rest.subspan(size);
  }
};

inline void write_raw(byte_string& to, const void* from, std::size_t size) {
  const auto* first = static_cast<const std::byte*>(from);
  to.insert(to.end(), first, first + size);
}

template <class T>
concept resizable = range_like<T> && requires(T& x) { x.resize(x.size()); };
template <class T>
concept dense_matrix_like = matrix_like<T> && requires(T& x) {
  x.resize(x.rows(), x.cols());
  { *x.data() } -> std::convertible_to<typename T::Scalar>;
};

/// Whether all values of a type are the same number of bytes.
template <class T>
inline constexpr bool has_fixed_size = std::is_trivially_copyable_v<T>;

/// Pointers are of use on their own rank only: another one reads null. A type that is none of these offers
/// `void write_bytes(std::vector<std::byte>& to, const T& x)` and `void read_bytes(byte_reader& from, T& x)` in its
/// namespace.
template <class T>
void put(byte_string& to, const T& x) {
  if constexpr (requires { write_bytes(to, x); }) {
    write_bytes(to, x);
  } else if constexpr (std::is_pointer_v<T>) {
  } else if constexpr (std::is_trivially_copyable_v<T>) {
    write_raw(to, std::addressof(x), sizeof(T));
  } else if constexpr (dense_matrix_like<T>) {
    put(to, static_cast<std::int64_t>(x.rows()));
    put(to, static_cast<std::int64_t>(x.cols()));
    write_raw(to, x.data(), static_cast<std::size_t>(x.size()) * sizeof(typename T::Scalar));
  } else if constexpr (requires { x.has_value(); *x; }) {
    put(to, x.has_value());
    if (x) put(to, *x);
  } else if constexpr (range_like<T>) {
    if constexpr (resizable<T>) put(to, static_cast<std::int64_t>(std::size(x)));
    for (const auto& one : x) put(to, one);
  } else {
    static_assert(has_members<T>,
                  "kalscan: over ranks this type needs write_bytes and read_bytes, see ranks/bytes.hpp");
    with_members(x, [&](const auto&... member) { (put(to, member), ...); });
  }
}

template <class T>
void get(byte_reader& from, T& x) {
  if constexpr (requires { read_bytes(from, x); }) {
    read_bytes(from, x);
  } else if constexpr (std::is_pointer_v<T>) {
    x = nullptr;
  } else if constexpr (std::is_trivially_copyable_v<T>) {
    from.read(std::addressof(x), sizeof(T));
  } else if constexpr (dense_matrix_like<T>) {
    std::int64_t rows = 0, cols = 0;
    get(from, rows);
    get(from, cols);
    x.resize(rows, cols);
    from.read(x.data(), static_cast<std::size_t>(x.size()) * sizeof(typename T::Scalar));
  } else if constexpr (requires { x.has_value(); *x; }) {
    bool there = false;
    get(from, there);
    x.reset();
    if (there) get(from, x.emplace());
  } else if constexpr (range_like<T>) {
    if constexpr (resizable<T>) {
      std::int64_t size = 0;
      get(from, size);
      x.resize(static_cast<std::size_t>(size));
    }
    for (auto& one : x) get(from, one);
  } else {
    with_members(x, [&](const auto&... member) {
      (get(from, const_cast<std::remove_cvref_t<decltype(member)>&>(member)), ...);
    });
  }
}

template <class T>
T get(byte_reader& from) {
  static_assert(std::default_initializable<T>, "kalscan: over ranks states and elements need a default constructor");
  T x{};
  get(from, x);
  return x;
}

}  // namespace kalscan::detail
