// SPDX-License-Identifier: MIT
#include "unit.hpp"

#include <kalscan/compare.hpp>
#include <kalscan/monoids/affine.hpp>

namespace {

std::string all_back_ends() {
  using monoid = kalscan::affine_monoid<unsigned>;
  const auto draw = [](std::mt19937_64&) { return kalscan::affine_map<unsigned>{1, 1}; };
  const kalscan::compare_options quick{.repetitions = 3, .sample_seconds = 0, .laws = {.trials = 1}};
  std::string names = "threads";
  for (const int n : kalscan::compared_threads()) names += n > 1 ? " more" : " 1";
  for (const auto& row : kalscan::compare(monoid{}, draw, kalscan::exact, {10}, quick)) {
    if (row.back_end.rfind("omp", 0) == 0) names += "; " + (row ? "ran" : row.missing);
  }
  return names;
}

}  // namespace

#if defined(_OPENMP)
std::string with_openmp() { return all_back_ends(); }
#else
std::string without_openmp() { return all_back_ends(); }
#endif
