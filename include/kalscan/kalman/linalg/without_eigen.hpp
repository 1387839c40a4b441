// SPDX-License-Identifier: MIT
// Stands in for the matrix Kalman filter where <kalscan/kalscan.hpp> finds no Eigen: says so to whoever names it.
#pragma once

#include <kalscan/support/config.hpp>

namespace kalscan {
namespace detail {

template <class T>
struct without_eigen {
  static_assert(sizeof(T) == 0,
                "kalscan: the matrix Kalman filter needs Eigen 3.4: install it (libeigen3-dev) and add -I "
                "/usr/include/eigen3, or link kalscan::eigen in CMake");
  template <class... Parts>
  constexpr without_eigen(const Parts&...) {}
};

}  // namespace detail

template <class T, int N, int M>
using kalman_model = detail::without_eigen<T>;
template <class T, int N>
using gaussian_prior = detail::without_eigen<T>;
template <class T, int M>
using observations = detail::without_eigen<T>;

}  // namespace kalscan
