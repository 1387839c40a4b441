// SPDX-License-Identifier: MIT
// CUB's DeviceScan as one gets it by tuning it for the element, where the toolkit's CCCL lets a caller do that: with the
// threads and items of a block that did best on an H100. Elsewhere a row that says so. The headers of a newer CCCL ahead
// of the toolkit's on the include path are enough.
#pragma once

#include <cub/device/device_scan.cuh>
#include <kalscan/cuda/compare.cuh>
#include <memory>
#include <string>
#include <vector>

#if CUB_VERSION >= 300500 && __has_include(<cuda/__execution/tune.h>)
#include <cuda/memory_resource>
#include <cuda/std/execution>
#include <cuda/stream_ref>
#define KALSCAN_BENCH_TUNED_CUB
#endif

namespace bench {

#if defined(KALSCAN_BENCH_TUNED_CUB)

template <int Threads, int Items>
struct cub_tuning {
  __host__ __device__ constexpr cub::ScanPolicy operator()(cuda::compute_capability) const {
    return {.algorithm = cub::ScanAlgorithm::lookback,
            .lookback = {.threads_per_block = Threads,
                         .items_per_thread = Items,
                         .load_algorithm = cub::BLOCK_LOAD_WARP_TRANSPOSE,
                         .load_modifier = cub::LOAD_DEFAULT,
                         .store_algorithm = cub::BLOCK_STORE_WARP_TRANSPOSE,
                         .scan_algorithm = cub::BLOCK_SCAN_WARP_SCANS,
                         .lookback_delay = {cub::LookbackDelayAlgorithm::fixed_delay, 350, 450}},
            .lookahead = {}};
  }
};

/// Hands out one piece of memory again and again, so that no allocation is in what is timed.
class one_piece {
 public:
  void* allocate(cuda::stream_ref, std::size_t bytes, std::size_t = 256) {
    if (!*memory_ || (*memory_)->size() < bytes) *memory_ = std::make_unique<kalscan::cuda_workspace>(bytes);
    const std::span<std::byte> piece = **memory_;
    return piece.data();
  }
  void deallocate(cuda::stream_ref, void*, std::size_t, std::size_t = 256) noexcept {}
  void* allocate_sync(std::size_t bytes, std::size_t = 256) {
    return allocate(cuda::stream_ref{cudaStream_t{}}, bytes);
  }
  void deallocate_sync(void*, std::size_t, std::size_t = 256) noexcept {}
  friend bool operator==(const one_piece& x, const one_piece& y) { return x.memory_ == y.memory_; }
  friend void get_property(const one_piece&, cuda::mr::device_accessible) noexcept {}

 private:
  std::shared_ptr<std::unique_ptr<kalscan::cuda_workspace>> memory_ =
      std::make_shared<std::unique_ptr<kalscan::cuda_workspace>>();
};

template <int Threads, int Items, class M>
kalscan::back_end<M> tuned_cub() {
  using arrays = kalscan::detail::device_scan<M>;
  return kalscan::detail::device_back_end<M>(
      "CUB tuned " + std::to_string(Threads) + " x " + std::to_string(Items),
      std::make_shared<std::weak_ptr<arrays>>(), [](const kalscan::scan_call<M>& call, const arrays& x) {
        return [m = call.op, in = x.in, out = x.out, memory = one_piece()] {
          const auto env = cuda::std::execution::env{
              cuda::std::execution::prop{cuda::mr::__get_memory_resource_t{}, memory},
              cuda::execution::tune(cub_tuning<Threads, Items>{})};
          kalscan::detail::require_success(
              "cub::DeviceScan::InclusiveScan",
              cub::DeviceScan::InclusiveScan(in.data(), out.data(), m, std::ssize(in), env));
        };
      });
}

/// Elements of 8 bytes have two: the first is the better one up to some 10^7 elements.
template <class M>
std::vector<kalscan::back_end<M>> tuned_cub_back_ends() {
  constexpr std::size_t size = sizeof(kalscan::element_t<M>);
  if constexpr (size <= 8) {
    return {tuned_cub<256, 15, M>(), tuned_cub<128, 23, M>()};
  } else if constexpr (size <= 16) {
    return {tuned_cub<128, 15, M>()};
  } else if constexpr (size <= 32) {
    return {tuned_cub<128, 11, M>()};
  } else {
    return {};
  }
}

#else

template <class M>
std::vector<kalscan::back_end<M>> tuned_cub_back_ends() {
  return {kalscan::absent_back_end<M>("CUB tuned", "this CCCL's DeviceScan takes no tuning: that of 3.5 does")};
}

#endif

}  // namespace bench
