// expect: the second argument is no monoid: give it
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>
#include <vector>

struct plus {  // no identity()
  int operator()(int earlier, int later) const { return earlier + later; }
};

int main() {
  std::vector<int> x(3, 1);
  kalscan::inclusive_scan(kalscan::seq{}, plus{}, x, x);
}
