// SPDX-License-Identifier: MIT
// The CUDA scans beside CUB's with the same operator, and a device-to-device copy as the ceiling. Times are those of
// device events around one call. What is timed was first held against the other library's result.
#include <benchmark/benchmark.h>
#include <kalscan/cuda/device.cuh>
#include <kalscan/cuda/scope/block.cuh>

#include <cstdio>
#include <cub/cub.cuh>
#include <memory>
#include <string>

#include "cuda_array.cuh"
#include "cuda_workloads.cuh"

namespace {

template <class W, class T>
__global__ void fill(T* x, std::int64_t n) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * blockDim.x)
    x[i] = W::make(i);
}
template <class W, class T>
__global__ void compare(const T* x, const T* y, std::int64_t n, unsigned* worst) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
    const float d = W::difference(x[i], y[i]);
    atomicMax(worst, d <= 1e30f ? __float_as_uint(d) : 0x7f800000u);  // NaN counts as infinity
  }
}

/// The largest difference between two results.
template <class W, class T>
float difference(const array<T>& x, const array<T>& y) {
  array<unsigned> worst(1);
  require(cudaMemset(worst.data, 0, 4));
  compare<W><<<1024, 256>>>(x.data, y.data, x.size, worst.data);
  float result;
  require(cudaMemcpy(&result, worst.data, 4, cudaMemcpyDeviceToHost));
  return result;
}

/// Times each call by events; bytes are those that one call must move.
template <class Call>
void time_calls(benchmark::State& state, double bytes, Call call) {
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  for (int i = 0; i < 3; ++i) call();
  for (auto _ : state) {
    float ms;
    require(cudaEventRecord(begin));
    call();
    require(cudaEventRecord(end));
    require(cudaEventSynchronize(end));
    require(cudaEventElapsedTime(&ms, begin, end));
    state.SetIterationTime(1e-3 * ms);
  }
  require(cudaGetLastError());
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
}

template <class W>
using element = kalscan::element_t<typename W::monoid>;

/// CUB knows plus, and has its fastest settings for it.
template <class W>
using cub_operator = std::conditional_t<std::is_same_v<W, workload::int_sum>, ::cuda::std::plus<>, typename W::monoid>;

template <class W>
void device_scan(benchmark::State& state, bool with_cub) {
  const std::int64_t n = state.range(0);
  const typename W::monoid m;
  const array<element<W>> in(n), out(n), other(n);
  fill<W><<<1024, 256>>>(in.data, n);
  const kalscan::cuda_workspace memory(kalscan::scan_workspace(kalscan::cuda{}, m, n));
  std::size_t bytes = 0;
  require(cub::DeviceScan::InclusiveScan(nullptr, bytes, in.data, out.data, cub_operator<W>{}, static_cast<int>(n)));
  const array<char> cub_memory(bytes);
  const auto ours = [&] { kalscan::inclusive_scan(kalscan::cuda{.workspace = memory}, m, in.span(), out.span()); };
  const auto theirs = [&] {
    require(cub::DeviceScan::InclusiveScan(cub_memory.data, bytes, in.data, other.data, cub_operator<W>{}, static_cast<int>(n)));
  };
  ours(), theirs();
  if (const float d = difference<W>(out, other); !(d < 1e-3f)) {
    state.SkipWithError(("kalscan and CUB differ by " + std::to_string(d)).c_str());
    return;
  }
  const double moved = 2.0 * static_cast<double>(n) * sizeof(element<W>);
  with_cub ? time_calls(state, moved, theirs) : time_calls(state, moved, ours);
}

/// Maps over integers, which are exact: they show in which order operands were taken.
struct exact_maps {
  using monoid = kalscan::affine_monoid<std::uint32_t>;
  __device__ static kalscan::affine_map<std::uint32_t> make(std::int64_t i) {
    const std::uint64_t z = (static_cast<std::uint64_t>(i) + 1) * 0x9e3779b97f4a7c15U;
    return {static_cast<std::uint32_t>(z >> 32) | 1U, static_cast<std::uint32_t>(z >> 20)};
  }
};

/// Whether the reductions of both libraries keep the order of operands: whether they give the last element of a scan.
void print_order_of_reductions() {
  using E = element<exact_maps>;
  const exact_maps::monoid m;
  for (const std::int64_t n : {100, 1000, 100'000, 10'000'000}) {
    const array<E> in(n), scanned(n), ours(1), theirs(1);
    fill<exact_maps><<<1024, 256>>>(in.data, n);
    const kalscan::cuda_workspace memory(kalscan::scan_workspace(kalscan::cuda{}, m, n));
    const kalscan::cuda policy{.workspace = memory};
    kalscan::inclusive_scan(policy, m, in.span(), scanned.span());
    kalscan::reduce(policy, m, in.span(), ours.span());
    std::size_t bytes = 0;
    const auto reduce = [&](void* at) {
      require(cub::DeviceReduce::Reduce(at, bytes, in.data, theirs.data, static_cast<int>(n), m, m.identity()));
    };
    reduce(nullptr);
    const array<char> cub_memory(bytes);
    reduce(cub_memory.data);
    E last, results[2];
    require(cudaMemcpy(&last, scanned.data + n - 1, sizeof(E), cudaMemcpyDeviceToHost));
    require(cudaMemcpy(&results[0], ours.data, sizeof(E), cudaMemcpyDeviceToHost));
    require(cudaMemcpy(&results[1], theirs.data, sizeof(E), cudaMemcpyDeviceToHost));
    const auto says = [&](const E& x) {
      return x.gain == last.gain && x.offset == last.offset ? "in order" : "reordered";
    };
    std::printf("%8lld operands that do not commute: kalscan::reduce %s, cub::DeviceReduce %s\n",
                static_cast<long long>(n), says(results[0]), says(results[1]));
  }
}

/// `rounds` scans of what a thread holds, so that nothing but the scan is timed.
template <class W, class Scan>
__global__ void __launch_bounds__(256) rounds(element<W>* out, int count, Scan) {
  using E = element<W>;
  __shared__ typename Scan::storage shared;
  constexpr int N = Scan::items;
  E x[N], y[N];
  const std::int64_t at = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * N;
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = W::make(at + i);
  for (int k = 0; k < count; ++k) {
    // The compiler must take each round's input for a new one.
    auto words = kalscan::detail::pack_words(x[0]);
    asm volatile("" : "+r"(words.word[0]));
    x[0] = kalscan::detail::unpack_words<E>(words);
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = x[i];
    Scan::run(shared, y);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      auto result = kalscan::detail::pack_words(y[i]);
#pragma unroll
      for (unsigned& w : result.word) asm volatile("" : "+r"(w));
      y[i] = kalscan::detail::unpack_words<E>(result);
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) out[at + i] = y[i];
}

template <class M, int N>
struct our_block {
  static constexpr int items = N;
  using scope = kalscan::block<M, 256>;
  using storage = typename scope::storage;
  template <class E>
  __device__ static void run(storage& shared, E (&x)[N]) {
    scope(shared).inclusive_scan(x);
  }
};
template <class M, int N, cub::BlockScanAlgorithm Algorithm>
struct cub_block {
  static constexpr int items = N;
  using scope = cub::BlockScan<kalscan::element_t<M>, 256, Algorithm>;
  using storage = typename scope::TempStorage;
  template <class E>
  __device__ static void run(storage& shared, E (&x)[N]) {
    scope(shared).InclusiveScan(x, x, M{});
    __syncthreads();  // before the storage is used again, as its documentation asks
  }
};
template <class M>
struct our_warp {
  static constexpr int items = 1;
  using scope = kalscan::warp<M>;
  using storage = typename scope::storage;
  template <class E>
  __device__ static void run(storage&, E (&x)[1]) {
    x[0] = scope().inclusive_scan(x[0]);
  }
};
template <class M>
struct cub_warp {
  static constexpr int items = 1;
  using scope = cub::WarpScan<kalscan::element_t<M>>;
  struct storage {
    typename scope::TempStorage warps[8];
  };
  template <class E>
  __device__ static void run(storage& shared, E (&x)[1]) {
    scope(shared.warps[threadIdx.x / 32]).InclusiveScan(x[0], x[0], M{});
  }
};

template <class W, class Scan, class Other>
void scope_scan(benchmark::State& state) {
  constexpr int blocks = 132 * 8, count = 200;
  const array<element<W>> out(blocks * 256 * Scan::items), other(out.size);
  rounds<W><<<blocks, 256>>>(out.data, 1, Scan{});
  rounds<W><<<blocks, 256>>>(other.data, 1, Other{});
  if (const float d = difference<W>(out, other); !(d < 1e-3f)) {
    state.SkipWithError(("kalscan and CUB differ by " + std::to_string(d)).c_str());
    return;
  }
  time_calls(state, 0, [&] { rounds<W><<<blocks, 256>>>(out.data, count, Scan{}); });
  state.counters.erase("GB/s");
  state.counters["elements/s"] = benchmark::Counter(double(blocks) * 256 * Scan::items * count, benchmark::Counter::kIsIterationInvariantRate);
}

template <class W>
void strided(benchmark::State& state) {
  constexpr std::int64_t time = 1000, lanes = 10000;
  const array<element<W>> in(time * lanes), out(time * lanes);
  fill<W><<<1024, 256>>>(in.data, in.size);
  const kalscan::cuda_workspace memory(kalscan::scan_workspace(kalscan::cuda{}, typename W::monoid{}, time, lanes));
  time_calls(state, 2.0 * static_cast<double>(in.size) * sizeof(element<W>), [&] {
    kalscan::inclusive_scan(kalscan::cuda{.workspace = memory}, typename W::monoid{}, kalscan::sequences(in.data, 1, time, lanes),
                            kalscan::sequences(out.data, 1, time, lanes));
  });
}

/// The order of omp{.chunk = 1024}: what the same bits as there cost.
template <class W>
void fixed_chunk(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const array<element<W>> in(n), out(n);
  fill<W><<<1024, 256>>>(in.data, n);
  kalscan::cuda policy{.chunk = 1024};
  const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, typename W::monoid{}, n));
  policy.workspace = memory;
  time_calls(state, 2.0 * static_cast<double>(n) * sizeof(element<W>),
             [&] { kalscan::inclusive_scan(policy, typename W::monoid{}, in.span(), out.span()); });
}

void copy(benchmark::State& state) {
  const array<char> in(state.range(0)), out(state.range(0));
  require(cudaMemset(in.data, 1, in.size));
  time_calls(state, 2.0 * static_cast<double>(in.size), [&] {
    require(cudaMemcpyAsync(out.data, in.data, in.size, cudaMemcpyDeviceToDevice));
  });
}

template <class Function>
benchmark::internal::Benchmark* add(const std::string& name, Function f) {
  return benchmark::RegisterBenchmark(name.c_str(), f)->UseManualTime()->Unit(benchmark::kMicrosecond);
}

template <class W>
void add_workload() {
  const std::string name = W::name;
  for (const bool with_cub : {false, true}) {
    auto* b = add("device/" + name + (with_cub ? "/CUB" : "/kalscan"),
                  [=](benchmark::State& s) { device_scan<W>(s, with_cub); });
    for (const std::int64_t n : {1000, 10'000, 100'000, 1'000'000, 10'000'000, 1 << 26, 1 << 27}) b->Arg(n);
    if (sizeof(element<W>) == 4) b->Arg(1 << 28);
  }
  using M = typename W::monoid;
  using raking = cub_block<M, 1, cub::BLOCK_SCAN_RAKING>;
  using warps = cub_block<M, 1, cub::BLOCK_SCAN_WARP_SCANS>;
  using raking4 = cub_block<M, 4, cub::BLOCK_SCAN_RAKING>;
  using warps4 = cub_block<M, 4, cub::BLOCK_SCAN_WARP_SCANS>;
  add("block/" + name + "/kalscan/1", scope_scan<W, our_block<M, 1>, raking>);
  add("block/" + name + "/CUB raking/1", scope_scan<W, raking, our_block<M, 1>>);
  add("block/" + name + "/CUB warp scans/1", scope_scan<W, warps, our_block<M, 1>>);
  if (sizeof(element<W>) <= 32) {
    add("block/" + name + "/kalscan/4", scope_scan<W, our_block<M, 4>, raking4>);
    add("block/" + name + "/CUB raking/4", scope_scan<W, raking4, our_block<M, 4>>);
    add("block/" + name + "/CUB warp scans/4", scope_scan<W, warps4, our_block<M, 4>>);
  }
  add("warp/" + name + "/kalscan", scope_scan<W, our_warp<M>, cub_warp<M>>);
  add("warp/" + name + "/CUB", scope_scan<W, cub_warp<M>, our_warp<M>>);
  add("strided 10^4 x 1000/" + name, strided<W>);
}

}  // namespace

int main(int argc, char** argv) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("no GPU");
    return 77;
  }
  cudaDeviceProp properties;
  require(cudaGetDeviceProperties(&properties, 0));
  benchmark::AddCustomContext("GPU", properties.name);
  print_order_of_reductions();
  add("copy", copy)->Arg(80'000'000)->Arg(std::int64_t{1} << 30);
  add_workload<workload::int_sum>();
  add_workload<workload::affine>();
  add_workload<workload::mobius<float>>();
  add_workload<workload::filtering>();
  add_workload<workload::mobius<double>>();
  add_workload<workload::filtering4>();
  add("order of omp, chunks of 1024/affine (8 B)", fixed_chunk<workload::affine>)->Arg(1 << 26);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
