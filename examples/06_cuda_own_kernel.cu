// SPDX-License-Identifier: MIT
// A kernel of one's own: it loads raw samples, runs a recurrence over the block, and writes only what it reads out of
// the states. Each block takes one channel, tile after tile, and marks the samples that are far from the level so far.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <kalscan/cuda/scope/block.cuh>
#include <kalscan/monoids/affine.hpp>
#include <vector>

struct smoothing {  // level' = level + gain (sample - level)
  using state_type = float;
  using input_type = float;
  float gain;
  KALSCAN_HD static kalscan::affine_monoid<float> monoid() { return {}; }
  KALSCAN_HD float step(float level, float sample) const { return level + gain * (sample - level); }
  KALSCAN_HD kalscan::affine_map<float> lift(float sample) const { return {1 - gain, gain * sample}; }
  KALSCAN_HD float act(const kalscan::affine_map<float>& x, float level) const { return x.gain * level + x.offset; }
};

constexpr int threads = 128, items = 8, length = 10000, channels = 264;
using scope = kalscan::block<kalscan::affine_monoid<float>, threads>;

__global__ void mark_jumps(const std::int16_t* samples, std::uint8_t* marks, smoothing r, float far) {
  __shared__ scope::storage shared;
  scope block(shared);
  float level = 0;
  for (int begin = 0; begin < length; begin += threads * items) {
    const std::int64_t at = std::int64_t{blockIdx.x} * length + begin + block.thread_rank() * items;
    const auto volts = [&](int i) { return 0.001f * samples[at + i]; };
    const auto mark = [&](int i, float before, float) { marks[at + i] = fabsf(volts(i) - before) > far; };
    block.scan_states<items>(r, volts, level, mark, kalscan::valid(min(threads * items, length - begin)));
  }
}

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return std::puts("no GPU"), 77;
  std::vector<std::int16_t> samples(std::size_t{length} * channels);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<std::int16_t>(i * 7919 % 601 + (i % 997 == 5 ? 9000 : 0));
  std::int16_t* in = nullptr;
  std::uint8_t* out = nullptr;
  cudaMalloc(&in, samples.size() * sizeof *in);
  cudaMalloc(&out, samples.size());
  cudaMemcpy(in, samples.data(), samples.size() * sizeof *in, cudaMemcpyHostToDevice);
  mark_jumps<<<channels, threads>>>(in, out, smoothing{0.05f}, 4);
  std::vector<std::uint8_t> marks(samples.size());
  const cudaError_t error = cudaMemcpy(marks.data(), out, marks.size(), cudaMemcpyDeviceToHost);

  std::size_t found = 0, expected = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) found += marks[i], expected += i % 997 == 5;
  std::printf("%zu of %zu jumps marked (%s)\n", found, expected, cudaGetErrorString(error));
  return found == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
