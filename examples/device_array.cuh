// SPDX-License-Identifier: MIT
// An array in device memory, for the examples.
#pragma once

#include <cstddef>
#include <kalscan/backend/cuda.cuh>
#include <span>
#include <stdexcept>
#include <vector>

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

/// An array in device memory.
template <class T>
class device_array {
 public:
  explicit device_array(std::size_t size) : memory_(size * sizeof(T)), size_(size) {}
  explicit device_array(const std::vector<T>& from) : device_array(from.size()) {
    check(cudaMemcpy(data(), from.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  T* data() const { return reinterpret_cast<T*>(static_cast<std::span<std::byte>>(memory_).data()); }
  operator std::span<T>() const { return {data(), size_}; }
  operator std::span<const T>() const { return {data(), size_}; }
  std::vector<T> on_host() const {
    std::vector<T> to(size_);
    check(cudaMemcpy(to.data(), data(), size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return to;
  }

 private:
  kalscan::cuda_workspace memory_;
  std::size_t size_;
};
