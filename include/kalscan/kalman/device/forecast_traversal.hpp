// SPDX-License-Identifier: MIT
// Predictions of the state and of y beyond the data, a series as one chunk.
#pragma once

#include <cstdint>
#include <kalscan/kalman/device/access.hpp>
#include <kalscan/kalman/device/filter_traversal.hpp>
#include <kalscan/kalman/device/series.hpp>
#include <kalscan/kalman/device/step.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan::detail {

template <state_space_model Model>
struct forecast_traversal {
  using model_type = Model;
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using state = small_belief<T, n>;
  using sum = T;

  Model model;
  series_layout series;  // of the data
  const T *mean, *covariance;  // the last beliefs
  forecast_arrays<T> out;
  std::int64_t steps;

  KALSCAN_HD state start(std::int64_t i) const {
    return {read_matrix<small_vector<T, n>>(mean + i * n), read_matrix<small_symmetric<T, n>>(covariance + i * (n * n))};
  }
  KALSCAN_HD std::int64_t chunks(std::int64_t) const { return steps > 0 ? 1 : 0; }
  KALSCAN_HD bool has_sum() const { return false; }
  KALSCAN_HD void finish_sum(std::int64_t, T) const {}
  KALSCAN_HD void begin(std::int64_t i) const {
    if (!out.status.empty()) out.status.data()[i] = {};
  }

  KALSCAN_HD T replay(std::int64_t i, std::int64_t, state s) const {
    const std::int64_t length = series.length(i);
    for (std::int64_t k = 0; k < steps; ++k) {
      const std::int64_t t = length + k, at = i * steps + k;
      if (predicts(model, t)) predict_by(model, i, t, model.transition(i, t), s.mean, s.covariance);
      write(out.mean, at, s.mean);
      write(out.covariance, at, s.covariance);
      const auto matrices = model.observation(i, t);
      auto y = times(matrices.H, s.mean);
      if constexpr (!std::is_same_v<decltype(model.observation_input(i, t)), no_input>) add(y, model.observation_input(i, t));
      write(out.y_mean, at, y);
      write(out.y_covariance, at, congruence(matrices.H, s.covariance, matrices.R));
      report(out.status, i, t, judge_belief(s));
    }
    return T(0);
  }

 private:
  template <class X>
  KALSCAN_HD static void write(const std::span<T>& to, std::int64_t at, const X& x) {
    if (!to.empty()) write_matrix(to.data() + at * (X::rows * X::columns), x);
  }
};

}  // namespace kalscan::detail
