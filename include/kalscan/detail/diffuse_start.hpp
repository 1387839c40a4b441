// SPDX-License-Identifier: MIT
// The exact limit of a prior whose variances grow without bound, until the data have made the state known.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <Eigen/Jacobi>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include <kalscan/detail/equal.hpp>
#include <kalscan/detail/filter_step.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/filter_result.hpp>
#include <kalscan/kalman/model.hpp>

namespace kalscan::detail {

/// The augmented filter of Rosenberg and de Jong (Annals of Statistics 19, 1991), in square-root form. The diffuse
/// components are unknowns d with a flat prior: x = A d + b + N(0, C). Given d everything is proper, and what the data
/// tell of d is |R d - z|^2, updated by orthogonal transformations: so nothing large is ever added to anything small.
/// There are n unknowns; those that the prior does not need have A = 0 and are pinned by a row of R.
template <class T>
class diffuse_start {
 public:
  // Whatever the sizes of the model, these are dynamic: a few steps are taken, and one compiled copy serves all models.
  using step_type = filter_step<T, Eigen::Dynamic, Eigen::Dynamic>;
  using observation = typename step_type::observation;
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using vector = Eigen::Vector<T, Eigen::Dynamic>;

  /// The belief N(mean, covariance + kappa diffuse), kappa without bound.
  struct belief {
    vector mean{};
    matrix covariance{}, diffuse{};
    vector d{};                // the unknowns: their mean and covariance
    matrix d_covariance{};
    bool proper = false;
    T condition = 0;           // of R with columns of length one: smallest over largest singular value
    T log_determinant = 0;     // of R'R, on the directions that it sees
  };

  matrix A{}, C;
  vector b;

  diffuse_start(const vector& mean, const matrix& covariance, const std::vector<bool>& diffuse) : C(covariance), b(mean) {
    const Eigen::Index n = mean.size();
    A = matrix::Zero(n, n);
    information_ = matrix::Zero(n, n + 1);
    for (Eigen::Index i = 0; i < n; ++i) {
      const bool flat = diffuse[static_cast<std::size_t>(i)];
      A(i, i) = flat ? T(1) : T(0);
      information_(i, i) = flat ? T(0) : T(1);
    }
  }

  void predict(const matrix& F, const vector& offset, const matrix& Q) {
    A = (F * A).eval();
    b = F * b + offset;
    C = congruence(F, C) + Q;
    symmetrize(C);
  }

  belief current() const {
    const Eigen::Index n = b.size();
    vector size = information_.leftCols(n).colwise().norm().transpose();
    for (T& s : size) s = s > 0 ? s : T(1);
    const matrix to_d = size.cwiseInverse().asDiagonal();
    const svd scaled(information_.leftCols(n) * to_d, Eigen::ComputeFullU | Eigen::ComputeFullV);
    const vector& singular = scaled.singularValues();
    Eigen::Index rank = 0;
    while (rank < n && singular(rank) > 64 * static_cast<T>(n) * epsilon * singular(0)) ++rank;

    belief x;
    x.proper = rank == n;
    x.condition = singular(n - 1) / singular(0);
    matrix root;  // root root' is the inverse of R'R, in the directions that R sees
    if (x.proper) {
      root = to_d * scaled.matrixV() * singular.cwiseInverse().asDiagonal();
      x.d = root * (scaled.matrixU().transpose() * information_.col(n));
      x.log_determinant = 2 * (singular.array().log().sum() + size.array().log().sum());
      x.diffuse = matrix::Zero(n, n);
    } else {
      // An orthonormal basis: directions that the data have not seen, then the others.
      matrix directions = matrix::Zero(n, n);
      directions.leftCols(n - rank) = to_d * scaled.matrixV().rightCols(n - rank);
      const matrix basis = svd(directions, Eigen::ComputeFullU | Eigen::ComputeFullV).matrixU();
      directions.setZero();
      directions.leftCols(rank) = information_.leftCols(n) * basis.rightCols(rank);
      const svd seen(directions, Eigen::ComputeFullU | Eigen::ComputeFullV);
      const vector values = seen.singularValues().head(rank);
      root = basis.rightCols(rank) * seen.matrixV().topLeftCorner(rank, rank) * values.cwiseInverse().asDiagonal();
      x.d = root * (seen.matrixU().leftCols(rank).transpose() * information_.col(n));
      x.log_determinant = 2 * values.array().log().sum();
      const matrix free = A * basis.leftCols(n - rank);
      x.diffuse = free * free.transpose();
      symmetrize(x.diffuse);
    }
    x.d_covariance = root * root.transpose();
    symmetrize(x.d_covariance);
    const matrix spread = A * root;
    x.mean = A * x.d + b;
    x.covariance = spread * spread.transpose() + C;
    symmetrize(x.covariance);
    return x;
  }

  /// The integral over d of the density of all data so far, without the power of kappa.
  T log_likelihood(const belief& x) const {
    return -(static_cast<T>(counted_) * std::log(2 * std::numbers::pi_v<T>) + log_determinants_ + residual_ +
             x.log_determinant) / 2;
  }

  /// Returns what is wrong with the observation, or nullptr. `history` holds the steps so far.
  const char* update(const observation& o, diffuse_history<T>& history) {
    if (o.present == 0) return nullptr;
    const Eigen::Index n = b.size(), m = o.y.size();
    const auto g = step_type::gain_of(o, C);
    if (!g.ok) return bad_innovation;
    const vector v = o.y - o.H * b;
    const matrix HA = o.H * A;
    const matrix rounding = 8 * static_cast<T>(n) * epsilon * o.H.cwiseAbs() * A.cwiseAbs();
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
    const matrix taken = g.K * HA;
    const matrix terms = A.cwiseAbs() + g.K.cwiseAbs() * HA.cwiseAbs();
    A -= taken;
    if (g.exact) clear_rounding(A, terms);
    b += g.K * v;
    C = step_type::update_covariance(o, g, C);
    counted_ += o.present;
    matrix noisy = rows;
    for (const Eigen::Index i : exact) noisy.row(i).setZero();
    absorb(noisy);
    for (std::size_t k = 0; k < exact.size(); ++k) {
      const Eigen::Index i = exact[k];
      if (rows.row(i).head(n).norm() <= 64 * static_cast<T>(n) * rounding.row(i).norm()) {
        if (!agrees(o.y(i), v(i), g.S(i, i), rows(i, n))) return contradiction;
        --counted_;
        continue;
      }
      impose(i, rows, history);
    }
    return nullptr;
  }

 private:
  static constexpr T epsilon = std::numeric_limits<T>::epsilon();

  /// Entries no larger than the rounding of the terms that they are sums of are zero: what exact data have fixed must not seem
  /// to vary a little.
  static void clear_rounding(matrix& x, const matrix& terms) {
    const T rounding = 8 * static_cast<T>(x.rows()) * epsilon;
    x = (x.array().abs() <= rounding * terms.array()).select(T(0), x);
  }

  /// Equations R d = z with independent errors of variance one: rotated into the triangle row by row. What is left of z
  /// is a residual.
  void absorb(const matrix& rows) {
    const Eigen::Index n = b.size();
    matrix pair(2, n + 1);
    for (Eigen::Index i = 0; i < rows.rows(); ++i) {
      pair.row(1) = rows.row(i);
      for (Eigen::Index j = 0; j < n; ++j) {
        if (equal(pair(1, j), 0)) continue;
        pair.row(0) = information_.row(j);
        rotation r;
        r.makeGivens(pair(0, j), pair(1, j));
        pair.applyOnTheLeft(0, 1, r.adjoint());
        pair(1, j) = 0;
        information_.row(j) = pair.row(0);
      }
      residual_ += pair(1, n) * pair(1, n);
    }
  }

  /// An equation without error, a'd = c, given as row i of `rows`. In coordinates in which d_0 runs along a, d_0 is known;
  /// it moves from A d to b, and its place is pinned as one that is not needed.
  void impose(Eigen::Index i, matrix& rows, diffuse_history<T>& history) {
    const Eigen::Index n = b.size();
    const auto everywhere = [&](auto change) {
      change(A);
      change(information_);
      for (matrix& each : history.A) change(each);
      change(rows);
    };
    for (Eigen::Index j = 1; j < n; ++j) {
      rotation r;
      r.makeGivens(rows(i, 0), rows(i, j));
      everywhere([&](matrix& x) { x.applyOnTheRight(0, j, r); });
    }
    // What a rotation leaves of a row that lies along the known direction is rounding.
    const auto clean = [n](matrix& x) { clear_rounding(x, x.rowwise().norm().replicate(1, n)); };
    clean(A);
    for (matrix& each : history.A) clean(each);
    const T along = rows(i, 0), known = rows(i, n) / along;
    log_determinants_ += 2 * std::log(std::abs(along));
    b += known * A.col(0);
    for (std::size_t t = 0; t < history.b.size(); ++t) history.b[t] += known * history.A[t].col(0);
    information_.col(n) -= known * information_.col(0);
    rows.col(n) -= known * rows.col(0);
    everywhere([](matrix& x) { x.col(0).setZero(); });

    matrix equations(n + 1, n + 1);  // no longer a triangle
    equations << information_, matrix::Identity(1, n + 1);
    information_.setZero();
    absorb(equations);
  }

  using rotation = Eigen::JacobiRotation<T>;
  using svd = Eigen::JacobiSVD<matrix, Eigen::NoQRPreconditioner>;

  matrix information_{};  // [R z], n x (n + 1), R upper triangular
  T residual_ = 0, log_determinants_ = 0;
  std::int64_t counted_ = 0;
};

/// Walks back through the steps of a diffuse beginning: the joint belief of x_t and the unknowns d, given all the data.
/// Given d every step is proper.
template <class T>
class diffuse_smoother {
 public:
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using vector = Eigen::Vector<T, Eigen::Dynamic>;

  vector mean;
  matrix covariance;

  /// From the smoothed belief of the beginning's last step: x = A d + b + N(0, C) there, so that x observes d.
  diffuse_smoother(const diffuse_history<T>& history, const vector& mean_, const matrix& covariance_)
      : mean(mean_), covariance(covariance_), history_(history) {
    const matrix &A = history.A.back(), &C = history.C.back();
    matrix K = history.covariance * A.transpose();
    matrix spread = A * K + C;
    symmetrize(spread);
    divide_by_semidefinite(K, spread, vector(spread.diagonal()));
    matrix keep = -K * A;
    keep.diagonal().array() += T(1);
    d_ = history.mean + K * (mean - A * history.mean - history.b.back());
    d_covariance_ = congruence(keep, history.covariance) + congruence(K, C + covariance);
    cross_ = K * covariance;
  }

  /// x_t | x_(t+1), d ~ N(G (x_(t+1) - predicted) + A d + b - G F A d, rest), where `predicted` is the mean for d = 0.
  void step(std::int64_t t, const matrix& G, const vector& predicted, const matrix& rest, const matrix& F) {
    const auto i = static_cast<std::size_t>(t);
    const matrix W = history_.A[i] - G * F * history_.A[i];
    mean = (history_.b[i] + G * (mean - predicted) + W * d_).eval();
    const matrix mixed = W * cross_ * G.transpose();
    covariance = (congruence(G, covariance) + congruence(W, d_covariance_) + mixed + mixed.transpose() + rest).eval();
    symmetrize(covariance);
    cross_ = (cross_ * G.transpose() + d_covariance_ * W.transpose()).eval();
  }

 private:
  const diffuse_history<T>& history_;
  vector d_{};
  matrix d_covariance_{}, cross_{};  // cross: of d and x_t
};

// Not inlined: where it knows the size, g++ 12 warns of accesses that Eigen's packet code never makes.
template <class T>
[[gnu::noinline]] Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> copy(const T* data, Eigen::Index rows,
                                                                         Eigen::Index cols) {
  return Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>>(data, rows, cols);
}

/// A matrix of any sizes with dynamic ones.
template <class X>
auto with_dynamic_size(const X& x) {
  return copy(x.data(), x.rows(), x.cols());
}

/// The beginnings of all series, each a single step of one lane.
template <class T, int N, int M>
struct diffuse_sweep {
  filter_step<T, N, M> stepper;
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

    /// Filters the series until its state is well known, or to its end.
    void replay(std::int64_t, nothing&) const {
      // A belief whose variances differ by more than the square of this loses digits in an ordinary step. Data that take
      // very long to get there must do with what they have.
      constexpr T well_known = T(1e-3);
      constexpr std::int64_t patience = 1000;
      const auto& model = sweep->stepper.model;
      const auto& y = sweep->data[static_cast<std::size_t>(series)];
      auto& result = sweep->results[static_cast<std::size_t>(series)];
      auto& history = result.beginning;
      const filter_recorder<T, N, M> record{&result, sweep->outputs, series};
      diffuse_start<T> x(with_dynamic_size(model.prior.mean), with_dynamic_size(model.prior.covariance), model.prior.diffuse);
      std::int64_t proper_steps = 0;
      T last_total = 0;
      for (std::int64_t t = 0; t < y.cols(); ++t) {
        if (t > 0 || model.prior.before_first_transition) {
          x.predict(with_dynamic_size(model.F[t]), with_dynamic_size(sweep->stepper.transition_offset(t)),
                    with_dynamic_size(model.Q[t]));
        }
        const auto o = sweep->stepper.observe(t, y.col(t));
        if (record.outputs.predictions || record.outputs.innovations) {
          const auto predicted = x.current();
          record.predicted(t, predicted.mean, predicted.covariance);
          if (record.outputs.predictions && !predicted.proper) result.predicted_diffuse.push_back(predicted.diffuse);
          record.innovation(t, sweep->stepper.joint_innovation(t, y.col(t), predicted.mean),
                            sweep->stepper.innovation_covariance(t, predicted.covariance));
        }
        if (const char* reason = x.update({with_dynamic_size(o.H), with_dynamic_size(o.R), with_dynamic_size(o.y), o.present}, history)) record.fail(t, reason);
        const auto filtered = x.current();
        const T total = x.log_likelihood(filtered);
        record.filtered(t, filtered.mean, filtered.covariance, o.present > 0 ? total - last_total : T(0));
        last_total = total;
        if (!filtered.proper) result.diffuse.push_back(filtered.diffuse);
        history.A.push_back(x.A);
        history.b.push_back(x.b);
        history.C.push_back(x.C);
        history.mean = filtered.d;
        history.covariance = filtered.d_covariance;
        if (filtered.proper && (filtered.condition >= well_known || ++proper_steps == patience)) break;
      }
    }
  };
  lane_type lane(std::int64_t i) const { return {this, i}; }
};

}  // namespace kalscan::detail
