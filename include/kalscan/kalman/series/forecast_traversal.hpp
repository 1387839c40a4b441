// SPDX-License-Identifier: MIT
// Predictions of the state and of y beyond the data, a series as one chunk.
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/support/config.hpp>
#include <type_traits>

namespace kalscan::detail {

template <state_space_model Model>
struct forecast_traversal {
  using model_type = Model;
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using state = prior_type<Model>;
  using row = state;
  using sum = T;
  static_assert(!is_root<state>,
                "kalscan: a forecast is of the model, whatever form its result was filtered in: pass it without "
                "square_root");

  Model model;
  series_layout series;  // of the data
  const T *mean, *covariance;  // the last beliefs
  forecast_arrays<T> out;
  std::int64_t steps;
  const T* directions = nullptr;  // of the last beliefs, under a diffuse prior

  KALSCAN_HD state start(std::int64_t i) const {
    state s{};
    s.mean = read_matrix<small_vector<T, n>>(mean + i * n);
    s.covariance = read_matrix<small_symmetric<T, n>>(covariance + i * (n * n));
    if constexpr (is_diffuse<state>) s.directions = read_matrix<small_matrix<T, n, n>>(directions + i * (n * n));
    return s;
  }
  KALSCAN_HD std::int64_t chunks(std::int64_t) const { return steps > 0 ? 1 : 0; }
  KALSCAN_HD bool has_sum() const { return false; }
  KALSCAN_HD void finish_sum(std::int64_t, T) const {}
  KALSCAN_HD void begin(std::int64_t i) const {
    if (!out.status.empty()) out.status.data()[i] = {};
  }

  class replay_type {
   public:
    static constexpr int direction = 1;

    KALSCAN_HD replay_type(const forecast_traversal& x, std::int64_t series, std::int64_t, const state& last,
                           bool = false)
        : x_(x), series_(series), length_(x.series.length(series)), belief_(last) {}
    KALSCAN_HD std::int64_t steps() const { return x_.steps; }
    KALSCAN_HD std::int64_t first_row() const { return series_ * x_.steps; }

    KALSCAN_HD const state& step(std::int64_t j) {
      const std::int64_t t = length_ + j, at = first_row() + j;
      const auto& f = x_.model;
      if (predicts(f, t)) predict_belief(f, series_, t, belief_);
      const auto matrices = f.observation(series_, t);
      auto y = times(matrices.H, belief_.mean);
      if constexpr (!std::is_same_v<decltype(f.observation_input(series_, t)), no_input>)
        add(y, f.observation_input(series_, t));
      write_row(x_.out.y_mean, at, y);
      write_row(x_.out.y_covariance, at, congruence(matrices.H, belief_.covariance, matrices.R));
      if constexpr (is_diffuse<state>) {
        write_row(x_.out.directions, at, belief_.directions);
        write_row(x_.out.y_directions, at, times<residues::cleared>(matrices.H, belief_.directions));
      }
      report(x_.out.status, series_, t, judge_belief(belief_));
      return belief_;
    }
    KALSCAN_HD const state& after() const { return belief_; }
    KALSCAN_HD T finish() const { return T(0); }

   private:
    const forecast_traversal& x_;
    std::int64_t series_, length_;
    state belief_;
  };
};

}  // namespace kalscan::detail
