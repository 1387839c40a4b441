// SPDX-License-Identifier: MIT
// Warp and block: every verb against the left fold on the host, bit for bit, for element sizes from 4 to 256 bytes, all
// sizes of logical warps, and partial tiles whose other filled hold poison.
#include <doctest/doctest.h>

#include <kalscan/cuda/scope/block.cuh>
#include <kalscan/cuda/scope/warp.cuh>
#include <kalscan/kalman/scalar/filter.hpp>
#include <algorithm>
#include <vector>

#include "device_array.hpp"
#include "many.hpp"

namespace scopes_tests {
namespace {

enum verb { inclusive, exclusive, inclusive_suffix, exclusive_suffix, reduction, verbs };

/// One call of a verb on `items`, with a carry where there is one.
template <class Scope, class E, int N>
__device__ void call(Scope& scope, int v, E (&items)[N], E* carry, int valid) {
  const auto with = [&](auto... c) {
    if (v == inclusive) scope.inclusive_scan(items, *c..., kalscan::valid(valid));
    if (v == exclusive) scope.exclusive_scan(items, *c..., kalscan::valid(valid));
    if (v == inclusive_suffix) scope.inclusive_suffix_scan(items, *c..., kalscan::valid(valid));
    if (v == exclusive_suffix) scope.exclusive_suffix_scan(items, *c..., kalscan::valid(valid));
  };
  if (v == reduction) {
    const E sum = scope.reduce(items, kalscan::valid(valid));
#pragma unroll
    for (E& item : items) item = sum;
  } else if (carry != nullptr) {
    with(carry);
  } else {
    with();
  }
}

/// `tiles` tiles, each of all verbs in turn on the same inputs, without a barrier between them. Every group of threads
/// (the whole block, or each logical warp of it) does the same work on data of its own.
/// in: [group][tile][place]; out: [verb][carried][group][tile][place]; the last carries: [verb][group].
template <class Scope, int N, class M, class E>
__global__ void __launch_bounds__(1024) run_verbs(M m, const E* in, E* out, E* carries, int groups, int tiles, int valid_last) {
  __shared__ typename Scope::storage shared;
  Scope scope(shared, m);
  constexpr int size = Scope::threads * N;
  const int group = static_cast<int>(threadIdx.x) / Scope::threads;
  if (group >= groups) return;
  for (int v = 0; v < verbs; ++v) {
    for (int carried = 0; carried < 2; ++carried) {
      E carry = m.identity();
      for (int tile = 0; tile < tiles; ++tile) {
        const int valid = tile + 1 < tiles ? size : valid_last;
        E items[N];
        const int begin = (group * tiles + tile) * size + scope.thread_rank() * N;
#pragma unroll
        for (int i = 0; i < N; ++i) items[i] = in[begin + i];
        call(scope, v, items, carried && v != reduction ? &carry : nullptr, valid);
#pragma unroll
        for (int i = 0; i < N; ++i) out[((v * 2 + carried) * groups * tiles) * size + begin + i] = items[i];
      }
      if (carried && scope.thread_rank() == 0) carries[v * groups + group] = carry;
    }
  }
}

/// What run_verbs must leave of one tile; `carry` is what the tiles before it left.
template <class M, class E>
void expect(const M& m, int v, std::vector<E>& x, int valid, const E& carry) {
  const bool suffix = v == inclusive_suffix || v == exclusive_suffix, before = v == exclusive || v == exclusive_suffix;
  E sum = carry;
  for (int k = 0; k < valid; ++k) {
    const auto i = static_cast<std::size_t>(suffix ? valid - 1 - k : k);
    const E item = x[i];
    if (before) x[i] = sum;
    sum = suffix ? m(item, sum) : m(sum, item);
    if (!before && v != reduction) x[i] = sum;
  }
  if (v == reduction) std::fill(x.begin(), x.end(), sum);
}

template <class Scope, int N, int K>
void check_verbs(int groups, int tiles, int valid_last) {
  CAPTURE(K);
  CAPTURE(N);
  CAPTURE(Scope::threads);
  CAPTURE(valid_last);
  using E = many<K>;
  constexpr int size = Scope::threads * N;
  const auto total = static_cast<std::size_t>(groups * tiles * size);
  auto x = random_many<K>(total, static_cast<std::uint64_t>(K * 1000 + N + valid_last));
  E poison;
  for (auto& e : poison.maps) e = {many_monoid<K>::poison, many_monoid<K>::poison};
  for (int g = 0; g < groups; ++g)
    for (int i = valid_last; i < size; ++i) x[static_cast<std::size_t>(((g + 1) * tiles - 1) * size + i)] = poison;
  const device_array<E> in(x), out(total * 2 * verbs), carries(static_cast<std::size_t>(verbs * groups));
  const device_array<int> seen(std::vector<int>{0});
  const many_monoid<K> m{seen.data()};
  run_verbs<Scope, N><<<1, groups * Scope::threads>>>(m, in.data(), out.data(), carries.data(), groups, tiles, valid_last);
  require_cuda(cudaGetLastError());
  require_cuda(cudaDeviceSynchronize());
  CHECK(seen.host()[0] == 0);
  const auto y = out.host();
  const auto ends = carries.host();
  const many_monoid<K> host;
  int wrong = 0;
  for (int v = 0; v < verbs; ++v) {
    for (int carried = 0; carried < 2; ++carried) {
      for (int g = 0; g < groups; ++g) {
        E carry = host.identity();
        for (int tile = 0; tile < tiles; ++tile) {
          const int valid = tile + 1 < tiles ? size : valid_last;
          const auto begin = static_cast<std::size_t>((g * tiles + tile) * size);
          std::vector<E> expected(x.begin() + static_cast<std::ptrdiff_t>(begin), x.begin() + static_cast<std::ptrdiff_t>(begin + size));
          const auto original = expected;
          const E start = carried && v != reduction ? carry : host.identity();
          expect(host, v, expected, valid, start);
          const auto at = y.begin() + static_cast<std::ptrdiff_t>((v * 2 + carried) * groups * tiles * size + static_cast<int>(begin));
          const auto differs = std::mismatch(expected.begin(), expected.end(), at).first - expected.begin();
          if (differs < size && wrong++ == 0) MESSAGE("verb ", v, ", carried ", carried, ", tile ", tile, ", place ", differs);
          // The carry: everything so far, in the scan's order.
          const bool suffix = v == inclusive_suffix || v == exclusive_suffix;
          for (int k = 0; k < valid; ++k) {
            const E& item = original[static_cast<std::size_t>(suffix ? valid - 1 - k : k)];
            carry = suffix ? host(item, carry) : host(carry, item);
          }
        }
        if (carried && v != reduction) wrong += ends[static_cast<std::size_t>(v * groups + g)] == carry ? 0 : 1;
      }
    }
  }
  CHECK(wrong == 0);
}

template <int Lanes, int N, int K>
void check_warp() {
  using scope = kalscan::warp<many_monoid<K>, Lanes>;
  const int groups = 32 / Lanes;
  for (const int valid : {1, N, N + 1, Lanes * N / 2, Lanes * N - 1, Lanes * N}) {
    if (valid <= Lanes * N) check_verbs<scope, N, K>(groups, 2, valid);
  }
}

template <int Threads, int N, int K>
void check_block() {
  using scope = kalscan::block<many_monoid<K>, Threads>;
  for (const int valid : {0, 1, N + 1, 31 * N, 32 * N, 32 * N + 1, Threads * N / 2, Threads * N - 1, Threads * N}) {
    if (valid <= Threads * N) check_verbs<scope, N, K>(1, 2, valid);
  }
}

TEST_CASE("warp: elements of every size") {
  check_warp<32, 1, 1>();
  check_warp<32, 3, 5>();
  check_warp<32, 1, 64>();
}
TEST_CASE("warp: logical warps of every kind") {
  check_warp<2, 2, 5>();
  check_warp<5, 1, 2>();
  check_warp<8, 3, 1>();
  check_warp<31, 1, 1>();
}
TEST_CASE("block: elements of every size") {
  check_block<256, 1, 1>();
  check_block<128, 3, 5>();
  check_block<64, 1, 64>();
}
TEST_CASE("block: blocks of every size") {
  check_block<1024, 1, 2>();
  check_block<100, 2, 5>();
  check_block<17, 1, 2>();
}

/// A recurrence over two tiles: states in place of inputs, and the state carried from tile to tile.
template <class Scope, int N>
__global__ void run_filter(const kalscan::scalar_observation<double>* in, kalscan::belief<double>* out, int valid_last) {
  __shared__ typename Scope::storage shared;
  Scope scope(shared);
  const kalscan::scalar_filter<double> filter{0.9, 0.1};
  kalscan::belief<double> state{0.5, 2};
  for (int tile = 0; tile < 2; ++tile) {
    kalscan::scalar_observation<double> inputs[N];
    kalscan::belief<double> states[N];
    const int begin = tile * Scope::threads * N + scope.thread_rank() * N;
#pragma unroll
    for (int i = 0; i < N; ++i) inputs[i] = in[begin + i];
    const int valid = tile == 0 ? Scope::threads * N : valid_last;
    scope.scan_states(filter, inputs, states, state, kalscan::valid(valid));
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (scope.thread_rank() * N + i < valid) out[begin + i] = states[i];
    }
  }
  if (scope.thread_rank() == 0) out[2 * Scope::threads * N] = state;
}

template <class Scope, int N>
void check_filter() {
  constexpr int size = Scope::threads * N;
  for (const int valid : {0, 1, N + 1, size / 2, size}) {
    CAPTURE(valid);
    std::vector<kalscan::scalar_observation<double>> x(2 * size);
    std::mt19937_64 engine(7);
    std::normal_distribution<double> normal;
    for (auto& u : x) u = {std::abs(normal(engine)), normal(engine)};
    const device_array<kalscan::scalar_observation<double>> in(x);
    const device_array<kalscan::belief<double>> out(2 * size + 1);
    run_filter<Scope, N><<<1, Scope::threads>>>(in.data(), out.data(), valid);
    require_cuda(cudaDeviceSynchronize());
    const auto y = out.host();
    const kalscan::scalar_filter<double> filter{0.9, 0.1};
    kalscan::belief<double> state{0.5, 2};
    double worst = 0;
    const auto compare = [&](const kalscan::belief<double>& a) {
      const double defect = std::abs(a.mean - state.mean) + std::abs(a.variance - state.variance);
      if (!(defect <= worst)) worst = defect;
    };
    for (int t = 0; t < size + valid; ++t) {
      state = filter.step(state, x[static_cast<std::size_t>(t)]);
      compare(y[static_cast<std::size_t>(t)]);
    }
    compare(y.back());
    CHECK(worst < 1e-13);
  }
}

TEST_CASE("a recurrence's states at both scopes") {
  using monoid = kalscan::filtering_monoid<double>;
  check_filter<kalscan::warp<monoid>, 1>();
  check_filter<kalscan::warp<monoid, 8>, 4>();
  check_filter<kalscan::block<monoid, 128>, 3>();
  check_filter<kalscan::block<monoid, 32>, 2>();
}

}  // namespace
}  // namespace scopes_tests
