// SPDX-License-Identifier: MIT
// What the roofline needs: how many operations each work takes, and what this machine can do at most.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/monoids/affine.hpp>
#include <type_traits>
#include <utility>

#include "suite.hpp"

namespace bench {
namespace {

/// A float that counts what is done with it.
struct counted {
  static inline long operations = 0;
  float value = 0;
  counted() = default;
  template <class N>
  requires std::is_arithmetic_v<N>
  explicit counted(N x) : value(static_cast<float>(x)) {}
  static counted of(float x) { return ++operations, counted(x); }
  friend counted operator+(counted x, counted y) { return of(x.value + y.value); }
  friend counted operator-(counted x, counted y) { return of(x.value - y.value); }
  friend counted operator*(counted x, counted y) { return of(x.value * y.value); }
  friend counted operator/(counted x, counted y) { return of(x.value / y.value); }
  [[maybe_unused]] friend bool operator==(counted x, counted y) { return x.value == y.value; }
};

template <class Call>
double operations_of(Call call) {
  counted::operations = 0;
  call();
  return static_cast<double>(counted::operations);
}

const counted half(0.5F);

double combines(const auto& m, const auto& x) {
  return operations_of([&] { m(x, x); });
}

/// The step of a lane and its share of the sum over states; what lanes share (v Lambda, k^2, ...) is left out.
template <class Mixer, class Terms>
double steps(const typename Mixer::template state<counted>& state, const Terms& terms, int outputs) {
  const double lane = outputs + operations_of([&] { Mixer::readout(Mixer::step(state, terms), terms); });
  return lane * static_cast<double>(channels * states);
}

double best_of(int runs, double work, const auto& call) {
  double best = 0;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    best = std::max(best, work / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 1e-9 * best;
}

/// x = x a + b in many independent numbers, kept in registers; `repeats` of them in a thread.
template <int N>
[[gnu::always_inline]] inline float multiply_add(std::int64_t repeats) {
  float x[N];
  for (int i = 0; i < N; ++i) x[i] = static_cast<float>(i);
  for (std::int64_t r = 0; r < repeats; ++r) {
    for (int i = 0; i < N; ++i) x[i] = x[i] * 0.9999F + 0.0001F;
  }
  float sum = 0;
  for (int i = 0; i < N; ++i) sum += x[i];
  return sum;
}
[[gnu::noinline]] float vector_multiply_add(std::int64_t repeats) { return multiply_add<96>(repeats); }
#if !defined(__clang__)  // clang++ has no such attribute: there the ceiling of scalar code is that of vectors
[[gnu::optimize("no-tree-vectorize", "no-tree-slp-vectorize")]]
#endif
[[gnu::noinline]] float scalar_multiply_add(std::int64_t repeats) {
  return multiply_add<12>(repeats);
}

template <class Task>
void on_threads(int threads, Task work) {
#pragma omp parallel for num_threads(threads)
  for (int i = 0; i < threads; ++i) work(i);
}

}  // namespace

double flops_of(const std::string& work) {
  if (work == "affine map")
    return combines(kalscan::affine_monoid<counted>{}, kalscan::affine_map<counted>{half, half});
  if (work == "filtering element") {
    return combines(kalscan::filtering_monoid<counted>{},
                    kalscan::filtering_element<counted>{half, half, half, half, half});
  }
  if (work == "KLA forward") {
    return steps<kalscan::kla::ordinary>(
        {half, half}, kalscan::kla_terms<counted>{half, half, half, half, half, half, half, half, half, half}, 2);
  }
  if (work == "GLA forward")
    return steps<kalscan::gla>({half}, kalscan::gla_inputs<counted>{half, half, half, half}, 1);
  return 0;
}

std::vector<ceiling> measure_ceilings(bool quick) {
  std::vector<ceiling> found;
  const std::int64_t repeats = 1'200'000;
  const std::size_t size = quick ? std::size_t{1} << 25 : std::size_t{1} << 27;  // floats: well beyond all caches
  std::vector<float> from(size, 1), to(size, 2);
  volatile float sink = 0;
  std::vector<int> counts{1, kalscan::compared_threads().back()};
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  for (const int n : counts) {
    const std::string by = n == 1 ? "1 thread" : std::to_string(n) + " threads";
    const double operations = 2 * static_cast<double>(n) * static_cast<double>(repeats);
    found.push_back({"vector multiply-add", by, best_of(30, 96 * operations, [&] {
                       on_threads(n, [&](int) { sink = vector_multiply_add(repeats); });
                     })});
    found.push_back({"scalar multiply-add", by, best_of(30, 12 * operations, [&] {
                       on_threads(n, [&](int) { sink = scalar_multiply_add(repeats); });
                     })});
    found.push_back({"copy", by, best_of(30, 8 * static_cast<double>(size), [&] {
                       on_threads(n, [&](int i) {
                         const auto begin = static_cast<std::ptrdiff_t>(size) * i / n,
                                    end = static_cast<std::ptrdiff_t>(size) * (i + 1) / n;
                         std::copy(from.begin() + begin, from.begin() + end, to.begin() + begin);
                       });
                     })});
  }
  for (auto& c : device_ceilings()) found.push_back(std::move(c));
  return found;
}

}  // namespace bench
