// SPDX-License-Identifier: MIT
// A mixer's call as C gives it, and its arrays as the mixer's aggregates of tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_kla.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <string>

#include "arrays.hpp"
#include "kalscan.h"

namespace kalscan::c {

/// All of a call; what is not given is null.
struct mixer_call {
  kalscan_mixer mixer;
  kalscan_inputs in;
  kalscan_outputs out;    // or their adjoints
  kalscan_inputs in_bar;  // of backward
  kalscan_states states;
  kalscan_run run;
};

/// A mixer's calls on one device, for one storage type.
struct mixer_functions {
  void (*forward)(const mixer_call&);
  void (*step)(const mixer_call&);
  void (*backward)(const mixer_call&);
  std::size_t (*forward_workspace)(const mixer_call&);
  std::size_t (*backward_workspace)(const mixer_call&);
  std::int64_t (*backward_checkpoints)(const mixer_call&);
};

using predicted_kla = kla_mixer<readout::predicted>;
using predicted_rotating_kla = rotating_kla_mixer<readout::predicted>;

/// Whether values and means are vectors in space.
inline bool turning(kalscan_mixer mixer) {
  return mixer == KALSCAN_ROTATING_KLA || mixer == KALSCAN_ROTATING_KLA_PREDICTED;
}

template <class E>
tensor<E> per_channel(const std::string& name, const DLTensor* x) {
  return view<E, 3>(name, x, {0, 1, 2}, "[B, L, M]");
}
template <class E, std::size_t N>
std::array<tensor<E>, N> vectors(const std::string& name, const DLTensor* x) {
  std::array<tensor<E>, N> parts;
  const char* axes = N == 3 ? "[B, L, M, 3]" : "[B, L, M, 4]";
  for (std::size_t i = 0; i < N; ++i)
    parts[i] = view<E, 3>(name, x, {0, 1, 2}, axes, static_cast<std::int64_t>(i), static_cast<std::int64_t>(N));
  return parts;
}
template <class E>
tensor<E> per_state(const std::string& name, const DLTensor* x) {
  return view<E, 3>(name, x, {0, 1, 3}, "[B, L, S]");
}
template <class T>
tensor<T> parameters(const std::string& name, const DLTensor* x) {
  if (x != nullptr && x->ndim == 2) return view<T, 2>(name, x, {2, 3}, "[M, S]");
  return view<T, 4>(name, x, {0, 1, 2, 3}, "[M, S] or [B, L, M, S]");
}
/// One number of states [N, M, S], or of checkpoints [B, C, M, S].
template <class T>
tensor<T> of_states(const std::string& name, const DLTensor* x, bool kept, std::int64_t component = -1) {
  const bool vector = component >= 0;
  if (kept)
    return view<T, 4>(name, x, {0, 1, 2, 3}, vector ? "[B, C, M, S, 3]" : "[B, C, M, S]", component, 3);
  return view<T, 3>(name, x, {0, 2, 3}, vector ? "[N, M, S, 3]" : "[N, M, S]", component, 3);
}

/// A mixer's arrays. `of` goes before the names of arrays in messages.
template <class M>
struct arrays_of;

template <readout Readout>
struct arrays_of<kla_mixer<Readout>> {
  template <class E, class T>
  static kla_inputs<tensor<E>, tensor<T>> inputs(const std::string& of, const kalscan_inputs& x) {
    return {per_channel<E>(of + "v", x.v), per_channel<E>(of + "Lambda", x.Lambda), per_state<E>(of + "k", x.k),
            per_state<E>(of + "q", x.q),   parameters<T>(of + "a", x.a),            parameters<T>(of + "p", x.p)};
  }
  template <class E>
  static kla_outputs<tensor<E>> outputs(const std::string& of, const kalscan_outputs& x) {
    return {per_channel<E>(of + "y", x.y), per_channel<E>(of + "yvar", x.yvar)};
  }
  template <class T>
  static belief<tensor<T>> moments(const std::string& of, const kalscan_state& x, bool kept) {
    return {of_states<T>(of + " mean", x.mean, kept), of_states<T>(of + " variance", x.variance, kept)};
  }
  template <class T>
  static belief_tensors<T> states(const std::string& of, const kalscan_state& x) {
    const auto b = moments<T>(of, x, false);
    if (x.information != 0) return information_belief<tensor<T>>{b.variance, b.mean};
    return b;
  }
};

template <readout Readout>
struct arrays_of<rotating_kla_mixer<Readout>> {
  template <class E, class T>
  static rotating_kla_inputs<tensor<E>, tensor<T>> inputs(const std::string& of, const kalscan_inputs& x) {
    const auto [vx, vy, vz] = vectors<E, 3>(of + "v", x.v);
    const auto [rw, rx, ry, rz] = vectors<E, 4>(of + "r", x.r);
    return {vx, vy, vz, per_channel<E>(of + "Lambda", x.Lambda), rw, rx, ry, rz, per_state<E>(of + "k", x.k),
            per_state<E>(of + "q", x.q), parameters<T>(of + "a", x.a), parameters<T>(of + "p", x.p)};
  }
  template <class E>
  static rotating_kla_outputs<tensor<E>> outputs(const std::string& of, const kalscan_outputs& x) {
    const auto [yx, yy, yz] = vectors<E, 3>(of + "y", x.y);
    return {yx, yy, yz, per_channel<E>(of + "yvar", x.yvar)};
  }
  template <class T>
  static isotropic_belief<tensor<T>> moments(const std::string& of, const kalscan_state& x, bool kept) {
    const std::string mean = of + " mean";
    return {of_states<T>(mean, x.mean, kept, 0), of_states<T>(mean, x.mean, kept, 1),
            of_states<T>(mean, x.mean, kept, 2), of_states<T>(of + " variance", x.variance, kept)};
  }
  template <class T>
  static rotating_belief_tensors<T> states(const std::string& of, const kalscan_state& x) {
    const auto b = moments<T>(of, x, false);
    if (x.information != 0) return isotropic_information<tensor<T>>{b.variance, b.mean_x, b.mean_y, b.mean_z};
    return b;
  }
};

template <>
struct arrays_of<gla> {
  template <class E, class T>
  static gla_inputs<tensor<E>, tensor<T>> inputs(const std::string& of, const kalscan_inputs& x) {
    return {per_channel<E>(of + "v", x.v), per_state<E>(of + "k", x.k), per_state<E>(of + "q", x.q),
            parameters<T>(of + "g", x.g)};
  }
  template <class E>
  static gla_outputs<tensor<E>> outputs(const std::string& of, const kalscan_outputs& x) {
    return {per_channel<E>(of + "y", x.y)};
  }
  template <class T>
  static gla_state<tensor<T>> moments(const std::string& of, const kalscan_state& x, bool kept) {
    return {of_states<T>(of + " mean", x.mean, kept)};
  }
  template <class T>
  static gla_state<tensor<T>> states(const std::string& of, const kalscan_state& x) {
    return moments<T>(of, x, false);
  }
};

/// The sizes of a call, from its v and k.
inline mixer_shape shape_of(const mixer_call& call) {
  const std::size_t axes = turning(call.mixer) ? 4 : 3;
  require_axes("v", *call.in.v, axes, axes == 4 ? "[B, L, M, 3]" : "[B, L, M]");
  require_axes("k", *call.in.k, 3, "[B, L, S]");
  const std::int64_t* v = call.in.v->shape;
  return {v[0], v[1], v[2], call.in.k->shape[2], offsets_of(call.states.offsets)};
}

/// A call with the types of its storage and of its numbers.
template <class M, class E, class T>
struct typed_call {
  using arrays = arrays_of<M>;

  mixer_shape shape;
  typename M::template inputs<tensor<const E>, tensor<const T>> in;

  explicit typed_call(const mixer_call& call)
      : shape(shape_of(call)), in(arrays::template inputs<const E, const T>("", call.in)) {}

  static auto outputs(const mixer_call& call) { return arrays::template outputs<E>("", call.out); }
  static auto outputs_bar(const mixer_call& call) {
    return arrays::template outputs<const E>("the adjoint of ", call.out);
  }
  static auto inputs_bar(const mixer_call& call) {
    return arrays::template inputs<E, T>("the adjoint of ", call.in_bar);
  }
  static mixer_states<M, T> states(const mixer_call& call) {
    const kalscan_states& x = call.states;
    return {.initial = given_states<M, const T>(arrays::template states<const T>("initial", x.initial)),
            .final = arrays::template states<T>("final", x.final),
            .checkpoints = arrays::template moments<T>("checkpoints", x.checkpoints, true),
            .every = x.every};
  }
  static mixer_adjoints<M, T> adjoints(const mixer_call& call) {
    const kalscan_states& x = call.states;
    return {.initial = given_states<M, const T>(arrays::template states<const T>("initial", x.initial)),
            .checkpoints = arrays::template moments<const T>("checkpoints", x.checkpoints, true),
            .every = x.every,
            .final_bar = arrays::template states<const T>("the adjoint of final", x.final_bar),
            .initial_bar = arrays::template states<T>("the adjoint of initial", x.initial_bar)};
  }
};

}  // namespace kalscan::c
