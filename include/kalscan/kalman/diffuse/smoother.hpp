// SPDX-License-Identifier: MIT
// The smoother of the first steps under a prior that is diffuse in part.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/diffuse/end_spread.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <limits>
#include <utility>

namespace kalscan::detail {

/// Backwards through the steps of the beginning: what x_t = b + A d + U g, g ~ N(0, I), has to do with the state x_end
/// after the last step, whose own error is U_end g_end. Given d and all data of the beginning, g is c + D d + B g_end + E e
/// with e ~ N(0, I). A reading and a transition turn g and independent noise into the next g by a contraction and an
/// orthogonal matrix, and c, D, B and E take these in reverse: nothing is a difference of larger things, and no matrix is
/// inverted.
///
/// The later data come in through the smoothed belief of x_end. With d = mean + root e + free u, x_end - mean = [A root
/// U_end] (e, g_end) + A free u, and x_t is linear in e, g_end, u and a rest. What the later data tell of these is told
/// of u and of the directions of (e, g_end) that are seen in x_end, and the others keep their variance one: no covariance
/// is a difference of large ones, however much the later data tell. A beginning in parts is smoothed part by part: those
/// directions and u are the unknowns of the next part.
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

  /// The belief of x_t given all data. To be called for the steps of the history's last part, t = size - 1 ... begin,
  /// with a transition between two calls.
  belief step(std::int64_t t) {
    undo([&](const auto& change) { return change.step > t; });
    const auto o = history_.after(t);
    const Eigen::Index n = o.b.rows;
    matrix coefficients = in_last_coordinates(o.A), of_end, rest;
    add_product(coefficients, 1, o.U, D_);
    multiply(of_end, o.U, B_);
    multiply(rest, o.U, E_);
    const unknowns told = of_unknowns(coefficients, of_end);
    belief x;
    multiply(x.mean, o.A, known_);
    add_multiple(x.mean.data(), n, T(1), told.mean.data());
    add_product(x.mean, 1, o.U, c_);
    add_multiple(x.mean.data(), n, T(1), o.b.data);
    x.covariance = outer_square<T>(rest);
    add_outer(x.covariance, 1, told.root, told.root);
    symmetrize(x.covariance);
    x.diffuse = outer_square<T>(told.free);
    symmetrize(x.diffuse);
    for (Eigen::Index i = 0; i < n; ++i) x.proper = x.proper && !(x.diffuse(i, i) > 0);
    for (std::int64_t i = history_.first_reading(t + 1); i-- > history_.first_reading(t);) {
      undo([&](const auto& change) { return change.reading > i; });
      take(history_.at(i));
    }
    return x;
  }

  /// Steps back over the transition F to step t. An orthogonal matrix turns [F U noise] into [next U 0], where `noise` is
  /// a root of the transition's: by its blocks g is `own` times the next g and `fresh` times what is independent of that.
  void transition(std::int64_t t, const view& F, const view& noise) {
    if (noise.cols == 0) return;
    const view U = history_.after(t).U;
    const Eigen::Index n = U.rows, cols = n + noise.cols;
    matrix moved, turned, own(n, n), fresh(n, noise.cols), product;
    multiply(moved, F, U);
    set_zero(turned, 2 * n, cols + 1);
    for (Eigen::Index j = 0; j < cols; ++j) {
      std::copy_n(j < n ? moved.col(j) : noise.col(j - n), n, turned.col(j));
      if (j < n) turned(n + j, j) = 1;
    }
    triangulate_columns(turned.data(), 2 * n, cols, n);
    for (Eigen::Index j = 0; j < n; ++j) std::copy_n(turned.col(j) + n, n, own.col(j));
    for (Eigen::Index j = n; j < cols; ++j) std::copy_n(turned.col(j) + n, n, fresh.col(j - n));
    for (matrix* x : {&c_, &D_, &B_, &E_}) {
      multiply(product, own, *x);
      clear_subnormal(product);
      x->swap(product);
    }
    E_ = narrowed(side_by_side<T>(E_, fresh));
  }

  /// The unknowns of this part given all data, after its first step.
  unknowns first_unknowns() {
    undo([](const auto&) { return true; });
    matrix identity, none;
    set_identity(identity, to_old_.rows(), to_old_.rows());
    set_zero(none, to_old_.rows(), B_.cols());
    unknowns x = of_unknowns(in_last_coordinates(identity), none);
    add_multiple(x.mean.data(), x.mean.size(), T(1), known_.data());
    x.root = narrowed(x.root);
    return x;
  }

 private:
  [[gnu::noinline]] explicit diffuse_smoother(const history_type& history)
      : history_(history),
        end_(history.A, history.root, history.after(history.size() - 1).U),
        changes_(history.changes.size()) {
    const Eigen::Index n = history.A.rows(), q = history.A.cols(), k = history.free.cols();
    set_zero(c_, n);
    set_zero(known_, q);
    set_zero(D_, n, q);
    set_identity(B_, n, n);
    set_zero(E_, n, 0);
    set_identity(to_old_, q, q);
    set_zero(mean_, k + end_.rank());
    set_zero(root_, k + end_.rank(), end_.rank());
    for (Eigen::Index i = 0; i < end_.rank(); ++i) root_(k + i, i) = 1;
    set_identity(free_, k, k);
  }

  /// `coefficients` d + `of_error` g_end, given all data.
  unknowns of_unknowns(const matrix& coefficients, const matrix& of_error) const {
    const Eigen::Index n = coefficients.rows(), k = free_.rows(), seen = end_.rank();
    unknowns x;
    matrix of_e, spread, product;
    const matrix of_free = cleared_product<T>(unseen_columns(coefficients), unseen_rows());
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

  void take(const typename history_type::reading& o) {
    const Eigen::Index n = o.f.rows, q = o.a.rows;
    const vector f(o.f);
    const matrix a = in_last_coordinates(view(o.a.data, 1, q));
    const T v = o.v - dot(q, o.a.data, known_.data());
    for (matrix* x : {&c_, &D_, &B_, &E_}) times_update(*x, f, o.noise);
    add_multiple(c_.data(), n, v / o.s, f.data());
    for (Eigen::Index j = 0; j < q; ++j) {
      const bool unseen = std::find(history_.unseen.begin(), history_.unseen.end(), j) != history_.unseen.end();
      if (!unseen) add_multiple(&D_(0, j), n, -a(0, j) / o.s, f.data());
    }
  }

  /// Undoes the last changes of coordinates: those before them are to_old [last coordinates] + known.
  template <class Later>
  void undo(Later later) {
    while (changes_ > 0 && later(history_.changes[changes_ - 1])) {
      const auto& change = history_.changes[--changes_];
      if (change.pivot < 0) {
        add_multiple(known_.data(), known_.size(), T(1), change.row.data());
        continue;
      }
      const Eigen::Index q = change.row.size();
      const matrix old = in_last_coordinates(view(change.row.data(), 1, q));
      known_(change.pivot) = dot(change.row, known_) + change.known;
      for (Eigen::Index j = 0; j < q; ++j) to_old_(change.pivot, j) = old(0, j);
    }
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
  vector c_{}, known_{};
  matrix D_{}, B_{}, E_{}, to_old_{};
};

}  // namespace kalscan::detail
