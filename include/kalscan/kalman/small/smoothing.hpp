// SPDX-License-Identifier: MIT
// The smoothing element and its operator on small matrices: what later data say of an earlier state, composed.
#pragma once

#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// What a stretch of data adds to a filtered belief N(m, P) of the state before it: N(m + P r, P - P N P). Where later
/// data say r' and N' of the state after the stretch, together they say L' r' + r and L' N' L + N.
template <class T, int States>
struct small_smoothing_element {
  small_matrix<T, States, States> L;
  small_vector<T, States> r;
  small_symmetric<T, States> N;
};

/// What all later data say of a state: that of a stretch without L, since nothing comes after.
template <class T, int States>
struct small_smoothing_state {
  small_vector<T, States> r;
  small_symmetric<T, States> N;
};

/// What the data of the stretch and all later ones say, from what the later ones say of the state after it.
template <class T, int States>
[[nodiscard]] KALSCAN_HD small_smoothing_state<T, States> act(const small_smoothing_element<T, States>& x,
                                                              const small_smoothing_state<T, States>& later) {
  small_smoothing_state<T, States> s{x.r, detail::transposed_congruence(x.L, later.N, x.N)};
  detail::add(s.r, detail::transposed_times(x.L, later.r));
  return s;
}

/// The backward recursion of Bryson and Frazier (1963) and de Jong (Biometrika 76, 1989), which inverts no covariance.
/// Operands in order of time; a smoother is a suffix scan. Associative up to rounding.
template <class T, int States>
struct small_smoothing_monoid {
  using element = small_smoothing_element<T, States>;

  KALSCAN_HD static constexpr element identity() { return {detail::identity_matrix<T, States>(), {}, {}}; }

  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    const auto s = act(earlier, small_smoothing_state<T, States>{later.r, later.N});
    return {detail::times(later.L, earlier.L), s.r, s.N};
  }
};
static_assert(monoid<small_smoothing_monoid<double, 2>>);

/// The smoothed belief of a state, from the filtered one.
template <class T, int States>
[[nodiscard]] KALSCAN_HD small_belief<T, States> smoothed(const small_belief<T, States>& filtered,
                                                          const small_smoothing_state<T, States>& s) {
  const auto& P = filtered.covariance;
  small_symmetric<T, States> minus = s.N;
  detail::for_each_entry<small_symmetric<T, States>>([&](int i, int j) { minus(i, j) = -minus(i, j); });
  small_belief<T, States> x{filtered.mean, detail::congruence(P, minus, P)};
  detail::add(x.mean, detail::times(P, s.r));
  return x;
}

}  // namespace kalscan
