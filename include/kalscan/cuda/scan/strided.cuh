// SPDX-License-Identifier: MIT
// Many rows, any strides: a block takes 32 neighbouring rows through time, in rounds. Each lane of a warp has a row, and in
// each round warp w takes the w-th few steps of all rows, which it absorbs before and replays after it knows its carry.
#pragma once

#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/scan/arguments.cuh>

namespace kalscan::detail {

template <class Call>
struct strided_tile {
  static constexpr int element_size = 4 * device_words<typename Call::element>,
                       state_size = 4 * device_words<typename Call::state_type>;
  // As many warps as have room for their elements in 48 KiB of shared memory.
  static constexpr int fitting = (768 - state_size) / element_size;
  static constexpr int warps = fitting < 8 ? fitting : 8;
  static constexpr int input_size = sizeof(typename Call::input_type);
  static constexpr int items = input_size <= 8 ? 8 : input_size <= 20 ? 4 : input_size <= 40 ? 2 : 1;
  static constexpr int steps = warps * items;
};

template <class Call>
__global__ void __launch_bounds__(32 * strided_tile<Call>::warps) strided_kernel(const __grid_constant__ Call call) {
  using tile = strided_tile<Call>;
  using U = typename Call::input_type;
  using S = typename Call::state_type;
  using E = typename Call::element;
  constexpr int warps = tile::warps, items = tile::items;
  // Two of each, used alternately: what one round writes may be read while the next round writes.
  __shared__ shared_words<E, 32> elements[2][warps];
  __shared__ shared_words<S, 32> carries[2];
  const auto& r = call.recurrence;
  const auto m = r.monoid();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp_number = static_cast<int>(threadIdx.x) / 32;

  // Blocks do not cross batches, so that the rows of a block are neighbours.
  const std::int64_t groups = (call.in.lanes + 31) / 32;
  const std::int64_t batch = blockIdx.x / groups, in_batch = blockIdx.x % groups * 32 + lane;
  const bool active = in_batch < call.in.lanes;
  const std::int64_t row = active ? batch * call.in.lanes + in_batch : 0;
  const U* in = call.in.row(row);
  S* out = call.has_outputs ? call.out.row(row) : nullptr;

  const auto steps_from = [&](std::int64_t t) {
    return active ? static_cast<int>(max(std::int64_t{0}, min(std::int64_t{items}, call.length - t))) : 0;
  };
  U next[items];
  const auto fetch = [&](std::int64_t t) {
    const int n = steps_from(t);
#pragma unroll
    for (int i = 0; i < items; ++i) {
      if (i < n) next[i] = in[(t + i) * call.in.time_stride];
    }
  };
  if (warp_number == 0 && active) carries[0].put(lane, call.before(row));
  fetch(warp_number * items);
  int parity = 0;
  for (std::int64_t t = 0; t < call.length; t += tile::steps, parity ^= 1) {
    const std::int64_t mine = t + warp_number * items;
    const int n = steps_from(mine);
    U u[items];
#pragma unroll
    for (int i = 0; i < items; ++i) u[i] = next[i];
    fetch(mine + tile::steps);

    if (n > 0) {
      E sum = r.lift(u[0]);
#pragma unroll
      for (int i = 1; i < items; ++i) {
        if (i < n) sum = kalscan::absorb(r, sum, u[i]);
      }
      elements[parity][warp_number].put(lane, sum);
    }
    __syncthreads();
    if (n > 0) {
      S state = carries[parity].get(lane);
      if (warp_number > 0) {
        E before = elements[parity][0].get(lane);
#pragma unroll
        for (int w = 1; w < warps; ++w) {
          if (w < warp_number) before = m(before, elements[parity][w].get(lane));
        }
        state = r.act(before, state);
      }
#pragma unroll
      for (int i = 0; i < items; ++i) {
        if (i < n) {
          if constexpr (Call::emits == emit::before) out[(mine + i) * call.out.time_stride] = state;
          state = r.step(state, u[i]);
          if constexpr (Call::emits == emit::after) out[(mine + i) * call.out.time_stride] = state;
        }
      }
      if (mine + n == call.length) call.finish(row, state);
      if (warp_number == warps - 1) carries[parity ^ 1].put(lane, state);
    }
  }
  if (call.length == 0 && warp_number == 0 && active) call.finish(row, call.before(row));
}

template <class Call>
void launch_strided(const char* verb, const cuda& policy, const Call& call) {
  const std::int64_t blocks = call.count / call.in.lanes * ((call.in.lanes + 31) / 32);
  if (blocks > most_blocks) bad_argument(verb, text({call.count, " sequences are more than a launch can take"}));
  strided_kernel<Call><<<static_cast<unsigned>(blocks), 32 * strided_tile<Call>::warps, 0, policy.stream>>>(call);
  check_launch("strided_kernel");
}

}  // namespace kalscan::detail
