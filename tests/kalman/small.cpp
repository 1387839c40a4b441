// SPDX-License-Identifier: MIT
// The filter on small matrices, as the device runs it, against the long double oracle.
#include <doctest/doctest.h>

#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/smoothing.hpp>
#include <random>

#include "device_chunks.hpp"
#include "oracle.hpp"

namespace {

using kalscan::small_matrix, kalscan::small_symmetric, kalscan::small_vector, kalscan::small_belief;

/// The matrices of a dynamic model as one of functions, inputs included.
template <class T, int N, int M>
auto functions_of(const kalscan::kalman_model<double, Eigen::Dynamic, Eigen::Dynamic>& model) {
  using kalscan::detail::to_small;
  const auto* p = &model;
  const auto input = [p](const auto& B, std::int64_t t) -> Eigen::VectorXd {
    return B.empty() ? Eigen::VectorXd() : Eigen::VectorXd(B[t] * p->u.col(t));
  };
  const small_belief<T, N> prior{to_small<small_vector<T, N>>(model.prior.mean),
                                 to_small<small_symmetric<T, N>>(model.prior.covariance)};
  return kalscan::model_of<T, N, M>(
      [p](std::int64_t t) { return to_small<small_matrix<T, N, N>>(p->F[t]); },
      [p](std::int64_t t) { return to_small<small_symmetric<T, N>>(p->Q[t]); },
      [p](std::int64_t t) { return to_small<small_matrix<T, M, N>>(p->H[t]); },
      [p](std::int64_t t) { return to_small<small_symmetric<T, M>>(p->R[t]); }, prior, model.prior.before_first_transition,
      [p, input](std::int64_t t) {
        return p->B.empty() ? small_vector<T, N>{} : to_small<small_vector<T, N>>(input(p->B, t));
      },
      [p, input](std::int64_t t) {
        return p->D.empty() ? small_vector<T, M>{} : to_small<small_vector<T, M>>(input(p->D, t));
      });
}

template <class T, int N, int M>
void check(const oracle::problem<double, Eigen::Dynamic, Eigen::Dynamic>& problem, std::int64_t chunk,
           std::int64_t threads, double bound) {
  CAPTURE(N);
  CAPTURE(M);
  CAPTURE(chunk);
  const auto expected = oracle::run(problem.model, problem.y);
  const auto length = problem.y.cols();
  const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> y = problem.y.cast<T>();
  const auto r = device_chunks::filter_and_smooth(functions_of<T, N, M>(problem.model), device_chunks::numbers_of<T>(y),
                                                  {.longest = length}, chunk, threads);
  CHECK(r.filtered[0].ok());
  CHECK(r.smoothed[0].ok());
  CHECK(oracle::defect(r.predicted_mean, r.predicted_covariance, expected.predicted_mean,
                       expected.predicted_covariance) < bound);
  CHECK(oracle::defect(r.mean, r.covariance, expected.mean, expected.covariance) < bound);
  CHECK(oracle::defect(r.smoothed_mean, r.smoothed_covariance, expected.smoothed_mean, expected.smoothed_covariance) <
        bound);
  CHECK(r.final_mean.col(0) == r.mean.col(length - 1));
  CHECK(r.final_covariance[0] == r.covariance.back());
  const auto size = static_cast<double>(length) + std::abs(static_cast<double>(expected.log_likelihood));
  CHECK(std::abs(static_cast<double>(r.log_likelihood[0]) - static_cast<double>(expected.log_likelihood)) <
        bound * size);
}

template <class T, int N, int M>
void check_random_models(double bound) {
  const oracle::kind kinds[] = {
      {},
      {.varying = true},
      {.missing = true},
      {.singular_noise = true, .before_first = true},
      {.varying = true, .inputs = true, .singular_noise = true, .missing = true, .before_first = true}};
  std::uint64_t seed = 1;
  for (const auto& k : kinds) {
    for (const std::int64_t length : {1, 2, 47}) {
      CAPTURE(length);
      const auto problem = oracle::draw_problem(N, M, length, k, ++seed);
      for (const std::int64_t chunk : {1, 3, 16, 1000}) check<T, N, M>(problem, chunk, 4, bound);
    }
  }
}

TEST_CASE("chunks of the filter and smoother on small matrices agree with the oracle") {
  check_random_models<double, 1, 1>(1e-10);
  check_random_models<double, 2, 1>(1e-10);
  check_random_models<double, 4, 2>(1e-10);
  check_random_models<double, 5, 3>(1e-10);
  check_random_models<float, 3, 2>(2e-3);
}

}  // namespace
