// SPDX-License-Identifier: MIT
// The KLA scan on the CPU, forward and backward, beside the gated linear recurrence from the same skeleton, as a table.
// Usage: bench_kla [B L M S [threads]]   default: 2 1024 1024 16 and 2 threads
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <kalscan/kalscan.hpp>
#include <vector>

#include "kla_arrays.hpp"

namespace {

using bench::arrays;

struct row {
  const char* name;
  std::function<void()> call;
  double steps;
  std::vector<double> times = {};

  double median() {
    std::nth_element(times.begin(), times.begin() + std::ssize(times) / 2, times.end());
    return times[times.size() / 2];
  }
};

/// All rows in turn, again and again, so that a busy neighbour slows all of them alike.
void measure(std::vector<row>& rows, int rounds) {
  for (int round = 0; round <= rounds; ++round) {
    for (row& r : rows) {
      const auto start = std::chrono::steady_clock::now();
      r.call();
      if (round > 0) r.times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  }
}

void print(std::vector<row>& rows) {
  for (row& r : rows)
    std::printf("  %-44s %9.2f ms  %6.2f G lane-steps/s\n", r.name, 1e3 * r.median(), 1e-9 * r.steps / r.median());
}

void whole_lanes(std::int64_t B, std::int64_t L, std::int64_t M, std::int64_t S, int threads) {
  arrays<float> x(B, L, M, S);
  const double steps = static_cast<double>(B * L * M * S);
  const kalscan::omp one{1}, many{threads};
  const auto kla_forward = [&](kalscan::omp p) {
    kalscan::forward(p, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out());
  };
  const auto gla_forward = [&](kalscan::omp p) {
    kalscan::forward(p, kalscan::gla{}, x.shape(), x.gla_in(), x.gla_out());
  };
  std::vector<row> rows{
      {"KLA forward, 1 thread", [&] { kla_forward(one); }, steps},
      {"KLA forward", [&] { kla_forward(many); }, steps},
      {"KLA forward, a checkpoint every 16 steps",
       [&] {
         kalscan::forward(many, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out(),
                          {.checkpoints = x.checkpoints<float>(), .every = 16});
       },
       steps},
      {"KLA backward from these checkpoints",
       [&] {
         kalscan::backward(many, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out_bar(), x.kla_in_bar(),
                           {.checkpoints = x.checkpoints<const float>(), .every = 16});
       },
       steps},
      {"KLA backward without checkpoints",
       [&] { kalscan::backward(many, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out_bar(), x.kla_in_bar()); }, steps},
      {"GLA forward, 1 thread", [&] { gla_forward(one); }, steps},
      {"GLA forward", [&] { gla_forward(many); }, steps},
      {"GLA backward without checkpoints",
       [&] {
         kalscan::backward(many, kalscan::gla{}, x.shape(), x.gla_in(),
                           kalscan::gla_outputs{x.channels<const float>(x.y_bar)}, x.gla_in_bar());
       },
       steps}};
  measure(rows, 11);
  print(rows);
  const double forward = rows[1].median(), gla = rows[6].median();
  std::printf("  %d threads over 1: %.2f (KLA), %.2f (GLA)\n", threads, rows[0].median() / forward,
              rows[5].median() / gla);
  std::printf("  forward and backward over forward: %.2f (KLA with checkpoints)\n",
              (rows[2].median() + rows[3].median()) / forward);
  std::printf("  KLA over GLA: time %.2f; arithmetic instructions a lane-step 12 (one a division) over 3, %.2f\n",
              forward / gla, 12.0 / 3);
}

void narrow(std::int64_t L, std::int64_t M, std::int64_t S, int threads) {
  arrays<float> x(1, L, M, S);
  const double steps = static_cast<double>(L * M * S);
  const auto with = [&](std::int64_t chunk) {
    return [&x, threads, chunk] {
      kalscan::forward(kalscan::omp{threads, chunk}, kalscan::kla{}, x.shape(), x.kla_in(), x.kla_out());
    };
  };
  std::vector<row> rows{{"whole lanes", with(L), steps},
                        {"5 chunks of time, the default", with(0), steps},
                        {"as many chunks as threads and one", with(L / (threads + 1) + 1), steps}};
  measure(rows, 5);
  print(rows);
  std::printf("  best over whole lanes: %.2f\n", rows[0].median() / std::min(rows[1].median(), rows[2].median()));
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t size[5] = {2, 1024, 1024, 16, 2};
  if (argc != 1 && argc != 5 && argc != 6) return std::fprintf(stderr, "usage: bench_kla [B L M S [threads]]\n"), 1;
  for (int i = 1; i < argc; ++i) size[i - 1] = std::atoll(argv[i]);
  for (const std::int64_t n : size) {
    if (n <= 0) return std::fprintf(stderr, "sizes and threads must be positive\n"), 1;
  }
  const int threads = static_cast<int>(size[4]);
  std::printf("B %ld, L %ld, M %ld, S %ld, float, %d threads\n", size[0], size[1], size[2], size[3], threads);
  whole_lanes(size[0], size[1], size[2], size[3], threads);
  if (argc == 1) {
    std::printf("B 1, L 1000000, M 16, S 16, float, %d threads\n", threads);
    narrow(1'000'000, 16, 16, threads);
  }
}
