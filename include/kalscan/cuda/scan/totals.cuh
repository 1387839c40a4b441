// SPDX-License-Identifier: MIT
// What rows that go over many devices need of each: its stretch of a row as one element, and the fold of these elements
// into the state that enters a stretch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/cuda/scan/arguments.cuh>

namespace kalscan::detail {

/// The recurrence whose state after some inputs is the element that summarizes them, starting from the identity.
template <class R>
struct running_element {
  using state_type = element_t<monoid_t<R>>;
  using input_type = typename R::input_type;

  R recurrence;

  KALSCAN_HD constexpr auto monoid() const { return recurrence.monoid(); }
  KALSCAN_HD constexpr state_type step(const state_type& element, const input_type& input) const {
    return kalscan::absorb(recurrence, element, input);
  }
  KALSCAN_HD constexpr state_type absorb(const state_type& element, const input_type& input) const {
    return kalscan::absorb(recurrence, element, input);
  }
  KALSCAN_HD constexpr state_type lift(const input_type& input) const { return recurrence.lift(input); }
  KALSCAN_HD constexpr state_type act(const state_type& later, const state_type& earlier) const {
    return recurrence.monoid()(earlier, later);
  }
};
/// The recurrence that makes the element of a stretch: for a plain scan, whose states are elements, the scan's own.
template <class R>
struct element_recurrence {
  using type = running_element<R>;
};
template <monoid M>
struct element_recurrence<running<M>> {
  using type = running<M>;
};

/// What was gathered of all ranks' stretches: of the first one the states after it, of the others their elements. Those of a
/// rank lie row after row, and `bytes` after those of the rank before.
template <class R>
struct rank_totals {
  using state = typename R::state_type;
  using element = element_t<monoid_t<R>>;

  const std::byte* data;
  std::int64_t bytes;

  __device__ const state& state_of(int rank, std::int64_t row) const {
    return reinterpret_cast<const state*>(data + rank * bytes)[row];
  }
  __device__ const element& element_of(int rank, std::int64_t row) const {
    return reinterpret_cast<const element*>(data + rank * bytes)[row];
  }
};

/// out[row] is the state of rank `first`, taken through the elements of the ranks after it up to `end`, in steps of
/// `direction`.
template <class R>
__global__ void __launch_bounds__(128) fold_totals_kernel(const __grid_constant__ R recurrence,
                                                          const __grid_constant__ rank_totals<R> totals, int first,
                                                          int end, int direction, std::int64_t count,
                                                          typename R::state_type* out) {
  const std::int64_t row = std::int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (row >= count) return;
  auto x = totals.state_of(first, row);
  for (int r = first + direction; r != end; r += direction) x = recurrence.act(totals.element_of(r, row), x);
  out[row] = x;
}

}  // namespace kalscan::detail
