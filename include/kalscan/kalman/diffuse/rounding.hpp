// SPDX-License-Identifier: MIT
// Which entries of a matrix are zero but for rounding, felt by random samples of the rounding errors.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <vector>

namespace kalscan::detail {

/// Three random samples of the rounding errors of a matrix A and of a = A'h are carried through all that is done to A
/// (stochastic arithmetic; Vignes 1993), so that cancellation and contraction are felt alike. Sums that may cancel
/// count as zero when they are no more than rounding: that of their own terms, and that which these bring with them.
template <class T>
class sampled_rounding {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  sampled_rounding(Eigen::Index rows, Eigen::Index cols) {
    for (sample& s : samples_) {
      set_zero(s.A, rows, cols);
      set_zero(s.a, cols);
    }
  }

  /// The errors of A(:, columns) x, for an x without errors.
  [[gnu::noinline]] sampled_rounding combined(const std::vector<Eigen::Index>& columns, const matrix& A,
                                              const matrix& x) const {
    const Eigen::Index n = A.rows();
    sampled_rounding all(n, x.cols());
    all.random_ = random_;
    for (Eigen::Index j = 0; j < x.cols(); ++j) {
      dense_vector<T> terms;
      set_zero(terms, n);
      for (std::size_t k = 0; k < columns.size(); ++k) {
        const T factor = x(static_cast<Eigen::Index>(k), j);
        for (std::size_t s = 0; s < samples_.size(); ++s)
          add_multiple(&all.samples_[s].A(0, j), n, factor, &samples_[s].A(0, columns[k]));
        for (Eigen::Index i = 0; i < n; ++i) terms(i) += std::abs(A(i, columns[k]) * factor);
      }
      for (Eigen::Index i = 0; i < n; ++i) all.disturb(i, j, terms(i));
    }
    return all;
  }

  /// A(i, j) is off by some rounding of terms of this magnitude.
  [[gnu::noinline]] void disturb(Eigen::Index i, Eigen::Index j, T terms) {
    for (sample& s : samples_) s.A(i, j) += epsilon * terms * random();
  }

  /// Column j of `moved` is that of F A.
  [[gnu::noinline]] void transform(Eigen::Index j, const view& F, const matrix& A, matrix& moved) {
    const Eigen::Index n = A.rows();
    for (sample& s : samples_) {
      multiply(column_, F, view(&s.A(0, j), n, 1));
      std::copy_n(column_.data(), n, &s.A(0, j));
    }
    for (Eigen::Index i = 0; i < n; ++i) {
      T terms = 0;
      for (Eigen::Index k = 0; k < n; ++k) terms += std::abs(F(i, k) * A(k, j));
      terms += turn(F, i) * std::abs(A(i, j));
      round(moved(i, j), terms, i, j);
    }
  }

  /// a(j) = h'A.col(j), a sum of terms of this magnitude.
  void read(Eigen::Index j, const vector& h, T terms) {
    for (sample& s : samples_) s.a(j) = dot(h.size(), h.data(), &s.A(0, j)) + epsilon * terms * random();
  }
  bool is_zero(Eigen::Index j, T a, T terms) const {
    return is_rounding(a, terms, [&](const sample& s) { return s.a(j); });
  }

  /// Takes the multiple a(j) / a(pivot) of column `pivot` from column j of A.
  [[gnu::noinline]] void eliminate(Eigen::Index j, Eigen::Index pivot, const vector& a, matrix& A) {
    const T multiple = a(j) / a(pivot);
    for (sample& s : samples_) {
      const T error = (s.a(j) - multiple * s.a(pivot)) / a(pivot);
      for (Eigen::Index i = 0; i < A.rows(); ++i) s.A(i, j) -= multiple * s.A(i, pivot) + error * A(i, pivot);
    }
    for (Eigen::Index i = 0; i < A.rows(); ++i) subtract(A(i, j), multiple * A(i, pivot), i, j);
  }

 private:
  /// How far F turns state i and another one into each other, whatever their units: the diagonal of a quarter turn is
  /// the rounding of a cosine, which tells of no state.
  static T turn(const view& F, Eigen::Index i) {
    T most = 0;
    for (Eigen::Index k = 0; k < F.cols; ++k) most = (std::max)(most, -F(i, k) * F(k, i));
    return std::sqrt(most);
  }

  static constexpr T plausible = 32;  // an error is no more than this many times a sampled one
  static constexpr T epsilon = std::numeric_limits<T>::epsilon();

  struct sample {
    matrix A{};
    vector a{};
  };

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
    for (const sample& s : samples_) squares += error(s) * error(s);
    const T rounding = rounding_of_sum<T>(samples_[0].A.rows());
    return std::abs(x) <= rounding * terms + plausible * std::sqrt(squares / static_cast<T>(samples_.size()));
  }

  /// A new entry (i, j) of A, a sum of such terms, whose samples are already those of the sum but for its own rounding.
  /// Where it is cleared, what is cleared may have been no error: other entries may be its equals.
  void round(T& x, T terms, Eigen::Index i, Eigen::Index j) {
    if (is_rounding(x, terms, [&](const sample& s) { return s.A(i, j); })) {
      for (sample& s : samples_) s.A(i, j) += random() < 0 ? -x / 2 : x / 2;
      x = 0;
    } else {
      disturb(i, j, terms);
    }
  }
  void subtract(T& x, T taken, Eigen::Index i, Eigen::Index j) {
    const T terms = std::abs(x) + std::abs(taken);
    x -= taken;
    round(x, terms, i, j);
  }

  std::array<sample, 3> samples_{};
  vector column_{};
  std::uint64_t random_ = 0x9e3779b97f4a7c15;
};

}  // namespace kalscan::detail
