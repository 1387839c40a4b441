// SPDX-License-Identifier: MIT
// compare tells the truth: of operators that break laws, and of back ends that are wrong, fail, or vary from run to
// run.
#include <doctest/doctest.h>

#include <cmath>
#include <kalscan/compare.hpp>
#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/matrix.hpp>
#include <kalscan/monoids/mobius.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <limits>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "../errors.hpp"

namespace {

using affine = kalscan::affine_monoid<float>;
using rows = std::vector<kalscan::compare_row>;

const kalscan::compare_options quick{.repetitions = 3, .sample_seconds = 0, .threads = {1, 2}, .laws = {.trials = 50}};

kalscan::affine_map<float> draw_affine(std::mt19937_64& engine) {
  std::normal_distribution<float> normal;
  return {0.9F + 0.05F * normal(engine), normal(engine)};
}
kalscan::affine_map<std::uint32_t> draw_exact(std::mt19937_64& engine) {
  return {static_cast<std::uint32_t>(engine()), static_cast<std::uint32_t>(engine())};
}

const kalscan::compare_row& row_of(const rows& all, const std::string& name, std::int64_t size) {
  for (const auto& r : all)
    if (r.back_end == name && r.size == size) return r;
  throw std::runtime_error("no row " + name);
}

template <class X, class Scan>
kalscan::back_end<X> like_seq(const std::string& name, Scan then) {
  return {name, [then](const kalscan::scan_call<X>& c) {
            kalscan::inclusive_scan(kalscan::seq{}, c.op, c.in, c.out, c.initial);
            then(c);
          }};
}

struct difference_monoid {  // not associative
  static long identity() { return 0; }
  long operator()(long x, long y) const { return x - y; }
};

TEST_CASE("an operator that breaks a law is refused, and the operands are shown, before any back end runs") {
  bool ran = false;
  const kalscan::back_end<difference_monoid> spy{"spy", [&](const auto&) { ran = true; }};
  const auto draw = [](std::mt19937_64& engine) { return static_cast<long>(engine() % 9) + 1; };
  try {
    static_cast<void>(kalscan::compare(difference_monoid{}, draw, kalscan::exact, {10}, quick, {spy}));
    FAIL("it was timed");
  } catch (const kalscan::broken_law& error) {
    const std::string message = error.what();
    CHECK(message.find("associativity fails: m(m(x, y), z) == m(x, m(y, z))") != std::string::npos);
    CHECK(message.find("  x = ") != std::string::npos);
    CHECK(message.find(error.report.results.front().operands) != std::string::npos);
  }
  CHECK_FALSE(ran);
}

TEST_CASE("every size has a row a back end, with right results and figures that fit each other") {
  const auto all = kalscan::compare(affine{}, draw_affine, kalscan::relative(1e-5), {1, 5000}, quick);
  CHECK(all.size() == 8);
  for (const auto& r : all) {
    CAPTURE(r.back_end);
    CHECK(r.missing == "");
    CHECK(r.samples == 3);
    CHECK(r.lower > 0);
    CHECK(r.lower <= r.median);
    CHECK(r.median <= r.upper);
    CHECK(r.bytes_per_second == doctest::Approx(16 * static_cast<double>(r.size) / r.median));
    CHECK(r.speed_over_first == doctest::Approx(row_of(all, "seq", r.size).median / r.median));
    CHECK(r.reference == "left fold, long double");
    CHECK(r.error.value() < 1e-5);
    CHECK(r.repeatable);
  }
  CHECK(row_of(all, "seq", 5000).error.value() > 1e-9);  // float is not exact
}

TEST_CASE("a back end that throws, or is not there, is a row with the reason, and the others still run") {
  int calls = 0;
  const std::vector<kalscan::back_end<affine>> more{
      {"throws", [](const kalscan::scan_call<affine>&) -> void { throw std::runtime_error("out of luck"); }},
      {"throws late",
       [&calls](const kalscan::scan_call<affine>&) {
         if (++calls > 5) throw 1;
       }},
      kalscan::absent_back_end<affine>("other", "no such device"),
      like_seq<affine>("after them", [](const auto&) {})};
  const auto all = kalscan::compare(affine{}, draw_affine, kalscan::relative(1e-5), {100}, quick, more);
  CHECK(row_of(all, "throws", 100).missing == "out of luck");
  CHECK(row_of(all, "throws late", 100).missing == "threw what is not a std::exception");
  CHECK(row_of(all, "other", 100).missing == "absent: no such device");
  for (const char* name : {"throws", "throws late", "other"}) {
    CHECK(std::isnan(row_of(all, name, 100).median));
    CHECK_FALSE(row_of(all, name, 100).error.has_value());
    CHECK_FALSE(row_of(all, name, 100).repeatable);
  }
  CHECK(row_of(all, "after them", 100).error.value() < 1e-5);
  CHECK(row_of(all, "after them", 100).median > 0);
}

TEST_CASE("the error is that of the worst value, and NaN and untouched outputs count") {
  const std::vector<kalscan::back_end<affine>> more{
      {"lazy", [](const kalscan::scan_call<affine>&) {}},  // right after back ends that left what is right
      like_seq<affine>("2% off", [](const auto& c) { c.out[700].offset *= 1.02F; }),
      like_seq<affine>("NaN", [](const auto& c) { c.out[700].offset = std::numeric_limits<float>::quiet_NaN(); }),
      {"swapped", [](const kalscan::scan_call<affine>& c) {
         auto sum = c.initial;
         for (std::size_t i = 0; i < c.in.size(); ++i) c.out[i] = sum = c.op(c.in[i], sum);
       }}};
  // Offsets from 0.5 to 1, so that 2% of one are as much of the scale.
  const auto draw = [](std::mt19937_64& engine) {
    return kalscan::affine_map<float>{0.5F, std::uniform_real_distribution<float>(0.5F, 0.6F)(engine)};
  };
  const auto all = kalscan::compare(affine{}, draw, kalscan::relative(1e-5), {1000}, quick, more);
  CHECK(row_of(all, "2% off", 1000).error.value() == doctest::Approx(0.02).epsilon(0.15));
  CHECK(row_of(all, "NaN", 1000).error.value() == std::numeric_limits<double>::infinity());
  CHECK(row_of(all, "lazy", 1000).error.value() > 0.9);
  CHECK(row_of(all, "swapped", 1000).error.value() > 0.01);
}

TEST_CASE("one bit that changes between runs is not repeatable, and changing padding is") {
  struct padded {  // three bytes that nobody writes
    int value;
    bool flag;
    bool operator==(const padded&) const = default;
  };
  struct padded_sum {
    static padded identity() { return {0, false}; }
    padded operator()(const padded& x, const padded& y) const { return {x.value + y.value, x.flag != y.flag}; }
  };
  int run = 0, bytes = 0;
  const std::vector<kalscan::back_end<padded_sum>> more{like_seq<padded_sum>("varies once",
                                                                             [&run](const auto& c) {
                                                                               if (++run == 3) c.out[40].value += 1;
                                                                             }),
                                                        like_seq<padded_sum>("padding", [&bytes](const auto& c) {
                                                          reinterpret_cast<unsigned char*>(&c.out[40])[5] =
                                                              static_cast<unsigned char>(++bytes);
                                                        })};
  const auto draw = [](std::mt19937_64& engine) { return padded{static_cast<int>(engine() % 100), engine() % 2 == 0}; };
  const auto all = kalscan::compare(padded_sum{}, draw, kalscan::exact, {100}, quick, more);
  CHECK_FALSE(row_of(all, "varies once", 100).repeatable);
  CHECK(row_of(all, "padding", 100).repeatable);
  CHECK(row_of(all, "seq", 100).repeatable);
}

TEST_CASE("an exact operator is held against its left fold, bit for bit") {
  using exact = kalscan::affine_monoid<std::uint32_t>;
  const std::vector<kalscan::back_end<exact>> more{
      like_seq<exact>("one off", [](const auto& c) { c.out[9].gain ^= 1; })};
  const auto all = kalscan::compare(exact{}, draw_exact, kalscan::exact, {3000}, quick, more);
  CHECK(row_of(all, "omp{2}", 3000).reference == "left fold, exact");
  CHECK(row_of(all, "omp{2}", 3000).error.value() == 0);
  CHECK(row_of(all, "one off", 3000).error.value() == std::numeric_limits<double>::infinity());
}

struct plain_monoid {  // no template: nothing to widen
  static double identity() { return 0; }
  double operator()(double x, double y) const { return x + y; }
};

TEST_CASE(
    "without an operator in higher precision a row says that there is no reference, and the caller may bring one") {
  const auto draw = [](std::mt19937_64& engine) { return std::uniform_real_distribution<double>()(engine); };
  const auto tolerance = kalscan::relative(1e-12);
  const auto none = kalscan::compare(plain_monoid{}, draw, tolerance, {1000}, quick);
  CHECK(none.front().reference == "none");
  CHECK_FALSE(none.front().error.has_value());
  std::ostringstream table;
  kalscan::print_table(table, none);
  CHECK(table.str().find("no ref.") != std::string::npos);

  struct wide_monoid {
    static long double identity() { return 0; }
    long double operator()(long double x, long double y) const { return x + y; }
  };
  const kalscan::wide_reference wide{wide_monoid{}, [](double x) { return static_cast<long double>(x); }};
  const auto held = kalscan::compare(plain_monoid{}, draw, tolerance, {1000}, quick, {}, wide);
  CHECK(held.front().reference == "left fold, the caller's");
  CHECK(held.front().error.value() > 0);
  CHECK(held.front().error.value() < 1e-13);
  const auto refused =
      kalscan::compare(affine{}, draw_affine, kalscan::relative(1e-5), {10}, quick, {}, kalscan::no_reference{});
  CHECK(refused.front().reference == "none");
}

TEST_CASE("a recurrence is compared from one initial state, and its parameters are widened too") {
  const auto input = [](std::mt19937_64& engine) {
    std::normal_distribution<float> normal;
    return kalscan::scalar_observation<float>{std::exp(normal(engine)), normal(engine)};
  };
  const auto state = [](std::mt19937_64&) { return kalscan::belief<float>{0.5F, 2}; };
  const kalscan::scalar_filter<float> filter{0.95F, 0.1F};
  using X = kalscan::scalar_filter<float>;
  const kalscan::back_end<X> forgetful{"forgets the initial state", [](const kalscan::scan_call<X>& c) {
                                         kalscan::scan_states(kalscan::seq{}, c.op, c.in, c.out, {0, 2});
                                       }};
  const auto all = kalscan::compare(filter, input, state, kalscan::relative(1e-4), {3000}, quick, {forgetful});
  CHECK(all.size() == 4);
  CHECK(row_of(all, "omp{2}", 3000).reference == "left fold, long double");
  CHECK(row_of(all, "omp{2}", 3000).error.value() < 1e-5);
  CHECK(row_of(all, "forgets the initial state", 3000).error.value() > 1e-2);
}

TEST_CASE("matrix elements are widened; maps known up to a factor are measured by their own tolerance") {
  using X = kalscan::matrix_filtering_monoid<double, 2>;
  const auto draw = [](std::mt19937_64& engine) {
    std::normal_distribution<double> normal;
    const auto some = [&] { return Eigen::Matrix2d::NullaryExpr([&] { return normal(engine); }).eval(); };
    const Eigen::Matrix2d C = some(), J = some();
    return kalscan::matrix_filtering_element<double, 2>{0.3 * some(), some().col(0), C * C.transpose(), some().col(0),
                                                        J * J.transpose()};
  };
  const auto all = kalscan::compare(X{}, draw, kalscan::relative(1e-8), {700}, quick);
  CHECK(row_of(all, "omp{2}", 700).reference == "left fold, long double");
  CHECK(row_of(all, "omp{2}", 700).error.value() < 1e-12);
  CHECK(row_of(all, "omp{2}", 700).error.value() > 0);

  using M = kalscan::mobius_monoid<float>;
  const auto doubled = like_seq<M>("times 4", [](const auto& c) {
    for (auto& x : c.out) x = {4 * x.a, 4 * x.b, 4 * x.c, 4 * x.d};
  });
  const auto draw_mobius = [](std::mt19937_64& engine) {
    std::uniform_real_distribution<float> u(0.5F, 1.5F);
    return kalscan::mobius_map<float>{2 + u(engine), u(engine), u(engine), 2 + u(engine)};
  };
  const auto maps = kalscan::compare(M{}, draw_mobius, kalscan::up_to_scale(1e-5), {200}, quick, {doubled});
  CHECK(row_of(maps, "times 4", 200).error.value() < 1e-5);
}

TEST_CASE("adaptors and matrices with arrays are widened too") {
  using flagged = kalscan::flagged<kalscan::affine_map<float>>;
  const kalscan::segmented segments{affine{}};
  const auto draw = [](std::mt19937_64& engine) { return flagged{draw_affine(engine), engine() % 10 == 0}; };
  using square = kalscan::square_matrix<float, 2>;
  const kalscan::matrix_monoid<kalscan::plus_times<float>, 2> product;
  const auto draw_square = [](std::mt19937_64& engine) {
    std::uniform_real_distribution<float> u(0, 0.5F);
    return square{{{u(engine), u(engine)}, {u(engine), u(engine)}}};
  };
  for (const auto& all : {kalscan::compare(segments, draw, kalscan::relative(1e-5), {300}, quick),
                          kalscan::compare(product, draw_square, kalscan::relative(1e-4), {20}, quick)}) {
    CHECK(all.front().reference == "left fold, long double");
    CHECK(all.front().error.value() > 0);
    CHECK(all.front().error.value() < 1e-5);
  }
}

TEST_CASE("bad options and sizes are named with their values") {
  const auto message = [](std::vector<std::int64_t> sizes, const kalscan::compare_options& options) {
    return message_of([&] { return kalscan::compare(affine{}, draw_affine, kalscan::relative(1e-5), sizes, options); });
  };
  CHECK(message({10, 0}, quick) == "kalscan::compare: a size is 0");
  CHECK(message({10}, {.repetitions = 2}) == "kalscan::compare: repetitions is 2, but must be at least 3");
  CHECK(message({10}, {.threads = {2, 0}}) == "kalscan::compare: threads is 0, but must be positive");
}

struct parity {
  static bool identity() { return false; }
  bool operator()(bool earlier, bool later) const { return earlier != later; }
};

TEST_CASE("elements may be bool") {
  const auto draw = [](std::mt19937_64& engine) { return (engine() & 1) != 0; };
  for (const auto& row : kalscan::compare(parity{}, draw, kalscan::exact, {1031}, quick)) {
    CHECK(row);
    CHECK(row.error == 0.0);
    CHECK(row.repeatable);
  }
  const auto same = [](bool x) { return x; };
  const kalscan::wide_reference reference{parity{}, same};
  for (const auto& row : kalscan::compare(parity{}, draw, kalscan::relative(0.5), {100}, quick, {}, reference))
    CHECK(row.error == 0.0);
  bool out[] = {true, false};
  CHECK(kalscan::relative_error(std::vector<bool>{true, false}, std::span<bool>(out))() == 0.0);
}

}  // namespace
