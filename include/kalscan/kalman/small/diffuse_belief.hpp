// SPDX-License-Identifier: MIT
// Beliefs that are diffuse in part, exactly: the limit of variances that grow without bound.
#pragma once

#include <cstdint>
#include <kalscan/kalman/small/directions.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <type_traits>

namespace kalscan {

/// x = mean + directions d + N(0, covariance), where the entries of d are independent, of mean zero and a variance
/// kappa that grows without bound: the covariance is that and kappa directions directions'. Columns of directions that
/// are zero do not count; without others the belief is proper.
///
/// Of column j the variance is one, not kappa, where bit j of `vague` is set: what one reading has told of a direction
/// may be so little that its square would take the digits of the covariance. Filters add such columns to the covariance
/// that they write: users see vague = 0.
template <class T, int N>
struct small_diffuse_belief {
  /// As wide as T, so that a belief has no padding: device code copies its bytes.
  using bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

  small_vector<T, N> mean;
  small_symmetric<T, N> covariance;
  small_matrix<T, N, N> directions;
  bits vague = 0;
};

/// The belief that knows nothing of any state.
template <class T, int N>
[[nodiscard]] KALSCAN_HD constexpr small_diffuse_belief<T, N> all_diffuse() {
  return {{}, {}, detail::identity_matrix<T, N>()};
}

namespace detail {

template <class Belief>
inline constexpr bool is_diffuse = false;
template <class T, int N>
inline constexpr bool is_diffuse<small_diffuse_belief<T, N>> = true;

/// For elements that act on such beliefs.
template <class Belief>
inline constexpr residues residues_of = residues::kept;
template <class T, int N>
inline constexpr residues residues_of<small_diffuse_belief<T, N>> =
    sizeof(T) == 4 ? residues::cleared_as_float : residues::cleared;

template <class T, int N>
KALSCAN_HD constexpr bool is_vague(const small_diffuse_belief<T, N>& x, int j) {
  return (x.vague >> j & 1U) != 0;
}
/// Whether the belief is improper.
template <class T, int N>
KALSCAN_HD constexpr bool has_directions(const small_diffuse_belief<T, N>& x) {
  bool any = false;
  unrolled<N>([&](int j) {
    if (is_vague(x, j)) return;
    unrolled<N>([&](int i) { any = any || !equal(x.directions(i, j), T(0)); });
  });
  return any;
}

/// The covariance, but for what grows without bound.
template <class T, int N>
KALSCAN_HD small_symmetric<T, N> covariance_of(const small_diffuse_belief<T, N>& x) {
  small_symmetric<T, N> P = x.covariance;
  if (x.vague == 0) return P;
  unrolled<N>([&](int j) {
    if (!is_vague(x, j)) return;
    for_each_entry<small_symmetric<T, N>>([&](int i, int k) { P(i, k) += x.directions(i, j) * x.directions(k, j); });
  });
  return P;
}
/// The directions of which nothing is known.
template <class T, int N>
KALSCAN_HD small_matrix<T, N, N> directions_of(const small_diffuse_belief<T, N>& x) {
  small_matrix<T, N, N> directions = x.directions;
  unrolled<N>([&](int j) { unrolled<N>([&](int i) { directions(i, j) = is_vague(x, j) ? T(0) : directions(i, j); }); });
  return directions;
}
/// Leaves no column vague.
template <class T, int N>
KALSCAN_HD void join(small_diffuse_belief<T, N>& x) {
  x.covariance = covariance_of(x);
  x.directions = directions_of(x);
  x.vague = 0;
}
/// Whether nothing is unknown or vague.
template <class T, int N>
KALSCAN_HD constexpr bool is_proper(const small_diffuse_belief<T, N>& x) {
  return x.vague == 0 && !has_directions(x);
}
template <class Belief>
KALSCAN_HD constexpr bool is_proper(const Belief&) {
  return true;
}
/// The same where it costs but a few bits: the vague columns are not far beyond what the covariance has, state by
/// state, or it is well conditioned with them.
template <class T, int N>
KALSCAN_HD void join_if_known(small_diffuse_belief<T, N>& x) {
  if (x.vague == 0) return;
  constexpr T few = T(0x1p-10);
  small_symmetric<T, N> P = covariance_of(x);
  const small_symmetric<T, N> all = P;
  bool small = true, regular = true;
  unrolled<N>([&](int k) { small = small && few * P(k, k) <= x.covariance(k, k); });
  if (!small) {
    unrolled<N>([&](int k) {
      if (equal(all(k, k), T(0))) return;
      regular = regular && P(k, k) >= few * all(k, k);
      const T inverse = regular ? 1 / P(k, k) : T(0);
      unrolled<N>([&](int j) {
        unrolled<N>([&](int i) {
          if (i >= j && j > k) P(i, j) -= P(i, k) * inverse * P(j, k);
        });
      });
    });
  }
  if (small || regular) join(x);
}

/// A transition of the directions.
template <class T, int N>
KALSCAN_HD small_matrix<T, N, N> moved_directions(const small_matrix<T, N, N>& F, const small_diffuse_belief<T, N>& x) {
  if constexpr (N == 1) {
    return {F.x[0] * x.directions.x[0]};
  } else {
    const small_matrix<T, N, N> own = F;
    small_matrix<T, N, N> moved = x.directions;
    move_directions(own, x.vague, moved);
    return moved;
  }
}

}  // namespace detail
}  // namespace kalscan
