// SPDX-License-Identifier: MIT
// One block's way through a chunk of time, forward, absorbing it into what summarizes it.
#pragma once

#include <cstdint>
#include <kalscan/detail/cuda_mixer_forward_walk.cuh>
#include <kalscan/detail/cuda_mixer_lanes.cuh>
#include <kalscan/detail/cuda_mixer_walk.cuh>
#include <kalscan/detail/several.hpp>
#include <kalscan/kla/mixer.hpp>

namespace kalscan::detail {

/// What summarizes a chunk: the mixer's run of steps or its element, or nothing that is ever used.
template <class M, class T>
struct mixer_element {
  using type = typename M::template state<T>;
};
template <mixer_with_elements M, class T>
struct mixer_element<M, T> {
  using type = element_t<decltype(M::template monoid<T>())>;
};
template <mixer_with_runs M, class T>
struct mixer_element<M, T> {
  using type = typename M::template run<T>;
};

/// The workspace of a forward call.
template <class M, class T>
struct forward_arrays {
  lane_array<typename M::template state<T>, T> carry;         // before each chunk but the first
  lane_array<typename mixer_element<M, T>::type, T> element;  // what summarizes each chunk
};

/// One block's walk forward, or its chunk absorbed.
template <class Job, class Lanes>
struct absorbing_walk_on_device : forward_walk_on_device<Job, Lanes> {
  using base = forward_walk_on_device<Job, Lanes>;
  using base::base, base::each_tile, base::States;
  using typename base::M;
  using typename base::T;
  using element = typename mixer_element<M, T>::type;

  /// The whole chunk as an element or a run.
  __device__ void absorb(element (&e)[States]) requires mixer_with_elements<M> {
#pragma unroll
    for (int j = 0; j < States; ++j) e[j] = nothing();
    each_tile([&](int buffer, std::int64_t t, int steps) {
      int step = 0;
#pragma unroll 1
      for (; step + 4 <= steps; step += 4) absorb_four(buffer, step, t, e);
#pragma unroll 1
      for (; step < steps; ++step) {
        this->one_step(buffer, step, t + step, [&](int j, const terms_t<M, T>& u) {
          if constexpr (mixer_with_runs<M>) {
            e[j] = M::extend(e[j], u);
            if (M::is_large(e[j])) e[j] = M::rescaled(e[j]);
          } else {
            e[j] = M::absorb(e[j], u);
          }
        });
      }
    });
  }
  __device__ static element nothing() {
    if constexpr (mixer_with_runs<M>) {
      return M::template no_steps<T>();
    } else {
      return M::template monoid<T>().identity();
    }
  }
  __device__ __forceinline__ void absorb_four(int buffer, int step, std::int64_t t, element (&e)[States]) {
    using numbers = several<T, States>;
    if constexpr (mixer_with_runs<M>) {
      this->four_wide_steps(buffer, step, t + step, [&](int, const terms_t<M, numbers>& u) {
        apart<T>(M::extend(together<typename M::template run<numbers>, T>(e), u), e);
      });
      bool large = false;
#pragma unroll
      for (int j = 0; j < States; ++j) large = large | M::is_large(e[j]);
      if (__all_sync(base::all, !large)) return;  // all together, so that it is seldom
#pragma unroll
      for (int j = 0; j < States; ++j) e[j] = M::rescaled(e[j]);
    } else {
      this->four_steps(buffer, step, t + step, [&](int, int j, const terms_t<M, T>& u) { e[j] = M::absorb(e[j], u); });
    }
  }
};

}  // namespace kalscan::detail
