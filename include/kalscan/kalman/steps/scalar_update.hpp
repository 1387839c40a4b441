// SPDX-License-Identifier: MIT
// A Gaussian belief and one scalar observation.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

inline constexpr const char* bad_innovation = "the innovation covariance is not finite or not positive semi-definite";
inline constexpr const char* contradiction = "the observation contradicts a prediction that has no variance";

/// A scalar observation h'x + N(0, d) of x ~ N(mean, P): the innovation v, its variance s = h'P h + d, the gain K = P h
/// / s, and q = P h / sqrt(s).
template <class T, int N>
struct scalar_innovation {
  Eigen::Vector<T, N> q{}, K{};
  T v{}, s{}, scale{};          // scale = 1 / sqrt(s); s = 0: it says nothing new
  const char* wrong = nullptr;  // what is
};

/// Where something may be known exactly, a covariance P comes with E: its rounding errors lie between -E and E as
/// quadratic forms, so that a variance no larger than E's is zero. This is the part of E that one computation of P
/// adds, whose diagonal entries are sums of terms no larger than these.
template <class Vector>
KALSCAN_HD auto new_rounding(const Vector& terms) {
  return 2 * static_cast<typename Vector::Scalar>(terms.size()) *
         std::numeric_limits<typename Vector::Scalar>::epsilon() * terms;
}

/// Component i of an observation. E is null where all noise has a variance.
template <class T, int N, int M>
scalar_innovation<T, N> innovation_of(const scalar_observations<T, N, M>& o, Eigen::Index i,
                                      const Eigen::Vector<T, N>& h, const Eigen::Vector<T, N>& mean,
                                      const Eigen::Matrix<T, N, N>& P, const Eigen::Matrix<T, N, N>* E) {
  const T rough = std::sqrt(std::numeric_limits<T>::epsilon());
  scalar_innovation<T, N> x;
  x.q = times(P, h);
  x.v = o.y(i) - h.dot(mean);
  T variance = h.dot(x.q);
  if (!(variance > 0) || equal(o.d(i), 0)) {
    const Eigen::Vector<T, N> size = h.cwiseAbs();
    const T terms = size.dot(times(P.cwiseAbs(), size));
    const T error = E ? (std::max)(h.dot(times(*E, h)), T(0)) : T(0);
    if (!(variance >= -rough * terms - error)) x.wrong = bad_innovation;
    if (equal(o.d(i), 0) && variance <= error) {
      const T slack = rough * (o.terms(i) + size.dot(mean.cwiseAbs())) + std::sqrt(error);
      if (!x.wrong && !(std::abs(x.v) <= slack)) x.wrong = contradiction;
      x.s = 0;
      return x;
    }
    if (!(variance > 0)) {
      variance = 0;
      x.q.setZero();
    }
  }
  x.s = variance + o.d(i);
  if (!(x.s <= (std::numeric_limits<T>::max)())) x.wrong = bad_innovation;
  x.scale = 1 / std::sqrt(x.s);
  x.q *= x.scale;
  x.K = x.scale * x.q;
  return x;
}

/// Takes the components of an observation in order, and calls seen(i, h, x) after each that says something, where x is
/// its scalar_innovation. Returns what is wrong, or nullptr.
template <class T, int N, int M, class Seen>
const char* observe(const scalar_observations<T, N, M>& o, Eigen::Vector<T, N>& mean, Eigen::Matrix<T, N, N>& P,
                    Eigen::Matrix<T, N, N>* E, Seen seen) {
  Eigen::Vector<T, N> terms = Eigen::Vector<T, N>::Zero(mean.size());
  for (Eigen::Index i = 0; i < o.count; ++i) {
    const Eigen::Vector<T, N> h = o.H.row(i).transpose();
    const auto x = innovation_of(o, i, h, mean, P, E);
    if (x.wrong) return x.wrong;
    if (equal(x.s, 0)) continue;
    mean += x.v * x.K;
    if (E) {
      // A mean that was far away leaves rounding: what is known exactly agrees with the observation afterwards.
      if (equal(o.d(i), 0)) mean += (o.y(i) - h.dot(mean)) * x.K;
      const Eigen::Vector<T, N> deviation = P.diagonal().cwiseAbs().cwiseSqrt();
      terms = (deviation + h.cwiseAbs().dot(deviation) * x.K.cwiseAbs()).cwiseAbs2();
      E->diagonal() += new_rounding(terms);
      Eigen::Matrix<T, N, N> keep = -times(x.K, h.transpose());
      keep.diagonal().array() += T(1);
      *E = congruence(keep, *E);
    }
    observe_scalar(P, h, o.d(i), x.s, x.q, x.K);
    if (E) {
      // The rounding along h, where it has been taken back to second order, and that of what is stored.
      const T again = std::numeric_limits<T>::epsilon() * (T(1) + h.cwiseAbs().dot(x.K.cwiseAbs()));
      E->diagonal() += new_rounding(P.diagonal().cwiseAbs() + again * terms);
    }
    seen(i, h, x);
  }
  symmetrize(P);
  clear_null_variances(P, [&](Eigen::Index i) { return E ? (*E)(i, i) : T(0); });
  return nullptr;
}

}  // namespace kalscan::detail
