// SPDX-License-Identifier: MIT
// What the filters of models of functions are given and where their results go.
#pragma once

#include <cstdint>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <limits>
#include <span>

namespace kalscan {

/// How the steps of series lie in an array, one series after the other: series i has steps [offsets[i], offsets[i + 1])
/// of it, with offsets in memory that the policy reads; without offsets, all have `longest` steps. Steps of a series
/// beyond `longest` are not looked at.
struct series_layout {
  std::int64_t longest = 0, count = 1;
  const std::int64_t* offsets = nullptr;

  KALSCAN_HD constexpr std::int64_t begin(std::int64_t i) const { return offsets ? offsets[i] : i * longest; }
  KALSCAN_HD constexpr std::int64_t length(std::int64_t i) const {
    const std::int64_t given = offsets ? offsets[i + 1] - offsets[i] : longest;
    return given < longest ? given : longest;
  }
};

/// The first step of a series that could not be computed, if any.
struct filter_status {
  std::uint64_t code = ~std::uint64_t{0};

  [[nodiscard]] KALSCAN_HD constexpr bool ok() const { return code == ~std::uint64_t{0}; }
  [[nodiscard]] constexpr std::int64_t step() const { return static_cast<std::int64_t>(code >> 8); }
  [[nodiscard]] constexpr step_failure reason() const {
    return ok() ? step_failure::none : static_cast<step_failure>(code & 255);
  }
  KALSCAN_HD static constexpr std::uint64_t code_of(std::int64_t step, step_failure reason) {
    return static_cast<std::uint64_t>(step) << 8 | static_cast<std::uint64_t>(reason);
  }
};

/// Where results go, in memory that the policy writes; what is empty is not computed. A step of an array has n numbers,
/// or a matrix of n x n in full.
///
/// Under a prior that is diffuse in part, beliefs are those of small_diffuse_belief: where `directions` is not zero the
/// mean in these directions is a convention, that of the limit, and the covariance lacks what grows without bound. The
/// arrays of directions have room for as many of the first steps of each series as the caller gives them: the same
/// number for each, series after series, whatever the offsets. A series that is improper longer has the status
/// `improper` at the first step that found no room, if there is such an array. For a proper prior they must be empty.
template <class T>
struct filter_arrays {
  std::span<T> mean = {}, covariance = {};                      ///< of x_t given y_0 ... y_t, for each step
  std::span<T> predicted_mean = {}, predicted_covariance = {};  ///< given y_0 ... y_(t-1)
  std::span<T> final_mean = {}, final_covariance = {};          ///< of the last step, for each series
  std::span<T> log_likelihood = {};                             ///< for each series
  std::span<filter_status> status = {};                         ///< for each series
  std::span<T> directions = {}, predicted_directions = {};      ///< of the first steps
  std::span<T> final_directions = {};                           ///< of the last step, n x n for each series
  /// Of square_root{model} alone: U, a lower triangle with U U' = covariance, of each step and of the last one.
  std::span<T> covariance_root = {}, final_covariance_root = {};
};

/// The same of a smoother: of x_t given all data of its series. May be the arrays of the filter's results. What no data
/// tell has `directions`; a series that has such steps without room for them has the status `improper`.
template <class T>
struct smoother_arrays {
  std::span<T> mean = {}, covariance = {};
  std::span<filter_status> status = {};
  std::span<T> directions = {};
};

/// The same of a forecast: as many steps beyond the data for each series, one series after the other; y with its noise.
template <class T>
struct forecast_arrays {
  std::span<T> mean = {}, covariance = {};      ///< of the state, n and n x n numbers a step
  std::span<T> y_mean = {}, y_covariance = {};  ///< m and m x m numbers a step
  std::span<filter_status> status = {};
  std::span<T> directions = {}, y_directions = {};  ///< n x n and m x n numbers a step; of diffuse priors
};

}  // namespace kalscan
