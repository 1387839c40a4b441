// SPDX-License-Identifier: MIT
// A kernel that starts while the one that clears its memory still runs (programmatic dependent launch), which hides what
// it takes to start a kernel. On devices before compute capability 9.0 one starts after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <span>
#include <type_traits>

namespace kalscan::detail {

/// Waits until what the kernel before has written is there. What kernels before that one wrote is there from the start:
/// it did not begin earlier.
__device__ inline void wait_for_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

template <class Word>
__global__ void clear_kernel(Word* memory, std::int64_t count) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += threads) memory[i] = Word{};
}

/// Makes memory zero; its size and address are multiples of 16 bytes.
inline void clear_memory(const cuda& policy, std::span<std::byte> memory) {
  constexpr int threads = 256;
  const auto count = static_cast<std::int64_t>(memory.size() / sizeof(uint4));
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>((count + threads - 1) / threads, 1024));
  clear_kernel<<<blocks, threads, 0, policy.stream>>>(reinterpret_cast<uint4*>(memory.data()), count);
  check_launch("clear_kernel");
}

/// Launches a kernel after clear_memory. If it was compiled for compute capability 9.0 or later, it waits by itself
/// (wait_for_kernel_before), and may start before the memory is cleared.
template <class... Parameters>
void launch_after_clear(unsigned blocks, unsigned threads, std::size_t shared, cudaStream_t stream,
                        void (*kernel)(Parameters...), const std::type_identity_t<Parameters>&... arguments) {
  cudaFuncAttributes compiled{};
  require_success("cudaFuncGetAttributes", cudaFuncGetAttributes(&compiled, kernel));
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks), config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared, config.stream = stream;
  config.attrs = &early, config.numAttrs = compiled.ptxVersion >= 90 ? 1 : 0;
  require_success("cudaLaunchKernelEx", cudaLaunchKernelEx(&config, kernel, arguments...));
}

}  // namespace kalscan::detail
