// SPDX-License-Identifier: MIT
// Vectors of values of a user's type, which may be bool: std::vector<bool> has no bools that a span could view, that a
// reference could be bound to, or that threads could write side by side.
#pragma once

#include <algorithm>
#include <cstddef>
#include <kalscan/support/config.hpp>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// What std::vector<bool> would be if it were like the others: as much of it as the library uses.
class bool_vector {
 public:
  bool_vector() = default;
  bool_vector(std::size_t size, bool value) : bool_vector() { assign(size, value); }
  bool_vector(const bool_vector& other) : bool_vector() { assign(other.begin(), other.end()); }
  bool_vector(bool_vector&& other) noexcept : bool_vector() { swap(other); }
  bool_vector& operator=(bool_vector other) {
    swap(other);
    return *this;
  }
  ~bool_vector() { delete[] data_; }

  void assign(std::size_t size, bool value) {
    size_ = 0;
    reserve(size);
    std::fill_n(data_, size, value);
    size_ = size;
  }
  template <class Iterator>
  void assign(Iterator first, Iterator last) {
    size_ = 0;
    for (; first != last; ++first) push_back(*first);
  }
  void reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    bool* const larger = new bool[capacity]{};
    std::copy_n(data_, size_, larger);
    delete[] data_;
    data_ = larger;
    capacity_ = capacity;
  }
  void push_back(bool value) {
    if (size_ == capacity_) reserve(2 * capacity_ + 16);
    data_[size_++] = value;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool* data() { return data_; }
  const bool* data() const { return data_; }
  bool& operator[](std::size_t i) { return data_[i]; }
  const bool& operator[](std::size_t i) const { return data_[i]; }
  bool* begin() { return data(); }
  bool* end() { return data() + size_; }
  const bool* begin() const { return data(); }
  const bool* end() const { return data() + size_; }

 private:
  void swap(bool_vector& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  bool* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

template <class T>
struct values_of {
  using type = std::vector<T>;
};
template <>
struct values_of<bool> {
  using type = bool_vector;
};
template <class T>
using values = typename values_of<T>::type;

}  // namespace kalscan::detail
