// SPDX-License-Identifier: MIT
// Which back end for an operator of one's own? Here: count, mean and sum of squared deviations of a stream, up to each
// sample. A template over its numbers, so that results can be held against the same operator in long double.
#include <iostream>
#include <kalscan/compare.hpp>
#include <random>

template <class T>
struct moments {
  T count, mean, squares;
};

template <class T>
struct moments_monoid {
  static moments<T> identity() { return {0, 0, 0}; }
  moments<T> operator()(const moments<T>& x, const moments<T>& y) const {
    const T n = x.count + y.count, d = y.mean - x.mean;
    if (n == 0) return x;
    return {n, x.mean + d * (y.count / n), x.squares + y.squares + d * d * (x.count * y.count / n)};
  }
};
using monoid = moments_monoid<double>;

moments<double> sample(std::mt19937_64& engine) { return {1, std::normal_distribution<double>(20, 5)(engine), 0}; }

int main() {
  const kalscan::back_end<monoid> own{"plain loop", [](const kalscan::scan_call<monoid>& scan) {
                                        auto sum = scan.initial;
                                        for (std::size_t i = 0; i < scan.in.size(); ++i)
                                          scan.out[i] = sum = scan.op(sum, scan.in[i]);
                                      }};
  const auto rows = kalscan::compare(monoid{}, sample, kalscan::relative(1e-12), {1000, 100'000}, {}, {own});
  kalscan::print_table(std::cout, rows);
  for (const auto& row : rows)
    if (row && row.error > 1e-9) return 1;
}
