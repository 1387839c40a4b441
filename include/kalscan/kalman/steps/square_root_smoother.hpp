// SPDX-License-Identifier: MIT
// The smoother in square-root form as work along time, for a back end.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/square_root_sweep.hpp>
#include <limits>
#include <span>
#include <vector>

namespace kalscan {

template <class T, int N, int M>
struct smoother_result;

namespace detail {

/// Goes from the last step to the first with the likelihood |Z'x_t - w|^2 of all that is observed after step t, and
/// takes it as n observations of the filtered belief: a two-filter smoother, whose variances cannot exceed the filtered
/// ones. Whole: time is not split.
template <class T, int N, int M, bool Whole>
struct square_root_smoother_sweep {
  using steps_type = square_root_steps<T, N, M>;
  using wide = typename steps_type::wide;
  using element = typename steps_type::element;

  struct state_type {
    Eigen::Matrix<wide, N, N> Z;
    Eigen::Vector<wide, N> w;
  };

  std::span<const steps_type> all_steps;
  std::span<smoother_result<T, N, M>> results;
  std::span<const std::int64_t> chosen;  // of the results
  std::int64_t longest;
  bool noiseless;  // something is read without noise: in a long stretch information may grow without bound
  /// What is observed after the first steps of a result: Z'x = Z' mean + v + N(0, I) of the last of them.
  struct later_data {
    dense_matrix<T> Z{};
    dense_vector<T> v{};
  };
  std::span<later_data> after_beginning;  // of each result, with room

  static constexpr bool has_outputs = true, whole_lanes = Whole;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(chosen); }
  std::int64_t length() const { return longest; }
  bool splits() const { return !noiseless; }
  state_type act(const element& x, const state_type& s) const {
    element all = x;
    observe_likelihood<element, wide, N>(all, s.Z, s.w);
    return {all.Z, all.w};
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
      const auto none = no_steps<wide, N>(steps->model.states());
      return {none.Z, none.w};
    }
    void finish(const state_type& x) const {
      if (result->filtered.beginning.size() == 0) return;
      const auto mean = result->filtered.mean.col(first());
      auto& later = sweep->after_beginning[static_cast<std::size_t>(series)];
      later.Z.resize(x.w.size(), x.w.size());
      later.v.resize(x.w.size());
      for (Eigen::Index i = 0; i < x.w.size(); ++i) {
        wide v = x.w(i), largest = 1;
        for (Eigen::Index j = 0; j < x.w.size(); ++j) {
          v -= x.Z(j, i) * wide(mean(j));
          largest = (std::max)(largest, std::abs(x.Z(j, i)));
        }
        // What is told to less than the least numbers there are, is told to these.
        const wide scale = (std::min)(wide(1), std::sqrt(wide((std::numeric_limits<T>::max)())) / largest);
        for (Eigen::Index j = 0; j < x.w.size(); ++j) later.Z(j, i) = static_cast<T>(scale * x.Z(j, i));
        later.v(i) = static_cast<T>(scale * v);
      }
    }

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < first()) return;
      const auto i = static_cast<std::size_t>(t);
      bound(i, x);
      const square_root_belief<T, N> filtered{result->filtered.mean.col(t), result->filtered.covariance_root[i]};
      auto smoothed = cast<wide>(filtered);
      observe_likelihood<square_root_belief<wide, N>, wide, N>(smoothed, x.Z, x.w);
      const auto belief = cast<T>(smoothed);
      require_finite_belief("smoothed", series, t, belief.mean, belief.root);
      result->mean.col(t) = belief.mean;
      result->covariance[i] = times(belief.root, transposed(belief.root));
      x = sweep->act(lift(s), x);
    }

    element lift(std::int64_t s) const {
      const std::int64_t t = time(s);
      element x = no_steps<wide, N>(steps->model.states());
      if (t > first()) absorb_step(t, x);
      return x;
    }
    /// To what the state after step t is known where it is known exactly.
    root_rounding<T, N> known_to(std::size_t t) const { return {result->filtered.rounding[t]}; }

    /// The magnitude of the terms of observation i, of states of such a size.
    static T terms_of(const scalar_observations<T, N, M>& o, Eigen::Index i, const Eigen::Vector<T, N>& size) {
      T sum = 0;
      for (Eigen::Index j = 0; j < size.size(); ++j) sum += std::abs(o.H(i, j)) * size(j);
      return sum;
    }

    /// As steps->absorb, where a reading may be certain given the state before: what it tells of that has no error, and
    /// is told to epsilon^(3/4) of the filtered deviation, unless it was known already.
    void absorb_step(std::int64_t t, element& x) const {
      if (!sweep->noiseless) return steps->absorb(t, result->filtered.y.col(t), x);
      const auto index = static_cast<std::size_t>(t - 1);
      root_rounding<wide, N> rounding{steps->noise_rounding(t).template cast<wide>()};
      const root_rounding<T, N> before = known_to(index);
      steps->template predict<wide>(t, x);
      const auto& root = result->filtered.covariance_root[index];
      Eigen::Vector<T, N> lengths = row_squares(root);
      for (Eigen::Index i = 0; i < lengths.size(); ++i) lengths(i) = std::sqrt(lengths(i));
      Eigen::Vector<T, N> size = magnitudes(steps->model.F[t], lengths);
      const auto o = steps->observe(t, result->filtered.y.col(t));
      for (Eigen::Index i = 0; i < o.count; ++i) {
        const Eigen::Vector<wide, N> h = o.H.row(i).transpose().template cast<wide>();
        const root_update<wide, N> update(x.U, h, wide(o.d(i)));
        if (update.tells() && !(equal(o.d(i), 0) && update.s <= 4 * rounding.along(h))) {
          rounding.update(h, update.gain(), x.U);
          detail::observe<wide, N>(x, h, wide(o.d(i)), wide(o.y(i)));
          const T along = terms_of(o, i, size);
          const Eigen::Vector<wide, N> gain = update.gain();
          for (Eigen::Index j = 0; j < size.size(); ++j) size(j) += std::abs(static_cast<T>(gain(j))) * along;
          continue;
        }
        const Eigen::Vector<wide, N> row = times(transposed(x.A), h);
        const Eigen::Vector<T, N> r = row.template cast<T>();
        const T variance = times(transposed(root), r).squaredNorm(), terms = terms_of(o, i, size);
        if (variance <= 4 * (before.along(r) + root_rounding<T, N>::unit(r.size()) * terms * terms)) continue;
        const wide deviation = std::sqrt(wide(variance)) * wide(std::pow(std::numeric_limits<T>::epsilon(), T(0.75)));
        const wide v = wide(o.y(i)) - h.dot(x.b);
        add_equation<Eigen::Matrix<wide, N, N>, Eigen::Vector<wide, N>>(x.Z, x.w, row / deviation, v / deviation);
      }
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
        const Eigen::Vector<wide, N> z = x.Z.col(i);
        wide size = times(transposed(root), z).norm();
        if (sweep->noiseless) size += std::sqrt(known.along(z));
        if (!(size > most)) continue;
        x.Z.col(i) *= most / size;
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
