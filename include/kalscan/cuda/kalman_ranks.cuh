// SPDX-License-Identifier: MIT
// The Kalman filter and smoother of one series over devices: the policy `ranks{communicator, cuda{...}}` for `filter`,
// `log_likelihood` and `smooth` of <kalscan/cuda/kalman.cuh>, whose models and results are meant here too.
//
// Each rank gives the observations of its stretch, of any number of steps, in its device's memory, and gets the results
// of these steps. The model is that of the whole series: its functions of t, and steps in a status, count from the
// first step of all ranks, and the prior is the same on all of them. (A matrix_of_step with the matrices of this rank's
// steps alone begins as many matrices before them in memory as there are steps before this rank's.) Final beliefs come
// out on the last rank that has steps, the log-likelihood on all ranks; all ranks ask for it, or none does. A rank's
// status tells of its own steps.
//
// Each rank absorbs its chunks; one gather brings the elements of blocks of chunks to all ranks, each of which carries
// the prior through them as one device does; each replays its chunks. A second gather brings the sums of blocks; before
// all, one of the smoother brings each rank the last filtered mean of the rank before. An element of a model with n
// states has 2 n^2 + 3 n numbers, and a device has some 260 or 530 blocks: with 4 states in double each rank gathers some
// 90 kB from each other one.
//
// Without a chunk in the policy, chunks are so long that each device has as many as it filters side by side: R ranks have
// chunks about 1 / R as long as the filter has on one device, for the smoother, too, which has chunks of its own there;
// bits are those of one device that is given this chunk. With a chunk given, all results
// have the bits of one device with it, for any number of ranks. For either, stretches are whole blocks of
// `filter_block` steps: but for the last stretch of the filter, and for the first one of the smoother, which counts
// blocks from the end. Other stretches change the last bits. Models that one device plans (kalman.cuh) are not planned
// over ranks: bits and chunks are others there. On one rank `inner` runs alone.
#pragma once

#include <kalscan/support/cuda_compiler.cuh>  // first: says what to do where this is no CUDA compiler

#include <algorithm>
#include <concepts>
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
#include <kalscan/kalman/series/smoother_traversal.hpp>
#include <kalscan/kalman/series/stretches.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <span>
#include <string>
#include <vector>

namespace kalscan {
namespace detail {

/// Steps of a chunk of a series of `length` steps on all of so many ranks.
template <class Model>
std::int64_t chunk_over_ranks(const cuda& policy, std::int64_t length, std::int64_t ranks) {
  const std::int64_t longest = policy.chunk > 0 ? length : (length + ranks - 1) / ranks;
  return chunk_of_time<filter_traversal<Model>>(policy.chunk, longest, 1);
}

}  // namespace detail

/// How many steps a block has, in a series of `length` steps on all of so many ranks: 32 to 128 chunks. Throws
/// std::invalid_argument for a negative length and for no ranks.
template <class Model>
[[nodiscard]] std::int64_t filter_block(const cuda& policy, std::int64_t length, int ranks = 1) {
  if (length < 0) detail::bad_argument("filter_block", detail::text({"length is ", length}));
  if (ranks < 1) detail::bad_argument("filter_block", detail::text({"ranks is ", ranks}));
  return detail::chunk_over_ranks<Model>(policy, length, ranks) *
         detail::chunk_threads_of<detail::filter_traversal<Model>>;
}

namespace detail {

/// Values of blocks: this rank's, all ranks' as they are gathered, and in the order in which they act.
template <class X>
struct block_values {
  X *mine, *gathered, *all;

  block_values(workspace_arena& arena, const device_blocks& blocks)
      : mine(arena.take<X>(blocks.most)),
        gathered(arena.take<X>(blocks.most * std::ssize(blocks.of_rank))),
        all(blocks.are_in_order() ? gathered : arena.take<X>(blocks.all)) {}

  /// This rank has written `here` of them.
  template <class Communicator>
  void gather(const Communicator& comm, const device_blocks& blocks, std::int64_t here, cudaStream_t stream) const {
    if (blocks.most == 0) return;
    const auto most = static_cast<std::size_t>(blocks.most);
    const auto part = std::as_writable_bytes(std::span(mine, most));
    clear_rest(part, static_cast<std::size_t>(here) * sizeof(X), stream);
    comm.all_gather(part, std::as_writable_bytes(std::span(gathered, most * blocks.of_rank.size())), stream);
    if (all == gathered) return;
    for (std::size_t r = 0; r < blocks.of_rank.size(); ++r) {
      const auto bytes = static_cast<std::size_t>(blocks.of_rank[r]) * sizeof(X);
      if (bytes == 0) continue;
      require_success("cudaMemcpyAsync", cudaMemcpyAsync(all + blocks.before[r], gathered + r * most, bytes,
                                                         cudaMemcpyDeviceToDevice, stream));
    }
  }
};

/// The workspace of a pass over a series on a rank.
template <class Traversal>
struct rank_series_memory {
  static constexpr std::int64_t threads = chunk_threads_of<Traversal>;
  std::int64_t chunk;
  device_blocks blocks;
  std::int64_t here, first;  // blocks of this rank, and before these
  unsigned* before;
  block_values<typename Traversal::element> totals;
  block_values<typename Traversal::sum> sums;
  typename Traversal::state* carries;
  typename Traversal::T *last_mean, *last_means;  // of this rank and, of the smoother, of all

  rank_series_memory(workspace_arena& arena, const cuda& policy, const device_stretches& ranks)
      : chunk(chunk_over_ranks<typename Traversal::model_type>(policy, ranks.all(), ranks.size())),
        blocks(blocks_over_ranks(ranks, chunk * threads, goes_back)),
        here(blocks.of_rank[static_cast<std::size_t>(ranks.me)]),
        first(blocks.before[static_cast<std::size_t>(ranks.me)]),
        before(arena.take<unsigned>(here * threads * words_of<typename Traversal::element>)),
        totals(arena, blocks),
        sums(arena, blocks),
        carries(arena.take<typename Traversal::state>(blocks.all)),
        last_mean(arena.take<typename Traversal::T>(means)),
        last_means(arena.take<typename Traversal::T>(means * ranks.size())) {}
  static std::size_t size(const cuda& policy, const device_stretches& ranks) {
    workspace_arena none({});
    rank_series_memory(none, policy, ranks);
    return none.used();
  }

 private:
  static constexpr bool goes_back = Traversal::replay_type::direction < 0;
  static constexpr std::int64_t means = goes_back ? Traversal::n : 0;
};

/// Runs a stretch of a series. `whole` carries states through the blocks of all ranks.
template <class Communicator, class Inner, class Stretch, class Traversal>
void launch_stretch(const char* verb, const ranks<Communicator, Inner>& p, const rank_series_memory<Traversal>& memory,
                    const Stretch& x, const Traversal& whole) {
  using blocks_type = with_chunks<Traversal>;
  constexpr int threads = chunk_threads_of<Traversal>;
  constexpr std::size_t shared = chunk_shared_bytes<Traversal>, carry_shared = carry_shared_bytes<blocks_type>,
                        stages = stage_bytes<Traversal>(threads);
  const cudaStream_t stream = p.inner.stream;
  const blocks_type through{whole, memory.blocks.all * threads};
  const series_chunk_memory<Stretch> mine{memory.before, memory.totals.mine, memory.carries + memory.first,
                                          memory.sums.mine, memory.here};
  const series_chunk_memory<blocks_type> all{nullptr, memory.totals.all, memory.carries, memory.sums.all,
                                             memory.blocks.all};
  const unsigned grid = checked_blocks(verb, memory.here);
  allow_shared_memory(verb, &absorb_chunks<Stretch>, shared);
  allow_shared_memory(verb, &carry_chunks<blocks_type>, carry_shared);
  allow_shared_memory(verb, &replay_chunks<Stretch>, stages);
  if (grid > 0) {
    absorb_chunks<<<grid, threads, shared, stream>>>(x, mine);
    check_launch("absorb_chunks");
  }
  memory.totals.gather(p.communicator, memory.blocks, memory.here, stream);
  carry_chunks<<<1, carry_threads<blocks_type>, carry_shared, stream>>>(through, all);
  check_launch("carry_chunks");
  if (grid > 0) {
    replay_chunks<<<grid, threads, stages, stream>>>(x, mine);
    check_launch("replay_chunks");
  }
  if (!whole.has_sum()) return;
  memory.sums.gather(p.communicator, memory.blocks, memory.here, stream);
  add_sums<<<1, 128, 0, stream>>>(through, all);
  check_launch("add_sums");
}

template <class Model, class Communicator, class Inner>
device_stretches stretches_of_series(const char* verb, const ranks<Communicator, Inner>& p,
                                     std::span<const model_number<Model>> y) {
  static_assert(!has_diffuse_prior<Model>,
                "kalscan: over ranks the prior of a model of functions is proper: let one filter the first steps, and "
                "give the belief after them");
  static_assert(!is_root<prior_type<Model>>, "kalscan: square-root forms are not run over ranks: pass the model itself");
  return stretches_of(verb, p, "the number of steps of y", std::ssize(y) / Model::observed);
}

template <class Traversal>
rank_series_memory<Traversal> series_memory(const char* verb, const cuda& policy, const device_stretches& ranks) {
  require_workspace(verb, policy, rank_series_memory<Traversal>::size(policy, ranks));
  workspace_arena arena(policy.workspace);
  return {arena, policy, ranks};
}

}  // namespace detail

/// What each rank has of a series, `steps` here: one small gather on the host, which waits for the device, once for a
/// series. Throws std::invalid_argument, of the same text on all ranks, where they differ in the model's type or in the
/// chunk. What it returns is for `ranks::steps`, which is not read here.
template <class Model, class Communicator, std::derived_from<cuda> Inner>
[[nodiscard]] std::vector<std::int64_t> agree_on_steps(const ranks<Communicator, Inner>& p, std::int64_t steps) {
  detail::rank_call mine;
  mine.text = detail::name_of_call("filter " + std::string(detail::type_name<Model>()));
  mine.equal = {p.inner.chunk};
  mine.own.steps = steps;
  return detail::agreed_steps(p, mine, {"the chunk"});
}

/// Bytes of workspace that filter, log_likelihood and smooth need on this rank, which has `steps` steps, by a policy
/// that has those of all ranks.
template <class Model, class Communicator, std::derived_from<cuda> Inner>
[[nodiscard]] std::size_t filter_workspace(const ranks<Communicator, Inner>& p, std::int64_t steps) {
  using namespace detail;
  if (p.communicator.size() == 1) return filter_workspace<Model>(p.inner, steps);
  const device_stretches all = stretches_of("filter_workspace", p, "the number of steps", steps);
  return (std::max)(rank_series_memory<filter_traversal<Model>>::size(p.inner, all),
                    rank_series_memory<unplanned_device_smoother<Model>>::size(p.inner, all));
}

/// Filters one series: `y` and the arrays of steps in `out` are those of this rank's stretch. Throws
/// std::invalid_argument before anything is enqueued, where the stretch does not fit `steps` or an argument is wrong;
/// the other ranks are not told, and wait.
template <class Communicator, std::derived_from<cuda> Inner, state_space_model Model>
void filter(const ranks<Communicator, Inner>& p, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& out) {
  using namespace detail;
  using traversal = filter_traversal<Model>;
  constexpr const char* verb = "filter";
  constexpr std::int64_t n = Model::states, m = Model::observed;
  if (p.communicator.size() == 1) return kalscan::filter(p.inner, model, y, out);
  check_series<Model>(verb, p.inner, one_series<Model>(std::ssize(y)), [&](auto& check) {
    check.data(y);
    check.results(out);
  });
  const device_stretches all = stretches_of_series<Model>(verb, p, y);
  const auto memory = series_memory<traversal>(verb, p.inner, all);
  const std::int64_t from = all.before();
  filter_arrays<model_number<Model>> rows = out;
  rows.mean = counted_from_zero(out.mean, from * n);
  rows.covariance = counted_from_zero(out.covariance, from * n * n);
  rows.predicted_mean = counted_from_zero(out.predicted_mean, from * n);
  rows.predicted_covariance = counted_from_zero(out.predicted_covariance, from * n * n);
  traversal whole{model, {.longest = all.all()}, counted_from_zero(y, from * m).data(), rows, memory.chunk};
  if (from > 0) whole.beginning = 0;  // the steps before `from` are on other ranks
  launch_stretch(verb, p, memory, filter_stretch<Model>{whole, from, from + all.steps_here()}, whole);
}

/// log p(y) of all ranks' steps, on each of them.
template <class Communicator, std::derived_from<cuda> Inner, state_space_model Model>
void log_likelihood(const ranks<Communicator, Inner>& p, const Model& model,
                    std::span<const detail::model_number<Model>> y, std::span<detail::model_number<Model>> out,
                    std::span<filter_status> status = {}) {
  detail::require_size("log_likelihood", "out", std::ssize(out), 1);
  kalscan::filter(p, model, y, {.log_likelihood = out, .status = status});
}

/// Smooths what `filter` wrote on each rank for the same model and y. `out` may be the arrays of `filtered`. Errors as
/// of `filter`.
template <class Communicator, std::derived_from<cuda> Inner, state_space_model Model>
void smooth(const ranks<Communicator, Inner>& p, const Model& model, std::span<const detail::model_number<Model>> y,
            const filter_arrays<detail::model_number<Model>>& filtered,
            const smoother_arrays<detail::model_number<Model>>& out) {
  using namespace detail;
  using traversal = unplanned_device_smoother<Model>;
  using T = model_number<Model>;
  constexpr const char* verb = "smooth";
  explain_device_smoother<Model>();
  constexpr std::int64_t n = Model::states, m = Model::observed;
  if (p.communicator.size() == 1) return kalscan::smooth(p.inner, model, y, filtered, out);
  check_series<Model>(verb, p.inner, one_series<Model>(std::ssize(y)), [&](auto& check) {
    check.data(y);
    check.filtered_steps(filtered);
    check.results(out);
  });
  const device_stretches all = stretches_of_series<Model>(verb, p, y);
  const auto memory = series_memory<traversal>(verb, p.inner, all);
  const std::int64_t from = all.before(), to = from + all.steps_here();
  const bool has_steps = to > from;
  if (!has_steps) clear_rest(std::as_writable_bytes(std::span(memory.last_mean, n)), 0, p.inner.stream);
  const T* last_mean = has_steps ? filtered.mean.data() + (to - from - 1) * n : memory.last_mean;
  p.communicator.all_gather(std::as_bytes(std::span(last_mean, n)),
                            std::as_writable_bytes(std::span(memory.last_means, n * all.steps.size())),
                            p.inner.stream);
  const T* mean_before = all.previous() < 0 ? nullptr : memory.last_means + all.previous() * n;
  const smoother_arrays<T> rows{counted_from_zero(out.mean, from * n), counted_from_zero(out.covariance, from * n * n),
                                out.status};
  const traversal whole{model,
                        {.longest = to},
                        counted_from_zero(y, from * m).data(),
                        counted_from_zero(filtered.mean, from * n).data(),
                        counted_from_zero(filtered.covariance, from * n * n).data(),
                        rows,
                        memory.chunk};
  launch_stretch(verb, p, memory, smoother_stretch<Model>{whole, from, mean_before}, whole);
}

}  // namespace kalscan
