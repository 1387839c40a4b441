// SPDX-License-Identifier: MIT
// The exact limit of a prior whose variances grow without bound, until the data have made the state known.
#pragma once

#include <Eigen/Core>
#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include <kalscan/detail/filter_step.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/filter_result.hpp>
#include <kalscan/kalman/model.hpp>

namespace kalscan::detail {

/// The augmented filter of Rosenberg and de Jong (Annals of Statistics 19, 1991), in square-root form. The diffuse
/// components are unknowns d with a flat prior: x = A d + b + N(0, C). Given d everything is proper, and what the data
/// tell of d is |R d - z|^2, updated by orthogonal transformations: so nothing large is ever added to anything small.
/// There are n unknowns; those that the prior does not need have A = 0 and are pinned by a row of R.
template <class T, int N, int M>
class diffuse_start {
 public:
  using step_type = filter_step<T, N, M>;
  using vector_n = Eigen::Vector<T, N>;
  using vector_m = Eigen::Vector<T, M>;
  using matrix_nn = Eigen::Matrix<T, N, N>;
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

  /// The belief N(mean, covariance + kappa diffuse), kappa without bound.
  struct belief {
    vector_n mean;
    matrix_nn covariance, diffuse;
    vector_n d;                // the unknowns: their mean and covariance
    matrix_nn d_covariance;
    bool proper;
    T condition;               // of R with columns of length one: smallest over largest singular value
    T log_determinant;         // of R'R, on the directions that it sees
  };

  diffuse_start(const step_type& step, const filter_recorder<T, N, M>& record) : step_(step), record_(record) {
    const auto& prior = step.model.prior;
    const Eigen::Index n = step.model.states();
    A_ = matrix_nn::Zero(n, n);
    information_ = matrix::Zero(n, n + 1);
    for (Eigen::Index i = 0; i < n; ++i) {
      const bool flat = prior.diffuse[static_cast<std::size_t>(i)];
      A_(i, i) = flat ? T(1) : T(0);
      information_(i, i) = flat ? T(0) : T(1);
    }
    b_ = prior.mean;
    C_ = prior.covariance;
  }

  /// Filters the series from its beginning until its state is well known, or to its end. Returns how many steps that took.
  std::int64_t run(const observations<T, M>& y, filter_result<T, N, M>& result) {
    // A belief whose variances differ by more than the square of this loses digits in an ordinary step. Data that take
    // very long to get there must do with what they have.
    constexpr T well_known = T(1e-3);
    constexpr std::int64_t patience = 1000;
    auto& history = result.beginning;
    std::int64_t proper_steps = 0;
    T last_total = 0;
    for (std::int64_t t = 0; t < y.cols(); ++t) {
      if (t > 0 || step_.model.prior.before_first_transition) predict(t);
      const belief predicted = current();
      record_.predicted(t, predicted.mean, predicted.covariance);
      if (record_.outputs.predictions && !predicted.proper) result.predicted_diffuse.push_back(predicted.diffuse);
      const auto o = step_.observe(t, y.col(t));
      if (record_.outputs.innovations) {
        const vector_m v = o.y - times(o.H, predicted.mean);
        record_.innovation(t, y.col(t), v, step_.gain_of(o, predicted.covariance));
      }
      update(t, o, history);
      const belief filtered = current();
      const T total = log_likelihood(filtered);
      record_.filtered(t, filtered.mean, filtered.covariance, o.present > 0 ? total - last_total : T(0));
      last_total = total;
      if (!filtered.proper) result.diffuse.push_back(filtered.diffuse);
      history.A.push_back(A_);
      history.b.push_back(b_);
      history.C.push_back(C_);
      history.mean = filtered.d;
      history.covariance = filtered.d_covariance;
      if (!filtered.proper) continue;
      if (filtered.condition >= well_known || ++proper_steps == patience) break;
    }
    return history.size();
  }

 private:
  static constexpr T epsilon = std::numeric_limits<T>::epsilon();

  void predict(std::int64_t t) {
    A_ = times(step_.model.F[t], A_);
    b_ = step_.predict_mean(t, b_);
    C_ = step_.predict_covariance(t, C_);
  }

  belief current() const {
    const Eigen::Index n = b_.size();
    const matrix R = information_.leftCols(n);
    const Eigen::Vector<T, Eigen::Dynamic> z = information_.col(n);
    Eigen::Vector<T, Eigen::Dynamic> size = R.colwise().norm().transpose();
    for (T& s : size) s = s > 0 ? s : T(1);
    const Eigen::JacobiSVD<matrix> svd(R * size.cwiseInverse().asDiagonal(), Eigen::ComputeFullV);
    const auto& singular = svd.singularValues();
    Eigen::Index rank = 0;
    while (rank < n && singular(rank) > 64 * static_cast<T>(n) * epsilon * singular(0)) ++rank;

    // An orthonormal basis: directions that the data have not seen, then the others.
    matrix basis = matrix::Identity(n, n);
    if (rank < n) {
      const matrix unseen = size.cwiseInverse().asDiagonal() * svd.matrixV().rightCols(n - rank);
      basis = Eigen::HouseholderQR<matrix>(unseen).householderQ() * basis;
    }
    const matrix seen = basis.rightCols(rank);
    const Eigen::HouseholderQR<matrix> qr(R * seen);
    const matrix factor = qr.matrixQR().topRows(rank).template triangularView<Eigen::Upper>();
    const matrix inverse = factor.template triangularView<Eigen::Upper>().solve(matrix::Identity(rank, rank));
    const matrix root = seen * inverse;
    const Eigen::Vector<T, Eigen::Dynamic> rotated = qr.householderQ().transpose() * z;

    belief x;
    x.d = root * rotated.head(rank);
    x.d_covariance = root * root.transpose();
    const matrix spread = A_ * root, free = A_ * basis.leftCols(n - rank);
    x.mean = A_ * x.d + b_;
    x.covariance = spread * spread.transpose() + C_;
    x.diffuse = free * free.transpose();
    x.proper = rank == n;
    x.condition = singular(n - 1) / singular(0);
    x.log_determinant = 2 * factor.diagonal().cwiseAbs().array().log().sum();
    symmetrize(x.covariance);
    symmetrize(x.d_covariance);
    symmetrize(x.diffuse);
    return x;
  }

  /// The integral over d of the density of all data so far, without the power of kappa.
  T log_likelihood(const belief& x) const {
    return -(static_cast<T>(counted_) * std::log(2 * std::numbers::pi_v<T>) + log_determinants_ + residual_ +
             x.log_determinant) / 2;
  }

  void update(std::int64_t t, const typename step_type::observation& o, diffuse_history<T, N>& history) {
    if (o.present == 0) return;
    const Eigen::Index n = b_.size(), m = o.y.size();
    const auto g = step_.gain_of(o, C_);
    if (!g.ok) record_.fail(t, "the innovation covariance is not finite or not positive semi-definite");
    const vector_m v = o.y - times(o.H, b_);
    const Eigen::Matrix<T, M, N> HA = times(o.H, A_);
    const Eigen::Matrix<T, M, N> rounding = 8 * static_cast<T>(n) * epsilon * times(o.H.cwiseAbs(), A_.cwiseAbs());
    // What the observation says of d: rows [V v], made independent and of variance one.
    matrix rows(m, n + 1);
    rows << HA, v;
    for (Eigen::Index i = 0; i < m; ++i) {
      for (Eigen::Index j = 0; j < n; ++j) {
        if (std::abs(rows(i, j)) <= rounding(i, j)) rows(i, j) = 0;
      }
    }
    std::vector<Eigen::Index> exact;
    for (Eigen::Index i = 0; i < m; ++i) {
      for (Eigen::Index k = 0; k < i; ++k) rows.row(i) -= g.factor(i, k) * rows.row(k);
      const T root = g.factor(i, i);
      if (root > 0) {
        rows.row(i) /= root;
        log_determinants_ += 2 * std::log(root);
      } else {
        exact.push_back(i);
      }
    }
    A_ -= times(g.K, HA);
    b_ += times(g.K, v);
    C_ = step_.update_covariance(o, g, C_);
    counted_ += o.present;
    matrix noisy = rows;
    for (const Eigen::Index i : exact) noisy.row(i).setZero();
    absorb(noisy);
    for (std::size_t k = 0; k < exact.size(); ++k) {
      const Eigen::Index i = exact[k];
      if (rows.row(i).head(n).norm() <= 64 * static_cast<T>(n) * rounding.row(i).norm()) {
        record_.require_agreement(t, o, g, v, i, rows(i, n));
        --counted_;
        continue;
      }
      impose(rows.row(i), rows, history);
    }
  }

  /// Rows of independent equations R d = z with errors of variance one.
  void absorb(const matrix& rows) {
    const Eigen::Index n = b_.size();
    matrix stacked(n + rows.rows(), n + 1);
    stacked << information_, rows;
    const Eigen::HouseholderQR<matrix> qr(stacked);
    const matrix factor = qr.matrixQR().topRows(std::min(stacked.rows(), n + 1)).template triangularView<Eigen::Upper>();
    information_ = factor.topRows(n);
    if (factor.rows() > n) residual_ += factor(n, n) * factor(n, n);
  }

  /// An equation without error, a'd = c. In coordinates in which d_0 runs along a, d_0 is known; it moves from A d to b,
  /// and its place is pinned as one that is not needed.
  void impose(Eigen::Matrix<T, 1, Eigen::Dynamic> row, matrix& rows, diffuse_history<T, N>& history) {
    const Eigen::Index n = b_.size();
    const Eigen::Vector<T, Eigen::Dynamic> a = row.head(n).transpose();
    const Eigen::HouseholderQR<matrix> qr(a);
    const matrix Q = qr.householderQ() * matrix::Identity(n, n);
    const T along = Q.col(0).dot(a);
    const T known = row(n) / along;
    const auto move = [&](auto& coefficients, auto&& constant, T sign) {
      coefficients = (coefficients * Q).eval();
      constant += sign * known * coefficients.col(0);
      coefficients.col(0).setZero();
    };
    move(A_, b_, T(1));
    for (std::size_t s = 0; s < history.b.size(); ++s) move(history.A[s], history.b[s], T(1));
    const auto move_equations = [&](matrix& equations) {
      matrix left = equations.leftCols(n);
      move(left, equations.col(n), T(-1));
      equations.leftCols(n) = left;
    };
    move_equations(information_);
    move_equations(rows);
    matrix pin = matrix::Zero(1, n + 1);
    pin(0, 0) = 1;
    absorb(pin);
    log_determinants_ += 2 * std::log(std::abs(along));
  }

  const step_type& step_;
  const filter_recorder<T, N, M>& record_;
  matrix_nn A_, C_;
  vector_n b_;
  matrix information_;  // [R z], n x (n + 1), R upper triangular
  T residual_ = 0, log_determinants_ = 0;
  std::int64_t counted_ = 0;
};

/// The beginnings of all series, each a single step of one lane.
template <class T, int N, int M>
struct diffuse_sweep {
  filter_step<T, N, M> step;
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;

  struct nothing {};
  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return 1; }
  bool splits() const { return false; }
  nothing act(nothing, nothing) const { return {}; }

  struct lane_type {
    const diffuse_sweep* sweep;
    std::int64_t series;

    nothing start() const { return {}; }
    void finish(nothing) const {}
    nothing lift(std::int64_t) const { return {}; }
    void absorb(std::int64_t, nothing&) const {}
    void replay(std::int64_t, nothing&) const {
      const auto i = static_cast<std::size_t>(series);
      const filter_recorder<T, N, M> record{&sweep->results[i], sweep->outputs, series};
      diffuse_start<T, N, M>(sweep->step, record).run(sweep->data[i], sweep->results[i]);
    }
  };
  lane_type lane(std::int64_t i) const { return {this, i}; }
};

}  // namespace kalscan::detail
