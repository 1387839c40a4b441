// SPDX-License-Identifier: MIT
#include <iostream>

#include "unit.hpp"

int main() {
  const std::string with = with_openmp(), without = without_openmp();
  std::cout << "with OpenMP:    " << with << "\nwithout OpenMP: " << without << '\n';
  const bool right = without == "threads 1; absent: compiled without OpenMP" &&
                     with.find("absent") == std::string::npos && with.find("; ran") != std::string::npos;
  return right ? 0 : 1;
}
