// SPDX-License-Identifier: MIT
// Gaussian-process regression of 24,255 irregular points in a moment: 67 million years of climate, as the oxygen
// isotopes of foraminifera of the deep sea tell it. Of three Matérn covariances, each fitted by maximizing the
// likelihood, the likeliest one is smoothed, with its band. A solver for dense matrices would need 4.7 GB for one of
// 24,255 rows.
// Usage: 13_gaussian_process DATA OUTPUT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <iostream>
#include <kalscan/backend/omp.hpp>
#include <kalscan/kalman/function_filter.hpp>
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

template <template <class> class Matern>
auto model_of(const parameters& p, const points& data) {
  return kalscan::observed_at(Matern<double>{std::exp(p[0]), std::exp(p[1])}, data.time.data(), std::exp(p[2]));
}

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

template <template <class> class Matern>
std::pair<parameters, double> fit(const char* name, const points& data) {
  int calls = 0;
  const auto best = maximize(
      [&](const parameters& p) {
        ++calls;
        return log_likelihood(kalscan::omp{}, model_of<Matern>(p, data), data.value);
      },
      {0, 0, -2});
  const auto& [p, value] = best;
  std::cout << "  " << name << ": log-likelihood " << value << " after " << calls << " calls; deviation "
            << std::exp(p[0] / 2) << " per mil, length " << std::exp(p[1]) << " million years, noise "
            << std::exp(p[2] / 2) << " per mil\n";
  return best;
}

/// Mean and standard deviation of the process at each time, given all points.
struct band {
  std::vector<double> mean, deviation;
};

template <template <class> class Matern>
band smoothed(const parameters& p, const points& data) {
  const auto model = model_of<Matern>(p, data);
  constexpr std::size_t n = decltype(model)::states;
  std::vector<double> means(data.time.size() * n), covariances(data.time.size() * n * n);
  filter(kalscan::omp{}, model, data.value, {.mean = means, .covariance = covariances});
  smooth(kalscan::omp{}, model, data.value, {.mean = means, .covariance = covariances}, {means, covariances});
  band b;
  for (std::size_t t = 0; t < data.time.size(); ++t) {
    b.mean.push_back(means[t * n]);
    b.deviation.push_back(std::sqrt(covariances[t * n * n]));
  }
  return b;
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

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: 13_gaussian_process cenogrid.csv output.csv");
  points data = read_points(argv[1]);
  double average = 0;
  for (const double y : data.value) average += y / static_cast<double>(data.value.size());
  for (double& y : data.value) y -= average;
  std::cout << data.time.size() << " points over " << data.time.back() - data.time.front() << " million years\n";

  const auto half = fit<kalscan::matern12>("Matern 1/2", data);
  const auto three_halves = fit<kalscan::matern32>("Matern 3/2", data);
  const auto five_halves = fit<kalscan::matern52>("Matern 5/2", data);
  const auto best = std::max({half, three_halves, five_halves},
                             [](const auto& x, const auto& y) { return x.second < y.second; });

  const points all = with_grid(data, 0.002);
  const band b = best == half           ? smoothed<kalscan::matern12>(best.first, all)
                 : best == three_halves ? smoothed<kalscan::matern32>(best.first, all)
                                        : smoothed<kalscan::matern52>(best.first, all);
  std::ofstream file(argv[2]);
  if (!file) throw std::runtime_error(std::string("cannot write ") + argv[2]);
  file.precision(10);
  file << "age_ma,observed,mean,deviation\n";
  int within = 0;
  for (std::size_t t = 0; t < all.time.size(); ++t) {
    const double deviation = std::hypot(b.deviation[t], std::exp(best.first[2] / 2));
    if (std::abs(all.value[t] - b.mean[t]) < 1.96 * deviation) ++within;
    file << all.time[t] << ',';
    if (!std::isnan(all.value[t])) file << all.value[t] + average;
    file << ',' << b.mean[t] + average << ',' << b.deviation[t] << '\n';
  }
  const double share = within / static_cast<double>(data.time.size());
  std::cout << "  smoothed at " << all.time.size() << " times; " << 100 * share
            << "% of the points lie within the likeliest one's 95% band with noise\n";
  if (!(share > 0.93 && share < 0.99)) throw std::runtime_error("the band does not fit the points");
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
