// SPDX-License-Identifier: MIT
// The checks must catch operators that are wrong, by the law that they break.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include <kalscan/laws.hpp>
#include <kalscan/kalman/scalar_filter.hpp>
#include <kalscan/monoids/linear_recurrence.hpp>

#include "random.hpp"

namespace {

using map = kalscan::affine_map<double>;
using filter = kalscan::scalar_filter<double>;
using element = kalscan::filtering_element<double>;

map random_map(std::mt19937_64& engine) {
  return {draw::uniform(engine, -1.0, 1.0), draw::normal<double>(engine)};
}
kalscan::scalar_observation<double> random_observation(std::mt19937_64& engine) {
  return {draw::log_uniform(engine, -1.0, 1.0), draw::normal<double>(engine)};
}
kalscan::belief<double> random_belief(std::mt19937_64& engine) {
  return {draw::normal<double>(engine), draw::log_uniform(engine, -1.0, 1.0)};
}

std::vector<std::string> failing(const kalscan::law_report& report) {
  std::vector<std::string> result;
  for (const auto& r : report.results)
    if (!r.holds) result.push_back(r.law);
  return result;
}
bool fails(const kalscan::law_report& report, const std::string& law) {
  const auto names = failing(report);
  return std::find(names.begin(), names.end(), law) != names.end();
}
bool passes(const kalscan::law_report& report, const std::string& law) {
  return report.find(law) != nullptr && report.find(law)->holds;
}

/// The linear recurrence with one part replaced.
struct base_recurrence : kalscan::linear_recurrence<double> {};

struct swapped_monoid : kalscan::affine_monoid<double> {
  map operator()(const map& earlier, const map& later) const {
    return kalscan::affine_monoid<double>{}(later, earlier);
  }
};
struct swapped_operands : base_recurrence {
  static swapped_monoid monoid() { return {}; }
};

struct clamped_monoid : kalscan::affine_monoid<double> {
  map operator()(const map& earlier, const map& later) const {
    const map exact = kalscan::affine_monoid<double>{}(earlier, later);
    return {exact.gain, std::clamp(exact.offset, -2.0, 2.0)};
  }
};
struct subtraction {
  double identity() const { return 0; }
  double operator()(double earlier, double later) const { return earlier - later; }
};
struct wrong_identity : kalscan::affine_monoid<double> {
  static map identity() { return {1, 1e-6}; }
};
struct wrong_act : base_recurrence {
  static double act(const map& x, double state) { return x.gain * state + x.offset * 1.001; }
};
struct wrong_lift : base_recurrence {
  static map lift(const map& input) { return {input.gain, -input.offset}; }
};

/// The official kernels' epsilon inside the combine, as a mutation of the filtering monoid.
struct epsilon_monoid : kalscan::filtering_monoid<double> {
  element operator()(const element& earlier, const element& later) const {
    element result = kalscan::filtering_monoid<double>{}(earlier, later);
    result.C += 1e-9;
    return result;
  }
};
struct wrong_absorb {
  using state_type = filter::state_type;
  using input_type = filter::input_type;
  filter right{0.9, 0.1};
  kalscan::filtering_monoid<double> monoid() const { return {}; }
  state_type step(const state_type& s, const input_type& u) const { return right.step(s, u); }
  element lift(const input_type& u) const { return right.lift(u); }
  state_type act(const element& x, const state_type& s) const { return right.act(x, s); }
  element absorb(const element& x, const input_type& u) const {
    element result = right.absorb(x, u);
    result.eta -= x.b * u.phi * 1e-6;
    return result;
  }
};

struct nan_monoid : kalscan::affine_monoid<double> {
  map operator()(const map& earlier, const map& later) const {
    map result = kalscan::affine_monoid<double>{}(earlier, later);
    if (result.offset > 2) result.offset = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
};

constexpr auto tolerance = kalscan::ulps(32);

struct without_equality {
  std::array<int, 2> numbers;
  double last;
};
struct joined {
  without_equality identity() const { return {{0, 0}, 0}; }
  without_equality operator()(const without_equality& x, const without_equality& y) const {
    return {{x.numbers[0] + y.numbers[0], std::max(x.numbers[1], y.numbers[1])}, x.last + y.last};
  }
};

struct nine_numbers {
  double n[9];
};
template <class F>
void visit_numbers(const nine_numbers& x, F f) {
  for (const double n : x.n) f(n);
}

}  // namespace

TEST_CASE("a sound recurrence passes every law, by name") {
  const auto report = kalscan::check_recurrence(filter{0.9, 0.1}, random_observation, random_belief, kalscan::ulps(1000));
  CHECK_MESSAGE(report, report.message());
  CHECK(report.message().empty());
  for (const char* law : {"associativity", "left identity", "right identity", "prefix split", "suffix split", "act",
                          "lift", "absorb", "chunked scan"})
    CHECK_MESSAGE(passes(report, law), law);
}

TEST_CASE("swapped operands break the laws that join the monoid to the state, not associativity") {
  const auto report = kalscan::check_recurrence(swapped_operands{}, random_map, draw::normal<double>, tolerance);
  CHECK(failing(report) == std::vector<std::string>{"act", "chunked scan"});
}

TEST_CASE("a clamp inside the operator breaks associativity and nothing else that is short") {
  const auto report = kalscan::check_monoid(clamped_monoid{}, random_map, tolerance);
  CHECK(fails(report, "associativity"));
  CHECK(fails(report, "prefix split"));
}

TEST_CASE("an operator that is not associative fails, and so does its one-sided identity") {
  const auto report = kalscan::check_monoid(subtraction{}, draw::normal<double>, tolerance);
  CHECK(failing(report) == std::vector<std::string>{"associativity", "left identity", "prefix split", "suffix split"});
}

TEST_CASE("a wrong identity breaks the identity laws, not associativity") {
  const auto report = kalscan::check_monoid(wrong_identity{}, random_map, tolerance);
  CHECK(fails(report, "left identity"));
  CHECK(fails(report, "right identity"));
  CHECK(passes(report, "associativity"));
}

TEST_CASE("an act that scales every offset alike is caught where it meets the step") {
  const auto report = kalscan::check_recurrence(wrong_act{}, random_map, draw::normal<double>, tolerance);
  CHECK(failing(report) == std::vector<std::string>{"lift", "chunked scan"});
}

TEST_CASE("a wrong lift is caught by the law of lift") {
  const auto report = kalscan::check_recurrence(wrong_lift{}, random_map, draw::normal<double>, tolerance);
  CHECK(failing(report) == std::vector<std::string>{"lift", "chunked scan"});
}

TEST_CASE("an absorb that is wrong by a millionth is caught by the law of absorb") {
  const auto report = kalscan::check_recurrence(wrong_absorb{}, random_observation, random_belief, kalscan::ulps(1000));
  CHECK(fails(report, "absorb"));
  CHECK(passes(report, "associativity"));
  CHECK(passes(report, "act"));
  CHECK(passes(report, "lift"));
}

TEST_CASE("an epsilon of 1e-9 inside the filtering operator is caught") {
  const filter f{0.9, 0.1};
  const auto lifted = [f](std::mt19937_64& engine) { return f.lift(random_observation(engine)); };
  const auto sound = kalscan::check_monoid(kalscan::filtering_monoid<double>{}, lifted, kalscan::ulps(1000));
  CHECK_MESSAGE(sound, sound.message());
  const auto broken = kalscan::check_monoid(epsilon_monoid{}, lifted, kalscan::ulps(1000));
  CHECK(fails(broken, "associativity"));
  CHECK(fails(broken, "left identity"));
}

TEST_CASE("a NaN fails whatever the bound") {
  const auto report = kalscan::check_monoid(nan_monoid{}, random_map, kalscan::relative(1e300));
  CHECK(fails(report, "associativity"));
  CHECK(report.find("associativity")->worst == std::numeric_limits<double>::infinity());
  const auto measured = kalscan::check_monoid(
      nan_monoid{}, random_map, kalscan::within(1e300, [](const map& l, const map& r) { return l.offset - r.offset; }));
  CHECK(fails(measured, "associativity"));
}

TEST_CASE("a report repeats from its seed, and a trial from seed and number alone") {
  const auto check = [](kalscan::law_options options) {
    return kalscan::check_monoid(clamped_monoid{}, random_map, tolerance, options);
  };
  const auto first = check({.seed = 7}), again = check({.seed = 7}), other = check({.seed = 8});
  CHECK(first.message() == again.message());
  CHECK(first.message() != other.message());
  const auto* worst = first.find("associativity");
  REQUIRE(worst != nullptr);
  CHECK(worst->seed == 7);
  const auto alone = check({.seed = worst->seed, .trials = 1, .first_trial = worst->trial});
  CHECK(alone.find("associativity")->worst == worst->worst);
  CHECK(alone.find("associativity")->operands == worst->operands);
}

TEST_CASE("the message names law, defect, bound, seed, trial and operands") {
  const auto constant = [](std::mt19937_64&) { return 0.1; };
  const auto report = kalscan::check_monoid(subtraction{}, constant, kalscan::relative(0.25), {.seed = 42, .trials = 1});
  const std::string message = report.message();
  for (const char* part : {"law 'associativity' fails", "exceeds the bound 0.25", "(seed 42, trial 0)",
                           "operand 0.10000000000000001", "left    -0.10000000000000001", "defect 2"})
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
}

TEST_CASE("zero trials prove nothing") {
  const auto report = kalscan::check_monoid(subtraction{}, draw::normal<double>, tolerance, {.trials = 0});
  CHECK_FALSE(report);
  CHECK_FALSE(report.message().empty());
}

TEST_CASE("exact compares every number of a type without operator==") {
  const auto generate = [](std::mt19937_64& engine) {
    std::uniform_int_distribution<int> few(0, 9);
    return without_equality{{few(engine), few(engine)}, double(few(engine))};
  };
  CHECK(kalscan::check_monoid(joined{}, generate, kalscan::exact));
  CHECK(kalscan::exact.defect<without_equality>({{1, 2}, 3}, {{1, 2}, 3}, {}) == 0);
  CHECK(kalscan::exact.defect<without_equality>({{1, 2}, 3}, {{1, 3}, 3}, {}) > 0);
  CHECK(kalscan::exact.defect<without_equality>({{1, 2}, 3}, {{1, 2}, 4}, {}) > 0);
}

TEST_CASE("a relative defect is taken field by field, with the operands' magnitude") {
  const auto t = kalscan::relative(0);
  const map l{1, 1000}, r{1.5, 1000}, operand{100, 0};
  CHECK(t.defect<map>(l, r, {}) == doctest::Approx(0.5 / 1.5));
  const std::array<const map*, 1> operands{&operand};
  CHECK(t.defect<map>(l, r, operands) == doctest::Approx(0.5 / 100));
  CHECK(kalscan::ulps(0).defect<float>(1.0f, std::nextafter(1.0f, 0.0f), {}) == doctest::Approx(0.5));
}

TEST_CASE("equal infinities agree, opposite ones and integers that differ do not") {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto t = kalscan::relative(0);
  CHECK(t.defect<double>(infinity, infinity, {}) == 0);
  CHECK(t.defect<double>(infinity, -infinity, {}) == infinity);
  CHECK(t.defect<double>(infinity, 1e300, {}) == infinity);
  CHECK(t.defect<int>(1000000, 1000001, {}) == infinity);
  CHECK(t.defect<std::vector<double>>({1, 2}, {1, 2, 3}, {}) == infinity);
}

TEST_CASE("a defect up to scale ignores a common factor and its sign") {
  const auto t = kalscan::up_to_scale(0);
  CHECK(t.defect<map>({1, -2}, {-2, 4}, {}) == 0);
  CHECK(t.defect<map>({1, -2}, {1, -2.5}, {}) == doctest::Approx(0.1));
  CHECK(t.defect<map>({1, -2}, {1, 0}, {}) > 1e300);
  CHECK(t.defect<map>({0, 0}, {1, 0}, {}) > 1e300);
}

TEST_CASE("a type may visit its own numbers") {
  const auto t = kalscan::relative(0);
  nine_numbers l{}, r{};
  r.n[8] = 1;
  CHECK(t.defect<nine_numbers>(l, l, {}) == 0);
  CHECK(t.defect<nine_numbers>(l, r, {}) == 1);
}
