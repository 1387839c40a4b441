// SPDX-License-Identifier: MIT
// The smoother of the first steps under a prior that is diffuse in part.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <Eigen/QR>
#include <cmath>
#include <cstdint>
#include <kalscan/detail/diffuse_history.hpp>
#include <kalscan/detail/linalg.hpp>
#include <limits>

namespace kalscan::detail {

/// The modified Bryson-Frazier recursion given the unknowns d, backwards through the steps of the beginning:
/// x_t | d, beginning ~ N(b + C (r - M d) + A d, C - C N C).
///
/// The later data come in through the smoothed belief of x_end, the state after the beginning. With d = mean + root e
/// and the state's own error root(C_end) g, x_end - mean = [S root(C_end)] (e, g), and x_t is linear in e, g and a
/// rest. What x_end tells of (e, g) lies in the directions `seen` of these, and the others keep their variance one: no
/// covariance is a difference of large ones, however much the later data tell.
template <class T>
class diffuse_smoother {
 public:
  using history_type = diffuse_history<T>;
  using matrix = typename history_type::matrix;
  using vector = typename history_type::vector;
  using given = Eigen::Map<const matrix>;

  struct belief {
    vector mean{};
    matrix covariance{}, diffuse{};
    bool proper = true;
  };

  /// `later`: there are data after the beginning. They have added `change` to the mean of x_end.
  diffuse_smoother(const history_type& history, bool later, const vector& change, const matrix& smoothed)
      : history_(history), changes_(history.changes.size()) {
    const Eigen::Index n = history.A.rows(), q = history.A.cols(), p = history.root.cols();
    r_ = vector::Zero(n);
    known_ = vector::Zero(q);
    M_ = matrix::Zero(n, q);
    N_ = matrix::Zero(n, n);
    chain_ = matrix::Identity(n, n);
    to_old_ = matrix::Identity(q, q);
    const auto [A, C, b] = history.after(history.size() - 1);
    end_ = root_semidefinite(matrix(C), pivot_rounding(C), T(1), C.diagonal());
    if (!later) return;
    matrix rows(p + n, n);  // of x_end, transposed, of length one
    rows << (A * history.root).transpose(), end_.root.transpose();
    vector size = rows.colwise().norm().transpose();
    for (T& s : size) s = s > 0 ? s : T(1);
    rows *= size.cwiseInverse().asDiagonal();
    Eigen::ColPivHouseholderQR<matrix> qr(rows);
    qr.setThreshold(64 * static_cast<T>(n) * std::numeric_limits<T>::epsilon());
    rank_ = qr.rank();
    directions_ = qr.householderQ();
    matrix solved = matrix(qr.colsPermutation().transpose()).topRows(rank_) * size.cwiseInverse().asDiagonal();
    qr.matrixQR().topLeftCorner(rank_, rank_).template triangularView<Eigen::Upper>().transpose().solveInPlace(solved);
    mean_ = solved * change;
    covariance_ = congruence(solved, smoothed);
  }

  /// The belief of x_t given all data. To be called for t = size - 1 ... 0, with a transition between two calls.
  belief step(std::int64_t t) {
    undo([&](const auto& change) { return change.step > t; });
    const auto [A, C, b] = history_.after(t);
    belief x;
    matrix coefficients = in_last_coordinates(A);
    coefficients.noalias() -= C * M_;
    const Eigen::Index n = A.rows(), p = history_.root.cols();
    matrix spread(n, p + n);
    spread << coefficients * history_.root, of_last_error(C * chain_.transpose());
    x.covariance = C - C * N_ * C;
    x.covariance.noalias() -= spread.rightCols(n) * spread.rightCols(n).transpose();
    symmetrize(x.covariance);
    clear_null_variances(x.covariance, [](Eigen::Index) { return T(0); });
    x.mean = b + A * known_ + coefficients * history_.mean + C * r_;
    if (rank_ > 0) {
      spread = (spread * directions_).eval();
      x.mean += spread.leftCols(rank_) * mean_;
      x.covariance += congruence(spread.leftCols(rank_), covariance_);
    }
    const auto others = spread.rightCols(n + p - rank_);
    x.covariance.noalias() += others * others.transpose();
    symmetrize(x.covariance);
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
    constexpr T tiny =
        (std::numeric_limits<T>::min)() / std::numeric_limits<T>::epsilon();  // subnormal numbers are slow
    chain_ = (chain_.array().abs() < tiny).select(T(0), chain_);
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

  /// X with a covariance of x_t and x_end that is X root(C_end)'.
  matrix of_last_error(const matrix& covariance) const {
    matrix X = matrix::Zero(covariance.rows(), covariance.cols());
    for (Eigen::Index j = 0; j < end_.rank; ++j) {
      X.col(j) = covariance.col(end_.pivot(j));
      for (Eigen::Index k = 0; k < j; ++k) X.col(j) -= end_.root(end_.pivot(j), k) * X.col(k);
      X.col(j) /= end_.root(end_.pivot(j), j);
    }
    return X;
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
  semidefinite_root<matrix> end_{};  // of C after the last step
  matrix directions_{};              // of (e, g), orthonormal: those that x_end tells of come first
  Eigen::Index rank_ = 0;            // their number
  vector mean_{};                    // given the later data, in these directions
  matrix covariance_{};
  std::size_t changes_;  // of the history that are still ahead
  vector r_{}, known_{};
  matrix M_{}, N_{}, chain_{}, to_old_{};  // chain: from x_t to x_end, given d
};

}  // namespace kalscan::detail
