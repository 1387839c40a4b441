// SPDX-License-Identifier: MIT
// Kalman Linear Attention: the mixer whose lanes are scalar Kalman filters (Shaj et al. 2026, arXiv 2602.10743).
#pragma once

#include <array>
#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/belief_adjoint.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kalman/scalar/information_map.hpp>
#include <kalscan/kla/belief_tensors.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <kalscan/support/power_of_two.hpp>
#include <limits>

namespace kalscan {

/// Value v and its precision Lambda >= 0 [B, L, M], key k and query q [B, L, S], decay a and process noise p >= 0
/// ([M, S] or per token).
template <class X, class P = X>
struct kla_inputs {
  X v, Lambda, k, q;
  P a, p;
};
template <class X, class P>
kla_inputs(X, X, X, X, P, P) -> kla_inputs<X, P>;

/// The mean of the value that the query asks for, and its variance [B, L, M].
template <class X>
struct kla_outputs {
  X y, yvar;
};
template <class X>
kla_outputs(X, X) -> kla_outputs<X>;

/// Which belief is read out: the one after the token's own update, or the prediction one step ahead.
enum class readout { filtered, predicted };

/// The inputs with the products that lanes share.
template <class T>
struct kla_terms {
  T v, Lambda, vLambda, k, kk, q, qq, a, aa, p;
};

/// Per lane a Kalman filter x' = a x + noise of variance p that observes with information phi = Lambda k^2 and
/// information vector r = v Lambda k; y = sum of q mean and yvar = sum of q^2 variance, over the states. Precision 0 is
/// allowed, with any information vector; until it is observed the mean is read as 0 and the variance as infinite.
/// `Ordinary` leaves out what only infinite variances need.
///
/// Range: phi times the predicted variance must be finite, or the variance itself infinite. Nothing is clamped. In float
/// the error is about epsilon times the filter's memory, as that of the sequential moment form. The adjoint divides
/// once, for the gain of the forward step, and has no cancellation between large terms.
template <readout Readout = readout::filtered, bool Ordinary = false>
struct kla_mixer {
  template <class X, class P = X>
  using inputs = kla_inputs<X, P>;
  template <class X>
  using outputs = kla_outputs<X>;
  template <class X>
  using state = belief<X>;
  template <class T>
  using given_states = belief_tensors<T>;  ///< in either form; N(0, 1) where none are given
  template <class T>
  using terms = kla_terms<T>;
  using ordinary = kla_mixer<Readout, true>;

  static constexpr std::array<mixer_input, 6> inputs_info{{{"v", role::channel},
                                                           {"Lambda", role::channel, true},
                                                           {"k", role::state},
                                                           {"q", role::state},
                                                           {"a", role::parameter, false, true},
                                                           {"p", role::parameter, true}}};
  static constexpr std::array output_names{"y", "yvar"};
  static constexpr std::array<mixer_state, 2> state_info{{{"mean"}, {"variance", true}}};
  static constexpr std::array<role, 10> term_roles{role::channel,   role::channel,  role::channel, role::state,
                                                   role::state,     role::state,    role::state,   role::parameter,
                                                   role::parameter, role::parameter};

  template <class T>
  KALSCAN_HD static constexpr kla_terms<T> prepare(const kla_inputs<T>& u) {
    return {u.v, u.Lambda, u.v * u.Lambda, u.k, u.k * u.k, u.q, u.q * u.q, u.a, u.a * u.a, u.p};
  }

  template <class T>
  KALSCAN_HD static constexpr belief<T> start() {
    return {T(0), T(1)};
  }
  template <class T>
  KALSCAN_HD static constexpr bool is_ordinary(const belief<T>& x) {
    // Zero may be what is left of one divided by infinity.
    return x.variance > T(0) && x.variance <= detail::largest_ordinary_variance<T>;
  }
  template <class T>
  KALSCAN_HD static constexpr bool has_ordinary_adjoint(const belief<T>& x) {
    return detail::ordinary_adjoint(x.variance, detail::is_far(x.mean, detail::vague_bound<T>));
  }

  template <class T>
  KALSCAN_HD static constexpr belief<T> step(const belief<T>& x, const kla_terms<T>& u) {
    if constexpr (Ordinary) {
      return finite_step<detail::rounding_mode::bounded>(x, u.a, u.aa, u.p, observation(u));
    } else {
      return lane(u).step(x, observation(u));
    }
  }

  template <class T>
  KALSCAN_HD static constexpr kla_outputs<T> readout(const belief<T>& x, const kla_terms<T>& u) {
    const belief<T> read = belief_read(x, u);
    return {u.q * read.mean, u.qq * read.variance};
  }
  template <class T>
  KALSCAN_HD static constexpr kla_outputs<T> readout(const belief<T>& x, const kla_terms<T>& u,
                                                     const kla_outputs<T>& sums) {
    const belief<T> read = belief_read(x, u);
    return {detail::fused(u.q, read.mean, sums.y), detail::fused(u.qq, read.variance, sums.yvar)};
  }

  /// Which beliefs of a step are vague. Of a belief with several components all share what is said here.
  struct vague_states {
    bool before, after;
  };
  template <class T>
  KALSCAN_HD static constexpr vague_states which_are_vague(const belief<T>& before, const kla_terms<T>& u,
                                                           const belief<T>& after) {
    return {!detail::equal(u.a, 0) && detail::is_vague(before), detail::is_vague(after)};
  }

  /// `later` and `earlier` are the adjoints of moments between ordinary states; those of vague ones are in
  /// <kalscan/kalman/scalar/belief_adjoint.hpp>.
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<kla_mixer, T> adjoint(const belief<T>& before, const kla_terms<T>& u,
                                                                 const belief<T>& after, const belief<T>& later,
                                                                 const kla_outputs<T>& bar) {
    if constexpr (Ordinary) {
      return adjoint_through(before, gain(before.variance, u), u, after, later, bar);
    } else {
      return adjoint(before, u, after, later, bar, which_are_vague(before, u, after));
    }
  }
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<kla_mixer, T> adjoint(const belief<T>& before, const kla_terms<T>& u,
                                                                 const belief<T>& after, const belief<T>& later,
                                                                 const kla_outputs<T>& bar, const vague_states& vague) {
    const belief<T> known = remembered(before, u);
    if (vague.before || vague.after) return vague_adjoint(known, u, after, later, bar, vague);
    return adjoint_through(known, gain(known.variance, u), u, after, later, bar);
  }

  template <class T>
  KALSCAN_HD static constexpr filtering_monoid<T> monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr filtering_element<T> lift(const kla_terms<T>& u) {
    return lane(u).lift(observation(u));
  }
  template <class T>
  KALSCAN_HD static constexpr filtering_element<T> absorb(const filtering_element<T>& x, const kla_terms<T>& u) {
    return lane(u).absorb(x, observation(u));
  }
  template <class T>
  KALSCAN_HD static constexpr belief<T> act(const filtering_element<T>& x, const belief<T>& before) {
    return kalscan::act(x, before);
  }

  template <class T>
  using run = information_map<T>;
  template <class T>
  KALSCAN_HD static constexpr information_map<T> no_steps() {
    return information_monoid<T>::identity();
  }
  template <class T>
  KALSCAN_HD static constexpr information_map<T> extend(const information_map<T>& x, const kla_terms<T>& u) {
    return kalscan::extend(x, u.a, u.aa, u.p, u.Lambda * u.kk, u.vLambda * u.k);
  }
  /// Step i of four whose parameters are the same.
  template <class T>
  KALSCAN_HD static constexpr information_map<T> extend_in_four(const information_map<T>& x, const kla_terms<T>& u, int i) {
    return kalscan::extend_in_four(x, u.a, u.aa, u.p, u.Lambda * u.kk, u.vLambda * u.k, i);
  }
  template <class T>
  KALSCAN_HD static constexpr bool is_large(const information_map<T>& x) {
    constexpr T large = detail::power_of_two<T>(std::numeric_limits<T>::max_exponent / 4);
    return x.uu > large;
  }
  template <class T>
  KALSCAN_HD static constexpr information_map<T> rescaled(const information_map<T>& x) {
    return normalized(x);
  }
  /// NaN or infinite where u is 0, tiny or infinite, or any number of the run is: the steps are taken instead.
  template <class T>
  KALSCAN_HD static constexpr belief<T> act(const information_map<T>& x, const belief<T>& before) {
    const auto [u, v, w] = kalscan::act(x, to_homogeneous(before));
    const T i = detail::reciprocal<detail::rounding_mode::approximate>(u), none = u - u;
    return {w * i + none, v * i + none};
  }

  template <class T>
  KALSCAN_HD static constexpr belief_adjoint_monoid<T> adjoint_monoid() {
    return {};
  }
  template <class T>
  KALSCAN_HD static constexpr belief_adjoint_map<T> adjoint_lift(const belief<T>& before, const kla_terms<T>& u,
                                                                 const belief<T>& after, const kla_outputs<T>& bar) {
    if constexpr (Ordinary) {
      return adjoint_lift(before, u, after, bar, {false, false});
    } else {
      return adjoint_lift(before, u, after, bar, which_are_vague(before, u, after));
    }
  }
  template <class T>
  KALSCAN_HD static constexpr belief_adjoint_map<T> adjoint_lift(const belief<T>& before, const kla_terms<T>& u,
                                                                 const belief<T>& after, const kla_outputs<T>& bar,
                                                                 const vague_states& vague) {
    const belief<T> read = readout_adjoint(u, bar), known = remembered(before, u);
    if constexpr (!Ordinary) {
      if (vague.before || vague.after) {
        const auto slope = vague_slope(known, detail::predict_information(known, u.a, u.p), u, after, vague);
        const belief<T> c = slope(detail::carried_from_moments(after, read, vague.after));
        return {slope.x, slope.y, c.mean, c.variance};
      }
    }
    const T x = u.a * gain(known.variance, u);
    const T y = x * x * (u.Lambda * u.k) * (u.v - u.k * (u.a * known.mean));
    return {x, y, x * read.mean, y * read.mean + x * x * read.variance};
  }
  template <class T>
  KALSCAN_HD static constexpr belief<T> adjoint_act(const belief_adjoint_map<T>& map, const belief<T>& later) {
    return {map.x * later.mean + map.c, map.y * later.mean + map.x * map.x * later.variance + map.d};
  }

 private:
  template <class T>
  KALSCAN_HD static constexpr scalar_filter<T, detail::rounding_mode::approximate> lane(const kla_terms<T>& u) {
    return {u.a, u.p};
  }
  template <class T>
  KALSCAN_HD static constexpr scalar_observation<T> observation(const kla_terms<T>& u) {
    return {u.Lambda * u.kk, u.vLambda * u.k};
  }
  /// i = 1 / (1 + phi (a^2 P + p)).
  template <class T>
  KALSCAN_HD static constexpr T gain(const T& P, const kla_terms<T>& u) {
    constexpr auto how = Ordinary ? detail::rounding_mode::bounded : detail::rounding_mode::approximate;
    return detail::reciprocal<how>(T(1) + u.Lambda * u.kk * (u.aa * P + u.p));
  }
  /// At infinite variance there is none, and 0 is read out.
  template <class T>
  KALSCAN_HD static constexpr T mean_of(const belief<T>& x) {
    if constexpr (!Ordinary) {
      if (detail::equal(x.variance, detail::infinity<T>)) return T(0);
    }
    return x.mean;
  }
  /// What a step knows of the belief before it: at a = 0 nothing but the value of a mean, for the derivative in a.
  template <class T>
  KALSCAN_HD static constexpr belief<T> remembered(const belief<T>& before, const kla_terms<T>& u) {
    if constexpr (!Ordinary) {
      if (detail::equal(u.a, 0) && detail::is_vague(before)) return {mean_of(before), T(0)};
    }
    return before;
  }
  /// The variance that a factor is multiplied with: none where the factor is 0 and the variance may be infinite.
  template <class T>
  KALSCAN_HD static constexpr T counted(const T& factor, const T& variance) {
    if constexpr (!Ordinary) {
      if (detail::equal(factor, 0)) return T(0);
    }
    return variance;
  }
  /// The belief that a query reads.
  template <class T>
  KALSCAN_HD static constexpr belief<T> belief_read(const belief<T>& x, const kla_terms<T>& u) {
    const T mean = mean_of(x);
    if constexpr (Readout == kalscan::readout::filtered) {
      return {mean, counted(u.qq, x.variance)};
    } else {
      return {u.a * mean, counted(u.qq, detail::fused(u.aa, counted(u.aa, x.variance), u.p))};
    }
  }
  /// The adjoint of the state through this step's readout alone.
  template <class T>
  KALSCAN_HD static constexpr belief<T> readout_adjoint(const kla_terms<T>& u, const kla_outputs<T>& bar) {
    if constexpr (Readout == kalscan::readout::filtered) {
      return {u.q * bar.y, u.qq * bar.yvar};
    } else {
      return {u.a * (u.q * bar.y), u.aa * (u.qq * bar.yvar)};
    }
  }

  template <class T>
  KALSCAN_HD static constexpr step_adjoint<kla_mixer, T> adjoint_through(const belief<T>& before, const T& i,
                                                                         const kla_terms<T>& u, const belief<T>& after,
                                                                         const belief<T>& later,
                                                                         const kla_outputs<T>& bar) {
    const belief<T> read = readout_adjoint(u, bar);
    const T mb = later.mean + read.mean, Pb = later.variance + read.variance;
    const T ih = i * mb, eh = (u.v - u.k * (u.a * before.mean)) * ih;
    const T Lk = u.Lambda * u.k;
    const T Pmb = i * (Lk * eh + i * Pb);  // of the predicted variance
    const T vPb = after.variance * Pb;
    const T phib = -after.variance * (after.mean * mb + vPb);
    const T x = after.variance * (eh - u.k * vPb);
    step_adjoint<kla_mixer, T> result;
    result.earlier = {u.a * ih, u.aa * Pmb};
    result.inputs.v = Lk * (after.variance * mb);
    result.inputs.Lambda = u.k * x;
    result.inputs.k = u.Lambda * (x + u.k * phib);
    result.inputs.a = before.mean * ih + (u.a + u.a) * before.variance * Pmb;
    result.inputs.p = Pmb;
    add_readout(result.inputs, u, after, bar);
    return result;
  }
  /// What a step's readout adds to the adjoints of its inputs.
  template <class T>
  KALSCAN_HD static constexpr void add_readout(kla_inputs<T>& inputs, const kla_terms<T>& u, const belief<T>& after,
                                               const kla_outputs<T>& bar) {
    if constexpr (Readout == kalscan::readout::filtered) {
      inputs.q = bar.y * after.mean + u.q * (bar.yvar + bar.yvar) * after.variance;
    } else {
      const T qb = u.qq * bar.yvar;
      inputs.q = bar.y * (u.a * after.mean) + u.q * (bar.yvar + bar.yvar) * (u.aa * after.variance + u.p);
      inputs.a += u.q * bar.y * after.mean + (u.a + u.a) * after.variance * qb;
      inputs.p += qb;
    }
  }

  /// The linear map of the carried adjoint by a step with a vague belief before or after it, without its offset: the update
  /// leaves the adjoint in information form as it is, so that only the prediction and the changes of form count.
  template <class T>
  KALSCAN_HD static constexpr detail::adjoint_slope<T> vague_slope(const belief<T>& before,
                                                                   const detail::information_prediction<T>& prediction,
                                                                   const kla_terms<T>& u, const belief<T>& after,
                                                                   const vague_states& vague) {
    return detail::composed(detail::carried_slope(before, prediction, u.a, u.p, vague.before),
                            detail::to_information_slope(after, vague.after));
  }
  template <class T>
  KALSCAN_HD static constexpr step_adjoint<kla_mixer, T> vague_adjoint(const belief<T>& before, const kla_terms<T>& u,
                                                                       const belief<T>& after, const belief<T>& later,
                                                                       const kla_outputs<T>& bar,
                                                                       const vague_states& is_vague) {
    const auto prediction = detail::predict_information(before, u.a, u.p);
    const auto& [g, h, predicted] = prediction;
    const belief<T> read = detail::carried_from_moments(after, readout_adjoint(u, bar), is_vague.after);
    const belief<T> sum = {later.mean + read.mean, later.variance + read.variance};
    step_adjoint<kla_mixer, T> result{};
    result.earlier = vague_slope(before, prediction, u, after, is_vague)(sum);
    // z e and -z^2 l are the adjoints of r and of phi, and w = v (z e) - k (z^2 l).
    const bool vague = is_vague.after;
    const T z = vague ? T(1) / detail::vague_scale(after) : T(1), P = after.variance;
    const T e = vague ? sum.mean : P * sum.mean;
    const T l = vague ? sum.variance : P * (after.mean * sum.mean + P * sum.variance);
    const T w =
        vague ? z * (u.v * e - (u.k * z) * l)
              : P * (P * (predicted.precision * u.v - u.k * predicted.vector) * sum.mean - u.k * P * sum.variance);
    const T kz = predicted.precision * z;
    result.inputs.v = (u.Lambda * u.k) * (z * e);
    result.inputs.Lambda = u.k * w;
    result.inputs.k = u.Lambda * w - (u.Lambda * z) * (u.k * z) * l;
    result.inputs.a = z * e * h * (T(1) - (u.a + u.a) * g) + (g + g) * (kz * z) * l;
    result.inputs.p = kz * (kz * l - u.a * h * e);
    if (!detail::equal(after.variance, detail::infinity<T>)) add_readout(result.inputs, u, after, bar);
    return result;
  }
};

using kla = kla_mixer<>;

}  // namespace kalscan
