// SPDX-License-Identifier: MIT
// The word problem of A5, the smallest group that no chain of commuting steps can follow: which of its 60 elements is
// the product of all that were read so far? As rotations of an icosahedron they turn a point to 60 places.
#pragma once

#include <cmath>
#include <cstddef>
#include <kalscan/monoids/rotation.hpp>
#include <random>
#include <vector>

struct word_problem {
  std::vector<kalscan::quaternion<double>> group;  // a rotation each, the identity first
  kalscan::vector3<double> point{0.2, 0.45, 0.87};
  std::vector<kalscan::vector3<double>> places;  // of the point, turned by each element
  std::vector<float> letters;                    // [time, 4], the rotation read
  std::vector<float> readings;                   // [time, 3], where the point then is, with noise of deviation 1/2
  std::vector<std::size_t> answer;               // [time], the product of the letters up to this one

  explicit word_problem(std::size_t length, std::uint64_t seed = 1) {
    const double golden = (1 + std::sqrt(5.0)) / 2, half = 0.5;
    // A fifth of a turn about a vertex, a third of a turn about a face: these two make all.
    const double tip = std::sqrt(golden * golden + 1), fifth = std::acos(-1.0) / 5;
    const kalscan::quaternion<double> generators[] = {
        {std::cos(fifth), 0, std::sin(fifth) / tip, golden * std::sin(fifth) / tip}, {half, half, half, half}};
    group.push_back(kalscan::rotation_monoid<double>::identity());
    for (std::size_t i = 0; i < group.size() && group.size() <= 60; ++i) {
      for (const auto& g : generators) {
        const auto product = g * group[i];
        bool known = false;
        for (const auto& x : group) known = known || std::abs(inner(x, product)) > 1 - 1e-9;
        if (!known) group.push_back(product);
      }
    }
    for (const auto& g : group) places.push_back(kalscan::rotated(g, point));

    std::mt19937_64 engine(seed);
    std::normal_distribution<double> noise(0, 0.5);
    kalscan::quaternion<double> product = group.front();
    for (std::size_t t = 0; t < length; ++t) {
      const auto& letter = group[engine() % group.size()];
      product = kalscan::rotation_monoid<double>{}(product, letter);
      for (const double x : {letter.w, letter.x, letter.y, letter.z}) letters.push_back(static_cast<float>(x));
      const auto place = kalscan::rotated(product, point);
      for (const double x : {place.x, place.y, place.z}) readings.push_back(static_cast<float>(x + noise(engine)));
      answer.push_back(nearest(place));
    }
  }

  std::size_t nearest(const kalscan::vector3<double>& x) const {
    std::size_t best = 0;
    double least = 1e300;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto d = x + -1.0 * places[i];
      if (kalscan::dot(d, d) < least) least = kalscan::dot(d, d), best = i;
    }
    return best;
  }
  /// How many of the means [time, 3] from step `first` on are nearest to another place than the right one.
  template <class T>
  std::size_t errors(const std::vector<T>& means, std::size_t first) const {
    std::size_t wrong = 0;
    for (std::size_t t = first; t < answer.size(); ++t)
      wrong += nearest({means[3 * t], means[3 * t + 1], means[3 * t + 2]}) != answer[t];
    return wrong;
  }

 private:
  static double inner(const kalscan::quaternion<double>& r, const kalscan::quaternion<double>& s) {
    return r.w * s.w + r.x * s.x + r.y * s.y + r.z * s.z;
  }
};
