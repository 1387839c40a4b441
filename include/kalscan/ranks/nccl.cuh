// SPDX-License-Identifier: MIT
// The devices of NVIDIA's NCCL as ranks. In CMake link kalscan::nccl, which is there where NCCL is.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <kalscan/backend/cuda.cuh>
#include <span>
#include <stdexcept>
#include <string>

namespace kalscan {

/// What NCCL reported: the call that failed, and NCCL's message.
class nccl_error : public std::runtime_error {
 public:
  nccl_error(const std::string& call, ncclResult_t code)
      : std::runtime_error("kalscan: " + call + ": " + ncclGetErrorString(code)), code_(code) {}
  [[nodiscard]] ncclResult_t code() const { return code_; }

 private:
  ncclResult_t code_;
};

/// A rank of an ncclComm_t, which outlives this. Its device is the current one wherever this is used, and each rank has
/// a thread or a process of its own. The communicator is a blocking one (NCCL's default). A rank that is lost is NCCL's
/// to find: ncclCommGetAsyncError tells, and ncclCommAbort ends what waits for it. Calls that are to be captured into a
/// graph are made once before that, since NCCL connects two ranks when they first meet.
class nccl_communicator {
 public:
  explicit nccl_communicator(ncclComm_t comm) : comm_(comm) {
    require(ncclCommUserRank(comm_, &rank_), "ncclCommUserRank");
    require(ncclCommCount(comm_, &size_), "ncclCommCount");
  }
  int rank() const { return rank_; }
  int size() const { return size_; }

  // On device memory, enqueued in the stream.
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out, cudaStream_t stream) const {
    require(ncclAllGather(in.data(), out.data(), in.size(), ncclInt8, comm_, stream), "ncclAllGather");
  }
  void send(std::span<const std::byte> in, int to, cudaStream_t stream) const {
    require(ncclSend(in.data(), in.size(), ncclInt8, to, comm_, stream), "ncclSend");
  }
  void receive(std::span<std::byte> out, int from, cudaStream_t stream) const {
    require(ncclRecv(out.data(), out.size(), ncclInt8, from, comm_, stream), "ncclRecv");
  }

  /// On host memory: allocates on the device, and waits for it.
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const {
    if (in.empty()) return;
    const cuda_workspace memory(in.size() + out.size());
    const std::span<std::byte> there = memory;
    const own_stream stream;
    detail::require_success("cudaMemcpyAsync", cudaMemcpyAsync(there.data(), in.data(), in.size(),
                                                               cudaMemcpyHostToDevice, stream.get));
    all_gather(there.first(in.size()), there.subspan(in.size()), stream.get);
    detail::require_success("cudaMemcpyAsync", cudaMemcpyAsync(out.data(), there.data() + in.size(), out.size(),
                                                               cudaMemcpyDeviceToHost, stream.get));
    detail::require_success("cudaStreamSynchronize", cudaStreamSynchronize(stream.get));
  }

 private:
  struct own_stream {
    cudaStream_t get = nullptr;
    own_stream() {
      detail::require_success("cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&get, cudaStreamNonBlocking));
    }
    own_stream(const own_stream&) = delete;
    own_stream& operator=(const own_stream&) = delete;
    ~own_stream() { cudaStreamDestroy(get); }
  };
  static void require(ncclResult_t result, const char* call) {
    if (result != ncclSuccess) throw nccl_error(call, result);
  }

  ncclComm_t comm_;
  int rank_ = 0, size_ = 1;
};

}  // namespace kalscan
