// SPDX-License-Identifier: MIT
// The mixers' kernels are compiled once for all tests, each call's in a unit of its own, so that this goes in parallel. A
// call that is not in the list is instantiated where it stands.
#pragma once

#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/cuda/kla_forward.cuh>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_kla.hpp>
#include <kalscan/mixer/storage.hpp>

#include "../../examples/rotation.hpp"
#include "cascade.hpp"

namespace kalscan::detail {

using kla_test::cascade;
using predicted = kla_mixer<readout::predicted>;

template <class M, class T>
using forward_call_t =
    forward_call<M, typename M::template inputs<tensor<const T>>, typename M::template outputs<tensor<T>>>;
template <class M, class T>
using backward_call_t =
    backward_call<M, typename M::template inputs<tensor<const T>>, typename M::template outputs<tensor<const T>>,
                      typename M::template inputs<tensor<T>>>;
/// Tokens stored as E, parameters in float.
template <class E, class Out>
using stored_forward_call = forward_call<kla, kla_inputs<tensor<const E>, tensor<const float>>, kla_outputs<tensor<Out>>>;
template <class E>
using stored_backward_call =
    backward_call<kla, kla_inputs<tensor<const E>, tensor<const float>>, kla_outputs<tensor<const E>>,
                      kla_inputs<tensor<E>, tensor<float>>>;

template <class Call>
using arrays_forward = forward_arrays<typename Call::mixer, typename Call::number>;
template <class Call>
using arrays_backward = backward_arrays<typename Call::mixer, typename Call::number>;

// Launches of a call: with the kernels of every call, and with those of the policy cuda, which are some of them.
#define KLA_TEST_LAUNCH_OF(kernels, verb, ...)                                                  \
  template void launch_##verb<kernels>(const cuda&, const __VA_ARGS__&, const time_cuts&, \
                                       const arrays_##verb<__VA_ARGS__>&);
#define KLA_TEST_LAUNCH(verb, ...)                          \
  KLA_TEST_LAUNCH_OF(all_mixer_kernels, verb, __VA_ARGS__) \
  KLA_TEST_LAUNCH_OF(mixer_kernels{}, verb, __VA_ARGS__)
#define KLA_TEST_KERNELS(unit, verb, ...)                          \
  extern KLA_TEST_LAUNCH_OF(all_mixer_kernels, verb, __VA_ARGS__) \
  extern KLA_TEST_LAUNCH_OF(mixer_kernels{}, verb, __VA_ARGS__)
#include "kla_kernels.def"
#undef KLA_TEST_KERNELS

}  // namespace kalscan::detail
