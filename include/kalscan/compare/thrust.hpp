// SPDX-License-Identifier: MIT
// thrust::inclusive_scan on the host's threads, for kalscan::compare: its OpenMP system, and where TBB's headers are
// its TBB system. Needs CCCL's headers, no CUDA compiler; define THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_OMP, and
// link TBB.
#pragma once

#include <thrust/scan.h>
#include <thrust/system/omp/execution_policy.h>
#if __has_include(<tbb/parallel_scan.h>)
#include <thrust/system/tbb/execution_policy.h>
#endif

#include <kalscan/compare/back_end.hpp>
#include <string>
#include <vector>

namespace kalscan {
namespace detail {

template <monoid M, class System>
back_end<M> thrust_back_end(const std::string& name, const System& system) {
  return {name, [system](const scan_call<M>& c) {
            thrust::inclusive_scan(system, c.in.begin(), c.in.end(), c.out.begin(), c.op);
          }};
}

}  // namespace detail

/// The OpenMP system of CCCL 3.0 scans in sequence, on one thread.
template <monoid M>
[[nodiscard]] std::vector<back_end<M>> thrust_back_ends() {
  std::vector<back_end<M>> all{detail::thrust_back_end<M>("Thrust OpenMP", thrust::omp::par)};
#if __has_include(<tbb/parallel_scan.h>)
  all.push_back(detail::thrust_back_end<M>("Thrust TBB", thrust::tbb::par));
#else
  all.push_back(absent_back_end<M>("Thrust TBB", "compiled without TBB"));
#endif
  return all;
}

}  // namespace kalscan
