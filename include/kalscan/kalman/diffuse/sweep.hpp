// SPDX-License-Identifier: MIT
// The beginnings of series under a prior that is diffuse in part or vague, and of those with readings without noise.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/kalman/diffuse/start.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <limits>
#include <span>

namespace kalscan::detail {

/// Whether ordinary steps would lose digits at a state with these standard deviations: where a reading may be far more
/// precise than what is known of it before, a covariance is a difference of far larger ones. Where what comes new with
/// each step is as large, nothing is won by another beginning.
template <class T, int N, int M>
class vague_states {
 public:
  explicit vague_states(const kalman_model<T, N, M>& model) : precision_(Eigen::Vector<T, N>::Zero(model.states())) {
    const std::int64_t steps = (std::max)({steps_of(model.H), steps_of(model.R), steps_of(model.Q)});
    for (std::int64_t t = 0; t < steps; ++t) {
      const auto& H = model.H[t];
      for (Eigen::Index i = 0; i < H.rows(); ++i) {
        T deviation = std::sqrt(model.R[t](i, i));
        for (Eigen::Index j = 0; j < H.cols(); ++j) deviation += std::abs(H(i, j)) * std::sqrt(model.Q[t](j, j));
        for (Eigen::Index j = 0; j < H.cols() && deviation > 0; ++j)
          precision_(j) = (std::max)(precision_(j), std::abs(H(i, j)) / deviation);
      }
    }
  }

  /// The largest deviation of a reading that these of the states allow, in those of what is new in it.
  template <class Variance>
  T deviation(Variance variance) const {
    T sum = 0;
    for (Eigen::Index j = 0; j < precision_.size(); ++j) sum += precision_(j) * std::sqrt(variance(j));
    return sum;
  }
  /// What is vague, and, after a beginning that was, what still is: there it costs little to go on.
  static T much() { return std::pow(std::numeric_limits<T>::epsilon(), T(-0.15)); }
  static T enough() { return std::pow(std::numeric_limits<T>::epsilon(), T(-0.1)); }

 private:
  template <class Matrix>
  static std::int64_t steps_of(const per_step<Matrix>& x) {
    return x.constant() ? 1 : x.size();
  }

  Eigen::Vector<T, N> precision_;
};

/// Which series begin with other steps than ordinary ones: also those with a vague prior that are not carried as roots,
/// or where nothing can be.
enum class beginning { diffuse, wherever_better, without_roots };

/// Whether the first steps are not ordinary ones: the prior is diffuse in part; where that is better, also where it is
/// vague and the model is not carried as roots, as all are that are read without noise.
template <class T, int N, int M>
bool has_beginning(const filter_step<T, N, M>& stepper, beginning which) {
  const auto& prior = stepper.model.prior;
  if (prior.has_diffuse()) return true;
  if (which == beginning::diffuse) return false;
  if (stepper.exact || (stepper.sharp && which == beginning::wherever_better)) return false;
  const vague_states<T, N, M> vague(stepper.model);
  return vague.deviation([&](Eigen::Index j) { return prior.covariance(j, j); }) > vague.much();
}

/// The beginnings of all series, each a single step of one lane.
template <class T, int N, int M>
struct diffuse_sweep {
  std::span<const filter_step<T, N, M>> steppers;  // one for all series, or one each
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  beginning which;

  struct nothing {};
  static constexpr bool has_outputs = true, whole_lanes = true;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return 1; }
  bool splits() const { return false; }
  nothing act(nothing, nothing) const { return {}; }

  struct lane_type {
    const diffuse_sweep* sweep;
    std::int64_t series;
    const filter_step<T, N, M>* stepper;

    nothing start() const { return {}; }
    void finish(nothing) const {}
    nothing lift(std::int64_t) const { return {}; }
    void absorb(std::int64_t, nothing&) const {}

    /// Filters the series until ordinary steps are safe, or to its end.
    void replay(std::int64_t, nothing&) const {
      const auto& model = stepper->model;
      if (!has_beginning(*stepper, sweep->which)) return;
      const auto& y = sweep->data[static_cast<std::size_t>(series)];
      auto& result = sweep->results[static_cast<std::size_t>(series)];
      auto& history = result.beginning;
      const filter_recorder<T, N, M> record{&result, sweep->outputs, series};
      const bool exact = stepper->exact;
      history.kept = record.keeps();
      const diffuse_directions<T> prior(model.prior);
      const auto& root = model.prior.root;
      diffuse_start<T> x(prior.mean, root.cols() > 0 ? dense_matrix<T>(root) : root_of<T>(model.prior.covariance),
                         prior.directions, exact, model.prior.rounding);
      typename diffuse_start<T>::vector h(model.states());
      const vague_states<T, N, M> vague(model);
      const std::int64_t least = model.H.constant() && model.R.constant() ? 1 : 64;  // proper steps, where exact
      std::int64_t proper_steps = 0;
      for (std::int64_t t = 0; t < y.cols(); ++t) {
        if (predicts(model, t)) {
          x.predict(model.F[t], stepper->transition_offset(t), model.Q[t]);
        }
        if (record.outputs.predictions || record.outputs.innovations) record_prediction(t, x.current(), record);
        const auto o = stepper->components.observe(t, y.col(t));
        T log_density = 0;
        for (Eigen::Index i = 0; i < o.count; ++i) {
          for (Eigen::Index j = 0; j < h.size(); ++j) h(j) = o.H(i, j);
          if (const char* reason = x.read(h, o.d(i), o.y(i), o.terms(i), history, log_density)) record.fail(t, reason);
        }
        x.end_step(history);
        const auto filtered = x.current();
        record.filtered(t, filtered.mean, filtered.covariance, log_density);
        const auto column = static_cast<std::size_t>(record.column(t));
        if (exact && t + 1 == y.cols()) result.rounding[column] = x.rounding();
        if (!filtered.proper && record.keeps()) result.diffuse.push_back(filtered.diffuse);
        if (filtered.proper) {
          // Mostly the first steps decide; later the question is not worth asking at every step. Where what is read
          // without error differs from step to step, what is known already is told apart better here than by roots.
          const auto unknown = [&](Eigen::Index j) { return x.unknown_variance(j); };
          const bool asks = !exact && o.count > 0 && (proper_steps < 16 || proper_steps % 16 == 0);
          ++proper_steps;
          const bool known = asks && vague.deviation(unknown) <= vague.enough() && x.safe(filtered);
          if (exact ? proper_steps >= least : known) {
            if (exact) result.rounding[column] = x.rounding();
            break;
          }
        }
        // Given what was unknown at first, errors grow as the inverse of a system does that is read exactly.
        if (exact && t + 1 < y.cols()) x.begin_part(history);
      }
      x.end(history);
    }

    template <class Belief>
    void record_prediction(std::int64_t t, const Belief& predicted, const filter_recorder<T, N, M>& record) const {
      const auto& y = sweep->data[static_cast<std::size_t>(series)];
      auto& result = sweep->results[static_cast<std::size_t>(series)];
      record.predicted(t, predicted.mean, predicted.covariance);
      if (record.outputs.predictions && !predicted.proper) result.predicted_diffuse.push_back(predicted.diffuse);
      if (!record.outputs.innovations) return;
      record.innovation(t, y.col(t), stepper->observation_mean(t, predicted.mean),
                        stepper->innovation_covariance(t, predicted.covariance));
    }
  };
  lane_type lane(std::int64_t i) const { return {this, i, &of_series(steppers, i)}; }
};

}  // namespace kalscan::detail
