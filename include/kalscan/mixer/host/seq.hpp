// SPDX-License-Identifier: MIT
// The mixer on one thread, one lane after the other: the reference for all back ends, in any floating-point type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/seq.hpp>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/gradient_parts.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <vector>

namespace kalscan::detail {

/// Where a tensor is missing, 0.
template <class State, class T, class Tensors>
State load_adjoint(const Tensors& tensors, std::int64_t n, std::int64_t m, std::int64_t s) {
  const auto from = tensors_of<const T>(tensors);
  return from_fields<State, T>([&](auto i) { return from[i].present() ? from[i](n, 0, m, s) : T(0); });
}

template <class T, class Tensors, class State>
void store_state(const Tensors& tensors, std::int64_t n, std::int64_t t, std::int64_t m, std::int64_t s, const State& x,
                 bool add = false) {
  const auto to = tensors_of<T>(tensors);
  const auto from = as_array<T>(x);
  for (std::size_t i = 0; i < to.size(); ++i) {
    // Not 0 + from[i]: that would lose the sign of -0.
    if (to[i].present()) to[i](n, t, m, s) = add ? to[i](n, t, m, s) + from[i] : from[i];
  }
}

template <class Call>
void run_forward(const seq&, const Call& call) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  const std::int64_t S = call.shape.states, every = call.states.every;
  const bool checkpoints = as_array<tensor<T>>(call.states.checkpoints)[0].present();
  std::vector<typename M::template state<T>> x(static_cast<std::size_t>(S));
  for (std::int64_t n = 0; n < call.shape.sequences(); ++n) {
    const sequence_range at = call.sequence_at(n);
    const std::int64_t index = checkpoints ? first_checkpoint(call.shape, n, every) : 0;
    for (std::int64_t m = 0; m < call.shape.channels; ++m) {
      const auto keep = [&](std::int64_t t) {
        if (!checkpoints || t % every != 0) return;
        for (std::int64_t s = 0; s < S; ++s) {
          store_state<T>(call.states.checkpoints, at.batch, index + t / every, m, s, x[static_cast<std::size_t>(s)]);
        }
      };
      for (std::int64_t s = 0; s < S; ++s) x[static_cast<std::size_t>(s)] = call.states.initial(n, m, s);
      for (std::int64_t t = 0; t < at.length; ++t) {
        keep(t);
        typename M::template outputs<T> sums{};
        for (std::int64_t s = 0; s < S; ++s) {
          auto& state = x[static_cast<std::size_t>(s)];
          const auto u = terms_of_lane<M, T>(call.in, at.batch, at.first + t, m, s);
          state = M::step(state, u);
          sums = s == 0 ? M::readout(state, u) : readout_onto<M, T>(sums, state, u);
        }
        const auto sum = as_array<T>(sums);
        std::size_t i = 0;
        for_each_member(call.out, [&](const auto& y) {
          if (y.present())
            y(at.batch, at.first + t, m, 0) =
                static_cast<typename std::remove_cvref_t<decltype(y)>::value_type>(sum[i]);
          ++i;
        });
      }
      keep(at.length);
      for (std::int64_t s = 0; s < S; ++s) {
        store_state<T>(call.states.final, n, 0, m, s, numbers_of(call.states.final, x[static_cast<std::size_t>(s)]));
      }
    }
  }
}

template <class Call>
void run_backward(const seq&, const Call& call) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  using state = typename M::template state<T>;
  std::vector<gradient_sum<T>> sums;
  for_each_member(call.in, [&](const auto& x) { sums.emplace_back(x.extent); });
  std::vector<state> x;
  for (std::int64_t n = 0; n < call.shape.sequences(); ++n) {
    const sequence_range at = call.sequence_at(n);
    for (std::int64_t m = 0; m < call.shape.channels; ++m) {
      for (std::int64_t s = 0; s < call.shape.states; ++s) {
        x.assign(1, call.states.initial(n, m, s));
        for (std::int64_t t = 0; t < at.length; ++t)
          x.push_back(M::step(x.back(), terms_of_lane<M, T>(call.in, at.batch, at.first + t, m, s)));
        state bar = adjoint_of(call.states.final_bar, x.back(), load_adjoint<state, T>(call.states.final_bar, n, m, s));
        for (std::int64_t t = at.length - 1; t >= 0; --t) {
          const auto out_bar = adjoint_of_outputs<M, T>(call.out_bar, at.batch, at.first + t, m);
          const auto i = static_cast<std::size_t>(t);
          const auto u = terms_of_lane<M, T>(call.in, at.batch, at.first + t, m, s);
          const auto back = M::adjoint(x[i], u, x[i + 1], bar, out_bar);
          bar = back.earlier;
          const auto inputs_bar = as_array<T>(back.inputs);
          for (std::size_t k = 0; k < sums.size(); ++k) sums[k](at.batch, at.first + t, m, s) += inputs_bar[k];
        }
        store_state<T>(call.states.initial_bar, n, 0, m, s, numbers_of_adjoint(call.states.initial_bar, x.front(), bar),
                       call.states.accumulate);
      }
    }
  }
  std::size_t k = 0;
  for_each_member(call.in_bar, [&](const auto& to) { sums[k++].write(to, call.states.accumulate); });
}

}  // namespace kalscan::detail
