// SPDX-License-Identifier: MIT
// What the examples print of one series on both back ends.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <stdexcept>
#include <string>

#include "series.hpp"

/// The median time of 15 calls, in milliseconds.
template <class Call>
double milliseconds(Call call) {
  std::vector<double> times;
  for (int i = 0; i < 15; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 7, times.end());
  return times[7];
}

/// Smooths on seq and omp, prints the time of each and how far they differ, and returns the result of seq.
template <int N>
kalscan::smoother_result<double, N, 1> smooth_on_both(const kalscan::kalman_model<double, N, 1>& model, const series& s) {
  const kalscan::filter_outputs outputs{.predictions = true};
  kalscan::smoother_result<double, N, 1> a, b;
  // A short series is split into chunks only when told to.
  const kalscan::omp parallel{.threads = 2, .chunk = (s.value.cols() + 2) / 3};
  const double seq_time = milliseconds([&] { a = kalscan::smooth(kalscan::seq{}, model, s.value, outputs); });
  const double omp_time = milliseconds([&] { b = kalscan::smooth(parallel, model, s.value, outputs); });
  double difference = 0;
  for (Eigen::Index t = 0; t < s.value.cols(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    for (Eigen::Index k = 0; k < a.mean.rows(); ++k) {
      const double deviation = std::sqrt(a.covariance[i](k, k));
      difference = std::max(difference, std::abs(a.mean(k, t) - b.mean(k, t)) / deviation);
    }
  }
  std::cout << "  smoothed on seq in " << seq_time << " ms, on omp with 2 threads in " << omp_time << " ms\n"
            << "  they differ by at most " << difference << " standard deviations\n";
  if (!(difference < 1e-6)) throw std::runtime_error("seq and omp disagree");
  return a;
}

inline std::ofstream create(const std::string& path) {
  std::ofstream file(path);
  if (!file) throw std::runtime_error("cannot write " + path);
  file.precision(10);
  return file;
}
