// SPDX-License-Identifier: MIT
// A long series that four processes share, each with its stretch: filtered and smoothed over MPI, with the bits that
// one process alone gets.
//
//     mpirun -np 4 11_ranks [steps]

#include <cstdlib>
#include <iostream>

#if __has_include(<mpi.h>) && !defined(WITHOUT_MPI)

#include <algorithm>
#include <cmath>
#include <kalscan/kalscan.hpp>
#include <kalscan/ranks/kalman.hpp>
#include <kalscan/ranks/mpi.hpp>
#include <limits>
#include <random>

#include "report.hpp"

namespace {

using observations = kalscan::observations<double, 1>;

/// A level that drifts with a slope that drifts, read with noise, now and then not at all.
observations simulate(Eigen::Index steps) {
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  double level = 0, slope = 0;
  return observations::NullaryExpr(1, steps, [&] {
    slope = 0.999 * slope + 0.01 * normal(engine);
    level += slope + 0.1 * normal(engine);
    return engine() % 10 == 0 ? std::numeric_limits<double>::quiet_NaN() : level + normal(engine);
  });
}

int run(Eigen::Index steps) {
  const kalscan::mpi_communicator processes;
  const Eigen::Matrix2d F{{1, 1}, {0, 0.999}}, Q{{0.01, 0}, {0, 0.0001}};
  const kalscan::kalman_model<double, 2, 1> model{
      F, Q, Eigen::RowVector2d(1, 0), Eigen::Matrix<double, 1, 1>(1.0),
      kalscan::gaussian_prior<double, 2>::of_first_state(Eigen::Vector2d::Zero(), Eigen::Matrix2d::Identity())};
  const observations all = simulate(steps);

  // Stretches of whole chunks, so that the bits do not depend on how many processes there are. A process that has the
  // data nowhere but in its own memory would read its stretch here.
  constexpr Eigen::Index chunk = 1024;
  const Eigen::Index chunks = steps / chunk, first = chunks * processes.rank() / processes.size() * chunk,
                     end = chunks * (processes.rank() + 1) / processes.size() * chunk;
  const observations mine = all.middleCols(first, end - first);
  const kalscan::omp inner{.threads = 1, .chunk = chunk};

  kalscan::smoother_result<double, 2, 1> shared, alone;
  const double time = seconds([&] { shared = kalscan::smooth(kalscan::ranks{processes, inner}, model, mine); });
  const double time_alone =
      processes.rank() == 0 ? seconds([&] { alone = kalscan::smooth(inner, model, all); })
                            : (alone = kalscan::smooth(inner, model, all), 0.0);

  const bool same = shared.mean == alone.mean.middleCols(first, end - first) &&
                    std::equal(shared.covariance.begin(), shared.covariance.end(), alone.covariance.begin() + first);
  int here = same ? 1 : 0, everywhere = 0;
  MPI_Allreduce(&here, &everywhere, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (processes.rank() == 0) {
    std::cout << steps << " steps, smoothed by " << processes.size() << " processes in " << readable(time)
              << ", by one in " << readable(time_alone) << "\nlog-likelihood " << shared.filtered.log_likelihood
              << ", by one " << alone.filtered.log_likelihood << "\nthe smoothed beliefs are "
              << (everywhere ? "bit for bit the same" : "NOT the same") << '\n';
  }
  return everywhere ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const Eigen::Index steps = (argc > 1 ? std::atoll(argv[1]) : 65536) / 1024 * 1024;
  const int failed = run(steps);
  MPI_Finalize();
  return failed;
}

#else

int main() {
  std::cout << "This example needs MPI, which was not found when it was compiled: on Debian, apt-get install "
               "libopenmpi-dev openmpi-bin.\n";
}

#endif
