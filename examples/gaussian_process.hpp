// SPDX-License-Identifier: MIT
// Gaussian-process regression of a long irregular series: of three Matérn covariances, each fitted by maximizing the
// likelihood, the likeliest one is smoothed, with its band. What computes is a parameter.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <iostream>
#include <kalscan/kalman/functions/irregular.hpp>
#include <kalscan/kalman/functions/matern.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// Observations in order of time; NaN where only the process is asked for.
struct points {
  std::vector<double> time, value;
};

points read_points(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::string line;
  std::getline(file, line);
  points p;
  while (std::getline(file, line)) {
    const auto comma = line.find(',');
    if (comma == std::string::npos) throw std::runtime_error(path + ": no comma in: " + line);
    p.time.push_back(std::stod(line));
    p.value.push_back(std::stod(line.substr(comma + 1)));
  }
  return p;
}

/// The logarithms of the process's variance, its length in time, and the variance of the noise.
using parameters = std::array<double, 3>;

/// The process observed at `times`, which lie where it is computed.
template <template <class> class Matern>
auto model_of(const parameters& p, const double* times) {
  return kalscan::observed_at(Matern<double>{std::exp(p[0]), std::exp(p[1])}, times, std::exp(p[2]));
}

/// Mean and standard deviation of the process at each time, given all points.
struct band {
  std::vector<double> mean, deviation;

  /// From what a smoother wrote: the first of n states at each time.
  band(const std::vector<double>& means, const std::vector<double>& covariances, std::size_t n) {
    for (std::size_t t = 0; t < means.size() / n; ++t) {
      mean.push_back(means[t * n]);
      deviation.push_back(std::sqrt(covariances[t * n * n]));
    }
  }
};

/// The point that maximizes f, by the simplex of Nelder and Mead (1965).
template <class F>
std::pair<parameters, double> maximize(F f, const parameters& start) {
  struct vertex {
    parameters at;
    double value;
  };
  std::array<vertex, 4> simplex;
  for (std::size_t i = 0; i < 4; ++i) {
    simplex[i].at = start;
    if (i > 0) simplex[i].at[i - 1] += 1;
    simplex[i].value = f(simplex[i].at);
  }
  const auto between = [](const parameters& from, const parameters& to, double share) {
    parameters x;
    for (std::size_t i = 0; i < 3; ++i) x[i] = from[i] + share * (to[i] - from[i]);
    return x;
  };
  for (int step = 0; step < 200; ++step) {
    std::sort(simplex.begin(), simplex.end(), [](const vertex& x, const vertex& y) { return x.value > y.value; });
    if (simplex[0].value - simplex[3].value < 1e-3) break;
    parameters middle;
    for (std::size_t i = 0; i < 3; ++i) middle[i] = (simplex[0].at[i] + simplex[1].at[i] + simplex[2].at[i]) / 3;
    const auto tried = [&](double share) {
      const parameters x = between(middle, simplex[3].at, share);
      return vertex{x, f(x)};
    };
    vertex next = tried(-1);
    if (next.value > simplex[0].value) {
      if (const vertex further = tried(-2); further.value > next.value) next = further;
    } else if (next.value <= simplex[2].value) {
      next = tried(next.value > simplex[3].value ? -0.5 : 0.5);
    }
    if (next.value > simplex[3].value) {
      simplex[3] = next;
    } else {
      for (std::size_t i = 1; i < 4; ++i) {
        simplex[i].at = between(simplex[0].at, simplex[i].at, 0.5);
        simplex[i].value = f(simplex[i].at);
      }
    }
  }
  return {simplex[0].at, simplex[0].value};
}

template <template <class> class Matern, class Series>
std::pair<parameters, double> fit(const char* name, Series& series) {
  int calls = 0;
  const auto best = maximize(
      [&](const parameters& p) {
        ++calls;
        return series.template log_likelihood<Matern>(p);
      },
      {0, 0, -2});
  const auto& [p, value] = best;
  std::cout << "  " << name << ": log-likelihood " << value << " after " << calls << " calls; deviation "
            << std::exp(p[0] / 2) << " per mil, length " << std::exp(p[1]) << " million years, noise "
            << std::exp(p[2] / 2) << " per mil\n";
  return best;
}

/// The points, and between them times where nothing is observed, `apart` from each other.
points with_grid(const points& data, double apart) {
  points all;
  double next = data.time.front();
  for (std::size_t t = 0; t < data.time.size(); ++t) {
    for (; next < data.time[t]; next += apart) {
      all.time.push_back(next);
      all.value.push_back(std::numeric_limits<double>::quiet_NaN());
    }
    all.time.push_back(data.time[t]);
    all.value.push_back(data.value[t]);
  }
  return all;
}

/// Fits and smooths the points in the file `data`, and writes the band to `output` unless that is empty. A Series is
/// made from points and has log_likelihood<Matern>(parameters) and smoothed<Matern>(parameters).
template <class Series>
void gaussian_process(const std::string& data, const std::string& output) {
  points observed = read_points(data);
  double average = 0;
  for (const double y : observed.value) average += y / static_cast<double>(observed.value.size());
  for (double& y : observed.value) y -= average;
  std::cout << observed.time.size() << " points over " << observed.time.back() - observed.time.front()
            << " million years\n";

  Series series(observed);
  const auto half = fit<kalscan::matern12>("Matern 1/2", series);
  const auto three_halves = fit<kalscan::matern32>("Matern 3/2", series);
  const auto five_halves = fit<kalscan::matern52>("Matern 5/2", series);
  const auto best = std::max({half, three_halves, five_halves},
                             [](const auto& x, const auto& y) { return x.second < y.second; });

  const points all = with_grid(observed, 0.002);
  Series finer(all);
  const band b = best == half           ? finer.template smoothed<kalscan::matern12>(best.first)
                 : best == three_halves ? finer.template smoothed<kalscan::matern32>(best.first)
                                        : finer.template smoothed<kalscan::matern52>(best.first);
  int within = 0;
  for (std::size_t t = 0; t < all.time.size(); ++t) {
    const double deviation = std::hypot(b.deviation[t], std::exp(best.first[2] / 2));
    if (std::abs(all.value[t] - b.mean[t]) < 1.96 * deviation) ++within;
  }
  const double share = within / static_cast<double>(observed.time.size());
  std::cout << "  smoothed at " << all.time.size() << " times; " << 100 * share
            << "% of the points lie within the likeliest one's 95% band with noise\n";
  if (!(share > 0.93 && share < 0.99)) throw std::runtime_error("the band does not fit the points");
  if (output.empty()) return;
  std::ofstream file(output);
  if (!file) throw std::runtime_error("cannot write " + output);
  file.precision(10);
  file << "age_ma,observed,mean,deviation\n";
  for (std::size_t t = 0; t < all.time.size(); ++t) {
    file << all.time[t] << ',';
    if (!std::isnan(all.value[t])) file << all.value[t] + average;
    file << ',' << b.mean[t] + average << ',' << b.deviation[t] << '\n';
  }
}
