// SPDX-License-Identifier: MIT
// Random numbers for the law tests.
#pragma once

#include <cmath>
#include <cstddef>
#include <kalscan/laws/report.hpp>
#include <random>

#include "../instrument.hpp"

namespace draw {

template <class T>
T normal(std::mt19937_64& engine) {
  return std::normal_distribution<T>()(engine);
}

template <class T>
T uniform(std::mt19937_64& engine, T low, T high) {
  return std::uniform_real_distribution<T>(low, high)(engine);
}

/// 10^low to 10^high, uniform in the exponent.
template <class T>
T log_uniform(std::mt19937_64& engine, T low, T high) {
  return std::pow(T(10), uniform(engine, low, high));
}

inline bool one_in(std::mt19937_64& engine, unsigned n) { return engine() % n == 0; }

}  // namespace draw

/// Of laws that hold: trials as many as users have, fewer under an instrument.
inline const kalscan::law_options usual{.trials = unless_slow<std::size_t>(kalscan::law_options{}.trials, 100)};
