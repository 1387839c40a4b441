// SPDX-License-Identifier: MIT
// Many sequences in one array: a view of shape [batch, time, lane] with any strides.
#pragma once

#include <cstdint>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan {

/// A view of batch x lane sequences of `time` elements each: element (b, t, l) lies at
/// data[b * batch_stride + t * time_stride + l * lane_stride]. Strides count elements and may be negative. Sequences are
/// numbered b * lanes + l where initial and final states are listed.
template <class T>
struct sequences {
  T* data = nullptr;
  std::int64_t batch = 0, time = 0, lanes = 0;
  std::int64_t batch_stride = 0, time_stride = 0, lane_stride = 0;

  sequences() = default;
  /// A dense array, lane varying fastest.
  sequences(T* data_, std::int64_t batch_, std::int64_t time_, std::int64_t lanes_)
      : sequences(data_, batch_, time_, lanes_, time_ * lanes_, lanes_, 1) {}
  sequences(T* data_, std::int64_t batch_, std::int64_t time_, std::int64_t lanes_, std::int64_t batch_stride_,
            std::int64_t time_stride_, std::int64_t lane_stride_)
      : data(data_),
        batch(batch_),
        time(time_),
        lanes(lanes_),
        batch_stride(batch_stride_),
        time_stride(time_stride_),
        lane_stride(lane_stride_) {}
  /// A view that may be written serves where one to read is asked for.
  template <class U>
    requires(std::is_same_v<const U, T>)
  sequences(const sequences<U>& x)
      : sequences(x.data, x.batch, x.time, x.lanes, x.batch_stride, x.time_stride, x.lane_stride) {}
};

}  // namespace kalscan
