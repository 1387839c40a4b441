// SPDX-License-Identifier: MIT
// Elements that leave the range of their numbers where no state does, and exceptions of several tasks.
#include <doctest/doctest.h>

#include <cmath>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/monoids/linear_recurrence.hpp>
#include <kalscan/scan.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// Damped rotations: a state of two numbers.
struct plane {
  float x, y;
  friend bool operator==(const plane&, const plane&) = default;
};
struct turn {
  float gain, offset;
};
struct turning {
  using state_type = plane;
  using input_type = turn;
  static kalscan::affine_monoid<float> monoid() { return {}; }
  static plane step(const plane& s, const turn& u) { return {u.gain * s.x + u.offset, u.gain * s.y + u.offset}; }
  static kalscan::affine_map<float> lift(const turn& u) { return {u.gain, u.offset}; }
  static plane act(const kalscan::affine_map<float>& x, const plane& s) {
    return {x.gain * s.x + x.offset, x.gain * s.y + x.offset};
  }
};

template <class R, class Input>
void check_burst(const R& r, const std::vector<Input>& in, const typename R::state_type& start) {
  std::vector<typename R::state_type> expected(in.size(), start), out(expected);
  const auto total = kalscan::scan_states(kalscan::seq{}, r, in, expected, start);
  for (const auto& policy : {kalscan::omp{1, 64}, kalscan::omp{2, 64}, kalscan::omp{3, 30}, kalscan::omp{2, 130}}) {
    CAPTURE(policy.chunk);
    CHECK(kalscan::scan_states(policy, r, in, out, start) == total);
    CHECK(out == expected);
  }
}

TEST_CASE("gains whose product overflows leave a state of zero at zero where time is split") {
  std::vector<kalscan::affine_map<float>> in(300, {0.5F, 0});
  std::vector<turn> turns(300, {0.5F, 0});
  for (std::size_t t = 128; t < 136; ++t) in[t].gain = turns[t].gain = 1e30F;
  for (std::size_t t = 201; t < 300; ++t) in[t].offset = turns[t].offset = 1;
  check_burst(kalscan::linear_recurrence<float>{}, in, 0.0F);
  check_burst(turning{}, turns, {0, 0});
}

TEST_CASE("a scan whose chunk overflows takes each step once, in place too, and a reduction knows its total") {
  // Gains of 1e30 twice and of 1e-30 twice, on a state of 1e-30: the state stays in range, the chunk does not.
  std::vector<kalscan::affine_map<float>> in(300, {0.5F, 0});
  for (const std::size_t t : {128U, 129U}) in[t].gain = 1e30F, in[t + 2].gain = 1e-30F;
  for (std::size_t t = 100; t < 128; ++t) in[t].gain = 1;
  for (std::size_t t = 0; t < 100; ++t) in[t].gain = t % 2 == 0 ? 2.0F : 0.5F;
  for (std::size_t t = 140; t < 300; ++t) in[t].offset = 1;
  const kalscan::affine_map<float> start{1e-30F, 0};
  const kalscan::affine_monoid<float> m;
  auto expected = in;
  const auto total = kalscan::inclusive_scan(kalscan::seq{}, m, in, expected, start);
  CHECK(std::isfinite(total.gain + total.offset));
  for (const auto& policy : {kalscan::omp{1, 64}, kalscan::omp{2, 64}, kalscan::omp{2, 150}, kalscan::omp{2, 33}}) {
    CAPTURE(policy.chunk);
    auto both = in;
    CHECK(kalscan::inclusive_scan(policy, m, both, both, start).offset == total.offset);
    for (std::size_t t = 0; t < in.size(); ++t) CHECK(both[t].offset == doctest::Approx(expected[t].offset));
    for (std::size_t t = 0; t < 200; ++t) CHECK(both[t].gain == doctest::Approx(expected[t].gain));
    CHECK(kalscan::reduce(policy, m, in, start).offset == total.offset);
  }
}

TEST_CASE("an overflow within a chunk of a filter is noticed") {
  struct noisy_step {  // a scalar filter whose process noise is an input
    float p, phi, r;
  };
  struct filter {
    using state_type = kalscan::belief<float>;
    using input_type = noisy_step;
    static kalscan::filtering_monoid<float> monoid() { return {}; }
    static state_type step(const state_type& s, const noisy_step& u) {
      return kalscan::scalar_filter<float>{1, u.p}.step(s, {u.phi, u.r});
    }
    static kalscan::filtering_element<float> lift(const noisy_step& u) {
      return kalscan::scalar_filter<float>{1, u.p}.lift({u.phi, u.r});
    }
    static kalscan::filtering_element<float> absorb(const kalscan::filtering_element<float>& x, const noisy_step& u) {
      return kalscan::scalar_filter<float>{1, u.p}.absorb(x, {u.phi, u.r});
    }
    static state_type act(const kalscan::filtering_element<float>& x, const state_type& s) { return kalscan::act(x, s); }
  };
  std::vector<noisy_step> in(90, {0, 1, 3});
  in[40] = {1e25F, 0, 0};
  in[41] = {0, 1e25F, 3e25F};
  std::vector<kalscan::belief<float>> out(in.size());
  kalscan::scan_states(kalscan::omp{2, 30}, filter{}, in, out, {0, 1});
  CHECK(out.back().mean == doctest::Approx(3));
}

TEST_CASE("a NaN of the input stays where the steps leave it, and infinite elements are no overflow") {
  std::vector<float> in(100, 1);
  in[10] = std::numeric_limits<float>::quiet_NaN();
  struct largest {
    static float identity() { return -std::numeric_limits<float>::infinity(); }
    float operator()(float x, float y) const { return x < y ? y : x; }
  };
  std::vector<float> out(in.size()), expected(in.size());
  kalscan::inclusive_scan(kalscan::seq{}, largest{}, in, expected);
  kalscan::inclusive_scan(kalscan::omp{2, 7}, largest{}, in, out);
  CHECK(out == expected);
  for (std::size_t t = 30; t < 60; ++t) in[t] = -std::numeric_limits<float>::infinity();
  kalscan::inclusive_scan(kalscan::seq{}, largest{}, in, expected);
  kalscan::inclusive_scan(kalscan::omp{2, 7}, largest{}, in, out);
  CHECK(out == expected);
}

TEST_CASE("of several exceptions that of the earliest chunk reaches the caller") {
  struct named_error {
    static long identity() { return 0; }
    long operator()(long x, long y) const {
      if (y < 0) throw std::runtime_error("element " + std::to_string(-y));
      return x + y;
    }
  };
  std::vector<long> in(200, 1), out(in.size());
  for (const std::size_t t : {std::size_t{35}, std::size_t{75}, std::size_t{115}, std::size_t{155}}) in[t] = -static_cast<long>(t);
  for (const int threads : {1, 2, 4}) {
    CHECK_THROWS_WITH(kalscan::inclusive_scan(kalscan::omp{threads, 20}, named_error{}, in, out), "element 35");
  }
}

#if defined(__x86_64__)
/// Says whether a chunk's gain was subnormal.
struct fading {
  using state_type = double;
  using input_type = kalscan::affine_map<double>;
  bool* subnormal;
  static kalscan::affine_monoid<double> monoid() { return {}; }
  static double step(double s, const input_type& u) { return u.gain * s + u.offset; }
  static kalscan::affine_map<double> lift(const input_type& u) { return u; }
  double act(const kalscan::affine_map<double>& x, double s) const {
    *subnormal |= std::fpclassify(x.gain) == FP_SUBNORMAL;
    return x.gain * s + x.offset;
  }
};

TEST_CASE("gains that fade leave no subnormal numbers in a chunk, which would make it slow, and the caller's mode stays") {
  const std::vector<kalscan::affine_map<double>> in(5000, {0.6, 1.0});  // 0.6 times the least number is rounded to that
  std::vector<double> out(in.size());
  bool subnormal = false;
  kalscan::scan_states(kalscan::omp{1, 2000}, fading{&subnormal}, in, out, 0.0);
  CHECK_FALSE(subnormal);
  volatile double least = std::numeric_limits<double>::min();
  CHECK(least / 2 > 0);
}
#endif

TEST_CASE("subnormal numbers that an operator only compares keep their bits where time is split") {
  struct larger {
    static double identity() { return 0; }
    double operator()(double earlier, double later) const { return earlier < later ? later : earlier; }
  };
  std::vector<double> in(200, std::numeric_limits<double>::denorm_min()), out(200);
  in[150] *= 3;
  CHECK(kalscan::reduce(kalscan::omp{2, 30}, larger{}, in) == in[150]);
  kalscan::inclusive_scan(kalscan::omp{2, 30}, larger{}, in, out);
  CHECK(out.front() == in[0]);
  CHECK(out.back() == in[150]);
}

}  // namespace
