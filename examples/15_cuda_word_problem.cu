// SPDX-License-Identifier: MIT
// Follows 100,000 products in A5 on a device, as 10_word_problem does on the host: rotating KLA with one head and one
// state, nothing trained.
#include <cstddef>
#include <cstdio>
#include <exception>
#include <iostream>
#include <kalscan/cuda/kla_forward.cuh>
#include <kalscan/kla/rotating_kla.hpp>
#include <vector>

#include "device_array.cuh"
#include "word_problem.hpp"

int main() try {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return std::puts("no GPU"), 77;
  using in = kalscan::tensor<const float>;
  using out = kalscan::tensor<float>;
  constexpr long L = 100000, settled = 2000;
  const word_problem words(L);
  const device_array<float> letters(words.letters), readings(words.readings), means(3 * L);
  const device_array<float> numbers(std::vector<float>{1, 4, 0});  // one, the readings' precision, none
  const float *one = numbers.data(), *precision = one + 1, *none = one + 2;

  const in each_token(one, {1, L, 1, 1}, {0, 0, 0, 0}), precisions(precision, {1, L, 1, 1}, {0, 0, 0, 0});
  const auto [vx, vy, vz] = kalscan::components<3, const float>(readings.data(), 1, L, 1);
  const auto [rw, rx, ry, rz] = kalscan::components<4, const float>(letters.data(), 1, L, 1);
  const auto [x, y, z] = kalscan::components<3>(means.data(), 1, L, 1);
  const kalscan::rotating_kla_inputs<in> inputs{
      vx, vy, vz, precisions, rw, rx, ry, rz, each_token, each_token, {one, 1, 1, 1, 1}, {none, 1, 1, 1, 1}};
  const in zero(none, 1, 1, 1, 1);  // precision and vector: nothing is known of where the point starts
  const kalscan::mixer_states<kalscan::rotating_kla, float> states{
      .initial = kalscan::isotropic_information<in>{zero, zero, zero, zero}};

  using policy = kalscan::cuda_for<kalscan::mixer_kernels{.states = 1, .parameters_vary = false}>;
  const kalscan::mixer_shape shape{1, L, 1, 1};
  const kalscan::cuda_workspace workspace(kalscan::forward_workspace(policy{}, kalscan::rotating_kla{}, shape));
  const auto follow = [&] {
    kalscan::forward(policy{{.workspace = workspace}}, kalscan::rotating_kla{}, shape, inputs,
                     kalscan::rotating_kla_outputs<out>{x, y, z, {}}, states);
  };
  follow();  // what CUDA does once is not timed
  cudaEvent_t before, after;
  check(cudaEventCreate(&before));
  check(cudaEventCreate(&after));
  check(cudaEventRecord(before));
  follow();
  check(cudaEventRecord(after));
  const std::vector<float> followed = means.on_host();
  float ms = 0;
  check(cudaEventElapsedTime(&ms, before, after));

  const std::size_t late = words.errors(followed, settled);
  std::cout << "Word problem of A5: " << words.group.size() << " rotations, " << L << " steps\n  rotating KLA, cuda: "
            << ms << " ms, " << words.errors(followed, 0) << " products wrong, " << late << " of them after step "
            << settled << '\n';
  return late == 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
