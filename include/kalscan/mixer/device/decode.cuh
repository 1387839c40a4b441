// SPDX-License-Identifier: MIT
// The kernel of a single token. It stages nothing: each thread uses an input once, and there is no later step that would
// hide the wait for a barrier. Inputs and states go from memory to registers as vectors.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/device/layout.hpp>
#include <kalscan/mixer/device/thread_state.cuh>
#include <kalscan/mixer/device/traversal.cuh>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/simd_value.hpp>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kalscan::detail {

/// What a thread reads of a token, in its storage type: it is converted, and so waited for, only when it is used.
template <class M, class In, int States, class Indices = std::make_index_sequence<M::inputs_info.size()>>
struct token_rows;
template <class M, class In, int States, std::size_t... I>
struct token_rows<M, In, States, std::index_sequence<I...>> {
  using T = number_t<In>;
  template <std::size_t K>
  using element = typename std::remove_cvref_t<decltype(member<K>(std::declval<const In&>()))>::value_type;

  vec<T, States> state[array_size<typename M::template state<T>, T>];
  std::tuple<vec<element<I>, M::inputs_info[I].varies == role::channel ? 1 : States>...> inputs;
};

/// Whether each thread's states lie as vectors in every row.
template <int States, class E>
__device__ bool lies_in_vectors(const tensor<E>& x) {
  const auto bytes = [](std::int64_t stride) { return static_cast<std::uintptr_t>(stride) * sizeof(E); };
  const auto addresses = reinterpret_cast<std::uintptr_t>(x.data) | bytes(x.stride[0]) | bytes(x.stride[2]);
  return x.stride[3] == 1 && addresses % alignof(vec<std::remove_const_t<E>, States>) == 0;
}

/// Takes a step of all lanes of a thread. False where a state before or after it is not ordinary: the formulas for ordinary
/// states do not hold then.
template <class M, class T, int States>
__device__ __forceinline__ bool take_step(const typename M::template state<T> (&before)[States],
                                          const terms_t<M, T> (&u)[States],
                                          typename M::template state<T> (&after)[States]) {
  if constexpr (ordinary_of<M>::exists) {
    using fast = typename ordinary_of<M>::type;
    using numbers = simd_value<T, States>;
    from_wide<T>(
        fast::step(to_wide<typename M::template state<numbers>, T>(before), to_wide<terms_t<M, numbers>, T>(u)), after);
    return are_ordinary<M, T, States>(before) & are_ordinary<M, T, States>(after);
  } else {
#pragma unroll
    for (int j = 0; j < States; ++j) after[j] = M::step(before[j], u[j]);
    return true;
  }
}

/// Sums an output over the threads of a group and writes it, if it is asked for.
template <class E, class Thread, class T>
__device__ __forceinline__ void put_sum(const tensor<E>& y, E* pointer, const Thread& lanes, int group, T sum) {
  sum = sum_over_group(sum, group);
  if (y.present() && lanes.owns_channel && lanes.g == 0) *pointer = static_cast<E>(sum);
}

/// Takes the tokens of sequences n ... end - 1, reading one sequence ahead. Stops at the first sequence in which some state of
/// the warp is not ordinary, and returns it; returns n where states do not lie as vectors.
template <lanes_kind Kind, class Call, class Thread>
__device__ __forceinline__ std::int64_t step_vectors(const Call& call, const Thread& lanes, int group, std::int64_t n,
                                                     std::int64_t end) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  constexpr int States = Kind.states;
  constexpr std::size_t numbers = Thread::words_of_state, inputs = M::inputs_info.size(),
                        outputs = array_size<typename M::template outputs<T>, T>;
  const auto initial = call.states.initial.all_tensors();
  const auto final = tensors_of<T>(call.states.final);
  const bool has_final = final[0].present(), owns = lanes.owns(0);
  bool vectors = initial[0].present() && lanes.states % States == 0, fixed = true;
  vectors = vectors && is_plain(call.states.initial) && is_plain(call.states.final);
  for_each_index<numbers>([&](auto i) {
    vectors = vectors && lies_in_vectors<States>(initial[i()]) && (!has_final || lies_in_vectors<States>(final[i()]));
  });
  for_each_index<inputs>([&](auto i) {
    const auto& x = member<i()>(call.in);
    if constexpr (M::inputs_info[i()].varies == role::state) vectors = vectors && lies_in_vectors<States>(x);
    if constexpr (M::inputs_info[i()].varies == role::parameter) fixed = fixed && x.stride[0] == 0;
  });
  if (!vectors) return n;

  // The thread's addresses in all tensors. They advance from sequence to sequence.
  const int s = Kind.full ? lanes.s0 : min(lanes.s0, lanes.states - States);
  const T* from[numbers];
  T* to[numbers];
  const void* in[inputs];
  void* out[outputs];
  for_each_index<numbers>([&](auto i) {
    from[i()] = initial[i()].at(n, 0, lanes.m, s);
    __builtin_assume(__isGlobal(from[i()]));
    to[i()] = final[i()].at(n, 0, lanes.m, s);
  });
  for_each_index<inputs>([&](auto i) { in[i()] = member<i()>(call.in).at(n, 0, lanes.m, s); });
  for_each_index<outputs>([&](auto i) { out[i()] = member<i()>(call.out).at(n, 0, lanes.m, 0); });

  // States, and what varies with the channel, are read before the previous step; the rest, which caches have, after it.
  token_rows<M, decltype(call.in), States> next, common;
  const auto read_ahead_of_step = [&] {
    for_each_index<numbers>([&](auto i) {
      next.state[i()] = *reinterpret_cast<const vec<T, States>*>(from[i()]);
      from[i()] += initial[i()].stride[0];
    });
    for_inputs<M, role::channel>(call.in, [&](auto i, const auto& x) {
      const auto* pointer = static_cast<decltype(x.data)>(in[i()]);
      std::get<i()>(next.inputs).x[0] = *pointer;
      in[i()] = pointer + x.stride[0];
    });
  };
  const auto read_common = [&](bool parameters) {
    for_inputs<M, role::state>(call.in, [&](auto i, const auto& x) {
      auto& row = std::get<i()>(common.inputs);
      row = *static_cast<const std::remove_reference_t<decltype(row)>*>(in[i()]);
      in[i()] = static_cast<decltype(x.data)>(in[i()]) + x.stride[0];
    });
    if (!parameters) return;
    for_inputs<M, role::parameter>(call.in, [&](auto i, const auto& x) {
      auto& row = std::get<i()>(common.inputs);
      const auto* pointer = static_cast<decltype(x.data)>(in[i()]);
      if (lies_in_vectors<States>(x)) {
        row = *reinterpret_cast<const std::remove_reference_t<decltype(row)>*>(pointer);
      } else {
#pragma unroll
        for (int j = 0; j < States; ++j) row.x[j] = pointer[j * x.stride[3]];
      }
      in[i()] = pointer + x.stride[0];
    });
  };
  read_ahead_of_step();
  read_common(true);
#pragma unroll 1
  for (; n < end; ++n) {
    const auto now = next;
    if (n + 1 < end) read_ahead_of_step();
    typename Thread::state x[States], after[States];
    terms_t<M, T> u[States];
#pragma unroll
    for (int j = 0; j < States; ++j) {
      x[j] = from_fields<typename Thread::state, T>([&](auto k) { return now.state[k()].x[j]; });
      u[j] = prepare<M, T>(from_fields<typename M::template inputs<T>, T>([&](auto k) {
        constexpr role r = M::inputs_info[k()].varies;
        const auto& rows = r == role::channel ? now : common;
        return static_cast<T>(std::get<k()>(rows.inputs).x[r == role::channel ? 0 : j]);
      }));
    }
    const bool ordinary = take_step<M, T, States>(x, u, after);
    if (!__all_sync(0xffffffffU, ordinary || !owns)) break;
    if (n + 1 < end) read_common(!fixed);
    for_each_index<numbers>([&](auto k) {
      vec<T, States> row;
#pragma unroll
      for (int j = 0; j < States; ++j) row.x[j] = as_array<T>(after[j])[k()];
      if (has_final && owns) *reinterpret_cast<vec<T, States>*>(to[k()]) = row;
      to[k()] += final[k()].stride[0];
    });
    readout_sums<M, T, States> sums;
#pragma unroll
    for (int j = 0; j < States; ++j) {
      if (Kind.full || owns) sums.template add<typename ordinary_of<M>::type>(j, after[j], u[j]);
    }
    const auto y = sums.total();
    for_each_index<outputs>([&](auto o) {
      const auto& view = member<o()>(call.out);
      auto* pointer = static_cast<decltype(view.data)>(out[o()]);
      put_sum(view, pointer, lanes, group, y[o()]);
      out[o()] = pointer + view.stride[0];
    });
  }
  return n;
}

/// Takes the token of sequence n, one lane after the other, for any layout and any state.
template <int States, class Call, class Thread>
__device__ void step_lane_by_lane(const Call& call, const Thread& lanes, int group, std::int64_t n) {
  using M = typename Call::mixer;
  using T = typename Call::number;
  constexpr std::size_t outputs = array_size<typename M::template outputs<T>, T>;
  using sums_type = readout_sums<M, T, States>;
  sums_type sums;
#pragma unroll
  for (int quartet = 0; quartet < States; quartet += 4) {
#pragma unroll 1
    for (int j = quartet; j < quartet + 4 && lanes.owns(j); ++j) {
      const int s = lanes.s0 + j;
      const auto u = terms_of_lane<M, T>(call.in, n, 0, lanes.m, s);
      const auto after = M::step(call.states.initial(n, lanes.m, s), u);
      const auto final = tensors_of<T>(call.states.final);
      const auto numbers = as_array<T>(numbers_of(call.states.final, after));
      for_each_index<Thread::words_of_state>([&](auto k) {
        if (final[k()].present()) final[k()](n, 0, lanes.m, s) = numbers[k()];
      });
      sums_type::template add<M>(sums.quartets[quartet / 4], j == quartet, after, u);
    }
  }
  const auto sum = sums.total();
  for_each_index<outputs>([&](auto o) {
    const auto& y = member<o()>(call.out);
    put_sum(y, y.at(n, 0, lanes.m, 0), lanes, group, sum[o()]);
  });
}

/// A thread takes one token of each of up to `most` sequences. With four states a thread, in float, a multiprocessor has the
/// registers for 768 threads.
template <class Call, class Layout>
__global__ void __launch_bounds__(block_threads, Layout::known && Layout::states == 4
                                                     ? 3072 / sizeof(typename Call::number) / block_threads
                                                     : 1)
    mixer_step_kernel(const __grid_constant__ Call call, const __grid_constant__ Layout layout,
                      std::int64_t blocks, std::int64_t first_block, int most) {
  const std::int64_t block = first_block + blockIdx.x, some = block / blocks;
  const thread_lanes<typename Call::mixer, typename Call::number, Layout::states> lanes(
      layout, (block - some * blocks) * layout.channels(), call.shape.channels, static_cast<int>(call.shape.states));
  const std::int64_t end = min(call.shape.batch, (some + 1) * most);
#pragma unroll 1
  for (std::int64_t n = some * most; n < end; ++n) {
    n = step_vectors<Layout::kind>(call, lanes, layout.group(), n, end);
    if (n < end) step_lane_by_lane<Layout::states>(call, lanes, layout.group(), n);
  }
}

template <lanes_kind Kind, class Call>
void launch_step(const cuda& policy, const Call& call) {
  const lane_layout<Kind> layout{group_of(call.shape.states, Kind.states)};
  const std::int64_t blocks = (call.shape.channels + layout.channels() - 1) / layout.channels();
  // Where there are blocks enough, a block takes several sequences, which share the parameters and the addresses.
  const std::int64_t most = std::clamp<std::int64_t>(call.shape.batch * blocks / 4096, 1, 8);
  const std::int64_t total = (call.shape.batch + most - 1) / most * blocks;
  for (std::int64_t first = 0; first < total; first += most_blocks) {
    const auto count = static_cast<unsigned>((std::min)(most_blocks, total - first));
    mixer_step_kernel<<<count, block_threads, 0, policy.stream>>>(call, layout, blocks, first, static_cast<int>(most));
    check_launch("mixer_step_kernel");
  }
}

}  // namespace kalscan::detail
