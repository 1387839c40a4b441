// SPDX-License-Identifier: MIT
// The mixer of 04_own_mixer on a device, with nothing added to it: forward and backward, against one thread of the
// host.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/cuda/kla_forward.cuh>
#include <kalscan/kalscan.hpp>
#include <span>
#include <vector>

#include "rotation.hpp"

using in = kalscan::tensor<const float>;
using out = kalscan::tensor<float>;
constexpr long B = 2, L = 5000, M = 96, S = 16;
const kalscan::mixer_shape shape{B, L, M, S};

/// All arrays of a call in one piece of memory, the host's or a device's.
struct arrays {
  static constexpr long size = 2 * B * L * M + 2 * B * L * S + 3 * M * S;
  float *v, *y, *k, *q, *c, *s, *c_bar;

  explicit arrays(float* memory)
      : v(memory),
        y(v + B * L * M),
        k(y + B * L * M),
        q(k + B * L * S),
        c(q + B * L * S),
        s(c + M * S),
        c_bar(s + M * S) {}
  rotation::inputs<in> inputs() const {
    return {{v, B, L, M, 1}, {k, B, L, 1, S}, {q, B, L, 1, S}, {c, 1, 1, M, S}, {s, 1, 1, M, S}};
  }
  template <class Policy>
  void run(const Policy& policy) const {
    kalscan::forward(policy, rotation{}, shape, inputs(), rotation::outputs<out>{{y, B, L, M, 1}});
    rotation::inputs<out> bars{};  // of the sum of y^2 / 2, by c alone
    bars.c = {c_bar, 1, 1, M, S};
    kalscan::backward(policy, rotation{}, shape, inputs(), rotation::outputs<in>{{y, B, L, M, 1}}, bars);
  }
};

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return std::puts("no GPU"), 77;
  std::vector<float> host(arrays::size), device(arrays::size);
  const arrays here(host.data());
  for (long i = 0; i < arrays::size; ++i) host[i] = 0.1f * static_cast<float>(i * 7919 % 101 - 50) / 50;
  for (long j = 0; j < M * S; ++j) {
    here.c[j] = 0.99f * std::cos(0.001f * static_cast<float>(j));
    here.s[j] = 0.99f * std::sin(0.001f * static_cast<float>(j));
  }
  here.run(kalscan::seq{});

  const kalscan::cuda_workspace memory(arrays::size * sizeof(float));
  const auto bytes = static_cast<std::span<std::byte>>(memory);
  const arrays there(reinterpret_cast<float*>(bytes.data()));
  const kalscan::cuda_workspace workspace(
      std::max(kalscan::forward_workspace(kalscan::cuda{}, rotation{}, shape),
               kalscan::backward_workspace(kalscan::cuda{}, rotation{}, shape, there.inputs())));
  cudaError_t error = cudaMemcpy(bytes.data(), host.data(), bytes.size(), cudaMemcpyHostToDevice);
  there.run(kalscan::cuda{.workspace = workspace});
  if (error == cudaSuccess) error = cudaMemcpy(device.data(), bytes.data(), bytes.size(), cudaMemcpyDeviceToHost);

  const auto difference = [&](const float* from, long count) {
    double worst = 0, largest = 0;
    for (long i = from - host.data(); i < from - host.data() + count; ++i) {
      worst = std::max(worst, double(std::abs(device[i] - host[i])));
      largest = std::max(largest, double(std::abs(host[i])));
    }
    return worst / largest;
  };
  const double y = difference(here.y, B * L * M), c_bar = difference(here.c_bar, M * S);
  std::printf("device and host differ by %.1e in y and %.1e in the adjoint (%s)\n", y, c_bar,
              cudaGetErrorString(error));
  return error == cudaSuccess && y < 1e-4 && c_bar < 1e-4 ? 0 : 1;
}
