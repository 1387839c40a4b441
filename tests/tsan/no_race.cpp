// SPDX-License-Identifier: MIT
// Threads that write what another reads only after the barrier at the end of the loop: no race.
#include <vector>

int main() {
  std::vector<long> x(1000, 1), y(1000, 0);
#pragma omp parallel for schedule(dynamic, 1) num_threads(4)
  for (int i = 0; i < 1000; ++i) x[static_cast<std::size_t>(i)] = i;
#pragma omp parallel for schedule(dynamic, 1) num_threads(4)
  for (int i = 0; i < 1000; ++i) y[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(999 - i)];
  return y[0] == 999 ? 0 : 1;
}
