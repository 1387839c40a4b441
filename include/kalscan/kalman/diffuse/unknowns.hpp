// SPDX-License-Identifier: MIT
// How the state depends on unknowns, and what is known of these.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/kalman/diffuse/information.hpp>
#include <kalscan/kalman/diffuse/rounding.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// The part A d of a state, for unknowns d of which the first have a flat prior and the others are N(0, I).
///
/// The coordinates of d are changed by elimination whenever a reading sees a direction of d for the first time: one
/// coordinate then becomes seen, and the reading says nothing of those that stay unseen. One that is known without
/// error leaves. Whether an entry of A is zero decides what is seen, hence the rounding errors of unseen columns are
/// tracked.
template <class T>
class diffuse_unknowns {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;
  using history_type = diffuse_history<T>;

  /// The directions of diffuse unknowns, and a root of the covariance beside them.
  diffuse_unknowns(const view& root, const view& directions)
      : information_(directions.cols, root.cols),
        errors_(directions.rows, directions.cols) {
    const Eigen::Index n = directions.rows, flat = directions.cols;
    set_zero(A_, n, flat + root.cols);
    set_zero(largest_, A_.cols());
    std::copy_n(directions.data, n * flat, A_.data());
    std::copy_n(root.data, n * root.cols, A_.data() + n * flat);
  }

  /// The rounding errors of the diffuse directions, where they are what unknowns before these left unseen, in
  /// coordinates that are orthonormal.
  void inherit(sampled_rounding<T> errors) {
    errors_ = std::move(errors);
    orthonormal_ = true;
  }
  sampled_rounding<T> errors_of_directions() const {
    return errors_.combined(information_.unseen(), A_, information_.orthonormal());
  }

  const matrix& A() const { return A_; }
  const diffuse_information<T>& information() const { return information_; }
  const vector& a() const { return a_; }  ///< A'h of the last reading

  void predict(const view& F) {
    multiply(moved_, F, A_);
    for (const Eigen::Index j : information_.unseen()) errors_.transform(j, F, A_, moved_);
    clear_subnormal(moved_);  // what the filter has forgotten
    for (const Eigen::Index j : information_.unseen()) {  // and what has no variance any more, as its squares underflow
      T largest = 0;
      for (Eigen::Index i = 0; i < moved_.rows(); ++i) largest = (std::max)(largest, std::abs(moved_(i, j)));
      if (largest * largest >= (std::numeric_limits<T>::min)()) continue;
      for (Eigen::Index i = 0; i < moved_.rows(); ++i) moved_(i, j) = 0;
    }
    A_.swap(moved_);
  }

  /// Looks at a reading h'A d = v + N(0, f). Returns the unknown that it is solved by, because it is seen first or
  /// f = 0; -1 where it is not to be solved.
  Eigen::Index pivot_of(const vector& h, T f) {
    multiply_transposed(a_, A_, h);
    set_zero(sizes_, A_.cols());
    for (const Eigen::Index j : information_.unseen()) {
      for (Eigen::Index i = 0; i < h.size(); ++i) sizes_(j) += std::abs(h(i) * A_(i, j));
      errors_.read(j, h, sizes_(j));
      if (f > 0) largest_(j) = (std::max)(largest_(j), sizes_(j) / std::sqrt(f));
      if (errors_.is_zero(j, a_(j), sizes_(j))) a_(j) = 0;
    }
    const Eigen::Index pivot = pivot_among_unseen();
    return pivot >= 0 || f > 0 ? pivot : largest_of_seen();
  }

  /// The reading sees d_pivot first.
  [[gnu::noinline]] void see(Eigen::Index pivot, T v, T f, history_type& history, T& log_density) {
    vector change;
    set_zero(change, A_.cols());
    change(pivot) = 1;
    eliminate(pivot, change);
    history.add_change(pivot, change, T(0));
    for (const Eigen::Index j : information_.unseen()) {
      if (j != pivot) a_(j) = 0;
    }
    information_.see(pivot, scaled_reading(v, f), log_density);
  }

  /// The reading tells of unknowns that were seen. Returns by how much the logarithm of the determinant of R grows.
  [[gnu::noinline]] T absorb(T v, T f, T& log_density) {
    vector row = scaled_reading(v, f);
    T gained = 0;
    log_density -= information_.absorb(row, gained);
    log_density -= gained;
    return gained;
  }

  /// The reading has no error: d_pivot leaves, and what is known of it is added to b.
  [[gnu::noinline]] void impose(Eigen::Index pivot, T v, vector& b, history_type& history, T& log_density) {
    const T known = v / a_(pivot);
    const Eigen::Index n = A_.rows();
    vector change;
    set_zero(change, A_.cols());
    eliminate(pivot, change);
    for (const Eigen::Index j : information_.seen()) {
      if (j == pivot || equal(a_(j), 0)) continue;
      change(j) = -a_(j) / a_(pivot);
      add_multiple(&A_(0, j), n, change(j), &A_(0, pivot));
      information_.eliminate(j, pivot, a_(j) / a_(pivot));
    }
    history.add_change(pivot, change, known);
    add_multiple(b.data(), n, known, &A_(0, pivot));
    std::fill_n(&A_(0, pivot), n, T(0));
    log_density -= std::log(2 * std::numbers::pi_v<T>) / 2 + std::log(std::abs(a_(pivot)));
    information_.impose(pivot, change, known, log_density);
  }

  /// A := (I - gain h') A of what is seen, where h'A is rounding.
  [[gnu::noinline]] void read_again(const vector& h, const vector& gain) {
    for (const Eigen::Index j : information_.seen())
      add_multiple(&A_(0, j), h.size(), -dot(h.size(), h.data(), &A_(0, j)), gain.data());
  }

  /// A := (I - gain h') A.
  void reduce(const vector& gain) {
    for (const Eigen::Index j : information_.seen()) add_multiple(&A_(0, j), gain.size(), -a_(j), gain.data());
  }

  /// Leaves to the history what the data tell of d.
  void end(history_type& history) const {
    const Eigen::Index q = A_.cols();
    const auto &unseen = information_.unseen(), &seen = information_.seen();
    const matrix &nearest = information_.nearest(), &orthonormal = information_.orthonormal();
    history.A = A_;
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
  }

 private:
  /// The unseen column by which a reading is solved: its coefficient is large beside those that the column has had, in
  /// units of their noise; without any, it has lost least in its sum. Orthonormal unknowns have the same units: the
  /// largest coefficient is the one that the others are small multiples of. -1: all coefficients are zero.
  [[gnu::noinline]] Eigen::Index pivot_among_unseen() const {
    const auto& columns = information_.unseen();
    const bool scaled = std::none_of(columns.begin(), columns.end(),
                                     [&](Eigen::Index j) { return !equal(a_(j), 0) && equal(largest_(j), 0); });
    Eigen::Index best = -1;
    T most = 0;
    for (const Eigen::Index j : columns) {
      const T unit = orthonormal_ ? T(1) : scaled ? largest_(j) : sizes_(j);
      const T size = equal(a_(j), 0) ? T(0) : std::abs(a_(j)) / unit;
      if (size > most) {
        most = size;
        best = j;
      }
    }
    return best;
  }
  Eigen::Index largest_of_seen() const {
    Eigen::Index best = -1;
    for (const Eigen::Index j : information_.seen()) {
      if (std::abs(a_(j)) > (best < 0 ? T(0) : std::abs(a_(best)))) best = j;
    }
    return best;
  }

  /// Solves the reading for d_pivot: in the new coordinates, the other columns' directions leave the reading as it is.
  /// `change` gets their coefficients in the old d_pivot.
  [[gnu::noinline]] void eliminate(Eigen::Index pivot, vector& change) {
    for (const Eigen::Index j : information_.unseen()) {
      if (j == pivot || equal(a_(j), 0)) continue;
      change(j) = -a_(j) / a_(pivot);
      errors_.eliminate(j, pivot, a_, A_);
      information_.eliminate(j, pivot, a_(j) / a_(pivot));
    }
  }

  /// a'd = v with an error of variance f, as a row [a v] with an error of variance one.
  [[gnu::noinline]] vector scaled_reading(T v, T f) const {
    const Eigen::Index q = A_.cols();
    const T root = std::sqrt(f);
    vector row(q + 1);
    for (Eigen::Index j = 0; j < q; ++j) row(j) = a_(j) / root;
    row(q) = v / root;
    return row;
  }

  matrix A_{};
  diffuse_information<T> information_;
  sampled_rounding<T> errors_;  // of the unseen columns of A
  bool orthonormal_ = false;    // the diffuse unknowns are coordinates of what earlier ones left unseen
  vector largest_{};            // of the terms of an unseen coefficient, in units of the reading's noise
  vector a_{}, sizes_{};        // of the reading at hand
  matrix moved_{};
};

}  // namespace kalscan::detail
