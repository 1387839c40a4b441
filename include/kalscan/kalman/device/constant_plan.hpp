// SPDX-License-Identifier: MIT
// What chunks and steps of a constant model do apart from their data, computed once, on the host, and given to kernels
// as a parameter: the covariances of a stretch with all components present and the gains of its steps, and those of
// steps whose covariances have settled.
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

/// How far a covariance may be from that which is known to settle, of the deviations: those of chunks come through
/// elements, with more rounding than those of a step.
template <class T>
inline constexpr T rounding_of_carry = 16 * std::numeric_limits<T>::epsilon();

/// settled_gains where it is known what covariances settle on: one that comes within rounding of that becomes it.
/// Others settle as they do without a plan, such as change so slowly that each step's rounding keeps them away.
template <class Plan>
struct planned_gains : settled_gains<typename Plan::T, Plan::n, Plan::m> {
  using own = settled_gains<typename Plan::T, Plan::n, Plan::m>;
  const Plan* plan;
  bool as_planned = false;

  KALSCAN_HD explicit planned_gains(const Plan* p) : own{}, plan(p) {}

  template <class Belief>
  KALSCAN_HD void enter(Belief& x) {
    as_planned =
        plan->filter_settles && same_but_rounding(plan->filtered, x.covariance, rounding_of_carry<typename Plan::T>);
    if (as_planned) x.covariance = plan->filtered;
  }
  template <class Covariance, class Belief, class Readings>
  KALSCAN_HD void judge(const Covariance& before, Belief& after, const Readings& o) {
    enter(after);
    if (!as_planned) own::judge(before, after, o);
  }
  template <class Readings>
  KALSCAN_HD bool serve(const Readings& o) const {
    return as_planned ? all_present(o) : own::serve(o);
  }
  template <class Readings, class Mean, class Seen>
  KALSCAN_HD void observe(const Readings& o, Mean& mean, Seen seen) const {
    if (as_planned) {
      plan->filter.observe(o, mean, seen);
    } else {
      own::observe(o, mean, seen);
    }
  }
};

/// settled_smoother, likewise, by what later data say.
template <class Plan>
struct planned_smoothing : settled_smoother<typename Plan::T, Plan::n, Plan::m> {
  using own = settled_smoother<typename Plan::T, Plan::n, Plan::m>;
  using likelihood = small_likelihood<typename Plan::T, Plan::n>;
  using covariance = small_symmetric<typename Plan::T, Plan::n>;
  using matrix = small_matrix<typename Plan::T, Plan::n, Plan::n>;
  const Plan* plan;
  bool as_planned = false, filtered_known = false;

  KALSCAN_HD explicit planned_smoothing(const Plan* p) : own{}, plan(p) {}

  KALSCAN_HD void enter(likelihood& later) {
    as_planned =
        plan->smoother.hold && same_but_rounding(plan->smoother.J, later.J, rounding_of_carry<typename Plan::T>);
    if (as_planned) later.J = plan->smoother.J;
    this->hold = as_planned;
  }
  /// Of steps with all components present after one whose filtered covariance is P.
  KALSCAN_HD void enter_filtered(const covariance& P) {
    filtered_known = same_but_rounding(plan->filtered, P, rounding_of_carry<typename Plan::T>);
  }
  KALSCAN_HD bool knows_filtered() const { return as_planned && filtered_known; }
  KALSCAN_HD void judge(const covariance& filtered, const matrix& A, const covariance& smoothed,
                        const covariance& later, likelihood& before, bool all) {
    enter(before);
    if (!as_planned) own::judge(filtered, A, smoothed, later, before, all);
  }
  KALSCAN_HD const own& of_step(covariance& smoothed) const {
    if (!as_planned) return *this;
    smoothed = plan->smoothed;
    return plan->smoother;
  }
};

/// Of a stretch of `steps` steps, the transition to the first of them included; none where steps is 0.
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
  settled_gains<T, N, M> filter{};
  bool filter_settles = false;
  settled_smoother<T, N, M> smoother{};  // holds where the smoother settles
};

/// `Room`: bytes that it may have, as a part of a kernel's parameters.
template <class T_, int N, int M, std::size_t Room>
struct constant_plan : settled_plan<T_, N, M> {
  using T = T_;
  static constexpr int n = N, m = M;

  /// What a step takes of an innovation of component k into b, and into eta of the state before the stretch.
  struct step_gains {
    small_matrix<T, N, M> K, g;
  };
  /// Of a stretch; 0 where there is no room.
  static constexpr int most_steps = [] {
    constexpr std::size_t taken = sizeof(settled_plan<T, N, M>) + 64;
    return taken > Room ? 0 : (std::min)(64, static_cast<int>((Room - taken) / sizeof(step_gains)) / 4 * 4);
  }();

  step_gains of_step[static_cast<std::size_t>(most_steps > 0 ? most_steps : 1)];

  KALSCAN_HD auto filter_settling() const { return planned_gains<constant_plan>(this); }
  KALSCAN_HD auto smoother_settling() const { return planned_smoothing<constant_plan>(this); }

  /// That of a stretch of so many steps, or null.
  KALSCAN_HD const stretch_covariances<T, N>* of_stretch(std::int64_t steps) const {
    if (steps == 0) return nullptr;
    if (steps == this->long_stretch.steps) return &this->long_stretch;
    return steps == this->short_stretch.steps ? &this->short_stretch : nullptr;
  }
  /// Takes step j of a stretch into b, which is its prediction, and eta.
  KALSCAN_HD void take(std::int64_t j, const independent_readings<T, N, M>& o, small_vector<T, N>& b,
                       small_vector<T, N>& eta) const {
    const step_gains& gains = of_step[j];
    unrolled<M>([&](int k) {
      const T v = o.y(k) - sum_of<T, N>([&](int i) { return o.H(k, i) * b(i); });
      unrolled<N>([&](int i) {
        b(i) += v * gains.K(i, k);
        eta(i) += v * gains.g(i, k);
      });
    });
  }
};

/// Of a model: a kernel's parameters may have 32,764 bytes, of which the model and the arrays have their part.
template <class Model>
inline constexpr std::size_t plan_room = [] {
  constexpr std::size_t most = 24 * 1024, taken = sizeof(Model) + 2048;
  return taken > 32'764 ? 0 : (std::min)(most, 32'764 - taken);
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
  static constexpr std::int64_t most_settling_steps = 64, most_smoothing_steps = 16;
  static constexpr int most_doublings = 16;

  bare model;
  plan_type plan;
  std::array<T, static_cast<std::size_t>(most_settling_steps + 1) * n> zeros{};

  /// Returns what the last step leaves.
  element make_stretches(std::int64_t steps, std::int64_t short_steps) {
    element x{};
    for (std::int64_t j = 0; j < steps; ++j) {
      if (j == 0) {
        begin_stretch(model, 0, 1, small_vector<T, n>{}, x);
      } else {
        predict_stretch<residues::kept>(model, 0, 1, x);
      }
      auto& gains = plan.of_step[j];
      observe_into(x, readings_of(model, 0, 1, zeros.data()), [&](int k, const auto& told, const auto& innovation) {
        for (int i = 0; i < n; ++i) {
          gains.K(i, k) = innovation.K(i);
          gains.g(i, k) = innovation.scale * innovation.scale * told(i);
        }
      });
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

  /// Many stretches like x; false where they go on changing.
  static bool repeat(element& x) {
    for (int k = 0; k < most_doublings; ++k) {
      const element before = x;
      x = filter::combine(before, before);
      if (!is_finite(x)) return false;
      if (same_but_rounding(x.C, before.C, rounding_of_carry<T>) &&
          same_but_rounding(x.J, before.J, rounding_of_carry<T>))
        return true;
    }
    return false;
  }

  /// Steps of a filter that has settled on C.
  void settle_filter(const small_symmetric<T, n>& C) {
    const filter x{model, {.longest = most_settling_steps + 1}, zeros.data(), {}, most_settling_steps + 1};
    typename filter::replay_type steps(x, 0, 1, most_settling_steps + 1, {{}, C}, {});
    for (std::int64_t j = 0; j < steps.steps() && !plan.filter_settles; ++j) {
      plan.filtered = steps.step(j).covariance;
      plan.filter = steps.settled();
      plan.filter_settles = plan.filter.hold;
    }
  }
  /// And of a smoother, by later data that have settled on J.
  void settle_smoother(const small_symmetric<T, n>& J) {
    std::array<T, static_cast<std::size_t>(most_smoothing_steps + 1) * n * n> filtered{};
    for (std::int64_t t = 0; t <= most_smoothing_steps; ++t) store(filtered.data() + t * (n * n), plan.filtered);
    const smoother x{model, {.longest = most_smoothing_steps + 1}, zeros.data(), zeros.data(), filtered.data(), {}, 1};
    typename smoother::replay_type steps(x, 0, {{}, J}, most_smoothing_steps, most_smoothing_steps, true, 0);
    for (std::int64_t j = 0; j < steps.steps() && !plan.smoother.hold; ++j) {
      plan.smoothed = steps.step(j).covariance;
      plan.smoother = steps.settled();
    }
  }
};

/// The plan of a model whose chunks have `steps` steps, or `short_steps`; of a smoother, or of a filter alone.
/// Stretches of more than most_steps steps are not planned.
template <class Model>
auto plan_of(const Model& model, std::int64_t steps, std::int64_t short_steps, bool smooths) {
  plan_maker<Model> x{{model}, {}};
  auto stretch = x.make_stretches((std::min)(steps, std::int64_t{x.plan.most_steps}), short_steps);
  if (steps > x.plan.most_steps) x.plan.long_stretch.steps = 0;
  if (plan_maker<Model>::repeat(stretch)) {
    x.settle_filter(stretch.C);
    if (smooths && x.plan.filter_settles) x.settle_smoother(stretch.J);
  }
  return x.plan;
}

/// Whether a device has a plan of a model: where a step's covariances are more than a thread has registers for, if the
/// plan fits a kernel's parameters.
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
