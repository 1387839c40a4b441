// SPDX-License-Identifier: MIT
// What a chunk of time of the smoother does, from the last step to the first.
#pragma once

#include <cstdint>
#include <kalscan/kalman/device/filter_traversal.hpp>
#include <kalscan/kalman/device/series.hpp>
#include <kalscan/kalman/device/step.hpp>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// Chunks are numbered from the end, in the order in which they act: chunk k has the steps t with length - 1 - t in
/// [k chunk, (k + 1) chunk). What later data say of the last step is nothing.
template <state_space_model Model>
struct smoother_traversal {
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using element = small_smoothing_element<T, n>;
  using state = small_smoothing_state<T, n>;
  using sum = T;

  Model model;
  series_layout series;
  const T* y;
  const T *mean, *covariance;  // of the filter
  smoother_arrays<T> out;
  std::int64_t chunk;

  KALSCAN_HD static element identity() { return small_smoothing_monoid<T, n>::identity(); }
  KALSCAN_HD static element combine(const element& first, const element& second) {
    return small_smoothing_monoid<T, n>{}(second, first);
  }
  KALSCAN_HD static state act(const element& x, const state& s) { return kalscan::act(x, s); }
  KALSCAN_HD state start(std::int64_t) const { return {}; }
  KALSCAN_HD std::int64_t chunks(std::int64_t i) const { return (series.length(i) + chunk - 1) / chunk; }
  KALSCAN_HD bool has_sum() const { return false; }
  KALSCAN_HD void finish_sum(std::int64_t, T) const {}
  KALSCAN_HD void begin(std::int64_t i) const {
    if (!out.status.empty()) out.status.data()[i] = {};
  }

  KALSCAN_HD element absorb(std::int64_t i, std::int64_t k) const {
    const std::int64_t length = series.length(i), begin = series.begin(i);
    const std::int64_t from = length - 1 - k * chunk, to = from - chunk < -1 ? -1 : from - chunk;
    element x = from + 1 < length ? lift(i, begin, from, filtered(begin + from)) : identity();
    for (std::int64_t t = from - 1; t > to; --t) x = combine(x, lift(i, begin, t, filtered(begin + t)));
    return x;
  }

  KALSCAN_HD T replay(std::int64_t i, std::int64_t k, state s) const {
    const std::int64_t length = series.length(i), begin = series.begin(i);
    const std::int64_t from = length - 1 - k * chunk, to = from - chunk < -1 ? -1 : from - chunk;
    for (std::int64_t t = from; t > to; --t) {
      const small_belief<T, n> before = filtered(begin + t);
      if (t + 1 < length) s = act(lift(i, begin, t, before), s);
      const small_belief<T, n> x = smoothed(before, s);
      if (!out.mean.empty()) store(out.mean.data() + (begin + t) * n, x.mean);
      if (!out.covariance.empty()) store(out.covariance.data() + (begin + t) * (n * n), x.covariance);
      report(out.status, i, t, judge_belief(x));
    }
    return T(0);
  }

 private:
  KALSCAN_HD small_belief<T, n> filtered(std::int64_t at) const {
    return {load<small_vector<T, n>>(mean + at * n), load<small_symmetric<T, n>>(covariance + at * (n * n))};
  }

  /// What the data of step t + 1 say of the state at t, whose filtered belief is given.
  KALSCAN_HD element lift(std::int64_t i, std::int64_t begin, std::int64_t t, const small_belief<T, n>& before) const {
    const auto matrices = model.transition(i, t + 1);
    small_filtering_element<T, n> x{matrices.F, before.mean, before.covariance, {}, {}};
    predict_by(model, i, t + 1, matrices, x.b, x.C);
    observe(readings_of(model, i, t + 1, y + (begin + t + 1) * m), x.b, x.C,
            [&](const auto& h, T d, const auto& innovation) { extend_likelihood(x, h, d, innovation); });
    return {x.A, x.eta, x.J};
  }
};

}  // namespace kalscan::detail
