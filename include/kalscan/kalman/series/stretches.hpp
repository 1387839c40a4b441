// SPDX-License-Identifier: MIT
// The part of a series that a rank runs, where series go over ranks: traversals of a stretch of its steps. Steps, and
// rows of arrays, have the numbers that they have in the whole series; chunks are counted in the stretch, from its
// first step or, of the smoother, from its last one.
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/config.hpp>
#include <span>

namespace kalscan::detail {

/// The array as if it began at step 0 of the series; what comes before this rank's steps is not looked at.
template <class T>
std::span<T> counted_from_zero(std::span<T> x, std::int64_t numbers_before) {
  return x.empty() ? x : std::span<T>(x.data() - numbers_before, x.size());
}

/// The steps [from, to) of a filter.
template <state_space_model Model>
struct filter_stretch : filter_traversal<Model> {
  using whole = filter_traversal<Model>;
  std::int64_t from, to;

  KALSCAN_HD std::int64_t chunks(std::int64_t) const { return (to - from + this->chunk - 1) / this->chunk; }
  KALSCAN_HD std::int64_t first_of(std::int64_t k) const { return from + k * this->chunk; }
  KALSCAN_HD std::int64_t end_of(std::int64_t k) const {
    const std::int64_t end = first_of(k) + this->chunk;
    return end < to ? end : to;
  }
  KALSCAN_HD typename whole::element absorb(std::int64_t i, std::int64_t k) const {
    return this->absorb_steps(i, first_of(k), end_of(k));
  }
  struct replay_type : whole::replay_type {
    using base = typename whole::replay_type;
    KALSCAN_HD replay_type(const filter_stretch& x, std::int64_t i, std::int64_t k, const typename whole::state& before)
        : base(x, i, x.first_of(k), x.end_of(k), before, typename base::steps_between{}) {
      this->judge_carry();
    }
  };
};

/// The steps from `from` to the last one of `series` of a smoother; chunks are counted back from there.
template <state_space_model Model>
struct smoother_stretch : unplanned_device_smoother<Model> {
  using whole = unplanned_device_smoother<Model>;
  std::int64_t from;
  const typename whole::T* mean_before;  // filtered, of the step before `from`

  KALSCAN_HD std::int64_t chunks(std::int64_t i) const {
    return (this->series.length(i) - from + this->chunk - 1) / this->chunk;
  }
  KALSCAN_HD typename whole::element absorb(std::int64_t i, std::int64_t k) const {
    const std::int64_t last = this->series.length(i) - 1 - k * this->chunk, before = last - this->chunk;
    return this->absorb_steps(i, before < from ? from - 1 : before, last, [&](std::int64_t t) {
      return t < from ? read_matrix<small_vector<typename whole::T, whole::n>>(mean_before)
                      : this->filtered_mean(this->series.begin(i) + t);
    });
  }
  struct replay_type : whole::replay_type {
    KALSCAN_HD replay_type(const smoother_stretch& x, std::int64_t i, std::int64_t k,
                           const typename whole::state& later)
        : whole::replay_type(x, i, k, later, false, x.from) {}
  };
};

/// A traversal of the chunks of all ranks, `own` of them, for kernels that carry states through their elements but take
/// no steps.
template <class Traversal>
struct with_chunks : Traversal {
  std::int64_t own;
  KALSCAN_HD std::int64_t chunks(std::int64_t) const { return own; }
};

}  // namespace kalscan::detail
