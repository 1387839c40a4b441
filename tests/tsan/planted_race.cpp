// SPDX-License-Identifier: MIT
// A race on purpose: the data-race check must report it.
#include <cstdio>

int main() {
  long sum = 0;
// Static: each thread has its share, also where one is done before the others begin.
#pragma omp parallel for schedule(static) num_threads(4)
  for (int i = 0; i < 1000; ++i) sum += i;
  std::printf("%ld\n", sum);
}
