// SPDX-License-Identifier: MIT
// The host's back ends: what all must give, and what is theirs alone.
#include <doctest/doctest.h>

#include <cstdint>
#include <kalscan/kalscan.hpp>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

#include "../errors.hpp"
#include "operators.hpp"
#include "thread_pool.hpp"

namespace {

constexpr std::int64_t more_lengths[] = {3};
constexpr shape more_shapes[] = {{1, 5, 70}};

const std::vector<kalscan::omp> omp_policies = {{1, 0},     {2, 0},         {3, 0},  {7, 0},
                                                {2, chunk}, {64, chunk},    {3, 1},  {2, chunk - 1},
                                                {2, 1 << 30}, {1, chunk}};

template <class Check>
void for_each_policy(Check check) {
  check(kalscan::seq{});
  for (const auto& p : omp_policies) {
    CAPTURE(p.threads);
    CAPTURE(p.chunk);
    check(p);
  }
  for (const int workers : {1, 2, 7}) {
    test::thread_pool pool(workers);
    CAPTURE(workers);
    check(test::on_pool{&pool});
    check(test::on_pool{&pool, chunk});
  }
}

/// The verbs as they are.
template <class P>
struct host_calls {
  P policy;

  template <class... Arguments>
  auto inclusive_scan(Arguments&&... arguments) const {
    return kalscan::inclusive_scan(policy, std::forward<Arguments>(arguments)...);
  }
  template <class... Arguments>
  auto exclusive_scan(Arguments&&... arguments) const {
    return kalscan::exclusive_scan(policy, std::forward<Arguments>(arguments)...);
  }
  template <class... Arguments>
  auto inclusive_suffix_scan(Arguments&&... arguments) const {
    return kalscan::inclusive_suffix_scan(policy, std::forward<Arguments>(arguments)...);
  }
  template <class... Arguments>
  auto exclusive_suffix_scan(Arguments&&... arguments) const {
    return kalscan::exclusive_suffix_scan(policy, std::forward<Arguments>(arguments)...);
  }
  template <class... Arguments>
  auto reduce(Arguments&&... arguments) const {
    return kalscan::reduce(policy, std::forward<Arguments>(arguments)...);
  }
  template <class... Arguments>
  auto scan_states(Arguments&&... arguments) const {
    return kalscan::scan_states(policy, std::forward<Arguments>(arguments)...);
  }
};
template <class P>
host_calls<P> on(const P& policy) {
  return {policy};
}

}  // namespace

#include "suite.hpp"

namespace {

TEST_CASE("swapping the operands of a non-commutative operator changes the scan") {
  const auto x = random_maps(100);
  std::vector<map> y(x.size());
  kalscan::inclusive_scan(kalscan::omp{2, 10}, kalscan::reversed<monoid>{}, x, y, start);
  CHECK(y != fold(x).inclusive);
}

TEST_CASE("with the chunks fixed, floating-point results are the same bits for any number of threads") {
  std::mt19937_64 engine(3);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<kalscan::affine_map<float>> x(5000), first(x.size()), y(x.size());
  for (auto& e : x) e = {uniform(engine), uniform(engine)};
  kalscan::inclusive_scan(kalscan::omp{1, 100}, kalscan::affine_monoid<float>{}, x, first);
  for (const int threads : {2, 3, 8}) {
    kalscan::inclusive_scan(kalscan::omp{threads, 100}, kalscan::affine_monoid<float>{}, x, y);
    CHECK(y == first);
  }
}

struct throws_at {
  std::uint32_t gain;
  static map identity() { return monoid::identity(); }
  map operator()(const map& earlier, const map& later) const {
    if (later.gain == gain) throw std::runtime_error("the operator threw");
    return monoid{}(earlier, later);
  }
};

TEST_CASE("an exception of the operator reaches the caller") {
  auto x = random_maps(1031);
  for (const std::size_t where : {std::size_t{0}, std::size_t{500}, std::size_t{1030}}) {
    for_each_policy([&](const auto& p) {
      std::vector<map> y(x.size());
      CHECK_THROWS_WITH(kalscan::inclusive_scan(p, throws_at{x[where].gain}, x, y), "the operator threw");
    });
  }
}

TEST_CASE("bad arguments are named, with their values, before anything is written") {
  const auto x = random_maps(5);
  std::vector<map> y(4, start), three(3);
  const auto untouched = y;
  CHECK(message_of([&] { kalscan::inclusive_scan(kalscan::seq{}, monoid{}, x, y); }) ==
        "kalscan::inclusive_scan: out has size 4, not 5");
  CHECK(message_of([&] { kalscan::scan_states(kalscan::seq{}, kalscan::running<monoid>{}, x, y, start); }) ==
        "kalscan::scan_states: out has size 4, not 5");
  CHECK(message_of([&] {
          kalscan::exclusive_scan(kalscan::omp{2}, monoid{}, {x.data(), 1, 2, 2}, {y.data(), 1, 2, 1});
        }) == "kalscan::exclusive_scan: lanes of out has size 1, not 2");
  CHECK(message_of([&] {
          kalscan::inclusive_scan(kalscan::omp{2}, monoid{}, {x.data(), 1, 2, 2}, {y.data(), 1, 2, 2}, three);
        }) == "kalscan::inclusive_scan: initial has size 3, not 2");
  CHECK(message_of([&] { kalscan::reduce(kalscan::seq{}, monoid{}, {x.data(), 1, -2, 2}, three); }) ==
        "kalscan::reduce: in has shape [1, -2, 2]");
  CHECK(message_of([&] { kalscan::reduce(kalscan::seq{}, monoid{}, {nullptr, 1, 2, 2}, three); }) ==
        "kalscan::reduce: in is a null pointer");
  CHECK(message_of([&] { return kalscan::reduce(kalscan::omp{-1, 0}, monoid{}, x); }) ==
        "kalscan::omp: threads is -1: pass how many, or 0 for as many as OpenMP would take");
  CHECK(message_of([&] { return kalscan::reduce(kalscan::omp{1, -4}, monoid{}, x); }) ==
        "kalscan::omp: chunk is -4: pass how many steps, or 0 to let the library choose");
  CHECK(y == untouched);
}

TEST_CASE("far more threads than steps do no harm, and an empty view may be null") {
  const std::vector<long> in{1, 2, 3};
  std::vector<long> out(3);
  struct sum {
    static long identity() { return 0; }
    long operator()(long x, long y) const { return x + y; }
  };
  kalscan::inclusive_scan(kalscan::omp{100000, 1}, sum{}, in, out);
  CHECK(out == std::vector<long>{1, 3, 6});
  const kalscan::sequences<const long> nothing(nullptr, 2, 0, 3);
  kalscan::inclusive_scan(kalscan::omp{2}, sum{}, nothing, kalscan::sequences<long>(nullptr, 2, 0, 3));
}

/// Whether an odd number of inputs was true.
struct parity {
  static bool identity() { return false; }
  bool operator()(bool earlier, bool later) const { return earlier != later; }
};

template <class Range>
void fill(Range&& bits, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  for (auto&& b : bits) b = (engine() & 1) != 0;
}

TEST_CASE("elements may be bool, one a byte or packed, in ranges and in arrays of sequences") {
  constexpr std::int64_t batch = 2, time = 1031, lanes = 70;
  std::vector<bool> packed(time), expected;
  fill(packed, 1);
  bool sum = true;
  for (const bool b : packed) expected.push_back(sum = sum != b);
  std::vector<bool> mirrored = expected;
  sum = false;
  for (std::size_t t = packed.size(); t-- > 0;) mirrored[t] = sum = sum != packed[t];

  const auto count = static_cast<std::size_t>(batch * time * lanes);
  const auto in = std::make_unique<bool[]>(count), out = std::make_unique<bool[]>(count);
  fill(std::span(in.get(), count), 2);
  for_each_policy([&](const auto& p) {
    std::vector<bool> y(packed.size());
    CHECK(kalscan::inclusive_scan(p, parity{}, packed, y, true) == expected.back());
    CHECK(y == expected);
    kalscan::inclusive_suffix_scan(p, parity{}, packed, y);
    CHECK(y == mirrored);
    y = packed;
    kalscan::scan_states(p, kalscan::running<parity>{}, y, y, true);
    CHECK(y == expected);
    CHECK(kalscan::reduce(p, parity{}, packed, true) == expected.back());

    kalscan::inclusive_scan(p, parity{}, {in.get(), batch, time, lanes}, {out.get(), batch, time, lanes});
    bool same = true;
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t l = 0; l < lanes; ++l) {
        bool state = false;
        for (std::int64_t t = 0; t < time; ++t) {
          const auto i = static_cast<std::size_t>((b * time + t) * lanes + l);
          state = state != in[i];
          same = same && out[i] == state;
        }
      }
    }
    CHECK(same);
  });
}

TEST_CASE("numbers convert where that keeps their value or rounds it") {
  struct sum {
    static double identity() { return 0; }
    double operator()(double x, double y) const { return x + y; }
  };
  const std::vector<int> in{1, 2, 3};
  std::vector<float> out(3);
  kalscan::inclusive_scan(kalscan::seq{}, sum{}, in, out);
  CHECK(out == std::vector<float>{1, 3, 6});
  static_assert(kalscan::detail::keeps_value<int, long>() && kalscan::detail::keeps_value<bool, int>());
  static_assert(!kalscan::detail::keeps_value<double, long>() && !kalscan::detail::keeps_value<int, unsigned>());
  static_assert(!kalscan::detail::keeps_value<long, int>() && !kalscan::detail::keeps_value<unsigned, int>());
}

}  // namespace
