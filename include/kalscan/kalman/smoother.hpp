// SPDX-License-Identifier: MIT
// The Rauch-Tung-Striebel smoother of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/diffuse_smoother.hpp>
#include <kalscan/detail/filter_step.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/model.hpp>
#include <kalscan/kalman/smoothing_element.hpp>
#include <span>
#include <utility>
#include <vector>

namespace kalscan {

/// n states, one column or entry a step: x_t given all the data.
///
/// Under a prior that is diffuse in part, `diffuse` has an entry for each of the first steps whose state depends on
/// what no data tell: there the belief is N(mean, covariance + kappa diffuse), as for filter_result. The other
/// components, those whose entry on the diagonal of diffuse is zero, are smoothed as if these did not exist.
template <class T, int N, int M>
struct smoother_result {
  Eigen::Matrix<T, N, Eigen::Dynamic> mean;
  std::vector<Eigen::Matrix<T, N, N>> covariance;
  std::vector<Eigen::Matrix<T, N, N>> diffuse;
  filter_result<T, N, M> filtered;

  /// The components of x_t, by index, whose variance is infinite given all the data: none at proper steps.
  std::vector<Eigen::Index> improper_components(std::int64_t t) const { return detail::with_variance(diffuse, t); }
};

namespace detail {

/// Walks from the last filtered belief to the first; step s leads to time length - 2 - s of its series.
template <class T, int N, int M>
struct smoother_sweep {
  using vector = Eigen::Vector<T, N>;
  using matrix = Eigen::Matrix<T, N, N>;
  using state_type = matrix_belief<T, N>;
  using element = smoothing_element<T, N>;

  filter_step<T, N, M> stepper;
  std::span<smoother_result<T, N, M>> results;
  std::int64_t longest;

  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1.1;  // one product of n x n matrices more than a step

  std::int64_t lanes() const { return std::ssize(results); }
  std::int64_t length() const { return longest - 1; }
  bool splits() const { return true; }
  state_type act(const element& x, const state_type& s) const {
    return {times(x.E, s.mean) + x.g, congruence(x.E, s.covariance) + x.L};
  }

  struct lane_type {
    const smoother_sweep* sweep;
    smoother_result<T, N, M>* result;
    std::int64_t series;

    /// The conditional of x_t given x_(t+1) and the data up to t: N(mean + G (x_(t+1) - predicted), rest + G Q G').
    struct backward {
      matrix G, rest;
      vector mean, predicted;
      const matrix& Q;

      matrix covariance(const matrix& later) const {
        const matrix inner = Q + later;
        matrix x = congruence(G, inner) + rest;
        symmetrize(x);
        return x;
      }
    };

    backward conditional(std::int64_t t, const vector& mean, const matrix& P) const {
      const auto& step = sweep->stepper;
      const matrix& F = step.model.F[t + 1];
      const matrix& Q = step.model.Q[t + 1];
      matrix G = times(P, F.transpose());
      matrix predicted = times(F, G) + Q;
      symmetrize(predicted);
      clear_null_variances(predicted, [](Eigen::Index) { return T(0); });
      const vector scale = congruence_scale(F, P) + Q.diagonal();
      if (!divide_by_semidefinite(G, predicted, scale)) {
        throw filter_error(series, t, "the predicted covariance is not finite or not positive semi-definite");
      }
      matrix keep = -times(G, F);
      keep.diagonal().array() += T(1);
      return {G, congruence(keep, P), mean, step.predict_mean(t + 1, mean), Q};
    }

    std::int64_t time(std::int64_t s) const { return result->filtered.mean.cols() - 2 - s; }
    /// Where the prior was diffuse, the sweep ends at the first belief that is well known.
    std::int64_t first() const { return std::max<std::int64_t>(result->filtered.beginning.size() - 1, 0); }

    state_type start() const {
      const auto& filtered = result->filtered;
      state_type last{filtered.mean.col(filtered.mean.cols() - 1), filtered.covariance.back()};
      write(filtered.mean.cols() - 1, last);
      return last;
    }
    void finish(const state_type&) const {
      if (result->filtered.beginning.size() > 0) smooth_beginning();
    }

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < first()) return;
      const auto index = static_cast<std::size_t>(t);
      const backward c = conditional(t, result->filtered.mean.col(t), result->filtered.covariance[index]);
      const vector ahead = x.mean - c.predicted;
      x.mean = c.mean + times(c.G, ahead);
      x.covariance = c.covariance(x.covariance);
      write(t, x);
    }

    element lift(std::int64_t s) const {
      element x = smoothing_monoid<T, N>{sweep->stepper.model.states()}.identity();
      absorb(s, x);
      return x;
    }

    void absorb(std::int64_t s, element& x) const {
      const std::int64_t t = time(s);
      if (t < first()) return;
      const auto index = static_cast<std::size_t>(t);
      const backward c = conditional(t, result->filtered.mean.col(t), result->filtered.covariance[index]);
      const vector ahead = x.g - c.predicted;
      x.E = times(c.G, x.E);
      x.g = c.mean + times(c.G, ahead);
      x.L = c.covariance(x.L);
    }

   private:
    /// The steps of the beginning, when its last state is smoothed.
    void smooth_beginning() const {
      const auto& filtered = result->filtered;
      const auto& history = filtered.beginning;
      const std::int64_t end = first();
      diffuse_smoother<T> backwards(history, end + 1 < filtered.mean.cols(),
                                    result->mean.col(end) - filtered.mean.col(end),
                                    result->covariance[static_cast<std::size_t>(end)]);
      for (std::int64_t t = end; t >= 0; --t) {
        const auto x = backwards.step(t);
        if (t < end) write(t, {x.mean, x.covariance});
        if (!x.proper) result->diffuse.push_back(x.diffuse);
        if (t == 0) break;
        const auto& F = sweep->stepper.model.F[t];
        backwards.transition({F.data(), F.rows(), F.cols()});
      }
      std::reverse(result->diffuse.begin(), result->diffuse.end());
    }

    void write(std::int64_t t, const state_type& x) const {
      if (!x.mean.allFinite()) throw filter_error(series, t, "the smoothed mean is not finite");
      if (!x.covariance.allFinite()) throw filter_error(series, t, "the smoothed covariance is not finite");
      result->mean.col(t) = x.mean;
      result->covariance[static_cast<std::size_t>(t)] = x.covariance;
    }
  };
  lane_type lane(std::int64_t i) const { return {this, &results[static_cast<std::size_t>(i)], i}; }
};

}  // namespace detail

/// Smooths what `filter` returned for the same model. Singular F and Q are allowed: the gain takes the generalized
/// inverse of the predicted covariance. Covariances in Joseph's form, symmetric positive semi-definite. Errors, memory
/// and the effect of the policy as for `filter`; time is split whatever R is.
template <policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> smooth(const P& p, const kalman_model<T, N, M>& model,
                                             std::vector<filter_result<T, N, M>> filtered) {
  std::vector<smoother_result<T, N, M>> results(filtered.size());
  std::int64_t longest = 1;
  if (model.F.empty()) detail::bad_model("F is not given");
  for (std::size_t i = 0; i < filtered.size(); ++i) {
    const Eigen::Index length = filtered[i].mean.cols();
    const std::string name = "the filter result of series " + std::to_string(i);
    if (length == 0) detail::bad_model(name + " is empty");
    if (filtered[i].mean.rows() != model.states()) {
      detail::bad_model(name + " has " + std::to_string(filtered[i].mean.rows()) + " states, the model " +
                        std::to_string(model.states()));
    }
    if (std::ssize(filtered[i].covariance) != length) {
      detail::bad_model(name + " has " + std::to_string(filtered[i].covariance.size()) + " covariances and " +
                        std::to_string(length) + " means");
    }
    longest = std::max<std::int64_t>(longest, length);
    results[i].mean.resize(filtered[i].mean.rows(), length);
    results[i].covariance.resize(static_cast<std::size_t>(length));
    results[i].filtered = std::move(filtered[i]);
  }
  detail::check_model(model, longest);
  run_sweep(p, detail::smoother_sweep<T, N, M>{{model}, results, longest});
  return results;
}

/// Filters and smooths independent series.
template <policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> smooth(const P& p, const kalman_model<T, N, M>& model,
                                             std::type_identity_t<std::span<const observations<T, M>>> series,
                                             filter_outputs outputs = {}) {
  return smooth(p, model, filter(p, model, series, outputs));
}

/// Filters and smooths one series.
template <policy P, class T, int N, int M>
smoother_result<T, N, M> smooth(const P& p, const kalman_model<T, N, M>& model,
                                const std::type_identity_t<observations<T, M>>& y, filter_outputs outputs = {}) {
  return std::move(smooth(p, model, std::span<const observations<T, M>>(&y, 1), outputs).front());
}

}  // namespace kalscan
