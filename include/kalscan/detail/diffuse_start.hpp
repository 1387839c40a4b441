// SPDX-License-Identifier: MIT
// A filter for priors that are far from the data's precision: the exact limit of variances that grow without bound, or
// large ones, until the data have made the state known.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/detail/dense.hpp>
#include <kalscan/detail/diffuse_conditional.hpp>
#include <kalscan/detail/diffuse_history.hpp>
#include <kalscan/detail/diffuse_information.hpp>
#include <kalscan/detail/diffuse_rounding.hpp>
#include <kalscan/detail/equal.hpp>
#include <kalscan/detail/infinity.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/detail/scalar_update.hpp>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// The augmented filter of Rosenberg and de Jong (Annals of Statistics 19, 1991), in square-root form, one scalar
/// reading at a time. The state is x = A d + b + N(0, C) with unknowns d: the diffuse components, which have a flat
/// prior, and with a root S of the prior's covariance what S multiplies, which is N(0, I). Given d nothing is vague,
/// and what prior and data tell of d is kept apart as R d = z + N(0, I), so that nothing large is added to small things.
///
/// The coordinates of d are changed by elimination whenever a reading sees a direction of d for the first time: one
/// coordinate then becomes seen, and the reading says nothing of those that stay unseen. One that is known without
/// error moves into b.
///
/// Whether an entry of A is zero decides what is seen; the rounding errors of A are tracked for that, and where some
/// reading may be without noise, E bounds those of C, as a quadratic form.
template <class T>
class diffuse_start {
 public:
  // Whatever the sizes of the model, these are dynamic: one compiled copy serves all models.
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;
  using history_type = diffuse_history<T>;

  /// The belief N(mean, covariance + kappa diffuse), kappa without bound. Of the unknowns that agree with the data, the
  /// mean takes those with the smallest norm.
  struct belief {
    vector mean{};
    matrix covariance{}, diffuse{};
    bool proper = false;
  };

  using prior_root = semidefinite_root<matrix>;

  /// Means of diffuse components are ignored. `exact`: some reading may be without noise.
  diffuse_start(const view& mean, const view& covariance, const std::vector<bool>& diffuse, bool exact)
      : diffuse_start(mean, root_of(covariance), diffuse, exact) {}

  void predict(const view& F, const view& offset, const view& Q) {
    news_ = 0;
    multiply(moved_, F, A_);
    each_tracked([&](Eigen::Index j) { errors_.transform(j, F, A_, moved_); });
    // What the filter has forgotten ends as zero: arithmetic with subnormal numbers takes many times longer.
    constexpr T tiny = (std::numeric_limits<T>::min)() / epsilon;
    for (Eigen::Index i = 0; i < moved_.size(); ++i) {
      if (std::abs(moved_.data()[i]) < tiny) moved_.data()[i] = 0;
    }
    std::swap(A_, moved_);
    given_.predict(F, offset, Q);
  }

  void end_step(history_type& history) const { history.add_step(A_, given_.b(), given_.C()); }

  /// y = h x + N(0, d). Adds the logarithm of its density given the readings before. Returns what is wrong with it, or
  /// nullptr. `terms` bounds the magnitude of what y is a sum of.
  const char* read(const vector& h, T d, T y, T terms, history_type& history, T& log_density) {
    const auto o = given_.read(h, d, y, terms);
    if (o.wrong) return o.wrong;
    const T root = std::sqrt(o.f);
    multiply_transposed(a_, A_, h);
    set_zero(sizes_, q_);
    each_tracked([&](Eigen::Index j) {
      for (Eigen::Index i = 0; i < n_; ++i) sizes_(j) += std::abs(h(i) * A_(i, j));
      errors_.read(j, h, sizes_(j));
      if (o.f > 0) largest_(j) = (std::max)(largest_(j), sizes_(j) / root);
    });
    clear_rounding(information_.unseen());
    Eigen::Index pivot = pivot_among(information_.unseen());
    if (equal(o.f, 0)) {
      clear_rounding(information_.seen());
      if (pivot < 0) pivot = pivot_among(information_.seen());
      if (pivot < 0) return std::abs(o.v) <= std::sqrt(epsilon) * o.terms ? nullptr : contradiction;
      impose(pivot, o.v, history, log_density);
      return nullptr;
    }
    log_density -= std::log(2 * std::numbers::pi_v<T> * o.f) / 2;
    if (pivot >= 0) {
      see(pivot, o.v, root, history, log_density);
    } else {
      vector row = scaled_reading(o.v, root);
      T gained = 0;
      log_density -= information_.absorb(row, gained);
      log_density -= gained;
      news_ += gained;
    }
    history.add_reading(h, o.gain, a_, o.f, o.v);
    reduce_unknowns(h, o);
    given_.update(h, d, o);
    return nullptr;
  }

  belief current() {
    const auto& unseen = information_.unseen();
    const auto k = static_cast<Eigen::Index>(unseen.size());
    belief x{given_.b(), given_.C(), {}, true};
    matrix free(n_, k), reached = A_;
    bool forgotten = true;
    for (Eigen::Index j = 0; j < k; ++j) {
      for (Eigen::Index i = 0; i < n_; ++i) {
        free(i, j) = A_(i, unseen[static_cast<std::size_t>(j)]);
        forgotten = forgotten && equal(free(i, j), 0);
      }
    }
    if (!forgotten) {
      const matrix& nearest = information_.nearest();
      for (Eigen::Index j = 0; j < k; ++j) add_multiple(x.mean.data(), n_, nearest(j, q_), &free(0, j));
      multiply(reached, free, view(nearest.data(), k, q_));
      for (Eigen::Index i = 0; i < A_.size(); ++i) reached.data()[i] += A_.data()[i];
    }
    information_.times_inverse(spread_, reached);
    for (Eigen::Index j = 0; j < spread_.cols(); ++j)
      add_multiple(x.mean.data(), n_, information_.value(static_cast<std::size_t>(j)), &spread_(0, j));
    add_outer(x.covariance, 1, spread_, spread_);
    symmetrize(x.covariance);
    if (forgotten) return x;
    matrix spread;
    multiply(spread, free, information_.orthonormal());
    set_zero(x.diffuse, n_, n_);
    add_outer(x.diffuse, 1, spread, spread);
    symmetrize(x.diffuse);
    for (Eigen::Index i = 0; i < n_; ++i) x.proper = x.proper && !(x.diffuse(i, i) > 0);
    return x;
  }

  /// What the unknowns add to the variance of component i of a proper belief that `current` returned last.
  T unknown_variance(Eigen::Index i) const {
    T sum = 0;
    for (Eigen::Index j = 0; j < spread_.cols(); ++j) sum += spread_(i, j) * spread_(i, j);
    return sum;
  }

  /// A bound on the rounding errors of a covariance that `current` returned, as a quadratic form, near its null space;
  /// of exact models.
  matrix rounding_of(const belief& x) const {
    matrix E = given_.E(), S;
    for (Eigen::Index i = 0; i < n_; ++i) E(i, i) += given_.rounding() * x.covariance(i, i);
    errors_.each([&](const matrix& errors) {
      information_.times_inverse(S, errors);
      add_outer(E, errors_.plausible * errors_.plausible, S, S);
    });
    return E;
  }

  /// Whether ordinary steps lose little from here, given what `current` returned last. They do when the readings of the
  /// last step said no more of d than was known already, so that later covariances are not differences of far larger
  /// ones, and when the correlation of the states is far from singular, but for directions without any variance. With P
  /// = S S' + C, what is left of each row of [S root(C)] beside the others is judged relative to the row.
  bool safe(const belief& x) const {
    if (!(news_ <= std::numbers::ln2_v<T> / 2)) return false;
    const matrix& C = given_.C();
    const vector variances = C.diagonal();
    const matrix root = root_semidefinite(C, pivot_rounding(C), T(1), variances).root;
    const Eigen::Index p = spread_.cols();
    matrix rows, none;
    set_zero(rows, p + n_, n_);  // transposed
    for (Eigen::Index i = 0; i < n_; ++i) {
      if (!(x.covariance(i, i) > 0)) continue;
      const T deviation = std::sqrt(x.covariance(i, i));
      for (Eigen::Index j = 0; j < p; ++j) rows(j, i) = spread_(i, j) / deviation;
      for (Eigen::Index j = 0; j < n_; ++j) rows(p + j, i) = root(i, j) / deviation;
    }
    const T enough = std::pow(epsilon, T(0.2));
    const auto count = static_cast<Eigen::Index>(triangulate(rows, none, 0).size());
    for (Eigen::Index k = 0; k < count; ++k) {
      const T left = std::abs(rows(k, k));
      if (left < enough) return left <= 8 * given_.rounding();
    }
    return true;
  }

  /// Leaves to the history what the data tell of d.
  void end(history_type& history) const {
    const auto &unseen = information_.unseen(), &seen = information_.seen();
    const matrix &nearest = information_.nearest(), &orthonormal = information_.orthonormal();
    history.A = A_;
    history.unseen = unseen;
    set_zero(history.free, q_, orthonormal.cols());
    set_zero(history.mean, q_);
    matrix d;
    set_identity(d, q_, q_);
    for (std::size_t i = 0; i < unseen.size(); ++i) {
      const auto row = static_cast<Eigen::Index>(i);
      for (Eigen::Index j = 0; j < orthonormal.cols(); ++j) history.free(unseen[i], j) = orthonormal(row, j);
      for (const Eigen::Index j : seen) d(unseen[i], j) = nearest(row, j);
      history.mean(unseen[i]) = nearest(row, q_);
    }
    information_.times_inverse(history.root, d);
    for (std::size_t j = 0; j < seen.size(); ++j)
      add_multiple(history.mean.data(), q_, information_.value(j), &history.root(0, static_cast<Eigen::Index>(j)));
  }

 private:
  static constexpr T epsilon = std::numeric_limits<T>::epsilon();

  static prior_root root_of(const view& covariance) {
    matrix P(covariance.rows, covariance.cols);
    std::copy_n(covariance.data, P.size(), P.data());
    const vector variances = P.diagonal();
    return root_semidefinite(P, pivot_rounding(P), T(1), variances);
  }

  diffuse_start(const view& mean, const prior_root& prior, const std::vector<bool>& diffuse, bool exact)
      : n_(mean.rows),
        flat_(std::count(diffuse.begin(), diffuse.end(), true)),
        q_(flat_ + prior.rank),
        exact_(exact),
        given_(n_, exact),
        information_(flat_, prior.rank),
        errors_(n_, q_) {
    set_zero(A_, n_, q_);
    set_zero(largest_, q_);
    Eigen::Index next = 0;
    for (Eigen::Index i = 0; i < n_; ++i) {
      if (!diffuse.empty() && diffuse[static_cast<std::size_t>(i)]) {
        A_(i, next++) = 1;
        continue;
      }
      given_.b()(i) = mean(i);
      T terms = 0;
      for (Eigen::Index j = 0; j < prior.rank; ++j) terms += std::abs(A_(i, flat_ + j) = prior.root(i, j));
      for (Eigen::Index j = flat_; j < q_; ++j) errors_.disturb(i, j, terms);
    }
  }

  /// Calls what(j) for the columns of A of which it matters whether their entries are zero.
  template <class What>
  void each_tracked(What what) const {
    for (const Eigen::Index j : information_.unseen()) what(j);
    if (!exact_) return;
    for (const Eigen::Index j : information_.seen()) what(j);
  }

  void clear_rounding(const std::vector<Eigen::Index>& columns) {
    for (const Eigen::Index j : columns) {
      if (errors_.is_zero(j, a_(j), sizes_(j))) a_(j) = 0;
    }
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

  /// Solves the reading for d_pivot: in the new coordinates, the other columns' directions leave the reading as it is.
  /// `change` gets their coefficients in the old d_pivot.
  void eliminate(Eigen::Index pivot, const std::vector<Eigen::Index>& columns, vector& change) {
    for (const Eigen::Index j : columns) {
      if (j == pivot || equal(a_(j), 0)) continue;
      change(j) = -a_(j) / a_(pivot);
      errors_.eliminate(j, pivot, a_, A_);
      information_.eliminate(j, pivot, a_(j) / a_(pivot));
    }
  }

  void see(Eigen::Index pivot, T v, T root, history_type& history, T& log_density) {
    news_ = infinity<T>;
    vector change;
    set_zero(change, q_);
    change(pivot) = 1;
    eliminate(pivot, information_.unseen(), change);
    history.add_change(pivot, change, T(0));
    for (const Eigen::Index j : information_.unseen()) {
      if (j != pivot) a_(j) = 0;
    }
    information_.see(pivot, scaled_reading(v, root), log_density);
  }

  /// The reading a'd = v has no error.
  void impose(Eigen::Index pivot, T v, history_type& history, T& log_density) {
    const T known = v / a_(pivot);
    news_ = infinity<T>;
    vector change;
    set_zero(change, q_);
    eliminate(pivot, information_.unseen(), change);
    eliminate(pivot, information_.seen(), change);
    history.add_change(pivot, change, known);
    add_multiple(given_.b().data(), n_, known, &A_(0, pivot));
    std::fill_n(&A_(0, pivot), n_, T(0));
    errors_.clear(pivot);
    log_density -= std::log(2 * std::numbers::pi_v<T>) / 2 + std::log(std::abs(a_(pivot)));
    information_.impose(pivot, change, known, log_density);
  }

  /// a'd = v with an error of variance root^2, as a row [a v] with an error of variance one.
  vector scaled_reading(T v, T root) const {
    vector row(q_ + 1);
    for (Eigen::Index j = 0; j < q_; ++j) row(j) = a_(j) / root;
    row(q_) = v / root;
    return row;
  }

  /// A := (I - gain h') A.
  void reduce_unknowns(const vector& h, const typename conditional_state<T>::reading& o) {
    if (exact_) given_.gain_errors(deviations_, h, o);
    for (const Eigen::Index j : information_.seen()) {
      if (equal(a_(j), 0)) continue;
      if (exact_) {
        errors_.reduce(j, a_, o.gain, deviations_, A_);
      } else {
        add_multiple(&A_(0, j), n_, -a_(j), o.gain.data());
      }
    }
  }

  Eigen::Index n_, flat_, q_;  // states, diffuse components, unknowns
  bool exact_;
  matrix A_{};
  conditional_state<T> given_;  // d
  diffuse_information<T> information_;
  sampled_rounding<T> errors_;  // of A
  vector largest_{};            // of the terms of a reading's coefficient, in units of its noise
  T news_ = 0;                  // half the growth of the information's log-determinant in this step
  vector a_{}, sizes_{}, deviations_{};  // of the reading at hand
  matrix spread_{}, moved_{};
};

}  // namespace kalscan::detail
