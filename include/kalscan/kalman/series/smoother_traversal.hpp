// SPDX-License-Identifier: MIT
// What a chunk of time of the smoother does: absorb as the filter does, and replay from the last step to the first.
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/settled.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/diffuse_smoothing.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/support/config.hpp>
#include <span>
#include <type_traits>
#include <utility>

namespace kalscan::detail {

/// When the filtered belief of a step is read from memory: when the step is taken, or one step earlier (see reads_ahead).
enum class filtered_rows { in_step, ahead };

/// Chunks are numbered from the end, in the order in which they act: chunk k has the steps t with length - 1 - t in
/// [k chunk, (k + 1) chunk), where derived ones do not cut otherwise, and its element is that of the data of these steps.
/// States are given as differences from their filtered means: then eta is a sum of innovations, and no digits are lost
/// where states are large beside their deviations.
/// `Belief`: the form of beliefs; a small_belief also under a diffuse prior, for steps at which nothing is unknown any more.
/// `Plan`: what was computed ahead of the model's steps, see no_plan.
template <state_space_model Model, filtered_rows Rows = filtered_rows::in_step, class Belief = prior_type<Model>,
          class Plan = no_plan<typename Model::value_type, Model::states, Model::observed>>
struct smoother_traversal {
  using model_type = Model;
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using belief = Belief;
  using form = form_of<belief>;
  using number = typename form::number;
  using element = typename form::later_element;
  using state = typename form::later_data;
  using row = belief;
  using sum = T;

  Model model;
  series_layout series;
  const T* y;
  const T *mean, *spread;  // of the filter, see spread_of
  smoother_arrays<T> out;
  std::int64_t chunk;
  std::span<const T> directions = {};  // of the filter, under a diffuse prior
  Plan plan = {};

  KALSCAN_HD static element combine(const element& first, const element& second) {
    return typename form::later_monoid{}(second, first);
  }
  KALSCAN_HD static state act(const element& x, const state& s) { return act_backward<residues_of<belief>>(x, s); }
  KALSCAN_HD state start(std::int64_t) const { return {}; }
  KALSCAN_HD std::int64_t chunks(std::int64_t i) const { return (series.length(i) + chunk - 1) / chunk; }
  KALSCAN_HD bool has_sum() const { return false; }
  KALSCAN_HD void finish_sum(std::int64_t, T) const {}
  KALSCAN_HD void begin(std::int64_t i) const {
    if (!out.status.empty()) out.status.data()[i] = {};
  }

  /// The element of a chunk that does not begin the series: the one that does needs none.
  KALSCAN_HD element absorb(std::int64_t i, std::int64_t k) const {
    const std::int64_t begin = series.begin(i), last = series.length(i) - 1 - k * chunk;
    return absorb_steps(i, last - chunk, last, [&](std::int64_t t) { return filtered_mean(begin + t); });
  }
  /// Steps (before, last]; mean_at(t) is the filtered mean of a step of them, or of `before`.
  template <class MeanAt>
  KALSCAN_HD element absorb_steps(std::int64_t i, std::int64_t before, std::int64_t last, MeanAt mean_at) const {
    const std::int64_t begin = series.begin(i);
    element x = form::later_monoid::identity();
    if (before < 0) return x;
    small_vector<T, n> mean_before = mean_at(before);
    for (std::int64_t t = before + 1; t <= last; ++t) {
      // The remaining steps tell nothing of the state before, which is all that the element is used for.
      if (t % 32 == 0 && has_faded(x.A)) break;
      const small_vector<T, n> mean_after = mean_at(t);
      add(x.b, as<number>(mean_before));
      predict_element<residues_of<belief>>(model, i, t, x);
      observe_into<residues_of<belief>>(x, readings_of(model, i, t, y + (begin + t) * m));
      add(x.b, as<number>(mean_after), number(-1));
      mean_before = mean_after;
    }
    return x;
  }

  /// What the data of steps (first, last] and `later` ones say of the state at `first`; mean_at(t) is what the state at
  /// t is counted from.
  template <class MeanAt>
  KALSCAN_HD state before_steps(std::int64_t i, std::int64_t first, std::int64_t last, state later,
                                MeanAt mean_at) const {
    const std::int64_t begin = series.begin(i);
    small_vector<T, n> mean_after = mean_at(last);
    for (std::int64_t t = last; t > first; --t) {
      const small_vector<T, n> mean_before = mean_at(t - 1);
      const auto readings = readings_of(model, i, t, y + (begin + t) * m);
      later = act(lift(i, t, readings, mean_before, mean_after, [](int, const auto&, const auto&) {}), later);
      mean_after = mean_before;
    }
    return later;
  }

  /// The steps of a chunk from the last to the first, but none before step `first`. With `goes_on` what later data say is
  /// then carried to the state before these steps.
  class replay_type {
   public:
    static constexpr int direction = -1;

    KALSCAN_HD replay_type(const smoother_traversal& x, std::int64_t series, std::int64_t k, const state& later,
                           bool goes_on = false, std::int64_t first = 0)
        : replay_type(x, series, later, x.series.length(series) - 1 - k * x.chunk, x.chunk, goes_on, first) {}
    /// `count` steps back from step `from`.
    KALSCAN_HD replay_type(const smoother_traversal& x, std::int64_t series, const state& later, std::int64_t from,
                           std::int64_t count, bool goes_on, std::int64_t first)
        : x_(x), goes_on_(goes_on), series_(series), from_(from), begin_(x.series.begin(series)), later_(later),
          smoothed_{}, settled_(x.plan.smoother_settling()) {
      const std::int64_t end = from_ - count;
      to_ = end < first - 1 ? first - 1 : end;
      if constexpr (settles) settled_.enter(later_);
      if constexpr (reads_ahead) {
        if (from_ > to_) next_ = x_.filtered(series_, begin_, from_);
      }
    }
    KALSCAN_HD std::int64_t steps() const { return from_ - to_; }
    KALSCAN_HD std::int64_t first_row() const { return begin_ + from_; }

    KALSCAN_HD const belief& step(std::int64_t j) {
      const std::int64_t t = from_ - j;
      const bool more = t - 1 > to_ || goes_on_;
      bool done = false;
      if constexpr (settles) done = step_mean(t, more);
      if (!done) step_belief(t, more);
      step_failure wrong = judge_belief(smoothed_);
      if constexpr (is_diffuse<belief>) {
        if (!write_directions(x_.out.directions, x_.series.count, series_, t, smoothed_) && wrong == step_failure::none)
          wrong = step_failure::improper;
      }
      report(x_.out.status, series_, t, wrong);
      return smoothed_;
    }
    /// What the chunk's data and all later ones say of the state before it: where the replay goes on.
    KALSCAN_HD const state& after() const { return later_; }
    KALSCAN_HD T finish() const { return T(0); }
    /// What has settled.
    KALSCAN_HD const auto& settled() const { return settled_; }

   protected:
    /// A device has the beliefs of small models read a step ahead, and each of their steps taken in full: registers for
    /// what has settled would leave room for fewer threads. By measurement up to 6 states in float and 4 in double.
    static constexpr bool reads_ahead = Rows == filtered_rows::ahead && sizeof(element) <= 400;
    static constexpr bool settles =
        Model::constant && n > 1 && std::is_same_v<belief, small_belief<T, n>> && !reads_ahead;

    /// The filtered belief of step t, which is asked for once. Where it is read ahead, that of the step before it, the
    /// next to be taken, is read now if there is `more`. A chunk without steps reads none: where these would lie there
    /// may be nothing.
    KALSCAN_HD belief filtered_at(std::int64_t t, bool more) {
      if constexpr (reads_ahead) {
        const belief now = next_;
        if (more) next_ = x_.filtered(series_, begin_, t - 1);
        return now;
      } else {
        return x_.filtered(series_, begin_, t);
      }
    }
    /// The filtered mean of step t - 1, of which there is one, after filtered_at(t).
    KALSCAN_HD small_vector<T, n> mean_before(std::int64_t t) const {
      if constexpr (reads_ahead) return next_.mean;
      return x_.filtered_mean(begin_ + t - 1);
    }
    /// The filtered mean of step t, whose filtered belief is given.
    KALSCAN_HD small_vector<T, n> mean_after(std::int64_t t, const belief& filtered) const {
      if constexpr (reads_ahead) return filtered.mean;
      return x_.filtered_mean(begin_ + t);
    }

    KALSCAN_HD void step_belief(std::int64_t t, bool more) {
      const belief filtered = filtered_at(t, more);
      element lifted{};
      bool all = more;
      if (more) {
        const auto readings = readings_of(x_.model, series_, t, x_.y + (begin_ + t) * m);
        all = all_present(readings);
        lifted = x_.lift(series_, t, readings, mean_before(t), mean_after(t, filtered),
                         [&](int k, const auto& g, const auto& innovation) {
                           if constexpr (settles) settled_.keep(k, g, innovation);
                         });
      }
      if constexpr (settles) settled_.begin(later_);
      const belief now = smoothed(filtered, later_, lifted, more);
      if constexpr (settles)
        settled_.judge(filtered.covariance, lifted.A, now.covariance, smoothed_.covariance, later_, all);
      smoothed_ = now;
    }

    /// False where the step is not one that has settled.
    KALSCAN_HD bool step_mean(std::int64_t t, bool more) {
      if (!settled_.hold) return false;
      const auto& known = settled_.of_step(smoothed_.covariance);
      if (!settled_.knows_filtered() &&
          !same_but_rounding(known.filtered, x_.filtered(series_, begin_, t).covariance))
        return false;
      const small_vector<T, n> origin = x_.filtered_mean(begin_ + t);
      small_vector<T, n> eta{};
      if (more) {
        const auto readings = readings_of(x_.model, series_, t, x_.y + (begin_ + t) * m);
        if (!all_present(readings)) return false;
        small_vector<T, n> b = x_.filtered_mean(begin_ + t - 1);
        predict_mean(x_.model, series_, t, x_.model.transition(series_, t), b);
        eta = known.before(later_.eta, b, readings, origin);
      }
      smoothed_.mean = origin;
      add(smoothed_.mean, times(smoothed_.covariance, later_.eta));
      later_.eta = eta;
      return true;
    }

    const smoother_traversal& x_;
    bool goes_on_;
    std::int64_t series_, from_, to_ = 0, begin_;
    state later_;
    belief smoothed_;
    belief next_{};  // filtered, of the step that comes next, where it is read ahead
    decltype(std::declval<const Plan&>().smoother_settling()) settled_;
  };

  KALSCAN_HD small_vector<T, n> filtered_mean(std::int64_t at) const {
    return read_matrix<small_vector<T, n>>(mean + at * n);
  }

  KALSCAN_HD belief filtered(std::int64_t i, std::int64_t begin, std::int64_t t) const {
    belief x{};
    x.mean = filtered_mean(begin + t);
    const T* at = spread + (begin + t) * (n * n);
    if constexpr (is_root<belief>) {
      x.root = read_matrix<small_lower<T, n>>(at);
    } else {
      x.covariance = read_matrix<small_symmetric<T, n>>(at);
    }
    if constexpr (is_diffuse<belief>) {
      if (const T* known = directions_at<n>(directions, series.count, i, t))
        x.directions = read_matrix<small_matrix<T, n, n>>(known);
    }
    return x;
  }

 private:
  /// The data of step t, which lead from the state at t - 1 to that at t, each counted from its mean, as an element.
  /// `seen` as of observe_into.
  template <class Seen>
  KALSCAN_HD element lift(std::int64_t i, std::int64_t t, const independent_readings<T, n, m>& readings,
                          const small_vector<T, n>& mean_before, const small_vector<T, n>& mean_after,
                          Seen seen) const {
    element x{};
    begin_element(model, i, t, mean_before, x);
    observe_into<residues_of<belief>>(x, readings, seen);
    add(x.b, as<number>(mean_after), number(-1));
    return x;
  }
};

/// The smoother that a device runs without a plan, and that ranks always run.
template <state_space_model Model>
using unplanned_device_smoother = smoother_traversal<Model, filtered_rows::ahead>;

}  // namespace kalscan::detail
