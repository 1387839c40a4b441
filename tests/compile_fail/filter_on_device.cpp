// expect: filter, smooth and log_likelihood run on the host: pass kalscan::seq
// flags: -isystem EIGEN
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/kalman/filter.hpp>

struct device {};  // as kalscan::cuda is one
template <>
inline constexpr bool kalscan::is_policy<device> = true;
template <>
inline constexpr bool kalscan::runs_sweeps<device> = false;

int main() {
  const kalscan::kalman_model<double, 1, 1> model;
  kalscan::filter(device{}, model, kalscan::observations<double, 1>{});
}
