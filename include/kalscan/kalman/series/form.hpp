// SPDX-License-Identifier: MIT
// The form of a filter, which follows from the type of a model's prior: what is carried from step to step, and which
// element summarizes a stretch of steps. Elements of all forms have the fields A and b of x_out | x_in ~ N(A x_in + b, ...).
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

/// With covariances. A proper element is one of a stretch in which nothing is diffuse. The smoother carries later_data,
/// what later data say of a state, back through elements of the type later_element.
template <class T, int N>
struct form_of<small_belief<T, N>> {
  using number = T;  // of elements and later_data
  using proper_element = small_filtering_element<T, N>;
  using proper_monoid = small_filtering_monoid<T, N>;
  using later_data = small_likelihood<T, N>;
  using later_element = proper_element;
  using later_monoid = proper_monoid;
  using element = proper_element;
  using monoid = proper_monoid;
};
/// The same under a diffuse prior, with which a series may begin in a chunk. Later data are equations
/// (small/diffuse_smoothing.hpp).
template <class T, int N>
struct form_of<small_diffuse_belief<T, N>> : form_of<small_belief<T, N>> {
  static constexpr residues cleared = residues_of<small_diffuse_belief<T, N>>;
  using number = wide<T>;
  using later_element = small_root_element<number, N>;
  using later_monoid = small_root_monoid<number, N, cleared>;
  using later_data = small_root_likelihood<number, N>;
  using element = small_diffuse_element<T, N>;
  using monoid = small_diffuse_monoid<T, N>;
};
/// With roots.
template <class T, int N>
struct form_of<small_root_belief<T, N>> {
  using number = wide<T>;
  using proper_element = small_root_element<number, N>;
  using proper_monoid = small_root_monoid<number, N>;
  using later_data = small_root_likelihood<number, N>;
  using later_element = proper_element;
  using later_monoid = proper_monoid;
  using element = proper_element;
  using monoid = proper_monoid;
};
template <class Model>
using form_of_model = form_of<prior_type<Model>>;

/// Lets an element lead to a belief, whatever was before.
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
/// The belief after the steps of an element that forgets what was before it.
template <class T, int N, class Belief>
KALSCAN_HD void belief_after(const small_filtering_element<T, N>& x, Belief& belief) {
  belief.mean = x.b;
  belief.covariance = x.C;
}
template <class X, class T, int N>
KALSCAN_HD void belief_after(const small_root_element<X, N>& x, small_root_belief<T, N>& belief) {
  belief = {as<T>(x.b), as<T>(x.U)};
}

/// Extends an element by the transition that leads to step t.
template <residues Residues, class Model, class T, int N>
KALSCAN_HD void predict_element(const Model& model, std::int64_t series, std::int64_t t,
                                small_filtering_element<T, N>& x) {
  const auto matrices = model.transition(series, t);
  x.A = times<Residues>(matrices.F, x.A);
  predict_by(model, series, t, matrices, x.b, x.C);
}
template <residues Residues, class Model, class X, int N>
KALSCAN_HD void predict_element(const Model& model, std::int64_t series, std::int64_t t, small_root_element<X, N>& x) {
  predict<Residues>(x, as<X>(model.transition(series, t).F), state_input_of<X>(model, series, t),
                    root_of_noise<X>(model, series, t));
}

/// The element of the transition that leads to step t, from a state that is given as its difference from `mean`.
template <class Model, class T, int N>
KALSCAN_HD void begin_element(const Model& model, std::int64_t series, std::int64_t t, const small_vector<T, N>& mean,
                              small_filtering_element<T, N>& x) {
  const auto matrices = model.transition(series, t);
  x = {matrices.F, mean, matrices.Q, {}, {}};
  predict_mean(model, series, t, matrices, x.b);
  clear_null_variances(x.C);
}
template <class Model, class T, class X, int N>
KALSCAN_HD void begin_element(const Model& model, std::int64_t series, std::int64_t t, const small_vector<T, N>& mean,
                              small_root_element<X, N>& x) {
  x = {as<X>(model.transition(series, t).F), as<X>(mean), root_of_noise<X>(model, series, t), {}, {}};
  x.b = times(x.A, x.b);
  add(x.b, state_input_of<X>(model, series, t));
}

/// The covariance of a belief, or the root that it has in place of that.
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
