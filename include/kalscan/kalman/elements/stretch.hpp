// SPDX-License-Identifier: MIT
// The element of a stretch of time as a function of x_in - guess, where x_in is the state before the stretch.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <limits>
#include <type_traits>

namespace kalscan::detail {

/// The element of a stretch as a function of x_in - guess. What readings tell of x_in is summed in it: where a state is
/// far from 0, sums of such numbers lose the digits of deviations. From a guess near the state it is a few deviations.
template <class Element, class Vector>
struct stretch_element {
  Element of_difference;
  Vector guess;
};

/// The state before a stretch that is likeliest by the stretch's data, J x = eta, where these tell that it is far from 0;
/// 0 where they do not, so that what fades to far less than a deviation keeps its digits.
template <class T, int N>
struct likeliest_state {
  Eigen::Vector<T, N> x;
  T size = 0;  // its distance from 0, in deviations

  likeliest_state(const Eigen::Matrix<T, N, N>& J, const Eigen::Vector<T, N>& eta)
      : x(Eigen::Vector<T, N>::Zero(eta.size())) {
    const auto root = root_semidefinite(J, std::pow(std::numeric_limits<T>::epsilon(), T(0.75)), T(1), J.diagonal());
    Eigen::Vector<T, N> w = x;  // Z w = eta, and then Z'x = w
    for (Eigen::Index k = 0; k < root.rank; ++k) {
      const Eigen::Index i = root.pivot(k);
      T known = 0;
      for (Eigen::Index j = 0; j < k; ++j) known += root.root(i, j) * w(j);
      w(k) = (eta(i) - known) / root.root(i, k);
      size = (std::max)(size, std::abs(w(k)));
    }
    const T near = std::pow(std::numeric_limits<T>::epsilon(), T(-1) / 6);
    for (Eigen::Index k = root.rank; k-- > 0;) {
      T left = std::abs(w(k)) > near ? w(k) : T(0);
      for (Eigen::Index j = k + 1; j < root.rank; ++j) left -= root.root(root.pivot(j), k) * x(root.pivot(j));
      x(root.pivot(k)) = left / root.root(root.pivot(k), k);
    }
  }
};
template <class T, int N>
likeliest_state<T, N> likeliest_before(const matrix_filtering_element<T, N>& x) {
  return {x.J, x.eta};
}
template <class T, int N>
likeliest_state<T, N> likeliest_before(const square_root_element<T, N>& x) {
  return {times(x.Z, transposed(x.Z)), times(x.Z, x.w)};
}

/// The element of steps [first, last). absorb(step, element) extends an element by a step, `none` is that of no steps.
/// Absorbs some first steps, twice as many as states, to get a guess, then all from there; if the guess turns out to be
/// far off, takes a better one from these and absorbs all steps once more.
template <class Element, class Absorb>
auto absorb_stretch(std::int64_t first, std::int64_t last, const Element& none, Absorb absorb) {
  using vector = std::remove_cvref_t<decltype(none.b)>;
  using T = typename vector::Scalar;
  const T far = std::pow(std::numeric_limits<T>::epsilon(), T(-1) / 3);
  const std::int64_t few = (std::min)(last, first + 2 * none.b.size());
  vector guess = none.b;
  stretch_element<Element, vector> x{none, guess};
  for (const std::int64_t end : {few, last, last}) {
    x = {none, guess};
    x.of_difference.b = guess;
    for (std::int64_t s = first; s < end; ++s) absorb(s, x.of_difference);
    const auto likely = likeliest_before(x.of_difference);
    if (end == last && !(likely.size > far)) break;
    if (is_finite(likely.x)) guess += likely.x;
  }
  return x;
}

}  // namespace kalscan::detail
