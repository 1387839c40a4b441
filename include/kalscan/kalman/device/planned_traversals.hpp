// SPDX-License-Identifier: MIT
// The filter and the smoother of a constant model with a plan (constant_plan.hpp). In a chunk where no component is missing
// they compute means alone.
#pragma once

#include <cstdint>
#include <kalscan/kalman/device/chunks.hpp>
#include <kalscan/kalman/device/constant_plan.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan::detail {

/// How both cut time.
template <class Whole>
struct planned_cuts : Whole {
  /// Chunks no longer than the plan, for 7 or 8 states and where that makes at most 8 times as many of them: elements of more
  /// states cost too much to combine.
  static constexpr std::int64_t chunk_for(std::int64_t chunk) {
    constexpr std::int64_t most = decltype(Whole::plan)::most_steps;
    return Whole::n <= 8 && chunk > most && chunk <= 8 * most ? most : chunk;
  }
  static constexpr std::int64_t chunks_at_most(std::int64_t chunk, std::int64_t longest) {
    return cuts_with_short_ends{chunk}.most_chunks(longest);
  }
  KALSCAN_HD cuts_with_short_ends cuts() const { return {this->chunk}; }
  KALSCAN_HD std::int64_t chunks(std::int64_t i) const { return cuts().chunks(this->series.length(i)); }
  /// Chunk k has the steps [first_of, end_of), counted from where the cuts begin.
  KALSCAN_HD std::int64_t first_of(std::int64_t i, std::int64_t k) const {
    return cuts().steps_before(k, this->series.length(i));
  }
  KALSCAN_HD std::int64_t end_of(std::int64_t i, std::int64_t k) const {
    return cuts().steps_through(k, this->series.length(i));
  }
};

template <state_space_model Model>
struct planned_filter : planned_cuts<filter_traversal<Model, plan_of_model<Model>>> {
  using whole = filter_traversal<Model, plan_of_model<Model>>;
  using typename whole::element, typename whole::state, typename whole::T;

  KALSCAN_HD element absorb(std::int64_t i, std::int64_t k) const {
    const std::int64_t first = this->first_of(i, k), last = this->end_of(i, k);
    if (const auto* known = this->plan.of_stretch(last - first); known != nullptr && first > 0) {
      small_vector<T, whole::n> b{}, eta{};
      if (absorb_means(i, first, last, b, eta)) return {known->A, b, known->C, eta, known->J};
    }
    return this->absorb_steps(i, first, last);
  }

  struct replay_type : whole::replay_type {
    using base = typename whole::replay_type;
    KALSCAN_HD replay_type(const planned_filter& x, std::int64_t i, std::int64_t k, const state& before)
        : base(x, i, x.first_of(i, k), x.end_of(i, k), before, typename base::steps_between{}) {
      this->judge_carry();
    }
  };

 private:
  /// Computes b and eta of the element of steps [first, last). False where a component is missing.
  KALSCAN_HD bool absorb_means(std::int64_t i, std::int64_t first, std::int64_t last, small_vector<T, whole::n>& b,
                               small_vector<T, whole::n>& eta) const {
    const std::int64_t begin = this->series.begin(i);
    for (std::int64_t t = first; t < last; ++t) {
      const auto readings = readings_of(this->model, i, t, this->y + (begin + t) * this->m);
      if (!all_present(readings)) return false;
      predict_mean(this->model, i, t, this->model.transition(i, t), b);
      this->plan.gains[t - first].take(readings, b, eta);
    }
    return true;
  }
};

template <state_space_model Model>
struct planned_smoother
    : planned_cuts<smoother_traversal<Model, filtered_rows::in_step, prior_type<Model>, plan_of_model<Model>>> {
  using whole = smoother_traversal<Model, filtered_rows::in_step, prior_type<Model>, plan_of_model<Model>>;
  using typename whole::element, typename whole::state, typename whole::T;

  KALSCAN_HD element absorb(std::int64_t i, std::int64_t k) const {
    const std::int64_t end = this->series.length(i) - 1, last = end - this->first_of(i, k),
                       before = end - this->end_of(i, k);
    if (const auto* known = this->plan.of_stretch(last - before); known != nullptr && before >= 0) {
      small_vector<T, whole::n> b{}, eta{};
      if (absorb_means(i, before, last, b, eta)) return {known->A, b, known->C, eta, known->J};
    }
    const std::int64_t begin = this->series.begin(i);
    return this->absorb_steps(i, before, last, [&](std::int64_t t) { return this->filtered_mean(begin + t); });
  }

  struct replay_type : whole::replay_type {
    using base = typename whole::replay_type;
    KALSCAN_HD replay_type(const planned_smoother& x, std::int64_t i, std::int64_t k, const state& later)
        : base(x, i, later, x.series.length(i) - 1 - x.first_of(i, k), x.end_of(i, k) - x.first_of(i, k), false, 0) {
      // Other chunks may have written their rows by now, and results may lie where the filter's did.
      const std::int64_t first = this->to_ + 1;
      if (this->settled_.hold && first <= this->from_ && x.all_present_in(i, first + 1, this->from_))
        this->settled_.enter_filtered(x.filtered(i, this->begin_, first).covariance);
    }
  };

 private:
  /// Whether no component of steps first ... last is missing.
  KALSCAN_HD bool all_present_in(std::int64_t i, std::int64_t first, std::int64_t last) const {
    const T* at = this->y + (this->series.begin(i) + first) * whole::m;
    bool all = true;
#if defined(__CUDA_ARCH__)
#pragma unroll 4
#endif
    for (std::int64_t t = first; t <= last; ++t, at += whole::m) {
      const auto read = read_matrix<small_vector<T, whole::m>>(at);
      unrolled<whole::m>([&](int k) { all = all && equal(read(k), read(k)); });
    }
    return all;
  }
  /// Computes b and eta of the element of steps (before, last], for states given as differences from their filtered means.
  /// False where a component is missing.
  KALSCAN_HD bool absorb_means(std::int64_t i, std::int64_t before, std::int64_t last, small_vector<T, whole::n>& b,
                               small_vector<T, whole::n>& eta) const {
    const std::int64_t begin = this->series.begin(i);
    small_vector<T, whole::n> origin = this->filtered_mean(begin + before);
    for (std::int64_t t = before + 1; t <= last; ++t) {
      const auto readings = readings_of(this->model, i, t, this->y + (begin + t) * this->m);
      if (!all_present(readings)) return false;
      add(b, origin);
      predict_mean(this->model, i, t, this->model.transition(i, t), b);
      this->plan.gains[t - before - 1].take(readings, b, eta);
      origin = this->filtered_mean(begin + t);
      add(b, origin, T(-1));
    }
    return true;
  }
};

/// The traversals that a device runs for a model: planned ones where the model has a plan.
template <class Model>
using device_filter = std::conditional_t<has_plan<Model>, planned_filter<Model>, filter_traversal<Model>>;
template <class Model>
using device_smoother = std::conditional_t<has_plan<Model>, planned_smoother<Model>, unplanned_device_smoother<Model>>;

/// Makes one of these, from the members with which filter_traversal and smoother_traversal begin.
template <class Traversal, class... Fields>
Traversal planned_traversal(const Fields&... fields) {
  if constexpr (has_plan<typename Traversal::model_type>) {
    Traversal x{{{fields...}}};
    if (x.series.longest == 0 || x.series.count == 0) return x;
    constexpr std::int64_t short_steps = cuts_with_short_ends::short_steps;
    const bool whole = x.series.longest <= x.chunk;  // absorbs nothing
    x.plan = plan_of(x.model, whole ? short_steps : x.chunk, short_steps, Traversal::replay_type::direction < 0);
    return x;
  } else {
    return Traversal{fields...};
  }
}

}  // namespace kalscan::detail
