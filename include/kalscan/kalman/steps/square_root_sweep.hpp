// SPDX-License-Identifier: MIT
// The Kalman filter in square-root form as work along time, for a back end.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/elements/stretch.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/filter_sweep.hpp>
#include <kalscan/kalman/steps/square_root_steps.hpp>
#include <kalscan/kalman/steps/stretch_sums.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>

namespace kalscan::detail {

/// Filters a number of series, the lanes of the sweep; as filter_sweep. Whole: time is not split.
template <class T, int N, int M, bool Whole>
struct square_root_filter_sweep {
  using steps_type = square_root_steps<T, N, M>;
  using wide = typename steps_type::wide;
  using step_element = typename steps_type::element;
  using element = stretch_element<step_element, Eigen::Vector<wide, N>>;

  struct state_type {
    square_root_belief<T, N> belief;
    root_rounding<T, N> rounding;  // where something may be observed without noise
    T* sum = nullptr;              // as in filter_sweep
  };

  std::span<const steps_type> all_steps;  // of one model for all series, or of one each
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  stretch_sums<T>* sums;
  const chosen_series& chosen;

  static constexpr bool has_outputs = true, whole_lanes = Whole;
  static constexpr double absorb_cost = 1.6;

  std::int64_t lanes() const { return std::ssize(chosen.numbers); }
  std::int64_t length() const { return chosen.longest; }
  bool splits() const { return !chosen.whole; }
  state_type act(const element& x, const state_type& s) const {
    auto belief = cast<wide>(s.belief);
    belief.mean -= x.guess;
    return {cast<T>(kalscan::act(x.of_difference, belief)), s.rounding};
  }

  struct lane_type {
    const square_root_filter_sweep* sweep;
    const steps_type* steps;
    const observations<T, M>* y;
    filter_recorder<T, N, M> record;

    std::int64_t time(std::int64_t s) const { return record.result->beginning.size() + s; }

    state_type start() const {
      const std::int64_t done = time(0), last = record.column(done - 1);
      const auto& prior = steps->model.prior;
      state_type x{{prior.mean, steps_type::root_of(prior)}, {}};
      if (noiseless()) x.rounding = steps_type::rounding_of(prior);
      if (done > 0) {
        x.belief = {column(record.result->mean, last), steps_type::root_after(record.result->beginning)};
        if (noiseless()) x.rounding.E = record.result->rounding[static_cast<std::size_t>(last)];
      }
      if (!record.keeps()) sweep->sums->add(x.sum, record.series, 0, record.result->log_likelihood);
      return x;
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& state) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      auto& [mean, root] = state.belief;
      auto* rounding = noiseless() ? &state.rounding : nullptr;
      steps->predict_belief(t, state.belief, rounding);
      if (record.outputs.predictions) record.predicted(t, mean, times(root, transposed(root)));
      if (record.outputs.innovations) innovation(t, state.belief);
      T log_density = 0;
      if (const char* wrong = steps->take(t, y->col(t), state.belief, rounding, log_density)) record.fail(t, wrong);
      if (!record.keeps()) {
        require_finite_belief("filtered", record.series, t, mean, root);
        sweep->sums->add(state.sum, record.series, s, log_density);
        return;
      }
      record.filtered(t, mean, times(root, transposed(root)), log_density);
      const auto index = static_cast<std::size_t>(t);
      record.result->covariance_root[index] = root;
      if (noiseless()) record.result->rounding[index] = state.rounding.E;
    }

    element lift(std::int64_t s) const { return absorb_steps(s, s + 1); }
    element absorb_steps(std::int64_t first, std::int64_t last) const {
      const step_element none = no_steps<wide, N>(steps->model.states());
      return absorb_stretch(first, last, none, [&](std::int64_t s, step_element& x) { extend(s, x); });
    }
    void absorb(std::int64_t s, element& x) const { extend(s, x.of_difference); }

   private:
    void extend(std::int64_t s, step_element& x) const {
      const std::int64_t t = time(s);
      if (t < y->cols()) steps->absorb(t, y->col(t), x);
    }

    /// Whether something may be observed without noise.
    bool noiseless() const { return !record.result->rounding.empty(); }

    void innovation(std::int64_t t, const square_root_belief<T, N>& x) const {
      const auto& model = steps->model;
      Eigen::Vector<T, M> predicted = times(model.H[t], x.mean);
      if (!model.D.empty()) predicted += times_inputs<T, M>(model.D[t], model.u.data() + t * model.u.rows());
      record.innovation(t, y->col(t), predicted, innovation_covariance_of_root(model, t, x.root));
    }
  };
  lane_type lane(std::int64_t lane) const {
    const std::int64_t i = chosen.numbers[static_cast<std::size_t>(lane)];
    const auto index = static_cast<std::size_t>(i);
    return {this, &of_series(all_steps, i), &data[index], {&results[index], outputs, i}};
  }
};

}  // namespace kalscan::detail
