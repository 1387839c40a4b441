// SPDX-License-Identifier: MIT
// Scans over the threads of a warp, for use inside kernels, and what the verbs of warp and block do.
#pragma once

#include <kalscan/cuda/scope/verbs.cuh>

namespace kalscan {

// The verbs of warp and of block (block.cuh). A *tile* is what the threads of a scope hold together: N items each, in
// an array of the thread's own; item i of thread r, its thread_rank(), is number r N + i of the tile. All threads call
// a verb together. Verbs may follow one another without a barrier.
//
//     inclusive_scan(items)             item k becomes items 0, ..., k combined
//     exclusive_scan(items)             item k becomes items 0, ..., k - 1 combined, the first one the identity
//     inclusive_suffix_scan(items)      item k becomes items k, ..., last combined
//     exclusive_suffix_scan(items)      item k becomes items k + 1, ..., last combined, the last one the identity
//     reduce(items)                     returns all items combined, in every thread; of an empty tile the identity
//     scan_states<N>(recurrence, read, carry, visit)
//                                       a recurrence with the scope's monoid over the tile: absorb, carry, replay. The
//                                       thread's inputs are read(0), ..., read(N - 1), each asked for twice; then
//                                       visit(i, before, after) gets the states around the step of each. `carry` is the
//                                       state before the tile and becomes the one after it
//     scan_states(recurrence, inputs, states, carry)
//                                       the same with arrays: states[i] becomes the state after inputs[i]; they may be
//                                       the same array
//
// With one item a thread, scans take and return a value: x = warp.inclusive_scan(x).
//
// Each scan of items takes a `carry` as second argument, the same value in all threads: it is combined before
// everything (by a suffix scan after everything), and becomes the total of the tile and itself, ready for the next
// tile.
//
// Of a partial tile only the first n items are there: pass kalscan::valid(n) last, the same in all threads. The
// operator never sees what lies in the others, and these are left unchanged. The order of operations is fixed by N, n
// and the scope's size.

/// `Lanes` neighbouring threads of a warp, 1 to 32, that scan together: threads 0 to Lanes - 1 are one group, the next
/// Lanes the next one (where 32 is no multiple of Lanes, the threads that are left over must not take part). All
/// threads of a group call together; they are counted along threadIdx.x. Elements are trivially copyable, 4 to 256
/// bytes (smaller ones work, and cost as much as 4 bytes), and move by shuffles: no shared memory, no barrier.
///
///     kalscan::warp<kalscan::affine_monoid<float>> warp;
///     x = warp.inclusive_scan(x);
template <detail::device_monoid M, int Lanes = 32>
class warp : public detail::scope_verbs<warp<M, Lanes>, M, Lanes> {
  static_assert(Lanes >= 1 && Lanes <= 32, "a warp has 32 threads");

 public:
  static constexpr int threads = Lanes;
  struct storage {};  ///< none is needed; it stands here so that warp and block can replace each other

  __device__ explicit warp(const M& m = {}) : detail::scope_verbs<warp, M, Lanes>(m) {}
  __device__ warp(storage&, const M& m = {}) : warp(m) {}

  __device__ int thread_rank() const { return Lanes == 32 ? lane() : lane() % Lanes; }

  template <detail::scan_kind Kind, class Op, class E, class Count>
  __device__ E inclusive(const Op& op, E x, Count valid) const {
    const int r = thread_rank();
    const int position = Kind == detail::scan_kind::suffix ? valid - 1 - r : r;
#pragma unroll
    for (int d = 1; d < Lanes; d *= 2) {
      const E earlier = shifted<Kind>(x, d);
      if constexpr (std::is_same_v<Count, all>) {
        // Every lane holds a value: all combine, and those without an earlier lane keep theirs. No branch.
        x = detail::select(position >= d, op(earlier, x), x);
      } else {
        if (position >= d && r < valid) x = op(earlier, x);
      }
    }
    return x;
  }
  template <detail::scan_kind Kind, class Op, class E, class Count>
  __device__ detail::thread_scan<E> scan(const Op& op, const E& x, Count valid) const {
    const E sum = inclusive<Kind>(op, x, valid);
    return {shifted<Kind>(sum, 1),
            detail::shuffle(mask(), sum, first() + (Kind == detail::scan_kind::suffix ? 0 : valid - 1))};
  }
  template <class Op, class E, class Count>
  __device__ E total(const Op& op, E x, Count valid) const {
    const int r = thread_rank();
#pragma unroll
    for (int d = 1; d < Lanes; d *= 2) {
      const E later = shifted<detail::scan_kind::suffix>(x, d);
      if (r % (2 * d) == 0 && r + d < valid) x = op(x, later);
    }
    return detail::shuffle(mask(), x, first());
  }

 private:
  using all = std::integral_constant<int, Lanes>;

  __device__ static int lane() { return static_cast<int>(threadIdx.x) & 31; }
  /// The lane of the group's first thread.
  __device__ static int first() { return Lanes == 32 ? 0 : lane() / Lanes * Lanes; }
  __device__ static unsigned mask() { return Lanes == 32 ? 0xffffffffu : ((1u << Lanes % 32) - 1) << first(); }

  /// The x of d lanes earlier (later in a suffix scan). Lanes that have none get something of their group.
  template <detail::scan_kind Kind, class E>
  __device__ static E shifted(const E& x, int d) {
    if constexpr ((Lanes & (Lanes - 1)) == 0) {
      return Kind == detail::scan_kind::suffix ? detail::shuffle_down<Lanes>(mask(), x, d)
                                               : detail::shuffle_up<Lanes>(mask(), x, d);
    } else {
      const int source = lane() - first() + (Kind == detail::scan_kind::suffix ? d : -d);
      return detail::shuffle(mask(), x, first() + (source >= 0 && source < Lanes ? source : 0));
    }
  }
};

}  // namespace kalscan
