// SPDX-License-Identifier: MIT
// The problems of tests/kla on the device: arrays there and back, and the calls that the tests make.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <kalscan/cuda/kla_forward.cuh>
#include <string>
#include <vector>

#include "../kla/problem.hpp"

namespace kla_test {

inline void ok(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

/// A copy of an array on the device.
template <class T>
struct device_array {
  array<T> host;
  T* data = nullptr;

  explicit device_array(const array<T>& x) : host(x) {
    if (host.values.empty()) return;
    ok(cudaMalloc(&data, host.values.size() * sizeof(T)));
    ok(cudaMemcpy(data, host.values.data(), host.values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  device_array(device_array&& other) noexcept : host(std::move(other.host)), data(std::exchange(other.data, nullptr)) {}
  ~device_array() { cudaFree(data); }
  array<T> back() const {
    array<T> x = host;
    if (!x.values.empty())
      ok(cudaMemcpy(x.values.data(), data, x.values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return x;
  }
  tensor<T> view() const { return {data, host.extent, host.stride}; }
};

template <class T>
std::vector<device_array<T>> to_device(const std::vector<array<T>>& x) {
  std::vector<device_array<T>> y;
  for (const auto& a : x) y.emplace_back(a);
  return y;
}
template <class T>
std::vector<array<T>> to_host(const std::vector<device_array<T>>& x) {
  std::vector<array<T>> y;
  for (const auto& a : x) y.push_back(a.back());
  return y;
}
template <class Aggregate, class Tensor, class T>
Aggregate device_views(const std::vector<device_array<T>>& x) {
  return kalscan::detail::from_words<Aggregate, Tensor>([&](auto i) { return Tensor(x[i].view()); });
}

/// A problem's arrays on the device, and its outputs.
template <class M, class T>
struct device_problem {
  using in_type = typename M::template inputs<tensor<const T>>;
  using out_type = typename M::template outputs<tensor<T>>;
  using states_type = kalscan::state_tensors<M, T>;

  problem<M, T> p;
  std::vector<device_array<T>> in, initial, out_bar, final_bar, out, final, checkpoints;
  std::int64_t every;

  device_problem(const problem<M, T>& p_, std::int64_t every_, bool spread)
      : p(p_), in(to_device(p.in)), initial(to_device(p.initial)), out_bar(to_device(p.out_bar)),
        final_bar(to_device(p.final_bar)), every(every_) {
    if (!p.offsets.empty()) p.shape.offsets = p.offsets;
    const auto& s = p.shape;
    for (std::size_t i = 0; i < p.outputs; ++i) out.emplace_back(array<T>(s.batch, s.time, s.channels, 1, spread));
    for (std::size_t i = 0; i < p.states; ++i) {
      final.emplace_back(array<T>(s.sequences(), 1, s.channels, s.states, spread));
      if (every > 0) {
        checkpoints.emplace_back(
            array<T>(s.batch, kalscan::checkpoint_count(s, every), s.channels, s.states, spread));
      }
    }
  }
  in_type in_views() const { return device_views<in_type, tensor<const T>>(in); }
  out_type out_views() const { return device_views<out_type, tensor<T>>(out); }
  kalscan::mixer_states<M, T> states() const {
    kalscan::mixer_states<M, T> x{
        .initial = device_views<kalscan::state_tensors<M, const T>, tensor<const T>>(initial),
        .final = device_views<states_type, tensor<T>>(final)};
    if (every > 0) x.checkpoints = device_views<states_type, tensor<T>>(checkpoints), x.every = every;
    return x;
  }
  void forward(const kalscan::cuda& policy) const {
    kalscan::forward(policy, M{}, p.shape, in_views(), out_views(), states());
  }
  forward_result<T> result() const { return {to_host(out), to_host(final), to_host(checkpoints)}; }
};

/// Runs forward on the device, cut as `chunk` says.
template <class M, class T>
forward_result<T> run_on_device(std::int64_t chunk, const problem<M, T>& p, std::int64_t every = 0,
                                bool spread = false) {
  const device_problem<M, T> d(p, every, spread);
  kalscan::cuda policy{.chunk = chunk};
  const kalscan::cuda_workspace memory(kalscan::forward_workspace<T>(policy, M{}, p.shape));
  policy.workspace = memory;
  d.forward(policy);
  ok(cudaDeviceSynchronize());
  return d.result();
}

inline bool no_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0;
}

/// Exits with 77, which means skipped, where there is no device.
inline int run_tests(int argc, char** argv) {
  if (no_device()) return std::puts("skipped: no GPU"), 77;
  return doctest::Context(argc, argv).run();
}

}  // namespace kla_test
