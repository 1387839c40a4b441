// SPDX-License-Identifier: MIT
// The beliefs that KLA is given and gives back, in moment or in information form.
#pragma once

#include <concepts>
#include <cstddef>
#include <kalscan/kalman/scalar/belief.hpp>
#include <kalscan/kalman/scalar/belief_adjoint.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/config.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// The tensors of beliefs, or of the adjoints of beliefs, in the form that the type names of which they are made:
/// moments (belief) or information (information_belief: precision and vector).
///
/// Beliefs: the precision is >= 0, and 0 is allowed with any vector. In moment form that is an infinite variance, whose
/// mean does not matter on the way in and is 0 on the way out: a vector at precision 0 needs the information form.
/// Adjoints in information form are the derivatives in precision and vector; those of final beliefs are used as
/// adjoints of moments where these are ordinary, and the square of such a precision must not overflow.
template <class T>
struct belief_tensors : belief<tensor<T>> {
  /// Whether `mean` holds information vectors and `variance` precisions.
  bool information_form = false;

  belief_tensors() : belief<tensor<T>>{} {}
  belief_tensors(const tensor<T>& means, const tensor<T>& variances) : belief<tensor<T>>{means, variances} {}
  belief_tensors(const belief<tensor<T>>& x) : belief<tensor<T>>(x) {}
  belief_tensors(const information_belief<tensor<T>>& x)
      : belief<tensor<T>>{x.vector, x.precision}, information_form(true) {}
  template <class U>
  requires std::same_as<const U, T> belief_tensors(const belief<tensor<U>>& x)
      : belief<tensor<T>>{x.mean, x.variance} {}
  template <class U>
  requires std::same_as<const U, T> belief_tensors(const information_belief<tensor<U>>& x)
      : belief<tensor<T>>{x.vector, x.precision}, information_form(true) {}
  template <class U>
  requires std::same_as<const U, T> belief_tensors(const belief_tensors<U>& x)
      : belief<tensor<T>>{x.mean, x.variance}, information_form(x.information_form) {}

  KALSCAN_HD const belief<tensor<T>>& tensors() const { return *this; }
  mixer_state describe(std::size_t i) const {
    if (information_form) return i == 0 ? mixer_state{"vector"} : mixer_state{"precision", true};
    return i == 0 ? mixer_state{"mean"} : mixer_state{"variance", true};
  }
  KALSCAN_HD constexpr bool plain() const { return !information_form; }

  template <class X>
  KALSCAN_HD constexpr belief<X> state(const belief<X>& numbers) const {
    if (information_form) return to_moments(information_belief<X>{numbers.variance, numbers.mean});
    if (detail::equal(numbers.variance, detail::infinity<X>)) return {X(0), numbers.variance};
    return numbers;
  }
  template <class X>
  KALSCAN_HD constexpr belief<X> numbers(const belief<X>& x) const {
    if (information_form) {
      const auto y = to_information(x);
      return {y.vector, y.precision};
    }
    if (detail::equal(x.variance, detail::infinity<X>)) return {X(0), x.variance};
    return x;
  }
  template <class X>
  KALSCAN_HD constexpr belief<X> adjoint(const belief<X>& x, const belief<X>& numbers) const {
    if (!information_form) return detail::carried_from_moments(x, numbers, detail::is_vague(x));
    return detail::carried_from_information(x, information_belief<X>{numbers.variance, numbers.mean},
                                            detail::is_vague(x));
  }
  template <class X>
  KALSCAN_HD constexpr belief<X> adjoint_numbers(const belief<X>& x, const belief<X>& carried) const {
    if (!information_form) return detail::moments_from_carried(x, carried, detail::is_vague(x));
    const auto y = detail::information_from_carried(x, carried, detail::is_vague(x));
    return {y.vector, y.precision};
  }
};

}  // namespace kalscan
