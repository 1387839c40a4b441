// SPDX-License-Identifier: MIT
// KLA and the gated linear recurrence on a device: one table over the shapes of bench/cuda_kla.hpp, and decoding.
#include <kalscan/cuda/kla_backward.cuh>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/storage.hpp>

#include "cuda_kla.hpp"

namespace {

using namespace bench;

template <class E>
struct kla_call {
  kalscan::mixer_shape shape;
  array<E> v, Lambda, k, q, y, yvar;
  array<float> a, p;

  kla_call(std::int64_t B, std::int64_t L, std::int64_t M, std::int64_t S)
      : shape{B, L, M, S},
        v(B, L, M, 1, -1, 1),
        Lambda(B, L, M, 1, 0.1F, 2),
        k(B, L, 1, S, -1, 1),
        q(B, L, 1, S, -1, 1),
        y(B, L, M, 1),
        yvar(B, L, M, 1),
        a(1, 1, M, S, 0.9F, 0.999F),
        p(1, 1, M, S, 0.001F, 0.1F) {}
  auto in() const { return kalscan::kla_inputs{tensor<const E>(v.view), tensor<const E>(Lambda.view), tensor<const E>(k.view), tensor<const E>(q.view), tensor<const float>(a.view), tensor<const float>(p.view)}; }
  auto out() const { return kalscan::kla_outputs{y.view, yvar.view}; }
  void forward(const kalscan::cuda& policy, const kalscan::mixer_states<kalscan::kla, float>& states = {}) const {
    kalscan::forward(policy, kalscan::kla{}, shape, in(), out(), states);
  }
  template <class F>
  void with_adjoint(F f) const {
    const auto [B, L, M, S, offsets] = shape;
    const array<E> vb(B, L, M, 1), Lb(B, L, M, 1), kb(B, L, 1, S), qb(B, L, 1, S), yb(B, L, M, 1, -1, 1), zb(B, L, M, 1, -1, 1);
    const array<float> ab(1, 1, M, S), pb(1, 1, M, S);
    const kalscan::kla_outputs out_bar{tensor<const E>(yb.view), tensor<const E>(zb.view)};
    const kalscan::kla_inputs in_bar{vb.view, Lb.view, kb.view, qb.view, ab.view, pb.view};
    f([&](const kalscan::cuda& policy, const kalscan::mixer_adjoints<kalscan::kla, float>& states = {}) {
      kalscan::backward(policy, kalscan::kla{}, shape, in(), out_bar, in_bar, states);
    });
  }
};

struct gla_call {
  kalscan::mixer_shape shape;
  array<float> v, k, q, y, g;

  gla_call(std::int64_t B, std::int64_t L, std::int64_t M, std::int64_t S)
      : shape{B, L, M, S}, v(B, L, M, 1, -1, 1), k(B, L, 1, S, -1, 1), q(B, L, 1, S, -1, 1), y(B, L, M, 1), g(1, 1, M, S, 0.9F, 0.999F) {}
  auto in() const { return kalscan::gla_inputs{tensor<const float>(v.view), tensor<const float>(k.view), tensor<const float>(q.view), tensor<const float>(g.view)}; }
  auto out() const { return kalscan::gla_outputs{y.view}; }
  void forward(const kalscan::cuda& policy) const { kalscan::forward(policy, kalscan::gla{}, shape, in(), out()); }
  template <class F>
  void with_adjoint(F f) const {
    const auto [B, L, M, S, offsets] = shape;
    const array<float> vb(B, L, M, 1), kb(B, L, 1, S), qb(B, L, 1, S), yb(B, L, M, 1, -1, 1), gb(1, 1, M, S);
    const kalscan::gla_outputs out_bar{tensor<const float>(yb.view)};
    const kalscan::gla_inputs in_bar{vb.view, kb.view, qb.view, gb.view};
    f([&](const kalscan::cuda& policy) { kalscan::backward(policy, kalscan::gla{}, shape, in(), out_bar, in_bar); });
  }
};

template <class Mixer, class Call>
double forward_ms(const Call& call, std::int64_t chunk = 0) {
  kalscan::cuda policy{.chunk = chunk};
  const kalscan::cuda_workspace memory(kalscan::forward_workspace(policy, Mixer{}, call.shape));
  policy.workspace = memory;
  return median_ms([&] { call.forward(policy); });
}

template <class Mixer, class Call>
double backward_ms(const Call& call, std::int64_t chunk = 0) {
  kalscan::cuda policy{.chunk = chunk};
  const kalscan::cuda_workspace memory(kalscan::backward_workspace(policy, Mixer{}, call.shape, call.in()));
  policy.workspace = memory;
  double ms = 0;
  call.with_adjoint([&](auto run) { ms = median_ms([&] { run(policy); }); });
  return ms;
}

/// A training step's two calls: forward leaves checkpoints, backward takes them.
std::array<double, 2> training_ms(const kla_call<float>& call) {
  const auto [B, L, M, S, offsets] = call.shape;
  const array<float> mean(B, L / 16 + 1, M, S), variance(B, L / 16 + 1, M, S);
  kalscan::cuda policy;
  const kalscan::cuda_workspace memory(kalscan::backward_workspace(policy, kalscan::kla{}, call.shape, call.in()));
  policy.workspace = memory;
  std::array<double, 2> ms;
  ms[0] = median_ms([&] {
    call.forward(policy, {.checkpoints = kalscan::belief<tensor<float>>{mean.view, variance.view}, .every = 16});
  });
  const kalscan::belief<tensor<const float>> kept{mean.view, variance.view};
  call.with_adjoint(
      [&](auto run) { ms[1] = median_ms([&] { run(policy, {.checkpoints = kept, .every = 16}); }); });
  return ms;
}

}  // namespace

/// With the argument --chunks also how time could be cut. Others are left to Google Benchmark's programs.
int main(int argc, char** argv) {
  const bool chunks = std::any_of(argv + 1, argv + argc, [](const char* x) { return std::string(x) == "--chunks"; });
  cudaDeviceProp device;
  ok(cudaGetDeviceProperties(&device, 0));
  std::printf("%s, fp32 unless said, S = 16, ms, median of 9\n", device.name);
  std::printf("%-16s | %8s %8s %8s %8s | %6s %6s %6s | %8s %8s %8s %8s | %6s %6s\n", "B, L, M", "forward", "keeping", "bf16",
              "gla", "floor", "bar", "goal", "backward", "kept", "bf16", "gla", "bar", "goal");
  for (const auto& s : shapes) {
    std::array<double, 6> ms;
    std::array<double, 2> training;
    {
      const kla_call<float> call(s.B, s.L, s.M, 16);
      training = training_ms(call);
      ms[0] = forward_ms<kalscan::kla>(call), ms[3] = backward_ms<kalscan::kla>(call);
    }
    {
      const kla_call<kalscan::bfloat16> call(s.B, s.L, s.M, 16);
      ms[1] = forward_ms<kalscan::kla>(call), ms[4] = backward_ms<kalscan::kla>(call);
    }
    {
      const gla_call call(s.B, s.L, s.M, 16);
      ms[2] = forward_ms<kalscan::gla>(call), ms[5] = backward_ms<kalscan::gla>(call);
    }
    std::printf("%2d, %5d, %5d   | %8.4f %8.4f %8.4f %8.4f | %6.3f %6.3f %6.3f | %8.4f %8.4f %8.4f %8.4f | %6.2f %6.2f\n", int(s.B),
                int(s.L), int(s.M), ms[0], training[0], ms[1], ms[2], s.floor, s.forward_bar, s.forward_goal, ms[3],
                training[1], ms[4], ms[5],
                s.backward_bar, s.backward_goal);
    if (chunks) {
      const kla_call<float> call(s.B, s.L, s.M, 16);
      for (const std::int64_t chunk : {64, 128, 192, 256, 512, 1024})
        if (s.B * s.M <= 1024 && s.L / chunk <= 256 && s.L / chunk > 4) std::printf("    chunk %5d: %8.4f %8.4f\n", int(chunk), forward_ms<kalscan::kla>(call, chunk), backward_ms<kalscan::kla>(call, chunk));
    }
  }
  {
    const std::int64_t B = 256, M = 4096, S = 16;
    const kla_call<float> call(B, 1, M, S);
    array<float> mean(B, 1, M, S, -1, 1), variance(B, 1, M, S, 0.1F, 1);
    const double ms = median_ms([&] {
      kalscan::step(kalscan::cuda{}, kalscan::kla{}, call.shape, call.in(), call.out(),
                    kalscan::belief<tensor<float>>{mean.view, variance.view});
    });
    array<float> copy(B, 1, 2 * M, S), other(B, 1, 2 * M, S);
    const double bytes = 4.0 * B * M * (4 * S + 4);
    const double copied = 2 * 4.0 * B * 2 * M * S, copy_ms = median_ms([&] {
      ok(cudaMemcpyAsync(copy.view.data, other.view.data, static_cast<std::size_t>(copied / 2), cudaMemcpyDeviceToDevice));
    });
    std::printf("decode B 256, M 4096, S 16: %.4f ms, %.0f GB/s, %.0f%% of a copy (%.0f GB/s)\n", ms, bytes / ms * 1e-6,
                100 * (bytes / ms) / (copied / copy_ms), copied / copy_ms * 1e-6);
  }
}
