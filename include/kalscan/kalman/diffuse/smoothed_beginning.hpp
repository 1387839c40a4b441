// SPDX-License-Identifier: MIT
// Smooths the beginning of a series, whose steps are not ordinary ones, from what the later data say of its end.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <cstdint>
#include <kalscan/kalman/diffuse/smoother.hpp>
#include <kalscan/kalman/linalg/dense.hpp>
#include <kalscan/kalman/model/diffuse_history.hpp>
#include <optional>

namespace kalscan::detail {

/// A smoothed series of a model of any sizes, as the steps of its beginning see it.
template <class T>
class smoothed_beginning {
 public:
  using view = dense_view<T>;
  using belief = typename diffuse_smoother<T>::belief;

  struct step {
    view F, Q;
  };

  std::int64_t end = 0;  // the last step of the beginning
  bool later = false;    // there are data after the beginning

  virtual step leading_to(std::int64_t t) = 0;
  virtual void write(std::int64_t t, const belief& x) = 0;
  virtual void push_diffuse(const dense_matrix<T>& diffuse) = 0;

 protected:
  ~smoothed_beginning() = default;
};

/// Smooths the beginning with what is known of its end.
template <class T>
void smooth_steps(smoothed_beginning<T>& steps, const diffuse_history<T>& history,
                  std::optional<diffuse_smoother<T>> backwards) {
  auto earlier = history.earlier.rbegin();
  latest_root<T> noise;
  for (std::int64_t t = steps.end, first = history.begin; t >= 0; --t) {
    const auto x = backwards->step(t);
    if (t < steps.end) steps.write(t, x);
    if (!x.proper) steps.push_diffuse(x.diffuse);
    if (t == 0) break;
    if (t > first) {
      const auto step = steps.leading_to(t);
      backwards->transition(t - 1, step.F, noise.of(step.Q));
    } else {
      const auto unknowns = backwards->first_unknowns();
      backwards.emplace(*earlier, unknowns);
      first = earlier++->begin;
    }
  }
}

/// Smooths the beginning, when its last state is: `change` is what the later data have added to the mean of that.
template <class T>
void smooth_from_end(smoothed_beginning<T>& steps, const diffuse_history<T>& history, const dense_vector<T>& change,
                     const dense_view<T>& smoothed) {
  smooth_steps<T>(steps, history, diffuse_smoother<T>(history, steps.later, change, smoothed));
}

/// The same where the later data are readings Z'x = Z' mean + v + N(0, I) of that state.
template <class T>
void smooth_from_readings(smoothed_beginning<T>& steps, const diffuse_history<T>& history, const dense_matrix<T>& Z,
                          const dense_vector<T>& v) {
  smooth_steps<T>(steps, history, diffuse_smoother<T>(history, Z, v));
}

}  // namespace kalscan::detail
