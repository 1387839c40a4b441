// SPDX-License-Identifier: MIT
// What prior and data tell of unknowns, in square-root form.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/kalman/linalg/compensated.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/support/numbers.hpp>
#include <span>
#include <vector>

namespace kalscan::detail {

/// Of the q unknowns d, some are `unseen`: no reading depends on them. Of the others, which are `seen` or known without
/// error, the data tell R d = z + N(0, I).
///
/// The coordinates of d change by elimination: d_pivot is replaced, and the others stay. Elimination, unlike rotation,
/// commutes with a change of units by powers of two. Their origin may move (move_origin).
template <class T>
class diffuse_information {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;
  using indices = std::vector<Eigen::Index>;

  /// The first `flat` unknowns have a flat prior; the others are N(0, I), as if seen.
  diffuse_information(Eigen::Index flat, Eigen::Index normal) {
    set_zero(basis_, flat, flat + normal + 1);
    set_zero(rows_, flat + normal, flat + normal + 1);
    for (Eigen::Index j = 0; j < flat; ++j) {
      unseen_.push_back(j);
      basis_(j, j) = 1;
    }
    for (Eigen::Index j = flat; j < flat + normal; ++j) {
      seen_.push_back(j);
      rows_(j, j) = 1;
    }
    vague_ = seen_.size();
    find_norms();
  }

  const indices& unseen() const { return unseen_; }
  const indices& seen() const { return seen_; }  ///< those that were seen last come first, the vague ones last
  /// Those with a prior N(0, 1), however narrow in the state's units, of which no reading has told far more yet.
  std::span<const Eigen::Index> vague() const { return std::span(seen_).last(vague_); }

  /// Takes a'd = v + N(0, 1), given as the row [a v] in seen coordinates. Rotates it into the triangle; returns half
  /// the square of what is left of v, a residual, and adds to `gained` by how much the determinant's logarithm grew.
  [[gnu::noinline]] T absorb(vector& row, T& gained) {
    const Eigen::Index q = rows_.rows();
    for (std::size_t k = 0; k < seen_.size(); ++k) {
      const Eigen::Index j = seen_[k];
      if (equal(row(j), 0)) continue;
      const T before = rows_(j, j), after = std::hypot(before, row(j)), c = before / after, s = row(j) / after;
      const auto rotate = [&](Eigen::Index i) {
        const T x = rows_(j, i), y = row(i);
        rows_(j, i) = c * x + s * y;
        row(i) = c * y - s * x;
      };
      for (std::size_t i = k + 1; i < seen_.size(); ++i) rotate(seen_[i]);
      rotate(q);
      rows_(j, j) = after;
      gained += std::log(std::abs(after / before));
    }
    return row(q) * row(q) / 2;
  }

  /// Column j of the coordinates loses this multiple of column `pivot`.
  void eliminate(Eigen::Index j, Eigen::Index pivot, T multiple) {
    add_to_basis(j, -multiple, pivot);
  }

  /// A reading tells far more of d_pivot than its prior: it is vague no longer. The old d_pivot is change'd, with d in
  /// the new coordinates; change(pivot) is 1, and beside it only vague entries are not zero.
  [[gnu::noinline]] void know(Eigen::Index pivot, const vector& change) {
    const Eigen::Index q = rows_.rows(), k = nearest_.rows();
    const auto first = seen_.end() - static_cast<std::ptrdiff_t>(vague_);
    for (const Eigen::Index j : vague()) {
      if (j == pivot) continue;
      for (const Eigen::Index i : seen_) rows_(i, j) += rows_(i, pivot) * change(j);
      add_multiple(nearest_.data() + j * k, k, change(j), nearest_.data() + pivot * k);
    }
    const auto at = std::find(first, seen_.end(), pivot);
    std::rotate(first, at, at + 1);
    const matrix rows = rows_;
    for (const Eigen::Index i : vague()) {
      for (Eigen::Index j = 0; j <= q; ++j) rows_(i, j) = 0;
    }
    vector row(q + 1);
    for (const Eigen::Index i : vague()) {
      for (Eigen::Index j = 0; j <= q; ++j) row(j) = rows(i, j);
      T unused = 0;
      absorb(row, unused);
    }
    --vague_;
  }

  /// An unseen coordinate is seen first by this row, which no other unseen coordinate is in. Adds to the log-density
  /// what its flat prior makes of it.
  void see(Eigen::Index pivot, const vector& row, T& log_density) {
    for (Eigen::Index i = 0; i < row.size(); ++i) rows_(pivot, i) = row(i);
    std::erase(unseen_, pivot);
    seen_.insert(seen_.begin(), pivot);
    log_density -= std::log(std::abs(row(pivot))) + find_norms();
  }

  /// Whether the likeliest d is so many deviations from zero that digits are lost to them.
  bool is_far() const {
    const Eigen::Index z = rows_.cols() - 1;
    return std::any_of(seen_.begin(), seen_.end(), [&](Eigen::Index j) { return std::abs(rows_(j, z)) > 32; });
  }
  /// The seen coordinates are what is left of d beside `by` from now on, which is 0 for the others.
  void move_origin(const vector& by) {
    const Eigen::Index q = rows_.rows();
    for (std::size_t k = 0; k < seen_.size(); ++k) {
      T &left = rows_(seen_[k], q), rest = 0;
      for (std::size_t i = k; i < seen_.size(); ++i) {
        subtract_product(left, rest, rows_(seen_[k], seen_[i]), by(seen_[i]));
      }
      round_sum(left, rest);
    }
    for (Eigen::Index j = 0; j < q; ++j) add_to_basis(q, by(j), j);
    const Eigen::Index k = nearest_.rows();
    for (const Eigen::Index j : seen_) add_multiple(nearest_.data() + q * k, k, by(j), nearest_.data() + j * k);
  }

  /// d_pivot = known + change'd, with the coefficients after all eliminations.
  void impose(Eigen::Index pivot, const vector& change, T known, T& log_density) {
    add_to_basis(basis_.cols() - 1, known, pivot);
    vague_ -= static_cast<std::size_t>(std::ranges::count(vague(), pivot));
    if (std::erase(unseen_, pivot) == 0) substitute(pivot, change, known, log_density);
    log_density -= find_norms();
  }

  /// y = the columns of x that were seen, in that order, times the inverse of R.
  [[gnu::noinline]] void times_inverse(matrix& y, const view& x) const {
    const Eigen::Index n = x.rows;
    set_zero(y, n, static_cast<Eigen::Index>(seen_.size()));
    for (std::size_t j = 0; j < seen_.size(); ++j) {
      const Eigen::Index column = seen_[j];
      T* to = y.data() + static_cast<Eigen::Index>(j) * n;
      std::copy_n(x.col(column), n, to);
      for (std::size_t i = 0; i < j; ++i)
        add_multiple(to, n, -rows_(seen_[i], column), y.data() + static_cast<Eigen::Index>(i) * n);
      for (Eigen::Index i = 0; i < n; ++i) to[i] /= rows_(column, column);
    }
  }
  /// The seen coordinates of the likeliest d: R d = z.
  void solve(vector& d) const {
    for (std::size_t k = seen_.size(); k-- > 0;) {
      T left = value(k);
      for (std::size_t i = k + 1; i < seen_.size(); ++i) left -= rows_(seen_[k], seen_[i]) * d(seen_[i]);
      d(seen_[k]) = left / rows_(seen_[k], seen_[k]);
    }
  }
  /// z, in the order of seen().
  T value(std::size_t j) const { return rows_(seen_[j], rows_.cols() - 1); }

  /// Of all d that agree with the data, the diffuse components are smallest where unseen() = nearest() [d 1].
  const matrix& nearest() const { return nearest_; }
  /// unseen() in coordinates that are orthonormal in the diffuse components.
  const matrix& orthonormal() const { return orthonormal_; }

 private:
  void add_to_basis(Eigen::Index j, T factor, Eigen::Index pivot) {
    const Eigen::Index n = basis_.rows();
    add_multiple(basis_.data() + j * n, n, factor, basis_.data() + pivot * n);
  }

  /// One of the rows is left over.
  [[gnu::noinline]] void substitute(Eigen::Index pivot, const vector& change, T known, T& log_density) {
    const Eigen::Index q = rows_.rows();
    const matrix rows = rows_;
    const indices before = seen_;
    set_zero(rows_, q, q + 1);
    std::erase(seen_, pivot);
    vector row(q + 1);
    for (const Eigen::Index i : before) {
      log_density += std::log(std::abs(rows(i, i)));
      const T coefficient = rows(i, pivot);
      for (Eigen::Index j = 0; j < q; ++j) row(j) = j == pivot ? T(0) : rows(i, j) + coefficient * change(j);
      row(q) = rows(i, q) - coefficient * known;
      T unused = 0;
      log_density -= absorb(row, unused);
    }
    for (const Eigen::Index i : seen_) log_density -= std::log(std::abs(rows_(i, i)));
  }

  /// Returns by how much half the logarithm of the determinant of the unseen coordinates has grown.
  [[gnu::noinline]] T find_norms() {
    const auto q = basis_.rows(), k = static_cast<Eigen::Index>(unseen_.size());
    const T before = log_volume_;
    log_volume_ = 0;
    set_identity(orthonormal_, k, k);
    set_zero(nearest_, k, basis_.cols());
    if (k == 0) return -before;
    matrix triangle(q, k), turned = basis_;
    for (Eigen::Index j = 0; j < k; ++j)
      std::copy_n(&basis_(0, unseen_[static_cast<std::size_t>(j)]), q, &triangle(0, j));
    const auto order = triangulate(triangle, turned, 0);
    clear_rounding(triangle, k);
    for (Eigen::Index j = 0; j < basis_.cols(); ++j) {
      for (Eigen::Index i = 0; i < k; ++i) nearest_(i, j) = -turned(i, j);
    }
    solve_triangle(nearest_, triangle, order, k);
    solve_triangle(orthonormal_, triangle, order, k);
    for (Eigen::Index j = 0; j < k; ++j) log_volume_ += std::log(std::abs(triangle(j, j)));
    return log_volume_ - before;
  }

  /// Clears what the reflections left of products of columns that are orthogonal: as a part of one direction in another it
  /// would be unknown where nothing is.
  static void clear_rounding(matrix& triangle, Eigen::Index k) {
    const T rounding = rounding_of_sum<T>(triangle.rows());
    for (Eigen::Index j = 1; j < k; ++j) {
      T* column = &triangle(0, j);
      const T least = rounding * std::sqrt(dot(j + 1, column, column));
      for (Eigen::Index i = 0; i < j; ++i) column[i] = std::abs(column[i]) > least ? column[i] : T(0);
    }
  }

  indices unseen_{}, seen_{};
  std::size_t vague_ = 0;  // how many of seen_, its last
  matrix rows_{};   // [R z], row j at the coordinate j; R is an upper triangle in the order of seen_
  matrix basis_{};  // the diffuse components are basis [d 1]
  matrix nearest_{}, orthonormal_{};
  T log_volume_ = 0;
};

}  // namespace kalscan::detail
