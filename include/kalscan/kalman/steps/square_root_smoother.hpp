// SPDX-License-Identifier: MIT
// The smoother in square-root form as work along time, for a back end.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/equations.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/exact_equations.hpp>
#include <kalscan/kalman/steps/square_root_sweep.hpp>
#include <limits>
#include <span>
#include <vector>

namespace kalscan {

template <class T, int N, int M>
struct smoother_result;

namespace detail {

/// Goes from the last step to the first with the likelihood |Z'(x_t - m_t) - w|^2 of all that is observed after step t,
/// where m_t is the filtered mean: numbers as large as a state's distance from 0 would take the digits of w. It is taken
/// as n observations of the filtered belief: a two-filter smoother, whose variances cannot exceed the filtered ones. What
/// is told without error stands apart: as numbers far larger than the others of Z it would take their digits. Whole: time
/// is not split.
template <class T, int N, int M, bool Whole>
struct square_root_smoother_sweep {
  using steps_type = square_root_steps<T, N, M>;
  using wide = typename steps_type::wide;
  using element = typename steps_type::element;

  struct state_type {
    Eigen::Matrix<wide, N, N> Z;
    Eigen::Vector<wide, N> w;
    // Where something is read without noise:
    exact_equations<wide, N> exact{};                  // what is told without error, which is apart from Z
    Eigen::Matrix<wide, N, Eigen::Dynamic> largest{};  // the largest deviations up to each step
  };

  std::span<const steps_type> all_steps;
  std::span<smoother_result<T, N, M>> results;
  std::span<const std::int64_t> chosen;  // of the results
  std::int64_t longest;
  bool noiseless;  // something is read without noise: in a long stretch information may grow without bound
  /// Room for one entry per result, which finish() fills where a result has a beginning: what the data after it say of
  /// its last state x, as Z'x = Z' mean + v + N(0, I).
  std::span<dense_matrix<T>> later_Z, later_v;

  static constexpr bool has_outputs = true, whole_lanes = Whole;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(chosen); }
  std::int64_t length() const { return longest; }
  bool splits() const { return !noiseless; }
  state_type act(const element& x, const state_type& s) const {
    element all = x;
    observe_likelihood<element, wide, N>(all, s.Z, s.w);
    return {all.Z, all.w, {}, {}};
  }

  struct lane_type {
    const square_root_smoother_sweep* sweep;
    const steps_type* steps;
    smoother_result<T, N, M>* result;
    std::int64_t series;

    std::int64_t time(std::int64_t s) const { return result->filtered.mean.cols() - 1 - s; }
    /// Where the prior was diffuse, the sweep ends at the first belief that is well known.
    std::int64_t first() const { return (std::max<std::int64_t>)(result->filtered.beginning.size() - 1, 0); }
    state_type start() const {
      const Eigen::Index n = steps->model.states();
      const auto none = no_steps<wide, N>(n);
      if (!sweep->noiseless) return {none.Z, none.w, {}, {}};
      return {none.Z, none.w, exact_equations<wide, N>(n), largest_deviations()};
    }
    void finish(state_type x) const {
      if (result->filtered.beginning.size() == 0) return;
      if (sweep->noiseless) {
        const Eigen::Vector<wide, N> size = column(x.largest, first());
        equations<wide> all(x.w.size() + x.exact.count, size);
        for (Eigen::Index i = 0; i < x.w.size(); ++i) all.add(column(x.Z, i), x.w(i));
        x.exact.add_to(all, size, tolerance());
        all.condense(x.Z, x.w);
      }
      dense_matrix<T>& Z = sweep->later_Z[static_cast<std::size_t>(series)];
      dense_vector<T>& v = sweep->later_v[static_cast<std::size_t>(series)];
      Z.resize(x.w.size(), x.w.size());
      v.resize(x.w.size());
      for (Eigen::Index i = 0; i < x.w.size(); ++i) {
        wide largest = 1;
        for (Eigen::Index j = 0; j < x.w.size(); ++j) largest = (std::max)(largest, std::abs(x.Z(j, i)));
        // What is told to less than the least numbers there are, is told to these.
        const wide scale = (std::min)(wide(1), std::sqrt(wide((std::numeric_limits<T>::max)())) / largest);
        for (Eigen::Index j = 0; j < x.w.size(); ++j) Z(j, i) = static_cast<T>(scale * x.Z(j, i));
        v(i) = static_cast<T>(scale * x.w(i));
      }
    }

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < first()) return;
      const auto i = static_cast<std::size_t>(t);
      bound(i, x);
      square_root_belief<wide, N> smoothed{Eigen::Vector<wide, N>::Zero(x.w.size()),
                                           result->filtered.covariance_root[i].template cast<wide>()};
      if (sweep->noiseless) observe_exact(i, x, smoothed);
      observe_likelihood<square_root_belief<wide, N>, wide, N>(smoothed, x.Z, x.w);
      smoothed.mean += filtered_mean(t);
      const auto belief = cast<T>(smoothed);
      require_finite_belief("smoothed", series, t, belief.mean, belief.root);
      result->mean.col(t) = belief.mean;
      result->covariance[i] = times(belief.root, transposed(belief.root));
      if (!sweep->noiseless) {
        x = sweep->act(lift(s), x);
      } else if (t > first()) {
        absorb_noiseless(t, x);
      }
    }

    element lift(std::int64_t s) const {
      const std::int64_t t = time(s);
      element x = no_steps<wide, N>(steps->model.states());
      if (t <= first()) return x;
      x.b = filtered_mean(t - 1);
      steps->absorb(t, column(result->filtered.y, t), x);
      x.b -= filtered_mean(t);
      return x;
    }

    /// From which states at step t are differences.
    Eigen::Vector<wide, N> filtered_mean(std::int64_t t) const {
      return column(result->filtered.mean, t).template cast<wide>();
    }

    /// To what the state after step t is known where it is known exactly.
    root_rounding<wide, N> known_to(std::size_t t) const {
      return {result->filtered.rounding[t].template cast<wide>()};
    }
    /// Of the terms of an equation without error, what counts as their rounding: it is taken from step to step.
    static wide tolerance() { return static_cast<wide>(std::pow(std::numeric_limits<T>::epsilon(), T(0.75))); }

    /// The largest deviation of each state up to each step: filtered and, from the second step on, predicted.
    Eigen::Matrix<wide, N, Eigen::Dynamic> largest_deviations() const {
      const auto& P = result->filtered.covariance;
      Eigen::Matrix<wide, N, Eigen::Dynamic> x(steps->model.states(), std::ssize(P));
      Eigen::Vector<wide, N> before = Eigen::Vector<wide, N>::Zero(x.rows());
      for (Eigen::Index t = 0; t < x.cols(); ++t) {
        const Eigen::Matrix<wide, N, N> F = steps->model.F[t].template cast<wide>();
        const Eigen::Vector<wide, N> moved = magnitudes(F, before);
        for (Eigen::Index i = 0; i < x.rows(); ++i) {
          const wide variance = P[static_cast<std::size_t>(t)](i, i);
          before(i) = std::sqrt(variance);
          x(i, t) = (std::max)(std::sqrt(variance + wide(steps->model.Q[t](i, i))), moved(i));
          if (t > 0) x(i, t) = (std::max)(x(i, t), x(i, t - 1));
        }
      }
      return x;
    }

    /// Takes what is told without error into a filtered belief, unless it was known already.
    void observe_exact(std::size_t t, const state_type& later, square_root_belief<wide, N>& x) const {
      auto known = known_to(t);
      const wide least = tolerance() * sum_of_terms(reach(later, t), row_lengths(x.root));
      for (Eigen::Index k = 0; k < later.exact.count; ++k) {
        const Eigen::Vector<wide, N> h = column(later.exact.rows, k);
        const root_update<wide, N> update(x.root, h, wide(0));
        if (!update.tells() || update.s <= 4 * known.along(h) + least * least) continue;
        const Eigen::Vector<wide, N> K = update.gain();
        for (int twice = 0; twice < 2; ++twice) x.mean += (later.exact.values(k) - h.dot(x.mean)) * K;
        known.update(h, K, update, x.root);
      }
    }

    /// The most that each entry of an equation without error can be, since no entry times the deviation exceeds one:
    /// errors are relative to that.
    static Eigen::Vector<wide, N> reach(const state_type& x, std::size_t t) {
      Eigen::Vector<wide, N> most = column(x.largest, static_cast<Eigen::Index>(t));
      for (Eigen::Index i = 0; i < most.size(); ++i) most(i) = most(i) > 0 ? 1 / most(i) : wide(0);
      return most;
    }

    /// Takes x from step t to the one before. A reading without noise, or an equation without error, in which nothing
    /// is left of the noise of the step, tells of the state before without error, unless that was known already.
    void absorb_noiseless(std::int64_t t, state_type& x) const {
      const auto index = static_cast<std::size_t>(t - 1);
      element step = no_steps<wide, N>(x.w.size());
      exact_equations<wide, N> exact(x.w.size());
      root_rounding<wide, N> rounding{steps->noise_rounding(t).template cast<wide>()};
      const root_rounding<wide, N> before = known_to(index);
      const Eigen::Matrix<wide, N, N> root = result->filtered.covariance_root[index].template cast<wide>();
      const Eigen::Matrix<wide, N, N> F = steps->model.F[t].template cast<wide>();
      step.b = filtered_mean(t - 1);
      steps->template predict<wide>(t, step);
      const Eigen::Vector<wide, N> noise = row_lengths(step.U);
      Eigen::Vector<wide, N> size = magnitudes(F, row_lengths(root));
      const auto o = steps->observe(t, column(result->filtered.y, t));
      equations<wide> told(o.count + x.exact.count + x.w.size(), Eigen::Vector<wide, N>(column(x.largest, t - 1)));
      const auto tell = [&](const Eigen::Vector<wide, N>& row, wide value) { told.add(row, value); };
      const auto take = [&](const Eigen::Vector<wide, N>& h, const Eigen::Vector<wide, N>& entries, wide d, wide y,
                            wide least) {
        const root_update<wide, N> update(step.U, h, d);
        const wide terms = sum_of_terms(entries, size), of_noise = least * sum_of_terms(entries, noise);
        if (update.tells() && !(equal(d, 0) && update.s <= 4 * rounding.along(h) + of_noise * of_noise)) {
          const Eigen::Vector<wide, N> gain = update.gain();
          Eigen::Matrix<wide, N, N> U = step.U;
          rounding.update(h, gain, update, U);
          detail::observe<wide, N>(step, h, d, y, tell);
          step.U = U;
          for (Eigen::Index j = 0; j < size.size(); ++j) size(j) += std::abs(gain(j)) * terms;
          return;
        }
        const Eigen::Vector<wide, N> row = times(transposed(step.A), h);
        const wide variance = times(transposed(root), row).squaredNorm();
        const wide unit = (std::max)(wide(root_rounding<T, N>::unit(h.size())), least * least);
        if (variance <= 4 * (before.along(row) + unit * terms * terms)) return;
        exact.add(row, y - h.dot(step.b), column(x.largest, t - 1), tolerance());
      };
      for (Eigen::Index i = 0; i < o.count; ++i) {
        const Eigen::Vector<wide, N> h = o.H.row(i).transpose().template cast<wide>();
        take(h, h, wide(o.d(i)), wide(o.y(i)), 0);
      }
      step.b -= filtered_mean(t);
      const auto entries = reach(x, index + 1);
      for (Eigen::Index k = 0; k < x.exact.count; ++k) {
        take(column(x.exact.rows, k), entries, 0, x.exact.values(k), tolerance());
      }
      observe_likelihood<element, wide, N>(step, x.Z, x.w, tell);
      x.exact = exact;
      for (Eigen::Index k = 0; k < told.count(); ++k) {
        wide* const row = told.row(k);
        exact.take_from(row, told.value(k));
      }
      told.condense(x.Z, x.w);
    }

    void absorb(std::int64_t s, element& x) const {
      if (time(s) > first()) x = square_root_monoid<wide, N>{x.b.size()}(lift(s), x);
    }

    /// What later data tell to far less than the rounding of what is known, is told a little less well: information
    /// that grows with every step, as where an unstable system has no noise, or where the inverse of one that is read
    /// exactly is unstable, would be all that its digits hold.
    void bound(std::size_t t, state_type& x) const {
      const Eigen::Matrix<wide, N, N> root = result->filtered.covariance_root[t].template cast<wide>();
      root_rounding<wide, N> known;
      if (sweep->noiseless) known.E = result->filtered.rounding[t].template cast<wide>();
      const wide narrow = std::numeric_limits<T>::epsilon(), epsilon = std::numeric_limits<wide>::epsilon();
      const wide most = std::pow(sweep->noiseless ? narrow : epsilon, wide(-0.75));
      for (Eigen::Index i = 0; i < x.w.size(); ++i) {
        const Eigen::Vector<wide, N> z = column(x.Z, i);
        wide size = times(transposed(root), z).norm();
        if (sweep->noiseless) size += std::sqrt(known.along(z));
        if (!(size > most)) continue;
        for (Eigen::Index j = 0; j < z.size(); ++j) x.Z(j, i) *= most / size;
        x.w(i) *= most / size;
      }
    }
  };
  lane_type lane(std::int64_t lane) const {
    const std::int64_t i = chosen[static_cast<std::size_t>(lane)];
    return {this, &of_series(all_steps, i), &results[static_cast<std::size_t>(i)], i};
  }
};

}  // namespace detail
}  // namespace kalscan
