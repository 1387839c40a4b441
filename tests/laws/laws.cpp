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

#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/laws.hpp>
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

TEST_CASE("the message is an equation, its operands by name, both sides, and how to repeat the trial") {
  const auto constant = [](std::mt19937_64&) { return 0.1; };
  const auto report = kalscan::check_monoid(subtraction{}, constant, kalscan::relative(0.25), {.seed = 42, .trials = 1});
  CHECK(report.message() ==
        "associativity fails: m(m(x, y), z) == m(x, m(y, z))\n"
        "  x = 0\n  y = 0\n  z = 0.1\n  left = -0.1\n  right = 0.1\n"
        "  the sides are 2 apart, the bound is 0.25; again with {.seed = 42, .trials = 1, .first_trial = 0}\n"
        "left identity fails: m(identity, x) == x\n"
        "  x = 0.1\n  left = -0.1\n  right = 0.1\n"
        "  the sides are 2 apart, the bound is 0.25; again with {.seed = 42, .trials = 1, .first_trial = 0}\n");
}

/// The counterexample of a law, read back from its text.
double number_of(const kalscan::law_result& result, const std::string& name) {
  const auto at = result.operands.find(" " + name + " = ");
  return at == std::string::npos ? -1e300 : std::stod(result.operands.substr(at + name.size() + 4));
}

struct skips_nan {
  double identity() const { return 0; }
  double operator()(double a, double b) const { return std::isnan(b) ? a : a + b; }
};

TEST_CASE("NaN equals NaN, so that sides of a counterexample differ") {
  const auto sometimes_nan = [](std::mt19937_64& engine) {
    return draw::one_in(engine, 3) ? std::nan("") : double(engine() % 100) / 7;
  };
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const auto report = kalscan::check_monoid(skips_nan{}, sometimes_nan, kalscan::relative(1e-12), {.seed = seed});
    const auto* law = report.find("associativity");
    REQUIRE(law != nullptr);
    CHECK_FALSE(law->holds);
    const double x = number_of(*law, "x"), y = number_of(*law, "y"), z = number_of(*law, "z");
    const skips_nan m;
    CHECK(m(m(x, y), z) == number_of(*law, "left"));
    CHECK(m(x, m(y, z)) == number_of(*law, "right"));
    CHECK(number_of(*law, "left") != number_of(*law, "right"));
    CHECK(std::isnan(y));
    CHECK(x == 0);                       // as simple as the identity
    CHECK(law->operands.size() < 60);    // and as short as what is drawn
  }
  const auto first_wins = [](const map&, const map& r) { return r.offset; };
  CHECK(kalscan::check_monoid(skips_nan{}, [](auto&) { return std::nan(""); }, kalscan::exact).find("prefix split")->holds);
  CHECK_FALSE(kalscan::check_monoid(nan_monoid{}, random_map, kalscan::within(1e300, first_wins)));
}

/// log(sum of exp) as (maximum, sum), without a guard for two identities.
struct unguarded_log_sum {
  map identity() const { return {-std::numeric_limits<double>::infinity(), 0}; }
  map operator()(const map& x, const map& y) const {
    const double m = std::max(x.gain, y.gain);
    return {m, x.offset * std::exp(x.gain - m) + y.offset * std::exp(y.gain - m)};
  }
};

TEST_CASE("an identity that does not survive itself is named as that, and nothing else is") {
  const auto one = [](std::mt19937_64& engine) { return map{draw::normal<double>(engine), 1}; };
  const auto report = kalscan::check_monoid(unguarded_log_sum{}, one, kalscan::ulps(64));
  CHECK(report.message() ==
        "identity with identity fails: m(identity, identity) == identity\n"
        "  left = {-inf, nan}\n  right = {-inf, 0}\n"
        "  the sides differ; again with {.seed = 1, .trials = 1, .first_trial = 0}\n");
}

TEST_CASE("what follows from a broken law is not shown, and stands in the results") {
  const auto clamped = kalscan::check_monoid(clamped_monoid{}, random_map, tolerance);
  CHECK(clamped.find("prefix split")->follows_from == "associativity");
  CHECK(clamped.message().find("prefix split") == std::string::npos);
  const auto lift = kalscan::check_recurrence(wrong_lift{}, random_map, draw::normal<double>, tolerance);
  CHECK(lift.find("chunked scan")->follows_from == "lift");
  CHECK(lift.message().find("lift fails: act(lift(u), s) == step(s, u)\n  u = {") == 0);
  CHECK(lift.message().find("chunked scan") == std::string::npos);
}

/// Wrong only where a fold has come to three elements or more.
struct counts_to_two {
  std::vector<int> identity() const { return {}; }
  std::vector<int> operator()(std::vector<int> x, const std::vector<int>& y) const {
    x.insert(x.end(), y.begin(), y.end());
    if (x.size() > 2 && y.size() > 1) std::reverse(x.begin(), x.end());
    return x;
  }
};

TEST_CASE("sequences of a counterexample are as short as they can be") {
  const auto single = [](std::mt19937_64& engine) { return std::vector<int>{int(engine() % 1000)}; };
  const auto report = kalscan::check_monoid(counts_to_two{}, single, kalscan::exact);
  const auto* split = report.find("prefix split");
  REQUIRE(split != nullptr);
  CHECK_FALSE(split->holds);
  const auto commas = std::count(split->operands.begin(), split->operands.begin() + static_cast<std::ptrdiff_t>(split->operands.find("left")), '{');
  CHECK(commas <= 5);  // three elements in two sequences
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
