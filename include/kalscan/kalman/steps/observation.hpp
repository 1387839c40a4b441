// SPDX-License-Identifier: MIT
// The observation of one step as scalar components with independent noise, to be taken one after the other.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/support/numbers.hpp>
#include <optional>

namespace kalscan::detail {

/// Independent scalar observations y_i = h_i x + N(0, d_i) for i < count, with h_i in row i of H; together they say
/// what the present components of a step say, at the same density. d_i = 0: noiseless, and then entries of h_i that are
/// no more than rounding are zero. |y_i| may be less than `terms`_i, the magnitude of the terms that it is a sum of.
template <class T, int N, int M>
struct scalar_observations {
  Eigen::Matrix<T, M, N> H;
  Eigen::Vector<T, M> d, y, terms;
  Eigen::Index count;
};

/// The components of an observation that are present, in their order, each less what the noise of those before it tells
/// of its own: W y with noise of covariance diag(d), W unit lower triangular. R may be singular: what is left of a
/// variance counts as zero when it may be the rounding of its terms. Units do not matter.
template <class T, int M>
struct noise_factor {
  Eigen::Matrix<T, M, M> W;
  Eigen::Vector<T, M> d;
  Eigen::Vector<Eigen::Index, M> present;
  Eigen::Index count = 0;
  bool diagonal = true;  // W = I

  /// Those components of which y is not NaN.
  noise_factor(const Eigen::Matrix<T, M, M>& R, const Eigen::Vector<T, M>& y)
      : W(Eigen::Matrix<T, M, M>::Identity(R.rows(), R.rows())), d(R.diagonal()), present(R.rows()) {
    for (Eigen::Index i = 0; i < R.rows(); ++i) {
      if (std::isnan(y(i))) continue;
      d(count) = R(i, i);
      present(count++) = i;
    }
    for (Eigen::Index i = 0; i < count; ++i) {
      for (Eigen::Index j = 0; j < i; ++j) diagonal = diagonal && equal(R(present(i), present(j)), T(0));
    }
    if (!diagonal) factor(R);
  }

 private:
  void factor(const Eigen::Matrix<T, M, M>& R) {
    const T rounding = rounding_of_sum<T>(R.rows());
    Eigen::Matrix<T, M, M> L(R.rows(), R.rows());  // R = L diag(d) L'
    for (Eigen::Index k = 0; k < count; ++k) {
      for (Eigen::Index j = 0; j < k; ++j) {
        T left = R(present(k), present(j));
        for (Eigen::Index i = 0; i < j; ++i) left -= L(k, i) * d(i) * L(j, i);
        L(k, j) = d(j) > 0 ? left / d(j) : T(0);
        d(k) -= L(k, j) * L(k, j) * d(j);
        for (Eigen::Index i = 0; i <= j; ++i) W(k, i) -= L(k, j) * W(j, i);
      }
      T terms = 0;
      for (Eigen::Index i = 0; i <= k; ++i) terms += std::abs(W(k, i)) * std::sqrt(R(present(i), present(i)));
      if (!(d(k) > rounding * terms * terms)) d(k) = 0;
    }
  }
};

/// The rows of H in these components.
template <class T, int M, class Matrix>
Matrix independent_rows(const noise_factor<T, M>& noise, const Matrix& H) {
  Matrix rows(H.rows(), H.cols());
  const T rounding = rounding_of_sum<T>(H.rows());
  for (Eigen::Index k = 0; k < noise.count; ++k) {
    for (Eigen::Index j = 0; j < H.cols(); ++j) {
      rows(k, j) = H(noise.present(k), j);
      if (noise.diagonal) continue;
      T terms = std::abs(rows(k, j));
      for (Eigen::Index i = 0; i < k; ++i) {
        const T term = noise.W(k, i) * H(noise.present(i), j);
        rows(k, j) += term;
        terms += std::abs(term);
      }
      if (!(noise.d(k) > 0) && std::abs(rows(k, j)) <= rounding * terms) rows(k, j) = 0;
    }
  }
  return rows;
}

/// Observes the steps of a model. Where R is constant, it is factored once for all steps without missing components.
template <class T, int N, int M>
class observer {
 public:
  explicit observer(const kalman_model<T, N, M>& model)
      : model_(model),
        all_(model.R[0], Eigen::Vector<T, M>::Zero(model.observed())),
        H_(independent_rows(all_, model.H[0])) {}

  scalar_observations<T, N, M> observe(std::int64_t t, const Eigen::Vector<T, M>& y) const {
    if (!model_.R.constant() || has_nan(y)) {
      const noise_factor<T, M> noise(model_.R[t], y);
      return with(noise, independent_rows(noise, model_.H[t]), t, y);
    }
    return with(all_, model_.H.constant() ? H_ : independent_rows(all_, model_.H[t]), t, y);
  }

 private:
  scalar_observations<T, N, M> with(const noise_factor<T, M>& noise, const Eigen::Matrix<T, M, N>& H, std::int64_t t,
                                    const Eigen::Vector<T, M>& y) const {
    Eigen::Vector<T, M> value = y, size = magnitudes(y);
    if (!model_.D.empty()) {
      const auto& D = model_.D[t];
      value -= times_inputs<T, M>(D, model_.u.data() + t * model_.u.rows());
      for (Eigen::Index j = 0; j < D.cols(); ++j) {
        for (Eigen::Index i = 0; i < D.rows(); ++i) size(i) += std::abs(D(i, j) * model_.u(j, t));
      }
    }
    scalar_observations<T, N, M> o{H, noise.d, value, size, noise.count};
    for (Eigen::Index k = 0; k < o.count; ++k) {
      o.y(k) = value(noise.present(k));
      o.terms(k) = size(noise.present(k));
      for (Eigen::Index i = 0; i < k && !noise.diagonal; ++i) {
        o.y(k) += noise.W(k, i) * value(noise.present(i));
        o.terms(k) += std::abs(noise.W(k, i)) * size(noise.present(i));
      }
    }
    return o;
  }

  const kalman_model<T, N, M>& model_;
  noise_factor<T, M> all_;
  Eigen::Matrix<T, M, N> H_;
};

/// Whether no component, nor a combination of some, is observed without noise at any step.
template <class T, int N, int M>
bool noise_is_definite(const kalman_model<T, N, M>& model) {
  for (std::int64_t t = 0; t < model.R.size(); ++t) {
    const noise_factor<T, M> noise(model.R[t], Eigen::Vector<T, M>::Zero(model.observed()));
    for (Eigen::Index i = 0; i < noise.d.size(); ++i) {
      if (!(noise.d(i) > 0)) return false;
    }
  }
  return true;
}

/// The matrix of step t, or the last one there is: lengths may differ.
template <class Matrix>
const Matrix& at_most(const per_step<Matrix>& x, std::int64_t t) {
  return x[(std::min)(t, x.size() - 1)];
}

/// A variance that is as many times another one, of the same states or of the noise with which they are read, leaves too
/// few digits to what is between.
template <class T>
inline constexpr T beyond_digits = 32 * (sizeof(T) < sizeof(double) ? T(1e3) : T(3e4));

/// Whether the noise of state j, by all but a small part of its variance, is that of another state.
template <class T, int N>
bool shares_noise(const Eigen::Matrix<T, N, N>& Q, Eigen::Index j, T small) {
  for (Eigen::Index k = 0; k < Q.rows(); ++k) {
    const T both = Q(j, j) * Q(k, k);
    if (k != j && both > 0 && both - Q(j, k) * Q(j, k) < small * both) return true;
  }
  return false;
}

/// Whether noise of covariance Q may move reading i at step t by far more than the reading's own noise: of several states,
/// or of one with which it moves another, too. Nothing where it does not move the reading.
template <class T, int N, int M>
std::optional<bool> moves_sharply(const kalman_model<T, N, M>& model, std::int64_t t, Eigen::Index i,
                                  const Eigen::Matrix<T, N, N>& Q) {
  constexpr T more = beyond_digits<T>, much = more / 32;
  const auto& H = at_most(model.H, t);
  T moved = 0;
  Eigen::Index states = 0, last = 0;
  for (Eigen::Index j = 0; j < Q.rows(); ++j) {
    const T h = std::abs(H(i, j));
    moved += h * std::sqrt(Q(j, j));
    if (h > 0) ++states, last = j;
  }
  if (!(moved > 0)) return {};
  const T times = moved * moved / at_most(model.R, t)(i, i);
  return states > 1 ? times > much : times > more && shares_noise<T, N>(Q, last, 1 / more);
}

/// The same of the noise of step t, where transitions bring it if it moves nothing at its own step.
template <class T, int N, int M>
bool moves_sharply(const kalman_model<T, N, M>& model, std::int64_t t, Eigen::Index i) {
  Eigen::Matrix<T, N, N> Q = at_most(model.Q, t);
  for (std::int64_t k = t; k < t + model.states(); ++k) {
    if (k > t) Q = sum(congruence(at_most(model.F, k), Q), at_most(model.Q, k));
    const std::optional<bool> sharply = moves_sharply(model, k, i, Q);
    if (sharply) return *sharply;
  }
  return false;
}

/// False where moves_sharply is false by standard deviations alone, which are cheaper to compute. `noise`: the
/// deviations of the states' noise at step t.
template <class T, int N, int M>
bool may_move_sharply(const kalman_model<T, N, M>& model, std::int64_t t, Eigen::Index i,
                      const Eigen::Vector<T, N>& noise) {
  const auto moved_at = [&](std::int64_t k, const Eigen::Vector<T, N>& states) {
    const auto& H = at_most(model.H, k);
    T moved = 0;
    for (Eigen::Index j = 0; j < states.size(); ++j) moved += std::abs(H(i, j)) * states(j);
    return moved;
  };
  const auto is_much = [&](std::int64_t k, T moved) {
    return moved * moved > beyond_digits<T> / 32 * at_most(model.R, k)(i, i);
  };
  if (const T moved = moved_at(t, noise); moved > 0) return is_much(t, moved);
  Eigen::Vector<T, N> now = noise, before = noise;
  for (std::int64_t k = t + 1; k < t + model.states(); ++k) {
    const auto &F = at_most(model.F, k), &Q = at_most(model.Q, k);
    before.swap(now);
    for (Eigen::Index j = 0; j < now.size(); ++j) now(j) = std::sqrt(Q(j, j));
    for (Eigen::Index j = 0; j < now.size(); ++j) {
      for (Eigen::Index l = 0; l < now.size(); ++l) now(l) += std::abs(F(l, j)) * before(j);
    }
    if (const T moved = moved_at(k, now); moved > 0) return is_much(k, moved);
  }
  return false;
}

/// Whether the noise of a step may move a reading of several states by far more than the reading's own noise: of the
/// sum that it tells, a covariance loses the digits at every step. Of a single state it keeps them, and loses others only
/// where that noise moves another state, too, of which the reading then tells as much. Noise that moves no reading at
/// its own step counts where transitions have brought it to one.
template <class T, int N, int M>
bool reads_sharply(const kalman_model<T, N, M>& model) {
  if (model.H.empty() || model.R.empty() || model.Q.empty() || model.F.empty()) return false;
  const std::int64_t steps = (std::max)({model.H.size(), model.R.size(), model.Q.size()});
  for (std::int64_t t = 0; t < steps; ++t) {
    const Eigen::Vector<T, N> noise = deviations(at_most(model.Q, t));
    for (Eigen::Index i = 0; i < model.observed(); ++i) {
      if (may_move_sharply(model, t, i, noise) && moves_sharply(model, t, i)) return true;
    }
  }
  return false;
}

}  // namespace kalscan::detail
