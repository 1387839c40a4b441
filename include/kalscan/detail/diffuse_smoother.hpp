// SPDX-License-Identifier: MIT
// The smoother of the first steps under a prior that is diffuse in part.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <kalscan/detail/diffuse_history.hpp>
#include <kalscan/detail/linalg.hpp>
#include <limits>

namespace kalscan::detail {

/// The modified Bryson-Frazier recursion given the unknowns d, backwards through the steps of the beginning:
/// x_t | d, beginning ~ N(b + C (r - M d) + A d, C - C N C). The later data then correct the joint belief of x_t and
/// x_end, which has the covariance X: they are given as a score r_end and information N_end, with which the smoothed
/// x_end is N(mean + P r_end, P - P N_end P).
template <class T>
class diffuse_smoother {
 public:
  using history_type = diffuse_history<T>;
  using matrix = typename history_type::matrix;
  using vector = typename history_type::vector;
  using given = Eigen::Map<const matrix>;

  struct belief {
    vector mean;
    matrix covariance, diffuse;
    bool proper = true;
  };

  diffuse_smoother(const history_type& history, const vector& later_r, const matrix& later_N)
      : history_(history),
        later_r_(later_r),
        later_N_(later_N),
        last_spread_(history.A * history.root),
        changes_(history.changes.size()) {
    const Eigen::Index n = history.A.rows(), q = history.A.cols();
    r_ = vector::Zero(n);
    M_ = matrix::Zero(n, q);
    N_ = matrix::Zero(n, n);
    chain_ = matrix::Identity(n, n);
    to_old_ = matrix::Identity(q, q);
    known_ = vector::Zero(q);
  }

  /// The belief of x_t given all data. To be called for t = size - 1 ... 0, with a transition between two calls.
  belief step(std::int64_t t) {
    undo([&](const auto& change) { return change.step > t; });
    const auto [A, C, b] = history_.after(t);
    belief x;
    matrix coefficients = in_last_coordinates(A);
    coefficients.noalias() -= C * M_;
    const matrix spread = coefficients * history_.root, CN = C * N_;
    matrix X = spread * last_spread_.transpose();
    X.noalias() += C * chain_.transpose();
    x.mean = b + A * known_ + coefficients * history_.mean + C * r_ + X * later_r_;
    x.covariance = spread * spread.transpose() + C - CN * C - X * later_N_ * X.transpose();
    symmetrize(x.covariance);
    clear_null_variances(x.covariance, [](Eigen::Index) { return T(0); });
    matrix unseen = matrix::Zero(A.rows(), history_.free.cols());
    for (const Eigen::Index j : history_.unseen) unseen += coefficients.col(j) * history_.free.row(j);
    x.diffuse = unseen * unseen.transpose();
    symmetrize(x.diffuse);
    x.proper = !(x.diffuse.size() > 0 && x.diffuse.diagonal().maxCoeff() > 0);
    for (std::int64_t i = history_.first_reading(t + 1); i-- > history_.first_reading(t);) {
      undo([&](const auto& change) { return change.reading > i; });
      take(history_.at(i));
    }
    return x;
  }

  /// Steps back over the transition F.
  void transition(const given& F) {
    r_ = F.transpose() * r_;
    M_ = F.transpose() * M_;
    N_ = congruence(F.transpose(), N_);
    symmetrize(N_);
    chain_ = chain_ * F;
  }

 private:
  void take(const typename history_type::reading& o) {
    vector a = in_last_coordinates(o.a.transpose()).transpose();
    for (const Eigen::Index j : history_.unseen) a(j) = 0;
    const T v = o.v - o.a.dot(known_);
    r_ += o.h * (v / o.f - o.gain.dot(r_));
    M_ += o.h * (a / o.f - M_.transpose() * o.gain).transpose();
    const vector g = N_ * o.gain;
    const T s = 1 / o.f + o.gain.dot(g);
    N_ -= o.h * g.transpose();
    N_ -= g * o.h.transpose();
    N_ += s * o.h * o.h.transpose();
    symmetrize(N_);
    chain_ -= (chain_ * o.gain) * o.h.transpose();
  }

  /// Undoes the last changes of coordinates: those before them are to_old [last coordinates] + known.
  template <class Later>
  void undo(Later later) {
    while (changes_ > 0 && later(history_.changes[changes_ - 1])) {
      const auto& change = history_.changes[--changes_];
      const matrix old = in_last_coordinates(change.row.transpose());
      known_(change.pivot) = change.row.dot(known_) + change.known;
      to_old_.row(change.pivot) = old;
    }
  }

  /// x to_old, where sums that are no more than the rounding of their terms are zero.
  template <class X>
  matrix in_last_coordinates(const X& x) const {
    matrix y = x;
    if (changes_ == history_.changes.size()) return y;
    const T rounding = std::pow(std::numeric_limits<T>::epsilon(), T(0.75));
    y = x * to_old_;
    const matrix terms = x.cwiseAbs() * to_old_.cwiseAbs();
    return (y.array().abs() <= rounding * terms.array()).select(T(0), y);
  }

  const history_type& history_;
  const vector& later_r_;
  const matrix& later_N_;
  matrix last_spread_;
  std::size_t changes_;  // of the history that are still ahead
  vector r_, known_;
  matrix M_, N_, chain_, to_old_;  // chain: from x_t to x_end, given d
};

}  // namespace kalscan::detail
