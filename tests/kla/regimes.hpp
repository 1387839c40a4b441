// SPDX-License-Identifier: MIT
// The regimes of Kalman Linear Attention, and the paper's recurrence in information form and long double as their truth.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "problem.hpp"

namespace kla_test {

using kalscan::kla;


/// lambda' = lambda / (a^2 + p lambda) + phi and eta' = a eta / (a^2 + p lambda) + r (arXiv 2602.10743), as it stands
/// there; where a = 0 the state before is forgotten and the fraction 0 / 0 is the prediction's 1 / p. A precision
/// without bound (a = 0 and p = 0, or a point prior) is the point 0, until it is.
struct paper_filter {
  long double lambda, eta;
  bool point = false;

  void step(long double a, long double p, long double phi, long double r) {
    const long double spread = a * a + p * lambda;
    if (a == 0) {
      point = p == 0;
      lambda = point ? 0 : 1 / p + phi, eta = r;
    } else if (point) {
      point = p == 0;
      if (!point) lambda = 1 / p + phi, eta = r;
    } else {
      eta = a * eta / spread + r;
      lambda = lambda / spread + phi;
    }
  }
  long double mean() const { return point ? 0 : eta / lambda; }
  long double variance() const { return point ? 0 : 1 / lambda; }
};

struct regime {
  const char* name;
  double a, p, least_phi, most_phi, largest_r;
  double gaps = 0;        // the share of time, in long stretches, in which nothing is observed
  bool bounded = true;    // by 1e-5; elsewhere by what the sequential form loses
  bool one_sign = false;  // of r
};

inline const std::vector<regime> regimes = {
    {"typical", 0.9, 0.1, 1e-2, 1e1, 3},
    {"slow decay", 0.99999, 1e-8, 1e-2, 1e1, 3, 0, false},
    {"slow decay, rarely observed", 0.99999, 1e-8, 1e-2, 1e1, 3, 0.99, false},
    {"fast decay, a = 1e-3", 1e-3, 0.5, 1e-2, 1e1, 3},
    {"fast decay, a = 1e-20", 1e-20, 0.5, 1e-2, 1e1, 3},
    {"no memory, a = 0", 0, 0.5, 1e-2, 1e1, 3},
    {"nothing at all, a = p = 0", 0, 0, 1e-2, 1e1, 3},
    {"no noise, p = 0", 0.9, 0, 1e-2, 1e1, 3},
    {"no noise, no decay", 1, 0, 1e-2, 1e1, 3, 0, false},
    {"long gaps", 0.9, 0.1, 1e-2, 1e1, 3, 0.9},
    {"information 1e-12 to 1e12", 0.9, 0.1, 1e-12, 1e12, 3},
    {"information 1e-12", 0.99, 1e-3, 1e-12, 1e-11, 3, 0, false},  // a variance of 1e12 is forgotten in 1700 steps
    {"information 1e12", 0.99, 1e-3, 1e11, 1e12, 3},
    {"r to 1e6", 0.9, 0.1, 1e-2, 1e1, 1e6, 0, true, true},
    {"r of either sign to 1e6", 0.9, 0.1, 1e-2, 1e1, 1e6, 0,
     false},  // means of 1e6 that cancel, to within their rounding
};

struct errors {
  double y = 0, yvar = 0;
  bool finite = true;
};

/// k = 1 and q = 1 in one state, so that y and yvar are a lane's mean and variance. The oracle gets the float inputs.
struct lanes {
  problem<kla, float> p;
  std::vector<std::vector<paper_filter>> truth;  // [channel][time]

  lanes(const regime& r, std::int64_t L, double prior_precision, std::uint64_t seed) {
    constexpr std::int64_t C = 5;
    p = random_problem<kla, float>(1, L, C, 1, seed);
    std::mt19937_64 engine(seed);
    std::uniform_real_distribution<double> u(0, 1);
    p.in[2].each([](float& x) { x = 1; });
    p.in[3].each([](float& x) { x = 1; });
    p.in[4].each([&](float& x) { x = static_cast<float>(r.a); });
    p.in[5].each([&](float& x) { x = static_cast<float>(r.p); });
    const float variance =
        prior_precision == 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(1 / prior_precision);
    p.initial[0].each([&](float& x) { x = prior_precision == 0 ? 0 : static_cast<float>(u(engine)); });
    p.initial[1].each([&](float& x) { x = variance; });
    for (std::int64_t m = 0; m < C; ++m) {
      truth.emplace_back();
      paper_filter f{prior_precision == 0 ? 0 : 1 / static_cast<long double>(variance), 0};
      f.eta = f.lambda * p.initial[0].view()(0, 0, m, 0);
      bool gap = false;
      for (std::int64_t t = 0; t < L; ++t) {
        if (t % 100 == 0) gap = u(engine) < r.gaps && t > 0;
        float& Lambda = p.in[1].view()(0, t, m, 0);
        float& v = p.in[0].view()(0, t, m, 0);
        Lambda = gap ? 0 : static_cast<float>(r.least_phi * std::pow(r.most_phi / r.least_phi, u(engine)));
        v = Lambda > 0 ? static_cast<float>(r.largest_r * (r.one_sign ? u(engine) : 2 * u(engine) - 1) /
                                            (r.largest_r > 1e3 ? static_cast<double>(Lambda) : 1))
                       : 0;
        f.step(static_cast<float>(r.a), static_cast<float>(r.p), Lambda, static_cast<long double>(v) * Lambda);
        truth.back().push_back(f);
      }
    }
  }

  template <class T>
  errors of(const std::vector<array<T>>& out) const {
    errors e;
    for (std::size_t m = 0; m < truth.size(); ++m) {
      for (std::size_t t = 0; t < truth[m].size(); ++t) {
        const auto i = static_cast<std::int64_t>(t), c = static_cast<std::int64_t>(m);
        const auto y = static_cast<double>(out[0].view()(0, i, c, 0)),
                   yvar = static_cast<double>(out[1].view()(0, i, c, 0));
        const auto mean = static_cast<double>(truth[m][t].mean()),
                   variance = static_cast<double>(truth[m][t].variance());
        const double scale = std::sqrt(variance) + std::abs(mean);
        e.finite = e.finite && std::isfinite(y) && std::isfinite(yvar);
        constexpr double range = 1e-35;  // what is smaller, float keeps with few digits or not at all
        e.y = std::max(e.y, std::abs(y - mean) / (scale + range));
        e.yvar = std::max(e.yvar, std::abs(yvar - variance) / (variance + range));
      }
    }
    return e;
  }
};

}  // namespace kla_test
