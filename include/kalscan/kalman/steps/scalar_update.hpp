// SPDX-License-Identifier: MIT
// A Gaussian belief and one scalar observation.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/filter_error.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// A scalar observation h'x + N(0, d) of x ~ N(mean, P): the innovation v, its variance s = h'P h + d, the gain K = P h
/// / s, and q = P h / sqrt(s).
template <class T, int N>
struct scalar_innovation {
  Eigen::Vector<T, N> q{}, K{};
  T v{}, s{}, scale{};          // scale = 1 / sqrt(s)
  const char* wrong = nullptr;  // what is wrong, or null
};

/// Component i of an observation, which has noise.
template <class T, int N, int M>
scalar_innovation<T, N> innovation_of(const scalar_observations<T, N, M>& o, Eigen::Index i,
                                      const Eigen::Vector<T, N>& h, const Eigen::Vector<T, N>& mean,
                                      const Eigen::Matrix<T, N, N>& P) {
  scalar_innovation<T, N> x;
  x.q = times(P, h);
  x.v = o.y(i) - h.dot(mean);
  T variance = h.dot(x.q);
  if (!(variance > 0)) {
    const Eigen::Vector<T, N> size = magnitudes(h);
    const T terms = size.dot(magnitudes(P, size));
    if (!(variance >= -std::sqrt(std::numeric_limits<T>::epsilon()) * terms)) x.wrong = bad_innovation;
    variance = 0;
    x.q.setZero();
  }
  x.s = variance + o.d(i);
  if (!(x.s <= (std::numeric_limits<T>::max)())) x.wrong = bad_innovation;
  x.scale = 1 / std::sqrt(x.s);
  x.q = x.scale * x.q;
  x.K = x.scale * x.q;
  return x;
}

/// Takes the components of an observation in order, and calls seen(i, h, x) after each, where x is its
/// scalar_innovation. Returns what is wrong, or nullptr.
template <class T, int N, int M, class Seen>
const char* observe(const scalar_observations<T, N, M>& o, Eigen::Vector<T, N>& mean, Eigen::Matrix<T, N, N>& P,
                    Seen seen) {
  for (Eigen::Index i = 0; i < o.count; ++i) {
    const Eigen::Vector<T, N> h = o.H.row(i).transpose();
    const auto x = innovation_of(o, i, h, mean, P);
    if (x.wrong) return x.wrong;
    mean += x.v * x.K;
    observe_scalar(P, h, o.d(i), x.s, x.q, x.K);
    seen(i, h, x);
  }
  symmetrize(P);
  clear_null_variances(P, [](Eigen::Index) { return T(0); });
  return nullptr;
}

/// Whether a reading h'x + N(0, d), with innovation x and now in P, has told far more of a sum of states than its own noise
/// leaves unknown, or of a state with which others are known nearly as well: of these P has lost the digits.
template <class T, int N>
bool tells_sharply(const Eigen::Vector<T, N>& h, T d, const scalar_innovation<T, N>& x,
                   const Eigen::Matrix<T, N, N>& P) {
  constexpr T more = beyond_digits<T>;
  if (!(x.s > more * d)) return false;
  Eigen::Index states = 0, last = 0;
  for (Eigen::Index j = 0; j < h.size(); ++j) {
    if (!equal(h(j), 0)) ++states, last = j;
  }
  if (states > 1) return true;
  for (Eigen::Index j = 0; j < h.size(); ++j) {
    if (j != last && x.q(j) * x.q(j) > more * P(j, j)) return true;
  }
  return false;
}

}  // namespace kalscan::detail
