// SPDX-License-Identifier: MIT
// The Kalman filter as work along time, for a back end.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <atomic>
#include <cstdint>
#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/elements/stretch.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/filter_result.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/growth.hpp>
#include <kalscan/kalman/steps/stretch_sums.hpp>
#include <span>
#include <vector>

namespace kalscan::detail {

/// Some of the series that are filtered together: those that are carried as roots, or the others.
struct chosen_series {
  std::vector<std::int64_t> numbers;
  std::int64_t longest = 0;  // the most steps that are left of one
  bool whole = false;        // none is split in time
};

/// Filters the chosen series; the lanes of the sweep. Series may be of different lengths: after its end a lane rests.
/// Where beliefs are not kept, the log-likelihood is summed stretch by stretch.
template <class T, int N, int M>
struct filter_sweep {
  using step_type = filter_step<T, N, M>;
  using matrix = Eigen::Matrix<T, N, N>;
  using step_element = matrix_filtering_element<T, N>;
  using element = stretch_element<step_element, Eigen::Vector<T, N>>;

  struct state_type {
    matrix_belief<T, N> belief;
    T* sum = nullptr;  // of the log-likelihood, of the stretch of time at hand
  };

  std::span<const step_type> steppers;  // one for all series, or one each
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  stretch_sums<T>* sums;
  const chosen_series& chosen;
  std::span<growth_watch<T, N>> watches{};  // of all results, unless empty

  static constexpr bool has_outputs = true, starts_at_first_step = true, ends_unseen = true, lanes_apart = true;
  static constexpr double absorb_cost = 0.8;  // measured for n = 2 ... 8 in double: 0.7 to 1 once the start is forgotten

  std::int64_t lanes() const { return std::ssize(chosen.numbers); }
  std::int64_t length() const { return chosen.longest; }
  bool splits() const { return true; }

  state_type act(const element& x, const state_type& s) const {
    matrix_belief<T, N> from_guess = s.belief;
    from_guess.mean -= x.guess;
    return {kalscan::act(x.of_difference, from_guess)};
  }
  void end_stretch(state_type& s) const { s.sum = nullptr; }

  struct lane_type {
    const filter_sweep* sweep;
    const step_type* stepper;
    const observations<T, M>* y;
    filter_recorder<T, N, M> record;

    /// Where the series has a beginning of its own, its steps are done before the sweep.
    std::int64_t time(std::int64_t s) const { return record.result->beginning.size() + s; }

    state_type start() const {
      const auto& prior = stepper->model.prior;
      const std::int64_t done = time(0), last = record.column(done - 1);
      state_type x{{prior.mean, prior.covariance}};
      if (done > 0) {
        x.belief = {column(record.result->mean, last), record.result->covariance[static_cast<std::size_t>(last)]};
      }
      if (!record.keeps()) sweep->sums->add(x.sum, record.series, 0, record.result->log_likelihood);
      return x;
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      const step_type& step = *stepper;
      auto& [mean, P] = x.belief;
      if (predicts(stepper->model, t)) step.predict(t, mean, P);
      record.predicted(t, mean, P);
      if (record.outputs.innovations) {
        record.innovation(t, y->col(t), step.observation_mean(t, mean), step.innovation_covariance(t, P));
      }
      bool told_sharply = false;
      const T log_density = step.take(t, y->col(t), mean, P, record.series, told_sharply);
      if (told_sharply || t % 4 == 0 || t + 1 == y->cols()) watch(P, told_sharply);
      if (!record.keeps()) {
        sweep->sums->add(x.sum, record.series, s, log_density);
        return;
      }
      record.write(t, mean, P, log_density);
    }

    element lift(std::int64_t s) const { return absorb_steps(s, s + 1); }
    element absorb_steps(std::int64_t first, std::int64_t last) const {
      const step_element none = matrix_filtering_monoid<T, N>{stepper->model.states()}.identity();
      return absorb_stretch(first, last, none, [&](std::int64_t s, step_element& x) { extend(s, x); });
    }
    void absorb(std::int64_t s, element& x) const { extend(s, x.of_difference); }

   private:
    void extend(std::int64_t s, step_element& x) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      const step_type& step = *stepper;
      const bool forgotten = clear_if_faded(x.A);
      if (predicts(stepper->model, t)) {
        if (!forgotten) x.A = times(step.model.F[t], x.A);
        step.predict(t, x.b, x.C);
      }
      if (const char* wrong = step.absorb(step.components.observe(t, y->col(t)), x, forgotten)) record.fail(t, wrong);
    }

    void watch(const matrix& P, bool told_sharply) const {
      if (sweep->watches.empty()) return;
      auto& seen = sweep->watches[static_cast<std::size_t>(record.series)];
      if (seen.outgrown.load(std::memory_order_relaxed)) return;
      if (told_sharply || outgrown(P, seen.limit)) seen.outgrown.store(true, std::memory_order_relaxed);
    }
  };
  lane_type lane(std::int64_t lane) const {
    const std::int64_t i = chosen.numbers[static_cast<std::size_t>(lane)];
    const auto index = static_cast<std::size_t>(i);
    return {this, &of_series(steppers, i), &data[index], {&results[index], outputs, i}};
  }
};

}  // namespace kalscan::detail
