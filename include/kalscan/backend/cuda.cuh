// SPDX-License-Identifier: MIT
// The CUDA back end's policy, its workspace, and the exception for what CUDA reports.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace kalscan {

/// What the CUDA runtime reported: the call or launch that failed, and CUDA's message.
class cuda_error : public std::runtime_error {
 public:
  cuda_error(const std::string& call, cudaError_t code)
      : std::runtime_error("kalscan: " + call + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")"),
        code_(code) {}
  [[nodiscard]] cudaError_t code() const { return code_; }

 private:
  cudaError_t code_;
};

/// Runs on the current NVIDIA device, in a stream.
///
/// stream      where everything is enqueued. A verb returns once it is, and never waits for the device.
/// workspace   device memory that a verb may use until its work in the stream is done; each verb has a query for the
///             bytes that it needs. Calls in one stream may share a workspace. Its contents before the call do not
///             matter.
/// chunk       steps per chunk of time, the last one of a sequence shorter. 0 lets the library choose; with whole_time,
///             time is not cut. A mixer's backward pass rounds `chunk` up to whole intervals of its checkpoints, and
///             filters of constant models may cut the ends of a long series more finely (<kalscan/cuda/kalman.cuh>).
///
/// No verb allocates, frees or synchronizes, so that all may be captured into a graph. All arrays lie in device (or
/// managed) memory. Results have the same bits on every run and on devices with any number of multiprocessors: the
/// order of all operations depends on shapes, strides, alignment and `chunk` alone.
struct cuda {
  cudaStream_t stream = nullptr;
  std::span<std::byte> workspace = {};
  std::int64_t chunk = 0;
};

template <>
inline constexpr bool is_policy<cuda> = true;
template <>
inline constexpr bool runs_sweeps<cuda> = false;

namespace detail {

inline void require_success(const char* call, cudaError_t code) {
  if (code != cudaSuccess) throw cuda_error(call, code);
}

inline void check_launch(const char* kernel) {
  const cudaError_t code = cudaGetLastError();
  if (code != cudaSuccess) throw cuda_error(text({"launch of ", kernel}), code);
}

/// The blocks of a grid, at most.
inline constexpr std::int64_t most_blocks = (std::int64_t(1) << 31) - 1;

/// The bytes of shared memory that a block can have on the current device.
inline std::size_t most_shared_memory() {
  int device = 0, most = 0;
  require_success("cudaGetDevice", cudaGetDevice(&device));
  require_success("cudaDeviceGetAttribute",
                  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return static_cast<std::size_t>(most);
}

/// Kernels with much shared memory must be told so; with more than a block can have, throws.
template <class Kernel>
void allow_shared_memory(const char* verb, Kernel kernel, std::size_t bytes) {
  if (bytes <= 48 * 1024) return;
  const std::size_t most = most_shared_memory();
  if (bytes > most) {
    bad_argument(verb, text({"these states in this number type take ", bytes, " bytes of shared memory, more than the ",
                             most, " of a block"}));
  }
  require_success("cudaFuncSetAttribute",
                  cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

/// Whether the driver calls it device memory: one attribute, where cudaPointerGetAttributes asks for all, by the
/// function to which host memory is no error. False may also mean that it could not be asked.
inline bool is_device_memory(const void* pointer) {
  using ask_type = CUresult (*)(unsigned, CUpointer_attribute*, void**, CUdeviceptr);
  static const ask_type ask = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    const cudaError_t code =
        cudaGetDriverEntryPointByVersion("cuPointerGetAttributes", &function, 12000, cudaEnableDefault, &found);
    if (code != cudaSuccess) cudaGetLastError();
    return code == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<ask_type>(function) : nullptr;
  }();
  unsigned type = 0;
  CUpointer_attribute wanted = CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
  void* answer = &type;
  return ask != nullptr && ask(1, &wanted, &answer, reinterpret_cast<CUdeviceptr>(pointer)) == CUDA_SUCCESS &&
         type == CU_MEMORYTYPE_DEVICE;
}

/// Throws unless the current device can follow the pointer. Null is left to others. `argument` is a name, or makes one.
template <class Name>
void require_device_memory(const char* verb, const Name& argument, const void* pointer) {
  if (pointer == nullptr || is_device_memory(pointer)) return;
  cudaPointerAttributes attributes{};
  require_success("cudaPointerGetAttributes", cudaPointerGetAttributes(&attributes, pointer));
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    bad_argument(verb, text({argument_text(argument), " is in host memory, not in device memory"}));
  }
}

/// A call's workspace, handed out array by array.
class workspace_arena {
 public:
  static constexpr std::size_t alignment = 256;
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

  explicit workspace_arena(std::span<std::byte> memory) : memory_(memory) {}
  template <class T>
  T* take(std::int64_t count) {
    T* array = reinterpret_cast<T*>(memory_.data() + used_);
    used_ += rounded(static_cast<std::size_t>(count) * sizeof(T));
    return count > 0 ? array : nullptr;
  }
  /// The bytes handed out so far. An arena of no memory at all tells how much a call would take.
  std::size_t used() const { return used_; }
  /// What was handed out after the first `from` bytes.
  std::span<std::byte> since(std::size_t from) const { return {memory_.data() + from, used_ - from}; }

 private:
  std::span<std::byte> memory_;
  std::size_t used_ = 0;
};

inline void require_chunk(const char* verb, const cuda& policy) {
  if (policy.chunk < 0) bad_argument(verb, text({"chunk of the policy is ", policy.chunk}));
}

inline void require_workspace(const char* verb, const cuda& policy, std::size_t bytes) {
  if (bytes == 0) return;
  if (policy.workspace.size() < bytes) {
    bad_argument(verb, text({"workspace has ", policy.workspace.size(), " bytes, but ", bytes, " are needed"}));
  }
  if (reinterpret_cast<std::uintptr_t>(policy.workspace.data()) % workspace_arena::alignment != 0) {
    bad_argument(verb, text({"workspace is not aligned to ", workspace_arena::alignment, " bytes"}));
  }
  require_device_memory(verb, "workspace", policy.workspace.data());
}

}  // namespace detail

/// Device memory for a policy's workspace. The constructor allocates and the destructor frees it, which may synchronize
/// the device: create it once, outside of loops, with a name.
class cuda_workspace {
 public:
  explicit cuda_workspace(std::size_t bytes) : bytes_(bytes) {
    if (bytes > 0) detail::require_success("cudaMalloc", cudaMalloc(&data_, bytes));
  }
  cuda_workspace(cuda_workspace&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  cuda_workspace& operator=(cuda_workspace&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~cuda_workspace() { cudaFree(data_); }

  [[nodiscard]] std::size_t size() const { return bytes_; }
  operator std::span<std::byte>() const& { return {static_cast<std::byte*>(data_), bytes_}; }
  operator std::span<std::byte>() const&& = delete;  // the memory would be freed before its first use: give it a name

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace kalscan
