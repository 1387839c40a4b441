// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <kalscan/laws.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/bicyclic.hpp>
#include <kalscan/monoids/permutation.hpp>
#include <kalscan/monoids/reversed.hpp>
#include <kalscan/monoids/segmented.hpp>

#include "random.hpp"

namespace {

struct concatenation {
  std::string identity() const { return {}; }
  std::string operator()(const std::string& earlier, const std::string& later) const { return earlier + later; }
};

std::string word(std::mt19937_64& engine) {
  std::string result(engine() % 4, 'a');
  for (char& c : result) c = static_cast<char>('a' + engine() % 26);
  return result;
}

kalscan::permutation<5> shuffled(std::mt19937_64& engine) {
  auto result = kalscan::permutation_monoid<5>::identity();
  std::shuffle(result.image, result.image + 5, engine);
  return result;
}

template <class T>
kalscan::affine_map<T> decaying_map(std::mt19937_64& engine) {
  return {draw::uniform<T>(engine, T(-1), T(1)), draw::normal<T>(engine)};
}

template <class Generate>
auto with_flags(Generate generate) {
  return [generate](std::mt19937_64& engine) {
    const bool starts = draw::one_in(engine, 3);
    return kalscan::flagged<decltype(generate(engine))>{generate(engine), starts};
  };
}

}  // namespace

TEST_CASE("segments of an exact monoid form a monoid exactly") {
  CHECK(kalscan::check_monoid(kalscan::segmented{concatenation{}}, with_flags(word), kalscan::exact, usual));
  CHECK(kalscan::check_monoid(kalscan::segmented{kalscan::permutation_monoid<5>{}}, with_flags(shuffled),
                              kalscan::exact, usual));
}

TEST_CASE_TEMPLATE("segments of affine maps form a monoid up to rounding", T, float, double) {
  const auto report = kalscan::check_monoid(kalscan::segmented{kalscan::affine_monoid<T>{}},
                                            with_flags(decaying_map<T>), kalscan::ulps(16), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE("an exact monoid read backwards is a monoid exactly") {
  CHECK(kalscan::check_monoid(kalscan::reversed{concatenation{}}, word, kalscan::exact, usual));
  CHECK(kalscan::check_monoid(kalscan::reversed{kalscan::permutation_monoid<5>{}}, shuffled, kalscan::exact, usual));
}

TEST_CASE_TEMPLATE("affine maps read backwards form a monoid up to rounding", T, float, double) {
  const auto report = kalscan::check_monoid(kalscan::reversed{kalscan::affine_monoid<T>{}}, decaying_map<T>,
                                            kalscan::ulps(16), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE("adaptors nest") {
  CHECK(kalscan::check_monoid(kalscan::segmented{kalscan::reversed<concatenation>{}}, with_flags(word),
                              kalscan::exact, usual));
  CHECK(kalscan::check_monoid(kalscan::reversed<kalscan::segmented<concatenation>>{}, with_flags(word),
                              kalscan::exact, usual));
}

TEST_CASE("a flag starts the running value anew") {
  const kalscan::segmented m{concatenation{}};
  const std::vector<kalscan::flagged<std::string>> input{{"a", false}, {"b", false}, {"c", true}, {"d", false}, {"e", true}};
  std::vector<std::string> scan;
  auto running = m.identity();
  for (const auto& x : input) scan.push_back((running = m(running, x)).value);
  CHECK(scan == std::vector<std::string>{"a", "ab", "c", "cd", "e"});
  CHECK(running.starts);
}

TEST_CASE("reversed swaps the operands") { CHECK(kalscan::reversed{concatenation{}}("a", "b") == "ba"); }
