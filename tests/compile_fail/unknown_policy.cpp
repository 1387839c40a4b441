// expect: the first argument is the policy: pass kalscan::seq
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>
#include <vector>

int main() {
  std::vector<kalscan::affine_map<double>> x(3, {1, 0});
  kalscan::inclusive_scan(4, kalscan::affine_monoid<double>{}, x, x);
}
