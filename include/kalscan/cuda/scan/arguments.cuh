// SPDX-License-Identifier: MIT
// A verb's work on the device, as its kernels take it.
#pragma once

#include <cstdint>
#include <kalscan/cuda/scope/verbs.cuh>
#include <kalscan/scan.hpp>

namespace kalscan::detail {

/// Rows of equal length: row i begins at batch i / lanes and lane i % lanes.
template <class T>
struct device_rows {
  T* data;
  std::int64_t lanes, batch_stride, time_stride, lane_stride;

  __device__ T* row(std::int64_t i) const {
    return lanes == 1 ? data + i * batch_stride : data + i / lanes * batch_stride + i % lanes * lane_stride;
  }
};

/// A recurrence over rows, writing each state before or after its step, as recurrence_sweep of <kalscan/scan.hpp>. Row
/// i starts from initial[i], or from `start` where `initial` is null, and leaves its last state in final[i], where
/// `final` is not null.
template <emit Emit, device_recurrence R>
struct scan_arguments {
  using recurrence_type = R;
  using state_type = typename R::state_type;
  using input_type = typename R::input_type;
  using monoid_type = monoid_t<R>;
  using element = element_t<monoid_type>;
  static constexpr emit emits = Emit;
  static constexpr bool has_outputs = Emit != emit::nothing;

  R recurrence;
  device_rows<const input_type> in;
  device_rows<state_type> out;
  std::int64_t count, length;
  const state_type* initial;
  state_type start;
  state_type* final;

  __device__ state_type before(std::int64_t row) const {
    device_calls<R>::require();
    return initial == nullptr ? start : initial[row];
  }
  __device__ void finish(std::int64_t row, const state_type& state) const {
    if (final != nullptr) final[row] = state;
  }
};

}  // namespace kalscan::detail
