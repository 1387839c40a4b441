// SPDX-License-Identifier: MIT
// The algebra runs on the device: every monoid that ships, and the mixers' steps and adjoints, give there what they
// give on the host. Without a GPU the program says so and exits with 77 (skipped).
#include <cmath>
#include <cstdio>
#include <cstring>
#include <kalscan/kalman/elements/filtering_element.hpp>
#include <kalscan/kalman/elements/smoothing_element.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kalman/scalar/filtering_element.hpp>
#include <kalscan/kalman/scalar/information_map.hpp>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/bicyclic.hpp>
#include <kalscan/monoids/hmm.hpp>
#include <kalscan/monoids/linear_recurrence.hpp>
#include <kalscan/monoids/matrix.hpp>
#include <kalscan/monoids/mobius.hpp>
#include <kalscan/monoids/permutation.hpp>
#include <kalscan/monoids/reversed.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <vector>

namespace {

int failures = 0;

template <class Call, class Result>
__global__ void run(Call call, Result* result) {
  *result = call();
}

/// Compares call() on the device with call() on the host, number by number.
template <class Number, class Call>
void check(const char* name, Call call, double tolerance) {
  using result_type = decltype(call());
  static_assert(sizeof(result_type) % sizeof(Number) == 0);
  result_type host = call(), device = host, *memory = nullptr;
  std::memset(static_cast<void*>(&device), 0, sizeof device);
  cudaMalloc(&memory, sizeof device);
  run<<<1, 1>>>(call, memory);
  const cudaError_t error = cudaMemcpy(&device, memory, sizeof device, cudaMemcpyDeviceToHost);
  cudaFree(memory);
  constexpr std::size_t count = sizeof(result_type) / sizeof(Number);
  Number a[count], b[count];
  std::memcpy(a, &host, sizeof host), std::memcpy(b, &device, sizeof device);
  double worst = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double d = std::abs(double(a[i]) - double(b[i])) / (1 + std::abs(double(a[i])));
    if (!(d <= worst)) worst = d;
  }
  const bool ok = error == cudaSuccess && worst <= tolerance;
  std::printf("%-34s %s %g %s\n", name, ok ? "ok    " : "FAILED", worst,
              error == cudaSuccess ? "" : cudaGetErrorString(error));
  failures += ok ? 0 : 1;
}

template <class Number, class M, class E>
void check_monoid(const char* name, M m, E x, E y, double tolerance) {
  check<Number>(
      name, [=] __host__ __device__ { return m(m(x, m.identity()), m(y, x)); }, tolerance);
}

template <int N>
kalscan::matrix_filtering_element<double, N> matrix_element(double seed) {
  using matrix = Eigen::Matrix<double, N, N>;
  kalscan::matrix_filtering_element<double, N> x;
  for (int j = 0; j < N; ++j) {
    for (int i = 0; i < N; ++i) x.A(i, j) = std::sin(seed + i + 3 * j);
  }
  x.b = x.A.col(0), x.eta = x.A.row(0).transpose();
  x.C = x.A * x.A.transpose() + matrix::Identity(), x.J = x.A.transpose() * x.A;
  return x;
}

template <class M, class U>
void check_mixer(const char* name, U u) {
  check<float>(
      name,
      [=] __host__ __device__ {
        const auto terms = kalscan::prepare<M, float>(u);
        const auto before = M::step(M::template start<float>(), terms), after = M::step(before, terms);
        return M::adjoint(before, terms, after, after, M::readout(after, terms));
      },
      1e-5);
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return std::puts("skipped: no GPU"), 77;
  using namespace kalscan;
  check_monoid<float>("affine", affine_monoid<float>{}, affine_map<float>{2, 3}, affine_map<float>{-1, 0.5F}, 0);
  check_monoid<float>("reversed affine", reversed<affine_monoid<float>>{}, affine_map<float>{2, 3},
                      affine_map<float>{-1, 0.5F}, 0);
  check_monoid<std::uint32_t>("bicyclic", bicyclic_monoid{}, brackets{2, 3}, brackets{4, 1}, 0);
  check_monoid<std::uint8_t>("permutations of 5", permutation_monoid<5>{}, permutation<5>{{1, 2, 3, 4, 0}},
                             permutation<5>{{1, 0, 2, 3, 4}}, 0);
  check_monoid<std::uint32_t>("2 x 2 over uint32", matrix_monoid<plus_times<std::uint32_t>, 2>{},
                              square_matrix<std::uint32_t, 2>{{{1, 7}, {3, 1U << 31}}},
                              square_matrix<std::uint32_t, 2>{{{5, 1}, {1, 9}}}, 0);
  check_monoid<float>("log-sum-exp 2 x 2", matrix_monoid<log_sum_exp<float>, 2>{},
                      square_matrix<float, 2>{{{-1, -2}, {0, -3}}}, square_matrix<float, 2>{{{-1, 0}, {-2, -1}}}, 1e-5);
  check<float>(
      "segmented affine",
      [] __host__ __device__ {
        const segmented<affine_monoid<float>> m{};
        const flagged<affine_map<float>> x{{2, 3}, false}, y{{-1, 0.5F}, true};
        return m(m(x, y), x).value;
      },
      0);
  check_monoid<float>("Moebius", mobius_monoid<float>{}, mobius_map<float>{2, 1, 1, 3},
                      mobius_map<float>{1, 0.5F, 2, 4}, 1e-6);
  check_monoid<float>("information map", information_monoid<float>{}, information_map<float>{2, 1, 1, 3, 1, 2, 1},
                      information_map<float>{1, 0.5F, 2, 4, 1, 0, 1}, 1e-6);
  check_monoid<float>("filtering element", filtering_monoid<float>{}, filtering_element<float>{0.5F, 1, 2, 3, 4},
                      filtering_element<float>{0.25F, 2, 1, 0.5F, 1}, 1e-6);
  check_monoid<float>("belief adjoint", belief_adjoint_monoid<float>{}, belief_adjoint_map<float>{0.5F, 1, 2, 3},
                      belief_adjoint_map<float>{0.25F, 2, 1, 0.5F}, 1e-6);
  check_monoid<double>("matrix filtering element, n = 2", matrix_filtering_monoid<double, 2>{}, matrix_element<2>(1),
                       matrix_element<2>(2), 1e-12);
  check_monoid<double>("matrix filtering element, n = 4", matrix_filtering_monoid<double, 4>{}, matrix_element<4>(1),
                       matrix_element<4>(2), 1e-11);
  const auto x = matrix_element<3>(1);
  const smoothing_element<double, 3> s{x.A, x.b, x.C};
  check_monoid<double>("smoothing element, n = 3", smoothing_monoid<double, 3>{}, s, s, 1e-12);
  const scalar_filter<float> filter{0.9F, 0.1F};
  check<float>(
      "scalar filter, step and absorb",
      [=] __host__ __device__ {
        const scalar_observation<float> u{2, 1};
        return act(filter.absorb(filter.lift(u), u), filter.step(belief<float>{1, 2}, u));
      },
      1e-6);
  check_mixer<kla>("KLA, step and adjoint", kla_inputs<float>{1, 2, 0.5F, 0.25F, 0.9F, 0.1F});
  check_mixer<kla_mixer<readout::predicted>>("KLA, predicted", kla_inputs<float>{1, 2, 0.5F, 0.25F, 0.9F, 0.1F});
  check_mixer<gla>("GLA, step and adjoint", gla_inputs<float>{1, 2, 0.5F, 0.9F});
  std::printf("%d failed\n", failures);
  return failures == 0 ? 0 : 1;
}
