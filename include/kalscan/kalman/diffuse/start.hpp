// SPDX-License-Identifier: MIT
// A filter for priors that are far from the data's precision: the exact limit of variances that grow without bound, or
// large ones, until the data have made the state known.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kalscan/kalman/diffuse/conditional_filter.hpp>
#include <kalscan/kalman/diffuse/end_spread.hpp>
#include <kalscan/kalman/diffuse/unknowns.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <kalscan/kalman/steps/scalar_update.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// The augmented filter of Rosenberg and de Jong (Annals of Statistics 19, 1991), in square-root form, one scalar
/// reading at a time. The state is x = A d + b + U g, g ~ N(0, I), with unknowns d: the diffuse components, which have a
/// flat prior, and with a root S of the prior's covariance what S multiplies, which is N(0, I). Given d nothing is vague,
/// and what prior and data tell of d is kept apart as R d = z + N(0, I): nothing large is added to small things.
///
/// Where some reading may be without noise, rounding errors are bounded, so that what is known exactly is told apart.
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

  /// The state is mean + directions d + N(0, root root'), d diffuse. `rounding`: of the directions, or empty.
  /// `noiseless`: some reading may have no noise. `errors` then bounds the errors that mean and root have already, in
  /// the form of a covariance; empty: they have none but the rounding of their last digits. `rest`: what [mean root] is
  /// more, or empty.
  [[gnu::noinline]] diffuse_start(const view& mean, const view& root, const view& directions, const view& rounding,
                                  bool noiseless, const view& errors, const view& rest = matrix())
      : noiseless_(noiseless),
        given_(mean.rows, noiseless),
        unknowns_(root, directions, rounding, rest.cols > 0 ? view(rest.col(1), rest.rows, rest.cols - 1) : rest) {
    std::copy_n(mean.data, mean.rows, given_.b().value.data());
    if (rest.cols > 0) std::copy_n(rest.data, rest.rows, given_.b().rest.data());
    mean_ = given_.b().value;
    set_zero(deviations_, mean.rows);
    for (Eigen::Index i = 0; i < mean.rows; ++i) {
      for (Eigen::Index j = 0; j < root.cols; ++j) deviations_(i) = std::hypot(deviations_(i), root(i, j));
    }
    given_.begin_rounding(errors, deviations_);
  }

  diffuse_start(const diffuse_start&) = default;
  diffuse_start(diffuse_start&&) = default;
  diffuse_start& operator=(diffuse_start&&) = default;
  [[gnu::noinline]] ~diffuse_start() = default;

  /// `noise`: a root of Q. Before the step the origin of d moves to its likeliest value, if that is far, so that A d
  /// stays small: else A d and b would be large and cancel. (In noiseless models begin_part does that.)
  void predict(const view& F, const view& offset, const view& noise, history_type& history) {
    gained_ = 0;
    if (!noiseless_) unknowns_.move_origin(given_.b(), history);
    unknowns_.predict(F);
    given_.predict(F, offset, noise, mean_, deviations_);
  }

  void end_step(history_type& history) const { history.add_step(unknowns_.A(), given_.b().value, given_.root()); }

  /// y = h x + N(0, d). Adds the logarithm of its density given the readings before. Returns what is wrong with it, or
  /// nullptr. `terms` bounds the magnitude of what y is a sum of.
  const char* read(const vector& h, T d, T y, T terms, history_type& history, T& log_density) {
    const auto o = given_.read(h, d, y, terms);
    if (o.wrong) return o.wrong;
    const Eigen::Index pivot = unknowns_.pivot_of(h, o.s);
    if (noiseless_) {
      const auto of_state = whole_reading(o, pivot);
      if (equal(d, 0) && of_state.variance <= 4 * given_.rounding_along(h)) {
        if (!agrees(h, o.v.value, o.terms)) return contradiction;
        unknowns_.reduce(given_.read_again(h, o.v.value, o.terms));
        return nullptr;
      }
      given_.follow(h, of_state.gain, o.terms);
    }
    if (pivot >= 0) gained_ = infinity<T>;
    if (equal(o.s, 0)) {
      unknowns_.impose(pivot, o.v, given_.b(), history, log_density);
      return nullptr;
    }
    log_density -= std::log(2 * std::numbers::pi_v<T> * o.s) / 2;
    if (pivot >= 0) {
      unknowns_.see(pivot, o.v.value, o.s, history, log_density);
    } else {
      gained_ += unknowns_.absorb(o.v.value, o.s, history, log_density);
    }
    history.add_reading(o.f, unknowns_.a(), o.s, o.v.value, d);
    unknowns_.reduce(o.gain);
    given_.update(h, o);
    return nullptr;
  }

  belief current() {
    const auto& information = unknowns_.information();
    const auto& unseen = information.unseen();
    const matrix& A = unknowns_.A();
    const Eigen::Index n = A.rows(), q = A.cols(), k = static_cast<Eigen::Index>(unseen.size());
    belief x{given_.b().value, outer_square<T>(given_.root()), {}, true};
    matrix free(n, k), reached = A;
    bool forgotten = true;
    for (Eigen::Index j = 0; j < k; ++j) {
      for (Eigen::Index i = 0; i < n; ++i) {
        free(i, j) = A(i, unseen[static_cast<std::size_t>(j)]);
        forgotten = forgotten && equal(free(i, j), 0);
      }
    }
    if (!forgotten) {
      const matrix& nearest = information.nearest();
      for (Eigen::Index j = 0; j < k; ++j) add_multiple(x.mean.data(), n, nearest(j, q), &free(0, j));
      multiply(reached, free, view(nearest.data(), k, q));
      for (Eigen::Index i = 0; i < A.size(); ++i) reached.data()[i] += A.data()[i];
    }
    information.times_inverse(spread_, reached);
    for (Eigen::Index j = 0; j < spread_.cols(); ++j)
      add_multiple(x.mean.data(), n, information.value(static_cast<std::size_t>(j)), &spread_(0, j));
    add_outer(x.covariance, 1, spread_, spread_);
    symmetrize(x.covariance);
    mean_ = x.mean;
    for (Eigen::Index i = 0; i < n; ++i) {
      deviations_(i) = std::sqrt((std::max)(x.covariance(i, i), T(0)));
    }
    if (forgotten) return x;
    matrix spread;
    multiply(spread, free, information.orthonormal());
    set_zero(x.diffuse, n, n);
    add_outer(x.diffuse, 1, spread, spread);
    symmetrize(x.diffuse);
    for (Eigen::Index i = 0; i < n; ++i) x.proper = x.proper && !(x.diffuse(i, i) > 0);
    return x;
  }

  /// A root, n x r, of the covariance of the belief that `current` returned last. Where a sum of states is known far
  /// better than they are, it has the digits of the sum that the covariance has lost.
  matrix root_of_covariance() const { return side_by_side<T>(spread_, given_.root()); }

  /// What the unknowns add to the variance of component i of a proper belief that `current` returned last.
  T unknown_variance(Eigen::Index i) const {
    T sum = 0;
    for (Eigen::Index j = 0; j < spread_.cols(); ++j) sum += spread_(i, j) * spread_(i, j);
    return sum;
  }

  /// A bound on the rounding of the mean and of a root of the covariance, in the form of a covariance; of noiseless
  /// models.
  const matrix& rounding() const { return given_.rounding_of_mean(); }

  /// By how much the readings of the last step lowered the logarithm of the product of the deviations of d: infinity, if
  /// they saw a direction of d first.
  T gained() const { return gained_; }

  /// Whether ordinary steps lose little from here, given what `current` returned last. They do when the readings of the
  /// last step said no more of d than was known already, so that later covariances are not differences of far larger
  /// ones, and when the correlation of the states is far from singular, but for directions without any variance. With P
  /// = S S' + U U', what is left of each row of [S U] beside the others is judged relative to the row.
  bool safe(const belief& x) const {
    if (!(gained_ <= std::numbers::ln2_v<T> / 2)) return false;
    const matrix root = root_of_covariance();
    const Eigen::Index n = root.rows();
    matrix rows, none;
    set_zero(rows, root.cols(), n);  // transposed
    for (Eigen::Index i = 0; i < n; ++i) {
      if (!(x.covariance(i, i) > 0)) continue;
      const T deviation = std::sqrt(x.covariance(i, i));
      for (Eigen::Index j = 0; j < root.cols(); ++j) rows(j, i) = root(i, j) / deviation;
    }
    const T enough = std::pow(std::numeric_limits<T>::epsilon(), T(0.2));
    const auto count = static_cast<Eigen::Index>(triangulate(rows, none, 0).size());
    for (Eigen::Index k = 0; k < count; ++k) {
      const T left = std::abs(rows(k, k));
      if (left < enough) return left <= 8 * given_.rounding();
    }
    return true;
  }

  /// Starts a new part of the history: the current belief becomes the prior, with new unknowns d. So the errors of the
  /// state given d, which grow from step to step, start anew as well.
  void begin_part(history_type& history) {
    unknowns_.end(history);
    const belief x = current();
    const end_spread<T> spread(history.A, history.root, given_.root());
    *this = diffuse_start(x.mean, spread.root, history.directions, history.directions_rounding, true, rounding());
    history.begin_part();
  }

  /// Leaves to the history what the data tell of d, and of the state, whose mean `current` returned last.
  [[gnu::noinline]] void end(history_type& history) const {
    unknowns_.end(history);
    compensated_matrix<T> mean = given_.b();
    unknowns_.add_known(mean, history.mean);
    add_to_column(mean, {-1, 0}, mean_.data());
    history.end_mean_rest.swap(mean.value);
    const matrix& U = given_.root();
    history.end_root.set_zero(U.rows(), history.root.cols() + U.cols());
    std::copy_n(U.data(), U.size(), history.end_root.value.col(history.root.cols()));
    unknowns_.add_known(history.end_root, history.root);
    history.rounding = rounding();
  }

 private:
  /// What a reading means for x, whatever the unknowns.
  struct whole {
    vector gain{};
    T variance = infinity<T>;
  };
  [[gnu::noinline]] whole whole_reading(const typename conditional_state<T>::reading& o, Eigen::Index pivot) const {
    const auto& information = unknowns_.information();
    const auto& unseen = information.unseen();
    const matrix& A = unknowns_.A();
    const Eigen::Index n = A.rows();
    whole x;
    set_zero(x.gain, n);
    if (std::find(unseen.begin(), unseen.end(), pivot) != unseen.end()) {
      add_multiple(x.gain.data(), n, 1 / unknowns_.a()(pivot), &A(0, pivot));
      return x;
    }
    matrix spread, along;
    information.times_inverse(spread, A);
    information.times_inverse(along, view(unknowns_.a().data(), 1, A.cols()));
    x.variance = o.s + dot(along.size(), along.data(), along.data());
    if (!(x.variance > 0)) return x;
    add_multiple(x.gain.data(), n, o.s / x.variance, o.gain.data());
    for (Eigen::Index j = 0; j < along.size(); ++j)
      add_multiple(x.gain.data(), n, along(0, j) / x.variance, &spread(0, j));
    return x;
  }

  /// Whether the residual v of a noiseless reading of what is known already may be rounding: of its own terms, or of
  /// the state.
  [[gnu::noinline]] bool agrees(const vector& h, T v, T terms) {
    const T rough = std::sqrt(std::numeric_limits<T>::epsilon());
    if (std::abs(v) <= rough * terms) return true;
    const belief x = current();
    for (Eigen::Index i = 0; i < h.size(); ++i) terms += std::abs(h(i) * x.mean(i));
    return std::abs(v) <= rough * terms + 2 * std::sqrt(given_.rounding_along(h));
  }

  bool noiseless_;
  conditional_state<T> given_;  // d
  diffuse_unknowns<T> unknowns_;
  T gained_ = 0;  // half the growth of the information's log-determinant in this step
  matrix spread_{};
  vector mean_{}, deviations_{};  // that `current` returned last, or of the prior
};

}  // namespace kalscan::detail
