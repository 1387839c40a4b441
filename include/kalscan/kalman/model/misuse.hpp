// SPDX-License-Identifier: MIT
// Calls of filter, smooth and log_likelihood whose first argument cannot run them, with what to do instead.
#pragma once

#include <kalscan/backend/contract.hpp>

namespace kalscan {

template <class T, int N, int M>
struct kalman_model;

namespace detail {

template <class P>
constexpr void explain_host_policy() {
  static_assert(host_policy<P>,
                "kalscan: filter, smooth and log_likelihood run on the host: pass kalscan::seq{} or kalscan::omp{} "
                "first; on a device, include <kalscan/cuda/kalman.cuh> and give them a model_of(...), or constant_model(model)");
}

}  // namespace detail

template <class P, class T, int N, int M, class... Rest>
  requires(!host_policy<P>)
void filter(const P&, const kalman_model<T, N, M>&, const Rest&...) {
  detail::explain_host_policy<P>();
}
template <class P, class T, int N, int M, class... Rest>
  requires(!host_policy<P>)
void smooth(const P&, const kalman_model<T, N, M>&, const Rest&...) {
  detail::explain_host_policy<P>();
}
template <class P, class T, int N, int M, class... Rest>
  requires(!host_policy<P>)
void log_likelihood(const P&, const kalman_model<T, N, M>&, const Rest&...) {
  detail::explain_host_policy<P>();
}

}  // namespace kalscan
