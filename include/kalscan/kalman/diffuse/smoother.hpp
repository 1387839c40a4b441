// SPDX-License-Identifier: MIT
// The smoother of the first steps under a prior that is diffuse in part.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <limits>
#include <utility>

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
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  struct belief {
    vector mean{};
    matrix covariance{}, diffuse{};
    bool proper = true;
    bool cancelled = false;  ///< a variance may have lost digits, since later data tell far more than all before
  };

  /// `later`: there are data after the beginning. They have added `change` to the mean of x_end.
  diffuse_smoother(const history_type& history, bool later, const vector& change, const matrix& smoothed)
      : history_(history), changes_(history.changes.size()) {
    const Eigen::Index n = history.A.rows(), q = history.A.cols();
    set_zero(r_, n);
    set_zero(known_, q);
    set_zero(M_, n, q);
    set_zero(N_, n, n);
    set_identity(chain_, n, n);
    set_identity(to_old_, q, q);
    const auto last = history.after(history.size() - 1);
    matrix C(n, n);
    std::copy_n(last.C.data, n * n, C.data());
    const vector variances = C.diagonal();
    end_ = root_semidefinite(C, pivot_rounding(C), T(1), variances);
    if (later) take_later(last.A, change, smoothed);
  }

  /// The belief of x_t given all data; P is its covariance given those up to t. To be called for t = size - 1 ... 0,
  /// with a transition between two calls.
  belief step(std::int64_t t, const view& P) {
    undo([&](const auto& change) { return change.step > t; });
    const auto o = history_.after(t);
    const Eigen::Index n = o.C.rows, p = history_.root.cols();
    matrix coefficients = in_last_coordinates(o.A), product;
    add_product(coefficients, -1, o.C, M_);
    matrix spread = spread_of(coefficients, o.C);
    belief x;
    set_zero(x.covariance, n, n);
    multiply(product, o.C, N_);
    add_outer(x.covariance, -1, product, o.C);
    const view last(spread.data() + n * p, n, n);
    add_outer(x.covariance, -1, last, last);
    add_multiple(x.covariance.data(), n * n, T(1), o.C.data);
    symmetrize(x.covariance);
    clear_null_variances(x.covariance, [](Eigen::Index) { return T(0); });
    multiply(x.mean, o.A, known_);
    add_product(x.mean, 1, coefficients, history_.mean);
    add_product(x.mean, 1, o.C, r_);
    add_multiple(x.mean.data(), n, T(1), o.b.data);
    if (rank_ > 0) {
      multiply(product, spread, directions_);
      std::swap(spread, product);
      const view seen(spread.data(), n, rank_);
      add_product(x.mean, 1, seen, mean_);
      multiply(product, seen, covariance_);
      add_outer(x.covariance, 1, product, seen);
    }
    const view others(spread.data() + n * rank_, n, n + p - rank_);
    add_outer(x.covariance, 1, others, others);
    symmetrize(x.covariance);
    find_diffuse(x, coefficients);
    x.cancelled = cancels(o.C, P, x.covariance);
    for (std::int64_t i = history_.first_reading(t + 1); i-- > history_.first_reading(t);) {
      undo([&](const auto& change) { return change.reading > i; });
      take(history_.at(i));
    }
    return x;
  }

  /// Steps back over the transition F.
  void transition(const view& F) {
    matrix back, moved;
    transpose(back, F);
    const vector r = r_;
    multiply(r_, back, r);
    multiply(moved, back, M_);
    std::swap(M_, moved);
    transform(N_, back);
    symmetrize(N_);
    multiply(moved, chain_, F);
    clear_subnormal(moved);
    std::swap(chain_, moved);
  }

 private:
  void take_later(const view& A, const vector& change, const matrix& smoothed) {
    const Eigen::Index n = A.rows, p = history_.root.cols();
    matrix spread, rows, turned, solved;
    multiply(spread, A, history_.root);
    transpose(rows, side_by_side(spread, end_.root));  // of x_end, to length one
    vector size(n);
    for (Eigen::Index i = 0; i < n; ++i) {
      size(i) = std::sqrt(dot(p + n, &rows(0, i), &rows(0, i)));
      if (!(size(i) > 0)) size(i) = 1;
      for (Eigen::Index j = 0; j < p + n; ++j) rows(j, i) /= size(i);
    }
    set_identity(turned, p + n, p + n);
    const auto order = triangulate(rows, turned, 64 * static_cast<T>(n) * std::numeric_limits<T>::epsilon());
    rank_ = static_cast<Eigen::Index>(order.size());
    transpose(directions_, turned);
    set_identity(solved, rank_, rank_);
    solve_triangle(solved, rows, order, n);
    for (Eigen::Index j = 0; j < rank_; ++j) {
      for (Eigen::Index i = 0; i < n; ++i) solved(i, j) /= size(i);
    }
    matrix inverse;
    transpose(inverse, solved);
    multiply(mean_, inverse, change);
    covariance_ = smoothed;
    transform(covariance_, inverse);
  }

  /// [x y], of as many rows.
  static matrix side_by_side(const view& x, const view& y) {
    matrix both(x.rows, x.cols + y.cols);
    std::copy_n(x.data, x.rows * x.cols, both.data());
    std::copy_n(y.data, y.rows * y.cols, both.data() + x.rows * x.cols);
    return both;
  }

  /// The coefficients of x_t in e and g.
  matrix spread_of(const matrix& coefficients, const view& C) const {
    matrix of_e, back, covariance;
    multiply(of_e, coefficients, history_.root);
    transpose(back, chain_);
    multiply(covariance, C, back);
    return side_by_side(of_e, of_last_error(covariance));
  }

  /// Whether the rounding of C - C N C is felt, and is more than that of P.
  bool cancels(const view& C, const view& P, const matrix& smoothed) const {
    const T tolerance = std::pow(std::numeric_limits<T>::epsilon(), T(0.75));
    for (Eigen::Index i = 0; i < C.rows; ++i) {
      T terms = 0;
      for (Eigen::Index j = 0; j < C.cols; ++j) terms += std::abs(C(i, j)) * std::sqrt(std::abs(N_(j, j)));
      const T rounding = std::numeric_limits<T>::epsilon() * terms * terms;
      const bool felt = smoothed(i, i) > 0 && rounding > tolerance * smoothed(i, i);
      if (felt && terms * terms > 16 * P(i, i)) return true;
    }
    return false;
  }

  void find_diffuse(belief& x, const matrix& coefficients) const {
    const Eigen::Index n = coefficients.rows();
    matrix unseen(n, static_cast<Eigen::Index>(history_.unseen.size())), rows(unseen.cols(), history_.free.cols());
    matrix spread;
    for (Eigen::Index k = 0; k < unseen.cols(); ++k) {
      const Eigen::Index j = history_.unseen[static_cast<std::size_t>(k)];
      std::copy_n(coefficients.data() + n * j, n, unseen.data() + n * k);
      for (Eigen::Index i = 0; i < rows.cols(); ++i) rows(k, i) = history_.free(j, i);
    }
    multiply(spread, unseen, rows);
    set_zero(x.diffuse, n, n);
    add_outer(x.diffuse, 1, spread, spread);
    symmetrize(x.diffuse);
    for (Eigen::Index i = 0; i < n; ++i) x.proper = x.proper && !(x.diffuse(i, i) > 0);
  }

  void take(const typename history_type::reading& o) {
    const Eigen::Index n = o.h.rows, q = o.a.rows;
    const matrix a = in_last_coordinates(view(o.a.data, 1, q));
    const T v = o.v - dot(q, o.a.data, known_.data()), along = dot(n, o.gain.data, r_.data());
    add_multiple(r_.data(), n, v / o.f - along, o.h.data);
    for (Eigen::Index j = 0; j < q; ++j) {
      const bool unseen = std::find(history_.unseen.begin(), history_.unseen.end(), j) != history_.unseen.end();
      const T information = unseen ? T(0) : a(j) / o.f;
      add_multiple(&M_(0, j), n, information - dot(n, o.gain.data, &M_(0, j)), o.h.data);
    }
    vector g;
    multiply(g, N_, o.gain);
    const T s = 1 / o.f + dot(n, o.gain.data, g.data());
    add_outer(N_, -1, o.h, g);
    add_outer(N_, -1, g, o.h);
    add_outer(N_, s, o.h, o.h);
    symmetrize(N_);
    multiply(g, chain_, o.gain);
    add_outer(chain_, -1, g, o.h);
  }

  /// Undoes the last changes of coordinates: those before them are to_old [last coordinates] + known.
  template <class Later>
  void undo(Later later) {
    while (changes_ > 0 && later(history_.changes[changes_ - 1])) {
      const auto& change = history_.changes[--changes_];
      const Eigen::Index q = change.row.size();
      const matrix old = in_last_coordinates(view(change.row.data(), 1, q));
      known_(change.pivot) = dot(change.row, known_) + change.known;
      for (Eigen::Index j = 0; j < q; ++j) to_old_(change.pivot, j) = old(0, j);
    }
  }

  /// X with a covariance of x_t and x_end that is X root(C_end)'.
  matrix of_last_error(const matrix& covariance) const {
    const Eigen::Index n = covariance.rows();
    matrix X;
    set_zero(X, n, covariance.cols());
    for (Eigen::Index j = 0; j < end_.rank; ++j) {
      const Eigen::Index pivot = end_.pivot(j);
      std::copy_n(&covariance(0, pivot), n, &X(0, j));
      for (Eigen::Index k = 0; k < j; ++k) add_multiple(&X(0, j), n, -end_.root(pivot, k), &X(0, k));
      for (Eigen::Index i = 0; i < n; ++i) X(i, j) /= end_.root(pivot, j);
    }
    return X;
  }

  /// x to_old, where sums that are no more than the rounding of their terms are zero.
  matrix in_last_coordinates(const view& x) const {
    matrix y(x.rows, x.cols);
    if (changes_ == history_.changes.size()) {
      std::copy_n(x.data, y.size(), y.data());
      return y;
    }
    const T rounding = std::pow(std::numeric_limits<T>::epsilon(), T(0.75));
    for (Eigen::Index j = 0; j < x.cols; ++j) {
      for (Eigen::Index i = 0; i < x.rows; ++i) {
        T sum = 0, terms = 0;
        for (Eigen::Index k = 0; k < x.cols; ++k) {
          const T term = x(i, k) * to_old_(k, j);
          sum += term;
          terms += std::abs(term);
        }
        y(i, j) = std::abs(sum) <= rounding * terms ? T(0) : sum;
      }
    }
    return y;
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
