// SPDX-License-Identifier: MIT
// The scans of this library at each scope of a device, and CUB's, for kalscan::compare.
//
//     kalscan::compare(m, draw, kalscan::relative(1e-5), {1'000'000}, {}, kalscan::cuda_back_ends(m));
//
// Inputs are copied to the device and results back outside of what is timed; times are those of events around the
// calls. Without a device each is a row that says so. One list's back ends share their arrays: two of the size, beside
// CUB's and this library's workspaces.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cub/device/device_scan.cuh>
#include <kalscan/compare/back_end.hpp>
#include <kalscan/cuda/device.cuh>
#include <kalscan/cuda/scope/block.cuh>
#include <kalscan/cuda/scope/warp.cuh>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace kalscan {
namespace detail {

inline void require_device() {
  int devices = 0;
  const cudaError_t code = cudaGetDeviceCount(&devices);
  if (code != cudaSuccess) throw back_end_absent(cudaGetErrorString(code));
  if (devices == 0) throw back_end_absent("no CUDA device");
}

/// Seconds that `calls` calls take on the device.
template <class Call>
double seconds_by_events(const Call& call, std::int64_t calls) {
  struct event {
    cudaEvent_t handle = nullptr;
    event() { require_success("cudaEventCreate", cudaEventCreate(&handle)); }
    event(const event&) = delete;
    ~event() { cudaEventDestroy(handle); }
  };
  const event begin, end;
  require_success("cudaEventRecord", cudaEventRecord(begin.handle));
  for (std::int64_t i = 0; i < calls; ++i) call();
  require_success("cudaEventRecord", cudaEventRecord(end.handle));
  require_success("cudaEventSynchronize", cudaEventSynchronize(end.handle));
  float ms = 0;
  require_success("cudaEventElapsedTime", cudaEventElapsedTime(&ms, begin.handle, end.handle));
  return 1e-3 * static_cast<double>(ms);
}

/// A scan's input and output in device memory.
template <class X>
struct device_scan {
  cuda_workspace in_memory, out_memory;
  std::span<const scan_input_t<X>> in;
  std::span<scan_state_t<X>> out;

  explicit device_scan(const scan_call<X>& call)
      : in_memory(call.in.size_bytes()),
        out_memory(call.out.size_bytes()),
        in(static_cast<const scan_input_t<X>*>(start_of(in_memory)), call.in.size()),
        out(static_cast<scan_state_t<X>*>(start_of(out_memory)), call.out.size()) {
    require_success("cudaMemcpy",
                    cudaMemcpy(start_of(in_memory), call.in.data(), call.in.size_bytes(), cudaMemcpyDefault));
  }
  static void* start_of(std::span<std::byte> memory) { return memory.data(); }
};

/// The arrays on the device as long as any back end of the list is at work with them.
template <class X>
using shared_device_scan = std::shared_ptr<std::weak_ptr<device_scan<X>>>;

/// A back end that runs `start(call, arrays)` once for what it needs and gets back what to time.
template <class X, class Start>
back_end<X> device_back_end(const std::string& name, const shared_device_scan<X>& shared, Start start) {
  return {name, [shared, start](const scan_call<X>& call) {
            require_device();
            auto arrays = shared->lock();
            if (!arrays) *shared = arrays = std::make_shared<device_scan<X>>(call);
            const auto run = start(call, *arrays);
            return compare_run{[run](std::int64_t calls) { return seconds_by_events(run, calls); },
                               [arrays, call] {
                                 require_success("cudaMemcpy", cudaMemcpy(call.out.data(), arrays->out.data(),
                                                                          call.out.size_bytes(), cudaMemcpyDefault));
                                 // What a run does not write must not pass for the result of the run before it.
                                 require_success("cudaMemset",
                                                 cudaMemset(arrays->out.data(), 0xff, call.out.size_bytes()));
                               }};
          }};
}

template <class X>
auto device_verb(const cuda& schedule) {
  return [schedule](const scan_call<X>& call, const device_scan<X>& arrays) {
    const auto r = scanned<X>::recurrence(call.op);
    const auto memory = std::make_shared<const cuda_workspace>(scan_workspace(schedule, r, std::ssize(arrays.in)));
    cuda policy = schedule;
    policy.workspace = *memory;
    return [r, memory, policy, in = arrays.in, out = arrays.out, initial = call.initial] {
      scan_states(policy, r, in, out, initial);
    };
  };
}

/// One group of threads takes all tiles, one after the other.
template <class Scope, int Items, class M>
__global__ void __launch_bounds__(Scope::threads)
    scan_by_one_scope(M m, const element_t<M>* in, element_t<M>* out, std::int64_t count) {
  __shared__ typename Scope::storage shared;
  Scope scope(shared, m);
  constexpr int tile = Scope::threads * Items;
  element_t<M> carry = m.identity(), items[Items];
  for (std::int64_t begin = 0; begin < count; begin += tile) {
    const int filled = count - begin < tile ? static_cast<int>(count - begin) : tile;
    const std::int64_t at = begin + scope.thread_rank() * Items;
#pragma unroll
    for (int i = 0; i < Items; ++i)
      if (at + i < count) items[i] = in[at + i];
    scope.inclusive_scan(items, carry, valid(filled));
#pragma unroll
    for (int i = 0; i < Items; ++i)
      if (at + i < count) out[at + i] = items[i];
  }
}

template <class Scope, device_monoid M>
auto one_scope() {
  return [](const scan_call<M>& call, const device_scan<M>& arrays) {
    return [m = call.op, in = arrays.in, out = arrays.out] {
      constexpr int items = sizeof(element_t<M>) <= 32 ? 4 : 1;
      scan_by_one_scope<Scope, items><<<1, Scope::threads>>>(m, in.data(), out.data(), std::ssize(in));
      check_launch("scan_by_one_scope");
    };
  };
}

template <device_monoid M>
auto cub_device_scan() {
  return [](const scan_call<M>& call, const device_scan<M>& arrays) {
    std::size_t bytes = 0;
    const auto count = std::ssize(arrays.in);
    require_success(
        "cub::DeviceScan::InclusiveScan",
        cub::DeviceScan::InclusiveScan(nullptr, bytes, arrays.in.data(), arrays.out.data(), call.op, count));
    const auto memory = std::make_shared<const cuda_workspace>(bytes);
    return [memory, m = call.op, in = arrays.in, out = arrays.out, count] {
      const std::span<std::byte> workspace = *memory;
      std::size_t available = workspace.size();
      require_success("cub::DeviceScan::InclusiveScan",
                      cub::DeviceScan::InclusiveScan(workspace.data(), available, in.data(), out.data(), m, count));
    };
  };
}

}  // namespace detail

/// kalscan on the whole device, in its own order and in that of omp{.chunk = 1024}; for a monoid also by one block of
/// 256 threads and by one warp, and CUB's DeviceScan. An operator that no device can run gets a row that says why.
template <class X>
[[nodiscard]] std::vector<back_end<X>> cuda_back_ends(const X&) {
  if constexpr (!detail::device_recurrence<typename scanned<X>::type>) {
    return {absent_back_end<X>("cuda",
                               "operator, elements, states and inputs must be trivially copyable, at most 256 bytes")};
  } else {
    const auto shared = std::make_shared<std::weak_ptr<detail::device_scan<X>>>();
    const auto on_device = [&](const std::string& name, auto start) {
      return detail::device_back_end<X>(name, shared, start);
    };
    std::vector<back_end<X>> all{on_device("cuda{}", detail::device_verb<X>(cuda{})),
                                 on_device("cuda{.chunk = 1024}", detail::device_verb<X>(cuda{.chunk = 1024}))};
    if constexpr (monoid<X>) {
      all.push_back(on_device("cuda one block", detail::one_scope<block<X, 256>, X>()));
      all.push_back(on_device("cuda one warp", detail::one_scope<warp<X>, X>()));
      all.push_back(on_device("CUB DeviceScan", detail::cub_device_scan<X>()));
    }
    return all;
  }
}

}  // namespace kalscan
