// expect: the second argument is no recurrence: give it
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>
#include <vector>

struct counter {  // no monoid(), lift(), act()
  using state_type = int;
  using input_type = int;
  int step(int state, int) const { return state + 1; }
};

int main() {
  std::vector<int> x(3, 1);
  kalscan::scan_states(kalscan::seq{}, counter{}, x, x, 0);
}
