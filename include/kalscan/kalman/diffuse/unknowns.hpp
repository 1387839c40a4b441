// SPDX-License-Identifier: MIT
// How the state depends on unknowns, and what is known of these.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/kalman/diffuse/information.hpp>
#include <kalscan/kalman/diffuse/rounding.hpp>
#include <kalscan/kalman/linalg/compensated.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <numbers>
#include <vector>

namespace kalscan::detail {

/// The part A d of a state, for unknowns d of which the first have a flat prior and the others are N(0, I).
///
/// The coordinates of d are changed by elimination whenever a reading sees a direction of d for the first time: one
/// coordinate then becomes seen, and the reading says nothing of those that stay unseen. Likewise where a reading first
/// tells far more of a direction than the prior N(0, I): it says nothing of the coordinates that stay vague. One that is
/// known without error leaves. The origin of seen ones moves to their likeliest values where these are far from it.
/// Whether an entry of A is zero decides what is seen, hence the rounding errors of unseen columns are tracked.
template <class T>
class diffuse_unknowns {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;
  using history_type = diffuse_history<T>;

  /// The directions of diffuse unknowns, and a root of the covariance beside them, which is more by `root_rest` unless
  /// that is empty. Where the rounding of directions is given, they are what unknowns before these left unseen, in
  /// coordinates that are orthonormal.
  diffuse_unknowns(const view& root, const view& directions, const view& rounding, const view& root_rest)
      : information_(directions.cols, root.cols),
        errors_(directions.rows, directions.cols),
        orthonormal_(rounding.cols > 0) {
    const Eigen::Index n = directions.rows, flat = directions.cols;
    A_.set_zero(n, flat + root.cols);
    set_zero(largest_, flat + root.cols);
    std::copy_n(directions.data, n * flat, A_.value.data());
    std::copy_n(root.data, n * root.cols, A_.value.data() + n * flat);
    std::copy_n(root_rest.data, n * root_rest.cols, A_.rest.data() + n * flat);
    if (!orthonormal_) return;
    std::copy_n(rounding.data, n * flat, A_.rest.data());
    errors_ = sampled_rounding<T>(rounding);
  }

  const matrix& A() const { return A_.value; }
  const diffuse_information<T>& information() const { return information_; }
  const vector& a() const { return a_.value; }  ///< A'h of the last reading

  void predict(const view& F) {
    multiply(moved_, F, A_);
    errors_.predict(F, information_.unseen(), A_.value, moved_);
    clear_subnormal(moved_.value);  // what the filter has forgotten
    clear_subnormal(moved_.rest);
    for (const Eigen::Index j : information_.unseen()) {  // and what has no variance any more, as its squares underflow
      T largest = 0;
      for (Eigen::Index i = 0; i < F.rows; ++i) largest = (std::max)(largest, std::abs(moved_.value(i, j)));
      if (largest * largest < (std::numeric_limits<T>::min)()) clear_column(moved_, j);
    }
    A_.swap(moved_);
  }

  /// Looks at a reading h'A d = v + N(0, f). Returns the unknown to eliminate with it: an unseen one, if the reading
  /// contains any; else, if it has no error (f = 0), one that was seen. -1: there is none to eliminate.
  Eigen::Index pivot_of(const vector& h, T f) {
    multiply_transposed(a_, A_, h);
    set_zero(sizes_, a().size());
    errors_.read(h, information_.unseen(), A());
    for (const Eigen::Index j : information_.unseen()) {
      for (Eigen::Index i = 0; i < h.size(); ++i) sizes_(j) += std::abs(h(i) * A()(i, j));
      if (f > 0) largest_(j) = (std::max)(largest_(j), sizes_(j) / std::sqrt(f));
      if (errors_.is_zero(j, a()(j), sizes_(j))) sizes_(j) = 0;
    }
    const Eigen::Index pivot = pivot_among_unseen();
    if (pivot >= 0) return pivot;
    for (const Eigen::Index j : information_.unseen()) a_.clear(j);
    return f > 0 ? pivot : largest_of_seen();
  }

  /// The reading sees d_pivot first.
  [[gnu::noinline]] void see(Eigen::Index pivot, T v, T f, history_type& history, T& log_density) {
    vector change;
    set_zero(change, a().size());
    change(pivot) = 1;
    eliminate(pivot, change);
    history.add_change(pivot, change, T(0));
    for (const Eigen::Index j : information_.unseen()) {
      if (j != pivot) a_.clear(j);
    }
    information_.see(pivot, scaled_reading(v, f), log_density);
  }

  /// The reading tells of unknowns that were seen. Returns by how much the logarithm of the determinant of R grows.
  [[gnu::noinline]] T absorb(T v, T f, history_type& history, T& log_density) {
    if (const Eigen::Index pivot = pivot_among_vague(std::sqrt(f)); pivot >= 0) {
      vector change;
      set_zero(change, a().size());
      change(pivot) = 1;
      for (const Eigen::Index j : information_.vague()) {
        if (j == pivot || equal(a()(j), 0)) continue;
        change(j) = take_multiple(j, pivot);
        a_.clear(j);
      }
      history.add_change(pivot, change, T(0));
      information_.know(pivot, change);
    }
    vector row = scaled_reading(v, f);
    T gained = 0;
    log_density -= information_.absorb(row, gained);
    log_density -= gained;
    return gained;
  }

  /// The reading has no error: d_pivot leaves, and what is known of it is added to b.
  [[gnu::noinline]] void impose(Eigen::Index pivot, compensated<T> v, compensated_matrix<T>& b, history_type& history,
                                 T& log_density) {
    const compensated<T> exactly = quotient(v, a_(pivot));
    const T known = exactly.value;
    vector change;
    set_zero(change, a().size());
    if (sizes_(pivot) > 0) eliminate(pivot, change);
    for (const Eigen::Index j : information_.seen()) {
      if (j != pivot && !equal(a()(j), 0)) change(j) = take_multiple(j, pivot);
    }
    history.add_change(pivot, change, known);
    add_to_column(b, exactly, A().col(pivot), A_.rest.col(pivot));
    clear_column(A_, pivot);
    log_density -= std::log(2 * std::numbers::pi_v<T>) / 2 + std::log(std::abs(a()(pivot)));
    information_.impose(pivot, change, known, log_density);
  }

  /// A := (I - gain h') A.
  void reduce(const vector& gain) {
    for (const Eigen::Index j : information_.seen()) {
      add_multiple(A_, j, -a_.value(j), -a_.rest(j), gain.data());
      round_column(A_, j);
    }
  }

  /// Where the likeliest values of seen unknowns are far from zero, these become the new origin, and what A d was for
  /// them is added to b: A d is then no more than what is not known of it. For unseen unknowns the choice would depend on
  /// the units of states.
  [[gnu::noinline]] void move_origin(compensated_matrix<T>& b, history_type& history) {
    if (!information_.is_far()) return;
    vector likely;
    set_zero(likely, A().cols());
    information_.solve(likely);
    add_product(b, A_, likely);
    information_.move_origin(likely);
    history.add_move(likely);
  }

  /// y += A x, for the first columns of y.
  void add_known(compensated_matrix<T>& y, const matrix& x) const { add_product(y, A_, x); }

  /// Leaves to the history what the data tell of d.
  void end(history_type& history) const {
    const Eigen::Index q = A().cols();
    const auto &unseen = information_.unseen(), &seen = information_.seen();
    const matrix &nearest = information_.nearest(), &orthonormal = information_.orthonormal();
    history.A = A();
    history.unseen = unseen;
    set_zero(history.free, q, orthonormal.cols());
    set_zero(history.mean, q);
    matrix d;
    set_identity(d, q, q);
    for (std::size_t i = 0; i < unseen.size(); ++i) {
      const auto row = static_cast<Eigen::Index>(i);
      for (Eigen::Index j = 0; j < orthonormal.cols(); ++j) history.free(unseen[i], j) = orthonormal(row, j);
      for (const Eigen::Index j : seen) d(unseen[i], j) = nearest(row, j);
      history.mean(unseen[i]) = nearest(row, q);
    }
    information_.times_inverse(history.root, d);
    for (std::size_t j = 0; j < seen.size(); ++j)
      add_multiple(history.mean.data(), q, information_.value(j), &history.root(0, static_cast<Eigen::Index>(j)));
    compensated_matrix<T> directions;
    history.directions_rounding = errors_.multiply_columns(unseen, A_, orthonormal, directions);
    history.directions.swap(directions.value);
  }

 private:
  /// The unseen unknown to eliminate with a reading; -1: all their coefficients are zero. It is the one with the
  /// largest coefficient |a_j|, relative to the largest sum of terms that column j has had in a reading, in units of
  /// the reading's deviation given d; or, if some column has had none, relative to the terms that a_j itself is the sum
  /// of. The coordinates of orthonormal unknowns have the same units, and their coefficients are compared as they are.
  [[gnu::noinline]] Eigen::Index pivot_among_unseen() const {
    const auto& columns = information_.unseen();
    const bool scaled = std::none_of(columns.begin(), columns.end(),
                                     [&](Eigen::Index j) { return sizes_(j) > 0 && equal(largest_(j), 0); });
    Eigen::Index best = -1;
    T most = 0;
    for (const Eigen::Index j : columns) {
      const T unit = orthonormal_ ? T(1) : scaled ? largest_(j) : sizes_(j);
      const T size = sizes_(j) > 0 ? std::abs(a()(j)) / unit : T(0);
      if (size > most) {
        most = size;
        best = j;
      }
    }
    return best;
  }
  /// The vague unknown to eliminate with a reading whose noise has this deviation: that with the largest coefficient, if
  /// the reading tells far more of it than its prior. Later readings of the same sum of states then say nothing of the
  /// others, of which they might else tell as much as their own rounding. -1: there is none.
  [[gnu::noinline]] Eigen::Index pivot_among_vague(T deviation) const {
    Eigen::Index best = -1;
    T most = 64 * deviation;
    for (const Eigen::Index j : information_.vague()) {
      if (!(std::abs(a()(j)) > most)) continue;
      most = std::abs(a()(j));
      best = j;
    }
    return best;
  }
  Eigen::Index largest_of_seen() const {
    Eigen::Index best = -1;
    for (const Eigen::Index j : information_.seen()) {
      if (std::abs(a()(j)) > (best < 0 ? T(0) : std::abs(a()(best)))) best = j;
    }
    return best;
  }

  /// Solves the reading for d_pivot, which is unseen: in the new coordinates, the other columns' directions leave the
  /// reading as it is. `change` gets their coefficients in the old d_pivot. Coefficients that may be rounding are no
  /// exception: what is decided later must not depend on the coordinates.
  [[gnu::noinline]] void eliminate(Eigen::Index pivot, vector& change) {
    for (const Eigen::Index j : information_.unseen()) {
      if (j == pivot) continue;
      before_.resize(A().rows());
      std::copy_n(A().col(j), A().rows(), before_.data());
      if (!equal(a()(j), 0)) change(j) = take_multiple(j, pivot);
      errors_.eliminate(j, pivot, a(), before_, A_);
    }
  }

  /// Solves the reading for d_pivot where d_j is in it. Returns the coefficient of d_j in the old d_pivot.
  T take_multiple(Eigen::Index j, Eigen::Index pivot) {
    const auto [multiple, rest] = quotient(a_(j), a_(pivot));
    add_multiple(A_, j, -multiple, -rest, A().col(pivot), A_.rest.col(pivot));
    round_column(A_, j);
    information_.eliminate(j, pivot, multiple);
    return -multiple;
  }

  static void clear_column(compensated_matrix<T>& x, Eigen::Index j) {
    for (Eigen::Index i = 0; i < x.value.rows(); ++i) x.clear(i, j);
  }

  /// a'd = v with an error of variance f, as a row [a v] with an error of variance one.
  [[gnu::noinline]] vector scaled_reading(T v, T f) const {
    const Eigen::Index q = A().cols();
    const T root = std::sqrt(f);
    vector row(q + 1);
    for (Eigen::Index j = 0; j < q; ++j) row(j) = a()(j) / root;
    row(q) = v / root;
    return row;
  }

  compensated_matrix<T> A_{};
  diffuse_information<T> information_;
  sampled_rounding<T> errors_;  // of the unseen columns of A
  bool orthonormal_;            // the diffuse unknowns are coordinates of what earlier ones left unseen
  vector largest_{};            // of the terms of an unseen coefficient, in units of the reading's noise
  compensated_matrix<T> a_{};   // of the reading at hand
  vector sizes_{};              // of the terms of its unseen coefficients, zero where these may be rounding
  compensated_matrix<T> moved_{};
  vector before_{};  // a column of A
};

}  // namespace kalscan::detail
