// SPDX-License-Identifier: MIT
// The beginnings of series: their first steps under a prior that is diffuse in part, or vague.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <kalscan/kalman/diffuse/start.hpp>
#include <kalscan/kalman/diffuse/vague.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/gaussian_prior.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <span>

namespace kalscan::detail {

/// Whether the first steps are not ordinary ones: the prior is diffuse in part, or vague. Noiseless models under a vague
/// prior are carried as roots from their first step on: these come with a bound on their errors.
template <class T, int N, int M>
bool has_beginning(const filter_step<T, N, M>& stepper, const vague_states<T, N, M>& vague) {
  const auto& prior = stepper.model.prior;
  return prior.has_diffuse() || (!stepper.noiseless && vague.is_vague(prior.covariance));
}

/// One series of a model of any sizes, as the steps of its beginning see it: these compile once for each number type.
template <class T>
class beginning_steps {
 public:
  using view = dense_view<T>;
  using belief = typename diffuse_start<T>::belief;
  struct transition {
    view F, offset, Q;
  };
  /// As scalar_observations.
  struct readings {
    view H, d, y, terms;
    Eigen::Index count;
  };

  std::int64_t length = 0;
  bool predicts_first = false, asks_predictions = false;
  bool noiseless = false;         // something may be read without noise
  bool roots = false;             // what follows is carried as roots
  std::int64_t least = 1;         // proper steps, where noiseless
  view precision{nullptr, 0, 0};  // these two: see vague_states
  T enough = 0;                   // also bounds what the readings of one step may tell before roots follow

  virtual transition leading_to(std::int64_t t) = 0;
  virtual readings observe(std::int64_t t) = 0;
  virtual void write_predicted(std::int64_t t, const belief& x, const dense_matrix<T>& root) = 0;
  virtual void write_filtered(std::int64_t t, const belief& x, T log_density) = 0;
  virtual void write_rounding(std::int64_t t, const dense_matrix<T>& E) = 0;
  [[noreturn]] virtual void fail(std::int64_t t, const char* reason) = 0;

 protected:
  ~beginning_steps() = default;
};

/// Filters a series until ordinary steps, or those with roots, lose no digits, or to its end.
template <class T>
void filter_beginning(beginning_steps<T>& steps, const prior_view<T>& given, diffuse_history<T>& history) {
  const bool noiseless = steps.noiseless;
  const diffuse_directions<T> prior(given);
  const dense_matrix<T> root = given.root.cols > 0 ? dense_matrix<T>() : root_of<T>(given.covariance);
  diffuse_start<T> x(prior.mean, given.root.cols > 0 ? given.root : root, prior.directions, prior.rounding,
                     noiseless, given.rounding, given.rest);
  typename diffuse_start<T>::vector h(prior.mean.size());
  latest_root<T> noise;
  std::int64_t proper_steps = 0;
  for (std::int64_t t = 0; t < steps.length; ++t) {
    if (t > 0 || steps.predicts_first) {
      const auto to = steps.leading_to(t);
      x.predict(to.F, to.offset, noise.of(to.Q), history);
    }
    if (steps.asks_predictions) {
      const auto predicted = x.current();
      steps.write_predicted(t, predicted, x.root_of_covariance());
    }
    const auto o = steps.observe(t);
    T log_density = 0;
    for (Eigen::Index i = 0; i < o.count; ++i) {
      for (Eigen::Index j = 0; j < h.size(); ++j) h(j) = o.H(i, j);
      if (const char* reason = x.read(h, o.d(i), o.y(i), o.terms(i), history, log_density)) steps.fail(t, reason);
    }
    x.end_step(history);
    const auto filtered = x.current();
    steps.write_filtered(t, filtered, log_density);
    if (noiseless && t + 1 == steps.length) steps.write_rounding(t, x.rounding());
    if (filtered.proper) {
      // Asks after each of the first 16 proper steps, then after every 16th. Where roots follow,
      // the covariance need not be regular, and the beginning ends early: roots smooth a step of which later data tell far
      // more with more digits than a beginning does. A noiseless model takes `least` proper
      // steps here: if its H or R changes, directions that are known exactly are told apart better here than by roots.
      const auto unknown = [&](Eigen::Index j) { return x.unknown_variance(j); };
      const bool asks = !noiseless && o.count > 0 && (proper_steps < 16 || proper_steps % 16 == 0);
      ++proper_steps;
      const bool known = asks && reading_deviation<T>(steps.precision, unknown) <= steps.enough &&
                         (steps.roots ? x.gained() <= std::log(steps.enough) : x.safe(filtered));
      if (noiseless ? proper_steps >= steps.least : known) {
        if (noiseless) steps.write_rounding(t, x.rounding());
        break;
      }
    }
    // Where readings are exact, errors of the state given the unknowns grow as the inverse system does: a new part.
    if (noiseless && t + 1 < steps.length) x.begin_part(history);
  }
  x.end(history);
}

/// A series of a model of these sizes.
template <class T, int N, int M>
class beginning_of final : public beginning_steps<T> {
 public:
  using typename beginning_steps<T>::belief;
  using typename beginning_steps<T>::transition;
  using typename beginning_steps<T>::readings;
  using matrix = Eigen::Matrix<T, N, N>;

  /// `vague` outlives this.
  beginning_of(const filter_step<T, N, M>& stepper, const vague_states<T, N, M>& vague, const observations<T, M>& y,
               const filter_recorder<T, N, M>& record, bool as_roots)
      : stepper_(stepper), y_(y), record_(record) {
    const auto& model = stepper.model;
    this->length = y.cols();
    this->predicts_first = predicts(model, 0);
    this->asks_predictions = record.outputs.predictions || record.outputs.innovations;
    this->noiseless = stepper.noiseless;
    this->roots = as_roots || stepper.sharp;
    this->least = model.H.constant() && model.R.constant() ? 1 : 64;
    this->precision = vague.precision();
    this->enough = this->roots ? vague.enough_for_roots() : vague.enough();
  }

  transition leading_to(std::int64_t t) override {
    offset_ = stepper_.transition_offset(t);
    return {stepper_.model.F[t], offset_, stepper_.model.Q[t]};
  }
  readings observe(std::int64_t t) override {
    o_ = stepper_.components.observe(t, y_.col(t));
    return {o_.H, o_.d, o_.y, o_.terms, o_.count};
  }
  void write_predicted(std::int64_t t, const belief& x, const dense_matrix<T>& root) override {
    auto& result = *record_.result;
    const auto mean = to_eigen<Eigen::Vector<T, N>>(x.mean);
    const auto covariance = to_eigen<matrix>(x.covariance);
    record_.predicted(t, mean, covariance);
    if (record_.outputs.predictions && !x.proper) result.predicted_diffuse.push_back(to_eigen<matrix>(x.diffuse));
    if (!record_.outputs.innovations) return;
    dense_matrix<T> seen;
    multiply(seen, dense_view<T>(stepper_.model.H[t]), root);
    const Eigen::Matrix<T, M, M> S = to_eigen<Eigen::Matrix<T, M, M>>(outer_square<T>(seen)) + stepper_.model.R[t];
    record_.innovation(t, y_.col(t), stepper_.observation_mean(t, mean), S);
  }
  void write_filtered(std::int64_t t, const belief& x, T log_density) override {
    record_.filtered(t, to_eigen<Eigen::Vector<T, N>>(x.mean), to_eigen<matrix>(x.covariance), log_density);
    if (!x.proper && record_.keeps()) record_.result->diffuse.push_back(to_eigen<matrix>(x.diffuse));
  }
  void write_rounding(std::int64_t t, const dense_matrix<T>& E) override {
    record_.result->rounding[static_cast<std::size_t>(record_.column(t))] = to_eigen<matrix>(E);
  }
  [[noreturn]] void fail(std::int64_t t, const char* reason) override { record_.fail(t, reason); }

 private:
  const filter_step<T, N, M>& stepper_;
  const observations<T, M>& y_;
  filter_recorder<T, N, M> record_;
  Eigen::Vector<T, N> offset_{};
  scalar_observations<T, N, M> o_{};
};

/// The beginnings of all series, each a single step of one lane.
template <class T, int N, int M>
struct diffuse_sweep {
  std::span<const filter_step<T, N, M>> steppers;  // one for all series, or one each
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  std::span<const vague_states<T, N, M>> vague;  // likewise
  bool roots;  // all series are carried as roots

  struct nothing {};
  static constexpr bool has_outputs = true, whole_lanes = true;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return 1; }
  bool splits() const { return false; }
  nothing act(nothing, nothing) const { return {}; }

  bool any() const {
    for (std::int64_t i = 0; i < lanes(); ++i) {
      if (has_beginning(of_series(steppers, i), of_series(vague, i))) return true;
    }
    return false;
  }

  struct lane_type {
    const diffuse_sweep* sweep;
    std::int64_t series;
    const filter_step<T, N, M>* stepper;
    const vague_states<T, N, M>& vague;

    nothing start() const { return {}; }
    void finish(nothing) const {}
    nothing lift(std::int64_t) const { return {}; }
    void absorb(std::int64_t, nothing&) const {}

    /// As filter_beginning.
    void replay(std::int64_t, nothing&) const {
      if (!has_beginning(*stepper, vague)) return;
      auto& result = sweep->results[static_cast<std::size_t>(series)];
      const filter_recorder<T, N, M> record{&result, sweep->outputs, series};
      beginning_of<T, N, M> steps(*stepper, vague, sweep->data[static_cast<std::size_t>(series)], record,
                                  sweep->roots);
      result.beginning.kept = record.keeps();
      filter_beginning<T>(steps, prior_view<T>(stepper->model.prior), result.beginning);
    }
  };
  lane_type lane(std::int64_t i) const { return {this, i, &of_series(steppers, i), of_series(vague, i)}; }
};

}  // namespace kalscan::detail
