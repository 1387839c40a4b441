// SPDX-License-Identifier: MIT
// The OpenMP back end: how many threads, and tasks on them. What the tasks are: <kalscan/backend/run_sweep.hpp>.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/run_sweep.hpp>
#include <kalscan/support/bad_argument.hpp>

namespace kalscan {

/// Runs on several CPU threads.
///
/// threads   how many; 0 takes OpenMP's default. OpenMP may give fewer: the results do not depend on it. It ends the
///           program where the system cannot start so many.
/// chunk     steps per chunk of time. 0 lets the library choose: a lane is cut only where there are at least two threads
///           for each lane and 256 steps for each of these; with outputs into one chunk more than it has threads, the
///           first one of another length because its state is known. A chunk of at least the length, such as whole_time,
///           forces whole lanes.
///
/// The bits of a result depend on the chunks alone: with `chunk` fixed they are the same for any number of threads, and
/// with whole lanes they are those of `seq`. Exact monoids give the bits of `seq` always. Numbers of a chunk's element
/// that would be subnormal are 0: x86 takes a hundred times as long for them. Allocates the chunks' elements and
/// states, nothing per step.
struct omp {
  int threads = 0;
  std::int64_t chunk = 0;
};

template <>
inline constexpr bool is_policy<omp> = true;

inline std::int64_t chunk_length(const omp& policy) {
  if (policy.chunk < 0) {
    detail::bad_argument("omp", {"chunk is ", policy.chunk, ": pass how many steps, or 0 to let the library choose"});
  }
  return policy.chunk;
}

// What needs OpenMP does not exist without it, so that a program may have units of both kinds: no function has one name
// and two bodies.
#if defined(_OPENMP)

inline int worker_count(const omp& policy) {
  if (policy.threads < 0) {
    detail::bad_argument("omp",
                         {"threads is ", policy.threads, ": pass how many, or 0 for as many as OpenMP would take"});
  }
  return policy.threads > 0 ? policy.threads : omp_get_max_threads();
}

inline void run_tasks(const omp& policy, std::int64_t count, task_ref task) {
  const int threads = static_cast<int>(std::clamp<std::int64_t>(count, 1, worker_count(policy)));
  if (threads == 1) {  // OpenMP would take as long to do this as a short task takes
    for (std::int64_t i = 0; i < count; ++i) task(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t i = 0; i < count; ++i) task(i);
}

#else

namespace detail {

/// Does not compile where it is called.
template <class Work>
void openmp_is_off() {
  static_assert(!std::is_class_v<Work>,
                "kalscan::omp needs OpenMP: compile with -fopenmp, or link kalscan::omp in CMake");
}

}  // namespace detail

template <class Work = omp>
int worker_count(const omp&) {
  detail::openmp_is_off<Work>();
  return 1;
}
template <class Work = omp>
void run_tasks(const omp&, std::int64_t, task_ref) {
  detail::openmp_is_off<Work>();
}

#endif

}  // namespace kalscan
