// expect: results would lose digits in the range that is written: give it a range
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/seq.hpp>
#include <kalscan/scan.hpp>
#include <vector>

struct plus {
  static double identity() { return 0; }
  double operator()(double earlier, double later) const { return earlier + later; }
};

int main() {
  std::vector<double> x(3, 0.5);
  std::vector<int> sums(3);
  kalscan::inclusive_scan(kalscan::seq{}, plus{}, x, sums);
}
