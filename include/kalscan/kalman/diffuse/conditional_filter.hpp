// SPDX-License-Identifier: MIT
// A Kalman filter for the state given unknowns, with a bound on the rounding errors of its covariance.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/steps/scalar_update.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>

namespace kalscan::detail {

/// x ~ N(b, C). Where `noiseless`, some reading may be without noise, and E bounds the errors of C as a quadratic form:
/// what is no larger counts as zero. Beside it, the rounding of the mean of x is followed, and of a root of its
/// covariance, whatever the unknowns: as for models that are carried as roots, see root_rounding.
template <class T>
class conditional_state {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  /// A reading y = h'x + N(0, d): the residual v, its variance f = h'C h + d, and the gain C h / f.
  struct reading {
    vector gain{};
    T v = 0, f = 0;
    T terms = 0;  // bounds what v is a sum of
    const char* wrong = nullptr;
  };

  conditional_state(Eigen::Index n, bool noiseless) : noiseless_(noiseless) {
    set_zero(b_, n);
    set_zero(C_, n, n);
    if (noiseless) {
      set_zero(E_, n, n);
      set_zero(off_, n, n);
    }
  }

  const vector& b() const { return b_; }
  const matrix& C() const { return C_; }
  const matrix& rounding_of_mean() const { return off_; }  ///< and of a root, as a covariance; where `noiseless`
  vector& b() { return b_; }
  T rounding_along(const vector& h) const { return along(off_, h); }
  /// A sum of n terms may be off by this much of their magnitude.
  T rounding() const { return rounding_of_sum<T>(b_.size()); }

  /// Errors that mean and root come with, and the rounding of what has such deviations.
  void begin_rounding(const view& errors, const vector& deviations) {
    for (Eigen::Index i = 0; i < off_.size() && errors.rows > 0; ++i) off_.data()[i] = errors.data[i];
    for (Eigen::Index i = 0; i < off_.rows(); ++i) round(i, std::abs(b_(i)) + deviations(i));
  }

  /// `mean`, `deviations`: of x, not only of x given the unknowns. What is known exactly is known to its rounding.
  void predict(const view& F, const view& offset, const view& Q, const view& mean, const view& deviations) {
    const Eigen::Index n = b_.size();
    multiply(column_, F, b_);
    for (Eigen::Index i = 0; i < n; ++i) b_(i) = column_(i) + offset(i);
    if (noiseless_) {
      vector terms;
      bound_transformed(terms, F, C_);
      transform(E_, F);
      transform(off_, F);
      for (Eigen::Index i = 0; i < n; ++i) {
        T sum = std::abs(offset(i)), deviation = 0;
        for (Eigen::Index j = 0; j < n; ++j) {
          sum += std::abs(F(i, j) * mean(j));
          deviation += std::abs(F(i, j)) * deviations(j);
        }
        round(i, sum + deviation + std::sqrt(Q(i, i)));
        terms(i) += Q(i, i) + rounding() * sum * sum;
        E_(i, i) += rounding() * terms(i);
      }
    }
    transform(C_, F);
    for (Eigen::Index i = 0; i < C_.size(); ++i) C_.data()[i] += Q(i);
    symmetrize(C_);
    clear_null_variances(C_, [](Eigen::Index) { return T(0); });
  }

  reading read(const vector& h, T d, T y, T terms) const {
    reading x{{}, y, 0, terms, nullptr};
    T deviation = 0;
    for (Eigen::Index i = 0; i < h.size(); ++i) {
      deviation += std::abs(h(i)) * std::sqrt(C_(i, i));
      x.terms += std::abs(h(i) * b_(i));
      x.v -= h(i) * b_(i);
    }
    x.terms += deviation;
    multiply(x.gain, C_, h);
    const T most = deviation * deviation;
    T variance = dot(h, x.gain);
    if (!(variance >= -std::sqrt(std::numeric_limits<T>::epsilon()) * most)) x.wrong = bad_innovation;
    if (!(most + d <= (std::numeric_limits<T>::max)())) x.wrong = bad_innovation;
    if (variance < 0 || (equal(d, 0) && variance <= (std::max)(rounding() * most, along(E_, h)))) variance = 0;
    if (noiseless_ && variance > 0 && variance < most / 1024) variance = read_root(h, x.gain);
    x.f = variance + d;
    for (Eigen::Index i = 0; x.f > 0 && i < h.size(); ++i) x.gain(i) /= x.f;
    return x;
  }

  /// A reading of what is known already, with the residual v of such terms, tells of the rounding of the mean alone: an
  /// unstable inverse would let that grow from step to step. Returns the gain.
  vector read_again(const vector& h, T v, T terms) {
    vector gain;
    multiply(gain, off_, h);
    const T own = 2 * std::numeric_limits<T>::epsilon() * terms, s = rounding_along(h) + own * own;
    for (Eigen::Index i = 0; i < h.size(); ++i) gain(i) = s > 0 ? gain(i) / s : T(0);
    add_multiple(b_.data(), h.size(), v, gain.data());
    const matrix keep = without(gain, h);
    transform(E_, keep);
    add_rounding_of_update(E_, C_, h, gain);
    transform(C_, keep);
    symmetrize(C_);
    clear_null_variances(C_, [&](Eigen::Index i) { return E_(i, i); });
    update_rounding(h, gain);
    add_outer(off_, own * own, gain, gain);
    return gain;
  }

  /// A reading of such terms changes the mean of x, not only of x given the unknowns, by this gain.
  void follow(const vector& h, const vector& gain, T terms) {
    update_rounding(h, gain);
    for (Eigen::Index i = 0; i < h.size(); ++i) round(i, std::abs(b_(i)) + terms * std::abs(gain(i)));
  }

  /// f > 0.
  void update(const vector& h, T d, const reading& o) {
    const Eigen::Index n = h.size();
    add_multiple(b_.data(), n, o.v, o.gain.data());
    if (noiseless_) {
      transform(E_, without(o.gain, h));
      T along = 0;
      for (Eigen::Index i = 0; i < n; ++i) along += std::abs(h(i)) * std::sqrt(C_(i, i));
      add_rounding_of_update(E_, C_, h, o.gain);
      for (Eigen::Index i = 0; i < n; ++i) round(i, std::sqrt(C_(i, i)) + std::abs(o.gain(i)) * along);
    }
    // Joseph's form. What is observed without noise has no variance left.
    add_outer(C_, -o.f, o.gain, o.gain);
    multiply(column_, C_, h);
    add_outer(C_, -1, column_, o.gain);
    add_outer(C_, d, o.gain, o.gain);
    symmetrize(C_);
    clear_null_variances(C_, [&](Eigen::Index i) { return noiseless_ ? E_(i, i) : T(0); });
  }

 private:
  /// h'C h and C h by a root of C. Where few shocks move the state, and hardly what is read, h'C h is what is left of far
  /// larger terms, but the rounding of a product h'U is relative to its own, of which h'C h is the square.
  [[gnu::noinline]] T read_root(const vector& h, vector& Ch) const {
    const matrix root = root_of<T>(C_);
    vector along;
    multiply_transposed(along, root, h);
    multiply(Ch, root, along);
    return dot(along, along);
  }

  /// h'E h, of no more than rounding.
  [[gnu::noinline]] T along(const matrix& E, const vector& h) const {
    if (!noiseless_) return 0;
    vector Eh;
    multiply(Eh, E, h);
    return (std::max)(dot(h, Eh), T(0));
  }

  /// I - gain h'.
  [[gnu::noinline]] static matrix without(const vector& gain, const vector& h) {
    matrix keep;
    set_identity(keep, h.size(), h.size());
    add_outer(keep, -1, gain, h);
    return keep;
  }

  /// Adds to E the rounding of (I - gain h') P (I - gain h')'.
  [[gnu::noinline]] void add_rounding_of_update(matrix& E, const matrix& P, const vector& h, const vector& gain) const {
    const auto deviation = [&](Eigen::Index i) { return std::sqrt((std::max)(P(i, i), T(0))); };
    T along = 0;
    for (Eigen::Index i = 0; i < h.size(); ++i) along += std::abs(h(i)) * deviation(i);
    for (Eigen::Index i = 0; i < h.size(); ++i) {
      const T terms = deviation(i) + std::abs(gain(i)) * along;
      E(i, i) += rounding() * terms * terms;
    }
  }

  /// As for a covariance. What is left is a difference with rounding errors of its own: without these, a bound of
  /// errors that fade would end as noise.
  [[gnu::noinline]] void update_rounding(const vector& h, const vector& gain) {
    const matrix before = off_;
    transform(off_, without(gain, h));
    add_rounding_of_update(off_, before, h, gain);
  }

  /// Component i of the mean and of a root is a sum of such terms.
  void round(Eigen::Index i, T terms) {
    const T error = rounding() / 4 * terms;
    off_(i, i) += error * error;
  }

  bool noiseless_;
  vector b_{};
  matrix C_{}, E_{};
  matrix off_{};  // a bound on the rounding of the mean, as a covariance
  vector column_{};
};

}  // namespace kalscan::detail
