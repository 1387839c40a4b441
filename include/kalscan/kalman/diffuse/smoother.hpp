// SPDX-License-Identifier: MIT
// The smoother of the first steps under a prior that is diffuse in part.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/diffuse/end_spread.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <limits>
#include <utility>

namespace kalscan::detail {

/// The modified Bryson-Frazier recursion given the unknowns d, backwards through the steps of the beginning:
/// x_t | d, beginning ~ N(b + C (r - M d) + A d, C - C N C).
///
/// The later data come in through the smoothed belief of x_end, the state after the beginning. With d = mean + root e +
/// free u and the state's own error root(C_end) g, x_end - mean = [A root root(C_end)] (e, g) + A free u, and x_t is
/// linear in e, g, u and a rest. What the later data tell of these is told of u and of the directions of (e, g) that are
/// seen in x_end, and the others keep their variance one: no covariance is a difference of large ones, however much the
/// later data tell. A beginning in parts is smoothed part by part: those directions and u are the unknowns of the next
/// part.
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
    T rounding = 0;          ///< of these variances, relative to them, at the most
    /// Likewise of the filtered variances, where they are mostly those of unknowns that are hardly known: what the next step
    /// tells of the state may have such errors.
    T vague = 0;
  };

  /// N(mean, root root') + kappa free free', kappa without bound.
  struct unknowns {
    vector mean{};
    matrix root{}, free{};
  };

  /// `later`: there are data after the beginning. They have added `change` to the mean of x_end, which is proper.
  diffuse_smoother(const history_type& history, bool later, const vector& change, const view& smoothed)
      : diffuse_smoother(history) {
    if (!later) return;
    const matrix inverse = end_.inverse();
    vector mean;
    matrix covariance(smoothed);
    multiply(mean, inverse, change);
    transform(covariance, inverse);
    const matrix root = root_of<T>(covariance);
    const Eigen::Index k = free_.rows();
    set_zero(root_, root_.rows(), root.cols());
    for (Eigen::Index i = 0; i < end_.rank(); ++i) {
      mean_(k + i) = mean(i);
      for (Eigen::Index j = 0; j < root.cols(); ++j) root_(k + i, j) = root(i, j);
    }
  }
  /// The later data are readings Z'x_end = Z' mean + v + N(0, I). What they do not tell of x_end is left as it was,
  /// however little of it is seen there.
  diffuse_smoother(const history_type& history, const matrix& Z, const vector& v) : diffuse_smoother(history) {
    const auto told = end_.given(Z, v);
    const Eigen::Index k = free_.rows();
    for (Eigen::Index i = 0; i < end_.rank(); ++i) {
      mean_(k + i) = told.mean(i, 0);
      for (Eigen::Index j = 0; j < end_.rank(); ++j) root_(k + i, j) = told.root(i, j);
    }
  }
  /// What the later data tell of the unknowns of the next part.
  diffuse_smoother(const history_type& history, const unknowns& next) : diffuse_smoother(history) {
    const Eigen::Index k = free_.rows();
    mean_ = next.mean;
    root_ = next.root;
    free_.resize(k, next.free.cols());
    for (Eigen::Index j = 0; j < free_.cols(); ++j) std::copy_n(&next.free(0, j), k, &free_(0, j));
  }

  /// The belief of x_t given all data; P is its covariance given those up to t. To be called for t = size - 1 ... 0,
  /// with a transition between two calls.
  belief step(std::int64_t t, const view& P) {
    undo([&](const auto& change) { return change.step > t; });
    const auto o = history_.after(t);
    const Eigen::Index n = o.C.rows;
    matrix coefficients = in_last_coordinates(o.A), product, back;
    add_product(coefficients, -1, o.C, M_);
    transpose(back, chain_);
    multiply(product, o.C, back);
    const matrix last = of_last_error(product);
    belief x;
    set_zero(x.covariance, n, n);
    multiply(product, o.C, N_);
    add_outer(x.covariance, -1, product, o.C);
    add_outer(x.covariance, -1, last, last);
    add_multiple(x.covariance.data(), n * n, T(1), o.C.data);
    const auto clear = [&] { clear_null_variances(x.covariance, [](Eigen::Index) { return T(0); }); };
    if (noiseless()) clear();
    const unknowns told = of_unknowns(coefficients, last);
    multiply(x.mean, o.A, known_);
    add_multiple(x.mean.data(), n, T(1), told.mean.data());
    add_product(x.mean, 1, o.C, r_);
    add_multiple(x.mean.data(), n, T(1), o.b.data);
    // These have the errors of what was taken from a difference that is not positive: to clear it would leave them.
    add_outer(x.covariance, 1, told.root, told.root);
    symmetrize(x.covariance);
    clear();
    set_zero(x.diffuse, n, n);
    add_outer(x.diffuse, 1, told.free, told.free);
    symmetrize(x.diffuse);
    for (Eigen::Index i = 0; i < n; ++i) x.proper = x.proper && !(x.diffuse(i, i) > 0);
    for (Eigen::Index i = 0; i < n; ++i) {
      if (P(i, i) > 100 * o.C(i, i)) x.vague = (std::max)(x.vague, relative_rounding(P(i, i), x.covariance(i, i)));
    }
    x.rounding = rounding_of_difference(o.C, x.covariance, x.vague > 0 ? T(0) : end_terms_);
    x.cancelled = x.rounding > std::pow(std::numeric_limits<T>::epsilon(), T(0.75));
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
    M_.swap(moved);
    transform(N_, back);
    symmetrize(N_);
    multiply(moved, chain_, F);
    clear_subnormal(moved);
    chain_.swap(moved);
  }

  /// The unknowns of this part given all data, after its first step.
  unknowns first_unknowns() {
    undo([](const auto&) { return true; });
    matrix identity, none;
    set_identity(identity, to_old_.rows(), to_old_.rows());
    set_zero(none, to_old_.rows(), chain_.rows());
    unknowns x = of_unknowns(in_last_coordinates(identity), none);
    add_multiple(x.mean.data(), x.mean.size(), T(1), known_.data());
    x.root = narrowed(x.root);
    return x;
  }

 private:
  [[gnu::noinline]] explicit diffuse_smoother(const history_type& history)
      : history_(history), end_(history.A, history.root, own_covariance(history)), changes_(history.changes.size()) {
    const Eigen::Index n = history.A.rows(), q = history.A.cols(), k = history.free.cols();
    set_zero(r_, n);
    set_zero(known_, q);
    set_zero(M_, n, q);
    set_zero(N_, n, n);
    set_identity(chain_, n, n);
    set_identity(to_old_, q, q);
    set_zero(mean_, k + end_.rank());
    set_zero(root_, k + end_.rank(), end_.rank());
    for (Eigen::Index i = 0; i < end_.rank(); ++i) root_(k + i, i) = 1;
    set_identity(free_, k, k);
    if (!noiseless()) end_terms_ = terms_of_end(end_.own);
  }

  /// Whether something is read without noise.
  bool noiseless() const { return history_.rounding.size() > 0; }

  /// Of the state after the last step, given d.
  static matrix own_covariance(const history_type& history) { return matrix(history.after(history.size() - 1).C); }

  /// How many times the variances are larger than what a pivot of the root leaves of them: where some combination of
  /// the states is known far better than these, covariances with its error, which are divided by it, lose as many digits.
  static T terms_of_end(const semidefinite_root<matrix>& own) {
    T most = 1;
    for (Eigen::Index j = 0; j < own.rank; ++j) {
      const Eigen::Index pivot = own.pivot(j);
      T squares = 0;
      for (Eigen::Index k = 0; k <= j; ++k) squares += own.root(pivot, k) * own.root(pivot, k);
      most = (std::max)(most, squares / (own.root(pivot, j) * own.root(pivot, j)));
    }
    return most;
  }

  /// What is `coefficients` d + `of_error` g.
  unknowns of_unknowns(const matrix& coefficients, const matrix& of_error) const {
    const Eigen::Index n = coefficients.rows(), k = free_.rows(), seen = end_.rank();
    unknowns x;
    matrix of_free, of_e, spread, product;
    multiply(of_free, unseen_columns(coefficients), unseen_rows());
    multiply(of_e, coefficients, history_.root);
    multiply(spread, side_by_side<T>(of_e, of_error), end_.directions);
    const matrix told = side_by_side<T>(of_free, view(spread.data(), n, seen));
    multiply(x.mean, coefficients, history_.mean);
    add_product(x.mean, 1, told, mean_);
    multiply(product, told, root_);
    x.root = side_by_side<T>(product, view(spread.data() + n * seen, n, spread.cols() - seen));
    x.free = cleared(view(told.data(), n, k), free_);
    return x;
  }

  [[gnu::noinline]] matrix unseen_columns(const matrix& coefficients) const {
    const Eigen::Index n = coefficients.rows();
    matrix unseen(n, std::ssize(history_.unseen));
    for (Eigen::Index k = 0; k < unseen.cols(); ++k)
      std::copy_n(coefficients.data() + n * history_.unseen[static_cast<std::size_t>(k)], n, unseen.data() + n * k);
    return unseen;
  }
  [[gnu::noinline]] matrix unseen_rows() const {
    matrix rows(std::ssize(history_.unseen), history_.free.cols());
    for (Eigen::Index k = 0; k < rows.rows(); ++k) {
      for (Eigen::Index i = 0; i < rows.cols(); ++i)
        rows(k, i) = history_.free(history_.unseen[static_cast<std::size_t>(k)], i);
    }
    return rows;
  }

  /// Of a sum of such terms.
  static T relative_rounding(T terms, T sum) {
    return terms > 0 ? std::numeric_limits<T>::epsilon() * terms / sum : T(0);
  }

  /// Of C - C N C, or of what the error of x_end has of it.
  [[gnu::noinline]] T rounding_of_difference(const view& C, const matrix& smoothed, T of_end) const {
    T most = 0;
    for (Eigen::Index i = 0; i < C.rows; ++i) {
      if (noiseless() && equal(smoothed(i, i), 0)) continue;  // later data tell it exactly
      T terms = 0;
      for (Eigen::Index j = 0; j < C.cols; ++j) terms += std::abs(C(i, j)) * std::sqrt(std::abs(N_(j, j)));
      most = (std::max)(most, relative_rounding((std::max)(terms * terms, C(i, i) * of_end), smoothed(i, i)));
    }
    return most;
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
  [[gnu::noinline]] matrix of_last_error(const matrix& covariance) const {
    const Eigen::Index n = covariance.rows();
    matrix X;
    set_zero(X, n, covariance.cols());
    const auto& own = end_.own;
    for (Eigen::Index j = 0; j < own.rank; ++j) {
      const Eigen::Index pivot = own.pivot(j);
      std::copy_n(&covariance(0, pivot), n, &X(0, j));
      for (Eigen::Index k = 0; k < j; ++k) add_multiple(&X(0, j), n, -own.root(pivot, k), &X(0, k));
      for (Eigen::Index i = 0; i < n; ++i) X(i, j) /= own.root(pivot, j);
    }
    return X;
  }

  [[gnu::noinline]] matrix in_last_coordinates(const view& x) const {
    if (changes_ < history_.changes.size()) return cleared(x, to_old_);
    return matrix(x);
  }

  /// x y, where sums that are no more than the rounding of their terms are zero.
  [[gnu::noinline]] static matrix cleared(const view& x, const view& y) {
    const T rounding = std::pow(std::numeric_limits<T>::epsilon(), T(0.75));
    matrix z(x.rows, y.cols);
    for (Eigen::Index j = 0; j < y.cols; ++j) {
      for (Eigen::Index i = 0; i < x.rows; ++i) {
        T sum = 0, terms = 0;
        for (Eigen::Index k = 0; k < x.cols; ++k) {
          const T term = x(i, k) * y(k, j);
          sum += term;
          terms += std::abs(term);
        }
        z(i, j) = std::abs(sum) <= rounding * terms ? T(0) : sum;
      }
    }
    return z;
  }

  const history_type& history_;
  end_spread<T> end_;
  vector mean_{};         // of u and of the directions of (e, g) that are seen in x_end, given the later data
  matrix root_{};         // of their covariance
  matrix free_{};         // of u
  std::size_t changes_;  // of the history that are still ahead
  T end_terms_ = 0;      // see terms_of_end; 0 where noiseless
  vector r_{}, known_{};
  matrix M_{}, N_{}, chain_{}, to_old_{};  // chain: from x_t to x_end, given d
};

}  // namespace kalscan::detail
