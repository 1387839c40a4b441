// SPDX-License-Identifier: MIT
// KLA and the gated linear recurrence on a device: one table over the shapes of bench/cuda_kla.hpp, and decoding.
#include <algorithm>

#include "cuda_kla.hpp"

using namespace bench;

/// What it costs that no bit depends on the calls in which a sequence comes: time whole, beside the library's choice.
void print_price_of_whole_time() {
  std::printf("time whole over the library's choice, ms\n%-16s | %26s | %26s | %26s | %26s\n", "B, L, M", "forward",
              "backward", "bf16 forward", "bf16 backward");
  for (const auto& s : shapes) {
    const mixer_ms chosen = kla_ms(s), whole = kla_ms(s, kalscan::whole_time);
    const mixer_ms brief = kla_bfloat16_ms(s), brief_whole = kla_bfloat16_ms(s, kalscan::whole_time);
    std::printf("%2d, %5d, %5d  ", int(s.B), int(s.L), int(s.M));
    for (const auto& [with, without] :
         {std::array{whole.forward, chosen.forward}, std::array{whole.backward, chosen.backward},
          std::array{brief_whole.forward, brief.forward}, std::array{brief_whole.backward, brief.backward}}) {
      std::printf(" | %8.4f / %8.4f = %5.2f", with, without, with / without);
    }
    std::printf("\n");
  }
}

/// With the argument --chunks also how time could be cut, with --whole also what it costs not to cut it; other
/// arguments mean nothing.
int main(int argc, char** argv) {
  const auto given = [&](const char* name) {
    return std::any_of(argv + 1, argv + argc, [&](const char* x) { return std::string(x) == name; });
  };
  const bool chunks = given("--chunks");
  cudaDeviceProp device;
  ok(cudaGetDeviceProperties(&device, 0));
  std::printf(
      "%s, fp32 unless said, S = 16, ms, median of 9; keeping: forward that leaves checkpoints; kept: backward "
      "that is given them\n",
      device.name);
  std::printf("%-16s | %8s %8s %8s %8s | %6s %6s %6s | %8s %8s %8s %8s %8s %8s | %6s %6s\n", "B, L, M", "forward",
              "keeping", "bf16", "gla", "floor", "bar", "goal", "backward", "kept", "bf16", "kept", "gla", "kept",
              "bar", "goal");
  for (const auto& s : shapes) {
    const mixer_ms kla = kla_ms(s), training = kla_training_ms(s), brief = kla_bfloat16_ms(s),
                   brief_training = kla_bfloat16_training_ms(s), gla = gla_ms(s), gla_training = gla_training_ms(s);
    std::printf(
        "%2d, %5d, %5d   | %8.4f %8.4f %8.4f %8.4f | %6.3f %6.3f %6.3f | %8.4f %8.4f %8.4f %8.4f %8.4f %8.4f | "
        "%6.2f %6.2f\n",
        int(s.B), int(s.L), int(s.M), kla.forward, training.forward, brief.forward, gla.forward, s.floor, s.forward_bar,
        s.forward_goal, kla.backward, training.backward, brief.backward, brief_training.backward, gla.backward,
        gla_training.backward, s.backward_bar, s.backward_goal);
    if (!chunks || s.B * s.M > 1024) continue;
    for (const std::int64_t chunk : {64, 128, 192, 256, 512, 768, 1024}) {
      if (s.L / chunk > 256 || s.L / chunk <= 4) continue;
      const mixer_ms cut = kla_ms(s, chunk);
      std::printf("    chunk %5d: %8.4f %8.4f\n", int(chunk), cut.forward, cut.backward);
    }
  }
  const std::int64_t B = 256, M = 4096, S = 16;
  const double ms = kla_step_ms(B, M);
  array<float> copy(B, 1, 2 * M, S), other(B, 1, 2 * M, S);
  const double bytes = 4.0 * B * M * (4 * S + 4);
  const double copied = 2 * 4.0 * B * 2 * M * S,
               copy_ms = median_ms([&] {
                 ok(cudaMemcpyAsync(copy.view.data, other.view.data, static_cast<std::size_t>(copied / 2),
                                    cudaMemcpyDeviceToDevice));
               });
  std::printf("decode B 256, M 4096, S 16: %.4f ms, %.0f GB/s, %.0f%% of a copy (%.0f GB/s)\n", ms, bytes / ms * 1e-6,
              100 * (bytes / ms) / (copied / copy_ms), copied / copy_ms * 1e-6);
  if (given("--whole")) print_price_of_whole_time();
}
