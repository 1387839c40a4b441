// SPDX-License-Identifier: MIT
// The backward information filter on small matrices: what later data say of an earlier state, and the smoothed belief.
#pragma once

#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// The likelihood of data as a function of a state x, up to a constant: exp(eta'x - x'J x / 2).
template <class T, int N>
struct small_likelihood {
  small_vector<T, N> eta;
  small_symmetric<T, N> J;
};

/// What the data of the stretch and all later ones say of the state before it, from what the later ones say of the
/// state after it: eta and J of the combined stretches.
template <detail::residues = detail::residues::kept, class T, int N>
[[nodiscard]] KALSCAN_HD small_likelihood<T, N> act_backward(const small_filtering_element<T, N>& stretch,
                                                             const small_likelihood<T, N>& later) {
  if constexpr (N == 1) {
    const auto x = filtering_monoid<T>{}(detail::one_state(stretch), {T(1), T(0), T(0), later.eta.x[0], later.J.x[0]});
    return {{{x.eta}}, {{x.J}}};
  } else {
    small_filtering_element<T, N> x = stretch;
    const auto rest = detail::take_likelihood(later.eta, later.J, x);
    detail::add(x.eta, detail::transposed_times(x.A, rest));
    return {x.eta, x.J};
  }
}

/// The smoothed belief of a state, from the filtered one and what later data say of its deviation from the filtered
/// mean. With `and_before`, `later` becomes what these and the data of the stretch that led to the state say of the state
/// before it, and `stretch` what it is given later data. Both covariances may be singular; nothing is inverted and no
/// covariances are subtracted.
template <class T, int N>
[[nodiscard]] KALSCAN_HD small_belief<T, N> smoothed(const small_belief<T, N>& filtered, small_likelihood<T, N>& later,
                                                     small_filtering_element<T, N>& stretch, bool and_before) {
  small_belief<T, N> x{{}, filtered.covariance};
  const auto rest = detail::for_each_reading(later.eta, later.J, [&](const small_vector<T, N>& h, T w, int first) {
    detail::take_unit_reading(h, w, first, x.mean, x.covariance);
    if (N > 1 && and_before)
      detail::extend_likelihood(stretch, h, T(1),
                                detail::take_unit_reading(h, w, first, stretch.b, stretch.C), first);
  });
  detail::add(x.mean, detail::times(x.covariance, rest));
  detail::add(x.mean, filtered.mean);
  detail::clear_null_variances(x.covariance);
  if constexpr (N == 1) {
    if (and_before) later = act_backward(stretch, later);
  } else {
    detail::add(stretch.eta, detail::transposed_times(stretch.A, rest));
    later = {stretch.eta, stretch.J};
  }
  return x;
}

}  // namespace kalscan
