// SPDX-License-Identifier: MIT
// Processes of MPI as ranks. In CMake link kalscan::mpi, which is there where MPI is.
#pragma once

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <kalscan/ranks/communicator.hpp>
#include <span>
#include <stdexcept>
#include <string>

namespace kalscan {

/// The processes of an MPI_Comm, which outlives this. MPI is initialized and finalized by the caller; verbs call it
/// from the calling thread alone, so that MPI_THREAD_FUNNELED is enough with `omp`. A process that ends, or a time-out,
/// is MPI's to find: its default error handler ends all processes; with MPI_ERRORS_RETURN set on the communicator its
/// errors are thrown as std::runtime_error. Other traffic on the same communicator must not be in flight: MPI_Comm_dup
/// gives one of its own.
class mpi_communicator {
 public:
  explicit mpi_communicator(MPI_Comm comm = MPI_COMM_WORLD) : comm_(comm) {
    require(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    require(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }
  int rank() const { return rank_; }
  int size() const { return size_; }

  /// At most 1 GiB of each rank at a time, since MPI counts in ints.
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const {
    constexpr std::size_t most = std::size_t{1} << 30;
    for (std::size_t done = 0; done < in.size(); done += most) {
      const int count = static_cast<int>((std::min)(most, in.size() - done));
      MPI_Datatype stretch = MPI_DATATYPE_NULL, spaced = MPI_DATATYPE_NULL;
      require(MPI_Type_contiguous(count, MPI_BYTE, &stretch), "MPI_Type_contiguous");
      require(MPI_Type_create_resized(stretch, 0, static_cast<MPI_Aint>(in.size()), &spaced),
              "MPI_Type_create_resized");
      require(MPI_Type_commit(&spaced), "MPI_Type_commit");
      const int error = MPI_Allgather(in.data() + done, count, MPI_BYTE, out.data() + done, 1, spaced, comm_);
      MPI_Type_free(&spaced);
      MPI_Type_free(&stretch);
      require(error, "MPI_Allgather");
    }
  }

 private:
  static void require(int error, const char* call) {
    if (error == MPI_SUCCESS) return;
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(error, text.data(), &length);
    throw std::runtime_error("kalscan: " + std::string(call) + ": " +
                             std::string(text.data(), static_cast<std::size_t>(length)));
  }

  MPI_Comm comm_;
  int rank_ = 0, size_ = 1;
};
static_assert(communicator<mpi_communicator>);

}  // namespace kalscan
