// SPDX-License-Identifier: MIT
// Gaussian-process regression of 24,255 irregular points in a moment: 67 million years of climate, as the oxygen
// isotopes of foraminifera of the deep sea tell it. A solver for dense matrices would need 4.7 GB for one of 24,255
// rows.
// Usage: 13_gaussian_process DATA OUTPUT
#include "gaussian_process.hpp"

#include <cstddef>
#include <exception>
#include <iostream>
#include <kalscan/backend/omp.hpp>
#include <kalscan/kalman/function_filter.hpp>
#include <stdexcept>
#include <vector>

/// Points on the host.
struct host_series {
  explicit host_series(const points& data) : p(data) {}

  template <template <class> class Matern>
  double log_likelihood(const parameters& at) const {
    return kalscan::log_likelihood(kalscan::omp{}, model_of<Matern>(at, p.time.data()), p.value);
  }
  template <template <class> class Matern>
  band smoothed(const parameters& at) const {
    const auto model = model_of<Matern>(at, p.time.data());
    constexpr std::size_t n = decltype(model)::states;
    std::vector<double> means(p.time.size() * n), covariances(p.time.size() * n * n);
    kalscan::filter(kalscan::omp{}, model, p.value, {.mean = means, .covariance = covariances});
    kalscan::smooth(kalscan::omp{}, model, p.value, {.mean = means, .covariance = covariances}, {means, covariances});
    return {means, covariances, n};
  }

  const points& p;
};

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: 13_gaussian_process cenogrid.csv output.csv");
  gaussian_process<host_series>(argv[1], argv[2]);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
