// SPDX-License-Identifier: MIT
// Arrays in device memory for tests, between guard zones that must stay as they are.
#pragma once

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <kalscan/backend/cuda.cuh>
#include <span>
#include <vector>

inline void require_cuda(cudaError_t error) { REQUIRE_MESSAGE(error == cudaSuccess, cudaGetErrorString(error)); }

/// `skew` bytes move the array off the alignment of its allocation.
template <class T>
class device_array {
 public:
  explicit device_array(std::size_t size, std::size_t skew = 0) : size_(size), skew_(skew) {
    require_cuda(cudaMalloc(&memory_, guard + skew + size * sizeof(T) + guard));
    require_cuda(cudaMemset(memory_, poison, guard + skew + size * sizeof(T) + guard));
  }
  explicit device_array(const std::vector<T>& host, std::size_t skew = 0) : device_array(host.size(), skew) {
    require_cuda(cudaMemcpy(data(), host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  device_array(const device_array&) = delete;
  ~device_array() {
    check_guards();
    cudaFree(memory_);
  }

  T* data() const { return reinterpret_cast<T*>(memory_ + guard + skew_); }
  std::span<T> span() const { return {data(), size_}; }
  std::vector<T> host() const {
    std::vector<T> result(size_);
    require_cuda(cudaMemcpy(result.data(), data(), size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return result;
  }

 private:
  static constexpr std::size_t guard = 256;
  static constexpr unsigned char poison = 0xdb;
  std::byte* memory_ = nullptr;
  std::size_t size_, skew_;

  void check_guards() const {
    std::vector<unsigned char> front(guard + skew_), back(guard);
    cudaMemcpy(front.data(), memory_, front.size(), cudaMemcpyDeviceToHost);
    cudaMemcpy(back.data(), memory_ + guard + skew_ + size_ * sizeof(T), guard, cudaMemcpyDeviceToHost);
    bool intact = true;
    for (const unsigned char c : front) intact = intact && c == poison;
    for (const unsigned char c : back) intact = intact && c == poison;
    CHECK_MESSAGE(intact, "the memory around an array was written to");
  }
};
