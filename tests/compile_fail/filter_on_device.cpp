// expect: filter, smooth and log_likelihood run on the host: pass kalscan::seq
// expect: over kalscan::ranks include <kalscan/ranks/kalman.hpp>
// flags: -isystem EIGEN
// lines: 45
// SPDX-License-Identifier: MIT
#include <kalscan/kalman/filter.hpp>

struct device {};  // as kalscan::cuda is one
template <>
inline constexpr bool kalscan::is_policy<device> = true;
template <>
inline constexpr bool kalscan::runs_sweeps<device> = false;

struct over_ranks {};  // as kalscan::ranks is one
template <>
inline constexpr bool kalscan::is_policy<over_ranks> = true;
template <>
inline constexpr bool kalscan::shares_time<over_ranks> = true;

int main() {
  const kalscan::kalman_model<double, 1, 1> model;
  kalscan::filter(device{}, model, kalscan::observations<double, 1>{});
  static_cast<void>(kalscan::filter(over_ranks{}, model, kalscan::observations<double, 1>{}));
}
