// SPDX-License-Identifier: MIT
// The checks that the filters of models of functions make of their arguments, on the host and for a device.
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <limits>
#include <span>
#include <string>

namespace kalscan::detail {

template <class Model>
using model_number = typename Model::value_type;

/// Does not compile for a model of other sizes.
template <class Model>
constexpr void explain_model_sizes() {
  static_assert(Model::states >= 1 && Model::states <= 16 && Model::observed >= 1 && Model::observed <= Model::states,
                "kalscan: models of functions have 1 to 16 states and at most as many observed components; "
                "kalman_model takes any sizes, on the host");
}

template <class Model>
series_layout one_series(std::int64_t numbers) {
  return {.longest = numbers / Model::observed};
}

/// What a verb is given, argument by argument. `accessible(argument, pointer)` throws unless the verb may follow the
/// pointer.
template <class Model, class Accessible>
class series_checks {
 public:
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;

  series_checks(const char* verb, const series_layout& series, const Accessible& accessible)
      : verb_(verb), series_(series), accessible_(accessible) {
    explain_model_sizes<Model>();
    if (series.count < 0) bad_argument(verb, "the number of series is " + std::to_string(series.count));
    if (series.longest < 0)
      bad_argument(verb, "the longest series has " + std::to_string(series.longest) + " steps");
    constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)() / (n * n);
    if (series.count > 0 && series.longest > most / series.count) {
      bad_argument(verb, {series.count, " series of ", series.longest, " steps have more numbers than can be counted"});
    }
    accessible_("offsets", series.offsets);
  }

  /// The observations: as many steps as all series have.
  void data(std::span<const T> y) {
    const std::int64_t numbers = std::ssize(y);
    if (numbers % m != 0)
      bad_argument(verb_, "y has " + std::to_string(numbers) + " numbers, which are no steps of " + std::to_string(m));
    if (series_.offsets == nullptr) require_size(verb_, "y", numbers, series_.longest * series_.count * m);
    accessible_("y", y.data());
    steps_ = numbers / m;
    if (series_.longest == 0 && steps_ > 0)
      bad_argument(verb_, {"longest is 0, y has ", steps_, " steps: give the length of the longest series"});
  }
  /// Checks an array that must be given.
  template <class X>
  void array(const char* argument, std::span<X> x, std::int64_t size) const {
    require_size(verb_, argument, std::ssize(x), size);
    accessible_(argument, x.data());
  }
  /// Checks an array of results, which may be empty.
  template <class X>
  void result(const char* argument, std::span<X> x, std::int64_t size) const {
    if (!x.empty()) array(argument, x, size);
  }

  /// Checks an array that only a diffuse prior has.
  template <class X>
  void of_diffuse(const char* argument, std::span<X> x, std::int64_t size) const {
    if (x.empty()) return;
    if (!has_diffuse_prior<Model>)
      bad_argument(verb_, argument + std::string(" is given, the model's prior is proper"));
    array(argument, x, size);
  }
  /// Checks an array that only the square-root form has.
  template <class X>
  void of_roots(const char* argument, std::span<X> x, std::int64_t size) const {
    if (x.empty()) return;
    if (!is_root<prior_type<Model>>)
      bad_argument(verb_,
                   argument + std::string(" is given, the model is not in square-root form: give square_root{model}"));
    array(argument, x, size);
  }
  /// Checks an array for the first steps under a diffuse prior: it has room for any number of them.
  template <class X>
  void first_steps(const char* argument, std::span<X> x) const {
    const std::int64_t row = series_.count * (n * n), size = std::ssize(x);
    if (has_diffuse_prior<Model> && row > 0 && size % row != 0)
      bad_argument(verb_, argument + (" has size " + std::to_string(size) + ", no multiple of " +
                                      std::to_string(row) + ", a step of each series"));
    of_diffuse(argument, x, size);
  }

  void results(const filter_arrays<T>& out) const {
    result("mean", out.mean, steps_ * n);
    result("covariance", out.covariance, steps_ * n * n);
    result("predicted_mean", out.predicted_mean, steps_ * n);
    result("predicted_covariance", out.predicted_covariance, steps_ * n * n);
    result("final_mean", out.final_mean, series_.count * n);
    result("final_covariance", out.final_covariance, series_.count * n * n);
    result("log_likelihood", out.log_likelihood, series_.count);
    result("status", out.status, series_.count);
    first_steps("directions", out.directions);
    first_steps("predicted_directions", out.predicted_directions);
    of_diffuse("final_directions", out.final_directions, series_.count * n * n);
    of_roots("covariance_root", out.covariance_root, steps_ * n * n);
    of_roots("final_covariance_root", out.final_covariance_root, series_.count * n * n);
  }
  void results(const smoother_arrays<T>& out) const {
    result("mean", out.mean, steps_ * n);
    result("covariance", out.covariance, steps_ * n * n);
    result("status", out.status, series_.count);
    first_steps("directions", out.directions);
  }
  void results(const forecast_arrays<T>& out, std::int64_t steps) const {
    if (steps < 0) bad_argument(verb_, "the number of steps is " + std::to_string(steps));
    result("mean", out.mean, series_.count * steps * n);
    result("covariance", out.covariance, series_.count * steps * n * n);
    result("y_mean", out.y_mean, series_.count * steps * m);
    result("y_covariance", out.y_covariance, series_.count * steps * m * m);
    result("status", out.status, series_.count);
    of_diffuse("directions", out.directions, series_.count * steps * n * n);
    of_diffuse("y_directions", out.y_directions, series_.count * steps * m * n);
  }
  /// What the smoother takes of the filter.
  void filtered_steps(const filter_arrays<T>& filtered) const {
    array("the filtered mean", filtered.mean, steps_ * n);
    constexpr bool roots = is_root<prior_type<Model>>;
    array(roots ? "the filtered covariance_root" : "the filtered covariance", spreads_of<Model>(filtered),
          steps_ * n * n);
    if (has_diffuse_prior<Model> && filtered.directions.empty() && steps_ > 0)
      bad_argument(verb_, "the prior is diffuse, the filtered directions are not given");
    first_steps("the filtered directions", filtered.directions);
  }
  /// What a forecast takes of the filter.
  void last_beliefs(const filter_arrays<T>& filtered) const {
    array("the last mean", filtered.final_mean, series_.count * n);
    array("the last covariance", filtered.final_covariance, series_.count * n * n);
    if (has_diffuse_prior<Model>) array("final_directions", filtered.final_directions, series_.count * n * n);
  }

 private:
  const char* verb_;
  const series_layout& series_;
  const Accessible& accessible_;
  std::int64_t steps_ = 0;
};

/// Refuses negative variances where they can be seen without asking the model for a step: of a constant model's Q and
/// R, and of a prior that is a value.
template <class Model>
void require_variances(const char* verb, const Model& model) {
  const auto require = [verb](const char* name, const auto& x) {
    for (int i = 0; i < std::remove_cvref_t<decltype(x)>::rows; ++i) {
      if (x(i, i) < 0) bad_argument(verb, {name, "(", i, ", ", i, ") is ", static_cast<double>(x(i, i)), ", no variance"});
    }
  };
  if constexpr (Model::constant) {
    require("Q", model.transition(0, 0).Q);
    require("R", model.observation(0, 0).R);
  }
  if constexpr (requires { model.prior_of.covariance; }) require("the prior's covariance", model.prior_of.covariance);
}

}  // namespace kalscan::detail
