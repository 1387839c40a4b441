// SPDX-License-Identifier: MIT
// What a chunk of time of the filter does: absorb its observations into an element, or replay its steps from a carry.
#pragma once

#include <cstdint>
#include <kalscan/kalman/device/access.hpp>
#include <kalscan/kalman/device/series.hpp>
#include <kalscan/kalman/device/settled.hpp>
#include <kalscan/kalman/device/step.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/support/config.hpp>
#include <span>
#include <type_traits>

namespace kalscan::detail {

/// Leaves the earliest failure of a series in its status, whatever the order in which chunks find theirs.
KALSCAN_HD inline void report(std::span<filter_status> status, std::int64_t series, std::int64_t step, step_failure reason) {
  if (status.empty() || reason == step_failure::none) return;
  const std::uint64_t code = filter_status::code_of(step, reason);
  filter_status& x = status.data()[series];
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  atomicMin(reinterpret_cast<unsigned long long*>(&x.code), static_cast<unsigned long long>(code));
#else
  if (code < x.code) x.code = code;
#endif
}

/// Chunk k of a series has its steps [k chunk, (k + 1) chunk). Chunks are numbered in the order in which they act.
template <state_space_model Model>
struct filter_traversal {
  using model_type = Model;
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using element = small_filtering_element<T, n>;
  using state = small_belief<T, n>;
  using sum = T;

  Model model;
  series_layout series;
  const T* y;
  filter_arrays<T> out;
  std::int64_t chunk;

  KALSCAN_HD static element combine(const element& first, const element& second) {
    return small_filtering_monoid<T, n>{}(first, second);
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
    const std::int64_t last = end < length ? end : length, begin = series.begin(i);
    element x = begin_chunk(i, first);
    for (std::int64_t t = first; t < last; ++t) {
      if (t > first) {
        const auto matrices = model.transition(i, t);
        x.A = times(matrices.F, x.A);
        predict_by(model, i, t, matrices, x.b, x.C);
      }
      observe_into(x, readings_of(model, i, t, y + (begin + t) * m));
    }
    return x;
  }

  /// Returns the log-likelihood of the chunk's data given all before.
  KALSCAN_HD T replay(std::int64_t i, std::int64_t k, state s) const {
    const std::int64_t first = k * chunk, end = first + chunk, length = series.length(i);
    const std::int64_t last = end < length ? end : length, begin = series.begin(i);
    log_density<T> density;
    step_failure wrong = judge_belief(s) == step_failure::none ? step_failure::none : step_failure::carry;
    std::int64_t failed = first;
    settled_gains<T, n, m> settled;
    for (std::int64_t t = first; t < last; ++t) {
      const std::int64_t at = begin + t;
      const auto readings = readings_of(model, i, t, y + at * m);
      step_failure now = step_failure::none;
      if (Model::constant && settled.serve(readings)) {
        replay_settled(i, t, at, readings, settled, s, density);
      } else {
        const small_symmetric<T, n> before = s.covariance;
        if (predicts(model, t)) predict_by(model, i, t, model.transition(i, t), s.mean, s.covariance);
        write(out.predicted_mean, at, s.mean);
        write(out.predicted_covariance, at, s.covariance);
        now = observe(readings, s.mean, s.covariance, [&](int index, const auto&, T, const auto& x) {
          if (has_sum()) density.add(x);
          if constexpr (Model::constant) settled.keep(index, x);
        });
        if constexpr (Model::constant) {
          if (t > 0) settled.judge(before, s.covariance, readings);
        }
      }
      write(out.mean, at, s.mean);
      write(out.covariance, at, s.covariance);
      if (now == step_failure::none) now = judge_belief(s);
      if (now != step_failure::none && wrong == step_failure::none) {
        wrong = now;
        failed = t;
      }
    }
    report(out.status, i, failed, wrong);
    if (last == length) finish(i, s);
    return density.total();
  }

 private:
  /// The transition to the first step of a chunk. At the beginning of a series it comes from the prior: of what is read
  /// without noise, an unknown state before would be told without bound.
  KALSCAN_HD element begin_chunk(std::int64_t i, std::int64_t t) const {
    if (t == 0) {
      state s = start(i);
      if (predicts(model, t)) predict_by(model, i, t, model.transition(i, t), s.mean, s.covariance);
      return {{}, s.mean, s.covariance, {}, {}};
    }
    const auto matrices = model.transition(i, t);
    element x{matrices.F, {}, matrices.Q, {}, {}};
    if constexpr (!std::is_same_v<decltype(model.state_input(i, t)), no_input>) x.b = model.state_input(i, t);
    clear_null_variances(x.C);
    return x;
  }

  KALSCAN_HD void replay_settled(std::int64_t i, std::int64_t t, std::int64_t at,
                                 const independent_readings<T, n, m>& readings, const settled_gains<T, n, m>& settled,
                                 state& s, log_density<T>& density) const {
    const auto matrices = model.transition(i, t);
    predict_mean(model, i, t, matrices, s.mean);
    write(out.predicted_mean, at, s.mean);
    if (!out.predicted_covariance.empty())
      write(out.predicted_covariance, at, congruence(matrices.F, s.covariance, matrices.Q));
    settled.observe(readings, s.mean, [&](const auto& x) {
      if (has_sum()) density.add(x);
    });
  }

  template <class X>
  KALSCAN_HD static void write(const std::span<T>& to, std::int64_t at, const X& x) {
    if (!to.empty()) write_matrix(to.data() + at * (X::rows * X::columns), x);
  }
  KALSCAN_HD void finish(std::int64_t i, const state& s) const {
    write(out.final_mean, i, s.mean);
    write(out.final_covariance, i, s.covariance);
  }
};

}  // namespace kalscan::detail
