// SPDX-License-Identifier: MIT
// How many multiply-adds a scheduler of this device issues a cycle, by what their operands are and by the warps that it
// has: registers are read by too few ports for three new ones a cycle. It bounds loops that do little but arithmetic.
//   bench_cuda_operand_rates
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <stdexcept>

namespace {

enum class operands { multiply_two, multiply_one, three, three_with_one_shared, two, three_and_two };

constexpr int most_warps = 16, chains = 16, repeats = 8, turns = 200;

void ok(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

template <operands Kind>
__global__ void issue(const float* in, float* out, long long* clocks) {
  float a[chains], x[chains], y[chains];
  for (int i = 0; i < chains; ++i) {
    a[i] = in[threadIdx.x + i];
    x[i] = in[threadIdx.x + i + chains];
    y[i] = in[threadIdx.x + i + 2 * chains];
  }
  const float shared = in[threadIdx.x + 3 * chains];
  __syncthreads();
  const long long start = clock64();
#pragma unroll 1
  for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
    for (int n = 0; n < repeats * chains; ++n) {
      const int i = n % chains;
      if constexpr (Kind == operands::multiply_two) a[i] = __fmul_rn(a[i], x[i]);
      if constexpr (Kind == operands::multiply_one) a[i] = __fmul_rn(a[i], 1.5F);
      if constexpr (Kind == operands::three) a[i] = __fmaf_rn(a[i], x[i], y[i]);
      if constexpr (Kind == operands::three_with_one_shared) a[i] = __fmaf_rn(a[i], shared, y[i]);
      if constexpr (Kind == operands::two) a[i] = __fmaf_rn(a[i], x[i], 1.0F);
      if constexpr (Kind == operands::three_and_two)
        a[i] = i % 2 == 0 ? __fmaf_rn(a[i], x[i], y[i]) : __fmul_rn(a[i], x[i]);
    }
  }
  const long long end = clock64();
  float sum = 0;
  for (int i = 0; i < chains; ++i) sum += a[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
  const unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (threadIdx.x % 32 == 0) clocks[warp] = start, clocks[warps + warp] = end;
}

template <operands Kind>
void row(const char* name, const float* in, float* out, long long* clocks) {
  std::printf("%-44s", name);
  for (const int warps : {1, 2, 4}) {
    for (int run = 0; run < 2; ++run) issue<Kind><<<1, 128 * warps>>>(in, out, clocks);
    ok(cudaGetLastError());
    // Warps start and end apart: from the first start to the last end.
    std::array<long long, 2 * most_warps> times{};
    ok(cudaMemcpy(times.data(), clocks, sizeof times, cudaMemcpyDeviceToHost));
    const auto ends = times.begin() + 4 * warps;
    const long long taken = *std::max_element(ends, ends + 4 * warps) - *std::min_element(times.begin(), ends);
    std::printf(" %6.3f", static_cast<double>(turns) * repeats * chains * warps / static_cast<double>(taken));
  }
  std::printf("\n");
}

}  // namespace

int main() {
  float *in = nullptr, *out = nullptr;
  long long* clocks = nullptr;
  constexpr std::size_t count = 512 + 4 * chains;
  ok(cudaMalloc(&in, count * sizeof(float)));
  ok(cudaMemset(in, 0, count * sizeof(float)));
  ok(cudaMalloc(&out, count * sizeof(float)));
  ok(cudaMalloc(&clocks, 2 * most_warps * sizeof(long long)));
  std::printf("%-44s %6s %6s %6s\n", "instructions a cycle and scheduler, by warps", "1", "2", "4");
  row<operands::multiply_one>("FMUL, a register and a constant", in, out, clocks);
  row<operands::multiply_two>("FMUL, two registers", in, out, clocks);
  row<operands::two>("FFMA, two registers and a constant", in, out, clocks);
  row<operands::three_with_one_shared>("FFMA, three, one of them as just before", in, out, clocks);
  row<operands::three_and_two>("FFMA, three, and FMUL, two, by turns", in, out, clocks);
  row<operands::three>("FFMA, three registers", in, out, clocks);
  ok(cudaFree(in)), ok(cudaFree(out)), ok(cudaFree(clocks));
}
