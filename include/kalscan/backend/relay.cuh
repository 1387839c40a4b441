// SPDX-License-Identifier: MIT
// How the blocks of a launch share a device evenly where they are more than it takes at once. If each block took a
// chain from end to end, a last round of blocks would leave most multiprocessors idle: 704 blocks where 264 fit take
// three rounds, for 2.67 rounds of work. So a chain is taken in turns: the block that takes a turn waits until the one
// before it is done, goes on from what that one carried, and leaves what it carries. The bits are those of one block
// that takes the whole chain.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <kalscan/backend/cuda.cuh>

namespace kalscan::detail {

/// A launch of chains x turns blocks. Blocks are numbered in the order in which they start, first turns first, so that
/// whoever waits does so for a block that has started before it: nobody waits for ever, however few run at a time.
struct relay {
  unsigned* board = nullptr;  ///< [0]: how many blocks have started; [1 + chain]: how many of its turns are done
  unsigned chains = 0, turns = 1;

  KALSCAN_HD bool on() const { return turns > 1; }
  /// Enqueued before each launch.
  void clear_board(const cuda& policy) const {
    require_success("cudaMemsetAsync",
                    cudaMemsetAsync(board, 0, (std::size_t{1} + chains) * sizeof(unsigned), policy.stream));
  }

  /// Numbers this block, in shared memory. All its threads call this, once.
  __device__ void start(unsigned& number) const {
    if (threadIdx.x == 0) number = atomicAdd(board, 1U);
    __syncthreads();
  }
  __device__ unsigned chain(unsigned number) const { return number % chains; }
  __device__ unsigned turn(unsigned number) const { return number / chains; }
  /// Waits until the turns of the chain before this block's are done; what they left is then there to read.
  __device__ void wait(unsigned number) const {
    if (threadIdx.x == 0) {
      for (unsigned done = 0; done < turn(number);)
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(done) : "l"(done_of(number)) : "memory");
    }
    __syncthreads();
  }
  /// Says that this block's turn is done: all that its threads have written is then there to read.
  __device__ void pass(unsigned number) const {
    __syncthreads();
    if (threadIdx.x == 0)
      asm volatile("st.release.gpu.global.u32 [%0], %1;" : : "l"(done_of(number)), "r"(turn(number) + 1) : "memory");
  }
  __device__ unsigned* done_of(unsigned number) const { return board + 1 + chain(number); }
};

}  // namespace kalscan::detail
