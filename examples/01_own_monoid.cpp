// SPDX-License-Identifier: MIT
// An operator of one's own: the waiting time in a queue, w' = max(0, w + service - gap), for all customers in parallel.
// Each customer maps w to max(w + shift, floor); such maps compose, and the order matters.
#include <algorithm>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <random>
#include <vector>

struct wait_map {
  long shift, floor;
  bool operator==(const wait_map&) const = default;
};

struct queue_monoid {
  static wait_map identity() { return {0, -1'000'000'000'000}; }  // no floor
  wait_map operator()(const wait_map& earlier, const wait_map& later) const {
    return {earlier.shift + later.shift, std::max(earlier.floor + later.shift, later.floor)};
  }
};

wait_map customer(std::mt19937_64& engine) {
  const long service = std::uniform_int_distribution<long>(0, 99)(engine);
  const long gap = std::uniform_int_distribution<long>(0, 101)(engine);
  return {service - gap, 0};
}

int main() {
  const auto laws = kalscan::check_monoid(queue_monoid{}, customer, kalscan::exact);
  if (!laws) return std::cerr << laws.message(), 1;

  std::mt19937_64 engine(1);
  std::vector<wait_map> customers(1'000'000), waits(customers.size()), check(customers.size());
  for (wait_map& c : customers) c = customer(engine);
  const wait_map day = kalscan::inclusive_scan(kalscan::omp{}, queue_monoid{}, customers, waits);
  kalscan::inclusive_scan(kalscan::seq{}, queue_monoid{}, customers, check);
  std::cout << "the last of a million customers waits " << std::max(day.shift, day.floor) << '\n';
  return waits == check ? 0 : 1;
}
