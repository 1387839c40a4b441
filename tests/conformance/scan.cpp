// SPDX-License-Identifier: MIT
// Every back end against the left fold, bit for bit, with operators that are exact and do not commute.
#include <doctest/doctest.h>

#include <cstdint>
#include <kalscan/kalscan.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using map = kalscan::affine_map<std::uint32_t>;
using monoid = kalscan::affine_monoid<std::uint32_t>;
constexpr std::int64_t chunk = 64;
constexpr std::int64_t lengths[] = {0, 1, 2, chunk - 1, chunk, chunk + 1, 2 * chunk + 1, 1031, 100003};
constexpr map start{3, 5};

std::vector<map> random_maps(std::int64_t n, std::uint64_t seed = 1) {
  std::mt19937_64 engine(seed);
  std::vector<map> x(static_cast<std::size_t>(n));
  for (auto& e : x) e = {static_cast<std::uint32_t>(engine()), static_cast<std::uint32_t>(engine())};
  return x;
}

const std::vector<kalscan::omp> omp_policies = {{1, 0},     {2, 0},         {3, 0},  {7, 0},
                                                {2, chunk}, {64, chunk},    {3, 1},  {2, chunk - 1},
                                                {2, 1 << 30}, {1, chunk}};

/// Calls check(policy, name) for every back end of the host.
template <class Check>
void for_each_policy(Check check) {
  check(kalscan::seq{});
  for (const auto& p : omp_policies) {
    CAPTURE(p.threads);
    CAPTURE(p.chunk);
    check(p);
  }
}

/// What all four scans and the reduction must give: the plain left fold, written out.
struct folds {
  std::vector<map> inclusive, exclusive, inclusive_suffix, exclusive_suffix;
  map total, suffix_total;
};

folds fold(const std::vector<map>& x) {
  const monoid m;
  folds f;
  map sum = start;
  for (const auto& e : x) {
    f.exclusive.push_back(sum);
    sum = m(sum, e);
    f.inclusive.push_back(sum);
  }
  f.total = sum;
  f.inclusive_suffix.resize(x.size());
  f.exclusive_suffix.resize(x.size());
  sum = start;
  for (std::size_t t = x.size(); t-- > 0;) {
    f.exclusive_suffix[t] = sum;
    sum = m(x[t], sum);
    f.inclusive_suffix[t] = sum;
  }
  f.suffix_total = sum;
  return f;
}

TEST_CASE("every scan equals the left fold at every length, and returns the total") {
  for (const std::int64_t n : lengths) {
    CAPTURE(n);
    const auto x = random_maps(n);
    const folds expected = fold(x);
    const monoid m;
    for_each_policy([&](const auto& p) {
      std::vector<map> y(x.size());
      CHECK(kalscan::inclusive_scan(p, m, x, y, start) == expected.total);
      CHECK(y == expected.inclusive);
      CHECK(kalscan::exclusive_scan(p, m, x, y, start) == expected.total);
      CHECK(y == expected.exclusive);
      CHECK(kalscan::inclusive_suffix_scan(p, m, x, y, start) == expected.suffix_total);
      CHECK(y == expected.inclusive_suffix);
      CHECK(kalscan::exclusive_suffix_scan(p, m, x, y, start) == expected.suffix_total);
      CHECK(y == expected.exclusive_suffix);
      CHECK(kalscan::reduce(p, m, x, start) == expected.total);
      CHECK(kalscan::scan_states(p, kalscan::running<monoid>{}, x, y, start) == expected.total);
      CHECK(y == expected.inclusive);
    });
  }
}

TEST_CASE("every scan works in place") {
  const auto x = random_maps(1031);
  const folds expected = fold(x);
  for_each_policy([&](const auto& p) {
    auto y = x;
    kalscan::inclusive_scan(p, monoid{}, y, y, start);
    CHECK(y == expected.inclusive);
    y = x;
    kalscan::exclusive_scan(p, monoid{}, y, y, start);
    CHECK(y == expected.exclusive);
    y = x;
    kalscan::exclusive_suffix_scan(p, monoid{}, y, y, start);
    CHECK(y == expected.exclusive_suffix);
  });
}

TEST_CASE("without an initial value a scan starts from the identity") {
  const auto x = random_maps(300);
  for_each_policy([&](const auto& p) {
    std::vector<map> y(x.size()), z(x.size());
    kalscan::inclusive_scan(p, monoid{}, x, y);
    kalscan::inclusive_scan(p, monoid{}, x, z, monoid::identity());
    CHECK(y == z);
    CHECK(y[0] == x[0]);
  });
}

TEST_CASE("a scan of two pieces, the total of the first fed to the second, is the scan of both") {
  const auto x = random_maps(1031);
  const folds expected = fold(x);
  for_each_policy([&](const auto& p) {
    for (const std::ptrdiff_t cut : {0, 1, 63, 64, 500, 1031}) {
      const std::vector<map> a(x.begin(), x.begin() + cut), b(x.begin() + cut, x.end());
      std::vector<map> ya(a.size()), yb(b.size());
      const map carry = kalscan::inclusive_scan(p, monoid{}, a, ya, start);
      CHECK(kalscan::inclusive_scan(p, monoid{}, b, yb, carry) == expected.total);
      ya.insert(ya.end(), yb.begin(), yb.end());
      CHECK(ya == expected.inclusive);
    }
  });
}

TEST_CASE("swapping the operands of a non-commutative operator changes the scan") {
  const auto x = random_maps(100);
  std::vector<map> y(x.size());
  kalscan::inclusive_scan(kalscan::omp{2, 10}, kalscan::reversed<monoid>{}, x, y, start);
  CHECK(y != fold(x).inclusive);
}

TEST_CASE("a [batch, time, lane] array is scanned along time, whatever its strides, and the padding is left alone") {
  constexpr std::int64_t batch = 3, time = 211, lanes = 5;
  for (const bool time_fastest : {false, true}) {
    const std::int64_t pad = 2;
    const std::int64_t row = (time_fastest ? time : lanes) + pad, column = time_fastest ? lanes : time;
    const auto x = random_maps(batch * column * row, 7);
    const map poison{0xdeadbeef, 0xdeadbeef};
    const auto view = [&](auto* data) {
      return kalscan::sequences(data, batch, time, lanes, column * row, time_fastest ? 1 : row, time_fastest ? row : 1);
    };
    const auto at = [&](std::int64_t b, std::int64_t t, std::int64_t l) {
      return static_cast<std::size_t>(b * column * row + (time_fastest ? l * row + t : t * row + l));
    };
    std::vector<map> initial(batch * lanes);
    for (std::size_t i = 0; i < initial.size(); ++i) initial[i] = {static_cast<std::uint32_t>(i), 1};
    for_each_policy([&](const auto& p) {
      std::vector<map> y(x.size(), poison), final(batch * lanes), suffix(x.size(), poison), sums(batch * lanes);
      kalscan::inclusive_scan(p, monoid{}, view(x.data()), view(y.data()), initial, final);
      kalscan::exclusive_suffix_scan(p, monoid{}, view(x.data()), view(suffix.data()));
      kalscan::reduce(p, monoid{}, view(x.data()), sums, initial);
      std::size_t written = 0;
      bool ok = true;
      for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t l = 0; l < lanes; ++l) {
          const auto i = static_cast<std::size_t>(b * lanes + l);
          map sum = initial[i];
          for (std::int64_t t = 0; t < time; ++t, ++written) {
            sum = monoid{}(sum, x[at(b, t, l)]);
            ok = ok && y[at(b, t, l)] == sum;
          }
          ok = ok && final[i] == sum && sums[i] == sum;
          sum = monoid::identity();
          for (std::int64_t t = time; t-- > 0;) {
            ok = ok && suffix[at(b, t, l)] == sum;
            sum = monoid{}(x[at(b, t, l)], sum);
          }
        }
      }
      CHECK(ok);
      CHECK(static_cast<std::size_t>(std::count(y.begin(), y.end(), poison)) == y.size() - written);
    });
  }
}

TEST_CASE("final states may replace the initial states they came from") {
  const auto x = random_maps(100);
  std::vector<map> y(100), z(100), states(10, start), expected(10);
  kalscan::inclusive_scan(kalscan::seq{}, monoid{}, {x.data(), 1, 10, 10}, {y.data(), 1, 10, 10}, states, expected);
  kalscan::inclusive_scan(kalscan::omp{2, 3}, monoid{}, {x.data(), 1, 10, 10}, {z.data(), 1, 10, 10}, states, states);
  CHECK(states == expected);
  CHECK(y == z);
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

TEST_CASE("a recurrence's states are those of its steps, in parallel over time") {
  std::mt19937_64 engine(5);
  std::normal_distribution<double> normal;
  for (const std::int64_t n : lengths) {
    CAPTURE(n);
    std::vector<kalscan::scalar_observation<double>> x(static_cast<std::size_t>(n));
    for (auto& e : x) e = {normal(engine) * normal(engine), normal(engine)};
    for (auto& e : x) e.phi = std::abs(e.phi);
    const kalscan::scalar_filter<double> filter{0.9, 0.1};
    std::vector<kalscan::belief<double>> expected(x.size()), y(x.size());
    const auto total = kalscan::scan_states(kalscan::seq{}, filter, x, expected, {0.5, 2.0});
    for_each_policy([&](const auto& p) {
      const auto end = kalscan::scan_states(p, filter, x, y, {0.5, 2.0});
      double worst = std::abs(end.mean - total.mean) + std::abs(end.variance - total.variance);
      for (std::size_t t = 0; t < x.size(); ++t) {
        worst = std::max({worst, std::abs(y[t].mean - expected[t].mean) / (1 + std::abs(expected[t].mean)),
                          std::abs(y[t].variance / expected[t].variance - 1)});
      }
      CHECK(worst < 1e-13);
    });
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

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no std::invalid_argument";
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
  CHECK(message_of([&] { kalscan::reduce(kalscan::omp{-1, 0}, monoid{}, x); }) == "omp: threads is -1");
  CHECK(message_of([&] { kalscan::reduce(kalscan::omp{1, -4}, monoid{}, x); }) == "omp: chunk is -4");
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

}  // namespace
