// SPDX-License-Identifier: MIT
// Which monoids and recurrences can be on a device, and what is said of those that cannot.
#pragma once

#include <concepts>
#include <kalscan/cuda/scope/shuffle_words.cuh>
#include <kalscan/monoid.hpp>
#include <kalscan/recurrence.hpp>
#include <type_traits>

namespace kalscan::detail {

template <class M>
concept device_monoid = monoid<M> && device_value<element_t<M>> && std::is_trivially_copyable_v<M>;

template <class R>
concept device_recurrence = recurrence<R> && device_monoid<monoid_t<R>> && device_value<typename R::state_type> &&
                            device_value<typename R::input_type> && std::is_trivially_copyable_v<R>;

// Never called. Where a call of an operator is not for the device, nvcc's first error names one of these functions.
template <class M>
__device__ void calls_of_a_monoid_need_KALSCAN_HD(const M& m) {
  m(m.identity(), m.identity());
}
template <class R>
__device__ void calls_of_a_recurrence_need_KALSCAN_HD(const R& r, const typename R::state_type& state,
                                                      const typename R::input_type& input) {
  r.act(r.lift(input), r.step(state, input));
  r.monoid();
}

/// require(), where device code mentions it, has these looked at; of a wrapper, what it wraps as well.
template <class X>
struct device_calls {
  __device__ static void require() {
    if constexpr (monoid<X>) {
      static_cast<void>(&calls_of_a_monoid_need_KALSCAN_HD<X>);
    } else {
      device_calls<monoid_t<X>>::require();
      static_cast<void>(&calls_of_a_recurrence_need_KALSCAN_HD<X>);
    }
  }
};
template <template <class> class Wrapper, monoid M>
  requires monoid<Wrapper<M>>
struct device_calls<Wrapper<M>> {
  __device__ static void require() {
    device_calls<M>::require();
    static_cast<void>(&calls_of_a_monoid_need_KALSCAN_HD<Wrapper<M>>);
  }
};

/// Does not compile where values of this type cannot be on a device.
template <class T>
constexpr void explain_value() {
  static_assert(std::is_trivially_copyable_v<T>,
                "kalscan: elements, states and inputs on a device are trivially copyable: keep numbers and arrays in "
                "them, nothing that owns memory");
  static_assert(std::default_initializable<T>,
                "kalscan: elements, states and inputs on a device are default-initializable: give them a constructor "
                "without arguments, T() = default");
  static_assert(sizeof(T) <= 256,
                "kalscan: elements, states and inputs on a device have at most 256 bytes: use float, or exploit what "
                "structure they have");
}
template <class X>
constexpr void explain_on_device() {
  static_assert(std::is_trivially_copyable_v<X>,
                "kalscan: operators on a device are trivially copyable: keep numbers in them, and pointers to device "
                "memory");
  if constexpr (monoid<X>) {
    explain_value<element_t<X>>();
  } else {
    explain_value<typename X::state_type>();
    explain_value<typename X::input_type>();
    explain_on_device<monoid_t<X>>();
  }
}

}  // namespace kalscan::detail
