// SPDX-License-Identifier: MIT
// The device's part of the suite. Where there is no device each row says so.
#include <kalscan/cuda/compare.cuh>
#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/cuda/kla_forward.cuh>
#include <limits>
#include <memory>
#include <string>

#include "../workloads.hpp"
#include "device_mixers.hpp"
#include "suite.hpp"
#include "tuned_cub.cuh"

namespace bench {

template <class M>
std::vector<kalscan::back_end<M>> device_back_ends(const M& m) {
  auto all = kalscan::cuda_back_ends(m);
  for (auto& x : tuned_cub_back_ends<M>()) all.push_back(std::move(x));
  return all;
}
template std::vector<kalscan::back_end<kalscan::affine_monoid<float>>> device_back_ends(
    const kalscan::affine_monoid<float>&);
template std::vector<kalscan::back_end<kalscan::filtering_monoid<float>>> device_back_ends(
    const kalscan::filtering_monoid<float>&);
template std::vector<kalscan::back_end<kalscan::matrix_filtering_monoid<float, 4>>> device_back_ends(
    const kalscan::matrix_filtering_monoid<float, 4>&);

namespace {

using kalscan::cuda_workspace;

/// A host array's copy on the device, as the view that it is there.
class on_device {
 public:
  on_device(const std::vector<float>& host, const tensor<const float>& view)
      : memory_(host.size() * sizeof(float)), size_(host.size()), extent_(view.extent), stride_(view.stride) {
    copy(data(), host.data(), host.size());
  }
  operator tensor<const float>() const { return {data(), extent_, stride_}; }
  tensor<float> writable() const { return {data(), extent_, stride_}; }
  std::size_t size() const { return size_; }
  /// Brings the values to the host, and leaves NaN for the next run to overwrite.
  void fetch(float* to) const {
    copy(to, data(), size_);
    kalscan::detail::require_success("cudaMemset", cudaMemset(data(), 0xff, size_ * sizeof(float)));
  }

 private:
  float* data() const { return reinterpret_cast<float*>(std::span<std::byte>(memory_).data()); }
  static void copy(float* to, const float* from, std::size_t count) {
    kalscan::detail::require_success("cudaMemcpy", cudaMemcpy(to, from, count * sizeof(float), cudaMemcpyDefault));
  }
  cuda_workspace memory_;
  std::size_t size_;
  std::array<std::int64_t, 4> extent_, stride_;
};

struct device_arrays {
  kalscan::mixer_shape shape;
  on_device v, Lambda, k, q, a, p, y, yvar, y_bar, yvar_bar, v_bar, Lambda_bar, k_bar, q_bar, a_bar, p_bar;

  explicit device_arrays(arrays<float>& x)
      : shape(x.shape()),
        v(x.v, x.kla_in().v),
        Lambda(x.Lambda, x.kla_in().Lambda),
        k(x.k, x.kla_in().k),
        q(x.q, x.kla_in().q),
        a(x.a, x.kla_in().a),
        p(x.p, x.kla_in().p),
        y(x.y, x.kla_in().v),
        yvar(x.yvar, x.kla_in().v),
        y_bar(x.y_bar, x.kla_in().v),
        yvar_bar(x.yvar_bar, x.kla_in().v),
        v_bar(x.v_bar, x.kla_in().v),
        Lambda_bar(x.Lambda_bar, x.kla_in().v),
        k_bar(x.k_bar, x.kla_in().k),
        q_bar(x.q_bar, x.kla_in().k),
        a_bar(x.a_bar, x.kla_in().a),
        p_bar(x.p_bar, x.kla_in().a) {}

  kalscan::kla_inputs<tensor<const float>> kla_in() const { return {v, Lambda, k, q, a, p}; }
  kalscan::gla_inputs<tensor<const float>> gla_in() const { return {v, k, q, a}; }
  kalscan::kla_outputs<tensor<const float>> kla_out_bar() const { return {y_bar, yvar_bar}; }
  kalscan::kla_inputs<tensor<float>> kla_in_bar() const {
    return {v_bar.writable(), Lambda_bar.writable(), k_bar.writable(),
            q_bar.writable(), a_bar.writable(),      p_bar.writable()};
  }

  std::size_t workspace(mixer_call which, const kalscan::cuda& policy) const {
    switch (which) {
      case mixer_call::kla_forward:
        return kalscan::forward_workspace(policy, kalscan::kla{}, shape);
      case mixer_call::kla_backward:
        return kalscan::backward_workspace(policy, kalscan::kla{}, shape, kla_in());
      case mixer_call::gla_forward:
        break;
    }
    return kalscan::forward_workspace(policy, kalscan::gla{}, shape);
  }
  void call(mixer_call which, const kalscan::cuda& policy) const {
    switch (which) {
      case mixer_call::kla_forward:
        return kalscan::forward(policy, kalscan::kla{}, shape, kla_in(),
                                kalscan::kla_outputs{y.writable(), yvar.writable()});
      case mixer_call::kla_backward:
        return kalscan::backward(policy, kalscan::kla{}, shape, kla_in(), kla_out_bar(), kla_in_bar());
      case mixer_call::gla_forward:
        return kalscan::forward(policy, kalscan::gla{}, shape, gla_in(), kalscan::gla_outputs{y.writable()});
    }
  }
  std::vector<const on_device*> parts(mixer_call which) const {
    switch (which) {
      case mixer_call::kla_forward:
        return {&y, &yvar};
      case mixer_call::kla_backward:
        return {&v_bar, &Lambda_bar, &k_bar, &q_bar, &a_bar, &p_bar};
      case mixer_call::gla_forward:
        break;
    }
    return {&y};
  }
};

kalscan::compare_run prepare(mixer_call which, arrays<float>& host, std::span<float> out, std::int64_t chunk) {
  kalscan::detail::require_device();
  const auto x = std::make_shared<const device_arrays>(host);
  kalscan::cuda policy{.chunk = chunk};
  const auto memory = std::make_shared<const cuda_workspace>(x->workspace(which, policy));
  policy.workspace = *memory;
  const auto run = [=] { x->call(which, policy); };
  return {[=](std::int64_t calls) { return kalscan::detail::seconds_by_events(run, calls); },
          [=] {
            float* at = out.data();
            for (const auto* part : x->parts(which)) part->fetch(at), at += part->size();
            static_cast<void>(memory);
          }};
}

/// x = x a + b in 16 independent numbers a thread.
__global__ void multiply_add(float* out, int repeats) {
  float x[16];
  for (int i = 0; i < 16; ++i) x[i] = static_cast<float>(threadIdx.x + i);
  for (int r = 0; r < repeats; ++r) {
#pragma unroll
    for (int i = 0; i < 16; ++i) x[i] = x[i] * 0.9999F + 0.0001F;
  }
  float sum = 0;
  for (int i = 0; i < 16; ++i) sum += x[i];
  out[std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x] = sum;
}

}  // namespace

std::vector<kalscan::compare_candidate> device_mixer_calls(mixer_call which, const std::shared_ptr<arrays<float>>& x,
                                                           std::span<float> out,
                                                           const std::vector<std::int64_t>& chunks) {
  std::vector<kalscan::compare_candidate> all;
  for (const std::int64_t chunk : chunks) {
    const std::string name = chunk == 0 ? "cuda{}" : chunk >= x->L ? "cuda whole lanes" : "cuda time split";
    all.push_back({name, [=] { return prepare(which, *x, out, chunk); }});
  }
  return all;
}

std::vector<ceiling> device_ceilings() {
  try {
    kalscan::detail::require_device();
  } catch (const kalscan::back_end_absent&) {
    return {};
  }
  constexpr std::size_t bytes = std::size_t{1} << 30;
  constexpr int blocks = 4096, threads = 256, repeats = 4096, calls = 10;
  const cuda_workspace from(bytes), to(bytes);
  std::byte *const source = std::span<std::byte>(from).data(), *const target = std::span<std::byte>(to).data();
  const auto copy = [=] {
    kalscan::detail::require_success("cudaMemcpyAsync",
                                     cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice));
  };
  const auto add = [=] {
    multiply_add<<<blocks, threads>>>(reinterpret_cast<float*>(target), repeats);
    kalscan::detail::require_success("launch of multiply_add", cudaGetLastError());
  };
  copy(), add();
  const double copied = 2e-9 * calls * static_cast<double>(bytes),
               operations = 2e-9 * calls * 16.0 * blocks * threads * repeats;
  return {{"copy", "device", copied / kalscan::detail::seconds_by_events(copy, calls)},
          {"vector multiply-add", "device", operations / kalscan::detail::seconds_by_events(add, calls)}};
}

}  // namespace bench
