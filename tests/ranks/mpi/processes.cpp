// SPDX-License-Identifier: MIT
// Linked to the tests of ranks: the ranks are the processes that mpirun has started.
#include <kalscan/ranks/mpi.hpp>

#include "../on_ranks.hpp"

namespace {

struct processes {
  processes() {
    int given = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given);
    const kalscan::mpi_communicator comm;
    test::under_test() = {{comm.size()}, [comm](int, const auto& work) { work(test::communicator::of(comm)); }, false};
  }
  ~processes() { MPI_Finalize(); }
} const all;

}  // namespace
