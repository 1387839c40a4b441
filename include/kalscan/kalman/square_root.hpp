// SPDX-License-Identifier: MIT
// The Kalman filter and smoother in square-root form: for float, for long series with little noise, for vague beliefs.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/filter.hpp>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <kalscan/kalman/linalg/roots.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/steps/observation.hpp>
#include <kalscan/kalman/steps/stretch_sums.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace kalscan {

/// Asks `filter`, `smooth` and `log_likelihood` for the square-root form: filter(policy, square_root{model}, y), or
/// square_root{models} with one for each series. Refers to the models.
template <class T, int N, int M>
struct square_root {
  std::span<const kalman_model<T, N, M>> models;
  bool one_each;

  explicit square_root(const kalman_model<T, N, M>& model) : models(&model, 1), one_each(false) {}
  explicit square_root(const std::vector<kalman_model<T, N, M>>& models_) : models(models_), one_each(true) {}
  explicit square_root(const kalman_model<T, N, M>&&) = delete;  // would not live long enough
  explicit square_root(const std::vector<kalman_model<T, N, M>>&&) = delete;
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

  static matrix root_of(const gaussian_prior<T, N>& prior) {
    const Eigen::Index n = prior.covariance.rows(), columns = prior.root.cols();
    if (columns == 0 || columns > n) return root_of(prior.covariance);
    matrix root = matrix::Zero(n, n);
    root.leftCols(columns) = prior.root;
    return root;
  }

  template <class Column>
  scalar_observations<T, N, M> observe(std::int64_t t, const Column& y) const {
    return observer_.observe(t, y);
  }

  bool predicts(std::int64_t t) const { return t > 0 || model.prior.before_first_transition; }

  /// Takes a belief or an element, with numbers of type X, through the transition that leads to step t.
  template <class X, class State>
  void predict(std::int64_t t, State& x) const {
    if (!predicts(t)) return;
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
  using steps_type = square_root_steps<T, N, M>;
  using wide = typename steps_type::wide;
  using element = typename steps_type::element;

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

  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1.6;

  std::int64_t lanes() const { return std::ssize(chosen.numbers); }
  std::int64_t length() const { return chosen.longest; }
  bool splits() const { return !chosen.exact; }
  state_type act(const element& x, const state_type& s) const {
    return {cast<T>(kalscan::act(x, cast<wide>(s.belief))), s.rounding};
  }

  struct lane_type {
    const square_root_filter_sweep* sweep;
    const steps_type* steps;
    const observations<T, M>* y;
    filter_recorder<T, N, M> record;

    std::int64_t time(std::int64_t s) const { return record.result->beginning.size() + s; }

    state_type start() const {
      const std::int64_t done = time(0), last = record.column(done - 1);
      const auto column = static_cast<std::size_t>(last);
      const auto& prior = steps->model.prior;
      state_type x{{prior.mean, steps_type::root_of(prior)}, {}};
      if (exact()) {
        x.rounding.E =
            root_rounding<T, N>::unit(prior.mean.size()) * prior.covariance.diagonal().asDiagonal().toDenseMatrix();
        if (prior.rounding.size() > 0) x.rounding.E += prior.rounding;
      }
      if (done > 0) {
        x.belief = {record.result->mean.col(last), steps_type::root_of(record.result->covariance[column])};
        if (exact()) x.rounding.E = record.result->rounding[column];
      }
      if (!record.keeps()) sweep->sums->add(x.sum, record.series, 0, record.result->log_likelihood);
      return x;
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& state) const {
      const std::int64_t t = time(s);
      if (t >= y->cols()) return;
      auto& [mean, root] = state.belief;
      const auto before = exact() ? root : Eigen::Matrix<T, N, N>();
      steps->template predict<T>(t, state.belief);
      if (exact() && steps->predicts(t)) state.rounding.predict(steps->model.F[t], before, root);
      if (record.outputs.predictions) record.predicted(t, mean, times(root, root.transpose()));
      const auto o = steps->observe(t, y->col(t));
      if (record.outputs.innovations) innovation(t, state.belief);
      T log_density = 0;
      for (Eigen::Index i = 0; i < o.count; ++i) log_density += take(t, o, i, state);
      if (exact()) state.rounding.clear(root);
      if (!record.keeps()) {
        require_finite_belief("filtered", record.series, t, mean, root);
        sweep->sums->add(state.sum, record.series, s, log_density);
        return;
      }
      record.filtered(t, mean, times(root, root.transpose()), log_density);
      const auto index = static_cast<std::size_t>(t);
      record.result->covariance_root[index] = root;
      if (exact()) {
        auto& E = record.result->rounding[index];
        E = state.rounding.E;
        E.diagonal() += new_rounding(record.result->covariance[index].diagonal());
      }
    }

    element lift(std::int64_t s) const {
      element x = no_steps<wide, N>(steps->model.states());
      absorb(s, x);
      return x;
    }
    void absorb(std::int64_t s, element& x) const {
      const std::int64_t t = time(s);
      if (t < y->cols()) steps->absorb(t, y->col(t), x);
    }

   private:
    /// Whether something may be observed without noise.
    bool exact() const { return !record.result->rounding.empty(); }

    /// Takes component i of an observation; returns its log-density.
    T take(std::int64_t t, const scalar_observations<T, N, M>& o, Eigen::Index i, state_type& x) const {
      auto& [mean, root] = x.belief;
      const Eigen::Vector<T, N> h = o.H.row(i).transpose();
      const root_update<T, N> update(root, h, o.d(i));
      const T v = o.y(i) - h.dot(mean), error = exact() ? 4 * x.rounding.along(h) : T(0);
      if (!std::isfinite(update.s)) record.fail(t, bad_innovation);
      if (!update.tells() || (equal(o.d(i), 0) && update.s <= error)) {
        const T scale = o.terms(i) + h.cwiseAbs().dot(mean.cwiseAbs());
        if (!(std::abs(v) <= std::sqrt(std::numeric_limits<T>::epsilon()) * scale + std::sqrt(error)))
          record.fail(t, contradiction);
        return 0;
      }
      const Eigen::Vector<T, N> K = update.gain();
      mean += K * v;
      // A mean that was far away leaves rounding: what is known exactly agrees with the observation afterwards.
      if (equal(o.d(i), 0)) mean += K * (o.y(i) - h.dot(mean));
      if (exact()) x.rounding.update(h, K, root);
      update.apply(root);
      return -(v * v / update.s + std::log(2 * std::numbers::pi_v<T> * update.s)) / 2;
    }

    void innovation(std::int64_t t, const square_root_belief<T, N>& x) const {
      const auto& model = steps->model;
      const Eigen::Matrix<T, M, N> HU = times(model.H[t], x.root);
      Eigen::Vector<T, M> predicted = times(model.H[t], x.mean);
      if (!model.D.empty()) predicted += model.D[t] * model.u.col(t);
      record.innovation(t, y->col(t), predicted, times(HU, HU.transpose()) + model.R[t]);
    }
  };
  lane_type lane(std::int64_t lane) const {
    const std::int64_t i = chosen.numbers[static_cast<std::size_t>(lane)];
    const auto index = static_cast<std::size_t>(i);
    return {this, &of_series(all_steps, i), &data[index], {&results[index], outputs, i}};
  }
};

/// Goes from the last step to the first with the likelihood |Z'x_t - w|^2 of all that is observed after step t, and
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

  std::span<const steps_type> all_steps;
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
    const steps_type* steps;
    const observations<T, M>* y;
    smoother_result<T, N, M>* result;
    std::int64_t series;

    std::int64_t time(std::int64_t s) const { return y->cols() - 1 - s; }
    state_type start() const {
      const auto none = no_steps<T, N>(steps->model.states());
      return {none.Z, none.w};
    }
    void finish(const state_type&) const {}

    void replay(std::int64_t s, state_type& x) const {
      const std::int64_t t = time(s);
      if (t < 0) return;
      const auto i = static_cast<std::size_t>(t);
      square_root_belief<T, N> belief{result->filtered.mean.col(t), result->filtered.covariance_root[i]};
      observe_likelihood<square_root_belief<T, N>, T, N>(belief, x.Z, x.w);
      require_finite_belief("smoothed", series, t, belief.mean, belief.root);
      result->mean.col(t) = belief.mean;
      result->covariance[i] = times(belief.root, belief.root.transpose());
      x = sweep->act(lift(s), x);
    }

    element lift(std::int64_t s) const {
      const std::int64_t t = time(s);
      element x = no_steps<wide, N>(steps->model.states());
      if (t >= 0) steps->absorb(t, y->col(t), x);
      return x;
    }
    void absorb(std::int64_t s, element& x) const {
      if (time(s) >= 0) x = square_root_monoid<wide, N>{x.b.size()}(lift(s), x);
    }
  };
  lane_type lane(std::int64_t i) const {
    const auto index = static_cast<std::size_t>(i);
    return {this, &of_series(all_steps, i), &data[index], &results[index], i};
  }
};

template <host_policy P, class T, int N, int M>
std::vector<filter_result<T, N, M>> run_square_root_filter(const P& p, const square_root<T, N, M>& form,
                                                           std::span<const observations<T, M>> series,
                                                           filter_outputs outputs, bool keeps) {
  check_filter(form.models, series, form.one_each);
  const std::vector<filter_step<T, N, M>> steppers(form.models.begin(), form.models.end());
  auto results = start_filter<P, T, N, M>(p, steppers, series, outputs, keeps, beginning::diffuse);
  for (auto& result : results) {
    result.covariance_root.resize(result.covariance.size());
    for (std::int64_t t = 0; keeps && t < result.beginning.size(); ++t) {
      const auto index = static_cast<std::size_t>(t);
      result.covariance_root[index] = square_root_steps<T, N, M>::root_of(result.covariance[index]);
    }
  }
  const std::vector<square_root_steps<T, N, M>> steps(form.models.begin(), form.models.end());
  stretch_sums<T> sums;
  each_kind<T, N, M>(results, steppers, series, [&](const chosen_series& chosen) {
    run_sweep(p, square_root_filter_sweep<T, N, M>{steps, series, results, outputs, &sums, chosen});
  });
  sum_log_likelihood(results, sums, keeps);
  return results;
}

}  // namespace detail

/// As filter(p, model, ...), with covariances carried as roots: semi-definite whatever the rounding, and with the
/// digits that a covariance loses where its eigenvalues differ by more than 1 / epsilon. `covariance_root` is filled.
/// The beginning of a series under a diffuse prior is filtered as there, and its covariances factored. See README
/// for when to take which form, and what it costs.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<filter_result<T, N, M>> filter(
    const P& p, const square_root<T, N, M>& form, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  return detail::run_square_root_filter(p, form, series, outputs, true);
}

template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<T> log_likelihood(const P& p, const square_root<T, N, M>& form,
                                            std::type_identity_t<std::span<const observations<T, M>>> series) {
  return detail::log_likelihoods_of(detail::run_square_root_filter(p, form, series, {}, false));
}

/// As smooth(p, model, ...): the filtered belief takes all that is observed later as n more observations. Under a
/// diffuse prior, and where R is singular at some step, what is observed later has no finite information: the filtered
/// beliefs, in square-root form, are then smoothed as by smooth(p, model, filtered), and so are those of the other
/// series of the same call.
template <host_policy P, class T, int N, int M>
[[nodiscard]] std::vector<smoother_result<T, N, M>> smooth(
    const P& p, const square_root<T, N, M>& form, std::type_identity_t<std::span<const observations<T, M>>> series,
    filter_outputs outputs = {}) {
  auto filtered = filter(p, form, series, outputs);
  const bool as_covariances = std::any_of(filtered.begin(), filtered.end(), [](const auto& x) {
    return x.beginning.size() > 0 || !x.rounding.empty();
  });
  if (as_covariances) return detail::run_smoother(p, form.models, std::move(filtered));
  auto results = detail::room_to_smooth(std::move(filtered));
  const std::vector<detail::square_root_steps<T, N, M>> steps(form.models.begin(), form.models.end());
  std::int64_t longest = 0;
  for (const auto& y : series) longest = (std::max<std::int64_t>)(longest, y.cols());
  run_sweep(p, detail::square_root_smoother_sweep<T, N, M>{steps, series, results, longest});
  return results;
}

}  // namespace kalscan
