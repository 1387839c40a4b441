// SPDX-License-Identifier: MIT
// Follows 100,000 products in A5 from noisy readings and an unknown start, with nothing trained: rotating KLA with one
// head and one state, on one thread and on omp, and beside it the Kalman filter with 3 x 3 matrices.
#include <Eigen/Geometry>
#include <cstddef>
#include <iostream>
#include <kalscan/kalscan.hpp>
#include <kalscan/kla/rotating_kla.hpp>
#include <vector>

#include "report.hpp"
#include "word_problem.hpp"

int main() {
  using in = kalscan::tensor<const float>;
  using out = kalscan::tensor<float>;
  constexpr long L = 100000, settled = 2000;
  const word_problem words(L);

  const float one = 1, precision = 4, none = 0;
  const in each_token(&one, {1, L, 1, 1}, {0, 0, 0, 0}), precisions(&precision, {1, L, 1, 1}, {0, 0, 0, 0});
  const auto [vx, vy, vz] = kalscan::components<3>(words.readings.data(), 1, L, 1);
  const auto [rw, rx, ry, rz] = kalscan::components<4>(words.letters.data(), 1, L, 1);
  const kalscan::rotating_kla_inputs<in> inputs{
      vx, vy, vz, precisions, rw, rx, ry, rz, each_token, each_token, {&one, 1, 1, 1, 1}, {&none, 1, 1, 1, 1}};
  std::vector<float> y(3 * L);
  const auto means = kalscan::components<3>(y.data(), 1, L, 1);
  const in zero(&none, 1, 1, 1, 1);  // precision and vector: nothing is known of where the point starts
  const kalscan::mixer_states<kalscan::rotating_kla, float> states{
      .initial = kalscan::isotropic_information<in>{zero, zero, zero, zero}};

  std::cout << "Word problem of A5: " << words.group.size() << " rotations, " << L << " steps\n";
  bool good = words.group.size() == 60;
  const auto report = [&](const char* what, double time, std::size_t wrong, std::size_t late) {
    std::cout << "  " << what << ": " << readable(time) << ", " << wrong << " products wrong, " << late
              << " of them after step " << settled << '\n';
    good = good && late == 0;
  };
  const auto run = [&](const char* what, auto policy) {
    const double time = seconds([&] {
      kalscan::forward(policy, kalscan::rotating_kla{}, {1, L, 1, 1}, inputs,
                       kalscan::rotating_kla_outputs<out>{means[0], means[1], means[2], {}}, states);
    });
    report(what, time, words.errors(y, 0), words.errors(y, settled));
  };
  run("rotating KLA, seq", kalscan::seq{});
  // In one piece: of a single head omp fills one of many vector lanes, so that splitting time costs more than it gives.
  run("rotating KLA, omp", kalscan::omp{.chunk = L});

  std::vector<Eigen::Matrix3d> F;
  Eigen::MatrixXd data(3, L);
  for (long t = 0; t < L; ++t) {
    const auto* r = &words.letters[static_cast<std::size_t>(4 * t)];
    F.push_back(Eigen::Quaterniond(r[0], r[1], r[2], r[3]).normalized().toRotationMatrix());
    for (long i = 0; i < 3; ++i) data(i, t) = words.readings[static_cast<std::size_t>(3 * t + i)];
  }
  const Eigen::Matrix3d I = Eigen::Matrix3d::Identity();
  const kalscan::kalman_model<double, 3, 3> model{F, Eigen::Matrix3d(0 * I), I, Eigen::Matrix3d(0.25 * I),
                                                  kalscan::gaussian_prior<double, 3>::all_diffuse()};
  kalscan::filter_result<double, 3, 3> result;
  const double time = seconds([&] { result = kalscan::filter(kalscan::seq{}, model, data); });
  const std::vector<double> filtered(result.mean.data(), result.mean.data() + 3 * L);
  report("matrix filter, seq", time, words.errors(filtered, 0), words.errors(filtered, settled));
  return good ? 0 : 1;
}
