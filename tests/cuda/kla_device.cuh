// SPDX-License-Identifier: MIT
// The problems of tests/kla on the device: arrays there and back, and the calls that the tests make.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "../kla/problem.hpp"
#include "kla_kernels.cuh"

namespace kla_test {

/// The policy with the kernels of every call, so that the tests meet them all.
using all_kernels = kalscan::cuda_for<kalscan::all_mixer_kernels>;

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
  return kalscan::detail::from_fields<Aggregate, Tensor>([&](auto i) { return Tensor(x[i].view()); });
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
  template <class P>
  void forward(const P& policy) const {
    kalscan::forward(policy, M{}, p.shape, in_views(), out_views(), states());
  }
  typename M::template outputs<tensor<const T>> out_bar_views() const {
    return device_views<typename M::template outputs<tensor<const T>>, tensor<const T>>(out_bar);
  }
  forward_result<T> result() const { return {to_host(out), to_host(final), to_host(checkpoints)}; }
};

/// Runs forward on the device, cut as `chunk` says.
template <class M, class T>
forward_result<T> run_on_device(std::int64_t chunk, const problem<M, T>& p, std::int64_t every = 0,
                                bool spread = false) {
  const device_problem<M, T> d(p, every, spread);
  all_kernels policy{{.chunk = chunk}};
  const kalscan::cuda_workspace memory(kalscan::forward_workspace<T>(policy, M{}, p.shape));
  policy.workspace = memory;
  d.forward(policy);
  ok(cudaDeviceSynchronize());
  return d.result();
}

/// A backward call on the device: its arrays, and the call itself.
template <class M, class T>
struct device_adjoint {
  device_problem<M, T> d;
  std::vector<device_array<T>> in_bar, initial_bar;
  bool accumulate;

  device_adjoint(const problem<M, T>& p, std::int64_t every, bool spread, const backward_result<T>* onto)
      : d(p, every, false), accumulate(onto != nullptr) {
    if (onto) {
      in_bar = to_device(onto->in_bar), initial_bar = to_device(onto->initial_bar);
      return;
    }
    const auto like = [&](const auto& from, auto& to) {
      for (const auto& x : from)
        to.emplace_back(array<T>(x.extent[0], x.extent[1], x.extent[2], x.extent[3], spread));
    };
    like(p.in, in_bar), like(p.initial, initial_bar);
  }
  kalscan::mixer_adjoints<M, T> states() const {
    const auto forward = d.states();
    kalscan::mixer_adjoints<M, T> x{
        .initial = forward.initial,
        .final_bar = device_views<kalscan::state_tensors<M, const T>, tensor<const T>>(d.final_bar),
        .initial_bar = device_views<kalscan::state_tensors<M, T>, tensor<T>>(initial_bar),
        .accumulate = accumulate};
    if (d.every > 0) {
      x.checkpoints = device_views<kalscan::state_tensors<M, const T>, tensor<const T>>(d.checkpoints);
      x.every = d.every;
    }
    return x;
  }
  typename M::template inputs<tensor<T>> in_bar_views() const {
    return device_views<typename M::template inputs<tensor<T>>, tensor<T>>(in_bar);
  }
  std::size_t workspace(const kalscan::cuda& policy) const {
    return std::max(kalscan::forward_workspace<T>(policy, M{}, d.p.shape),
                    kalscan::backward_workspace(policy, M{}, d.p.shape, d.in_views(), states()));
  }
  template <class P>
  void backward(const P& policy) const {
    kalscan::backward(policy, M{}, d.p.shape, d.in_views(), d.out_bar_views(), in_bar_views(), states());
  }
  backward_result<T> result() const { return {to_host(in_bar), to_host(initial_bar)}; }
};

/// Runs backward on the device, with checkpoints of the forward pass if `every` is not 0.
template <class M, class T>
backward_result<T> backward_on_device(std::int64_t chunk, const problem<M, T>& p, std::int64_t every = 0,
                                      bool spread = false, const backward_result<T>* onto = nullptr) {
  const device_adjoint<M, T> x(p, every, spread, onto);
  all_kernels policy{{.chunk = chunk}};
  const kalscan::cuda_workspace memory(x.workspace(policy));
  policy.workspace = memory;
  if (every > 0) x.d.forward(policy);
  x.backward(policy);
  ok(cudaDeviceSynchronize());
  return x.result();
}

}  // namespace kla_test
