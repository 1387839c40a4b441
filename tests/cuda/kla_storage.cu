// SPDX-License-Identifier: MIT
// Short storage on the device: bfloat16 and float16 in and out, arithmetic in float.
#include <doctest/doctest.h>

#include <algorithm>
#include <kalscan/mixer/storage.hpp>

#include "kla_device.cuh"

namespace kla_storage_tests {
using namespace kla_test;
using kalscan::kla;
using kalscan::seq;

namespace {

#ifdef KALSCAN_QUICK_CUDA  // compiled only, and the other one has the same code
#define KALSCAN_TEST_STORAGE kalscan::bfloat16
#else
#define KALSCAN_TEST_STORAGE kalscan::bfloat16, kalscan::float16
#endif
TEST_CASE_TEMPLATE("outputs and gradients are those of the rounded inputs, rounded", E, KALSCAN_TEST_STORAGE) {
  const auto p = random_problem<kla, float>(2, 70, 40, 16, 8);
  auto rounded = p;
  std::vector<device_array<E>> in, out, out_bar, in_bar;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto stored = p.in[i].as<E>();
    rounded.in[i] = stored.template as<float>();
    in.emplace_back(stored), in_bar.emplace_back(stored);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const auto stored = p.out_bar[i].as<E>();
    rounded.out_bar[i] = stored.template as<float>();
    out.emplace_back(stored), out_bar.emplace_back(stored);
  }
  const auto forward = run_forward<kla>(seq{}, rounded.template as<double>());
  const auto backward = run_backward<kla>(seq{}, rounded.template as<double>());
  const device_adjoint<kla, float> x(p, 0, false, nullptr);
  const auto read = [](const auto& a) { return tensor<const E>(a.view()); };
  const auto plain = x.d.in_views();
  const kalscan::kla_inputs inputs{read(in[0]), read(in[1]), read(in[2]), read(in[3]), plain.a, plain.p};
  const auto bars = x.in_bar_views();
  const kalscan::kla_inputs input_bars{in_bar[0].view(), in_bar[1].view(), in_bar[2].view(),
                                       in_bar[3].view(), bars.a,           bars.p};
  const double digit = std::is_same_v<E, kalscan::bfloat16> ? 0x1p-8 : 0x1p-10;
  for (const std::int64_t chunk : {0, 32}) {
    all_kernels policy{{.chunk = chunk}};
    const kalscan::cuda_workspace memory(
        std::max(kalscan::forward_workspace(policy, kla{}, p.shape),
                 kalscan::backward_workspace(policy, kla{}, p.shape, inputs, x.states())));
    policy.workspace = memory;
    kalscan::forward(policy, kla{}, p.shape, inputs, kalscan::kla_outputs{out[0].view(), out[1].view()},
                     {.initial = x.states().initial});
    kalscan::backward(policy, kla{}, p.shape, inputs, kalscan::kla_outputs{read(out_bar[0]), read(out_bar[1])},
                      input_bars, x.states());
    ok(cudaDeviceSynchronize());
    CHECK(difference(to_host(out), forward.out) < digit);
    const auto b = x.result();
    for (std::size_t i = 0; i < 4; ++i) CHECK(difference(in_bar[i].back(), backward.in_bar[i]) < digit);
    for (std::size_t i = 4; i < 6; ++i) CHECK(difference(b.in_bar[i], backward.in_bar[i]) < 2e-5);
    CHECK(difference(b.initial_bar, backward.initial_bar) < 2e-5);
  }
}

}  // namespace
}  // namespace kla_storage_tests
#undef KALSCAN_TEST_STORAGE
