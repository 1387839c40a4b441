// SPDX-License-Identifier: MIT
// What a channel costs whose lanes turn, against KLA's: three channels of rotating KLA are a head.
#include "cuda_kla.hpp"

using namespace bench;

/// With the argument --chunks also how time could be cut.
int main(int argc, char** argv) {
  const bool chunks = argc > 1 && std::string(argv[1]) == "--chunks";
  cudaDeviceProp device;
  ok(cudaGetDeviceProperties(&device, 0));
  std::printf("%s, S = 16, ms, median of 9; ratio: rotating KLA with M / 3 heads over KLA with M channels\n",
              device.name);
  std::printf("%-16s %-5s | %8s %8s %6s | %8s %8s %6s\n", "B, L, M", "", "forward", "rotating", "ratio", "backward",
              "rotating", "ratio");
  // The last two have few more blocks than the device takes at once.
  const std::array<shape_row, 5> rows{
      {{8, 2048, 1023}, {1, 8192, 1023}, {32, 1024, 2046}, {33, 1024, 1023}, {18, 2048, 1023}}};
  for (const auto& s : rows) {
    const auto print = [&](const char* storage, const mixer_ms& kla, const mixer_ms& turning) {
      std::printf("%2d, %5d, %5d   %-5s | %8.4f %8.4f %6.2f | %8.4f %8.4f %6.2f\n", int(s.B), int(s.L), int(s.M), storage,
                  kla.forward, turning.forward, turning.forward / kla.forward, kla.backward, turning.backward,
                  turning.backward / kla.backward);
    };
    print("fp32", kla_ms(s), rotating_kla_ms(s));
    print("bf16", kla_bfloat16_ms(s), rotating_kla_bfloat16_ms(s));
    for (const std::int64_t parts : {1, 2, 3, 4, 5, 6, 8}) {
      if (!chunks || s.B > 18) break;
      const std::int64_t chunk = ((s.L + parts - 1) / parts + 15) / 16 * 16;
      const mixer_ms cut = rotating_kla_ms(s, chunk);
      std::printf("    chunk %5d: %8.4f %8.4f\n", int(chunk), cut.forward, cut.backward);
    }
  }
}
