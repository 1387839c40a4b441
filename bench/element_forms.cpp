// SPDX-License-Identifier: MIT
// Which element should the scalar Kalman filter be scanned with? The error of each form, over the regimes of KLA's
// tests, in float and double, by a balanced tree and by chunks of time, against the paper's recurrence in long double.
//
// Usage: bench_element_forms [--quick] [--map=FILE] [--lengths=FILE]
#include "element_forms.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "../tests/kla/regimes.hpp"

namespace {

using kla_test::lanes;
using kla_test::regime;

enum class order { tree, chunks };
constexpr std::int64_t chunk = 256;

/// A work-efficient balanced tree: neighbours are combined, the half as many are scanned, and the rest is filled in.
template <class M, class E>
std::vector<E> tree_scan(const M& m, const std::vector<E>& x) {
  if (x.size() < 2) return x;
  std::vector<E> pairs, all;
  for (std::size_t i = 0; i + 1 < x.size(); i += 2) pairs.push_back(m(x[i], x[i + 1]));
  pairs = tree_scan(m, pairs);
  all.push_back(x[0]);
  for (std::size_t i = 1; i < x.size(); ++i) all.push_back(i % 2 == 1 ? pairs[i / 2] : m(pairs[i / 2 - 1], x[i]));
  return all;
}

template <class M, class E>
std::vector<E> scan(const M& m, const std::vector<E>& x, order by) {
  if (by == order::tree) return tree_scan(m, x);
  std::vector<E> all(x.size(), m.identity());
  kalscan::inclusive_scan(kalscan::omp{1, chunk}, m, x, all);
  return all;
}

/// The worst error of a lane's means, relative to standard deviation plus |mean|, and of its variances, relative;
/// infinite where a number is not finite.
template <class Beliefs>
double error_of(const Beliefs& found, const std::vector<kla_test::paper_filter>& truth) {
  long double worst = 0;
  for (std::size_t t = 0; t < truth.size(); ++t) {
    const long double mean = truth[t].mean(), variance = truth[t].variance();
    if (!std::isfinite(mean) || !std::isfinite(variance)) break;  // without noise, precision outgrows long double too
    constexpr long double range = 1e-35L;  // as in the tests: what is smaller, float keeps with few digits
    const auto [m, v] = found[t];
    const long double e = std::max(std::abs(m - mean) / (std::sqrt(variance) + std::abs(mean) + range),
                                   std::abs(v - variance) / (variance + range));
    if (!std::isfinite(e)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, e);
  }
  return static_cast<double>(worst);
}

/// The beliefs of one lane, by one form: `a`, `p`, a belief with this precision before, observations.
template <class T>
struct lane {
  T a, p;
  kalscan::information_belief<T> before;
  std::vector<kalscan::scalar_observation<T>> observed;
};

template <class T>
lane<T> lane_of(const lanes& x, std::int64_t channel) {
  const auto at = [&](std::size_t input, std::int64_t t) {
    return static_cast<T>(x.p.in[input].view()(0, input < 2 ? t : 0, input < 2 ? channel : 0, 0));
  };
  const auto variance = static_cast<T>(x.p.initial[1].view()(0, 0, channel, 0));
  const T precision = T(1) / variance;
  lane<T> result{
      at(4, 0), at(5, 0), {precision, precision * static_cast<T>(x.p.initial[0].view()(0, 0, channel, 0))}, {}};
  for (std::int64_t t = 0; t < x.p.shape.time; ++t) result.observed.push_back({at(1, t), at(0, t) * at(1, t)});
  return result;
}

template <class Form, class T>
double worst_error(const regime& r, std::int64_t length, double prior, order by, std::uint64_t seed) {
  const lanes x(r, length, prior, seed);
  double worst = 0;
  for (std::size_t m = 0; m < x.truth.size(); ++m) {
    const auto one = lane_of<T>(x, static_cast<std::int64_t>(m));
    const auto found =
        Form::beliefs(one, [by](const auto& monoid, const auto& elements) { return scan(monoid, elements, by); });
    worst = std::max(worst, error_of(found, x.truth[m]));
  }
  return worst;
}

struct column {
  const char *form, *short_name, *type, *association;
  double (*error)(const regime&, std::int64_t length, double prior_precision, std::uint64_t seed);
};

template <class Form, class T, order By>
column column_of(const char* type, const char* association) {
  return {Form::name, Form::short_name, type, association,
          [](const regime& r, std::int64_t length, double prior, std::uint64_t seed) {
            return worst_error<Form, T>(r, length, prior, By, seed);
          }};
}

template <class T>
std::vector<column> columns_of(const char* type) {
  std::vector<column> all{column_of<forms::sequential, T, order::chunks>(type, "in order")};
  const auto add = [&]<class Form>(Form) {
    all.push_back(column_of<Form, T, order::tree>(type, "tree"));
    all.push_back(column_of<Form, T, order::chunks>(type, "chunks"));
  };
  add(forms::filtering{}), add(forms::information{}), add(forms::mobius_by_trace{}), add(forms::mobius_in_logs{});
  return all;
}

/// The worst over priors from none to a point, as in the tests: the longest series with prior precision 1.
double worst_of_priors(const column& c, const regime& r, std::int64_t longest, std::uint64_t seed) {
  double worst = c.error(r, longest, 1, seed);
  for (const double prior : {0.0, 1e-6, 1.0, 1e12}) worst = std::max(worst, c.error(r, 1000, prior, ++seed));
  return worst;
}

void print_map(const std::vector<std::vector<column>>& types, std::int64_t longest, std::ostream& file) {
  std::printf("largest relative error of means and variances, up to %lld steps\n", static_cast<long long>(longest));
  file << "regime;form;type;association;error\n";
  for (const auto& columns : types) {
    std::printf("\n%-27s", columns[0].type);
    for (const auto& c : columns) std::printf(" %7s", c.short_name);
    std::printf("\n%-27s", "");
    for (const auto& c : columns) std::printf(" %7s", c.association);
    std::printf("\n");
    std::uint64_t seed = 0;
    for (const regime& r : kla_test::regimes) {
      std::printf("%-27.27s", r.name);
      seed += 10;
      for (const auto& c : columns) {
        const double e = worst_of_priors(c, r, longest, seed);
        std::printf(" %7.0e", e);
        file << r.name << ';' << c.form << ';' << c.type << ';' << c.association << ';' << e << '\n';
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
}

void write_lengths(const std::vector<std::vector<column>>& types, std::int64_t longest, std::ostream& file) {
  file << "regime;form;type;association;length;error\n";
  for (const auto& r : kla_test::regimes) {
    if (std::string(r.name) != "typical" && std::string(r.name) != "slow decay") continue;
    for (const auto& columns : types) {
      for (const auto& c : columns) {
        for (std::int64_t n = 10; n <= longest; n *= 10) {
          file << r.name << ';' << c.form << ';' << c.type << ';' << c.association << ';' << n << ';'
               << c.error(r, n, 1, 7) << '\n';
        }
      }
    }
  }
}

std::ofstream create(const char* path) {
  std::ofstream file(path);
  if (!file) throw std::runtime_error(std::string("cannot write ") + path);
  return file;
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = false;
  const char *map = nullptr, *lengths = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
    } else if (std::strncmp(argv[i], "--map=", 6) == 0) {
      map = argv[i] + 6;
    } else if (std::strncmp(argv[i], "--lengths=", 10) == 0) {
      lengths = argv[i] + 10;
    } else {
      return std::cerr << "usage: bench_element_forms [--quick] [--map=FILE] [--lengths=FILE]\n", 2;
    }
  }
  const std::vector types{columns_of<float>("float"), columns_of<double>("double")};
  std::ofstream map_file, length_file;
  if (map) map_file = create(map);
  print_map(types, quick ? 10'000 : 100'000, map_file);
  if (lengths) {
    length_file = create(lengths);
    write_lengths(types, quick ? 100'000 : 1'000'000, length_file);
  }
}
