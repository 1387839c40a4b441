// SPDX-License-Identifier: MIT
// With fixed sizes filter and smoother allocate nothing per step: as often for a long series as for a short one. A
// likelihood needs no more memory for a long series, and one step alone allocates nothing.
#include <cstddef>
#include <cstdio>
#include <kalscan/kalscan.hpp>

extern "C" void* __libc_malloc(std::size_t size);

namespace {
long allocations = 0;
std::size_t bytes = 0;
}

extern "C" void* malloc(std::size_t size) {  // glibc lets a program bring its own
  ++allocations;
  bytes += size;
  return __libc_malloc(size);
}

namespace {

template <int N, int M>
kalscan::kalman_model<double, N, M> any_model() {
  const Eigen::Matrix<double, N, N> F = Eigen::Matrix<double, N, N>::Identity() * 0.9, Q = F;
  const Eigen::Matrix<double, M, N> H = Eigen::Matrix<double, M, N>::Ones();
  const Eigen::Matrix<double, M, M> R = Eigen::Matrix<double, M, M>::Identity();
  return {F, Q, H, R, kalscan::gaussian_prior<double, N>::of_first_state(Eigen::Vector<double, N>::Zero(), Q)};
}

template <int N, int M>
long allocations_of(Eigen::Index length) {
  const auto model = any_model<N, M>();
  const kalscan::observations<double, M> y = kalscan::observations<double, M>::Ones(M, length);
  const long before = allocations;
  static_cast<void>(kalscan::smooth(kalscan::seq{}, model, y, {.predictions = true, .innovations = true}));
  return allocations - before;
}

template <int N, int M>
std::size_t likelihood_bytes(Eigen::Index length) {
  const auto model = any_model<N, M>();
  const kalscan::observations<double, M> y = kalscan::observations<double, M>::Ones(M, length);
  const std::size_t before = bytes;
  static_cast<void>(kalscan::log_likelihood(kalscan::seq{}, model, y));
  return bytes - before;
}

template <int N, int M>
long online_allocations() {
  const auto model = any_model<N, M>();
  const kalscan::online_filter steps(model);
  const Eigen::Vector<double, M> y = Eigen::Vector<double, M>::Ones();
  const long before = allocations;
  auto x = steps.start();
  for (std::int64_t t = 0; t < 10; ++t) x = steps.update(steps.predict(x, t), y, t).belief;
  return allocations - before;
}

template <int N, int M>
bool check() {
  const long few = allocations_of<N, M>(10), many = allocations_of<N, M>(10000), online = online_allocations<N, M>();
  const std::size_t small = likelihood_bytes<N, M>(10), large = likelihood_bytes<N, M>(10000);
  std::printf("n = %d, m = %d: %ld allocations for 10 steps, %ld for 10000; likelihood %zu bytes, %zu; online %ld\n", N, M,
              few, many, small, large, online);
  return few == many && few > 0 && small == large && small > 0 && online == 0;
}

}  // namespace

int main() { return check<2, 1>() && check<6, 6>() ? 0 : 1; }
