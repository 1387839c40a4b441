// SPDX-License-Identifier: MIT
// What a chunk of time of the filter does: absorb its observations into an element, or replay its steps from a carry.
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/series/replay.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/settled.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/diffuse.hpp>
#include <kalscan/support/config.hpp>
#include <span>
#include <utility>

namespace kalscan::detail {

/// Under a diffuse prior, chunks that start before this step are filtered from the first step of the series: the first
/// data may tell so little of some direction that the element of a chunk would have no digit of it. Elements of later
/// chunks act on beliefs that may still be improper.
inline constexpr std::int64_t steps_from_start = 64;

/// Chunk k of a series has its steps [k chunk, (k + 1) chunk), where derived ones do not cut otherwise. Chunks are numbered
/// in the order in which they act. `Plan`: what is known ahead of the model's steps, see no_plan.
template <state_space_model Model, class Plan = no_plan<typename Model::value_type, Model::states, Model::observed>>
struct filter_traversal {
  using model_type = Model;
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using state = prior_type<Model>;
  static constexpr bool diffuse = is_diffuse<state>;
  using form = form_of<state>;
  using proper_element = typename form::proper_element;
  using element = typename form::element;
  using row = state;
  using sum = T;

  Model model;
  series_layout series;
  const T* y;
  filter_arrays<T> out;
  std::int64_t chunk;
  std::int64_t beginning = steps_from_start;  // under a diffuse prior; 0 where its steps are not at hand
  Plan plan = {};

  KALSCAN_HD static element combine(const element& first, const element& second) {
    return typename form::monoid{}(first, second);
  }
  KALSCAN_HD static state act(const element& x, const state& s) { return kalscan::act(x, s); }
  KALSCAN_HD state start(std::int64_t i) const { return model.prior(i); }
  KALSCAN_HD std::int64_t chunks(std::int64_t i) const { return (series.length(i) + chunk - 1) / chunk; }
  KALSCAN_HD bool has_sum() const { return !out.log_likelihood.empty(); }
  KALSCAN_HD void finish_sum(std::int64_t i, T total) const { out.log_likelihood.data()[i] = total; }
  KALSCAN_HD void begin(std::int64_t i) const {
    if (!out.status.empty()) out.status.data()[i] = {};
    if (series.length(i) > 0) return;
    if (has_sum()) finish_sum(i, T(0));
    finish(i, start(i));
  }

  KALSCAN_HD element absorb(std::int64_t i, std::int64_t k) const {
    const std::int64_t first = k * chunk, end = first + chunk, length = series.length(i);
    return absorb_steps(i, first, end < length ? end : length);
  }
  /// Steps [first, last).
  KALSCAN_HD element absorb_steps(std::int64_t i, std::int64_t first, std::int64_t last) const {
    if constexpr (diffuse) {
      if (first == 0 || first < beginning) return element::beginning(after_steps(i, 0, last, start(i)));
      return {absorb_proper(i, first, last)};
    } else {
      return absorb_proper(i, first, last);
    }
  }
  KALSCAN_HD proper_element absorb_proper(std::int64_t i, std::int64_t first, std::int64_t last) const {
    const std::int64_t begin = series.begin(i);
    proper_element x = begin_chunk(i, first);
    for (std::int64_t t = first; t < last; ++t) {
      if (t > first) {
        if (t % 32 == 0 && has_faded(x.A)) {
          filter_rest(i, t, last, x);
          break;
        }
        predict_element<residues_of<state>>(model, i, t, x);
      }
      observe_into<residues_of<state>>(x, readings_of(model, i, t, y + (begin + t) * m));
    }
    return x;
  }

  /// The steps of a chunk, one after the other. Step j makes the row number first_row + j of the results.
  class replay_type {
   public:
    static constexpr int direction = 1;

    KALSCAN_HD replay_type(const filter_traversal& x, std::int64_t series, std::int64_t k, const state& before,
                           bool /* goes_on, of the smoother */ = false)
        : replay_type(x, series, k * x.chunk, k * x.chunk + x.chunk, before, steps_between{}) {
      if (last_ > length_) last_ = length_;
      judge_carry();
    }
    struct steps_between {};
    KALSCAN_HD replay_type(const filter_traversal& x, std::int64_t series, std::int64_t first, std::int64_t last,
                           const state& before, steps_between)
        : x_(x), series_(series), first_(first), last_(last), length_(x.series.length(series)),
          begin_(x.series.begin(series)), belief_(before), settled_(x.plan.filter_settling()) {}
    /// To be called where the belief before the steps came through elements.
    KALSCAN_HD void judge_carry() {
      if (judge_belief(belief_) != step_failure::none) fail(first_, step_failure::carry);
      if (Model::constant && first_ > 0) settled_.enter(belief_);
    }
    KALSCAN_HD std::int64_t steps() const { return last_ - first_; }
    KALSCAN_HD std::int64_t first_row() const { return begin_ + first_; }

    KALSCAN_HD const state& step(std::int64_t j) {
      const std::int64_t t = first_ + j, at = begin_ + t;
      const auto readings = readings_of(x_.model, series_, t, x_.y + at * m);
      step_failure wrong = step_failure::none;
      if (Model::constant && settled_.serve(readings)) {
        step_mean(t, at, readings);
      } else {
        wrong = step_belief(t, at, readings);
      }
      if (wrong == step_failure::none) wrong = judge_belief(belief_);
      if (wrong != step_failure::none) fail(t, wrong);
      return belief_;
    }

    /// The state after the chunk's steps, once they are taken.
    KALSCAN_HD const state& after() const { return belief_; }
    /// What has settled.
    KALSCAN_HD const auto& settled() const { return settled_; }
    /// Returns the log-likelihood of the chunk's data given all before.
    KALSCAN_HD T finish() const {
      report(x_.out.status, series_, failed_, wrong_);
      if (last_ == length_ && last_ > first_) x_.finish(series_, belief_);
      return density_.total();
    }

   private:
    KALSCAN_HD step_failure step_belief(std::int64_t t, std::int64_t at,
                                        const independent_readings<T, n, m>& readings) {
      const auto before = spread_of(belief_);
      if (predicts(x_.model, t)) predict_belief(x_.model, series_, t, belief_);
      write_row(x_.out.predicted_mean, at, belief_.mean);
      write_covariance(x_.out.predicted_covariance, at, belief_);
      bool room = keep_directions(x_.out.predicted_directions, t);
      const bool proper = is_proper(belief_);
      const step_failure wrong = observe(readings, belief_, [&](int k, const auto&, T, const auto& innovation) {
        if (x_.has_sum()) density_.add(innovation);
        if constexpr (Model::constant) settled_.keep(k, innovation);
      });
      if constexpr (Model::constant) {
        if (t > 0 && proper) settled_.judge(before, belief_, readings);
      }
      room = keep_directions(x_.out.directions, t) && room;
      return wrong == step_failure::none && !room ? step_failure::improper : wrong;
    }

    /// False where the array is given and has no room for what is left of them.
    KALSCAN_HD bool keep_directions(std::span<T> to, std::int64_t t) const {
      if constexpr (diffuse) return to.empty() || write_directions(to, x_.series.count, series_, t, belief_);
      return true;
    }

    KALSCAN_HD void step_mean(std::int64_t t, std::int64_t at, const independent_readings<T, n, m>& readings) {
      if (!x_.out.predicted_covariance.empty()) {
        state predicted = belief_;
        predict_belief(x_.model, series_, t, predicted);
        write_covariance(x_.out.predicted_covariance, at, predicted);
      }
      predict_mean(x_.model, series_, t, x_.model.transition(series_, t), belief_.mean);
      write_row(x_.out.predicted_mean, at, belief_.mean);
      keep_directions(x_.out.predicted_directions, t);
      keep_directions(x_.out.directions, t);
      settled_.observe(readings, belief_.mean, [&](const auto& innovation) {
        if (x_.has_sum()) density_.add(innovation);
      });
    }

    KALSCAN_HD void fail(std::int64_t t, step_failure reason) {
      if (wrong_ != step_failure::none) return;
      wrong_ = reason;
      failed_ = t;
    }

    const filter_traversal& x_;
    std::int64_t series_, first_, last_, length_, begin_, failed_ = 0;
    state belief_;
    log_density<T> density_{};
    decltype(std::declval<const Plan&>().filter_settling()) settled_;
    step_failure wrong_ = step_failure::none;
  };

 private:
  /// The element of the transition to the first step of a chunk. At the beginning of a series the state before it is not
  /// unknown but has the prior: a reading without noise would give infinite information on an unknown one.
  KALSCAN_HD proper_element begin_chunk(std::int64_t i, std::int64_t t) const {
    proper_element x{};
    if (t == 0) {
      state s = start(i);
      if (predicts(model, t)) predict_belief(model, i, t, s);
      lead_to(x, s);
      return x;
    }
    begin_element(model, i, t, small_vector<T, n>{}, x);
    return x;
  }

  /// Absorbs steps [t, last) into an element in which nothing of the state before is left: by filtering them, which costs
  /// less, and far less once the covariance has settled.
  KALSCAN_HD void filter_rest(std::int64_t i, std::int64_t t, std::int64_t last, proper_element& x) const {
    state before{};
    belief_after(x, before);
    lead_to(x, after_steps(i, t, last, before));
  }

  /// The belief after steps [t, last), of which no results are kept.
  KALSCAN_HD state after_steps(std::int64_t i, std::int64_t t, std::int64_t last, const state& before) const {
    const filter_traversal without_results{model, series, y, {}, chunk, beginning, plan};
    replay_type rest(without_results, i, t, last, before, typename replay_type::steps_between{});
    for (std::int64_t j = 0; j < rest.steps(); ++j) rest.step(j);
    return rest.after();
  }

  KALSCAN_HD void finish(std::int64_t i, const state& s) const {
    write_row(out.final_mean, i, s.mean);
    write_covariance(out.final_covariance, i, s);
    if constexpr (is_root<state>) write_row(out.final_covariance_root, i, s.root);
    if constexpr (diffuse) write_row(out.final_directions, i, directions_of(s));
  }
};

}  // namespace kalscan::detail
