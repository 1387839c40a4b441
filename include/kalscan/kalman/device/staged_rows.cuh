// SPDX-License-Identifier: MIT
// Replays chunks side by side, a lane of a warp each, whose rows go through shared memory: the lanes write the rows of
// one chunk after the other, so that what lies together in memory is written together.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <kalscan/kalman/series/access.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/replay.hpp>
#include <kalscan/kalman/small/matrix.hpp>
#include <kalscan/kalman/small/observe.hpp>
#include <kalscan/kalman/small/roots.hpp>
#include <kalscan/kalman/small/square_root.hpp>

namespace kalscan::detail {

/// How rows of X are kept until they are written: `Steps` of them, in packets, for each lane, an odd number of 16 bytes
/// apart, so that lanes use different banks.
template <class X, int Steps>
struct row_stage {
  using T = typename X::value_type;
  static constexpr int per_packet = packet_bytes<X> / static_cast<int>(sizeof(T));
  using packet_type = packet<T, per_packet>;
  static constexpr int packets = X::rows * X::columns / per_packet;  // a row
  static constexpr int lane_bytes = ((packets * Steps * packet_bytes<X> + 15) / 16 | 1) * 16;
  static constexpr int bytes = 32 * lane_bytes;

  std::byte* memory;

  __device__ packet_type* of_lane(int lane) const { return reinterpret_cast<packet_type*>(memory + lane * lane_bytes); }

  __device__ void put(int lane, int index, const X& x) const {
    packet_type* to = of_lane(lane) + index * packets;
#pragma unroll
    for (int p = 0; p < packets; ++p) {
      packet_type written;
#pragma unroll
      for (int k = 0; k < per_packet; ++k) {
        const int entry = p * per_packet + k;
        written.x[k] = x(entry % X::rows, entry / X::rows);
      }
      to[p] = written;
    }
  }

  /// Entries [begin, end) of each lane become the rows row + begin ... row + end - 1 of the array.
  __device__ void flush(T* array, int lane, std::int64_t row, int begin, int end) const {
    constexpr unsigned all = 0xffffffffu;
    constexpr int run = packets * Steps;
    const bool aligned = reinterpret_cast<std::uintptr_t>(array) % packet_bytes<X> == 0;
#pragma unroll(run % 2 == 0 ? 2 : 1)
    for (int r = 0; r < run; ++r) {
      const int index = 32 * r + lane, from = index / run, offset = index % run;
      const std::int64_t at = __shfl_sync(all, row, from);
      const int first = __shfl_sync(all, begin, from) * packets, last = __shfl_sync(all, end, from) * packets;
      if (offset < first || offset >= last) continue;
      const packet_type x = of_lane(from)[offset];
      T* to = array + at * (X::rows * X::columns) + offset * per_packet;
      if (aligned) {
        *reinterpret_cast<packet_type*>(to) = x;
      } else {
#pragma unroll
        for (int i = 0; i < per_packet; ++i) to[i] = x.x[i];
      }
    }
  }
};

/// The rows of a belief, with its root or without: as many steps together as make 128 bytes of covariances, at most 8.
/// Larger ones are written by the lanes themselves.
template <class T, int N, bool Roots>
struct belief_stage {
  using mean_type = small_vector<T, N>;
  using covariance_type = small_symmetric<T, N>;
  static constexpr bool used = N <= 8;
  static constexpr int row_bytes = N * N * static_cast<int>(sizeof(T));
  static constexpr int steps = row_bytes >= 128 ? 1 : 128 / row_bytes >= 8 ? 8 : 128 / row_bytes;
  using means = row_stage<mean_type, steps>;
  using covariances = row_stage<covariance_type, steps>;
  using roots = row_stage<small_lower<T, N>, steps>;
  static constexpr int warp_bytes = used ? means::bytes + covariances::bytes + (Roots ? roots::bytes : 0) : 0;
};
template <class Traversal>
using belief_stage_of = belief_stage<typename Traversal::T, Traversal::n, traversal_writes_root<Traversal>>;

inline __device__ std::int64_t largest_in_warp(std::int64_t x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const std::int64_t other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

/// replay_chunk of all lanes of a warp that are active. `shared`: belief_stage's warp_bytes for the warp, aligned to 16
/// bytes.
template <class Traversal>
__device__ typename Traversal::sum replay_staged(const Traversal& x, std::int64_t series, std::int64_t k,
                                                 const typename Traversal::state& before, bool active,
                                                 std::byte* shared) {
  using stage = belief_stage_of<Traversal>;
  if constexpr (!stage::used) {
    return active ? replay_chunk(x, series, k, before) : typename Traversal::sum(0);
  } else {
    constexpr int at_once = stage::steps;
    constexpr bool forward = Traversal::replay_type::direction > 0;
    const typename stage::means means{shared};
    const typename stage::covariances covariances{shared + stage::means::bytes};
    const typename stage::roots roots{shared + stage::means::bytes + stage::covariances::bytes};
    const int lane = static_cast<int>(threadIdx.x) % 32;
    typename Traversal::replay_type replay(x, series, k, before);
    const std::int64_t own = active ? replay.steps() : 0, most = largest_in_warp(own);
#pragma unroll 1
    for (std::int64_t done = 0; done < most; done += at_once) {
      const int count = own <= done ? 0 : own - done < at_once ? static_cast<int>(own - done) : at_once;
#pragma unroll 1
      for (int g = 0; g < count; ++g) {
        const auto& row = replay.step(done + g);
        const int index = forward ? g : at_once - 1 - g;
        if (!x.out.mean.empty()) means.put(lane, index, row.mean);
        if (!x.out.covariance.empty()) covariances.put(lane, index, covariance_of(row));
        if constexpr (traversal_writes_root<Traversal>) {
          if (!x.out.covariance_root.empty()) roots.put(lane, index, row.root);
        }
      }
      const std::int64_t at = forward ? replay.first_row() + done : replay.first_row() - done - (at_once - 1);
      const int begin = forward ? 0 : at_once - count, end = forward ? count : at_once;
      __syncwarp();
      if (!x.out.mean.empty()) means.flush(x.out.mean.data(), lane, at, begin, end);
      if (!x.out.covariance.empty()) covariances.flush(x.out.covariance.data(), lane, at, begin, end);
      if constexpr (traversal_writes_root<Traversal>) {
        if (!x.out.covariance_root.empty()) roots.flush(x.out.covariance_root.data(), lane, at, begin, end);
      }
      __syncwarp();
    }
    return active ? replay.finish() : typename Traversal::sum(0);
  }
}

}  // namespace kalscan::detail
