// SPDX-License-Identifier: MIT
// What the examples print of one series on both back ends.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "series.hpp"

/// How long a call takes, in seconds.
template <class Call>
double seconds(Call call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A time in the unit that suits it, with three digits.
inline std::string readable(double seconds) {
  std::ostringstream text;
  text.precision(3);
  if (seconds < 1e-3) {
    text << 1e6 * seconds << " us";
  } else if (seconds < 1) {
    text << 1e3 * seconds << " ms";
  } else {
    text << seconds << " s";
  }
  return text.str();
}

/// The median, and the fastest: what the machine gives when nothing else wants it.
inline std::string median_and_fastest(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return readable(times[times.size() / 2]) + " (fastest " + readable(times.front()) + ")";
}

/// Smooths on seq and omp, prints the time of each and how far they differ, and returns the result of seq.
template <int N>
kalscan::smoother_result<double, N, 1> smooth_on_both(const kalscan::kalman_model<double, N, 1>& model, const series& s) {
  const kalscan::filter_outputs outputs{.predictions = true};
  const auto length = s.value.cols();
  const auto smooth = [&](auto policy) { return kalscan::smooth(policy, model, s.value, outputs); };
  const auto a = smooth(kalscan::seq{});
  // In three chunks of time, as a long series would be: a short one is split only when told to.
  const auto b = smooth(kalscan::omp{.threads = 2, .chunk = (length + 2) / 3});
  double difference = 0;
  for (Eigen::Index t = 0; t < length; ++t) {
    const auto i = static_cast<std::size_t>(t);
    for (Eigen::Index k = 0; k < a.mean.rows(); ++k) {
      const double deviation = std::sqrt(a.covariance[i](k, k));
      difference = std::max(difference, std::abs(a.mean(k, t) - b.mean(k, t)) / deviation);
    }
  }
  // Timed as a user would call it: omp decides by itself whether time is worth splitting. In turn, so that whatever
  // else runs on this machine disturbs both alike.
  constexpr int calls = 31;
  std::vector<double> seq_times, omp_times;
  for (int i = 0; i < calls; ++i) {
    seq_times.push_back(seconds([&] { smooth(kalscan::seq{}); }));
    omp_times.push_back(seconds([&] { smooth(kalscan::omp{.threads = 2}); }));
  }
  std::cout << "  smoothed on seq in " << median_and_fastest(seq_times) << ", on omp with at most 2 threads in "
            << median_and_fastest(omp_times) << ": medians of " << calls << " calls\n"
            << "  split into three chunks of time, it differs by at most " << difference << " standard deviations\n";
  if (!(difference < 1e-6)) throw std::runtime_error("seq and omp disagree");
  return a;
}

inline std::ofstream create(const std::string& path) {
  std::ofstream file(path);
  if (!file) throw std::runtime_error("cannot write " + path);
  file.precision(10);
  return file;
}
