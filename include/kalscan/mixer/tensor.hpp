// SPDX-License-Identifier: MIT
// The arrays of a sequence mixer: views of shape [batch, time, channel, state] with any strides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan {
namespace detail {

/// The extents of a tensor [batch, time, channel, state], or the index of an entry.
using extents = std::array<std::int64_t, 4>;

}  // namespace detail

/// A view of shape [batch, time, channel, state]. An axis of extent 1 is broadcast: a value given once for all states,
/// say, is [B, L, M, 1], and one for all times and batches [1, 1, M, S]. Strides count elements and may be negative.
/// Where the extent is 1 they are 0: the constructors see to that, and so must who sets the fields. A view without data
/// stands for an array that is not there.
template <class T>
struct tensor {
  using value_type = std::remove_const_t<T>;
  using index = std::int64_t;

  T* data = nullptr;
  std::array<index, 4> extent{}, stride{};

  tensor() = default;
  /// A dense array, the last axis varying fastest.
  tensor(T* data_, index batch, index time, index channels, index states)
      : tensor(data_, {batch, time, channels, states}, {time * channels * states, channels * states, states, 1}) {}
  tensor(T* data_, std::array<index, 4> extent_, std::array<index, 4> stride_)
      : data(data_), extent(extent_), stride(stride_) {
    for (std::size_t axis = 0; axis < 4; ++axis) {
      if (extent[axis] == 1) stride[axis] = 0;
    }
  }
  /// A view that may be written serves where one to read is asked for.
  template <class U>
    requires(std::is_same_v<const U, T>)
  tensor(const tensor<U>& x) : data(x.data), extent(x.extent), stride(x.stride) {}

  KALSCAN_HD bool present() const { return data != nullptr; }
  KALSCAN_HD T* at(index b, index t, index m, index s) const {
    return data + b * stride[0] + t * stride[1] + m * stride[2] + s * stride[3];
  }
  KALSCAN_HD T& operator()(index b, index t, index m, index s) const { return *at(b, t, m, s); }
};

}  // namespace kalscan
