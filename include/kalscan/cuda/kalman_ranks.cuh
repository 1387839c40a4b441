// SPDX-License-Identifier: MIT
// The Kalman filter of one series over devices: the policy `ranks{communicator, cuda{...}}` for `filter` and
// `log_likelihood` of <kalscan/cuda/kalman.cuh>, whose models and results are meant here too. `smooth` is not run.
//
// Each rank gives the observations of its stretch, in its device's memory, and gets the results of these steps. The
// model is that of the whole series: its functions of t, and steps in a status, count from the first step of all ranks,
// and the prior is the same on all of them. Final beliefs come out on the last rank that has steps, the log-likelihood
// on all ranks; all ranks ask for it, or none does. A rank's status tells of its own steps.
//
// Each rank absorbs its chunks; one gather brings the elements of blocks of chunks to all ranks, each of which carries
// the prior through them as one device does; each replays its chunks. A second gather brings the sums of blocks. An
// element of a model with n states has 2 n^2 + 3 n numbers, and of 10^8 steps there are 512 blocks: with 4 states in
// double 180 kB are gathered.
//
// A rank's stretch has whole blocks, but for the last one with steps. All results have the bits of one device, for any
// number of ranks, with or without a chunk in the policy. On one rank `inner` runs alone.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <cstddef>
#include <cstdint>
#include <kalscan/backend/cuda.cuh>
#include <kalscan/cuda/kalman.cuh>
#include <kalscan/cuda/ranks.cuh>
#include <kalscan/cuda/stretches.hpp>
#include <kalscan/kalman/device/chunk_kernels.cuh>
#include <kalscan/kalman/device/launch.cuh>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/series/filter_traversal.hpp>
#include <kalscan/kalman/series/series.hpp>
#include <kalscan/ranks/agree.hpp>
#include <span>
#include <string>
#include <vector>

namespace kalscan {

/// How many steps a block has, in a series of `length` steps on all ranks: 32 to 128 chunks.
template <class Model>
[[nodiscard]] std::int64_t filter_block(const cuda& policy, std::int64_t length) {
  return detail::chunk_of_time<Model>(policy, length, 1) * detail::chunk_threads_of<detail::filter_traversal<Model>>;
}

namespace detail {

/// Values of blocks: this rank's, all ranks' as they are gathered, and in order.
template <class X>
struct block_values {
  X *mine, *gathered, *all;

  block_values(workspace_pieces& memory, const device_blocks& blocks)
      : mine(memory.take<X>(blocks.most)),
        gathered(memory.take<X>(blocks.most * std::ssize(blocks.of_rank))),
        all(memory.take<X>(blocks.all)) {}

  template <class Communicator>
  void gather(const Communicator& comm, const device_blocks& blocks, cudaStream_t stream) const {
    if (blocks.most == 0) return;
    const auto most = static_cast<std::size_t>(blocks.most);
    comm.all_gather(std::as_bytes(std::span(mine, most)),
                    std::as_writable_bytes(std::span(gathered, most * blocks.of_rank.size())), stream);
    std::int64_t first = 0;
    for (std::size_t r = 0; r < blocks.of_rank.size(); ++r) {
      const auto bytes = static_cast<std::size_t>(blocks.of_rank[r]) * sizeof(X);
      if (bytes == 0) continue;
      require_success("cudaMemcpyAsync", cudaMemcpyAsync(all + first, gathered + r * most, bytes,
                                                         cudaMemcpyDeviceToDevice, stream));
      first += blocks.of_rank[r];
    }
  }
};

/// The workspace of a filter call on a rank.
template <class Model>
struct rank_filter_pieces {
  using traversal = filter_traversal<Model>;
  static constexpr std::int64_t threads = chunk_threads_of<traversal>;
  std::int64_t chunk;
  device_blocks blocks;
  unsigned* before;
  block_values<typename traversal::element> totals;
  block_values<typename traversal::sum> sums;
  typename traversal::state* carries;

  rank_filter_pieces(workspace_pieces& memory, const cuda& policy, const device_stretches& ranks)
      : chunk(chunk_of_time<Model>(policy, ranks.all(), 1)),
        blocks(blocks_over_ranks(ranks, chunk * threads)),
        before(memory.take<unsigned>(blocks.here(ranks.me) * threads * words_of<typename traversal::element>)),
        totals(memory, blocks),
        sums(memory, blocks),
        carries(memory.take<typename traversal::state>(blocks.all)) {}
};

template <class Communicator, class Inner, class Model>
void launch_filter(const ranks<Communicator, Inner>& p, const device_stretches& all,
                   const rank_filter_pieces<Model>& pieces, const filter_traversal<Model>& whole) {
  using traversal = filter_traversal<Model>;
  using stretch = stretch_traversal<traversal>;
  constexpr int threads = chunk_threads_of<traversal>;
  constexpr std::size_t shared = chunk_shared_bytes<traversal>, stages = stage_bytes<traversal>(threads);
  const cudaStream_t stream = p.inner.stream;
  const std::int64_t first_block = pieces.blocks.before(all.me), own_blocks = pieces.blocks.here(all.me);
  const stretch x{whole, first_block * threads, (all.steps_here() + pieces.chunk - 1) / pieces.chunk};
  const series_chunk_memory<stretch> mine{pieces.before, pieces.totals.mine, pieces.carries + first_block,
                                          pieces.sums.mine, own_blocks};
  const series_chunk_memory<traversal> memory{nullptr, pieces.totals.all, pieces.carries, pieces.sums.all,
                                              pieces.blocks.all};
  const unsigned grid = checked_blocks("filter", own_blocks);
  allow_shared(&absorb_chunks<stretch>, shared);
  allow_shared(&carry_chunks<traversal>, shared);
  allow_shared(&replay_chunks<stretch>, stages);
  if (grid > 0) {
    absorb_chunks<<<grid, threads, shared, stream>>>(x, mine);
    require_success("launch of absorb_chunks", cudaGetLastError());
  }
  pieces.totals.gather(p.communicator, pieces.blocks, stream);
  carry_chunks<<<1, threads, shared, stream>>>(whole, memory);
  require_success("launch of carry_chunks", cudaGetLastError());
  if (grid > 0) {
    replay_chunks<<<grid, threads, stages, stream>>>(x, mine);
    require_success("launch of replay_chunks", cudaGetLastError());
  }
  if (!whole.has_sum()) return;
  pieces.sums.gather(p.communicator, pieces.blocks, stream);
  add_sums<<<1, 128, 0, stream>>>(whole, memory);
  require_success("launch of add_sums", cudaGetLastError());
}

}  // namespace detail

/// What each rank has of a series, as agree_on_steps of mixers (<kalscan/cuda/kla_ranks.cuh>): `steps` is this rank's.
template <class Model, class Communicator, std::derived_from<cuda> Inner>
[[nodiscard]] std::vector<std::int64_t> agree_on_steps(const ranks<Communicator, Inner>& p, std::int64_t steps) {
  detail::rank_call mine;
  mine.text = detail::name_of_call("filter " + std::string(detail::type_name<Model>()));
  mine.equal = {p.inner.chunk};
  mine.own = {steps};
  return detail::agreed_steps(p, mine, {"the chunk"});
}

/// Bytes of workspace that filter and log_likelihood need on this rank, which has `steps` steps.
template <class Model, class Communicator, std::derived_from<cuda> Inner>
[[nodiscard]] std::size_t filter_workspace(const ranks<Communicator, Inner>& p, std::int64_t steps) {
  if (p.communicator.size() == 1) return filter_workspace<Model>(p.inner, steps);
  detail::workspace_pieces none({});
  detail::rank_filter_pieces<Model>(none, p.inner,
                                    detail::stretches_of("filter_workspace", p, "the number of steps", steps));
  return none.used();
}

/// Filters one series: `y` and the arrays of steps in `out` are those of this rank's stretch. Throws
/// std::invalid_argument before anything is enqueued, where the stretch does not fit `steps`, or these are no blocks.
template <class Communicator, std::derived_from<cuda> Inner, state_space_model Model>
void filter(const ranks<Communicator, Inner>& p, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& out) {
  using namespace detail;
  constexpr const char* verb = "filter";
  constexpr std::int64_t n = Model::states, m = Model::observed;
  if (p.communicator.size() == 1) return kalscan::filter(p.inner, model, y, out);
  check_series<Model>(verb, p.inner, one_series<Model>(std::ssize(y)), [&](auto& check) {
    check.data(y);
    check.results(out);
  });
  const device_stretches all = stretches_of(verb, p, "the number of steps of y", std::ssize(y) / m);
  const std::int64_t block = filter_block<Model>(p.inner, all.all());
  require_whole_stretches(verb, all, "filter_block", block);
  workspace_pieces none({});
  rank_filter_pieces<Model>(none, p.inner, all);
  require_workspace(verb, p.inner, none.used());
  workspace_pieces memory(p.inner.workspace);
  const rank_filter_pieces<Model> pieces(memory, p.inner, all);
  const std::int64_t from = all.before();
  filter_arrays<model_number<Model>> rows = out;
  rows.mean = counted_from_zero(out.mean, from * n);
  rows.covariance = counted_from_zero(out.covariance, from * n * n);
  rows.predicted_mean = counted_from_zero(out.predicted_mean, from * n);
  rows.predicted_covariance = counted_from_zero(out.predicted_covariance, from * n * n);
  launch_filter(p, all, pieces,
                filter_traversal<Model>{model, {.longest = all.all()}, counted_from_zero(y, from * m).data(), rows,
                                        pieces.chunk});
}

/// log p(y) of all ranks' steps, on each of them.
template <class Communicator, std::derived_from<cuda> Inner, state_space_model Model>
void log_likelihood(const ranks<Communicator, Inner>& p, const Model& model,
                    std::span<const detail::model_number<Model>> y, std::span<detail::model_number<Model>> out,
                    std::span<filter_status> status = {}) {
  detail::require_size("log_likelihood", "out", std::ssize(out), 1);
  kalscan::filter(p, model, y, {.log_likelihood = out, .status = status});
}

}  // namespace kalscan
