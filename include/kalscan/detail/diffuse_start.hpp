// SPDX-License-Identifier: MIT
// The exact limit of a prior whose variances grow without bound, until the data have made the state known.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <Eigen/Jacobi>
#include <Eigen/QR>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <kalscan/detail/diffuse_history.hpp>
#include <kalscan/detail/equal.hpp>
#include <kalscan/detail/filter_step.hpp>
#include <kalscan/detail/infinity.hpp>
#include <kalscan/detail/linalg.hpp>
#include <limits>
#include <numbers>
#include <vector>

namespace kalscan::detail {

/// The augmented filter of Rosenberg and de Jong (Annals of Statistics 19, 1991), in square-root form, one scalar
/// reading at a time. The diffuse components are unknowns d with a flat prior: x = A d + b + N(0, C). Given d
/// everything is proper, and what the data tell of d is kept as R d = z + N(0, I), so that nothing large is added to
/// small things.
///
/// The coordinates of d are changed by elimination whenever a reading sees a direction of d for the first time: one
/// coordinate then becomes `seen`, and the reading says nothing of those that stay `unseen`. One that is known without
/// error becomes `known` and moves into b. Elimination, unlike rotation, commutes with a change of units by powers of
/// two.
///
/// Sums that may cancel count as zero when they are no more than rounding: that of their own terms, and that which
/// these bring with them. Three random samples of the rounding errors of A are carried through all that is done to A
/// (stochastic arithmetic; Vignes 1993), so that cancellation and contraction are felt alike; E bounds those of C, as a
/// quadratic form.
template <class T>
class diffuse_start {
 public:
  // Whatever the sizes of the model, these are dynamic: one compiled copy serves all models.
  using matrix = typename diffuse_history<T>::matrix;
  using vector = typename diffuse_history<T>::vector;
  using given = Eigen::Map<const matrix>;

  /// The belief N(mean, covariance + kappa diffuse), kappa without bound. Of the unknowns that agree with the data, the
  /// mean takes those with the smallest norm.
  struct belief {
    vector mean{};
    matrix covariance{}, diffuse{};
    bool proper = false;
  };

  /// The state is mean + directions d + N(0, covariance). `exact`: some reading may be without noise.
  diffuse_start(const given& mean, const given& covariance, const given& directions, bool exact)
      : A_(directions), b_(mean), C_(covariance), exact_(exact) {
    const Eigen::Index q = A_.cols();
    basis_ = matrix::Identity(q, q + 1);
    information_ = matrix::Zero(q, q + 1);
    largest_ = vector::Zero(q);
    errors_.fill(matrix::Zero(b_.size(), q));
    a_errors_.fill(vector::Zero(q));
    E_ = matrix::Zero(exact ? b_.size() : 0, exact ? b_.size() : 0);
    for (Eigen::Index j = 0; j < q; ++j) unseen_.push_back(j);
    find_norms();
  }

  void predict(const given& F, const vector& offset, const given& Q) {
    news_ = 0;
    moved_.noalias() = F * A_;
    each_tracked([&](Eigen::Index j) {
      for (matrix& e : errors_) {
        column_ = e.col(j);
        e.col(j).noalias() = F * column_;
      }
      for (Eigen::Index i = 0; i < b_.size(); ++i) {
        T terms = 0;
        for (Eigen::Index k = 0; k < b_.size(); ++k) terms += std::abs(F(i, k) * A_(k, j));
        round(moved_(i, j), terms, i, j);
      }
    });
    // What the filter has forgotten ends as zero: arithmetic with subnormal numbers takes many times longer.
    constexpr T tiny = (std::numeric_limits<T>::min)() / epsilon;
    A_ = (moved_.array().abs() < tiny).select(T(0), moved_);
    b_ = F * b_ + offset;
    if (exact_) {
      deviations_ = congruence_scale(F, C_) + Q.diagonal();
      E_ = congruence(F, E_);
      E_.diagonal() += rounding() * deviations_;
    }
    product_.noalias() = F * C_;
    C_.noalias() = product_ * F.transpose();
    C_ += Q;
    symmetrize(C_);
    clear_null_variances(C_, [](Eigen::Index) { return T(0); });
  }

  void end_step(diffuse_history<T>& history) const { history.add_step(A_, b_, C_); }

  /// y = h x + N(0, d). Adds the logarithm of its density given the readings before. Returns what is wrong with it, or
  /// nullptr. `terms` bounds the magnitude of what y is a sum of.
  const char* read(const vector& h, T d, T y, T terms, diffuse_history<T>& history, T& log_density) {
    const Eigen::Index q = A_.cols();
    gain_.noalias() = C_ * h;
    T variance = h.dot(gain_), deviation = 0, v = y;
    for (Eigen::Index i = 0; i < h.size(); ++i) {
      deviation += std::abs(h(i)) * std::sqrt(C_(i, i));
      terms += std::abs(h(i) * b_(i));
      v -= h(i) * b_(i);
    }
    const T most = deviation * deviation;
    if (!(variance >= -sqrt_epsilon * most) || !(most + d <= (std::numeric_limits<T>::max)())) return bad_innovation;
    if (variance < 0 || (equal(d, 0) && variance <= (std::max)(rounding() * most, h.dot(E_ * h)))) variance = 0;
    const T f = variance + d, root = std::sqrt(f);
    a_.noalias() = A_.transpose() * h;
    sizes_.setZero(q);
    each_tracked([&](Eigen::Index j) {
      for (Eigen::Index i = 0; i < h.size(); ++i) sizes_(j) += std::abs(h(i) * A_(i, j));
      for (std::size_t s = 0; s < errors_.size(); ++s)
        a_errors_[s](j) = h.dot(errors_[s].col(j)) + epsilon * sizes_(j) * random();
      if (f > 0) largest_(j) = (std::max)(largest_(j), sizes_(j) / root);
    });
    const auto clear = [&](const std::vector<Eigen::Index>& columns) {
      for (const Eigen::Index j : columns) {
        if (is_rounding(a_(j), sizes_(j), [&](std::size_t s) { return a_errors_[s](j); })) a_(j) = 0;
      }
    };
    clear(unseen_);
    Eigen::Index pivot = pivot_among(unseen_);
    if (equal(f, 0)) {
      clear(seen_);
      if (pivot < 0) pivot = pivot_among(seen_);
      if (pivot < 0) return std::abs(v) <= sqrt_epsilon * (terms + deviation) ? nullptr : contradiction;
      impose(pivot, v, history, log_density);
      return nullptr;
    }
    log_density -= std::log(2 * std::numbers::pi_v<T> * f) / 2;
    if (pivot >= 0) {
      see(pivot, v, root, history, log_density);
    } else {
      row_.resize(q + 1);
      row_ << a_ / root, v / root;
      T lost = 0;
      const T residual = absorb(lost);
      news_ -= lost;
      log_density += lost;
      log_density -= residual * residual / 2;
    }
    gain_ /= f;
    history.add_reading(h, gain_, a_, f, v);
    update_state(h, d, v, variance);
    return nullptr;
  }

  belief current() {
    const auto p = static_cast<Eigen::Index>(seen_.size()), k = static_cast<Eigen::Index>(unseen_.size());
    belief x;
    free_.resize(b_.size(), k);
    for (Eigen::Index j = 0; j < k; ++j) free_.col(j) = A_.col(unseen_[static_cast<std::size_t>(j)]);
    const bool forgotten = free_.isZero(0);
    x.mean = b_;
    if (forgotten) {
      spread_ = times_inverse_triangle(A_);
    } else {
      x.mean.noalias() += free_ * nearest_.col(A_.cols());
      spread_ = times_inverse_triangle(A_ + free_ * nearest_.leftCols(A_.cols()));
    }
    for (Eigen::Index j = 0; j < p; ++j)
      x.mean += spread_.col(j) * information_(seen_[static_cast<std::size_t>(j)], A_.cols());
    x.covariance = C_;
    x.covariance.noalias() += spread_ * spread_.transpose();
    symmetrize(x.covariance);
    x.proper = true;
    if (!forgotten) {
      free_ = (free_ * orthonormal_).eval();
      x.diffuse.noalias() = free_ * free_.transpose();
      symmetrize(x.diffuse);
      x.proper = !(x.diffuse.diagonal().maxCoeff() > 0);
    }
    return x;
  }

  /// A bound on the rounding errors of a covariance that `current` returned, as a quadratic form, near its null space;
  /// of exact models.
  matrix rounding_of(const belief& x) const {
    matrix E = E_;
    E.diagonal() += rounding() * x.covariance.diagonal();
    for (const matrix& errors : errors_) {
      const matrix S = times_inverse_triangle(errors);
      E += (plausible * plausible) * S * S.transpose();
    }
    return E;
  }

  /// Whether ordinary steps lose little from here, given what `current` returned last. They do when the readings of the
  /// last step said no more of d than was known already, so that later covariances are not differences of far larger
  /// ones, and when the correlation of the states is far from singular, but for directions without any variance. With P
  /// = S S' + C, what is left of each row of [S root(C)] beside the others is judged relative to the row.
  bool safe(const belief& x) const {
    if (!(news_ <= std::numbers::ln2_v<T> / 2)) return false;
    const Eigen::Index n = b_.size(), p = spread_.cols();
    matrix rows(n + p, n);  // transposed
    rows.topRows(p) = spread_.transpose();
    rows.bottomRows(n) = root_semidefinite(C_, pivot_rounding(C_), T(1), C_.diagonal()).root.transpose();
    std::vector<Eigen::Index> left;
    for (Eigen::Index i = 0; i < n; ++i) {
      if (!(x.covariance(i, i) > 0)) continue;
      rows.col(i) /= std::sqrt(x.covariance(i, i));
      left.push_back(i);
    }
    const T enough = std::pow(epsilon, T(0.2));
    while (!left.empty()) {
      const auto best = std::max_element(left.begin(), left.end(), [&](Eigen::Index i, Eigen::Index j) {
        return rows.col(i).squaredNorm() < rows.col(j).squaredNorm();
      });
      const T size = rows.col(*best).norm();
      if (size <= 8 * rounding()) return true;
      if (size < enough) return false;
      const vector direction = rows.col(*best) / size;
      left.erase(best);
      for (const Eigen::Index i : left) rows.col(i) -= direction * direction.dot(rows.col(i));
    }
    return true;
  }

  /// Leaves to the history what the data tell of d.
  void end(diffuse_history<T>& history) const {
    const Eigen::Index q = A_.cols();
    history.A = A_;
    history.unseen = unseen_;
    history.free = matrix::Zero(q, static_cast<Eigen::Index>(unseen_.size()));
    history.mean = vector::Zero(q);
    for (std::size_t j = 0; j < unseen_.size(); ++j) {
      history.free.row(unseen_[j]) = orthonormal_.row(static_cast<Eigen::Index>(j));
      history.mean(unseen_[j]) = nearest_(static_cast<Eigen::Index>(j), q);
    }
    matrix d = matrix::Identity(q, q);
    for (const Eigen::Index j : seen_) {
      for (std::size_t i = 0; i < unseen_.size(); ++i) d(unseen_[i], j) = nearest_(static_cast<Eigen::Index>(i), j);
    }
    history.root = times_inverse_triangle(d);
    for (std::size_t j = 0; j < seen_.size(); ++j) {
      history.mean += history.root.col(static_cast<Eigen::Index>(j)) * information_(seen_[j], q);
    }
  }

 private:
  static constexpr T epsilon = std::numeric_limits<T>::epsilon();
  static inline const T sqrt_epsilon = std::sqrt(epsilon);
  static constexpr T plausible = 32;  // an error may be this many times its samples' root mean square

  /// A sum of n terms may be off by this much of their magnitude.
  T rounding() const { return 8 * static_cast<T>(b_.size()) * epsilon; }

  /// Calls what(j) for the columns of A of which it matters whether their entries are zero.
  template <class What>
  void each_tracked(What what) const {
    for (const Eigen::Index j : unseen_) what(j);
    if (!exact_) return;
    for (const Eigen::Index j : seen_) what(j);
  }

  /// In [-1, 1], the same numbers in every run.
  T random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<T>(static_cast<double>(static_cast<std::int64_t>(random_)) * 0x1p-63);
  }

  /// Whether x may be zero but for rounding: a sum of such terms, with sampled errors.
  template <class Error>
  bool is_rounding(T x, T terms, Error error) const {
    T squares = 0;
    for (std::size_t s = 0; s < errors_.size(); ++s) squares += error(s) * error(s);
    return std::abs(x) <= rounding() * terms + plausible * std::sqrt(squares / static_cast<T>(errors_.size()));
  }

  /// A new entry (i, j) of A, a sum of such terms, whose samples are already those of the sum but for its own rounding.
  void round(T& x, T terms, Eigen::Index i, Eigen::Index j) {
    if (is_rounding(x, terms, [&](std::size_t s) { return errors_[s](i, j); })) {
      x = 0;
      for (matrix& e : errors_) e(i, j) = 0;
    } else {
      for (matrix& e : errors_) e(i, j) += epsilon * terms * random();
    }
  }

  /// The columns of x that were seen, in that order, times the inverse of R.
  matrix times_inverse_triangle(const matrix& x) const {
    matrix y(x.rows(), static_cast<Eigen::Index>(seen_.size()));
    for (Eigen::Index j = 0; j < y.cols(); ++j) {
      const Eigen::Index column = seen_[static_cast<std::size_t>(j)];
      y.col(j) = x.col(column);
      for (Eigen::Index i = 0; i < j; ++i)
        y.col(j) -= y.col(i) * information_(seen_[static_cast<std::size_t>(i)], column);
      y.col(j) /= information_(column, column);
    }
    return y;
  }

  /// The column by which a reading is solved: its coefficient is large beside those that the column has had, in units
  /// of their noise; without any, it has lost least in its sum. -1: all coefficients are zero.
  Eigen::Index pivot_among(const std::vector<Eigen::Index>& columns) const {
    const bool scaled = std::none_of(columns.begin(), columns.end(),
                                     [&](Eigen::Index j) { return !equal(a_(j), 0) && equal(largest_(j), 0); });
    Eigen::Index best = -1;
    T most = 0;
    for (const Eigen::Index j : columns) {
      const T size = equal(a_(j), 0) ? T(0) : std::abs(a_(j)) / (scaled ? largest_(j) : sizes_(j));
      if (size > most) {
        most = size;
        best = j;
      }
    }
    return best;
  }

  /// Solves the reading for d_pivot: new coordinates, in which column j's direction leaves the reading as it is.
  void eliminate(Eigen::Index pivot, const std::vector<Eigen::Index>& columns, vector& change) {
    for (const Eigen::Index j : columns) {
      if (j == pivot || equal(a_(j), 0)) continue;
      const T multiple = a_(j) / a_(pivot);
      change(j) = -multiple;
      for (std::size_t s = 0; s < errors_.size(); ++s) {
        const T error = (a_errors_[s](j) - multiple * a_errors_[s](pivot)) / a_(pivot);
        errors_[s].col(j) -= multiple * errors_[s].col(pivot) + error * A_.col(pivot);
      }
      for (Eigen::Index i = 0; i < A_.rows(); ++i) {
        const T before = A_(i, j), taken = multiple * A_(i, pivot);
        A_(i, j) -= taken;
        round(A_(i, j), std::abs(before) + std::abs(taken), i, j);
      }
      basis_.col(j) -= multiple * basis_.col(pivot);
    }
  }

  void see(Eigen::Index pivot, T v, T root, diffuse_history<T>& history, T& log_density) {
    news_ = infinity<T>;
    vector change = vector::Unit(A_.cols(), pivot);
    eliminate(pivot, unseen_, change);
    history.add_change(pivot, change, T(0));
    for (const Eigen::Index j : unseen_) {
      if (j != pivot) a_(j) = 0;
    }
    information_.row(pivot) << a_.transpose() / root, v / root;
    std::erase(unseen_, pivot);
    seen_.insert(seen_.begin(), pivot);
    log_density -= std::log(std::abs(a_(pivot)) / root) + find_norms();
  }

  /// The reading a'd = v has no error.
  void impose(Eigen::Index pivot, T v, diffuse_history<T>& history, T& log_density) {
    const Eigen::Index q = A_.cols();
    const T known = v / a_(pivot);
    news_ = infinity<T>;
    vector change = vector::Zero(q);
    eliminate(pivot, unseen_, change);
    eliminate(pivot, seen_, change);
    history.add_change(pivot, change, known);
    b_ += known * A_.col(pivot);
    basis_.col(q) += known * basis_.col(pivot);
    A_.col(pivot).setZero();
    for (matrix& e : errors_) e.col(pivot).setZero();
    log_density -= std::log(2 * std::numbers::pi_v<T>) / 2 + std::log(std::abs(a_(pivot)));
    if (std::erase(unseen_, pivot) == 0) substitute(pivot, change, known, log_density);
    log_density -= find_norms();
  }

  /// d_pivot = known + change'd in the information; one of its rows is left over.
  void substitute(Eigen::Index pivot, const vector& change, T known, T& log_density) {
    const Eigen::Index q = A_.cols();
    const matrix rows = information_;
    information_.setZero();
    const std::vector<Eigen::Index> before = seen_;
    std::erase(seen_, pivot);
    for (const Eigen::Index i : before) {
      log_density += std::log(std::abs(rows(i, i)));
      row_ = rows.row(i);
      row_.head(q) += row_(pivot) * change;
      row_(q) -= row_(pivot) * known;
      row_(pivot) = 0;
      T unused = 0;
      const T residual = absorb(unused);
      log_density -= residual * residual / 2;
    }
    for (const Eigen::Index i : seen_) log_density -= std::log(std::abs(information_(i, i)));
  }

  /// Rotates row_ into the triangle, and returns what is left of its last entry: a residual. Adds the logarithm of what
  /// the determinant of the triangle has lost.
  T absorb(T& log_density) {
    const Eigen::Index q = A_.cols();
    for (std::size_t k = 0; k < seen_.size(); ++k) {
      const Eigen::Index j = seen_[k];
      if (equal(row_(j), 0)) continue;
      const T before = information_(j, j);
      T after;
      Eigen::JacobiRotation<T> r;
      r.makeGivens(before, row_(j), &after);
      const auto rotate = [&](Eigen::Index i) {
        const T x = information_(j, i), y = row_(i);
        information_(j, i) = r.c() * x - r.s() * y;
        row_(i) = r.s() * x + r.c() * y;
      };
      for (std::size_t i = k + 1; i < seen_.size(); ++i) rotate(seen_[i]);
      rotate(q);
      information_(j, j) = after;
      log_density += std::log(std::abs(before / after));
    }
    return row_(q);
  }

  void update_state(const vector& h, T d, T v, T variance) {
    if (exact_) deviations_ = E_.diagonal().cwiseSqrt() * (std::sqrt(h.dot(E_ * h)) / (variance + d));  // of the gain
    for (const Eigen::Index j : seen_) {
      if (equal(a_(j), 0)) continue;
      if (exact_) {
        for (std::size_t s = 0; s < errors_.size(); ++s) {
          errors_[s].col(j) -= a_errors_[s](j) * gain_ + a_(j) * random() * deviations_;
        }
      }
      for (Eigen::Index i = 0; i < b_.size(); ++i) {
        const T before = A_(i, j), taken = gain_(i) * a_(j);
        A_(i, j) -= taken;
        if (exact_) round(A_(i, j), std::abs(before) + std::abs(taken), i, j);
      }
    }
    b_ += gain_ * v;
    if (exact_) {
      matrix keep = -gain_ * h.transpose();
      keep.diagonal().array() += T(1);
      deviations_ = congruence_scale(keep, C_);
      E_ = congruence(keep, E_);
      E_.diagonal() += rounding() * deviations_;
    }
    // Joseph's form. What is observed without noise has no variance left.
    covariances_ = gain_ * (variance + d);
    C_.noalias() -= gain_ * covariances_.transpose();
    covariances_.noalias() = C_ * h;
    C_.noalias() -= covariances_ * gain_.transpose();
    C_.noalias() += d * gain_ * gain_.transpose();
    symmetrize(C_);
    clear_null_variances(C_, [&](Eigen::Index i) { return exact_ ? E_(i, i) : T(0); });
  }

  /// What orthonormal coordinates in place of these would give of the directions that are not seen. Returns by how much
  /// half the logarithm of their determinant has grown.
  T find_norms() {
    const auto q = basis_.rows(), k = static_cast<Eigen::Index>(unseen_.size());
    matrix N(q, k);
    for (Eigen::Index j = 0; j < k; ++j) N.col(j) = basis_.col(unseen_[static_cast<std::size_t>(j)]);
    const T before = log_volume_;
    log_volume_ = 0;
    orthonormal_.setIdentity(k, k);
    nearest_.setZero(k, q + 1);
    if (k > 0) {
      const Eigen::HouseholderQR<matrix> qr(N);
      const auto triangle = qr.matrixQR().topRows(k).template triangularView<Eigen::Upper>();
      triangle.solveInPlace(orthonormal_);
      const matrix turned = qr.householderQ().transpose() * basis_;
      nearest_ = -turned.topRows(k);
      triangle.solveInPlace(nearest_);
      log_volume_ = qr.matrixQR().diagonal().cwiseAbs().array().log().sum();
    }
    return log_volume_ - before;
  }

  matrix A_;
  vector b_;
  matrix C_;
  matrix basis_{};                               // the diffuse components are basis [d 1]
  std::vector<Eigen::Index> unseen_{}, seen_{};  // columns of A; those that were seen last come first
  matrix information_{};                         // [R z]; R is an upper triangle in the order of seen_
  vector largest_{};                             // of the terms of a reading's coefficient, in units of its noise
  matrix nearest_{}, orthonormal_{};             // of the unseen: the smallest d is at nearest [d 1]
  T log_volume_ = 0, news_ = 0;  // news: half the growth of the information's log-determinant in this step
  vector gain_{}, a_{}, sizes_{}, row_{}, deviations_{}, covariances_{};  // of the reading at hand
  bool exact_;
  std::array<matrix, 3> errors_{};    // of A
  std::array<vector, 3> a_errors_{};  // of a
  matrix E_{};
  std::uint64_t random_ = 0x9e3779b97f4a7c15;
  vector column_{};
  matrix moved_{}, product_{}, free_{}, spread_{};
};

}  // namespace kalscan::detail
