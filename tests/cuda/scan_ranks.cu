// SPDX-License-Identifier: MIT
// Reduce and scans over devices: every verb against the sequential one with an exact operator that does not commute,
// and with a fixed chunk the bits of one device in floating point. By threads that share one GPU, and by NCCL.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <kalscan/backend/seq.hpp>
#include <kalscan/cuda/scan_ranks.cuh>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "../conformance/operators.hpp"
#include "device_array.hpp"
#include "device_ranks.cuh"

namespace scan_ranks_tests {
namespace {

using kla_test::loopback_ranks, kla_test::loopback_counts, kla_test::random_bounds;

/// Sequences [batch, time, lane] next to each other.
template <class T>
struct array_of {
  shape s;
  std::vector<T> values;
  array_of(const shape& s_, std::vector<T> values_ = {}) : s(s_), values(std::move(values_)) {
    values.resize(static_cast<std::size_t>(s.batch * s.time * s.lanes));
  }
  template <class U>
  kalscan::sequences<U> view(U* data) const {
    return {data, s.batch, s.time, s.lanes};
  }
  array_of part(std::int64_t from, std::int64_t to) const {
    array_of x({s.batch, to - from, s.lanes});
    for (std::int64_t b = 0; b < s.batch; ++b)
      for (std::int64_t t = from; t < to; ++t)
        for (std::int64_t l = 0; l < s.lanes; ++l)
          x.values[static_cast<std::size_t>((b * (to - from) + t - from) * s.lanes + l)] =
              values[static_cast<std::size_t>((b * s.time + t) * s.lanes + l)];
    return x;
  }
};
/// What has padding is compared by its values.
template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  if constexpr (requires { x[0].starts; }) return x == y;
  return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0);
}

/// A verb's call by a policy, whatever it is: view to view, with initial and final values.
struct inclusive {
  static constexpr bool has_outputs = true, goes_back = false;
  static void call(const auto& p, const auto& m, const auto&... x) { kalscan::inclusive_scan(p, m, x...); }
};
struct states {
  static constexpr bool has_outputs = true, goes_back = false;
  static void call(const auto& p, const auto& m, const auto&... x) { kalscan::scan_states(p, m, x...); }
};
#ifndef KALSCAN_QUICK_CUDA
struct reduction {
  static constexpr bool has_outputs = false, goes_back = false;
  template <class P, class M, class In, class Out, class Initial, class Final>
  static void call(const P& p, const M& m, const In& in, const Out&, Initial initial, Final final) {
    kalscan::reduce(p, m, in, final, initial);
  }
};
struct exclusive {
  static constexpr bool has_outputs = true, goes_back = false;
  static void call(const auto& p, const auto& m, const auto&... x) { kalscan::exclusive_scan(p, m, x...); }
};
struct inclusive_suffix {
  static constexpr bool has_outputs = true, goes_back = true;
  static void call(const auto& p, const auto& m, const auto&... x) { kalscan::inclusive_suffix_scan(p, m, x...); }
};
struct exclusive_suffix {
  static constexpr bool has_outputs = true, goes_back = true;
  static void call(const auto& p, const auto& m, const auto&... x) { kalscan::exclusive_suffix_scan(p, m, x...); }
};
#endif

template <class State>
struct scanned {
  std::vector<State> out, final;
};

/// What a policy that has its workspace leaves.
template <class Verb, class State, class P, class Operator, class Input>
scanned<State> on_device(const P& policy, const Operator& m, const array_of<Input>& in,
                         const std::vector<State>& initial) {
  const std::size_t size = in.values.size();
  const device_array<Input> from(in.values);
  const device_array<State> to(Verb::has_outputs ? size : 0), start(initial), end(initial.size());
  Verb::call(policy, m, in.template view<const Input>(from.data()), in.template view<State>(to.data()),
             std::span<const State>(start.span()), end.span());
  require_cuda(cudaDeviceSynchronize());
  return {to.host(), end.host()};
}

/// The parts of all ranks against `whole`, bit for bit.
template <class Ranks, class Verb, class State, class Operator, class Input>
void check_parts(const Operator& m, const array_of<Input>& in, const std::vector<State>& initial,
                 const scanned<State>& whole, std::int64_t chunk, const std::vector<std::int64_t>& bounds) {
  const int ranks = static_cast<int>(bounds.size()) - 1;
  std::vector<std::optional<scanned<State>>> found(static_cast<std::size_t>(ranks));
  Ranks::run(ranks, [&](const auto& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const auto part = in.part(bounds[r], bounds[r + 1]);
    const std::int64_t count = in.s.batch * in.s.lanes;
    cudaStream_t stream;
    require_cuda(cudaStreamCreate(&stream));
    kalscan::ranks policy{comm, kalscan::cuda{.stream = stream, .chunk = chunk}};
    const auto steps = kalscan::agree_on_steps(policy, m, part.s.time, count);
    policy.steps = steps;
    const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, m, part.s.time, count));
    policy.inner.workspace = memory;
    // Initial values count on the rank where the scan begins; others must not read theirs.
    const std::int64_t edge = Verb::goes_back ? in.s.time : 0;
    const bool begins = in.s.time == 0 ? r == 0
                                       : bounds[r] < bounds[r + 1] && bounds[Verb::goes_back ? r + 1 : r] == edge;
    std::vector<State> mine(initial.size());
    std::memset(static_cast<void*>(mine.data()), 0xff, mine.size() * sizeof(State));
    found[r] = on_device<Verb>(policy, m, part, begins ? initial : mine);
    require_cuda(cudaStreamDestroy(stream));
  });
  const array_of<State> expected(in.s, whole.out);
  for (std::size_t r = 0; r < found.size(); ++r) {
    CAPTURE(r);
    if (Verb::has_outputs) CHECK(same_bits(found[r]->out, expected.part(bounds[r], bounds[r + 1]).values));
    CHECK(same_bits(found[r]->final, whole.final));
  }
}

/// Bounds on multiples of the chunk from where the scan begins.
std::vector<std::int64_t> bounds_for(int ranks, std::int64_t length, std::int64_t chunk, std::uint64_t seed,
                                     bool goes_back) {
  auto bounds = random_bounds(ranks, length, chunk, seed);
  if (goes_back) {
    for (auto& x : bounds) x = length - x;
    std::reverse(bounds.begin(), bounds.end());
  }
  return bounds;
}

template <class Ranks, class Verb, class State, class Operator, class Input>
void check_exact(const std::vector<int>& rank_counts, const Operator& m, const array_of<Input>& in,
                 const std::vector<State>& initial) {
  scanned<State> whole{std::vector<State>(Verb::has_outputs ? in.values.size() : 0),
                       std::vector<State>(initial.size())};
  Verb::call(kalscan::seq{}, m, in.template view<const Input>(in.values.data()),
             in.template view<State>(whole.out.data()), std::span<const State>(initial), std::span<State>(whole.final));
  std::uint64_t seed = 0;
  for (const int ranks : rank_counts) {
    CAPTURE(ranks);
    for (const std::int64_t chunk : {0, 16, 1 << 20}) {
      CAPTURE(chunk);
      ++seed;
      check_parts<Ranks, Verb>(m, in, initial, whole, chunk,
                               bounds_for(ranks, in.s.time, seed % 3 == 0 ? 1 : 16, seed, Verb::goes_back));
    }
  }
}

/// Shapes for each kind of kernel: one long sequence, many short ones, none, and no steps.
constexpr shape shapes[] = {{1, 5003, 1}, {2, 131, 3}, {1, 70, 2100}, {3, 0, 2}, {0, 5, 1}, {1, 1, 1}};

template <class Ranks, class Verb>
void check_verb(const std::vector<int>& rank_counts) {
  for (const shape& s : shapes) {
    CAPTURE(s.time);
    CAPTURE(s.lanes);
    check_exact<Ranks, Verb>(rank_counts, monoid{}, array_of<map>(s, random_maps(s.batch * s.time * s.lanes)),
                             random_maps(s.batch * s.lanes, 7));
  }
}

template <class Ranks>
void check_all(const std::vector<int>& rank_counts) {
  check_verb<Ranks, inclusive>(rank_counts);
#ifndef KALSCAN_QUICK_CUDA  // compiled only
  check_verb<Ranks, reduction>(rank_counts);
  check_verb<Ranks, exclusive>(rank_counts);
  check_verb<Ranks, inclusive_suffix>(rank_counts);
  check_verb<Ranks, exclusive_suffix>(rank_counts);
  // Segments that go on across ranks.
  using segments = kalscan::segmented<monoid>;
  using flagged = kalscan::element_t<segments>;
  const shape s{1, 3001, 1};
  std::vector<flagged> x;
  std::mt19937_64 engine(5);
  for (const map& e : random_maps(s.time)) x.push_back({e, engine() % 97 == 0});
  check_exact<Ranks, inclusive>(rank_counts, segments{}, array_of<flagged>(s, x),
                                std::vector<flagged>{{start, false}});
#endif
}

using observation = kalscan::scalar_observation<float>;
array_of<observation> observations(const shape& s) {
  std::mt19937_64 engine(3);
  std::normal_distribution<float> normal;
  std::vector<observation> x(static_cast<std::size_t>(s.batch * s.time * s.lanes));
  for (auto& o : x) o = {std::abs(normal(engine)), normal(engine)};
  return array_of<observation>(s, x);
}

/// The scalar Kalman filter: a recurrence whose states are no elements, in float.
template <class Ranks>
void check_bits(const std::vector<int>& rank_counts) {
  const kalscan::scalar_filter<float> filter{0.97F, 0.01F};
  using state = kalscan::belief<float>;
  for (const shape& s : {shape{1, 5003, 1}, shape{2, 131, 3}}) {
    const auto in = observations(s);
    const std::vector<state> initial(static_cast<std::size_t>(s.batch * s.lanes), state{0.5F, 2});
    for (const std::int64_t chunk : {16, 100}) {
      CAPTURE(chunk);
      kalscan::cuda one{.chunk = chunk};
      const kalscan::cuda_workspace memory(kalscan::scan_workspace(one, filter, s.time, s.batch * s.lanes));
      one.workspace = memory;
      const auto whole = on_device<states>(one, filter, in, initial);
      for (const int ranks : rank_counts) {
        CAPTURE(ranks);
        check_parts<Ranks, states>(filter, in, initial, whole, chunk,
                                   random_bounds(ranks, s.time, chunk, static_cast<std::uint64_t>(ranks)));
      }
    }
  }
}

TEST_CASE("scans over ranks that share a device are the sequential ones, in exact arithmetic") {
  check_all<loopback_ranks>(loopback_counts);
}
TEST_CASE("with a fixed chunk the states of a recurrence over ranks have the bits of one device") {
  check_bits<loopback_ranks>(loopback_counts);
}
TEST_CASE("without a chunk the states of a recurrence over ranks are those of the sequential one up to rounding") {
  const kalscan::scalar_filter<float> filter{0.97F, 0.01F};
  using state = kalscan::belief<float>;
  const shape s{1, 4001, 1};
  const auto in = observations(s);
  std::vector<state> exact(in.values.size());
  kalscan::scan_states(kalscan::seq{}, filter, in.values, exact, state{0.5F, 2});
  const std::vector<std::int64_t> bounds{0, 1000, 1000, 3990, 4001};
  std::vector<std::vector<state>> found(4);
  loopback_ranks::run(4, [&](const kla_test::loopback& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const auto part = in.part(bounds[r], bounds[r + 1]);
    const device_array<observation> from(part.values);
    const device_array<state> to(part.values.size());
    kalscan::ranks policy{comm, kalscan::cuda{}};
    const auto steps = kalscan::agree_on_steps(policy, filter, part.s.time);
    policy.steps = steps;
    const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, filter, part.s.time));
    policy.inner.workspace = memory;
    kalscan::scan_states(policy, filter, from.span(), to.span(), state{0.5F, 2});  // ranges: the same call
    require_cuda(cudaDeviceSynchronize());
    found[r] = to.host();
  });
  double worst = 0;
  for (std::size_t r = 0; r < 4; ++r) {
    for (std::size_t t = 0; t < found[r].size(); ++t) {
      const state& x = exact[static_cast<std::size_t>(bounds[r]) + t];
      worst = std::max<double>(worst, std::abs(found[r][t].mean - x.mean));
      worst = std::max<double>(worst, std::abs(found[r][t].variance - x.variance));
    }
  }
  CHECK(worst > 0);  // bits depend on the stretches
  CHECK(worst < 1e-5);
}

TEST_CASE("scans over ranks refuse by name what does not fit") {
  std::vector<std::string> told(2), alone(3);
  loopback_ranks::run(2, [&](const kla_test::loopback& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const auto message = [](auto call) {
      try {
        call();
      } catch (const std::invalid_argument& error) {
        return std::string(error.what());
      }
      return std::string("none");
    };
    told[r] = message([&] {
      static_cast<void>(
          kalscan::agree_on_steps(kalscan::ranks{comm, kalscan::cuda{.chunk = comm.rank()}}, monoid{}, 5));
    });
    if (r == 1) return;
    const device_array<map> x(10), total(1);
    const std::vector<std::int64_t> steps{9, 10}, ten{10, 10};
    alone[0] = message([&] {
      kalscan::reduce(kalscan::ranks{comm, kalscan::cuda{}, steps}, monoid{}, x.span(), total.span());
    });
    alone[1] = message([&] {
      const kalscan::ranks policy{comm, kalscan::cuda{}, std::span(steps).first(1)};
      kalscan::inclusive_scan(policy, monoid{}, x.span(), x.span());
    });
    alone[2] = message([&] {
      kalscan::inclusive_scan(kalscan::ranks{comm, kalscan::cuda{.chunk = 4}, ten}, monoid{}, x.span(), x.span());
    });
  });
  CHECK(told[0] == "kalscan: the ranks differ in the chunk: 0 on rank 0, 1 on rank 1");
  CHECK(told[1] == told[0]);
  CHECK(alone[0] == "kalscan::reduce: the length of in is 10, but steps[0] is 9");
  CHECK(alone[2].find("kalscan::inclusive_scan: workspace has 0 bytes, but ") == 0);
  CHECK(alone[1] ==
        "kalscan::inclusive_scan: steps has 1 numbers, one for each of 2 ranks is needed: agree_on_steps gives them");
}

#ifdef KALSCAN_TEST_NCCL
TEST_CASE("NCCL: scans from a graph, three times") {
  for (const int ranks : kla_test::nccl_counts()) {
    for (const std::int64_t chunk : {0, 64}) {
      std::vector<int> wrong(static_cast<std::size_t>(ranks));
      kla_test::nccl_ranks::run(ranks, [&](const kalscan::nccl_communicator& comm) {
        const auto r = static_cast<std::size_t>(comm.rank());
        const device_array<map> in(random_maps(5000, r)), out(5000), total(1);
        cudaStream_t stream;
        require_cuda(cudaStreamCreate(&stream));
        kalscan::ranks policy{comm, kalscan::cuda{.stream = stream, .chunk = chunk}};
        const auto steps = kalscan::agree_on_steps(policy, monoid{}, 5000);
        policy.steps = steps;
        const kalscan::cuda_workspace memory(kalscan::scan_workspace(policy, monoid{}, 5000));
        policy.inner.workspace = memory;
        const auto run = [&] {
          kalscan::inclusive_scan(policy, monoid{}, in.span(), out.span(), start);
          kalscan::reduce(policy, monoid{}, in.span(), total.span(), start);
        };
        run();
        require_cuda(cudaStreamSynchronize(stream));
        const auto once = out.host(), sum = total.host();
        require_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        run();
        cudaGraph_t graph;
        cudaGraphExec_t ready;
        require_cuda(cudaStreamEndCapture(stream, &graph));
        require_cuda(cudaGraphInstantiate(&ready, graph, 0));
        for (int i = 0; i < 3; ++i) {
          require_cuda(cudaMemsetAsync(out.data(), 0, 5000 * sizeof(map), stream));
          require_cuda(cudaMemsetAsync(total.data(), 0, sizeof(map), stream));
          require_cuda(cudaGraphLaunch(ready, stream));
          require_cuda(cudaStreamSynchronize(stream));
          wrong[r] += out.host() != once || total.host() != sum;
        }
        require_cuda(cudaGraphExecDestroy(ready));
        require_cuda(cudaGraphDestroy(graph));
        require_cuda(cudaStreamDestroy(stream));
      });
      for (const int x : wrong) CHECK(x == 0);
    }
  }
}
TEST_CASE("scans over the GPUs of NCCL are the sequential ones") {
  check_all<kla_test::nccl_ranks>(kla_test::nccl_counts());
  check_bits<kla_test::nccl_ranks>(kla_test::nccl_counts());
}
#endif

}  // namespace
}  // namespace scan_ranks_tests
