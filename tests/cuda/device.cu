// SPDX-License-Identifier: MIT
// What the CUDA policy promises beside the fold: any element size, very long arrays, the same bits always, streams,
// graphs, and errors before anything is enqueued.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <kalscan/backend/seq.hpp>
#include <kalscan/cuda/device.cuh>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/monoids/mobius.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "../errors.hpp"
#include "device_array.hpp"
#include "many.hpp"
#include "tool.hpp"

namespace device_tests {
namespace {

using kalscan::cuda;
using kalscan::cuda_workspace;
using kalscan::scan_workspace;

struct stream {
  cudaStream_t handle;
  stream() { require_cuda(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  stream(const stream&) = delete;
  ~stream() { cudaStreamDestroy(handle); }
};

template <int K>
void check_size() {
  CAPTURE(K);
  const many_monoid<K> m;
  for (const std::size_t n : {std::size_t{1}, std::size_t{1000}, std::size_t{70001}}) {
    const auto x = random_many<K>(n, K);
    std::vector<many<K>> expected(n), backward(n);
    kalscan::inclusive_scan(kalscan::seq{}, m, x, expected);
    kalscan::exclusive_suffix_scan(kalscan::seq{}, m, x, backward);
    const device_array<many<K>> in(x, 4), out(n);
    const device_array<int> seen(std::vector<int>{0});
    const many_monoid<K> watched{seen.data()};
    const cuda_workspace memory(scan_workspace(cuda{}, m, static_cast<std::int64_t>(n)));
    kalscan::inclusive_scan(cuda{.workspace = memory}, watched, in.span(), out.span());
    CHECK(out.host() == expected);
    kalscan::exclusive_suffix_scan(cuda{.workspace = memory}, watched, in.span(), out.span());
    CHECK(out.host() == backward);
    CHECK(seen.host()[0] == 0);  // the guards around the arrays hold poison
  }
}
// Its memory would be freed before the first use.
static_assert(!std::is_convertible_v<kalscan::cuda_workspace, std::span<std::byte>>);
static_assert(std::is_convertible_v<const kalscan::cuda_workspace&, std::span<std::byte>>);

TEST_CASE("elements of 4 to 256 bytes, and nothing beyond the arrays reaches the operator") {
  check_size<1>();
  check_size<5>();
  check_size<64>();
}

struct maximum {
  KALSCAN_HD static std::uint8_t identity() { return 0; }
  KALSCAN_HD std::uint8_t operator()(std::uint8_t x, std::uint8_t y) const { return x < y ? y : x; }
};

__global__ void set_byte(std::uint8_t* x, std::int64_t i, std::uint8_t value) { x[i] = value; }
/// Counts filled where x does not hold the number of marks at or before it.
__global__ void count_wrong(const std::uint8_t* x, std::int64_t n, const std::int64_t* marks, int count, unsigned long long* wrong) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
    int expected = 0;
    for (int k = 0; k < count; ++k) expected += marks[k] <= i ? 1 : 0;
    if (x[i] != expected) atomicAdd(wrong, 1ull);
  }
}

TEST_CASE("3 * 10^9 one-byte elements") {
  constexpr std::int64_t n = 3'000'000'000;
  const std::vector<std::int64_t> filled{0, 1, 4095, (1ll << 31) - 1, 1ll << 31, (1ll << 31) + 12345, n - 1};
  const device_array<std::uint8_t> x(n);
  require_cuda(cudaMemset(x.data(), 0, n));
  for (std::size_t k = 0; k < filled.size(); ++k) set_byte<<<1, 1>>>(x.data(), filled[k], static_cast<std::uint8_t>(k + 1));
  const cuda_workspace memory(scan_workspace(cuda{}, maximum{}, n));
  kalscan::inclusive_scan(cuda{.workspace = memory}, maximum{}, x.span(), x.span());
  const device_array<std::int64_t> marks(filled);
  const device_array<unsigned long long> wrong(std::vector<unsigned long long>{0});
  count_wrong<<<1024, 256>>>(x.data(), n, marks.data(), static_cast<int>(filled.size()), wrong.data());
  require_cuda(cudaDeviceSynchronize());
  CHECK(wrong.host()[0] == 0);
}

/// Random filtering elements of one step each.
std::vector<kalscan::filtering_element<float>> random_elements(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0.9f, 1);
  std::vector<kalscan::filtering_element<float>> x(n);
  for (auto& e : x) {
    const kalscan::scalar_filter<float> filter{uniform(engine), 0.01f};
    e = filter.lift({std::abs(normal(engine)), normal(engine)});
  }
  return x;
}

__global__ void busy(float* x, int rounds) {
  float y = x[threadIdx.x];
  for (int i = 0; i < rounds; ++i) y = y * 0.999f + 0.1f;
  x[threadIdx.x] = y;
}

TEST_CASE("the same bits on 20 runs, with other work on the device, in many streams, and from a graph") {
  using monoid = kalscan::filtering_monoid<float>;
  using element = kalscan::filtering_element<float>;
  constexpr std::size_t n = 3'000'017;
  const device_array<element> in(random_elements(n, 3));
  const auto bytes = [](const device_array<element>& x) {
    const auto host = x.host();
    const auto* first = reinterpret_cast<const unsigned char*>(host.data());
    return std::vector<unsigned char>(first, first + host.size() * sizeof(element));
  };
  const std::size_t size = scan_workspace(cuda{}, monoid{}, n);
  const device_array<element> first(n);
  const cuda_workspace memory(size);
  kalscan::inclusive_scan(cuda{.workspace = memory}, monoid{}, in.span(), first.span());
  const auto expected = bytes(first);

  const device_array<float> scratch(std::vector<float>(1024, 1.0f));
  stream other;
  std::vector<stream> streams(4);
  std::vector<std::unique_ptr<device_array<element>>> outputs;
  std::vector<cuda_workspace> memories;
  for (std::size_t k = 0; k < streams.size(); ++k) {
    outputs.push_back(std::make_unique<device_array<element>>(n));
    memories.emplace_back(size);
  }
  for (int round = 0; round < 5; ++round) {
    busy<<<40 * round + 7, 1024, 0, other.handle>>>(scratch.data(), 20000);
    for (std::size_t k = 0; k < streams.size(); ++k) {
      kalscan::inclusive_scan(cuda{streams[k].handle, memories[k]}, monoid{}, in.span(), outputs[k]->span());
    }
    require_cuda(cudaDeviceSynchronize());
    for (const auto& y : outputs) CHECK(bytes(*y) == expected);
  }

  cudaGraph_t graph;
  cudaGraphExec_t executable;
  require_cuda(cudaStreamBeginCapture(streams[0].handle, cudaStreamCaptureModeGlobal));
  kalscan::inclusive_scan(cuda{streams[0].handle, memories[0]}, monoid{}, in.span(), outputs[0]->span());
  require_cuda(cudaStreamEndCapture(streams[0].handle, &graph));
  require_cuda(cudaGraphInstantiate(&executable, graph, 0));
  for (int k = 0; k < 3; ++k) {
    require_cuda(cudaMemset(outputs[0]->data(), 0, n * sizeof(element)));
    require_cuda(cudaDeviceSynchronize());
    require_cuda(cudaGraphLaunch(executable, streams[0].handle));
    require_cuda(cudaDeviceSynchronize());
    CHECK(bytes(*outputs[0]) == expected);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

/// Scans `rows` rows where the blocks of some tiles seem to have started elsewhere: those tiles count as taken until all
/// other blocks wait, and then have no block of their own. They are given free in the order of the list, one at a time, so
/// that who takes one may have to wait long for another.
template <class M, class E = kalscan::element_t<M>>
std::vector<E> scan_with_late_tiles(const std::vector<E>& x, std::int64_t rows, const std::vector<std::int64_t>& late,
                                    bool in_place) {
  using call_type = kalscan::detail::scan_arguments<kalscan::detail::emit::after, kalscan::running<M>>;
  using look_type = kalscan::detail::lookback<kalscan::running<M>>;
  constexpr int threads = kalscan::detail::long_tile_threads<call_type>;
  using tile = kalscan::detail::contiguous_tile<call_type, threads>;
  const auto length = static_cast<std::int64_t>(x.size()) / rows;
  const std::int64_t tiles = kalscan::detail::contiguous_tiles<call_type, threads>(length);
  const device_array<E> in(x), out(x.size());
  E* const to = in_place ? in.data() : out.data();
  const call_type call{{}, {in.data(), 1, length, 1, length}, {to, 1, length, 1, length}, rows, length, nullptr,
                       M::identity(), nullptr};
  const device_array<std::uint64_t> marks(std::vector<std::uint64_t>(look_type::marks(rows, tiles)));
  std::vector<unsigned> is_taken(static_cast<std::size_t>(rows * tiles));
  for (const std::int64_t number : late) is_taken[static_cast<std::size_t>(number)] = 1;
  const device_array<unsigned> taken(is_taken);
  const auto kernel = kalscan::detail::contiguous_kernel<call_type, threads, false>;
  require_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(tile)));
  stream scans, other;
  kernel<<<static_cast<unsigned>(rows * tiles), threads, sizeof(tile), scans.handle>>>(
      call, look_type(marks.data(), rows, tiles), taken.data());
  require_cuda(cudaGetLastError());
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(cudaStreamQuery(scans.handle) == cudaErrorNotReady);
  for (const std::int64_t number : late) {
    require_cuda(cudaMemsetAsync(taken.data() + number, 0, sizeof(unsigned), other.handle));
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  for (int waits = 0; cudaStreamQuery(scans.handle) == cudaErrorNotReady; ++waits) {
    if (waits > 6000) std::fputs("the scan waits for tiles that nobody takes\n", stderr), std::quick_exit(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  require_cuda(cudaStreamSynchronize(scans.handle));
  return in_place ? in.host() : out.host();
}

TEST_CASE("blocks that wait long take the tiles of blocks that have not started, with the same bits") {
  using monoid = kalscan::filtering_monoid<float>;
  using element = kalscan::filtering_element<float>;
  const std::size_t n = kla_test::under_a_tool() ? 100'000 : 5'000'011;
  for (const std::int64_t rows : {1, 3}) {
    CAPTURE(rows);
    const std::int64_t length = static_cast<std::int64_t>(n) / rows;
    const auto x = random_elements(static_cast<std::size_t>(rows * length), 5);
    const device_array<element> in(x), out(x.size());
    const cuda_workspace memory(scan_workspace(cuda{}, monoid{}, length, rows));
    kalscan::inclusive_scan(cuda{.workspace = memory}, monoid{}, kalscan::sequences(in.data(), rows, length, 1),
                            kalscan::sequences(out.data(), rows, length, 1));
    const auto expected = out.host();
    const auto same = [&](const std::vector<element>& y) {
      return std::memcmp(y.data(), expected.data(), y.size() * sizeof(element)) == 0;
    };
    for (const bool in_place : {false, true}) {
      CAPTURE(in_place);
      CHECK(same(scan_with_late_tiles<monoid>(x, rows, {0}, in_place)));
      CHECK(same(scan_with_late_tiles<monoid>(x, rows, {1, 5, 6, 33, 34, 40}, in_place)));
      CHECK(same(scan_with_late_tiles<monoid>(x, rows, {40, 34, 33, 31, 6, 5, 1}, in_place)));
    }
  }
}

TEST_CASE("floating elements: as near to the left fold in double as the fold in float is") {
  constexpr std::size_t n = 500'000;
  const auto x = random_elements(n, 5);
  std::vector<kalscan::filtering_element<double>> exact(n);
  for (std::size_t t = 0; t < n; ++t) exact[t] = {x[t].A, x[t].b, x[t].C, x[t].eta, x[t].J};
  kalscan::inclusive_scan(kalscan::seq{}, kalscan::filtering_monoid<double>{}, exact, exact);
  const device_array<kalscan::filtering_element<float>> in(x);
  const cuda_workspace memory(scan_workspace(cuda{}, kalscan::filtering_monoid<float>{}, n));
  kalscan::inclusive_scan(cuda{.workspace = memory}, kalscan::filtering_monoid<float>{}, in.span(), in.span());
  const auto y = in.host();
  double worst = 0;
  for (std::size_t t = 0; t < n; ++t) {
    const double defect = std::max({std::abs(y[t].b - exact[t].b) / (1 + std::abs(exact[t].b)),
                                    std::abs(y[t].C / exact[t].C - 1), std::abs(y[t].J / exact[t].J - 1)});
    if (!(defect <= worst)) worst = defect;
  }
  CHECK(worst < 1e-5);
}

TEST_CASE("a segmented scan starts anew at every flag") {
  using monoid = kalscan::segmented<many_monoid<2>>;
  using element = kalscan::flagged<many<2>>;
  const auto values = random_many<2>(20011, 9);
  std::vector<element> x(values.size()), expected(values.size());
  for (std::size_t t = 0; t < x.size(); ++t) x[t] = {values[t], t % 97 == 13 || t % 1009 < 2};
  kalscan::inclusive_scan(kalscan::seq{}, monoid{}, x, expected);
  const device_array<element> in(x);
  const cuda_workspace memory(scan_workspace(cuda{}, monoid{}, std::ssize(x)));
  kalscan::inclusive_scan(cuda{.workspace = memory}, monoid{}, in.span(), in.span());
  CHECK(in.host() == expected);
}

TEST_CASE("scans in streams of their own, from several host threads") {
  const auto x = random_many<2>(100'003, 11);
  std::vector<many<2>> expected(x.size());
  kalscan::inclusive_scan(kalscan::seq{}, many_monoid<2>{}, x, expected);
  const device_array<many<2>> in(x);
  std::vector<int> right(8);
  std::vector<std::thread> threads;
  for (std::size_t k = 0; k < right.size(); ++k) {
    threads.emplace_back([&, k] {
      cudaStream_t s;
      many<2>* out = nullptr;
      std::vector<many<2>> y(x.size());
      cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
      cudaMalloc(&out, x.size() * sizeof(many<2>));
      const cuda_workspace memory(scan_workspace(cuda{}, many_monoid<2>{}, std::ssize(x)));
      for (int i = 0; i < 20; ++i)
        kalscan::inclusive_scan(cuda{s, memory}, many_monoid<2>{}, in.span(), std::span(out, x.size()));
      cudaMemcpyAsync(y.data(), out, x.size() * sizeof(many<2>), cudaMemcpyDeviceToHost, s);
      cudaStreamSynchronize(s);
      right[k] = y == expected;
      cudaFree(out);
      cudaStreamDestroy(s);
    });
  }
  for (auto& t : threads) t.join();
  CHECK(right == std::vector<int>(8, 1));
}

TEST_CASE("bad calls are refused by name and value, before anything is enqueued") {
  using monoid = many_monoid<2>;
  using element = many<2>;
  const device_array<element> x(random_many<2>(10000, 1)), y(10000);
  const auto untouched = y.host();
  alignas(256) static element host_array[10000];
  std::vector<element> host(10000);
  const std::span<element> on_host(host);
  const cuda_workspace memory(scan_workspace(cuda{}, monoid{}, 10000));
  const cuda p{.workspace = memory};
  CHECK(message_of([&] { kalscan::inclusive_scan(p, monoid{}, on_host, y.span()); }) ==
        "kalscan::inclusive_scan: in is in host memory, not in device memory");
  CHECK(message_of([&] { kalscan::inclusive_scan(p, monoid{}, host, y.span()); }) ==
        "kalscan::inclusive_scan: in is in host memory, not in device memory");
  CHECK(message_of([&] { kalscan::exclusive_scan(p, monoid{}, x.span(), on_host); }) ==
        "kalscan::exclusive_scan: out is in host memory, not in device memory");
  CHECK(message_of([&] { kalscan::reduce(p, monoid{}, x.span(), on_host.first(1)); }) ==
        "kalscan::reduce: final is in host memory, not in device memory");
  CHECK(message_of([&] { kalscan::reduce(p, monoid{}, x.span(), y.span()); }) ==
        "kalscan::reduce: final has size 10000, not 1");
  CHECK(message_of([&] { kalscan::inclusive_scan(p, monoid{}, x.span(), y.span().first(9)); }) ==
        "kalscan::inclusive_scan: time of out has size 9, not 10000");
  CHECK(message_of([&] {
          kalscan::inclusive_scan(p, monoid{}, kalscan::sequences(x.data(), 1, -5, 2), kalscan::sequences(y.data(), 1, -5, 2));
        }) == "kalscan::inclusive_scan: in has shape [1, -5, 2]");
  CHECK(message_of([&] { kalscan::inclusive_scan(cuda{.chunk = -3}, monoid{}, x.span(), y.span()); }) ==
        "kalscan::inclusive_scan: chunk of the policy is -3");
  CHECK(message_of([&] { return scan_workspace(cuda{}, monoid{}, -1); }) == "kalscan::scan_workspace: length is -1");
  CHECK(message_of([&] { kalscan::inclusive_scan(cuda{}, monoid{}, x.span(), y.span()); })
            .starts_with("kalscan::inclusive_scan: workspace has 0 bytes, but "));
  const std::span<std::byte> bytes = memory;
  CHECK(message_of([&] { kalscan::inclusive_scan(cuda{.workspace = bytes.subspan(8)}, monoid{}, x.span(), y.span()); }) ==
        "kalscan::inclusive_scan: workspace is not aligned to 256 bytes");
  CHECK(message_of([&] {
          kalscan::inclusive_scan(cuda{.workspace = std::as_writable_bytes(std::span(host_array))}, monoid{}, x.span(), y.span());
        }) == "kalscan::inclusive_scan: workspace is in host memory, not in device memory");
  require_cuda(cudaDeviceSynchronize());
  CHECK(y.host() == untouched);
}

TEST_CASE("what CUDA refuses becomes a cuda_error that names the call") {
  try {
    cuda_workspace too_much(std::size_t{1} << 60);
    FAIL("2^60 bytes were allocated");
  } catch (const kalscan::cuda_error& error) {
    CHECK(error.code() == cudaErrorMemoryAllocation);
    CHECK(std::string(error.what()).find("cudaMalloc") != std::string::npos);
  }
  cudaGetLastError();
}

}  // namespace
}  // namespace device_tests
