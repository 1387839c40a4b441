// SPDX-License-Identifier: MIT
// Linked to the tests of ranks: the ranks are the processes that mpirun has started.
#include <cstdlib>
#include <kalscan/ranks/mpi.hpp>

#include "../on_ranks.hpp"

namespace {

struct processes {
  processes() {
    int given = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given);
    const kalscan::mpi_communicator comm;
    if (std::getenv("KALSCAN_TEST_LOST") && comm.rank() == 1) std::_Exit(3);
    test::under_test() = {{comm.size()}, [comm](int, const auto& work) { work(test::communicator::of(comm)); }, false};
  }
  ~processes() { MPI_Finalize(); }
} const all;

}  // namespace
