// expect: kalscan::omp needs OpenMP: compile with -fopenmp, or link kalscan::omp
// SPDX-License-Identifier: MIT
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>
#include <vector>

int main() {
  std::vector<kalscan::affine_map<double>> x(3, {1, 0});
  kalscan::inclusive_scan(kalscan::omp{2}, kalscan::affine_monoid<double>{}, x, x);
}
