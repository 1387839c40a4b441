// SPDX-License-Identifier: MIT
// The suite that bench/run.sh runs: tasks, each of which gives rows, and what the roofline needs beside them.
#pragma once

#include <cstdint>
#include <functional>
#include <kalscan/compare.hpp>
#include <string>
#include <vector>

namespace bench {

struct task {
  std::string work;
  std::int64_t size;
  double cost;  ///< roughly what it takes, in seconds: for the estimate of the time left
  std::function<std::vector<kalscan::compare_row>()> run;
};

struct settings {
  bool quick;
  kalscan::compare_options options;
};

/// Rows of one work; `flops` is the number of additions, multiplications, divisions and roots for one unit of the size,
/// counted by running the operator with numbers that count; 0 where that is not possible.
struct record {
  std::string work;
  double flops;
  kalscan::compare_row row;
};

/// A ceiling of the machine, measured: what ("copy" in GB/s, "vector multiply-add" in Gflop/s) by whom.
struct ceiling {
  std::string what, by;
  double value;
};

std::vector<task> scan_tasks(const settings&);
std::vector<task> mixer_tasks(const settings&);
double flops_of(const std::string& work);
std::vector<ceiling> measure_ceilings(bool quick);

/// kalscan's scans on a device and CUB's, or one row that says why they are not there.
template <class M>
std::vector<kalscan::back_end<M>> device_back_ends(const M& m);
/// None where there is no device.
std::vector<ceiling> device_ceilings();

/// KLA's shape on the host and on the device: 64 channels of 16 states.
inline constexpr std::int64_t channels = 64, states = 16;

}  // namespace bench
