// SPDX-License-Identifier: MIT
// The first steps under a prior that is diffuse in part, as the smoother needs them.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/linalg/compensated.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <vector>

namespace kalscan::detail {

/// After the readings of step t, x_t = A_t d + b_t + U_t g_t with unknowns d and g_t ~ N(0, I). Each reading had the
/// residual v - a'd and its own noise; its variance given d was s = f'f + noise, with f = U'h before it. Coordinates of d
/// change now and then. n states, q unknowns. Where other unknowns have been taken since, `earlier` has the steps before,
/// in parts: the unknowns of a part describe the state at the end of the one before it, see end_spread.
template <class T>
struct diffuse_history {
  using matrix = dense_matrix<T>;
  using vector = dense_vector<T>;
  using view = dense_view<T>;

  struct state {
    view A, U, b;
  };
  struct reading {
    view f, a;
    T s, v, noise;  // variances, but for v
  };
  /// Before reading number `reading`, at step `step`, the coordinates of d change: the old coordinate `pivot` is
  /// known + row'd, with d in the new coordinates; the others stay. With pivot -1 the origin moves: all old coordinates
  /// are the new ones plus `row`.
  struct change {
    std::int64_t step, reading;
    Eigen::Index pivot;
    vector row;
    T known;
  };

  // Given all of these steps, d is N(mean, root root') + kappa free free', kappa without bound, and x after the last
  // step is as above with A.
  matrix A{}, root{}, free{};
  matrix directions{};   // A free
  matrix directions_rounding{};  // as in gaussian_prior
  // These three of the last part alone:
  compensated_matrix<T> end_root{};  // of the covariance of x after the last step, of any number of columns
  matrix end_mean_rest{};            // what the mean of x after the last step is beyond its numbers in the result
  matrix rounding{};     // a bound on the errors of the mean and of end_root, as a covariance; where R is singular
  vector mean{};
  std::vector<Eigen::Index> unseen{};  ///< the coordinates that no reading depends on
  std::vector<change> changes{};
  bool kept = true;  ///< if not, nothing can be smoothed, and the steps are only counted
  std::vector<diffuse_history> earlier{};
  std::int64_t begin = 0;  ///< the first step that is not in `earlier`

  // Out of line: every result has a history, and would compile what moves and frees its members wherever it is moved itself.
  diffuse_history() = default;
  diffuse_history(const diffuse_history&) = default;
  [[gnu::noinline]] diffuse_history(diffuse_history&&) noexcept = default;
  diffuse_history& operator=(const diffuse_history&) = default;
  [[gnu::noinline]] diffuse_history& operator=(diffuse_history&&) noexcept = default;
  [[gnu::noinline]] ~diffuse_history() = default;

  /// The number of steps, with those in `earlier`.
  std::int64_t size() const { return begin + std::ssize(readings_until_); }

  /// The steps so far are an earlier part from now on.
  void begin_part() {
    diffuse_history next;
    next.kept = kept;
    next.begin = size();
    std::swap(next.earlier, earlier);
    if (kept) next.earlier.push_back(std::move(*this));
    *this = std::move(next);
  }

  void add_step(const matrix& A_, const vector& b, const matrix& U) {
    n_ = b.size();
    q_ = A_.cols();
    readings_until_.push_back(readings_);
    if (!kept) return;
    append(states_, A_);
    append(states_, U);
    append(states_, b);
  }
  void add_reading(const vector& f, const vector& a, T s, T v, T noise) {
    if (!kept) return;
    append(numbers_, f);
    append(numbers_, a);
    for (const T x : {s, v, noise}) numbers_.push_back(x);
    ++readings_;
  }
  void add_change(Eigen::Index pivot, const vector& row, T known) {
    if (kept) changes.push_back({size(), readings_, pivot, row, known});
  }

  void add_move(const vector& by) {
    if (kept) changes.push_back({size(), readings_, -1, by, T(0)});
  }

  state after(std::int64_t t) const {
    const T* x = states_.data() + (t - begin) * n_ * (q_ + n_ + 1);
    return {{x, n_, q_}, {x + n_ * q_, n_, n_}, {x + n_ * (q_ + n_), n_, 1}};
  }
  std::int64_t first_reading(std::int64_t t) const {
    return t > begin ? readings_until_[static_cast<std::size_t>(t - begin - 1)] : 0;
  }
  reading at(std::int64_t i) const {
    const T* x = numbers_.data() + i * (n_ + q_ + 3);
    const T* last = x + n_ + q_;
    return {{x, n_, 1}, {x + n_, q_, 1}, last[0], last[1], last[2]};
  }

 private:
  static void append(std::vector<T>& to, const view& x) {
    const std::size_t size = to.size();
    to.resize(size + static_cast<std::size_t>(x.rows * x.cols));
    std::copy_n(x.data, x.rows * x.cols, to.data() + size);
  }

  Eigen::Index n_ = 0, q_ = 0;
  std::int64_t readings_ = 0;
  std::vector<std::int64_t> readings_until_{};
  std::vector<T> states_{}, numbers_{};
};

}  // namespace kalscan::detail
