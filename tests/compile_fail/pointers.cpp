// expect: takes ranges, not iterators: pass std::span\(pointer, n\)
// lines: 25
// SPDX-License-Identifier: MIT
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/scan.hpp>

int main() {
  kalscan::affine_map<double> x[3];
  kalscan::affine_map<double>* first = x;
  kalscan::inclusive_scan(kalscan::seq{}, kalscan::affine_monoid<double>{}, first, first + 3, first);
}
