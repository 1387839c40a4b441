// SPDX-License-Identifier: MIT
// Processes in continuous time over irregular times, and the simplest of them: constant velocity, local trend.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <kalscan/support/config.hpp>
#include <limits>

namespace kalscan {

/// A process with a transition over any time dt >= 0: `process(dt)` gives F and Q, `process.observed()` the row H of
/// what is observed. Copies of the process stay what they are: numbers alone.
template <class P>
concept time_process = requires(const P& process, typename P::value_type dt) {
  { process(dt) } -> std::same_as<transition_matrices<typename P::value_type, P::states>>;
  { process.observed() } -> std::same_as<small_matrix<typename P::value_type, 1, P::states>>;
};
/// One that has a stationary distribution: `process.stationary()` is its covariance.
template <class P>
concept stationary_process = time_process<P> && requires(const P& process) {
  { process.stationary() } -> std::same_as<small_symmetric<typename P::value_type, P::states>>;
};

/// The transition of a process over irregular times: step t of series i is at times[offsets[i] + t], or times[t] of all
/// series where there are no offsets. They are double, since differences of them count. Where a time is less than the
/// one before, the transition is not a number, and the step fails.
template <time_process Process>
struct irregular_steps {
  Process process;
  const double* times;
  const std::int64_t* offsets = nullptr;

  KALSCAN_HD constexpr auto operator()(std::int64_t series, std::int64_t t) const {
    const double* at = times + (offsets ? offsets[series] : 0) + t;
    const double gap = t > 0 ? at[0] - at[-1] : 0.0;
    return process(static_cast<typename Process::value_type>(gap < 0 ? std::numeric_limits<double>::quiet_NaN() : gap));
  }
};

/// A process observed with independent noise at irregular times, one number a step: what a Gaussian process is as a
/// model. `noise` is the variance R, or a callable that gives it as a small_symmetric of one row. The prior is a
/// small_belief or small_diffuse_belief.
template <time_process Process, class R, detail::belief_of<typename Process::value_type, Process::states> Prior>
[[nodiscard]] constexpr auto observed_at(const Process& process, const double* times, const R& noise,
                                         const Prior& prior, const std::int64_t* offsets = nullptr) {
  using T = typename Process::value_type;
  using transition = irregular_steps<Process>;
  using row = small_matrix<T, 1, Process::states>;
  if constexpr (std::convertible_to<R, T>) {
    if (noise < 0) detail::bad_argument("observed_at", {"noise is ", static_cast<double>(noise), ", no variance"});
    using variance = small_symmetric<T, 1>;
    return function_model<T, Process::states, 1, transition, row, variance, Prior>{
        {process, times, offsets}, process.observed(), variance{{static_cast<T>(noise)}}, prior};
  } else {
    return function_model<T, Process::states, 1, transition, row, R, Prior>{
        {process, times, offsets}, process.observed(), noise, prior};
  }
}
/// The same with the stationary prior of mean zero.
template <stationary_process Process, class R>
[[nodiscard]] constexpr auto observed_at(const Process& process, const double* times, const R& noise,
                                         const std::int64_t* offsets = nullptr) {
  using T = typename Process::value_type;
  return observed_at(process, times, noise, small_belief<T, Process::states>{{}, process.stationary()}, offsets);
}

/// A position whose velocity is a Wiener process of variance `spectral_density` per unit of time; the level has a
/// Wiener process of its own, of variance `level` per unit of time: with that a local linear trend. State: position,
/// velocity.
template <class T>
struct constant_velocity {
  using value_type = T;
  static constexpr int states = 2;

  T spectral_density, level = 0;

  KALSCAN_HD constexpr transition_matrices<T, 2> operator()(T dt) const {
    const T q = spectral_density;
    return {{{1, 0, dt, 1}}, {{q * dt * dt * dt / 3 + level * dt, q * dt * dt / 2, q * dt}}};
  }
  KALSCAN_HD constexpr small_matrix<T, 1, 2> observed() const { return {{1, 0}}; }
};

}  // namespace kalscan
