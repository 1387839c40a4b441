// SPDX-License-Identifier: MIT
// What the verbs scan, in one shape: a number of rows of equal length, each indexed by time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <kalscan/sequences.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <kalscan/support/values.hpp>

namespace kalscan {
struct seq;
}

namespace kalscan::detail {

/// One sequence at its place: an iterator and a stride.
template <class Iterator>
struct row {
  Iterator first;
  std::int64_t stride;
  decltype(auto) operator[](std::int64_t t) const {
    return first[static_cast<std::iter_difference_t<Iterator>>(t * stride)];
  }
};

// What <ranges> has, and <iterator> has not: of all the standard's headers here, <ranges> would take longest to compile.
template <class Range>
using iterator_of = decltype(std::ranges::begin(std::declval<Range&>()));
template <class Range>
using value_of_range = std::iter_value_t<iterator_of<Range>>;
template <class Range>
concept sized_random_access_range = requires(Range& range) {
  { std::ranges::begin(range) } -> std::random_access_iterator;
  std::ranges::end(range);
  std::ranges::size(range);
};

/// The row of a range.
template <sized_random_access_range Range>
struct range_rows {
  iterator_of<Range> first;
  std::int64_t length;

  explicit range_rows(Range& range)
      : first(std::ranges::begin(range)), length(static_cast<std::int64_t>(std::ranges::size(range))) {}
  std::int64_t count() const { return 1; }
  auto operator[](std::int64_t) const { return row<iterator_of<Range>>{first, 1}; }
};

/// The rows of a [batch, time, lane] view.
template <class T>
struct array_rows {
  sequences<T> array;
  std::int64_t length;

  explicit array_rows(const sequences<T>& array_) : array(array_), length(array_.time) {}
  std::int64_t count() const { return array.batch * array.lanes; }
  auto operator[](std::int64_t i) const {
    if (length == 0) return row<T*>{array.data, 0};  // perhaps null, from which nothing can be counted
    const std::int64_t offset = i / array.lanes * array.batch_stride + i % array.lanes * array.lane_stride;
    return row<T*>{array.data + offset, array.time_stride};
  }
};

/// Rows read from their end to their beginning.
template <class Rows>
struct reversed_rows {
  Rows rows;
  std::int64_t length = rows.length;

  struct reversed_row {
    decltype(std::declval<const Rows&>()[0]) forward;
    std::int64_t last;
    decltype(auto) operator[](std::int64_t t) const { return forward[last - t]; }
  };

  explicit reversed_rows(Rows rows_) : rows(rows_) {}
  std::int64_t count() const { return rows.count(); }
  auto operator[](std::int64_t i) const { return reversed_row{rows[i], length - 1}; }
};

template <class Rows>
inline constexpr bool is_reversed = false;
template <class Rows>
inline constexpr bool is_reversed<reversed_rows<Rows>> = true;

/// to = x; a number may be rounded.
template <class To, class T>
constexpr void write(To&& to, const T& x) {
  if constexpr (std::is_arithmetic_v<std::remove_cvref_t<To>> && std::is_arithmetic_v<T>) {
    to = static_cast<std::remove_cvref_t<To>>(x);
  } else {
    to = x;
  }
}

/// Whether a range keeps several values in one byte, which threads must not write at once.
template <class Range>
concept packs_bits = std::is_same_v<std::iter_reference_t<iterator_of<Range>>, std::vector<bool>::reference>;

/// Calls scan(rows) with the row that is `out`; or with a copy that the policy's threads may write side by side.
template <class P, class Out, class Scan>
auto with_rows_to_write(Out& out, Scan scan) {
  if constexpr (packs_bits<Out> && !std::is_same_v<P, seq>) {
    const auto size = static_cast<std::size_t>(std::ranges::size(out));
    bool_vector bytes(size, false);
    std::span<bool> copy(bytes.data(), size);
    auto total = scan(range_rows<std::span<bool>>(copy));
    std::copy(copy.begin(), copy.end(), std::ranges::begin(out));
    return total;
  } else {
    return scan(range_rows<Out>(out));
  }
}

template <class T>
void require_valid(const char* verb, const char* argument, const sequences<T>& array) {
  if (array.batch < 0 || array.time < 0 || array.lanes < 0) {
    bad_argument(verb, text({argument, " has shape [", array.batch, ", ", array.time, ", ", array.lanes, "]"}));
  }
  if (array.data == nullptr && array.batch > 0 && array.time > 0 && array.lanes > 0) {
    bad_argument(verb, text({argument, " is a null pointer"}));
  }
}

template <class T, class U>
void require_same_shape(const char* verb, const sequences<T>& in, const sequences<U>& out) {
  require_valid(verb, "in", in);
  require_valid(verb, "out", out);
  require_size(verb, "batch of out", out.batch, in.batch);
  require_size(verb, "time of out", out.time, in.time);
  require_size(verb, "lanes of out", out.lanes, in.lanes);
}

}  // namespace kalscan::detail
