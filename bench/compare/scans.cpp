// SPDX-License-Identifier: MIT
// Scans of affine maps and of filtering elements on every back end that this build has.
#include <algorithm>
#include <utility>

#include "../workloads.hpp"
#include "suite.hpp"

#if defined(KALSCAN_BENCH_TBB)
#include <kalscan/compare/parallel_std.hpp>
#endif
#if defined(KALSCAN_BENCH_THRUST)
#include <kalscan/compare/thrust.hpp>
#endif

namespace bench {
namespace {

template <class M>
std::vector<kalscan::back_end<M>> all_back_ends(const M& m) {
  std::vector<kalscan::back_end<M>> all;
  const auto add = [&](const std::vector<kalscan::back_end<M>>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
#if defined(KALSCAN_BENCH_TBB)
  add(kalscan::parallel_std_back_ends<M>());
#else
  add({kalscan::absent_back_end<M>("std::execution::par", "built without TBB")});
#endif
#if defined(KALSCAN_BENCH_THRUST)
  add(kalscan::thrust_back_ends<M>());
#else
  add({kalscan::absent_back_end<M>("Thrust", "built without CCCL")});
#endif
  add(device_back_ends(m));
  return all;
}

/// `seconds` a step on one thread, roughly.
template <class Workload>
void add_tasks(std::vector<task>& tasks, const settings& s, const std::string& name, double tolerance,
               std::int64_t largest, double seconds) {
  using M = kalscan::monoid_t<typename Workload::recurrence>;
  const M m = Workload::make().monoid();
  for (std::int64_t n = 1000; n <= largest; n *= 10) {
    const double call = seconds * static_cast<double>(n);
    tasks.push_back({name, n, 8 * (std::max(s.options.row_seconds / 4, 12 * call)) + 30 * call, [=] {
                       return kalscan::compare(m, Workload::element, kalscan::relative(tolerance), {n}, s.options,
                                               all_back_ends(m));
                     }});
  }
}

}  // namespace

std::vector<task> scan_tasks(const settings& s) {
  std::vector<task> tasks;
  add_tasks<affine_float>(tasks, s, "affine map", 1e-5, s.quick ? 1'000'000 : 10'000'000, 2e-9);
  add_tasks<scalar_float>(tasks, s, "filtering element", 1e-4, s.quick ? 1'000'000 : 10'000'000, 9e-9);
  add_tasks<matrix_float>(tasks, s, "filtering element 4x4", 1e-2, s.quick ? 100'000 : 1'000'000, 4e-7);
  return tasks;
}

}  // namespace bench
