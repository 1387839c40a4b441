// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <random>

#include <kalscan/laws.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/linear_recurrence.hpp>

#include "random.hpp"

namespace {

template <class T>
kalscan::affine_map<T> decaying_map(std::mt19937_64& engine) {
  return {draw::uniform<T>(engine, T(-1), T(1)), draw::normal<T>(engine)};
}

// Up to 8 maps with |gain| <= 1 are combined: an offset gathers at most 16 roundings of numbers below 8 times the
// largest offset, so two sides differ by less than 128 ulps of it; chance leaves a few.
constexpr double bound = 16;

}  // namespace

TEST_CASE_TEMPLATE("affine maps form a monoid up to rounding", T, float, double, long double) {
  const auto report = kalscan::check_monoid(kalscan::affine_monoid<T>{}, decaying_map<T>, kalscan::ulps(bound), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE_TEMPLATE("the linear recurrence keeps the laws of a recurrence", T, float, double, long double) {
  const auto report = kalscan::check_recurrence(kalscan::linear_recurrence<T>{}, decaying_map<T>, draw::normal<T>,
                                                kalscan::ulps(bound), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE("affine maps with whole numbers form a monoid exactly") {
  const auto whole_map = [](std::mt19937_64& engine) {
    std::uniform_int_distribution<int> whole(-3, 3);
    return kalscan::affine_map<double>{double(whole(engine)), double(whole(engine))};
  };
  const auto whole = [](std::mt19937_64& engine) { return double(std::uniform_int_distribution<int>(-9, 9)(engine)); };
  const auto report = kalscan::check_recurrence(kalscan::linear_recurrence<double>{}, whole_map, whole, kalscan::exact, usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE("the earlier affine map acts first") {
  const kalscan::affine_map<double> twice{2, 0}, add_one{1, 1};
  const kalscan::linear_recurrence<double> r;
  CHECK(r.act(r.monoid()(twice, add_one), 5.0) == 11);
  CHECK(r.act(r.monoid()(add_one, twice), 5.0) == 12);
}
