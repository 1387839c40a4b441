// SPDX-License-Identifier: MIT
// Arrays on a device, and the end of the program where CUDA fails.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

inline void require(cudaError_t error) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
    std::exit(1);
  }
}

template <class T>
struct array {
  T* data = nullptr;
  std::size_t size;
  explicit array(std::size_t n) : size(n) { require(cudaMalloc(&data, n * sizeof(T))); }
  explicit array(const std::vector<T>& x) : array(x.size()) {
    require(cudaMemcpy(data, x.data(), size * sizeof(T), cudaMemcpyHostToDevice));
  }
  array(const array&) = delete;
  ~array() { cudaFree(data); }
  std::span<T> span() const { return {data, size}; }
  std::vector<T> host() const {
    std::vector<T> x(size);
    require(cudaMemcpy(x.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return x;
  }
};
