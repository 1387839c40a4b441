// SPDX-License-Identifier: MIT
// How the smoother of a linear-Gaussian model goes back through the steps of its series.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/diffuse/smoothed_beginning.hpp>
#include <kalscan/kalman/elements/smoothing_element.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/smoother_result.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/given_next.hpp>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace kalscan::detail {

/// What a rank that has a stretch of a series must know of the steps around it: whether there are steps after it, and the
/// last step before it, if there is one, which this rank's sweep smooths, too.
template <class T, int N>
struct stretch_edges {
  bool has_before = false, has_after = false;
  matrix_belief<T, N> filtered_before{}, smoothed_before{};
  bool cancelled_before = false;
};

/// Goes from the last filtered belief to the first; step s leads to time length - 2 - s of its series.
template <class T, int N, int M>
struct smoother_sweep {
  using vector = Eigen::Vector<T, N>;
  using matrix = Eigen::Matrix<T, N, N>;
  using belief = matrix_belief<T, N>;
  using element = smoothing_element<T, N>;
  using monoid_type = smoothing_monoid<T, N>;

  struct state_type {
    vector r;
    matrix N_;
  };

  std::span<const filter_step<T, N, M>> steppers;  // one for all series, or one each
  std::span<smoother_result<T, N, M>> results;
  std::span<const std::int64_t> chosen;    // of the results
  std::span<std::vector<char>> cancelled;  // for each step, whether its smoothed covariance has lost digits
  std::int64_t longest;
  std::span<stretch_edges<T, N>> edges =
      {};  // one for each result, over ranks: the caller then finishes the lanes
  /// For each result, where that is asked: how many steps were taken from the next one, where one that lost its digits
  /// counts as all; and a bound on the rounding of the last such covariance.
  std::span<std::int64_t> taken_from_next = {};
  std::span<dense_matrix<T>> bounds = {};

  static constexpr bool has_outputs = true, starts_at_first_step = true, ends_unseen = true, goes_back = true;
  static constexpr bool lanes_apart = true;
  static constexpr double absorb_cost = 0.8;  // measured: 0.6 to 1

  std::int64_t lanes() const { return std::ssize(chosen); }
  std::int64_t length() const { return longest - 1; }
  bool splits() const { return true; }
  state_type act(const element& x, const state_type& s) const {
    state_type before{sum(times(transposed(x.L), s.r), x.r), sum(congruence(transposed(x.L), s.N_), x.N)};
    symmetrize(before.N_);
    return before;
  }

  struct lane_type {
    const smoother_sweep* sweep;
    const filter_step<T, N, M>* stepper;
    smoother_result<T, N, M>* result;
    std::vector<char>* cancelled;
    std::int64_t series;
    stretch_edges<T, N>* edges;

    bool has_before() const { return edges && edges->has_before; }
    bool has_after() const { return edges && edges->has_after; }
    std::int64_t time(std::int64_t s) const { return result->filtered.mean.cols() - 2 - s; }
    /// The last step that the sweep comes to: where there was a beginning, its end.
    std::int64_t first() const { return (std::max<std::int64_t>)(result->filtered.beginning.size() - 1, 0); }
    /// The last step that `lift` leads to. -1 is the step before this rank's stretch.
    std::int64_t last_lift() const { return has_before() ? -1 : first(); }

    state_type start() const {
      const auto& filtered = result->filtered;
      const Eigen::Index n = filtered.mean.rows(), last = filtered.mean.cols() - 1;
      if (last >= 0 && !has_after()) write(last, {column(filtered.mean, last), filtered.covariance.back()});
      return {vector::Zero(n), matrix::Zero(n, n)};
    }

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < last_lift()) return;
      x = sweep->act(lift(s), x);
      const auto& P =
          t < 0 ? edges->filtered_before.covariance : result->filtered.covariance[static_cast<std::size_t>(t)];
      const matrix NP = times(x.N_, P);
      belief smoothed{times(P, x.r), P};
      smoothed.covariance -= times(P, NP);
      symmetrize(smoothed.covariance);
      const bool lost = cancels(P, x.N_, smoothed.covariance);
      if (t < 0) {
        smoothed.mean += edges->filtered_before.mean;
        edges->smoothed_before = smoothed;
        edges->cancelled_before = lost;
      } else {
        smoothed.mean += column(result->filtered.mean, t);
        write(t, smoothed);
        (*cancelled)[static_cast<std::size_t>(t)] = lost;
      }
    }

    /// What the data of step t + 1 say of the state at t.
    element lift(std::int64_t s) const {
      const std::int64_t t = time(s);
      const auto& filtered = result->filtered;
      const auto& step = *stepper;
      const Eigen::Index n = step.model.states();
      if (t < last_lift()) return monoid_type{n}.identity();
      matrix_filtering_element<T, N> x{step.model.F[t + 1], {}, {}, vector::Zero(n), matrix::Zero(n, n)};
      if (t < 0) {
        x.b = edges->filtered_before.mean, x.C = edges->filtered_before.covariance;
      } else {
        x.b = column(filtered.mean, t), x.C = filtered.covariance[static_cast<std::size_t>(t)];
      }
      step.predict(t + 1, x.b, x.C);
      if (const char* wrong = step.absorb(step.components.observe(t + 1, filtered.y.col(t + 1)), x)) {
        fail_step(series, t + 1, wrong);
      }
      return {x.A, x.eta, x.J};
    }

    void absorb(std::int64_t s, element& x) const {
      if (time(s) < last_lift()) return;
      if (!clear_if_faded(x.L)) return void(x = monoid_type{stepper->model.states()}(lift(s), x));
      const state_type before = sweep->act(lift(s), {x.r, x.N});
      x.r = before.r, x.N = before.N_;
    }

    void finish(const state_type&) const {
      if (!edges) finish();
    }
    /// To be called when all later steps are smoothed. `taken`: whether the step after these was taken from the next one.
    /// Returns whether the first of these was.
    bool finish(bool taken = false) const {
      for (std::int64_t t = result->filtered.mean.cols() - 2; t >= first(); --t) {
        taken = take_from_next(t, (*cancelled)[static_cast<std::size_t>(t)], taken);
      }
      if (result->filtered.beginning.size() > 0) smooth_beginning();
      return taken;
    }

    /// Takes step t (-1: the step before this rank's stretch) from the smoothed belief of the next one, if it is `lost`,
    /// since its difference of covariances cancels; or if the next one was taken so (`next`) and both ways still differ here:
    /// digits that N lacks at a step it also lacks at those before, until that step is forgotten. Not if the result would
    /// be less certain than the filtered belief. Returns whether the step was taken.
    bool take_from_next(std::int64_t t, bool lost, bool next) const {
      if (!lost && !next) return false;
      auto* rounding = sweep->bounds.empty() ? nullptr : &sweep->bounds[static_cast<std::size_t>(series)];
      if (rounding && !next) {
        set_zero(*rounding, result->mean.rows(), result->mean.rows());
        add_rounding_of(result->covariance[static_cast<std::size_t>(t + 1)], *rounding);
      }
      const belief x = from_next(t, rounding);
      if (exceeds(x.covariance, t < 0 ? edges->filtered_before.covariance
                                      : result->filtered.covariance[static_cast<std::size_t>(t)])) {
        return false;
      }
      if (!lost && agree(t < 0 ? edges->smoothed_before.covariance : result->covariance[static_cast<std::size_t>(t)],
                         x.covariance)) {
        return false;
      }
      if (t < 0) {
        edges->smoothed_before = x;
      } else {
        write(t, x);
      }
      if (sweep->taken_from_next.empty()) return true;
      auto& taken = sweep->taken_from_next[static_cast<std::size_t>(series)];
      // What the system forgets is told apart by the data before alone, and lost on the way back from much later ones.
      taken += rounding && is_felt(*rounding, x.covariance) ? result->mean.cols() : 1;
      return true;
    }

    /// Smooths the steps of the beginning, the last of which is smoothed already.
    void smooth_beginning() const {
      const auto& filtered = result->filtered;
      beginning_of_lane steps(*this);
      dense_vector<T> change(filtered.mean.rows());
      for (Eigen::Index i = 0; i < change.size(); ++i) {
        change(i) = result->mean(i, steps.end) - filtered.mean(i, steps.end);
      }
      smooth_from_end<T>(steps, filtered.beginning, change, result->covariance[static_cast<std::size_t>(steps.end)]);
      std::reverse(result->diffuse.begin(), result->diffuse.end());
    }
    /// The same from what later data tell of its last state x: readings Z'x = Z' mean + v + N(0, I).
    void smooth_beginning(const dense_matrix<T>& Z, const dense_vector<T>& v) const {
      beginning_of_lane steps(*this);
      smooth_from_readings<T>(steps, result->filtered.beginning, Z, v);
      std::reverse(result->diffuse.begin(), result->diffuse.end());
    }

   private:
    /// Whether P - P N P cancels in some variance: where later data tell far more than all data before.
    static bool cancels(const matrix& P, const matrix& N_, const matrix& smoothed) {
      const vector terms = magnitudes(P, deviations(N_));
      using limits = std::numeric_limits<T>;
      const T tolerance = std::pow(limits::epsilon(), T(0.75));
      for (Eigen::Index i = 0; i < terms.size(); ++i) {
        const T rounding = limits::epsilon() * terms(i) * terms(i);
        if (rounding > (limits::min)() && !(rounding <= tolerance * smoothed(i, i))) return true;
      }
      return false;
    }

    /// Whether a smoothed variance is more than 1% above the filtered one, as no exact one is: the filtered covariance is
    /// then so large that it has no digits of what the next step tells.
    static bool exceeds(const matrix& smoothed, const matrix& filtered) {
      for (Eigen::Index i = 0; i < smoothed.rows(); ++i) {
        if (!(smoothed(i, i) <= T(1.01) * filtered(i, i))) return true;
      }
      return false;
    }

    static void add_rounding_of(const matrix& P, dense_matrix<T>& rounding) {
      for (Eigen::Index i = 0; i < P.rows(); ++i) rounding(i, i) += std::numeric_limits<T>::epsilon() * P(i, i);
    }
    static bool is_felt(const dense_matrix<T>& rounding, const matrix& P) {
      const T tolerance = std::sqrt(std::numeric_limits<T>::epsilon());
      for (Eigen::Index i = 0; i < P.rows(); ++i) {
        if (rounding(i, i) > tolerance * P(i, i)) return true;
      }
      return false;
    }

    /// Whether variances differ by little more than the rounding of a difference that does not cancel.
    static bool agree(const matrix& P, const matrix& other) {
      const T tolerance = std::pow(std::numeric_limits<T>::epsilon(), T(2) / 3);
      for (Eigen::Index i = 0; i < P.rows(); ++i) {
        if (!(std::abs(P(i, i) - other(i, i)) <= tolerance * other(i, i))) return false;
      }
      return true;
    }

   public:
    /// The smoothed belief of step t, or of the one before a stretch, from that of the next one. `rounding`, if given,
    /// bounds the rounding of the next step's covariance, and then that of the one returned.
    belief from_next(std::int64_t t, dense_matrix<T>* rounding = nullptr) const {
      const auto next = static_cast<std::size_t>(t + 1);
      const belief filtered =
          t < 0 ? edges->filtered_before : belief{column(result->filtered.mean, t), result->filtered.covariance[next - 1]};
      const auto given = given_next<T>(filtered.covariance, stepper->model.F[t + 1], stepper->model.Q[t + 1]);
      dense_vector<T> ahead(stepper->predict_mean(t + 1, filtered.mean));
      for (Eigen::Index i = 0; i < ahead.size(); ++i) ahead(i) = result->mean(i, t + 1) - ahead(i);
      dense_matrix<T> mean, root, covariance;
      multiply(mean, given.G, ahead);
      for (Eigen::Index i = 0; i < ahead.size(); ++i) mean(i) += filtered.mean(i);
      multiply(root, given.G, root_of<T>(result->covariance[next]));
      set_zero(covariance, ahead.size(), ahead.size());
      add_outer(covariance, 1, root, root);
      add_outer(covariance, 1, given.rest, given.rest);
      symmetrize(covariance);
      const belief x{to_eigen<vector>(mean), to_eigen<matrix>(covariance)};
      if (rounding) {
        transform(*rounding, given.G);
        add_rounding_of(x.covariance, *rounding);
      }
      return x;
    }

    void write(std::int64_t t, const belief& x) const {
      require_finite_belief("smoothed", series, t, x.mean, x.covariance);
      result->mean.col(t) = x.mean;
      result->covariance[static_cast<std::size_t>(t)] = x.covariance;
    }
  };
  class beginning_of_lane final : public smoothed_beginning<T> {
   public:
    using typename smoothed_beginning<T>::step;
    explicit beginning_of_lane(const lane_type& lane) : lane_(lane) {
      const auto& filtered = lane.result->filtered;
      this->end = lane.first();
      this->later = this->end + 1 < filtered.mean.cols() || lane.has_after();
    }
    step leading_to(std::int64_t t) override { return {lane_.stepper->model.F[t], lane_.stepper->model.Q[t]}; }
    void write(std::int64_t t, const typename smoothed_beginning<T>::belief& x) override {
      lane_.write(t, {to_eigen<vector>(x.mean), to_eigen<matrix>(x.covariance)});
    }
    void push_diffuse(const dense_matrix<T>& diffuse) override {
      lane_.result->diffuse.push_back(to_eigen<matrix>(diffuse));
    }

   private:
    const lane_type& lane_;
  };

  lane_type lane(std::int64_t lane) const { return lane_of(chosen[static_cast<std::size_t>(lane)]); }
  lane_type lane_of(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {
        this, &of_series(steppers, i), &results[index], &cancelled[index], i, edges.empty() ? nullptr : &edges[index]};
  }
};

}  // namespace kalscan::detail
