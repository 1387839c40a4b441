// SPDX-License-Identifier: MIT
// The kernel of a single token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/detail/cuda_mixer_group.cuh>
#include <kalscan/detail/cuda_mixer_pack.cuh>
#include <kalscan/detail/cuda_mixer_threads.cuh>
#include <kalscan/detail/fields.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/tensor.hpp>
#include <type_traits>

namespace kalscan::detail {

/// The same tensors, their origin at sequence b and channel m.
template <class Tensors>
__device__ Tensors moved(const Tensors& tensors, std::int64_t b, std::int64_t m) {
  const auto move = [&](auto x) {
    if (x.present()) x.data = x.at(b, 0, m, 0);
    return x;
  };
  return with_members(tensors, [&](const auto&... x) { return Tensors{move(x)...}; });
}

/// One token each of up to `most` sequences a thread, whose states are read one sequence ahead: in and out without a
/// stage, since each input but the parameters is used once.
template <class Job, class Lanes>
__global__ void __launch_bounds__(Lanes::layout::threads(), Lanes::layout::known ? 640 / Lanes::layout::threads() : 1)
    mixer_step_kernel(const __grid_constant__ Job job, const __grid_constant__ typename Lanes::layout layout,
                      std::int64_t blocks, std::int64_t first_block, int most) {
  using M = typename Job::mixer;
  using T = typename Job::number;
  constexpr int States = Lanes::states;
  constexpr std::size_t outputs = word_count<typename M::template outputs<T>, T>;
  const std::int64_t block = first_block + blockIdx.x, some = block / blocks;
  const std::int64_t first = some * most, first_channel = (block - some * blocks) * layout.channels();
  const int sequences = static_cast<int>(min(job.shape.batch - first, static_cast<std::int64_t>(most)));
  const thread_lanes<M, T, States> lanes(layout, first_channel, job.shape.channels, static_cast<int>(job.shape.states));
  const auto here = lanes.at_channel(0);
  const auto plain = plain_tensors<M, T>(job.states.initial);
  const bool has_plain = words<tensor<const T>>(plain)[0].present();
  const auto initial = moved(plain, first, lanes.m);
  const auto in = moved(job.in, first, lanes.m);
  const auto out = moved(job.out, first, lanes.m);
  const auto final = moved(job.states.final, first, lanes.m);
  typename M::template state<T> next[States];
  const auto read = [&](int i) {
    if (has_plain) return here.load(initial, i, 0, next);
    load_initial_states<States>(job, lanes, first + i, next);
  };
  read(0);
  bool fixed = true;
  for_inputs<M, role::parameter>(in, [&](auto, const auto& x) { fixed = fixed && x.stride[0] == 0; });
  parameter_lanes<M, decltype(job.in), States, Lanes::varying> parameter;
  parameter.load(in, here, 0, 0);
#pragma unroll 1
  for (int i = 0; i < sequences; ++i) {
    typename M::template state<T> x[States];
#pragma unroll
    for (int j = 0; j < States; ++j) x[j] = next[j];
    if (i + 1 < sequences) read(i + 1);
    if (!fixed && i > 0) parameter.load(in, here, i, 0);
    T sum[outputs];
#pragma unroll
    for (int j = 0; j < States; ++j) {
      const auto mine = words<T>(terms_of_lane<M, T>(in, i, 0, 0, Lanes::full ? here.s0 + j : here.state_of(j)));
      const auto u = from_words<terms_t<M, T>, T>([&](auto k) {
        if constexpr (terms_of<M, T>::varies(k()) == role::parameter) {
          return parameter.terms[terms_before<M, T>(k(), role::parameter)][j];
        } else {
          return mine[k()];
        }
      });
      x[j] = M::step(x[j], u);
      const auto y = words<T>(M::readout(x[j], u));
      for_each_index<outputs>([&](auto o) {
        const T part = Lanes::full || here.s0 + j < here.states ? y[o()] : T(0);
        sum[o()] = j == 0 ? part : sum[o()] + part;
      });
    }
    here.store(final, i, 0, x);
    for_each_index<outputs>([&](auto o) {
      const T value = sum_over_group(sum[o()], layout.group());
      const auto& y = member<o()>(out);
      if (y.present() && here.owns_channel && here.g == 0)
        y(i, 0, 0, 0) = static_cast<typename std::remove_cvref_t<decltype(y)>::value_type>(value);
    });
  }
}

}  // namespace kalscan::detail
