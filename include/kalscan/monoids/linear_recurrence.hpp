// SPDX-License-Identifier: MIT
// First-order linear recurrence h' = g h + u, one lane of gated linear attention or of a diagonal state-space model.
#pragma once

#include <kalscan/monoids/affine.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// h' = gain h + offset with a gain and an offset for each step (Martin & Cundy 2018, arXiv 1709.04057).
///
/// State: the scalar h. Input and element: an affine_map. Rounds as two operations a step; a product of gains
/// may overflow where h does not. It has no absorb of its own: a combine costs no more.
template <class T>
struct linear_recurrence {
  using state_type = T;
  using input_type = affine_map<T>;

  KALSCAN_HD static constexpr affine_monoid<T> monoid() { return {}; }
  KALSCAN_HD static constexpr T step(const T& state, const input_type& input) {
    return input.gain * state + input.offset;
  }
  KALSCAN_HD static constexpr affine_map<T> lift(const input_type& input) { return input; }
  KALSCAN_HD static constexpr T act(const affine_map<T>& element, const T& state) {
    return element.gain * state + element.offset;
  }
};

}  // namespace kalscan
