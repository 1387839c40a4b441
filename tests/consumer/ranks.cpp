// SPDX-License-Identifier: MIT
// What a program of processes does first: each has its steps, and gets the total of all.
#include <kalscan/monoids/affine.hpp>
#include <kalscan/ranks/mpi.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <vector>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  bool ok = false;
  {
    const kalscan::mpi_communicator comm(MPI_COMM_WORLD);
    const std::vector<kalscan::affine_map<double>> x(static_cast<std::size_t>(10 + comm.rank()), {1.0, 1.0});
    const auto total = kalscan::reduce(kalscan::ranks{comm}, kalscan::affine_monoid<double>{}, x);
    const int ranks = comm.size();
    ok = ranks == 2 && total.offset == 10 * ranks + ranks * (ranks - 1) / 2;
  }
  MPI_Finalize();
  return ok ? 0 : 1;
}
