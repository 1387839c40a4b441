// SPDX-License-Identifier: MIT
// The steps of a filter in square-root form, and bounds on their rounding where something is read without noise.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <numbers>
#include <type_traits>

namespace kalscan::detail {

/// What the steps of the square-root form share.
template <class T, int N, int M>
class square_root_steps {
 public:
  /// Of the elements: what a chunk does to its beginning must not lose more than its steps do.
  using wide = detail::wide<T>;
  using element = square_root_element<wide, N>;
  using matrix = Eigen::Matrix<T, N, N>;

  explicit square_root_steps(const kalman_model<T, N, M>& model_)
      : model(model_),
        observer_(model_),
        root_(root_of(model_.Q[0].template cast<wide>())),
        noise_rounding_(rounding_of_root(0)) {}
  explicit square_root_steps(const kalman_model<T, N, M>* model_) : square_root_steps(*model_) {}

  const kalman_model<T, N, M>& model;

  template <class Covariance>
  static auto root_of(const Covariance& covariance) {
    const Eigen::Matrix<typename Covariance::Scalar, N, N> x = covariance;
    return root_semidefinite(x, pivot_rounding(x), typename Covariance::Scalar(1), x.diagonal()).root;
  }

  static matrix root_of(const gaussian_prior<T, N>& prior) {
    const Eigen::Index columns = prior.root.cols();
    return columns == 0 || columns > prior.root.rows() ? root_of(prior.covariance) : square(prior.root);
  }
  static matrix root_after(const diffuse_history<T>& beginning) { return square(narrowed(beginning.end_root.value)); }

  scalar_observations<T, N, M> observe(std::int64_t t, const Eigen::Vector<T, M>& y) const {
    return observer_.observe(t, y);
  }

  /// Takes a belief or an element, with numbers of type X, through the transition that leads to step t.
  template <class X, class State>
  void predict(std::int64_t t, State& x) const {
    if (!predicts(model, t)) return;
    Eigen::Vector<X, N> offset = Eigen::Vector<X, N>::Zero(model.states());
    if (!model.B.empty()) {
      offset = times_inputs<T, N>(model.B[t], model.u.data() + t * model.u.rows()).template cast<X>();
    }
    const Eigen::Matrix<X, N, N> F = model.F[t].template cast<X>();
    if (model.Q.constant()) {
      detail::predict<X, N>(x, F, offset, root_.template cast<X>());
    } else {
      detail::predict<X, N>(x, F, offset, root_of(model.Q[t].template cast<wide>()).template cast<X>());
    }
  }

  /// Of the root of Q that leads to step t, see root_rounding; the second one where Q may have changed.
  matrix noise_rounding(std::int64_t t) const { return model.Q.constant() ? noise_rounding_ : rounding_of_root(t); }
  matrix rounding_of_root(std::int64_t t) const {
    const matrix Q = model.Q[t];
    return root_rounding<T, N>::of_factor(root_semidefinite(Q, pivot_rounding(Q), T(1), Q.diagonal()), Q.diagonal());
  }

  /// What noiseless models have beside a belief, see root_rounding.
  static matrix rounding_of(const matrix& P) {
    matrix E = matrix::Zero(P.rows(), P.rows());
    for (Eigen::Index i = 0; i < P.rows(); ++i) E(i, i) = root_rounding<T, N>::unit(P.rows()) * P(i, i);
    return E;
  }
  static root_rounding<T, N> rounding_of(const gaussian_prior<T, N>& prior) {
    root_rounding<T, N> x{rounding_of(prior.covariance)};
    if (prior.rounding.size() > 0) x.E += prior.rounding;
    return x;
  }

  /// `rounding` is null where all noise has a variance.
  void predict_belief(std::int64_t t, square_root_belief<T, N>& x, root_rounding<T, N>* rounding) const {
    const matrix before = rounding ? x.root : matrix();
    predict<T>(t, x);
    if (!rounding || !predicts(model, t)) return;
    rounding->predict(model.F[t], before, x.root, noise_rounding(t));
  }

  /// Takes y_t, and adds its log-density. Returns what is wrong, or nullptr.
  const char* take(std::int64_t t, const Eigen::Vector<T, M>& y, square_root_belief<T, N>& x,
                   root_rounding<T, N>* rounding, T& log_density) const {
    const auto o = observe(t, y);
    for (Eigen::Index i = 0; i < o.count; ++i) {
      if (const char* wrong = take(o, i, x, rounding, log_density)) return wrong;
    }
    if (rounding) rounding->clear(x.root);
    return nullptr;
  }

  void absorb(std::int64_t t, const Eigen::Vector<T, M>& y, element& x) const {
    predict<wide>(t, x);
    const auto o = observe(t, y);
    for (Eigen::Index i = 0; i < o.count; ++i) {
      detail::observe<wide, N>(x, o.H.row(i).transpose().template cast<wide>(), wide(o.d(i)), wide(o.y(i)));
    }
  }

 private:
  static matrix square(const dense_view<T>& x) {
    matrix root;
    root.resize(x.rows, x.rows);
    std::fill(std::copy_n(x.data, x.rows * x.cols, root.data()), root.data() + root.size(), T(0));
    return root;
  }

  const char* take(const scalar_observations<T, N, M>& o, Eigen::Index i, square_root_belief<T, N>& x,
                   root_rounding<T, N>* rounding, T& log_density) const {
    auto& [mean, root] = x;
    const Eigen::Vector<T, N> h = o.H.row(i).transpose();
    const root_update<T, N> update(root, h, o.d(i));
    const T v = o.y(i) - h.dot(mean), error = rounding ? 4 * rounding->along(h) : T(0);
    if (!std::isfinite(update.s)) return bad_innovation;
    if (!update.tells() || (equal(o.d(i), 0) && update.s <= error)) {
      const T scale = o.terms(i) + sum_of_terms(h, mean);
      const bool agrees = std::abs(v) <= std::sqrt(std::numeric_limits<T>::epsilon()) * scale + std::sqrt(error);
      if (!agrees) return contradiction;
      if (!rounding) return nullptr;
      const Eigen::Vector<T, N> K = rounding->read_again(h, scale);
      mean += v * K;
      const Eigen::Vector<T, N> told = times(transposed(root), h);
      root -= times(K, transposed(told));
      return nullptr;
    }
    const Eigen::Vector<T, N> K = update.gain();
    mean += v * K;
    // A mean that was far away leaves rounding: what is known exactly agrees with the observation afterwards.
    if (equal(o.d(i), 0)) mean += (o.y(i) - h.dot(mean)) * K;
    if (rounding) {
      rounding->update(h, K, update, root);
    } else {
      update.apply(root);
    }
    log_density -= (v * v / update.s + std::log(2 * std::numbers::pi_v<T> * update.s)) / 2;
    return nullptr;
  }

  observer<T, N, M> observer_;
  Eigen::Matrix<wide, N, N> root_;  // of the first Q, as is what follows
  matrix noise_rounding_;
};

/// The same numbers in another type.
template <class To, class From, int N>
square_root_belief<To, N> cast(const square_root_belief<From, N>& x) {
  return {x.mean.template cast<To>(), x.root.template cast<To>()};
}

}  // namespace kalscan::detail
