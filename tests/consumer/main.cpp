// SPDX-License-Identifier: MIT
// What a program that uses the library does first.
#include <kalscan/kalscan.hpp>
#include <vector>

int main() {
  std::vector<kalscan::affine_map<double>> x(1000, {0.5, 1.0});
  const auto total = kalscan::inclusive_scan(kalscan::seq{}, kalscan::affine_monoid<double>{}, x, x);
  bool ok = total == x.back() && x[0].offset == 1.0 && x[1].offset == 1.5;
#if defined(CONSUMER_USES_OMP)
  ok = ok && kalscan::reduce(kalscan::omp{.threads = 2}, kalscan::affine_monoid<double>{}, x).gain == 0.0;
#endif
#if defined(CONSUMER_USES_EIGEN)
  const Eigen::Matrix<double, 1, 1> one = Eigen::Matrix<double, 1, 1>::Identity();
  const kalscan::kalman_model<double, 1, 1> level{
      one, one, one, one, kalscan::gaussian_prior<double, 1>::of_first_state(Eigen::Vector<double, 1>::Zero(), one)};
  const kalscan::observations<double, 1> y = kalscan::observations<double, 1>::Ones(1, 10);
  ok = ok && kalscan::smooth(kalscan::seq{}, level, y).mean(0, 9) > 0.9;
#elif defined(CONSUMER_SEES_EIGEN)
  ok = ok && kalscan::gaussian_prior<double, 1>::all_diffuse().has_diffuse();
#endif
  return ok ? 0 : 1;
}
