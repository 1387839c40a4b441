// SPDX-License-Identifier: MIT
// The matrix filter's calls on the CPU, with dynamic sizes.
#pragma once

#include <kalscan/kalman/filter.hpp>  // first: Eigen

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <kalscan/backend/omp.hpp>
#include <kalscan/kalman/smoother.hpp>
#include <kalscan/kalman/square_root.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "calls.hpp"
#include "kalman_call.hpp"

namespace kalscan::c {

template <class T>
struct host_kalman {
  static constexpr int any = Eigen::Dynamic;
  using matrix = Eigen::Matrix<T, any, any>;
  using model_type = kalman_model<T, any, any>;
  using series_type = std::vector<observations<T, any>>;
  using filtered_type = filter_result<T, any, any>;

  /// The matrix at index t of an array of matrices, or the array itself.
  static matrix matrix_of(const DLTensor& x, std::int64_t t) {
    const std::size_t first = x.ndim == 3 ? 1 : 0;
    matrix result(x.shape[first], x.shape[first + 1]);
    const T* data = data_of<const T>(x) + (first == 1 ? t * stride_of(x, 0) : 0);
    for (Eigen::Index i = 0; i < result.rows(); ++i)
      for (Eigen::Index j = 0; j < result.cols(); ++j)
        result(i, j) = data[i * stride_of(x, first) + j * stride_of(x, first + 1)];
    return result;
  }
  static per_step<matrix> matrices(const char* name, const DLTensor* x) {
    if (x == nullptr) return {};
    require_type<T>(name, *x);
    if (x->ndim == 2) return matrix_of(*x, 0);
    require_axes(name, *x, 3, "a matrix, or [T, rows, columns]");
    std::vector<matrix> all;
    for (std::int64_t t = 0; t < x->shape[0]; ++t) all.push_back(matrix_of(*x, t));
    return all;
  }
  static Eigen::Vector<T, any> vector(const char* name, const DLTensor& x) {
    require_type<T>(name, x);
    require_axes(name, x, 1, "[n]");
    Eigen::Vector<T, any> result(x.shape[0]);
    for (Eigen::Index i = 0; i < result.size(); ++i) result(i) = data_of<const T>(x)[i * stride_of(x, 0)];
    return result;
  }

  static gaussian_prior<T, any> prior_of(const kalscan_model& model) {
    const bool given = model.prior_mean != nullptr || model.prior_covariance != nullptr;
    if (given && (model.prior_mean == nullptr || model.prior_covariance == nullptr))
      bad(std::string("the prior's ") + (model.prior_mean == nullptr ? "mean" : "covariance") + " is not given");
    gaussian_prior<T, any> prior;
    if (given) {
      prior.mean = vector("the prior's mean", *model.prior_mean);
      require_type<T>("the prior's covariance", *model.prior_covariance);
      require_axes("the prior's covariance", *model.prior_covariance, 2, "[n, n]");
      prior.covariance = matrix_of(*model.prior_covariance, 0);
    } else if (model.F != nullptr && model.F->ndim >= 1) {
      prior = gaussian_prior<T, any>::all_diffuse(model.F->shape[model.F->ndim - 1]);
    }
    prior.before_first_transition = model.before_first_step != 0;
    if (model.diffuse != nullptr) {
      const DLTensor& x = *model.diffuse;
      if (!given) bad("diffuse is given, the prior is not: without a prior all components are diffuse");
      if (x.dtype.bits != 8) bad("diffuse is " + name_of(x.dtype) + ", not bool or uint8");
      require_axes("diffuse", x, 1, "[n]");
      for (std::int64_t i = 0; i < x.shape[0]; ++i)
        prior.diffuse.push_back(data_of<const std::uint8_t>(x)[i * stride_of(x, 0)] != 0);
    }
    return prior;
  }
  static model_type model_of(const kalscan_model& x) {
    model_type model{matrices("F", x.F), matrices("Q", x.Q), matrices("H", x.H), matrices("R", x.R), prior_of(x),
                     matrices("B", x.B), matrices("D", x.D)};
    if (x.u == nullptr) return model;
    require_type<T>("u", *x.u);
    require_axes("u", *x.u, 2, "[T, k]");
    model.u = matrix_of(*x.u, 0).transpose();
    return model;
  }

  /// Where the series lie among the steps.
  static std::vector<std::int64_t> bounds(const kalman_call& call) {
    require_type<T>("y", call.y);
    require_axes("y", call.y, 2, "[T, m]");
    const auto given = offsets_of(call.offsets);
    if (given.empty()) return {0, call.y.shape[0]};
    if (given.front() != 0) bad("offsets[0] is " + std::to_string(given.front()) + ", not 0");
    for (std::size_t i = 1; i < given.size(); ++i) {
      if (given[i] < given[i - 1])
        bad("offsets[" + std::to_string(i) + "] is " + std::to_string(given[i]) + ", less than " +
            std::to_string(given[i - 1]));
    }
    if (given.back() != call.y.shape[0])
      bad("the last offset is " + std::to_string(given.back()) + ", not the " + std::to_string(call.y.shape[0]) +
          " steps of y");
    return {given.begin(), given.end()};
  }
  static series_type series_of(const kalman_call& call, const std::vector<std::int64_t>& bound) {
    series_type series;
    const T* data = data_of<const T>(call.y);
    for (std::size_t n = 0; n + 1 < bound.size(); ++n) {
      observations<T, any> y(call.y.shape[1], bound[n + 1] - bound[n]);
      for (Eigen::Index t = 0; t < y.cols(); ++t)
        for (Eigen::Index i = 0; i < y.rows(); ++i)
          y(i, t) = data[(bound[n] + t) * stride_of(call.y, 0) + i * stride_of(call.y, 1)];
      series.push_back(std::move(y));
    }
    return series;
  }

  /// An array that is written, at [t, i, j] of as many axes as it has.
  struct target {
    const DLTensor* x = nullptr;

    void set(T value, std::int64_t t, std::int64_t i = 0, std::int64_t j = 0) const {
      const std::int64_t index[] = {t, i, j};
      std::int64_t at = 0;
      const auto axes = static_cast<std::size_t>(x->ndim);
      for (std::size_t axis = 0; axis < axes; ++axis) at += index[axis] * stride_of(*x, axis);
      data_of<T>(*x)[at] = value;
    }
    void set_column(const matrix& columns, std::int64_t column, std::int64_t t) const {
      if (x == nullptr) return;
      for (Eigen::Index i = 0; i < columns.rows(); ++i) set(columns(i, column), t, i);
    }
    template <class Matrix>
    void set_matrix(const std::vector<Matrix>& all, std::int64_t k, std::int64_t t) const {
      if (x == nullptr) return;
      const bool there = k < std::ssize(all);
      for (std::int64_t i = 0; i < x->shape[1]; ++i)
        for (std::int64_t j = 0; j < x->shape[2]; ++j)
          set(there ? all[static_cast<std::size_t>(k)](i, j) : T(0), t, i, j);
    }
  };
  static target written(const std::string& name, const DLTensor* x, std::initializer_list<std::int64_t> shape) {
    if (x == nullptr) return {};
    require_type<T>(name, *x);
    require_shape(name, *x, std::span(shape.begin(), shape.size()));
    require_own_elements(name, *x);
    return {x};
  }

  struct belief_targets {
    target mean, covariance, diffuse;

    belief_targets(const std::string& of, const kalscan_beliefs& x, std::int64_t steps, std::int64_t n)
        : mean(written("the " + of + " mean", x.mean, {steps, n})),
          covariance(written("the " + of + " covariance", x.covariance, {steps, n, n})),
          diffuse(written("the " + of + " diffuse part", x.diffuse, {steps, n, n})) {}
    template <class Mean, class Matrices>
    void set(const Mean& means, const Matrices& covariances, const Matrices& diffuse_parts, std::int64_t k,
             std::int64_t t) const {
      mean.set_column(means, k, t);
      covariance.set_matrix(covariances, k, t);
      diffuse.set_matrix(diffuse_parts, k, t);
    }
  };
  struct filter_targets {
    belief_targets filtered, predicted;
    target innovation, innovation_covariance, terms, sums;
    bool predicts, innovates;

    filter_targets(const kalscan_filtered& x, std::int64_t steps, std::int64_t n, std::int64_t m, std::int64_t series)
        : filtered("filtered", x.filtered, steps, n),
          predicted("predicted", x.predicted, steps, n),
          innovation(written("innovation", x.innovation, {steps, m})),
          innovation_covariance(written("innovation_covariance", x.innovation_covariance, {steps, m, m})),
          terms(written("log_likelihood_terms", x.log_likelihood_terms, {steps})),
          sums(written("log_likelihood", x.log_likelihood, {series})),
          predicts(x.predicted.mean != nullptr || x.predicted.covariance != nullptr || x.predicted.diffuse != nullptr),
          innovates(x.innovation != nullptr || x.innovation_covariance != nullptr) {}
    filter_outputs outputs() const { return {predicts, innovates}; }
    void set(const filtered_type& x, std::int64_t series, std::int64_t first) const {
      for (Eigen::Index k = 0; k < x.mean.cols(); ++k) {
        const std::int64_t t = first + k;
        filtered.set(x.mean, x.covariance, x.diffuse, k, t);
        if (predicts) predicted.set(x.predicted_mean, x.predicted_covariance, x.predicted_diffuse, k, t);
        if (innovates) innovation.set_column(x.innovation, k, t);
        if (innovates) innovation_covariance.set_matrix(x.innovation_covariance, k, t);
        if (terms.x != nullptr) terms.set(x.log_likelihood_terms[static_cast<std::size_t>(k)], t);
      }
      if (sums.x != nullptr) sums.set(x.log_likelihood, series);
    }
  };

  /// What every call has read and checked before it computes.
  struct prepared {
    model_type model;
    std::vector<std::int64_t> bound;
    series_type series;
    std::int64_t steps, n, m;
    filter_targets targets;

    explicit prepared(const kalman_call& call)
        : model(model_of(call.model)), bound(bounds(call)), series(series_of(call, bound)), steps(call.y.shape[0]),
          n(model.F.empty() ? 0 : model.F.cols(0)), m(call.y.shape[1]),
          targets(call.filtered, steps, n, m, std::ssize(series)) {}

    /// f(model, series), the model in the form that is asked for.
    template <class F>
    auto with_form(const kalman_call& call, F f) const {
      const std::span<const observations<T, any>> all(series);
      try {
        return call.model.square_root != 0 ? f(kalscan::square_root(model), all) : f(model, all);
      } catch (const filter_error& error) {
        throw failed_step(error.what());
      }
    }
  };
  static omp policy(const kalman_call& call) { return {call.run.threads, call.run.chunk}; }

  static void filter(const kalman_call& call) {
    const prepared x(call);
    const auto results = x.with_form(call, [&](const auto& model, auto series) {
      return kalscan::filter(policy(call), model, series, x.targets.outputs());
    });
    for (std::size_t i = 0; i < results.size(); ++i)
      x.targets.set(results[i], static_cast<std::int64_t>(i), x.bound[i]);
  }
  static void log_likelihood(const kalman_call& call) {
    const prepared x(call);
    const auto sums = x.with_form(
        call, [&](const auto& model, auto series) { return kalscan::log_likelihood(policy(call), model, series); });
    for (std::size_t i = 0; i < sums.size(); ++i)
      if (x.targets.sums.x != nullptr) x.targets.sums.set(sums[i], static_cast<std::int64_t>(i));
  }
  static void smooth(const kalman_call& call) {
    const prepared x(call);
    const belief_targets smoothed("smoothed", call.smoothed, x.steps, x.n);
    const auto results = x.with_form(call, [&](const auto& model, auto series) {
      return kalscan::smooth(policy(call), model, series, x.targets.outputs());
    });
    for (std::size_t i = 0; i < results.size(); ++i) {
      for (Eigen::Index k = 0; k < results[i].mean.cols(); ++k)
        smoothed.set(results[i].mean, results[i].covariance, results[i].diffuse, k, x.bound[i] + k);
      x.targets.set(results[i].filtered, static_cast<std::int64_t>(i), x.bound[i]);
    }
  }

  static constexpr kalman_functions functions{filter, log_likelihood, smooth};
};

}  // namespace kalscan::c
