// SPDX-License-Identifier: MIT
// How long a call occupies the host, in microseconds: shapes so small that the device keeps up. And of what that time
// is made: a kernel's launch, and what the runtime is asked about arrays and kernels.
#include <cuda.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "cuda_kla_calls.cuh"

using namespace bench;

namespace {

/// Of a call, the least of many batches: what disturbs only adds. Batches are short, so that no queue is full.
template <class Call>
double microseconds(Call call) {
  using clock = std::chrono::steady_clock;
  double least = 1e30;
  for (int batch = 0; batch < 300; ++batch) {
    ok(cudaDeviceSynchronize());
    const auto start = clock::now();
    for (int i = 0; i < 50; ++i) call();
    least = std::min(least, std::chrono::duration<double, std::micro>(clock::now() - start).count() / 50);
  }
  ok(cudaDeviceSynchronize());
  return least;
}

template <class Call>
void print(const char* name, Call call) {
  std::printf("%-52s %7.2f\n", name, microseconds(call));
}

struct large_argument {
  char bytes[700];
};
__global__ void nothing(const __grid_constant__ large_argument) {}

}  // namespace

int main() {
  cudaDeviceProp device;
  ok(cudaGetDeviceProperties(&device, 0));
  std::printf("%s, microseconds of the host\n", device.name);
  const std::int64_t B = 1, L = 64, M = 32, S = 16;
  const kla_call<float> call(B, L, M, S);
  std::vector<array<float>> initial, final, kept;
  for (int i = 0; i < 2; ++i) {
    initial.emplace_back(B, 1, M, S, 0.5F, 1), final.emplace_back(B, 1, M, S, 0.5F, 1);
    kept.emplace_back(B, L / 16 + 1, M, S);
  }
  const auto states = [&](const auto& x) { return kalscan::belief<tensor<float>>{x[0].view, x[1].view}; };
  const auto given = [&](const auto& x) { return kalscan::belief<tensor<const float>>{x[0].view, x[1].view}; };
  using policy = kalscan::cuda_for<kalscan::mixer_kernels{.states = 16, .parameters_vary = false}>;
  policy whole{{.chunk = kalscan::whole_time}}, cut{{.chunk = 16}};
  const kalscan::cuda_workspace memory(
      std::max(kalscan::forward_workspace(cut, kalscan::kla{}, call.shape),
               kalscan::backward_workspace(cut, kalscan::kla{}, call.shape, call.in())));
  whole.workspace = cut.workspace = memory;
  print("forward, 8 arrays, one launch", [&] { call.forward(whole); });
  print("forward, 14 arrays, one launch", [&] {
    call.forward(whole, {.initial = given(initial), .final = states(final), .checkpoints = states(kept), .every = 16});
  });
  print("forward, 8 arrays, time cut", [&] { call.forward(cut); });
  const kla_call<float> token(B, 1, M, S);
  print("step, 12 arrays",
        [&] { kalscan::step(whole, kalscan::kla{}, token.shape, token.in(), token.out(), states(final)); });
  call.with_adjoint([&](auto run) {
    print("backward, 14 arrays, with its own forward", [&] { run(whole); });
    print("backward, 16 arrays, given checkpoints",
          [&] { run(whole, {.checkpoints = given(kept), .every = 16}); });
  });
  const kalscan::detail::forward_call<kalscan::kla, decltype(call.in()), decltype(call.out())> all{
      call.shape, call.in(), call.out(),
      {.initial = given(initial), .final = states(final), .checkpoints = states(kept), .every = 16}};
  print("  the checks of a call's shapes", [&] { kalscan::detail::check_forward_call(all, false, false); });
  print("  a launch with 700 bytes of arguments", [] { nothing<<<1, 32>>>(large_argument{}); });
  const void* pointer = call.v.view.data;
  print("  cudaPointerGetAttributes", [&] {
    cudaPointerAttributes attributes;
    ok(cudaPointerGetAttributes(&attributes, pointer));
  });
  print("  one attribute of the driver's", [&] {
    if (!kalscan::detail::is_device_memory(pointer)) throw std::runtime_error("the driver was not asked");
  });
  print("  cudaFuncSetAttribute", [] {
    ok(cudaFuncSetAttribute(reinterpret_cast<const void*>(nothing), cudaFuncAttributeMaxDynamicSharedMemorySize,
                            65536));
  });
  print("  cudaGetDevice, cudaDeviceGetAttribute", [] { static_cast<void>(kalscan::detail::multiprocessors()); });
}
