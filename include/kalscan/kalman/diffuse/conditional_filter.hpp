// SPDX-License-Identifier: MIT
// A Kalman filter for the state given unknowns, in square-root form, with bounds on its rounding errors.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/compensated.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/steps/scalar_update.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// x ~ N(b, U U'). Where `noiseless`, some reading may be without noise, and E bounds the errors of U in the form of a
/// covariance: a variance that is no larger counts as zero. Beside it, the rounding of the mean of x is followed, and of
/// a root of its covariance, whatever the unknowns: as for models that are carried as roots, see root_rounding.
template <class T>
class conditional_state {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  /// A reading y = h'x + N(0, d): the residual v, its variance s = f'f + d with f = U'h, and the gain U f / s.
  struct reading {
    vector f{}, gain{};
    compensated<T> v{};
    T s = 0, d = 0;
    T terms = 0;  // bounds what v is a sum of; where `noiseless`
    const char* wrong = nullptr;
  };

  conditional_state(Eigen::Index n, bool noiseless) : noiseless_(noiseless) {
    b_.set_zero(n);
    set_zero(U_, n, n);
    if (noiseless) {
      set_zero(E_, n, n);
      set_zero(off_, n, n);
    }
  }

  const compensated_matrix<T>& b() const { return b_; }
  const matrix& root() const { return U_; }
  const matrix& rounding_of_mean() const { return off_; }  ///< and of a root, as a covariance; where `noiseless`
  compensated_matrix<T>& b() { return b_; }
  T rounding_along(const vector& h) const { return along(off_, h); }
  /// A sum of n terms may be off by this much of their magnitude.
  T rounding() const { return rounding_of_sum<T>(U_.rows()); }

  /// Errors that mean and root come with, and the rounding of what has such deviations.
  void begin_rounding(const view& errors, const vector& deviations) {
    for (Eigen::Index i = 0; i < off_.size() && errors.rows > 0; ++i) off_.data()[i] = errors.data[i];
    for (Eigen::Index i = 0; i < off_.rows(); ++i) round(off_, i, std::abs(b_.value(i)) + deviations(i));
  }

  /// x := F x + offset + noise e, e ~ N(0, I). `mean`, `deviations`: of x, not only of x given the unknowns. What is
  /// known exactly is known to its rounding.
  void predict(const view& F, const view& offset, const view& noise, const view& mean, const view& deviations) {
    const Eigen::Index n = U_.rows();
    column_.set_zero(n);
    std::copy_n(offset.data, n, column_.value.data());
    add_product(column_, F, b_);
    b_.swap(column_);
    if (noiseless_) {
      transform(E_, F);
      transform(off_, F);
      const vector own = deviations_of(U_), fresh = deviations_of(noise);
      for (Eigen::Index i = 0; i < n; ++i) {
        T sum = std::abs(offset(i)), deviation = 0, given = 0;
        for (Eigen::Index j = 0; j < n; ++j) {
          sum += std::abs(F(i, j) * mean(j));
          deviation += std::abs(F(i, j)) * deviations(j);
          given += std::abs(F(i, j)) * own(j);
        }
        round(off_, i, sum + deviation + fresh(i));
        round(E_, i, sum + given + fresh(i));
      }
    }
    multiply(moved_, F, U_);
    U_ = narrowed(side_by_side<T>(moved_, noise));
  }

  reading read(const vector& h, T d, T y, T terms) const {
    reading x{{}, {}, residual<T>(y, b_, h), 0, d, terms, nullptr};
    multiply_transposed(x.f, U_, h);
    if (noiseless_) {
      T deviation = 0;
      const vector own = deviations_of(U_);
      for (Eigen::Index i = 0; i < h.size(); ++i) {
        deviation += std::abs(h(i)) * own(i);
        x.terms += std::abs(h(i) * b_.value(i));
      }
      x.terms += deviation;
      const T least = rounding() * deviation;
      if (equal(d, 0) && dot(x.f, x.f) <= (std::max)(least * least, 4 * along(E_, h))) set_zero(x.f, h.size());
    }
    x.s = dot(x.f, x.f) + d;
    if (!(x.s <= (std::numeric_limits<T>::max)())) x.wrong = bad_innovation;
    multiply(x.gain, U_, x.f);
    for (Eigen::Index i = 0; x.s > 0 && i < h.size(); ++i) x.gain(i) /= x.s;
    return x;
  }

  /// A reading of what is known already, with the residual v of such terms, tells of the rounding of the mean alone: an
  /// unstable inverse would let that grow from step to step. Returns the gain.
  vector read_again(const vector& h, T v, T terms) {
    vector gain, f;
    multiply(gain, off_, h);
    const T own = 2 * std::numeric_limits<T>::epsilon() * terms, s = rounding_along(h) + own * own;
    for (Eigen::Index i = 0; i < h.size(); ++i) gain(i) = s > 0 ? gain(i) / s : T(0);
    add_to_column(b_, {v, 0}, gain.data());
    round_update(h, gain);
    multiply_transposed(f, U_, h);
    add_outer(U_, -1, gain, f);
    clear_known();
    update_rounding(off_, h, gain);
    add_outer(off_, own * own, gain, gain);
    return gain;
  }

  /// A reading of such terms changes the mean of x, not only of x given the unknowns, by this gain.
  void follow(const vector& h, const vector& gain, T terms) {
    update_rounding(off_, h, gain);
    for (Eigen::Index i = 0; i < h.size(); ++i) round(off_, i, std::abs(b_.value(i)) + terms * std::abs(gain(i)));
  }

  /// s > 0.
  void update(const vector& h, const reading& o) {
    add_to_column(b_, o.v, o.gain.data());
    if (noiseless_) {
      const vector terms = round_update(h, o.gain);
      for (Eigen::Index i = 0; i < h.size(); ++i) round(off_, i, terms(i));
    }
    update_root(U_, o.f, o.d);
    clear_known();
  }

 private:
  [[gnu::noinline]] static vector deviations_of(const view& U) {
    vector x(U.rows);
    for (Eigen::Index i = 0; i < U.rows; ++i) {
      T squares = 0;
      for (Eigen::Index j = 0; j < U.cols; ++j) squares += U(i, j) * U(i, j);
      x(i) = std::sqrt(squares);
    }
    return x;
  }

  /// h'E h, of no more than rounding.
  [[gnu::noinline]] T along(const matrix& E, const vector& h) const {
    if (!noiseless_) return 0;
    vector Eh;
    multiply(Eh, E, h);
    return (std::max)(dot(h, Eh), T(0));
  }

  /// A component whose row of the root is rounding is known.
  [[gnu::noinline]] void clear_known() {
    if (!noiseless_) return;
    const vector own = deviations_of(U_);
    for (Eigen::Index i = 0; i < U_.rows(); ++i) {
      for (Eigen::Index j = 0; j < U_.cols() && own(i) * own(i) <= E_(i, i); ++j) U_(i, j) = 0;
    }
  }

  /// The errors of U after an update with this gain. Returns what the rows of U are sums of.
  [[gnu::noinline]] vector round_update(const vector& h, const vector& gain) {
    vector terms = deviations_of(U_);
    T along = 0;
    for (Eigen::Index i = 0; i < h.size(); ++i) along += std::abs(h(i)) * terms(i);
    update_rounding(E_, h, gain);
    for (Eigen::Index i = 0; i < h.size(); ++i) {
      terms(i) += std::abs(gain(i)) * along;
      round(E_, i, terms(i));
    }
    return terms;
  }

  /// E := (I - gain h') E (I - gain h')'. What is left is a difference with rounding errors of its own: without these,
  /// a bound of errors that fade would end as noise.
  [[gnu::noinline]] void update_rounding(matrix& E, const vector& h, const vector& gain) const {
    const auto deviation = [](const matrix& P, Eigen::Index i) { return std::sqrt((std::max)(P(i, i), T(0))); };
    const matrix before = E;
    matrix keep;
    set_identity(keep, h.size(), h.size());
    add_outer(keep, -1, gain, h);
    transform(E, keep);
    T along = 0;
    for (Eigen::Index i = 0; i < h.size(); ++i) along += std::abs(h(i)) * deviation(before, i);
    for (Eigen::Index i = 0; i < h.size(); ++i) {
      const T terms = deviation(before, i) + std::abs(gain(i)) * along;
      E(i, i) += rounding() * terms * terms;
    }
  }

  /// Component i of the mean or of a root is a sum of such terms.
  void round(matrix& E, Eigen::Index i, T terms) const {
    const T error = rounding() / 4 * terms;
    E(i, i) += error * error;
  }

  bool noiseless_;
  compensated_matrix<T> b_{};
  matrix U_{}, E_{};
  matrix off_{};  // a bound on the rounding of the mean, as a covariance
  compensated_matrix<T> column_{};
  matrix moved_{};
};

}  // namespace kalscan::detail
