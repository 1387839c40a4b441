// SPDX-License-Identifier: MIT
// What every back end must give, whatever it runs on: the left fold, bit for bit, with an operator that is exact and does
// not commute. Whoever includes this has defined
//
//     more_lengths             std::int64_t[]: lengths of interest to the back end, beside the general ones
//     more_shapes              shape[]: the same of [batch, time, lane] arrays
//     for_each_policy(check)   calls check(policy) for each policy under test
//     on(policy)               the verbs of that policy, called as those of the host with vectors and views of these
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/scan.hpp>
#include <random>
#include <vector>

#include "operators.hpp"

namespace {

std::vector<std::int64_t> lengths() {
  std::vector<std::int64_t> all{0, 1, 2, chunk - 1, chunk, chunk + 1, 2 * chunk + 1, 1031, 100003};
  all.insert(all.end(), std::begin(more_lengths), std::end(more_lengths));
  // A slow instrument may ask for less.
  if (const char* longest = std::getenv("KALSCAN_TEST_LONGEST")) {
    std::erase_if(all, [&](std::int64_t n) { return n > std::atoll(longest); });
  }
  return all;
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
  for (const std::int64_t n : lengths()) {
    CAPTURE(n);
    const auto x = random_maps(n);
    const folds expected = fold(x);
    const monoid m;
    for_each_policy([&](const auto& p) {
      std::vector<map> y(x.size());
      CHECK(on(p).inclusive_scan(m, x, y, start) == expected.total);
      CHECK(y == expected.inclusive);
      CHECK(on(p).exclusive_scan(m, x, y, start) == expected.total);
      CHECK(y == expected.exclusive);
      CHECK(on(p).inclusive_suffix_scan(m, x, y, start) == expected.suffix_total);
      CHECK(y == expected.inclusive_suffix);
      CHECK(on(p).exclusive_suffix_scan(m, x, y, start) == expected.suffix_total);
      CHECK(y == expected.exclusive_suffix);
      CHECK(on(p).reduce(m, x, start) == expected.total);
      CHECK(on(p).scan_states(kalscan::running<monoid>{}, x, y, start) == expected.total);
      CHECK(y == expected.inclusive);
    });
  }
}

TEST_CASE("every scan works in place") {
  const auto x = random_maps(1031);
  const folds expected = fold(x);
  for_each_policy([&](const auto& p) {
    auto y = x;
    on(p).inclusive_scan(monoid{}, y, y, start);
    CHECK(y == expected.inclusive);
    y = x;
    on(p).exclusive_scan(monoid{}, y, y, start);
    CHECK(y == expected.exclusive);
    y = x;
    on(p).exclusive_suffix_scan(monoid{}, y, y, start);
    CHECK(y == expected.exclusive_suffix);
  });
}

TEST_CASE("without an initial value a scan starts from the identity") {
  const auto x = random_maps(300);
  for_each_policy([&](const auto& p) {
    std::vector<map> y(x.size()), z(x.size());
    on(p).inclusive_scan(monoid{}, x, y);
    on(p).inclusive_scan(monoid{}, x, z, monoid::identity());
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
      const map carry = on(p).inclusive_scan(monoid{}, a, ya, start);
      CHECK(on(p).inclusive_scan(monoid{}, b, yb, carry) == expected.total);
      ya.insert(ya.end(), yb.begin(), yb.end());
      CHECK(ya == expected.inclusive);
    }
  });
}

TEST_CASE("a [batch, time, lane] array is scanned along time, whatever its strides, and the padding is left alone") {
  const auto check_shape = [](const std::int64_t batch, const std::int64_t time, const std::int64_t lanes, const bool time_fastest) {
    CAPTURE(time);
    CAPTURE(lanes);
    CAPTURE(time_fastest);
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
    const auto count = static_cast<std::size_t>(batch * lanes);
    std::vector<map> initial(count);
    for (std::size_t i = 0; i < initial.size(); ++i) initial[i] = {static_cast<std::uint32_t>(i), 1};
    for_each_policy([&](const auto& p) {
      std::vector<map> y(x.size(), poison), final(count), suffix(x.size(), poison), sums(count);
      on(p).inclusive_scan(monoid{}, view(x.data()), view(y.data()), initial, final);
      on(p).exclusive_suffix_scan(monoid{}, view(x.data()), view(suffix.data()));
      on(p).reduce(monoid{}, view(x.data()), sums, initial);
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
  };
  for (const bool time_fastest : {false, true}) {
    check_shape(3, 211, 5, time_fastest);
    for (const auto& [batch, time, lanes] : more_shapes) check_shape(batch, time, lanes, time_fastest);
  }
}

TEST_CASE("final states may replace the initial states they came from") {
  const auto x = random_maps(100);
  std::vector<map> y(100), expected_states(10, start), expected(100);
  kalscan::inclusive_scan(kalscan::seq{}, monoid{}, {x.data(), 1, 10, 10}, {expected.data(), 1, 10, 10}, expected_states,
                          expected_states);
  for_each_policy([&](const auto& p) {
    std::vector<map> states(10, start);
    on(p).inclusive_scan(monoid{}, kalscan::sequences(x.data(), 1, 10, 10), kalscan::sequences(y.data(), 1, 10, 10), states,
                         states);
    CHECK(states == expected_states);
    CHECK(y == expected);
  });
}

TEST_CASE("a recurrence's states are those of its steps, in parallel over time") {
  std::mt19937_64 engine(5);
  std::normal_distribution<double> normal;
  for (const std::int64_t n : lengths()) {
    CAPTURE(n);
    std::vector<kalscan::scalar_observation<double>> x(static_cast<std::size_t>(n));
    for (auto& e : x) e = {normal(engine) * normal(engine), normal(engine)};
    for (auto& e : x) e.phi = std::abs(e.phi);
    const kalscan::scalar_filter<double> filter{0.9, 0.1};
    std::vector<kalscan::belief<double>> expected(x.size()), y(x.size());
    const auto total = kalscan::scan_states(kalscan::seq{}, filter, x, expected, {0.5, 2.0});
    for_each_policy([&](const auto& p) {
      const auto end = on(p).scan_states(filter, x, y, kalscan::belief<double>{0.5, 2.0});
      double worst = std::abs(end.mean - total.mean) + std::abs(end.variance - total.variance);
      for (std::size_t t = 0; t < x.size(); ++t) {
        worst = std::max({worst, std::abs(y[t].mean - expected[t].mean) / (1 + std::abs(expected[t].mean)),
                          std::abs(y[t].variance / expected[t].variance - 1)});
      }
      CHECK(worst < 1e-13);
    });
  }
}

}  // namespace
