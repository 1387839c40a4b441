// SPDX-License-Identifier: MIT
// The parts of a step of a model: its readings, the prediction, the log-density of innovations, and whether it went
// well.
#pragma once

#include <cmath>
#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/small/diffuse.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>

namespace kalscan::detail {

/// The sum of the logarithms of positive numbers. Numbers are multiplied first, so that few logarithms are computed.
template <class T>
struct sum_of_logarithms {
  T product = 1, sum = 0;

  KALSCAN_HD void add(T x) {
    constexpr T big = sizeof(T) == 4 ? T(0x1p60) : T(0x1p500), small = 1 / big;  // the product of two is finite
    if (!(x > small && x < big)) {
      sum += std::log(x);
      return;
    }
    product *= x;
    if (product > small && product < big) return;
    sum += std::log(product);
    product = 1;
  }
  KALSCAN_HD T total() const { return sum + std::log(product); }
};

/// The log-density of innovations, one after the other.
template <class T>
struct log_density {
  T squares = 0;
  std::int64_t count = 0;
  sum_of_logarithms<T> variances{};

  template <int N>
  KALSCAN_HD void add(const small_innovation<T, N>& x) {
    if (equal(x.s, T(0))) return;
    const T scaled = x.v * x.scale;
    squares += scaled * scaled;
    ++count;
    variances.add(x.s);
  }
  KALSCAN_HD T total() const {
    return -(squares + static_cast<T>(count) * std::log(2 * std::numbers::pi_v<T>) + variances.total()) / 2;
  }
};

template <class Model>
KALSCAN_HD auto readings_of(const Model& model, std::int64_t series, std::int64_t t,
                            const typename Model::value_type* y) {
  using T = typename Model::value_type;
  constexpr int m = Model::observed;
  const auto matrices = model.observation(series, t);
  small_vector<T, m> value = read_matrix<small_vector<T, m>>(y);
  if constexpr (std::is_same_v<decltype(model.observation_input(series, t)), no_input>) {
    return take_apart(matrices.H, matrices.R, value);
  } else {
    const small_vector<T, m> input = model.observation_input(series, t);
    add(value, input, T(-1));
    auto o = take_apart(matrices.H, matrices.R, value);
    unrolled<m>([&](int i) { o.terms(i) += 2 * std::abs(input(i)); });
    return o;
  }
}

/// What the inputs add to the state at step t, as numbers of type X.
template <class X, class Model>
KALSCAN_HD small_vector<X, Model::states> state_input_of(const Model& model, std::int64_t series, std::int64_t t) {
  if constexpr (std::is_same_v<decltype(model.state_input(series, t)), no_input>) {
    return {};
  } else {
    return as<X>(to_small<small_vector<typename Model::value_type, Model::states>>(model.state_input(series, t)));
  }
}

template <class Model, class T, int N>
KALSCAN_HD void predict_mean(const Model& model, std::int64_t series, std::int64_t t,
                             const transition_matrices<T, N>& matrices, small_vector<T, N>& mean) {
  mean = times(matrices.F, mean);
  if constexpr (!std::is_same_v<decltype(model.state_input(series, t)), no_input>)
    add(mean, model.state_input(series, t));
}

template <class Model, class T, int N>
KALSCAN_HD void predict_by(const Model& model, std::int64_t series, std::int64_t t,
                           const transition_matrices<T, N>& matrices, small_vector<T, N>& mean,
                           small_symmetric<T, N>& P) {
  predict_mean(model, series, t, matrices, mean);
  P = congruence(matrices.F, P, matrices.Q);
  clear_null_variances(P);
}

/// Makes the belief before a step the prediction of the step.
template <class Model, class T, int N>
KALSCAN_HD void predict_belief(const Model& model, std::int64_t series, std::int64_t t, small_belief<T, N>& x) {
  predict_by(model, series, t, model.transition(series, t), x.mean, x.covariance);
}
template <class Model, class T, int N>
KALSCAN_HD void predict_belief(const Model& model, std::int64_t series, std::int64_t t, small_diffuse_belief<T, N>& x) {
  const auto matrices = model.transition(series, t);
  predict_by(model, series, t, matrices, x.mean, x.covariance);
  if (!is_proper(x)) x.directions = moved_directions(matrices.F, x);
}
template <class Model, class T, int N>
KALSCAN_HD void predict_belief(const Model& model, std::int64_t series, std::int64_t t, small_root_belief<T, N>& x) {
  predict(x, model.transition(series, t).F, state_input_of<T>(model, series, t), root_of_noise<T>(model, series, t));
}

template <class Model>
KALSCAN_HD bool predicts(const Model& model, std::int64_t t) {
  return t > 0 || model.before_first_transition;
}

/// Whether a chunk's element has forgotten the state before it: all entries of A are so small that their products would be
/// subnormal. Only the host asks, where chunks are long.
template <class T, int N>
KALSCAN_HD bool has_faded(const small_matrix<T, N, N>& A) {
#if defined(__CUDA_ARCH__)
  return false;
#else
  bool faded = true;
  for_each_entry<small_matrix<T, N, N>>([&](int i, int j) { faded = faded && std::abs(A(i, j)) < faded_bound<T>; });
  return faded;
#endif
}

/// Of the covariance only the variances are checked: they bound the covariances.
template <class T, int N>
KALSCAN_HD step_failure judge_belief(const small_belief<T, N>& x) {
  T means = 0, variances = 0;
  unrolled<N>([&](int i) {
    means += x.mean(i) * T(0);
    variances += x.covariance(i, i) * T(0);
  });
  if (equal(means + variances, T(0))) return step_failure::none;
  return equal(means, T(0)) ? step_failure::covariance : step_failure::mean;
}

template <class T, int N>
KALSCAN_HD step_failure judge_belief(const small_diffuse_belief<T, N>& x) {
  const step_failure wrong = judge_belief(small_belief<T, N>{x.mean, x.covariance});
  T sum = 0;
  unrolled<N * N>([&](int i) { sum += x.directions.x[i] * T(0); });
  return wrong == step_failure::none && !equal(sum, T(0)) ? step_failure::covariance : wrong;
}

/// Of a root the squared lengths of rows are checked, which are the variances.
template <class T, int N>
KALSCAN_HD step_failure judge_belief(const small_root_belief<T, N>& x) {
  small_belief<T, N> rows{x.mean, {}};
  for_each_entry<small_lower<T, N>>([&](int i, int j) { rows.covariance(i, i) += x.root(i, j) * T(0); });
  return judge_belief(rows);
}

/// Where the directions of step t of series number `series` (of `count`) lie in x; null if x has no room for step t.
template <int N, class T>
KALSCAN_HD T* directions_at(std::span<T> x, std::int64_t count, std::int64_t series, std::int64_t t) {
  const std::int64_t size = static_cast<std::int64_t>(x.size()), row = count * (N * N);
  if (t >= size || (t + 1) * row > size) return nullptr;
  return x.data() + (series * (size / row) + t) * (N * N);
}
/// Writes the directions of a belief there. Returns false if there is no room for them and the belief still has some.
template <class T, int N>
KALSCAN_HD bool write_directions(std::span<T> to, std::int64_t count, std::int64_t series, std::int64_t t,
                                 const small_diffuse_belief<T, N>& x) {
  if (T* at = directions_at<N>(to, count, series, t)) {
    write_matrix(at, directions_of(x));
    return true;
  }
  return !has_directions(x);
}

}  // namespace kalscan::detail
