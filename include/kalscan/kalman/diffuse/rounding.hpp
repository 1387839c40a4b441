// SPDX-License-Identifier: MIT
// Finds the entries of a matrix that are zero up to rounding. Three random samples of the rounding errors of its inputs
// are carried along (stochastic arithmetic).
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/compensated.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <vector>

namespace kalscan::detail {

/// A matrix A and a = A'h are known with far more digits than those of their number type; the transitions F and readings
/// h that they come from may be rounded. Three random samples of what errors of F and h by a rounding make of A are
/// carried through all that is done to it (stochastic arithmetic; Vignes 1993), so that cancellation and contraction are
/// felt alike. Equal numbers at an equal place have equal errors: what readings see of a direction only over many steps
/// is a difference of nearly equal things, which these errors hardly change. What is no more than its errors counts as
/// zero.
template <class T>
class sampled_rounding {
 public:
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  /// A without errors.
  sampled_rounding(Eigen::Index rows, Eigen::Index cols) {
    for (sample& s : samples_) {
      set_zero(s.A, rows, cols);
      set_zero(s.a, cols);
    }
  }

  /// See gaussian_prior::directions_rounding.
  explicit sampled_rounding(const view& rounding) : sampled_rounding(rounding.rows, rounding.cols / 4) {
    const T* from = rounding.data;
    for (sample& s : samples_) std::copy_n(from += s.A.size(), s.A.size(), s.A.data());
  }

  /// product = A(:, columns) x, for an x without errors. Returns what is rounded in it, as in
  /// gaussian_prior::directions_rounding.
  [[gnu::noinline]] matrix multiply_columns(const std::vector<Eigen::Index>& columns, const compensated_matrix<T>& A,
                                            const matrix& x, compensated_matrix<T>& product) const {
    const Eigen::Index n = A.value.rows();
    product.set_zero(n, x.cols());
    if (columns.empty()) return {};
    sampled_rounding errors(n, x.cols());
    vector terms;
    for (Eigen::Index j = 0; j < x.cols(); ++j) {
      set_zero(terms, n);
      for (std::size_t k = 0; k < columns.size(); ++k) {
        const Eigen::Index from = columns[k];
        const T factor = x(static_cast<Eigen::Index>(k), j);
        add_multiple(product, j, factor, T(0), A.value.col(from), A.rest.col(from));
        for (std::size_t s = 0; s < samples_.size(); ++s)
          add_multiple(&errors.samples_[s].A(0, j), n, factor, samples_[s].A.col(from));
        for (Eigen::Index i = 0; i < n; ++i) terms(i) += std::abs(A.value(i, from) * factor);
      }
      round_column(product, j);
      for (Eigen::Index i = 0; i < n; ++i) errors.clear_rounding(product, terms(i), i, j);
    }
    matrix all = product.rest;
    for (const sample& s : errors.samples_) all = side_by_side<T>(all, s.A);
    return all;
  }

  /// `moved` = F A.
  [[gnu::noinline]] void predict(const view& F, const std::vector<Eigen::Index>& columns, const matrix& A,
                                 compensated_matrix<T>& moved) {
    if (columns.empty()) return;
    const Eigen::Index n = A.rows();
    for (sample& s : samples_) s.F.resize(n, n);
    for (Eigen::Index k = 0; k < n; ++k) {
      for (Eigen::Index i = 0; i < n; ++i) {
        const T size = std::abs(F(i, k)) + (i == k ? turn(F, i) : T(0));
        const auto error = relative_errors(F(i, k), i, k);
        for (std::size_t s = 0; s < samples_.size(); ++s) samples_[s].F(i, k) = error[s] * size;
      }
    }
    for (const Eigen::Index j : columns) {
      for (sample& s : samples_) {
        multiply(column_, F, view(s.A.col(j), n, 1));
        add_product(column_, 1, s.F, view(A.col(j), n, 1));
        std::copy_n(column_.data(), n, &s.A(0, j));
      }
      for (Eigen::Index i = 0; i < n; ++i) clear_rounding(moved, T(0), i, j);
    }
  }

  /// a = A'h.
  [[gnu::noinline]] void read(const vector& h, const std::vector<Eigen::Index>& columns, const matrix& A) {
    const Eigen::Index n = h.size();
    for (const Eigen::Index j : columns) {
      for (sample& s : samples_) s.a(j) = dot(n, h.data(), s.A.col(j));
    }
    for (Eigen::Index i = 0; i < n && !columns.empty(); ++i) {
      const auto error = relative_errors(h(i), i, n);
      for (std::size_t s = 0; s < samples_.size(); ++s) {
        for (const Eigen::Index j : columns) samples_[s].a(j) += error[s] * h(i) * A(i, j);
      }
    }
  }
  bool is_zero(Eigen::Index j, T a, T terms) const {
    return is_rounding(a, terms, [&](const sample& s) { return s.a(j); });
  }

  /// The multiple a(j) / a(pivot) of column `pivot` has been taken from column j of A, which was `before`.
  [[gnu::noinline]] void eliminate(Eigen::Index j, Eigen::Index pivot, const vector& a, const vector& before,
                                   compensated_matrix<T>& A) {
    const T multiple = a(j) / a(pivot);
    for (sample& s : samples_) {
      const T error = (s.a(j) - multiple * s.a(pivot)) / a(pivot);
      for (Eigen::Index i = 0; i < before.size(); ++i)
        s.A(i, j) -= multiple * s.A(i, pivot) + error * A.value(i, pivot);
    }
    for (Eigen::Index i = 0; i < before.size(); ++i)
      clear_rounding(A, std::abs(before(i)) + std::abs(multiple * A.value(i, pivot)), i, j);
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
  static constexpr T least = 1024 * epsilon * epsilon;  // of a sum's terms: its own rounding

  struct sample {
    matrix A{}, F{};  // errors; F: of the last transition
    vector a{};
  };

  /// In [-1, 1].
  static T fraction(std::uint64_t bits) {
    return static_cast<T>(static_cast<double>(static_cast<std::int64_t>(bits)) * 0x1p-63);
  }

  /// By what x at such a place is rounded in each sample: the same for 2 x.
  std::array<T, 3> relative_errors(T x, Eigen::Index row, Eigen::Index col) const {
    std::uint64_t bits = std::bit_cast<std::uint64_t>(static_cast<double>(x)) << 12;  // without sign and exponent
    bits += 0x9e3779b97f4a7c15 * static_cast<std::uint64_t>(row + 1) +
            0xd1342543de82ef95 * static_cast<std::uint64_t>(col + 1);
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
    bits ^= bits >> 31;
    return {epsilon * fraction(bits), epsilon * fraction(bits << 21), epsilon * fraction(bits << 42)};
  }

  /// Whether x may be zero but for rounding: a sum of such terms, with sampled errors.
  template <class Error>
  bool is_rounding(T x, T terms, Error error) const {
    T squares = 0;
    for (const sample& s : samples_) squares += error(s) * error(s);
    return std::abs(x) <= least * terms + plausible * std::sqrt(squares / static_cast<T>(samples_.size()));
  }

  /// Clears entry (i, j) of A, a sum of such terms, if it may be rounding. The cleared value may have been real, so
  /// half of it is added to each sampled error, with a sign that equal numbers at equal places share.
  void clear_rounding(compensated_matrix<T>& A, T terms, Eigen::Index i, Eigen::Index j) {
    const T x = A.value(i, j);
    if (!is_rounding(x, terms, [&](const sample& s) { return s.A(i, j); })) return;
    const auto error = relative_errors(x, i, j);
    for (std::size_t s = 0; s < samples_.size(); ++s) samples_[s].A(i, j) += error[s] < 0 ? -x / 2 : x / 2;
    A.clear(i, j);
  }

  std::array<sample, 3> samples_{};
  vector column_{};
};

}  // namespace kalscan::detail
