// SPDX-License-Identifier: MIT
// How `seq` runs what is made of tasks: one after the other, on the calling thread.
#pragma once

#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/run_sweep.hpp>
#include <kalscan/backend/seq.hpp>

namespace kalscan {
namespace detail {

struct in_order {};
inline int worker_count(const in_order&) { return 1; }
inline std::int64_t chunk_length(const in_order&) { return 0; }
inline void run_tasks(const in_order&, std::int64_t count, task_ref task) {
  for (std::int64_t i = 0; i < count; ++i) task(i);
}

/// What runs the tasks of a policy: in_order for `seq`, else the policy itself.
inline in_order tasks_of(const seq&) { return {}; }
template <task_policy P>
const P& tasks_of(const P& p) {
  return p;
}

}  // namespace detail

template <>
inline constexpr bool is_policy<detail::in_order> = true;

}  // namespace kalscan
