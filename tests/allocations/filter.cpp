// SPDX-License-Identifier: MIT
// With fixed sizes filter and smoother allocate nothing per step: as often for a long series as for a short one.
#include <cstddef>
#include <cstdio>
#include <kalscan/kalscan.hpp>

extern "C" void* __libc_malloc(std::size_t size);

namespace {
long allocations = 0;
}

extern "C" void* malloc(std::size_t size) {  // glibc lets a program bring its own
  ++allocations;
  return __libc_malloc(size);
}

namespace {

template <int N, int M>
long allocations_of(Eigen::Index length) {
  const Eigen::Matrix<double, N, N> F = Eigen::Matrix<double, N, N>::Identity() * 0.9, Q = F;
  const Eigen::Matrix<double, M, N> H = Eigen::Matrix<double, M, N>::Ones();
  const Eigen::Matrix<double, M, M> R = Eigen::Matrix<double, M, M>::Identity();
  const kalscan::kalman_model<double, N, M> model{
      F, Q, H, R, kalscan::gaussian_prior<double, N>::of_first_state(Eigen::Vector<double, N>::Zero(), Q)};
  const kalscan::observations<double, M> y = kalscan::observations<double, M>::Ones(M, length);
  const long before = allocations;
  static_cast<void>(kalscan::smooth(kalscan::seq{}, model, y, {.predictions = true, .innovations = true}));
  return allocations - before;
}

template <int N, int M>
bool check() {
  const long few = allocations_of<N, M>(10), many = allocations_of<N, M>(10000);
  std::printf("n = %d, m = %d: %ld allocations for 10 steps, %ld for 10000\n", N, M, few, many);
  return few == many && few > 0;
}

}  // namespace

int main() { return check<2, 1>() && check<6, 6>() ? 0 : 1; }
