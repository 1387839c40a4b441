// expect: the first argument is the policy: pass kalscan::seq
// lines: 25
// SPDX-License-Identifier: MIT
#include <execution>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>
#include <vector>

int main() {
  std::vector<kalscan::affine_map<double>> x(3);
  kalscan::inclusive_scan(std::execution::par, kalscan::affine_monoid<double>{}, x, x);
}
