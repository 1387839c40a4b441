// SPDX-License-Identifier: MIT
// 13_gaussian_process on a device: the same models, with their times in its memory.
// Usage: 14_cuda_gaussian_process [DATA [OUTPUT]]
#include <cstddef>
#include <cstdio>
#include <exception>
#include <iostream>
#include <kalscan/cuda/kalman.cuh>
#include <string>
#include <vector>

#include "device_array.cuh"
#include "gaussian_process.hpp"

/// Points in device memory.
class device_series {
 public:
  explicit device_series(const points& p)
      : size_(p.time.size()),
        time_(p.time),
        value_(p.value),
        workspace_(kalscan::filter_workspace<decltype(model_of<kalscan::matern52>({}, nullptr))>(
            {}, static_cast<std::int64_t>(size_))),
        likelihood_(1) {}

  template <template <class> class Matern>
  double log_likelihood(const parameters& at) const {
    kalscan::log_likelihood(policy(), model_of<Matern>(at, time_.data()), value_, likelihood_);
    return likelihood_.on_host()[0];
  }
  template <template <class> class Matern>
  band smoothed(const parameters& at) const {
    const auto model = model_of<Matern>(at, time_.data());
    constexpr std::size_t n = decltype(model)::states;
    const device_array<double> means(size_ * n), covariances(size_ * n * n);
    kalscan::filter(policy(), model, value_, {.mean = means, .covariance = covariances});
    kalscan::smooth(policy(), model, value_, {.mean = means, .covariance = covariances}, {means, covariances});
    return {means.on_host(), covariances.on_host(), n};
  }

 private:
  /// Matérn 5/2 has the most states, and its workspace serves the others.
  kalscan::cuda policy() const { return {.workspace = workspace_}; }

  std::size_t size_;
  device_array<double> time_, value_;
  kalscan::cuda_workspace workspace_;
  device_array<double> likelihood_;
};

int main(int argc, char** argv) try {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return std::puts("no GPU"), 77;
  gaussian_process<device_series>(argc > 1 ? argv[1] : "examples/data/cenogrid.csv", argc > 2 ? argv[2] : "");
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
