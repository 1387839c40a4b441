// SPDX-License-Identifier: MIT
// The shapes on which mixers are measured on a device, and how a call is timed.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <kalscan/cuda/kla_forward.cuh>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

using kalscan::tensor;

inline void ok(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

struct shape_row {
  std::int64_t B, L, M;
  double floor = 0, forward_bar = 0, forward_goal = 0, backward_bar = 0, backward_goal = 0;  // ms; 0: not stated
};
inline constexpr std::array<shape_row, 8> shapes{{{8, 2048, 1024, 0.09, 0.30, 0.15, 0.98, 0.50},
                                                  {1, 2048, 1024, 0.011, 0.053, 0.035, 0.25, 0.12},
                                                  {1, 8192, 1024, 0.044, 0.21, 0.12, 0.82, 0.40},
                                                  {1, 65536, 1024, 0.35, 1.6, 0.95, 6.0, 3.0},
                                                  {1, 16384, 256, 0.022, 0.118, 0.06, 0.45, 0.22},
                                                  {32, 1024, 2048, 0.35, 0.56, 0.50, 3.8, 1.9},
                                                  {4, 4096, 2048, 0.18, 0.60, 0.30, 1.95, 1.0},
                                                  {1, 2048, 4096, 0.045}}};

template <class T>
struct device_memory {
  T* data = nullptr;
  explicit device_memory(std::int64_t count) {
    if (count > 0) ok(cudaMalloc(&data, static_cast<std::size_t>(count) * sizeof(T)));
  }
  device_memory(device_memory&& other) noexcept : data(std::exchange(other.data, nullptr)) {}
  ~device_memory() { cudaFree(data); }
};

template <class T>
__global__ void fill_uniform(T* x, std::int64_t n, float low, float high, std::uint64_t seed) {
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < n;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    std::uint64_t z = (static_cast<std::uint64_t>(i) + seed * 0x9e3779b97f4a7c15U) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    x[i] = static_cast<T>(low + (high - low) * static_cast<float>(z >> 40) * 0x1p-24F);
  }
}

/// Arrays that a call owns.
template <class T>
struct array {
  device_memory<T> memory;
  tensor<T> view;
  array(std::int64_t b, std::int64_t t, std::int64_t m, std::int64_t s, float low = 0, float high = 0)
      : memory(b * t * m * s), view(memory.data, b, t, m, s) {
    static std::uint64_t seed = 0;
    fill_uniform<<<1024, 256>>>(view.data, b * t * m * s, low, high, ++seed);
    ok(cudaGetLastError());
  }
};

/// Keeps the device busy for so many cycles.
template <class Cycles>
__global__ void occupy(Cycles cycles) {
  const Cycles start = clock64();
  while (clock64() - start < cycles) {
  }
}

/// The median time of a call in ms, of 9 after 3 to warm up, on the device: the call is queued while the device is
/// busy, as a model's calls are, so that the host's time to launch it is not in there.
template <class Call>
double median_ms(Call call) {
  cudaEvent_t start, stop;
  ok(cudaEventCreate(&start)), ok(cudaEventCreate(&stop));
  std::vector<double> times;
  for (int i = 0; i < 12; ++i) {
    occupy<<<1, 1>>>(100000LL);  // some 50 us
    ok(cudaGetLastError());
    ok(cudaEventRecord(start));
    call();
    ok(cudaEventRecord(stop));
    ok(cudaEventSynchronize(stop));
    float ms = 0;
    ok(cudaEventElapsedTime(&ms, start, stop));
    if (i >= 3) times.push_back(ms);
  }
  ok(cudaEventDestroy(start)), ok(cudaEventDestroy(stop));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// Times in ms; chunk 0: as the library chooses.
struct mixer_ms {
  double forward, backward;
};
mixer_ms kla_ms(const shape_row& shape, std::int64_t chunk = 0);
mixer_ms kla_bfloat16_ms(const shape_row& shape, std::int64_t chunk = 0);
mixer_ms gla_ms(const shape_row& shape);
/// A training step's two calls: forward leaves checkpoints, backward takes them.
mixer_ms kla_training_ms(const shape_row& shape);
mixer_ms kla_bfloat16_training_ms(const shape_row& shape);
mixer_ms gla_training_ms(const shape_row& shape);
/// Rotating KLA with M / 3 heads, in float and with bfloat16 as storage.
mixer_ms rotating_kla_ms(const shape_row& shape, std::int64_t chunk = 0);
mixer_ms rotating_kla_bfloat16_ms(const shape_row& shape);
/// One token each of B sequences, M channels.
double kla_step_ms(std::int64_t B, std::int64_t M);

}  // namespace bench
