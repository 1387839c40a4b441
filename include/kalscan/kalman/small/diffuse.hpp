// SPDX-License-Identifier: MIT
// Stretches of time under a prior that is diffuse in part.
#pragma once

#include <kalscan/kalman/small/diffuse_belief.hpp>
#include <kalscan/kalman/small/diffuse_readings.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// The belief after the stretch, from the one before it.
template <class T, int N>
[[nodiscard]] KALSCAN_HD small_diffuse_belief<T, N> act(const small_filtering_element<T, N>& x,
                                                        const small_diffuse_belief<T, N>& before) {
  small_diffuse_belief<T, N> s = before;
  const auto rest = detail::for_each_reading(
      x.eta, x.J, [&](const small_vector<T, N>& h, T w, int first) { detail::take_unit_reading(h, w, first, x.J, s); });
  detail::join_if_known(s);
  detail::add(s.mean, detail::times(s.covariance, rest));
  small_diffuse_belief<T, N> after{x.b, detail::congruence(x.A, s.covariance, x.C), detail::moved_directions(x.A, s),
                                   s.vague};
  detail::add(after.mean, detail::times(x.A, s.mean));
  return after;
}

/// A stretch of time under a diffuse prior: an element or, where the series begins with the stretch, the belief after
/// it, with mean b, covariance C and directions A. So no rank is decided of what is summed of unknowns before the data.
template <class T, int N>
struct small_diffuse_element {
  small_filtering_element<T, N> x;
  int begins = 0;
  unsigned vague = 0;  ///< of the belief

  KALSCAN_HD static small_diffuse_element beginning(const small_diffuse_belief<T, N>& after) {
    return {{after.directions, after.mean, after.covariance, {}, {}}, 1, static_cast<unsigned>(after.vague)};
  }
};
template <class T, int N>
[[nodiscard]] KALSCAN_HD small_diffuse_belief<T, N> act(const small_diffuse_element<T, N>& e,
                                                        const small_diffuse_belief<T, N>& before) {
  if (e.begins) return {e.x.b, e.x.C, e.x.A, e.vague};
  return act(e.x, before);
}
/// Combines such stretches.
template <class T, int N>
struct small_diffuse_monoid {
  using element = small_diffuse_element<T, N>;

  KALSCAN_HD static constexpr element identity() { return {small_filtering_monoid<T, N>::identity()}; }
  KALSCAN_HD element operator()(const element& earlier, const element& later) const {
    if (later.begins) return later;
    if (earlier.begins) return element::beginning(act(later, act(earlier, {})));
    return {small_filtering_monoid<T, N, detail::residues_of<small_diffuse_belief<T, N>>>{}(earlier.x, later.x)};
  }
};

}  // namespace kalscan
