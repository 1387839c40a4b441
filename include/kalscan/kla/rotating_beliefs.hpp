// SPDX-License-Identifier: MIT
// The beliefs that rotating KLA is given and gives back, in moment or in information form.
#pragma once

#include <cstddef>
#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/belief_adjoint.hpp>
#include <kalscan/kalman/scalar/rotating_element.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>
#include <type_traits>

namespace kalscan {
namespace detail {

/// Whether the adjoint of a belief is carried in information form: where that of one of its components would be.
template <class T>
KALSCAN_HD constexpr bool is_vague(const isotropic_belief<T>& x) {
  return is_vague(belief<T>{x.mean_x, x.variance}) || is_vague(belief<T>{x.mean_y, x.variance}) ||
         is_vague(belief<T>{x.mean_z, x.variance});
}

}  // namespace detail

/// The tensors of isotropic beliefs, or of their adjoints, in the form that the type names of which they are made:
/// moments (isotropic_belief) or information (isotropic_information). All that belief_tensors says holds for each
/// component.
template <class T>
struct rotating_belief_tensors : isotropic_belief<tensor<T>> {
  /// Whether mean_x, mean_y, mean_z hold information vectors and `variance` precisions.
  bool information_form = false;

  rotating_belief_tensors() : isotropic_belief<tensor<T>>{} {}
  rotating_belief_tensors(const isotropic_belief<tensor<T>>& b) : isotropic_belief<tensor<T>>(b) {}
  rotating_belief_tensors(const isotropic_information<tensor<T>>& b)
      : isotropic_belief<tensor<T>>{b.vector_x, b.vector_y, b.vector_z, b.precision}, information_form(true) {}
  template <class U>
    requires std::is_same_v<const U, T>
  rotating_belief_tensors(const isotropic_belief<tensor<U>>& b)
      : isotropic_belief<tensor<T>>{b.mean_x, b.mean_y, b.mean_z, b.variance} {}
  template <class U>
    requires std::is_same_v<const U, T>
  rotating_belief_tensors(const isotropic_information<tensor<U>>& b)
      : isotropic_belief<tensor<T>>{b.vector_x, b.vector_y, b.vector_z, b.precision}, information_form(true) {}
  template <class U>
    requires std::is_same_v<const U, T>
  rotating_belief_tensors(const rotating_belief_tensors<U>& b)
      : isotropic_belief<tensor<T>>{b.mean_x, b.mean_y, b.mean_z, b.variance}, information_form(b.information_form) {}

  KALSCAN_HD const isotropic_belief<tensor<T>>& tensors() const { return *this; }
  mixer_state describe(std::size_t i) const {
    constexpr const char* moments[] = {"mean x", "mean y", "mean z", "variance"};
    constexpr const char* information[] = {"vector x", "vector y", "vector z", "precision"};
    return {information_form ? information[i] : moments[i], i == 3};
  }
  KALSCAN_HD constexpr bool plain() const { return !information_form; }

  template <class X>
  KALSCAN_HD constexpr isotropic_belief<X> state(const isotropic_belief<X>& numbers) const {
    return each(numbers, [&](const X& m) {
      const belief<X> b{m, numbers.variance};
      if (information_form) return to_moments(information_belief<X>{b.variance, b.mean});
      return detail::equal(b.variance, detail::infinity<X>) ? belief<X>{X(0), b.variance} : b;
    });
  }
  template <class X>
  KALSCAN_HD constexpr isotropic_belief<X> numbers(const isotropic_belief<X>& x) const {
    return each(x, [&](const X& m) {
      const belief<X> b{m, x.variance};
      if (information_form) {
        const auto y = to_information(b);
        return belief<X>{y.vector, y.precision};
      }
      return detail::equal(b.variance, detail::infinity<X>) ? belief<X>{X(0), b.variance} : b;
    });
  }
  template <class X>
  KALSCAN_HD constexpr isotropic_belief<X> adjoint(const isotropic_belief<X>& x,
                                                   const isotropic_belief<X>& numbers) const {
    const bool vague = detail::is_vague(x);
    return sum(x, numbers, [&](const belief<X>& b, const belief<X>& n) {
      if (!information_form) return detail::carried_from_moments(b, n, vague);
      return detail::carried_from_information(b, information_belief<X>{n.variance, n.mean}, vague);
    });
  }
  template <class X>
  KALSCAN_HD constexpr isotropic_belief<X> adjoint_numbers(const isotropic_belief<X>& x,
                                                           const isotropic_belief<X>& carried) const {
    const bool vague = detail::is_vague(x);
    return sum(x, carried, [&](const belief<X>& b, const belief<X>& c) {
      if (!information_form) return detail::moments_from_carried(b, c, vague);
      const auto y = detail::information_from_carried(b, c, vague);
      return belief<X>{y.vector, y.precision};
    });
  }

 private:
  /// The components of a belief, changed by f(mean).
  template <class X, class F>
  KALSCAN_HD static constexpr isotropic_belief<X> each(const isotropic_belief<X>& x, F f) {
    const auto y = detail::each_component(f, x.mean());
    return {y.x.mean, y.y.mean, y.z.mean, y.x.variance};
  }
  /// Adjoints change linearly: each component with its own part, the first with that of the variance, too.
  template <class X, class F>
  KALSCAN_HD static constexpr isotropic_belief<X> sum(const isotropic_belief<X>& at, const isotropic_belief<X>& bar,
                                                      F f) {
    const auto x = f(belief<X>{at.mean_x, at.variance}, belief<X>{bar.mean_x, bar.variance}),
               y = f(belief<X>{at.mean_y, at.variance}, belief<X>{bar.mean_y, X(0)}),
               z = f(belief<X>{at.mean_z, at.variance}, belief<X>{bar.mean_z, X(0)});
    return {x.mean, y.mean, z.mean, x.variance + y.variance + z.variance};
  }
};

}  // namespace kalscan
