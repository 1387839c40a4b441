// SPDX-License-Identifier: MIT
// What the library adds to an ordinary loop: `seq` over a loop written by hand, and `omp` with one thread over `seq`,
// for inclusive scans with five ordinary operators. Prints one row for each operator and length; ends with 1 if a ratio
// exceeds the limit given as argument (none: it only prints).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/matrix.hpp>
#include <kalscan/scan.hpp>
#include <limits>
#include <random>
#include <vector>

namespace {

/// log(sum of exp), as the pair (maximum, sum relative to it).
struct log_sum {
  double maximum, sum;
};
struct log_sum_monoid {
  static log_sum identity() { return {-std::numeric_limits<double>::infinity(), 0}; }
  log_sum operator()(const log_sum& x, const log_sum& y) const {
    if (x.sum == 0) return y;
    if (y.sum == 0) return x;
    const double m = std::max(x.maximum, y.maximum);
    return {m, x.sum * std::exp(x.maximum - m) + y.sum * std::exp(y.maximum - m)};
  }
};

struct place {
  double value;
  std::int64_t index;
};
struct argmax_monoid {
  static place identity() { return {-std::numeric_limits<double>::infinity(), -1}; }
  place operator()(const place& x, const place& y) const { return y.value > x.value ? y : x; }
};

template <class Monoid, class Element>
[[gnu::noinline]] void plain_loop(const Monoid& m, const std::vector<Element>& in, std::vector<Element>& out) {
  Element sum = m.identity();
  for (std::size_t t = 0; t < in.size(); ++t) {
    sum = m(sum, in[t]);
    out[t] = sum;
  }
}
template <class Policy, class Monoid, class Element>
[[gnu::noinline]] void scan(const Policy& p, const Monoid& m, const std::vector<Element>& in,
                            std::vector<Element>& out) {
  kalscan::inclusive_scan(p, m, in, out);
}

/// Seconds a call, of this process alone: it has one thread, and neighbours may have the core meanwhile.
template <class Call>
double time_of(Call call, int calls) {
  const std::clock_t start = std::clock();
  for (int i = 0; i < calls; ++i) call();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / calls;
}

double worst_ratio = 0;

/// The three take turns, so that all meet the same neighbours, which only ever add: the least time of each counts.
template <class Monoid, class Draw>
void compare(const char* name, const Monoid& m, std::size_t n, Draw draw) {
  using element = kalscan::element_t<Monoid>;
  std::mt19937_64 engine(1);
  std::vector<element> in, out(n, m.identity());
  for (std::size_t t = 0; t < n; ++t) in.push_back(draw(engine));
  const auto loop = [&] { plain_loop(m, in, out); };
  const auto seq = [&] { scan(kalscan::seq{}, m, in, out); };
  const auto omp = [&] { scan(kalscan::omp{1}, m, in, out); };
  const int calls = std::max(1, static_cast<int>(3e-4 / std::max(time_of(loop, n < 100000 ? 100 : 1), 1e-7)));
  const int turns = n < 100000 ? 301 : 61;
  double a = 1, b = 1, c = 1;
  for (int turn = 0; turn < turns; ++turn) {
    a = std::min(a, time_of(loop, calls)), b = std::min(b, time_of(seq, calls)), c = std::min(c, time_of(omp, calls));
  }
  const double first = b / a, second = c / b;
  worst_ratio = std::max({worst_ratio, first, second});
  std::printf("%-20s %9zu %11.2f %14.2f %14.2f\n", name, n, 1e9 * a / static_cast<double>(n), first, second);
}

}  // namespace

int main(int argc, char** argv) {
  const auto uniform = [](std::mt19937_64& e, double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(e);
  };
  std::printf("%-20s %9s %11s %14s %14s\n", "operator", "n", "loop, ns/el", "seq / loop", "omp{1} / seq");
  for (const std::size_t n : {std::size_t{1000}, std::size_t{1000000}}) {
    compare("log-sum-exp", log_sum_monoid{}, n, [&](auto& e) { return log_sum{uniform(e, -5, 5), 1}; });
    compare("argmax", argmax_monoid{}, n, [&, i = std::int64_t{0}](auto& e) mutable {
      return place{uniform(e, 0, 1), i++};
    });
    compare("3 x 3 product", kalscan::matrix_monoid<kalscan::plus_times<double>, 3>{}, n, [&](auto& e) {
      kalscan::square_matrix<double, 3> x{};
      for (auto& row : x.entries) {  // rows that sum to 1: products of any length have them, too
        for (double& entry : row) entry = uniform(e, 0, 1);
        const double sum = row[0] + row[1] + row[2];
        for (double& entry : row) entry /= sum;
      }
      return x;
    });
    compare("affine", kalscan::affine_monoid<double>{}, n, [&](auto& e) {
      return kalscan::affine_map<double>{std::exp(uniform(e, -0.01, 0.01)), uniform(e, -1, 1)};
    });
    compare("filtering element", kalscan::filtering_monoid<double>{}, n, [&](auto& e) {
      return kalscan::filtering_element<double>{uniform(e, 0.5, 1), uniform(e, -1, 1), uniform(e, 0, 1),
                                                uniform(e, -1, 1), uniform(e, 0, 1)};
    });
  }
  return argc > 1 && worst_ratio > std::atof(argv[1]) ? 1 : 0;
}
