// SPDX-License-Identifier: MIT
// The plan of a constant model: what does not depend on data, computed once a call, on the host, and given to kernels as a
// parameter. It has the covariances of a stretch in which no component is missing and the gains of its steps, and the
// covariances and gains of steps whose covariances have settled.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/form.hpp>
#include <kalscan/kalman/series/settled.hpp>
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/kalman/series/step.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/support/config.hpp>
#include <limits>
#include <type_traits>

namespace kalscan::detail {

/// As settled_filter, with a known limit: a covariance that is close enough to the limit is replaced by it.
template <class Plan>
struct planned_settled_filter {
  const Plan* plan;
  bool hold = false;

  template <class Belief>
  KALSCAN_HD void enter(Belief& x) {
    hold = plan->filter.hold && same_but_rounding(plan->filtered, x.covariance, plan->close);
    if (hold) x.covariance = plan->filtered;
  }
  template <class Innovation>
  KALSCAN_HD void keep(int, const Innovation&) {}
  template <class Covariance, class Belief, class Readings>
  KALSCAN_HD void judge(const Covariance&, Belief& after, const Readings&) {
    enter(after);
  }
  template <class Readings>
  KALSCAN_HD bool serve(const Readings& o) const {
    return hold && all_present(o);
  }
  template <class Readings, class Mean, class Seen>
  KALSCAN_HD void observe(const Readings& o, Mean& mean, Seen seen) const {
    plan->filter.observe(o, mean, seen);
  }
};

/// As settled_smoother, with a known limit of J, the information of later data.
template <class Plan>
struct planned_settled_smoother {
  using likelihood = small_likelihood<typename Plan::T, Plan::n>;
  using covariance = small_symmetric<typename Plan::T, Plan::n>;
  using matrix = small_matrix<typename Plan::T, Plan::n, Plan::n>;
  const Plan* plan;
  bool hold = false, filtered_known = false;

  KALSCAN_HD void enter(likelihood& later) {
    hold = plan->smoother.hold && same_but_rounding(plan->smoother.J, later.J, plan->close);
    if (hold) later.J = plan->smoother.J;
  }
  /// To be called for steps without missing components that follow one whose filtered covariance is P.
  KALSCAN_HD void enter_filtered(const covariance& P) {
    filtered_known = same_but_rounding(plan->filtered, P, plan->close);
  }
  KALSCAN_HD bool knows_filtered() const { return filtered_known; }
  KALSCAN_HD void begin(const likelihood&) {}
  template <class Told, class Innovation>
  KALSCAN_HD void keep(int, const Told&, const Innovation&) {}
  KALSCAN_HD void judge(const covariance&, const matrix&, const covariance&, const covariance&, likelihood& before,
                        bool) {
    enter(before);
  }
  KALSCAN_HD const auto& of_step(covariance& smoothed) const {
    smoothed = plan->smoothed;
    return plan->smoother;
  }
};

/// A, C and J of the element of a stretch of `steps` steps without missing components, with the transition to the first of
/// them. Not planned where steps is 0.
template <class T, int N>
struct stretch_covariances {
  std::int64_t steps = 0;
  small_matrix<T, N, N> A{};
  small_symmetric<T, N> C{}, J{};
};

template <class T, int N, int M>
struct settled_plan {
  stretch_covariances<T, N> long_stretch{}, short_stretch{};
  small_symmetric<T, N> filtered{}, smoothed{};
  settled_filter<T, N, M> filter{};      // `hold` says whether the filter settles
  settled_smoother<T, N, M> smoother{};  // `hold` says whether the smoother does
  T close = 0;                           // within so much of its deviations a covariance is taken for settled
};

/// `Room`: how many bytes it may have in a kernel's parameters.
template <class T_, int N, int M, std::size_t Room>
struct constant_plan : settled_plan<T_, N, M> {
  using T = T_;
  static constexpr int n = N, m = M;

  /// Steps of the longest stretch that may be planned; 0 where there is no room.
  static constexpr int most_steps = [] {
    constexpr std::size_t gains_of_step = sizeof(step_gains<T, N, M>), rest = sizeof(settled_plan<T, N, M>);
    return rest > Room ? 0 : (std::min)(64, static_cast<int>((Room - rest) / gains_of_step) / 4 * 4);
  }();

  step_gains<T, N, M> gains[static_cast<std::size_t>(most_steps > 0 ? most_steps : 1)];  // of the steps of a stretch

  KALSCAN_HD auto filter_settling() const { return planned_settled_filter<constant_plan>{this}; }
  KALSCAN_HD auto smoother_settling() const { return planned_settled_smoother<constant_plan>{this}; }

  /// That of a stretch of so many steps, or null.
  KALSCAN_HD const stretch_covariances<T, N>* of_stretch(std::int64_t steps) const {
    if (steps == 0) return nullptr;
    if (steps == this->long_stretch.steps) return &this->long_stretch;
    return steps == this->short_stretch.steps ? &this->short_stretch : nullptr;
  }
};

/// Bytes for the plan of a model. A kernel's parameters may have 32,764, of which the model and 2 KiB are others':
/// arrays, layouts, and what alignment takes.
template <class Model>
inline constexpr std::size_t plan_room = [] {
  constexpr std::size_t most = 24 * 1024, others = sizeof(Model) + 2048;
  return others > 32'764 ? 0 : (std::min)(most, 32'764 - others);
}();
template <class Model>
using plan_of_model = constant_plan<typename Model::value_type, Model::states, Model::observed, plan_room<Model>>;

/// A constant model as it is without inputs, which may be at hand on the device alone.
template <class Model>
struct model_without_inputs {
  using value_type = typename Model::value_type;
  static constexpr int states = Model::states, observed = Model::observed;
  static constexpr bool constant = true, before_first_transition = false;

  const Model& model;

  KALSCAN_HD auto transition(std::int64_t, std::int64_t) const { return model.transition(0, 0); }
  KALSCAN_HD auto observation(std::int64_t, std::int64_t) const { return model.observation(0, 0); }
  KALSCAN_HD small_belief<value_type, states> prior(std::int64_t) const { return {}; }
  KALSCAN_HD no_input state_input(std::int64_t, std::int64_t) const { return {}; }
  KALSCAN_HD no_input observation_input(std::int64_t, std::int64_t) const { return {}; }
};

template <class Model>
struct plan_maker {
  using T = typename Model::value_type;
  static constexpr int n = Model::states, m = Model::observed;
  using plan_type = plan_of_model<Model>;
  using bare = model_without_inputs<Model>;
  using filter = filter_traversal<bare>;
  using smoother = smoother_traversal<bare>;
  using element = typename filter::element;
  static constexpr std::int64_t settling_steps = 8;
  static constexpr int most_doublings = 16;
  /// If distances to the limit shrink by c a step, a covariance whose step changes it by 4 epsilon of its deviations is
  /// 4 epsilon / (1 - c) away. Those of chunks come through elements, with more rounding.
  static constexpr T epsilon = std::numeric_limits<T>::epsilon(), closest = 16 * epsilon, farthest = 1024 * epsilon;

  bare model;
  plan_type plan;
  std::array<T, static_cast<std::size_t>(settling_steps + 1) * n> zeros{};

  /// Returns what the last step leaves.
  element make_stretches(std::int64_t steps, std::int64_t short_steps) {
    element x{};
    for (std::int64_t j = 0; j < steps; ++j) {
      if (j == 0) {
        begin_element(model, 0, 1, small_vector<T, n>{}, x);
      } else {
        predict_element<residues::kept>(model, 0, 1, x);
      }
      auto& gains = plan.gains[j];
      observe_into(x, readings_of(model, 0, 1, zeros.data()),
                   [&](int k, const auto& told, const auto& innovation) { gains.keep(k, told, innovation); });
      if (!is_finite(x)) break;
      if (j + 1 == steps) plan.long_stretch = {steps, x.A, x.C, x.J};
      if (j + 1 == short_steps) plan.short_stretch = {short_steps, x.A, x.C, x.J};
    }
    return x;
  }
  static bool is_finite(const element& x) {
    T sum = x.b(0) + x.eta(0);
    for (int i = 0; i < n; ++i) {
      sum += x.C(i, i) + x.J(i, i);
      for (int j = 0; j < n; ++j) sum += x.A(i, j);
    }
    return std::isfinite(sum);
  }

  using covariance = small_symmetric<T, n>;
  /// A stretch, doubled until C and J do not change any more, and whether they came to that. `shrinks`: the factor by
  /// which a step multiplies what the state before tells, in the deviations of C.
  struct repeated_stretch {
    element x;
    bool C_settles = false, J_settles = false;
    T shrinks = 1;
  };
  static repeated_stretch repeat(const element& first, std::int64_t steps) {
    repeated_stretch many{first};
    for (int k = 0; k < most_doublings && !(many.C_settles && many.J_settles); ++k) {
      const element before = many.x;
      many.x = filter::combine(before, before);
      if (!is_finite(many.x)) return {first};
      steps *= 2;
      const T left = what_is_left(many.x);
      if (left < T(0.5) && equal(many.shrinks, T(1))) many.shrinks = std::pow(left, T(1) / static_cast<T>(steps));
      many.C_settles = left < T(0.5) && same_but_rounding(before.C, many.x.C, closest);
      many.J_settles = same_but_rounding(before.J, many.x.J, closest);
    }
    return many;
  }
  static T what_is_left(const element& x) {
    T most = 0;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        if (x.C(i, i) > 0 && x.C(j, j) > 0)
          most = (std::max)(most, std::abs(x.A(i, j)) * std::sqrt(x.C(j, j) / x.C(i, i)));
      }
    }
    return most;
  }

  /// Steps of a filter whose covariance goes to C; its distance to that shrinks by the square of `shrinks`.
  void settle_filter(const covariance& C, T shrinks) {
    const filter x{model, {.longest = settling_steps + 1}, zeros.data(), {}, settling_steps + 1};
    typename filter::replay_type steps(x, 0, 1, settling_steps + 1, {{}, C}, {});
    for (std::int64_t j = 0; j < steps.steps(); ++j) steps.step(j);
    plan.filtered = steps.after().covariance;
    plan.filter = steps.settled();
    plan.close = (std::min)(farthest, (std::max)(closest, 4 * epsilon / (1 - shrinks * shrinks)));
    plan.filter.hold = same_but_rounding(C, plan.filtered, plan.close);
    for (int k = 0; k < m; ++k) plan.filter.hold = plan.filter.hold && plan.filter.s(k) > 0;
  }
  /// And of a smoother, by later data that have settled on J.
  void settle_smoother(const covariance& J) {
    std::array<T, static_cast<std::size_t>(2 * n * n)> filtered{};
    store(filtered.data(), plan.filtered), store(filtered.data() + n * n, plan.filtered);
    const smoother x{model, {.longest = 2}, zeros.data(), zeros.data(), filtered.data(), {}, 1};
    typename smoother::replay_type steps(x, 0, {{}, J}, 1, 1, true, 0);
    plan.smoothed = steps.step(0).covariance;
    plan.smoother = steps.settled();
    plan.smoother.hold = same_but_rounding(J, steps.after().J, plan.close);
  }
};

/// The plan of a model whose chunks have `steps` steps, or `short_steps`; of a smoother, or of a filter alone.
/// Stretches of more than most_steps steps are not planned.
template <class Model>
auto plan_of(const Model& model, std::int64_t steps, std::int64_t short_steps, bool smooths) {
  plan_maker<Model> x{{model}, {}};
  const std::int64_t planned = (std::min)(steps, std::int64_t{x.plan.most_steps});
  const auto stretch = x.make_stretches(planned, short_steps);
  if (planned < steps) x.plan.long_stretch.steps = 0;
  const auto many = plan_maker<Model>::repeat(stretch, planned);
  if (many.C_settles) x.settle_filter(many.x.C, many.shrinks);
  if (smooths && many.J_settles && x.plan.filter.hold) x.settle_smoother(many.x.J);
  return x.plan;
}

/// Whether a device plans a model: from 7 states on, where taking covariances along costs more than the plan, if that
/// fits a kernel's parameters with enough steps for a chunk.
template <class Model>
inline constexpr bool has_plan = [] {
  if constexpr (Model::constant &&
                std::is_same_v<prior_type<Model>, small_belief<typename Model::value_type, Model::states>>) {
    return Model::states > 6 && plan_of_model<Model>::most_steps >= 16;
  } else {
    return false;
  }
}();

}  // namespace kalscan::detail
