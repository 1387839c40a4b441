// SPDX-License-Identifier: MIT
// The scalar Kalman filter in its three coordinates: filtering element, information map, Möbius map. Each keeps the laws,
// and all three are the map that the paper's recurrence makes of a belief.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/information_map.hpp>
#include <kalscan/laws.hpp>

#include "random.hpp"

namespace {

template <class T>
struct model {
  T a, p, widest;  // phi up to 10^widest
};

/// Usual, without noise, without memory, with a long memory, and with observations of any weight.
template <class T>
const std::vector<model<T>> models = {{T(0.9), T(0.1), 1}, {T(0.9), T(0), 1},      {T(0), T(0.5), 1},
                                      {T(0.999), T(1e-4), 1}, {T(0.5), T(2), 12}, {T(1), T(0), 6}};

template <class T>
auto observations(T widest) {
  return [widest](std::mt19937_64& engine) {
    if (draw::one_in(engine, 5)) return kalscan::scalar_observation<T>{T(0), T(0)};
    const T phi = draw::log_uniform(engine, -widest, widest);
    return kalscan::scalar_observation<T>{phi, phi * draw::normal<T>(engine)};
  };
}

template <class T>
kalscan::belief<T> any_belief(std::mt19937_64& engine) {
  return {draw::normal<T>(engine), draw::log_uniform<T>(engine, -3, 3)};
}

/// The greatest difference of means, in standard deviations of the larger variance or relative, and of variances, relative.
template <class B>
double distance(const B& x, const B& y) {
  if (x == y) return 0;
  const double mean = std::abs(static_cast<double>(x.mean - y.mean)) /
                      (std::sqrt(static_cast<double>(std::max(x.variance, y.variance))) + std::abs(static_cast<double>(x.mean)));
  const double variance = std::abs(static_cast<double>(x.variance - y.variance)) / static_cast<double>(std::max(x.variance, y.variance));
  return std::max(mean, variance);
}

// 8 + 8 steps of a few roundings each. Beliefs are compared on their own scale, elements field by field.
template <class T>
constexpr double few = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());

template <class T>
struct element_or_belief {
  double operator()(const kalscan::filtering_element<T>& x, const kalscan::filtering_element<T>& y) const {
    // A conditional's mean A x + b is compared in its standard deviation, a likelihood's eta in that of eta, sqrt(J).
    const auto relative = [](T l, T r, double scale) { 
      constexpr auto lowest = static_cast<double>(std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon());
      return l == r ? 0.0 : std::abs(static_cast<double>(l - r)) / std::max(scale, lowest);  // below, it underflows
    };
    const auto size = [](T l, T r) { return std::max(std::abs(static_cast<double>(l)), std::abs(static_cast<double>(r))); };
    return std::max({relative(x.A, y.A, size(x.A, y.A)), relative(x.C, y.C, size(x.C, y.C)), relative(x.J, y.J, size(x.J, y.J)),
                     relative(x.b, y.b, size(x.b, y.b) + std::sqrt(size(x.C, y.C)) + 1),
                     relative(x.eta, y.eta, size(x.eta, y.eta) + size(x.J, y.J) + std::sqrt(size(x.J, y.J)))});
  }
  double operator()(const kalscan::belief<T>& x, const kalscan::belief<T>& y) const { return distance(x, y); }
};

/// Maps are known up to a factor, beliefs by what they mean.
template <class T>
struct map_or_belief {
  double operator()(const kalscan::information_map<T>& x, const kalscan::information_map<T>& y) const { return scaled(x, y); }
  double operator()(const kalscan::mobius_map<T>& x, const kalscan::mobius_map<T>& y) const { return scaled(x, y); }
  double operator()(const kalscan::homogeneous_belief<T>& x, const kalscan::homogeneous_belief<T>& y) const {
    return distance(to_moments(x), to_moments(y));
  }
  double operator()(const T& x, const T& y) const {
    return x == y ? 0 : std::abs(static_cast<double>(x - y)) / static_cast<double>(std::max(x, y));
  }

 private:
  template <class Map>
  static double scaled(const Map& x, const Map& y) {
    return kalscan::up_to_scale(0).template defect<Map>(x, y, {});
  }
};

/// The paper's recurrence, in long double: lambda' = lambda / (a^2 + p lambda) + phi, eta' = a / (a^2 + p lambda) eta + r.
struct paper {
  long double precision, vector;

  template <class T>
  void step(T a_, T p_, const kalscan::scalar_observation<T>& u) {
    const long double a = a_, p = p_;
    const long double d = a * a + p * precision;
    vector = a / d * vector + static_cast<long double>(u.r);
    precision = precision / d + static_cast<long double>(u.phi);
  }
  template <class T>
  double distance_from(const kalscan::belief<T>& x, long double magnitude = 0) const {
    const long double variance = 1 / precision, mean = vector / precision;
    return static_cast<double>(std::max(
        std::abs(static_cast<long double>(x.mean) - mean) / (std::sqrt(variance) + std::abs(mean) + magnitude),
        std::abs(static_cast<long double>(x.variance) - variance) / variance));
  }
};

struct swapped : kalscan::scalar_filter<double> {
  struct monoid_type : kalscan::filtering_monoid<double> {
    auto operator()(const kalscan::filtering_element<double>& earlier, const kalscan::filtering_element<double>& later) const {
      return kalscan::filtering_monoid<double>::operator()(later, earlier);
    }
  };
  static monoid_type monoid() { return {}; }
};

}  // namespace

TEST_CASE_TEMPLATE("the scalar filter keeps the laws of a recurrence", T, float, double) {
  for (const model<T>& chosen : models<T>) {
    CAPTURE(chosen.a);
    CAPTURE(chosen.p);
    const T widest = chosen.widest;
    const kalscan::scalar_filter<T> filter{chosen.a, chosen.p};
    // Two ends of a stretch with observations of weight 10^12 and 10^-12 differ by what was lost between them.
    const double bound = few<T> * (widest > 1 ? 30 : 1);
    const auto report = kalscan::check_recurrence(filter, observations(widest), any_belief<T>,
                                                  kalscan::within(bound, element_or_belief<T>{}), usual);
    CHECK_MESSAGE(report, report.message());
  }
}

TEST_CASE("swapped operands are caught") {
  const auto report = kalscan::check_recurrence(swapped{{0.9, 0.1}}, observations(1.0), any_belief<double>,
                                                kalscan::within(few<double>, element_or_belief<double>{}));
  REQUIRE(report.find("act") != nullptr);
  CHECK_FALSE(report.find("act")->holds);
}

TEST_CASE_TEMPLATE("the filter in the paper's coordinates keeps the laws, within its range", T, float, double) {
  for (const auto& [a, p, widest] : models<T>) {
    if (a == T(0) || widest > 6) continue;  // outside the range of validity that information_monoid states
    const double bound = few<T> * (widest > 1 ? 1e3 : 10);
    const auto state = [](std::mt19937_64& engine) { return kalscan::to_homogeneous(any_belief<T>(engine)); };
    const auto information = kalscan::check_recurrence(kalscan::information_filter<T>{a, p}, observations(widest), state,
                                                       kalscan::within(bound, map_or_belief<T>{}), usual);
    CHECK_MESSAGE(information, information.message());
    const auto precision = [](std::mt19937_64& engine) { return draw::log_uniform<T>(engine, -3, 3); };
    const auto mobius = kalscan::check_recurrence(kalscan::mobius_filter<T>{a, p}, observations(widest), precision,
                                                  kalscan::within(bound, map_or_belief<T>{}), usual);
    CHECK_MESSAGE(mobius, mobius.message());
  }
}

TEST_CASE_TEMPLATE("Möbius maps with positive entries form a monoid up to a factor", T, float, double) {
  const auto map = [](std::mt19937_64& engine) {
    const auto entry = [&] { return draw::log_uniform<T>(engine, -2, 2); };
    return kalscan::mobius_map<T>{entry(), entry(), entry(), entry()};
  };
  const auto report = kalscan::check_monoid(kalscan::mobius_monoid<T>{}, map, kalscan::up_to_scale(few<T>), usual);
  CHECK_MESSAGE(report, report.message());
}

TEST_CASE("element, information map and Möbius map are the paper's map of a belief") {
  std::mt19937_64 engine(7);
  double worst = 0, worst_map = 0, worst_mobius = 0, worst_step = 0;
  for (const auto& [a, p, widest] : models<double>) {
    if (a == 0.0) continue;  // the paper's form divides by a^2
    for (int trial = 0; trial < 300; ++trial) {
      const kalscan::scalar_filter<double> filter{a, p};
      const kalscan::information_filter<double> information{a, p};
      const kalscan::mobius_filter<double> mobius{a, p};
      const kalscan::belief<double> start = any_belief<double>(engine);
      auto element = filter.monoid().identity();
      auto map = information.monoid().identity();
      auto precision = mobius.monoid().identity();
      paper exact{1 / static_cast<long double>(start.variance), start.mean / static_cast<long double>(start.variance)};
      auto stepped = start;
      const auto next = observations(std::min(widest, 3.0));
      for (int t = 0; t < 20; ++t) {
        const auto u = next(engine);
        element = filter.absorb(element, u);
        map = information.monoid()(map, information.lift(u));
        precision = mobius.monoid()(precision, mobius.lift(u));
        stepped = filter.step(stepped, u);
        exact.step(a, p, u);
      }
      worst = std::max(worst, exact.distance_from(kalscan::act(element, start)));
      worst_map = std::max(worst_map, exact.distance_from(to_moments(information.act(map, kalscan::to_homogeneous(start)))));
      worst_step = std::max(worst_step, exact.distance_from(stepped));
      const auto lambda = static_cast<double>(exact.precision);
      worst_mobius = std::max(worst_mobius, std::abs(mobius.act(precision, 1 / start.variance) - lambda) / lambda);
      // The element converts into the map, and the map's precision part is the Möbius map.
      const auto converted = kalscan::to_information_map(element);
      worst_map = std::max(worst_map, kalscan::up_to_scale(0).defect<kalscan::information_map<double>>(map, converted, {}));
      worst_mobius = std::max(
          worst_mobius, kalscan::up_to_scale(0).defect<kalscan::mobius_map<double>>(precision, precision_map(converted), {}));
    }
  }
  CHECK(worst < 1e-13);
  CHECK(worst_step < 1e-13);
  CHECK(worst_map < 1e-11);
  CHECK(worst_mobius < 1e-11);
}

TEST_CASE_TEMPLATE("a stretch of time, extended step by step, acts as its steps do", T, float, double) {
  std::mt19937_64 engine(9);
  std::uniform_real_distribution<T> unit(0, 1);
  constexpr int steps = 400;
  const std::array<T, 3> regimes[] = {{T(0.95), T(0.05), T(1)}, {T(1), T(0), T(1)},         {T(1), T(1e-3), T(1e-6)},
                                      {T(1), T(1), T(1e6)},     {T(0), T(1), T(1)},         {T(1.02), T(0.1), T(1)},
                                      {T(0.9), T(0), T(0)}};
  for (const auto& regime : regimes) {
    const T a = regime[0], p = regime[1], precision = regime[2];
    CAPTURE(a);
    CAPTURE(p);
    CAPTURE(precision);
    const kalscan::scalar_filter<long double> filter{a, p};
    kalscan::belief<long double> exact{T(0.5), 2};
    kalscan::information_map<T> map = kalscan::information_monoid<T>::identity();
    long double widest = 0;
    for (int t = 0; t < steps; ++t) {
      const T phi = precision * unit(engine), r = phi * (2 * unit(engine) - 1);
      exact = filter.step(exact, {phi, r});
      map = kalscan::extend(map, a, a * a, p, phi, r);
      if (t % 4 == 3) map = kalscan::normalized(map);
      if (t % 4 == 3) CHECK((map.uu >= 1 && map.uu < 2));
      widest = std::max(widest, std::abs(exact.mean));
    }
    const auto after = to_moments(kalscan::act(map, kalscan::homogeneous_belief<T>{1, 2, T(0.5)}));
    const long double bound = steps * std::numeric_limits<T>::epsilon();
    CHECK(std::abs(after.mean - exact.mean) <= bound * widest);
    CHECK(std::abs(after.variance - exact.variance) <= bound * exact.variance);
  }
}

TEST_CASE_TEMPLATE("one step is the paper's, for observations of any weight and beliefs of any width", T, float, double) {
  std::mt19937_64 engine(8);
  double worst = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    const T a = draw::one_in(engine, 4) ? T(1) : draw::log_uniform<T>(engine, -3, 0);
    const T p = draw::one_in(engine, 4) ? T(0) : draw::log_uniform<T>(engine, -8, 2);
    const kalscan::belief<T> start{draw::normal<T>(engine) * draw::log_uniform<T>(engine, -3, 3),
                                   draw::log_uniform<T>(engine, -8, 8)};
    const T phi = draw::log_uniform<T>(engine, -12, 12);
    const kalscan::scalar_observation<T> u{phi, phi * draw::normal<T>(engine)};
    paper exact{1 / static_cast<long double>(start.variance),
                static_cast<long double>(start.mean) / static_cast<long double>(start.variance)};
    exact.step(a, p, u);
    // Belief and observation may contradict each other: then two large numbers leave a small mean.
    worst = std::max(worst, exact.distance_from(kalscan::scalar_filter<T>{a, p}.step(start, u), std::abs(start.mean)));
  }
  CHECK(worst < 8 * static_cast<double>(std::numeric_limits<T>::epsilon()));
}

TEST_CASE_TEMPLATE("a diffuse belief stays until an observation or a forgotten past ends it", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity();
  const kalscan::belief<T> diffuse{T(0), infinity};
  const kalscan::scalar_filter<T> filter{T(0.5), T(0.25)}, forgetful{T(0), T(0.25)};
  CHECK(filter.step(diffuse, {T(0), T(0)}) == diffuse);
  CHECK(filter.step(diffuse, {T(4), T(8)}) == kalscan::belief<T>{T(2), T(0.25)});
  CHECK(forgetful.step(diffuse, {T(0), T(0)}) == kalscan::belief<T>{T(0), T(0.25)});
  const std::vector<kalscan::scalar_observation<T>> inputs{{T(0), T(0)}, {T(4), T(8)}, {T(0), T(0)}, {T(1), T(3)}};
  auto stepped = diffuse;
  auto element = filter.monoid().identity();
  for (const auto& u : inputs) {
    stepped = filter.step(stepped, u);
    element = filter.absorb(element, u);
    CHECK(distance(filter.act(element, diffuse), stepped) < few<T>);
    CHECK(distance(kalscan::act(element, kalscan::information_belief<T>{T(0), T(0)}), stepped) < few<T>);
  }
}

TEST_CASE_TEMPLATE("precision 0 keeps its vector until an observation makes it a mean, in all coordinates", T, float,
                   double) {
  const T infinity = std::numeric_limits<T>::infinity();
  const kalscan::belief<T> improper{T(3), infinity};
  CHECK(to_information(improper) == kalscan::information_belief<T>{T(0), T(3)});
  CHECK(to_moments(to_information(improper)) == improper);
  CHECK(to_moments(kalscan::to_homogeneous(improper)) == improper);
  const kalscan::scalar_filter<T> filter{T(0.5), T(0.25)}, forgetful{T(0), T(0.25)};
  CHECK(filter.step(improper, {T(0), T(0)}) == kalscan::belief<T>{T(6), infinity});
  CHECK(filter.step(improper, {T(4), T(8)}) == kalscan::belief<T>{T(3.5), T(0.25)});
  CHECK(forgetful.step(improper, {T(0), T(0)}) == kalscan::belief<T>{T(0), T(0.25)});
  const kalscan::information_filter<T> homogeneous{T(0.5), T(0.25)};
  const std::vector<kalscan::scalar_observation<T>> inputs{{T(0), T(0)}, {T(0), T(0)}, {T(4), T(8)}, {T(1), T(3)}};
  auto stepped = improper;
  auto x = kalscan::to_homogeneous(improper);
  auto element = filter.monoid().identity();
  auto map = homogeneous.monoid().identity();
  for (const auto& u : inputs) {
    stepped = filter.step(stepped, u);
    element = filter.absorb(element, u);
    map = homogeneous.monoid()(map, homogeneous.lift(u));
    x = homogeneous.step(x, u);
    for (const auto& other : {filter.act(element, improper), to_moments(x),
                              to_moments(homogeneous.act(map, kalscan::to_homogeneous(improper)))}) {
      if (stepped.variance == infinity) CHECK(other == stepped);
      if (stepped.variance < infinity) CHECK(distance(other, stepped) < few<T>);
    }
  }
  // Where a variance leaves the range of the numbers on the way, the vector is what remains of the mean.
  const T huge = std::numeric_limits<T>::max() / 2;
  const kalscan::scalar_filter<T> growing{T(4), T(0)};
  const auto grown = growing.step({huge / 8, huge}, {T(0), T(0)});
  CHECK(grown == kalscan::belief<T>{T(0.125) / T(4), infinity});
  CHECK(growing.act(growing.lift({T(0), T(0)}), {huge / 8, huge}) == grown);
  CHECK(to_moments(kalscan::information_belief<T>{T(1) / huge / 8, T(3)}) == kalscan::belief<T>{T(3), infinity});
}
