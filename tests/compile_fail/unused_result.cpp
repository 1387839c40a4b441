// expect: error: ignoring return value
// flags: -Werror=unused-result
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>
#include <vector>

int main() {
  const std::vector<kalscan::affine_map<double>> x(3, {1, 0});
  kalscan::reduce(kalscan::seq{}, kalscan::affine_monoid<double>{}, x);
}
