// SPDX-License-Identifier: MIT
// Scans over the threads of a block, for use inside kernels.
#pragma once

#include <kalscan/cuda/scope/warp.cuh>

namespace kalscan {

/// All `Threads` threads of a one-dimensional block, 1 to 1024, which call the verbs together: inclusive_scan,
/// exclusive_scan, inclusive_suffix_scan, exclusive_suffix_scan, reduce and scan_states, as described in warp.cuh.
/// Elements are trivially copyable, 4 to 256 bytes (smaller ones work, and cost as much as 4 bytes). Shared memory is
/// the caller's, and a verb has two barriers (none in a block of one warp):
///
///     using scope = kalscan::block<kalscan::affine_monoid<float>, 256>;
///     __shared__ scope::storage shared;
///     scope block(shared);
///     block.inclusive_scan(items);   // items is an array of the thread's own
///
/// Each thread leaves its element in shared memory, and the first warp scans them, each of its threads a run of
/// neighbours: fewer operations than scans within all warps, which pays for operators that cost more than an addition.
template <detail::device_monoid M, int Threads>
class block : public detail::scope_verbs<block<M, Threads>, M, Threads> {
  static_assert(Threads >= 1 && Threads <= 1024, "a block has at most 1024 threads");
  using element = element_t<M>;
  static constexpr bool one_warp = Threads <= 32;
  static constexpr int warp_threads = one_warp ? Threads : 32;
  static constexpr int run = (Threads + 31) / 32;  // neighbours that one thread of the first warp scans
  // Runs an odd number of words apart: threads that go through their runs together then use different banks.
  static constexpr int run_stride = run % 2 == 0 ? run + 1 : run;
  static constexpr bool in_registers = run * detail::device_words<element> <= 16;  // more would cost occupancy

 public:
  static constexpr int threads = Threads;
  struct storage {
    detail::shared_words<element, one_warp ? 1 : 32 * run_stride + 1> values;
  };

  __device__ explicit block(storage& shared, const M& m = {})
      : detail::scope_verbs<block, M, Threads>(m), shared_(shared), warp_(m) {}

  __device__ int thread_rank() const { return static_cast<int>(threadIdx.x); }

  template <detail::scan_kind Kind, class Op, class E, class Count>
  __device__ E inclusive(const Op& op, const E& x, Count valid) {
    if constexpr (one_warp) {
      return warp_.template inclusive<Kind>(op, x, valid);
    } else {
      return rake<Kind, detail::bounds::inclusive>(op, x, valid).earlier;
    }
  }
  template <detail::scan_kind Kind, class Op, class E, class Count>
  __device__ detail::thread_scan<E> scan(const Op& op, const E& x, Count valid) {
    if constexpr (one_warp) {
      return warp_.template scan<Kind>(op, x, valid);
    } else {
      return rake<Kind, detail::bounds::exclusive>(op, x, valid);
    }
  }
  template <class Op, class E, class Count>
  __device__ E total(const Op& op, const E& x, Count valid) {
    if constexpr (one_warp) {
      return warp_.total(op, x, valid);
    } else {
      auto& values = shared_.values;
      if (thread_rank() < valid) values.put(index_of(thread_rank()), x);
      __syncthreads();
      if (thread_rank() < 32) {
        const int count = run_length(valid);
        E sum;
        if (count > 0) sum = values.get(thread_rank() * run_stride);
#pragma unroll
        for (int i = 1; i < run; ++i) {
          if (i < count) sum = op(sum, values.get(thread_rank() * run_stride + i));
        }
        sum = warp_.total(op, sum, run_count(valid));
        if (thread_rank() == 0) values.put(total_index, sum);
      }
      __syncthreads();
      return values.get(total_index);
    }
  }

 private:
  storage& shared_;
  warp<M, warp_threads> warp_;

  static constexpr int total_index = 32 * run_stride;
  __device__ static constexpr int index_of(int thread) { return thread / run * run_stride + thread % run; }
  /// How many elements there are from this thread's run on, for threads of the first warp (none where this is not
  /// positive, perhaps more than the run), and how many threads have any. Not clamped: ptxas 13.0 gets
  /// `min(x, n) == n` wrong.
  template <class Count>
  __device__ int run_length(Count valid) const {
    if constexpr (fills_runs<Count>) {
      return run;
    } else {
      return valid - thread_rank() * run;
    }
  }
  template <class Count>
  __device__ static auto run_count(Count valid) {
    if constexpr (fills_runs<Count>) {
      return std::integral_constant<int, 32>{};
    } else {
      return (valid + run - 1) / run;
    }
  }
  template <class Count>
  static constexpr bool fills_runs = std::is_same_v<Count, std::integral_constant<int, 32 * run>>;

  /// `earlier` of the result includes the thread's own element where these are inclusive. A thread's entry is always
  /// the same one, read last by itself: the next verb needs no barrier before it writes there.
  template <detail::scan_kind Kind, detail::bounds Bounds, class Op, class E, class Count>
  __device__ detail::thread_scan<E> rake(const Op& op, const E& x, Count valid) {
    auto& values = shared_.values;
    const bool takes_part = thread_rank() < valid;
    if (takes_part) values.put(index_of(thread_rank()), x);
    __syncthreads();
    if (thread_rank() < 32) {
      const int begin = thread_rank() * run_stride, count = run_length(valid);
      const auto runs = run_count(valid);
      E items[in_registers ? run : 1];
      E sum;
      bool some = false;
#pragma unroll
      for (int k = 0; k < run; ++k) {
        const int i = Kind == detail::scan_kind::suffix ? run - 1 - k : k;
        if (i < count) {
          const E item = values.get(begin + i);
          if constexpr (in_registers) items[i] = item;
          sum = some ? op(sum, item) : item;
          some = true;
        }
      }
      const detail::thread_scan<E> scanned = warp_.template scan<Kind>(op, sum, runs);
      E running = scanned.earlier;
      bool any = thread_rank() != (Kind == detail::scan_kind::suffix ? runs - 1 : 0);
#pragma unroll
      for (int k = 0; k < run; ++k) {
        const int i = Kind == detail::scan_kind::suffix ? run - 1 - k : k;
        if (i < count) {
          const E item = in_registers ? items[in_registers ? i : 0] : values.get(begin + i);
          if (Bounds == detail::bounds::exclusive && any) values.put(begin + i, running);
          if (Bounds == detail::bounds::inclusive || k + 1 < run) running = any ? op(running, item) : item;
          any = true;
          if (Bounds == detail::bounds::inclusive) values.put(begin + i, running);
        }
      }
      if (thread_rank() == 0) values.put(total_index, scanned.total);
    }
    __syncthreads();
    // Entries that nobody wrote are not read: those of threads that hold nothing, and that of the first thread.
    detail::thread_scan<E> result;
    const bool first = thread_rank() == (Kind == detail::scan_kind::suffix ? valid - 1 : 0);
    if (takes_part && (Bounds == detail::bounds::inclusive || !first))
      result.earlier = values.get(index_of(thread_rank()));
    if constexpr (Bounds == detail::bounds::exclusive) result.total = values.get(total_index);
    return result;
  }
};

}  // namespace kalscan
