// SPDX-License-Identifier: MIT
// The Kalman filter and smoother in square-root form: for float, for long series with little noise, for vague beliefs.
#pragma once

#include <kalscan/detail/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/linalg.hpp>
#include <kalscan/detail/observation.hpp>
#include <kalscan/detail/square_root_step.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/square_root_element.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace kalscan {

/// Asks `filter`, `smooth` and `log_likelihood` for the square-root form: filter(policy, square_root{model}, y). Refers
/// to the model.
template <class T, int N, int M>
struct square_root {
  const kalman_model<T, N, M>& model;

  explicit square_root(const kalman_model<T, N, M>& model_) : model(model_) {}
};

namespace detail {

/// The number type of the elements: what a chunk does to its beginning must not lose more than its steps do.
template <class T>
using element_number_t = std::conditional_t<(sizeof(T) < sizeof(double)), double, T>;

/// What the steps of the square-root form share.
template <class T, int N, int M>
class square_root_steps {
 public:
  using wide = element_number_t<T>;
  using element = square_root_element<wide, N>;
  using matrix = Eigen::Matrix<T, N, N>;

  explicit square_root_steps(const kalman_model<T, N, M>& model_)
      : model(model_), observer_(model_), root_(root_of(model_.Q[0].template cast<wide>())) {}

  const kalman_model<T, N, M>& model;

  template <class Covariance>
  static auto root_of(const Covariance& covariance) {
    const Eigen::Matrix<typename Covariance::Scalar, N, N> x = covariance;
    return root_semidefinite(x, pivot_rounding(x), typename Covariance::Scalar(1), x.diagonal()).root;
  }

  template <class Column>
  scalar_observations<T, N, M> observe(std::int64_t t, const Column& y) const {
    return observer_.observe(t, y);
  }

  /// Takes a belief or an element, with numbers of type X, through the transition that leads to step t.
  template <class X, class State>
  void predict(std::int64_t t, State& x) const {
    if (t == 0 && !model.prior.before_first_transition) return;
    Eigen::Vector<X, N> offset = Eigen::Vector<X, N>::Zero(model.states());
    if (!model.B.empty()) offset = (model.B[t] * model.u.col(t)).template cast<X>();
    const Eigen::Matrix<X, N, N> F = model.F[t].template cast<X>();
    if (model.Q.constant()) {
      detail::predict<X, N>(x, F, offset, root_.template cast<X>());
    } else {
      detail::predict<X, N>(x, F, offset, root_of(model.Q[t].template cast<X>()));
    }
  }

  template <class Column>
  void absorb(std::int64_t t, const Column& y, element& x) const {
    predict<wide>(t, x);
    const auto o = observe(t, y);
    for (Eigen::Index i = 0; i < o.count; ++i) {
      detail::observe<wide, N>(x, o.H.row(i).transpose().template cast<wide>(), wide(o.d(i)), wide(o.y(i)));
    }
  }

 private:
  observer<T, N, M> observer_;
  Eigen::Matrix<wide, N, N> root_;
};

/// The same numbers in another type.
template <class To, class From, int N>
square_root_belief<To, N> cast(const square_root_belief<From, N>& x) {
  return {x.mean.template cast<To>(), x.root.template cast<To>()};
}

/// Filters a number of series, the lanes of the sweep; as filter_sweep.
template <class T, int N, int M>
struct square_root_filter_sweep {
  using state_type = square_root_belief<T, N>;
  using steps_type = square_root_steps<T, N, M>;
  using wide = typename steps_type::wide;
  using element = typename steps_type::element;

  const steps_type* steps;
  std::span<const observations<T, M>> data;
  std::span<filter_result<T, N, M>> results;
  filter_outputs outputs;
  std::int64_t longest;
  bool noisy;

  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1.6;

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return longest; }
  bool splits() const { return noisy; }
  state_type act(const element& x, const state_type& s) const { return cast<T>(kalscan::act(x, cast<wide>(s))); }

  struct lane_type {
    const square_root_filter_sweep* sweep;
    const observations<T, M>* y;
    filter_recorder<T, N, M> record;

    std::int64_t time(std::int64_t s) const { return record.result->beginning.size() + s; }

    state_type start() const {
      const std::int64_t done = time(0);
      const auto& prior = sweep->steps->model.prior;
      if (done == 0) return {prior.mean, steps_type::root_of(prior.covariance)};
      return {record.result->mean.col(done - 1),
              steps_type::root_of(record.result->covariance[static_cast<std::size_t>(done - 1)])};
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      sweep->steps->template predict<T>(t, x);
      if (record.outputs.predictions) record.predicted(t, x.mean, times(x.root, x.root.transpose()));
      const auto o = sweep->steps->observe(t, y->col(t));
      if (record.outputs.innovations) innovation(t, x);
      T log_density = 0;
      for (Eigen::Index i = 0; i < o.count; ++i) {
        const Eigen::Vector<T, N> h = o.H.row(i).transpose();
        const potter_update<T, N> update(x.root, h, o.d(i));
        const T predicted = h.dot(x.mean), v = o.y(i) - predicted;
        if (!std::isfinite(update.s)) record.fail(t, bad_innovation);
        if (!update.tells()) {
          const T scale = o.terms(i) + h.cwiseAbs().dot(x.mean.cwiseAbs());
          if (!(std::abs(v) <= std::sqrt(std::numeric_limits<T>::epsilon()) * scale)) record.fail(t, contradiction);
          continue;
        }
        log_density -= (v * v / update.s + std::log(2 * std::numbers::pi_v<T> * update.s)) / 2;
        x.mean += update.gain() * v;
        update.apply(x.root);
      }
      record.filtered(t, x.mean, times(x.root, x.root.transpose()), log_density);
      record.result->covariance_root[static_cast<std::size_t>(t)] = x.root;
    }

    element lift(std::int64_t s) const {
      element x = no_steps<wide, N>(sweep->steps->model.states());
      absorb(s, x);
      return x;
    }
    void absorb(std::int64_t s, element& x) const {
      const std::int64_t t = time(s);
      if (t < y->cols()) sweep->steps->absorb(t, y->col(t), x);
    }

   private:
    void innovation(std::int64_t t, const state_type& x) const {
      const auto& model = sweep->steps->model;
      const Eigen::Matrix<T, M, N> HU = times(model.H[t], x.root);
      auto& result = *record.result;
      result.innovation.col(t) = y->col(t) - times(model.H[t], x.mean);
      if (!model.D.empty()) result.innovation.col(t) -= model.D[t] * model.u.col(t);
      result.innovation_covariance[static_cast<std::size_t>(t)] = times(HU, HU.transpose()) + model.R[t];
    }
  };
  lane_type lane(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {this, &data[index], {&results[index], outputs, i}};
  }
};

/// Walks from the last step to the first with the likelihood |Z'x_t - w|^2 of all that is observed after step t, and
/// takes it as n observations of the filtered belief: a two-filter smoother, whose variances cannot exceed the filtered
/// ones.
template <class T, int N, int M>
struct square_root_smoother_sweep {
  struct state_type {
    Eigen::Matrix<T, N, N> Z;
    Eigen::Vector<T, N> w;
  };
  using steps_type = square_root_steps<T, N, M>;
  using wide = typename steps_type::wide;
  using element = typename steps_type::element;

  const steps_type* steps;
  std::span<const observations<T, M>> data;
  std::span<smoother_result<T, N, M>> results;
  std::int64_t longest;

  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1;

  std::int64_t lanes() const { return std::ssize(data); }
  std::int64_t length() const { return longest; }
  bool splits() const { return true; }
  state_type act(const element& x, const state_type& s) const {
    element all = x;
    observe_likelihood<element, wide, N>(all, s.Z.template cast<wide>(), s.w.template cast<wide>());
    return {all.Z.template cast<T>(), all.w.template cast<T>()};
  }

  struct lane_type {
    const square_root_smoother_sweep* sweep;
    const observations<T, M>* y;
    smoother_result<T, N, M>* result;
    std::int64_t series;

    std::int64_t time(std::int64_t s) const { return y->cols() - 1 - s; }
    state_type start() const {
      const auto none = no_steps<T, N>(sweep->steps->model.states());
      return {none.Z, none.w};
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < 0) return;
      const auto i = static_cast<std::size_t>(t);
      square_root_belief<T, N> belief{result->filtered.mean.col(t), result->filtered.covariance_root[i]};
      observe_likelihood<square_root_belief<T, N>, T, N>(belief, x.Z, x.w);
      if (!belief.mean.allFinite()) throw filter_error(series, t, "the smoothed mean is not finite");
      if (!belief.root.allFinite()) throw filter_error(series, t, "the smoothed covariance is not finite");
      result->mean.col(t) = belief.mean;
      result->covariance[i] = times(belief.root, belief.root.transpose());
      x = sweep->act(lift(s), x);
    }

    element lift(std::int64_t s) const {
      const std::int64_t t = time(s);
      element x = no_steps<wide, N>(sweep->steps->model.states());
      if (t >= 0) sweep->steps->absorb(t, y->col(t), x);
      return x;
    }
    void absorb(std::int64_t s, element& x) const {
      if (time(s) >= 0) x = square_root_monoid<wide, N>{x.b.size()}(lift(s), x);
    }
  };
  lane_type lane(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {this, &data[index], &results[index], i};
  }
};

}  // namespace detail

/// As filter(p, model, ...), with covariances carried as roots: semi-definite whatever the rounding, and with the
/// digits that a covariance loses where its eigenvalues differ by more than 1 / epsilon. `covariance_root` is filled. A
/// diffuse beginning is filtered as there, and its last covariance factored. See README for when to take which form,
/// and what it costs.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<filter_result<T, N, M>> filter(
    const P& p, const square_root<T, N, M>& form, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  detail::check_filter(form.model, series);
  const detail::filter_step<T, N, M> stepper(form.model);
  auto results = detail::start_filter(p, stepper, series, outputs, form.model.prior.has_diffuse());
  for (auto& result : results) result.covariance_root.resize(result.covariance.size());
  const detail::square_root_steps<T, N, M> steps(form.model);
  run_sweep(p, detail::square_root_filter_sweep<T, N, M>{&steps, series, results, outputs,
                                                         detail::longest_rest(results), !stepper.exact});
  for (auto& result : results) {
    for (std::size_t t = 0; t < result.rounding.size(); ++t)
      result.rounding[t] = stepper.rounding_of(result.covariance[t]);
  }
  detail::sum_log_likelihood(results);
  return results;
}

template <host_policy P, class T, int N, int M>
[[nodiscard]] filter_result<T, N, M> filter(const P& p, const square_root<T, N, M>& form,
                                            const std::type_identity_t<observations<T, M>>& y,
                                            filter_outputs outputs = {}) {
  return std::move(filter(p, form, std::span<const observations<T, M>>(&y, 1), outputs).front());
}

template <host_policy P, class T, int N, int M>
[[nodiscard]] T log_likelihood(const P& p, const square_root<T, N, M>& form,
                               const std::type_identity_t<observations<T, M>>& y) {
  return filter(p, form, y).log_likelihood;
}

/// As smooth(p, model, ...): the filtered belief takes all that is observed later as n more observations. Where R is
/// singular at some step what is observed later has no finite information: the filtered beliefs, in square-root form,
/// are then smoothed as by smooth(p, model, filtered).
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const square_root<T, N, M>& form, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  auto filtered = filter(p, form, series, outputs);
  if (form.model.prior.has_diffuse() || !detail::noise_is_definite(form.model))
    return smooth(p, form.model, std::move(filtered));
  std::vector<smoother_result<T, N, M>> results(filtered.size());
  for (std::size_t i = 0; i < filtered.size(); ++i) {
    results[i].mean.resize(filtered[i].mean.rows(), filtered[i].mean.cols());
    results[i].covariance.resize(filtered[i].covariance.size());
    results[i].filtered = std::move(filtered[i]);
  }
  const detail::square_root_steps<T, N, M> steps(form.model);
  std::int64_t longest = 0;
  for (const auto& y : series) longest = (std::max<std::int64_t>)(longest, y.cols());
  run_sweep(p, detail::square_root_smoother_sweep<T, N, M>{&steps, series, results, longest});
  return results;
}

template <host_policy P, class T, int N, int M>
[[nodiscard]] smoother_result<T, N, M> smooth(const P& p, const square_root<T, N, M>& form,
                                              const std::type_identity_t<observations<T, M>>& y,
                                              filter_outputs outputs = {}) {
  return std::move(smooth(p, form, std::span<const observations<T, M>>(&y, 1), outputs).front());
}

}  // namespace kalscan
