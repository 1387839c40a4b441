// SPDX-License-Identifier: MIT
// The lanes of the mixers are recurrences, and so are their adjoints, backwards.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <kalscan/kalscan.hpp>
#include <limits>
#include <random>

#include "../laws/random.hpp"

namespace laws_tests {
namespace {

double uniform(std::mt19937_64& engine, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(engine);
}

kalscan::kla_inputs<double> kla_input(std::mt19937_64& e) {
  return {uniform(e, -2, 2), uniform(e, 0, 3),  uniform(e, -1, 1),
          uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, 0, 1)};
}
kalscan::gla_inputs<double> gla_input(std::mt19937_64& e) {
  return {uniform(e, -2, 2), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1)};
}
kalscan::belief<double> belief(std::mt19937_64& e) { return {uniform(e, -1, 1), uniform(e, 0.1, 3)}; }

template <class M>
using lane = kalscan::mixer_lane<M, double>;

TEST_CASE("a lane of each mixer keeps the laws of a recurrence") {
  const auto tolerance = kalscan::relative(1e-12);
  const auto kla = kalscan::check_recurrence(lane<kalscan::kla>{}, kla_input, belief, tolerance, usual);
  CHECK_MESSAGE(kla, kla.message());
  const auto ordinary = kalscan::check_recurrence(lane<kalscan::kla::ordinary>{}, kla_input, belief, tolerance, usual);
  CHECK_MESSAGE(ordinary, ordinary.message());
  const auto gla = kalscan::check_recurrence(
      lane<kalscan::gla>{}, gla_input, [](auto& e) { return kalscan::gla_state<double>{uniform(e, -1, 1)}; },
      tolerance, usual);
  CHECK_MESSAGE(gla, gla.message());
}

TEST_CASE("a run with a number out of range acts on no state unnoticed") {
  std::mt19937_64 engine(3);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {infinity, -infinity, infinity - infinity}) {
    for (std::size_t i = 0; i < 7; ++i) {
      std::array<double, 7> n{};
      for (double& x : n) x = uniform(engine, 0.1, 2);
      n[i] = bad;
      const kalscan::information_map<double> run{n[0], n[1], n[2], n[3], n[4], n[5], n[6]};
      for (const auto& before : {belief(engine), kalscan::belief<double>{0, 1}, kalscan::belief<double>{0, infinity}}) {
        const auto after = kalscan::kla::act(run, before);
        CAPTURE(i);
        CAPTURE(bad);
        CHECK_FALSE(std::isfinite(after.mean + after.variance));
      }
    }
  }
}

TEST_CASE("the adjoint's maps are a monoid") {
  const auto map = [](auto& e) {
    return kalscan::belief_adjoint_map<double>{uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1),
                                               uniform(e, -1, 1)};
  };
  const auto laws = kalscan::check_monoid(kalscan::belief_adjoint_monoid<double>{}, map, kalscan::relative(1e-13), usual);
  CHECK_MESSAGE(laws, laws.message());
  struct swapped : kalscan::belief_adjoint_monoid<double> {
    kalscan::belief_adjoint_map<double> operator()(kalscan::belief_adjoint_map<double> x,
                                                   kalscan::belief_adjoint_map<double> y) const {
      auto z = kalscan::belief_adjoint_monoid<double>::operator()(x, y);
      z.d = kalscan::belief_adjoint_monoid<double>::operator()(y, x).d;
      return z;
    }
  };
  CHECK(!kalscan::check_monoid(swapped{}, map, kalscan::relative(1e-13)));
}

/// Two steps of the adjoint are the combined map of the two, applied once.
template <class M, class Inputs, class State>
void check_adjoint_recurrence(Inputs input, State state) {
  std::mt19937_64 e(7);
  const auto m = M::template adjoint_monoid<double>();
  for (int trial = 0; trial < 200; ++trial) {
    const auto u1 = kalscan::prepare<M, double>(input(e)), u2 = kalscan::prepare<M, double>(input(e));
    const auto x0 = state(e), x1 = M::step(x0, u1), x2 = M::step(x1, u2), later = state(e);
    const auto bar = [&] {
      return kalscan::detail::from_fields<typename M::template outputs<double>, double>(
          [&](auto) { return uniform(e, -1, 1); });
    };
    const auto y1 = bar(), y2 = bar();
    const auto stepped = M::adjoint(x0, u1, x1, M::adjoint(x1, u2, x2, later, y2).earlier, y1).earlier;
    const auto mapped = M::adjoint_act(m(M::adjoint_lift(x0, u1, x1, y1), M::adjoint_lift(x1, u2, x2, y2)), later);
    const auto a = kalscan::detail::as_array<double>(stepped), b = kalscan::detail::as_array<double>(mapped);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-11));
  }
}

TEST_CASE("the adjoint through a stretch is the composition of the adjoints of its steps") {
  check_adjoint_recurrence<kalscan::kla>(kla_input, belief);
  check_adjoint_recurrence<kalscan::kla_mixer<kalscan::readout::predicted>>(kla_input, belief);
  check_adjoint_recurrence<kalscan::gla>(gla_input,
                                         [](auto& e) { return kalscan::gla_state<double>{uniform(e, -1, 1)}; });
}

}  // namespace
}  // namespace laws_tests
