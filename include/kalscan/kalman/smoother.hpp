// SPDX-License-Identifier: MIT
// The fixed-interval smoother of a linear-Gaussian model, in sequence or in parallel over time.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/kalman/diffuse/smoother.hpp>
#include <kalscan/kalman/elements/smoothing_element.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/model/model.hpp>
#include <kalscan/kalman/steps/filter_step.hpp>
#include <kalscan/kalman/steps/square_root_smoother.hpp>
#include <kalscan/kalman/steps/square_root_sweep.hpp>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace kalscan {

/// n states, one column or entry a step: x_t given all the data.
///
/// Under a prior that is diffuse in part, `diffuse` has an entry for each of the first steps whose state depends on
/// what no data tell: there the belief is N(mean, covariance + kappa diffuse), as for filter_result. The other
/// components, those whose entry on the diagonal of diffuse is zero, are smoothed as if these did not exist.
template <class T, int N, int M>
struct smoother_result {
  Eigen::Matrix<T, N, Eigen::Dynamic> mean{};
  std::vector<Eigen::Matrix<T, N, N>> covariance{};
  std::vector<Eigen::Matrix<T, N, N>> diffuse{};
  filter_result<T, N, M> filtered{};

  /// The components of x_t, by index, whose variance is infinite given all the data: none at proper steps.
  std::vector<Eigen::Index> improper_components(std::int64_t t) const { return detail::with_variance(diffuse, t); }
};

namespace detail {

/// Where the steps at hand are a stretch of a series: whether there are steps behind the last of them, and the step before
/// the first one, which the sweep then smooths, too.
template <class T, int N>
struct stretch_edges {
  bool has_before = false, has_after = false;
  matrix_belief<T, N> filtered_before{}, smoothed_before{};
  bool cancelled_before = false;
};

/// Goes from the last filtered belief to the first; step s leads to time length - 2 - s of its series.
template <class T, int N, int M>
struct smoother_sweep {
  using vector = Eigen::Vector<T, N>;
  using matrix = Eigen::Matrix<T, N, N>;
  using belief = matrix_belief<T, N>;
  using element = smoothing_element<T, N>;
  using monoid_type = smoothing_monoid<T, N>;

  struct state_type {
    vector r;
    matrix N_;
  };

  std::span<const filter_step<T, N, M>> steppers;  // one for all series, or one each
  std::span<smoother_result<T, N, M>> results;
  std::span<const std::int64_t> chosen;    // of the results
  std::span<std::vector<char>> cancelled;  // whether the smoothed covariance of a step has lost digits
  std::int64_t longest;
  std::span<stretch_edges<T, N>> edges =
      {};  // of each result, where they are stretches: the caller then finishes the lanes

  static constexpr bool has_outputs = true, starts_at_first_step = true, ends_unseen = true, goes_back = true;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(chosen); }
  std::int64_t length() const { return longest - 1; }
  bool splits() const { return true; }
  state_type act(const element& x, const state_type& s) const {
    state_type before{times(x.L.transpose(), s.r) + x.r, congruence(x.L.transpose(), s.N_) + x.N};
    symmetrize(before.N_);
    return before;
  }

  struct lane_type {
    const smoother_sweep* sweep;
    const filter_step<T, N, M>* stepper;
    smoother_result<T, N, M>* result;
    std::vector<char>* cancelled;
    std::int64_t series;
    stretch_edges<T, N>* edges;

    bool has_before() const { return edges && edges->has_before; }
    bool has_after() const { return edges && edges->has_after; }
    std::int64_t time(std::int64_t s) const { return result->filtered.mean.cols() - 2 - s; }
    /// Where the prior was diffuse, the sweep ends at the first belief that is well known.
    std::int64_t first() const { return (std::max<std::int64_t>)(result->filtered.beginning.size() - 1, 0); }
    /// Time -1 is the step before a stretch.
    std::int64_t last_lift() const { return has_before() ? -1 : first(); }

    state_type start() const {
      const auto& filtered = result->filtered;
      const Eigen::Index n = filtered.mean.rows(), last = filtered.mean.cols() - 1;
      if (last >= 0 && !has_after()) write(last, {filtered.mean.col(last), filtered.covariance.back()});
      return {vector::Zero(n), matrix::Zero(n, n)};
    }

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < last_lift()) return;
      x = sweep->act(lift(s), x);
      const auto& P =
          t < 0 ? edges->filtered_before.covariance : result->filtered.covariance[static_cast<std::size_t>(t)];
      const matrix NP = times(x.N_, P);
      belief smoothed{times(P, x.r), P - times(P, NP)};
      symmetrize(smoothed.covariance);
      const bool lost = cancels(P, x.N_, smoothed.covariance);
      if (t < 0) {
        smoothed.mean = edges->filtered_before.mean + smoothed.mean;
        edges->smoothed_before = smoothed;
        edges->cancelled_before = lost;
      } else {
        smoothed.mean = result->filtered.mean.col(t) + smoothed.mean;
        write(t, smoothed);
        (*cancelled)[static_cast<std::size_t>(t)] = lost;
      }
    }

    /// What the data of step t + 1 say of the state at t.
    element lift(std::int64_t s) const {
      const std::int64_t t = time(s);
      const auto& filtered = result->filtered;
      const auto& step = *stepper;
      const Eigen::Index n = step.model.states();
      if (t < last_lift()) return monoid_type{n}.identity();
      matrix_filtering_element<T, N> x{step.model.F[t + 1], {}, {}, vector::Zero(n), matrix::Zero(n, n)};
      if (t < 0) {
        x.b = edges->filtered_before.mean, x.C = edges->filtered_before.covariance;
      } else {
        x.b = filtered.mean.col(t), x.C = filtered.covariance[static_cast<std::size_t>(t)];
      }
      step.predict(t + 1, x.b, x.C);
      if (const char* wrong = step.absorb(step.components.observe(t + 1, filtered.y.col(t + 1)), x)) {
        throw filter_error(series, t + 1, wrong);
      }
      return {x.A, x.eta, x.J};
    }

    void absorb(std::int64_t s, element& x) const {
      if (time(s) >= last_lift()) x = monoid_type{stepper->model.states()}(lift(s), x);
    }

    void finish(const state_type&) const {
      if (!edges) finish();
    }
    /// When all steps behind these are smoothed.
    void finish() const {
      for (std::int64_t t = result->filtered.mean.cols() - 2; t >= first(); --t) {
        if ((*cancelled)[static_cast<std::size_t>(t)]) write(t, from_next(t));
      }
      if (result->filtered.beginning.size() > 0) smooth_beginning();
    }

    /// The steps of the beginning, when its last state is smoothed.
    void smooth_beginning() const {
      const auto& filtered = result->filtered;
      const auto& history = filtered.beginning;
      const std::int64_t end = first();
      diffuse_smoother<T> backwards(history, end + 1 < filtered.mean.cols() || has_after(),
                                    result->mean.col(end) - filtered.mean.col(end),
                                    result->covariance[static_cast<std::size_t>(end)]);
      for (std::int64_t t = end; t >= 0; --t) {
        const auto x = backwards.step(t, filtered.covariance[static_cast<std::size_t>(t)]);
        if (t < end) write(t, {x.mean, x.covariance});
        const bool known = t < end && t >= std::ssize(filtered.diffuse) && !stepper->exact;
        if (known && x.cancelled) write(t, from_next(t));
        if (!x.proper) result->diffuse.push_back(x.diffuse);
        if (t == 0) break;
        backwards.transition(stepper->model.F[t]);
      }
      std::reverse(result->diffuse.begin(), result->diffuse.end());
    }

   private:
    /// Whether the rounding of P - P N P is felt in some variance: where later data tell far more than all before.
    static bool cancels(const matrix& P, const matrix& N_, const matrix& smoothed) {
      const vector terms = magnitudes(P, deviations(N_));
      using limits = std::numeric_limits<T>;
      const T tolerance = std::pow(limits::epsilon(), T(0.75));
      for (Eigen::Index i = 0; i < terms.size(); ++i) {
        const T rounding = limits::epsilon() * terms(i) * terms(i);
        if (rounding > (limits::min)() && !(rounding <= tolerance * smoothed(i, i))) return true;
      }
      return false;
    }

    /// x_t given x_(t+1) and the data up to t: N(mean + G (x_(t+1) - predicted), rest).
    struct backward {
      matrix G, rest;
    };

    /// F x_t + w = x_(t+1) is taken as n observations of x_t ~ N(., P), one after the other.
    backward conditional(std::int64_t t, const matrix& P) const {
      const auto& step = *stepper;
      const Eigen::Index n = P.rows();
      const noise_factor<T, N> noise(step.model.Q[t + 1], vector::Zero(n).eval());
      const matrix rows = independent_rows(noise, step.model.F[t + 1]);
      const matrix targets = independent_rows(noise, matrix::Identity(n, n).eval());
      backward x{matrix::Zero(n, n), P};
      for (Eigen::Index i = 0; i < n; ++i) {
        const vector f = rows.row(i).transpose(), Pf = times(x.rest, f), size = magnitudes(f);
        const T terms = size.dot(magnitudes(x.rest, size)), variance = f.dot(Pf);
        if (!(variance > std::numeric_limits<T>::epsilon() * terms)) continue;
        const T s = variance + noise.d(i), scale = 1 / std::sqrt(s);
        const vector q = scale * Pf, K = scale * q;
        const vector ahead = targets.row(i).transpose() - times(transposed(x.G), f);
        x.G += times(K, ahead.transpose());
        observe_scalar(x.rest, f, noise.d(i), s, q, K);
      }
      symmetrize(x.rest);
      clear_null_variances(x.rest, [](Eigen::Index) { return T(0); });
      return x;
    }

   public:
    /// Step t, or that before a stretch, from the smoothed belief of the next.
    belief from_next(std::int64_t t) const {
      const auto next = static_cast<std::size_t>(t + 1);
      const belief filtered =
          t < 0 ? edges->filtered_before : belief{result->filtered.mean.col(t), result->filtered.covariance[next - 1]};
      const backward c = conditional(t, filtered.covariance);
      const vector ahead = result->mean.col(t + 1) - stepper->predict_mean(t + 1, filtered.mean);
      belief x{filtered.mean + times(c.G, ahead), congruence(c.G, result->covariance[next]) + c.rest};
      symmetrize(x.covariance);
      return x;
    }

    void write(std::int64_t t, const belief& x) const {
      require_finite_belief("smoothed", series, t, x.mean, x.covariance);
      result->mean.col(t) = x.mean;
      result->covariance[static_cast<std::size_t>(t)] = x.covariance;
    }
  };
  lane_type lane(std::int64_t lane) const { return lane_of(chosen[static_cast<std::size_t>(lane)]); }
  lane_type lane_of(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {
        this, &of_series(steppers, i), &results[index], &cancelled[index], i, edges.empty() ? nullptr : &edges[index]};
  }
};

/// Throws std::invalid_argument unless models and results fit each other: one model for all, or one for each.
template <class T, int N, int M>
void check_smoother(std::span<const kalman_model<T, N, M>> models, std::span<const filter_result<T, N, M>> filtered,
                    bool one_each, bool may_be_empty = false) {
  if (one_each && models.size() != filtered.size()) {
    bad_model("there are " + std::to_string(models.size()) + " models and " + std::to_string(filtered.size()) +
              " filter results: give each result the model that it came from");
  }
  std::int64_t longest = 1;
  for (std::size_t i = 0; i < filtered.size(); ++i) {
    const auto& model = of_series(models, static_cast<std::int64_t>(i));
    const Eigen::Index length = filtered[i].mean.cols();
    const std::string name = "the filter result of series " + std::to_string(i);
    if (model.F.empty()) bad_model("F is not given");
    if (length == 0 && !may_be_empty) bad_model(name + " is empty");
    if (filtered[i].mean.rows() != model.states()) {
      bad_model(name + " has " + std::to_string(filtered[i].mean.rows()) + " states, the model " +
                std::to_string(model.states()));
    }
    if (std::ssize(filtered[i].covariance) != length) {
      bad_model(name + " has " + std::to_string(filtered[i].covariance.size()) + " covariances and " +
                std::to_string(length) + " means");
    }
    if (one_each) check_model_of(model, steps_at_least(length), i);
    longest = (std::max<std::int64_t>)(longest, length);
  }
  if (!one_each) check_model(models[0], steps_at_least(longest));
}

template <class T, int N, int M>
std::vector<smoother_result<T, N, M>> room_to_smooth(std::vector<filter_result<T, N, M>> filtered) {
  std::vector<smoother_result<T, N, M>> results(filtered.size());
  for (std::size_t i = 0; i < filtered.size(); ++i) {
    results[i].mean.resize(filtered[i].mean.rows(), filtered[i].mean.cols());
    results[i].covariance.resize(filtered[i].covariance.size());
    results[i].filtered = std::move(filtered[i]);
  }
  return results;
}

/// Whole: what has roots is exact, as in results of the default form.
template <bool Whole, host_policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> smooth_here(const P& p, std::span<const kalman_model<T, N, M>> models,
                                                  std::vector<filter_result<T, N, M>> filtered) {
  const std::vector<filter_step<T, N, M>> steppers(models.begin(), models.end());
  auto results = room_to_smooth(std::move(filtered));
  const std::vector<square_root_steps<T, N, M>> steps(models.begin(), models.end());
  std::vector<std::vector<char>> cancelled;
  std::vector<std::int64_t> as_covariances, as_roots, as_exact_roots;
  std::int64_t longest = 1;
  for (std::int64_t i = 0; i < std::ssize(results); ++i) {
    const auto& f = results[static_cast<std::size_t>(i)].filtered;
    const bool roots = f.covariance_root.size() == f.covariance.size();
    const bool exact = of_series<filter_step<T, N, M>>(steppers, i).exact;
    (!roots ? as_covariances : exact ? as_exact_roots : as_roots).push_back(i);
    cancelled.emplace_back(f.covariance.size());
    longest = (std::max<std::int64_t>)(longest, f.mean.cols());
  }
  const smoother_sweep<T, N, M> sweep{steppers, results, as_covariances, cancelled, longest};
  if (!as_covariances.empty()) run_sweep(p, sweep);
  for (const auto* chosen : {&as_roots, &as_exact_roots}) {
    if (chosen->empty()) continue;
    run_sweep(p, square_root_smoother_sweep<T, N, M, Whole>{steps, results, *chosen, longest,
                                                            chosen == &as_exact_roots});
    for (const std::int64_t i : *chosen) {
      if (results[static_cast<std::size_t>(i)].filtered.beginning.size() > 0) sweep.lane_of(i).smooth_beginning();
    }
  }
  return results;
}

template <bool Whole, host_policy P, class T, int N, int M>
std::vector<smoother_result<T, N, M>> run_smoother(const P& p, std::span<const kalman_model<T, N, M>> models,
                                                   std::vector<filter_result<T, N, M>> filtered) {
  if constexpr (!shares_time<P>) {
    return smooth_here<Whole>(p, models, std::move(filtered));
  } else if constexpr (requires { run_smoother_over(p, models, std::move(filtered)); }) {
    return run_smoother_over(p, models, std::move(filtered));
  } else {
    explain_kalman_over_ranks<P>();
    return {};
  }
}

}  // namespace detail

/// Smooths what `filter` returned for the same model, by the backward recursion of Bryson and Frazier (1963) and de
/// Jong (Biometrika 76, 1989), which inverts no covariance: singular F and Q, and variances that vanish, are allowed.
/// Where its difference of covariances cancels, because later data tell far more than all before, the step is smoothed
/// from the next one instead, in sequence; which steps those are depends on the data, not on threads. Covariances are
/// symmetric and positive semi-definite up to rounding. Errors, memory and the effect of the policy as for `filter`.
/// A result with roots is smoothed by these, with what is observed later as n more observations of each state: of the
/// square-root form, and of models that are read without noise, there in sequence. Smoothed deviations then are at
/// least epsilon^(3/4) of the filtered ones, also where a later reading tells all; in float, where all readings have
/// noise, that of double.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(const P& p, const kalman_model<T, N, M>& model,
                                                           std::vector<filter_result<T, N, M>> filtered) {
  const std::span<const kalman_model<T, N, M>> models(&model, 1);
  check_arguments(p, [&] { detail::check_smoother<T, N, M>(models, filtered, false, shares_time<P>); });
  return detail::run_smoother<false>(p, models, std::move(filtered));
}

/// One series.
template <host_policy P, class T, int N, int M>
[[nodiscard]] smoother_result<T, N, M> smooth(const P& p, const kalman_model<T, N, M>& model,
                                              filter_result<T, N, M> filtered) {
  std::vector<filter_result<T, N, M>> one;
  one.push_back(std::move(filtered));
  return std::move(smooth(p, model, std::move(one)).front());
}

/// Each result has the model of its own that it came from.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(const P& p,
                                                           const std::vector<kalman_model<T, N, M>>& models,
                                                           std::vector<filter_result<T, N, M>> filtered) {
  check_arguments(p, [&] { detail::check_smoother<T, N, M>(models, filtered, true, shares_time<P>); });
  return detail::run_smoother<false>(p, std::span(models), std::move(filtered));
}

/// Filters and smooths independent series, of one model or each of its own.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const kalman_model<T, N, M>& model, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  return detail::run_smoother<true>(p, std::span<const kalman_model<T, N, M>>(&model, 1),
                                    filter(p, model, series, outputs));
}
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const std::vector<kalman_model<T, N, M>>& models,
    std::type_identity_t<std::span<const observations<T, M>>> series, filter_outputs outputs = {}) {
  return detail::run_smoother<true>(p, std::span(models), filter(p, models, series, outputs));
}

/// Filters and smooths one series; of a model or of its square-root form.
template <host_policy P, template <class, int, int> class Model, class T, int N, int M>
  requires detail::is_model<Model<T, N, M>>
[[nodiscard]] smoother_result<T, N, M> smooth(const P& p, const Model<T, N, M>& model,
                                              const std::type_identity_t<observations<T, M>>& y,
                                              filter_outputs outputs = {}) {
  return std::move(smooth(p, model, std::span<const observations<T, M>>(&y, 1), outputs).front());
}

/// Data that are none, with what to do instead.
template <host_policy P, template <class, int, int> class Model, class T, int N, int M, class Y, class... Rest>
  requires(detail::is_model<Model<T, N, M>> && !detail::data_of<Y, T, M> &&
           !std::convertible_to<const Y&, filter_result<T, N, M>> &&
           !std::convertible_to<const Y&, std::vector<filter_result<T, N, M>>>)
void smooth(const P&, const Model<T, N, M>&, const Y&, const Rest&...) {
  detail::explain_data<Y>();
}

}  // namespace kalscan
