// SPDX-License-Identifier: MIT
// What a series carries from step to step, and how a stretch of its steps is summed up: the form of a filter, which
// follows from the type of a model's prior. A stretch, whatever its form, is x_out | x_in ~ N(A x_in + b, ...).
#pragma once

#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/functions/square_root.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/diffuse.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/support/config.hpp>
#include <span>
#include <type_traits>

namespace kalscan::detail {

template <class Belief>
struct form_of;

/// With covariances. Of the smoother, what later data say (later_data) and what a stretch does to that.
template <class T, int N>
struct form_of<small_belief<T, N>> {
  using number = T;  // of the following
  using stretch = small_filtering_element<T, N>;
  using stretch_monoid = small_filtering_monoid<T, N>;
  using later_data = small_likelihood<T, N>;
  using later_stretch = stretch;
  using later_monoid = stretch_monoid;
  using element = stretch;
  using monoid = stretch_monoid;
};
/// The same, where a chunk may begin a series under a diffuse prior. Later data are equations, for diffuse_smoothing.hpp.
template <class T, int N>
struct form_of<small_diffuse_belief<T, N>> : form_of<small_belief<T, N>> {
  static constexpr residues cleared = residues_of<small_diffuse_belief<T, N>>;
  using stretch_monoid = small_filtering_monoid<T, N, cleared>;
  using number = wide<T>;
  using later_stretch = small_root_element<number, N>;
  using later_monoid = small_root_monoid<number, N, cleared>;
  using later_data = small_root_likelihood<number, N>;
  using element = small_diffuse_element<T, N>;
  using monoid = small_diffuse_monoid<T, N>;
};
/// With roots.
template <class T, int N>
struct form_of<small_root_belief<T, N>> {
  using number = wide<T>;
  using stretch = small_root_element<number, N>;
  using stretch_monoid = small_root_monoid<number, N>;
  using later_data = small_root_likelihood<number, N>;
  using later_stretch = stretch;
  using later_monoid = stretch_monoid;
  using element = stretch;
  using monoid = stretch_monoid;
};
template <class Model>
using form_of_model = form_of<prior_type<Model>>;

/// Lets a stretch lead to a belief.
template <class T, int N, class Belief>
KALSCAN_HD void lead_to(small_filtering_element<T, N>& x, const Belief& belief) {
  x.b = belief.mean;
  x.C = belief.covariance;
}
template <class X, class T, int N>
KALSCAN_HD void lead_to(small_root_element<X, N>& x, const small_root_belief<T, N>& belief) {
  x.b = as<X>(belief.mean);
  x.U = as<X>(belief.root);
}
/// The belief after a stretch that forgets what was before it.
template <class T, int N, class Belief>
KALSCAN_HD void belief_after(const small_filtering_element<T, N>& x, Belief& belief) {
  belief.mean = x.b;
  belief.covariance = x.C;
}
template <class X, class T, int N>
KALSCAN_HD void belief_after(const small_root_element<X, N>& x, small_root_belief<T, N>& belief) {
  belief = {as<T>(x.b), as<T>(x.U)};
}

/// Goes on with the transition that leads to step t.
template <residues Residues, class Model, class T, int N>
KALSCAN_HD void predict_stretch(const Model& model, std::int64_t series, std::int64_t t,
                                small_filtering_element<T, N>& x) {
  const auto matrices = model.transition(series, t);
  x.A = times<Residues>(matrices.F, x.A);
  predict_by(model, series, t, matrices, x.b, x.C);
}
template <residues Residues, class Model, class X, int N>
KALSCAN_HD void predict_stretch(const Model& model, std::int64_t series, std::int64_t t, small_root_element<X, N>& x) {
  predict<Residues>(x, as<X>(model.transition(series, t).F), state_input_of<X>(model, series, t),
                    root_of_noise<X>(model, series, t));
}

/// The transition that leads to step t, of a state counted from `mean`.
template <class Model, class T, int N>
KALSCAN_HD void begin_stretch(const Model& model, std::int64_t series, std::int64_t t, const small_vector<T, N>& mean,
                              small_filtering_element<T, N>& x) {
  const auto matrices = model.transition(series, t);
  x = {matrices.F, mean, matrices.Q, {}, {}};
  predict_mean(model, series, t, matrices, x.b);
  clear_null_variances(x.C);
}
template <class Model, class T, class X, int N>
KALSCAN_HD void begin_stretch(const Model& model, std::int64_t series, std::int64_t t, const small_vector<T, N>& mean,
                              small_root_element<X, N>& x) {
  x = {as<X>(model.transition(series, t).F), as<X>(mean), root_of_noise<X>(model, series, t), {}, {}};
  x.b = times(x.A, x.b);
  add(x.b, state_input_of<X>(model, series, t));
}

/// What a belief has of its covariance: that, or a root.
template <class Belief>
KALSCAN_HD const auto& spread_of(const Belief& x) {
  if constexpr (is_root<Belief>) {
    return x.root;
  } else {
    return x.covariance;
  }
}
/// The array of the filter that the smoother reads it from.
template <class Model>
auto spreads_of(const filter_arrays<typename Model::value_type>& filtered) {
  if constexpr (is_root<prior_type<Model>>) {
    return filtered.covariance_root;
  } else {
    return filtered.covariance;
  }
}

}  // namespace kalscan::detail
