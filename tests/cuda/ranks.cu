// SPDX-License-Identifier: MIT
// Mixers over devices, forward and backward: the bits of one device, however time is shared out. By threads that share
// one GPU, and by NCCL where there are more: a thread for each of them, and a process for each.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <kalscan/cuda/kla_ranks.cuh>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "device_ranks.cuh"
#include "kla_device.cuh"

#ifdef KALSCAN_TEST_NCCL
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#endif

namespace mixer_ranks_tests {
using namespace kla_test;
using kalscan::gla;
using kalscan::kla;
using kalscan::rotating_kla;

#ifdef KALSCAN_QUICK_CUDA  // compiled only
#define KALSCAN_TEST_MIXERS kla
#else
#define KALSCAN_TEST_MIXERS kla, gla, rotating_kla
#endif

namespace {

static_assert(kalscan::device_communicator<loopback>);

template <class T>
array<T> slice(const array<T>& x, std::int64_t from, std::int64_t to) {
  const auto e = x.extent;
  array<T> y(e[0], to - from, e[2], e[3]);
  for (std::int64_t b = 0; b < e[0]; ++b)
    for (std::int64_t t = from; t < to; ++t)
      for (std::int64_t m = 0; m < e[2]; ++m)
        for (std::int64_t s = 0; s < e[3]; ++s) y.view()(b, t - from, m, s) = x.view()(b, t, m, s);
  return y;
}

/// What a rank has of a problem; what it must not read is NaN.
template <class M, class T>
problem<M, T> part_of(const problem<M, T>& p, std::int64_t from, std::int64_t to, bool begins, bool ends) {
  problem<M, T> q;
  q.shape = p.shape, q.shape.time = to - from;
  for (const auto& in : p.in) q.in.push_back(in.extent[1] == 1 && p.shape.time != 1 ? in : slice(in, from, to));
  for (const auto& bar : p.out_bar) q.out_bar.push_back(slice(bar, from, to));
  q.initial = p.initial, q.final_bar = p.final_bar;
  const auto spoil = [](std::vector<array<T>>& all) {
    for (auto& x : all) x.each([](T& v) { v = std::numeric_limits<T>::quiet_NaN(); });
  };
  if (!begins) spoil(q.initial);
  if (!ends) spoil(q.final_bar);
  return q;
}

/// Equal, NaN for NaN.
template <class T>
bool equal(const array<T>& x, const array<T>& y) {
  const auto a = x.list(), b = y.list();
  const auto same = [](T u, T v) { return u == v || (std::isnan(u) && std::isnan(v)); };
  return x.extent == y.extent && std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

struct stream_of_rank {
  cudaStream_t get;
  stream_of_rank() { ok(cudaStreamCreate(&get)); }
  ~stream_of_rank() { cudaStreamDestroy(get); }
};

template <class T>
struct rank_results {
  forward_result<T> forward;
  backward_result<T> backward;
};

/// Forward, and backward with checkpoints of its own or with those of forward. All ranks call it.
template <class Inner, class M, class T, class Communicator>
rank_results<T> run_on_rank_by(const Communicator& comm, const problem<M, T>& part, std::int64_t chunk, int every,
                               bool given, const std::type_identity_t<backward_result<T>>* onto = nullptr,
                               bool continues = true) {
  const stream_of_rank stream;
  const device_adjoint<M, T> x(part, every, false, onto);
  kalscan::ranks policy{comm, Inner{}};
  policy.inner.stream = stream.get, policy.inner.chunk = chunk;
  policy.continues = continues;
  const auto steps = kalscan::agree_on_steps<T>(policy, M{}, part.shape);
  policy.steps = steps;
  auto adjoints = x.states();
  if (!given) adjoints.checkpoints = {}, adjoints.every = 0;
  const auto in = x.d.in_views();
  const kalscan::cuda_workspace memory(
      (std::max)(kalscan::forward_workspace<T>(policy, M{}, part.shape),
                 kalscan::backward_workspace(policy, M{}, part.shape, in, adjoints)));
  policy.inner.workspace = memory;
  kalscan::forward(policy, M{}, part.shape, in, x.d.out_views(), x.d.states());
  kalscan::backward(policy, M{}, part.shape, in, x.d.out_bar_views(), x.in_bar_views(), adjoints);
  ok(cudaStreamSynchronize(stream.get));
  return {x.d.result(), x.result()};
}
template <class M, class T, class Communicator>
rank_results<T> run_on_rank(const Communicator& comm, const problem<M, T>& part, std::int64_t chunk, int every,
                            bool given, const std::type_identity_t<backward_result<T>>* onto = nullptr,
                               bool continues = true) {
  return run_on_rank_by<all_kernels, M>(comm, part, chunk, every, given, onto, continues);
}

template <class Ranks, class M, class T>
void check(const problem<M, T>& p, std::int64_t chunk, const std::vector<std::int64_t>& bounds, bool given,
           bool accumulate = false) {
  const int every = kalscan::backward_checkpoints<T>(M{}, p.shape);
  const auto whole = run_on_device<M>(chunk, p, every);
  backward_result<T> onto;
  std::mt19937_64 engine(3);
  if (accumulate) {
    for (const auto& x : p.in) onto.in_bar.emplace_back(x.extent[0], x.extent[1], x.extent[2], x.extent[3]);
    for (const auto& x : p.initial) onto.initial_bar.emplace_back(x.extent[0], x.extent[1], x.extent[2], x.extent[3]);
    for (auto* all : {&onto.in_bar, &onto.initial_bar})
      for (auto& x : *all) fill(x, engine, -1, 1);
  }
  const auto whole_back =
      backward_on_device<M>(chunk, p, given ? every : 0, false, accumulate ? &onto : nullptr);
  const int ranks = static_cast<int>(bounds.size()) - 1;
  std::vector<std::optional<rank_results<T>>> results(static_cast<std::size_t>(ranks));
  int first = 0, last = ranks - 1;
  const auto at = [](int r) { return static_cast<std::size_t>(r); };
  while (first + 1 < ranks && bounds[at(first)] == bounds[at(first) + 1]) ++first;
  while (last > 0 && bounds[at(last)] == bounds[at(last) + 1]) --last;
  Ranks::run(ranks, [&](const auto& comm) {
    const int r = comm.rank();
    const std::int64_t from = bounds[at(r)], to = bounds[at(r) + 1];
    backward_result<T> mine;
    for (const auto& x : onto.in_bar) mine.in_bar.push_back(x.extent[1] == 1 ? x : slice(x, from, to));
    mine.initial_bar = onto.initial_bar;
    results[at(r)] = run_on_rank<M>(comm, part_of(p, from, to, r == first, r == last), chunk, every, given,
                                    accumulate ? &mine : nullptr);
  });
  for (int r = 0; r < ranks; ++r) {
    if (!results[at(r)]) continue;  // another process has it
    CAPTURE(r);
    const std::int64_t from = bounds[at(r)], to = bounds[at(r) + 1];
    const auto& [forward, backward] = *results[at(r)];
    for (std::size_t i = 0; i < forward.out.size(); ++i) CHECK(equal(forward.out[i], slice(whole.out[i], from, to)));
    for (std::size_t i = 0; i < forward.checkpoints.size() && from < to; ++i) {
      const std::int64_t count = forward.checkpoints[i].extent[1];
      CHECK(equal(forward.checkpoints[i], slice(whole.checkpoints[i], from / every, from / every + count)));
    }
    for (std::size_t i = 0; i < backward.in_bar.size(); ++i) {
      const auto& bar = whole_back.in_bar[i];
      CAPTURE(i);
      CHECK(equal(backward.in_bar[i], bar.extent[1] == 1 ? bar : slice(bar, from, to)));
    }
    for (std::size_t i = 0; i < forward.final.size(); ++i) {
      array<T> untouched = whole.final[i], no_bar = whole_back.initial_bar[i];
      untouched.each([](T& v) { v = 0; }), no_bar.each([](T& v) { v = 0; });
      CHECK(equal(forward.final[i], r == last ? whole.final[i] : untouched));
      CHECK(equal(backward.initial_bar[i],
                  r == first ? whole_back.initial_bar[i] : accumulate ? onto.initial_bar[i] : no_bar));
    }
  }
}

/// Stretches of one chunk and of many, with batches, all kinds of parameters, and numbers of states with kernels of
/// their own and without.
template <class Ranks, class M>
void check_mixer(const std::vector<int>& rank_counts) {
  std::uint64_t seed = 0;
  for (const int ranks : rank_counts) {
    CAPTURE(ranks);
    for (const given g : {given::fixed, given::per_token, given::per_batch}) {
      const auto p = random_problem<M, float>(2, 167, 35, g == given::fixed ? 16 : 3, ++seed, g);
      check<Ranks>(p, 16, random_bounds(ranks, 167, 16, seed), false);
      check<Ranks>(p, 48, random_bounds(ranks, 167, 48, seed + 100), true, true);
    }
    const auto p = random_problem<M, float>(1, 64 * ranks, 33, 16, ++seed);
    std::vector<std::int64_t> even{0};
    while (std::ssize(even) <= ranks) even.push_back(even.back() + 64);
    check<Ranks>(p, 64, even, true);  // a chunk each
    check<Ranks>(p, 16, even, false);
  }
}

/// Between two ranks: before step t of sequence n, of which both have a part where it is shared, perhaps of no step.
struct cut {
  std::int64_t n, t;
  bool shared;
  auto operator<=>(const cut&) const = default;
};
/// What a rank has of packed sequences.
template <class M, class T>
struct packed_part {
  problem<M, T> q;
  std::int64_t from, to, first;  // steps on the time axis, and the number of its first sequence
};
template <class T>
array<T> rows(const array<T>& x, std::int64_t from, std::int64_t count) {
  array<T> y(count, x.extent[1], x.extent[2], x.extent[3]);
  std::copy_n(x.values.begin() + from * x.stride[0], count * x.stride[0], y.values.begin());
  return y;
}
template <class M, class T>
packed_part<M, T> part_of(const problem<M, T>& p, const cut& before, const cut& after) {
  const auto offset = [&](const cut& x) { return p.offsets[static_cast<std::size_t>(x.n)] + x.t; };
  packed_part<M, T> x{{}, offset(before), offset(after), before.n};
  const std::int64_t count = after.n - before.n + (after.shared ? 1 : 0);
  x.q = part_of(p, x.from, x.to, true, true);
  x.q.offsets = {0};
  for (std::int64_t n = before.n; n < before.n + count; ++n)
    x.q.offsets.push_back((std::min)(x.to, p.offsets[static_cast<std::size_t>(n) + 1]) - x.from);
  x.q.shape.offsets = x.q.offsets;
  const auto own = [&](const std::vector<array<T>>& of, bool spoilt, std::int64_t at) {
    std::vector<array<T>> y;
    for (const auto& a : of) {
      y.push_back(rows(a, before.n, count));
      if (!spoilt) continue;
      const auto view = y.back().view();
      for (std::int64_t m = 0; m < a.extent[2]; ++m)
        for (std::int64_t s = 0; s < a.extent[3]; ++s) view(at, 0, m, s) = std::numeric_limits<T>::quiet_NaN();
    }
    return y;
  };
  x.q.initial = own(p.initial, before.shared, 0), x.q.final_bar = own(p.final_bar, after.shared, count - 1);
  return x;
}

template <class Ranks, class M>
void check_packed(int ranks, std::int64_t chunk, bool checkpoints, given parameters, bool empty_parts,
                  std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  const auto below = [&](std::int64_t x) {
    return static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(x));
  };
  std::vector<std::int64_t> offsets{0};
  const std::int64_t sequences = 2 + below(4);
  for (std::int64_t n = 0; n < sequences; ++n) offsets.push_back(offsets.back() + (below(4) == 0 ? 0 : below(150)));
  offsets.back() += 40;
  const auto p = random_problem<M, float>(1, offsets.back(), 19, 16, seed, parameters, false, offsets);
  std::vector<cut> cuts;
  bool one_step = true;  // backward refuses such a stretch
  while (one_step) {
    cuts = {{0, 0, false}};
    for (int r = 1; r < ranks; ++r) {
      const std::int64_t n = below(sequences);
      const std::int64_t length = offsets[static_cast<std::size_t>(n) + 1] - offsets[static_cast<std::size_t>(n)];
      const std::int64_t t = below(length / chunk + 1) * chunk;
      if (empty_parts) {
        cuts.push_back({n, t, t > 0 || below(2) == 0});
      } else {
        cuts.push_back(t < length || t == 0 ? cut{n, t, t > 0} : cut{n + 1, 0, false});
      }
    }
    cuts.push_back({sequences, 0, false});
    std::sort(cuts.begin(), cuts.end());
    one_step = false;
    for (std::size_t r = 0; r + 1 < cuts.size(); ++r) {
      const auto x = part_of(p, cuts[r], cuts[r + 1]);
      one_step = one_step || x.to - x.from == 1;
    }
  }
  // One device replays the first chunk of a sequence with steps, and backward the last one; over ranks those that begin
  // or end it do, if with no step: that changes the last bits.
  const auto same = [&](const array<float>& x, const array<float>& y) {
    return !empty_parts ? equal(x, y) : x.extent == y.extent && difference(x, y) < 1e-4;
  };
  const int every = kalscan::backward_checkpoints<float>(M{}, p.shape);
  const auto whole = run_on_device<M>(chunk, p, every);
  const auto whole_back = backward_on_device<M>(chunk, p, checkpoints ? every : 0);
  std::vector<std::optional<rank_results<float>>> results(static_cast<std::size_t>(ranks));
  Ranks::run(ranks, [&](const auto& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const auto x = part_of(p, cuts[r], cuts[r + 1]);
    problem<M, float> mine = x.q;
    mine.shape.offsets = mine.offsets;
    const bool any = mine.shape.sequences() > 0;
    results[r] = run_on_rank<M>(comm, mine, chunk, every, checkpoints, nullptr, any ? cuts[r].shared : r % 2 == 0);
  });
  for (std::size_t r = 0; r < results.size(); ++r) {
    if (!results[r]) continue;
    CAPTURE(r);
    const auto x = part_of(p, cuts[r], cuts[r + 1]);
    const std::int64_t count = x.q.shape.sequences() - (cuts[r].shared ? 1 : 0);
    const auto& [forward, backward] = *results[r];
    for (std::size_t i = 0; i < forward.out.size(); ++i)
      CHECK(same(forward.out[i], slice(whole.out[i], x.from, x.to)));
    for (std::size_t i = 0; i < backward.in_bar.size(); ++i) {
      CAPTURE(i);
      const auto& bar = whole_back.in_bar[i];
      CHECK(same(backward.in_bar[i], bar.extent[1] == 1 ? bar : slice(bar, x.from, x.to)));
    }
    const std::int64_t ends = x.q.shape.sequences() - (cuts[r + 1].shared ? 1 : 0), skip = cuts[r].shared ? 1 : 0;
    for (std::size_t i = 0; i < forward.final.size(); ++i) {
      CHECK(same(rows(forward.final[i], 0, ends), rows(whole.final[i], x.first, ends)));
      CHECK(same(rows(backward.initial_bar[i], skip, count), rows(whole_back.initial_bar[i], x.first + skip, count)));
      // What is another rank's to write stays as it was.
      for (const float v : rows(forward.final[i], ends, x.q.shape.sequences() - ends).values) CHECK(v == 0);
      for (const float v : rows(backward.initial_bar[i], 0, skip).values) CHECK(v == 0);
    }
  }
}
template <class Ranks, class M>
void check_packed(const std::vector<int>& rank_counts) {
  std::uint64_t seed = 100;
  for (const int ranks : rank_counts) {
    for (int trial = 0; trial < (under_a_tool() ? 2 : 8); ++trial) {
      CAPTURE(ranks);
      CAPTURE(trial);
      check_packed<Ranks, M>(ranks, trial % 2 == 0 ? 16 : 48, trial % 3 == 0,
                             trial % 4 < 2 ? given::fixed : given::per_token, trial >= 5, ++seed);
    }
  }
}

/// Elements that do not hold: their steps are taken on the rank that has them.
template <class Ranks>
void check_elements_that_do_not_hold(const std::vector<int>& rank_counts) {
  std::uint64_t seed = 40;
  for (const int ranks : rank_counts) {
    CAPTURE(ranks);
    auto p = random_problem<kla, float>(2, 131, 35, 3, ++seed);
    for (const float variance : {std::numeric_limits<float>::infinity(), 1e30F}) {
      p.initial[1].each([&](float& x) { x = variance; });
      for (std::int64_t t = 0; t < 70; ++t) {
        for (std::int64_t s = 0; s < 3; ++s) p.in[2].view()(0, t, 0, s) = 0;
      }
      check<Ranks>(p, 16, random_bounds(ranks, 131, 16, seed), false);
      check<Ranks>(p, 16, random_bounds(ranks, 131, 16, seed + 50), true);
    }
    auto q = random_problem<kla, float>(1, 4000, 3, 2, 11);
    q.in[4].each([](float& x) { x = 1.1F; });
    q.in[5].each([](float& x) { x = 0; });
    q.in[1].each([](float& x) { x = 1e4F; });
    q.in[2].each([](float& x) { x += x < 0 ? -0.1F : 0.1F; });
    for (std::int64_t t = 0; t < 4000; ++t) {
      if (t % 1000 >= 500 && t % 1000 < 930) q.in[1].view()(0, t, 1, 0) = 0;
    }
    check<Ranks>(q, 512, random_bounds(ranks, 4000, 512, seed), false);
  }
}

TEST_CASE_TEMPLATE("a mixer over ranks that share a device has the bits of one", M, KALSCAN_TEST_MIXERS) {
  check_mixer<loopback_ranks, M>(loopback_counts);
}
TEST_CASE_TEMPLATE("packed sequences go over ranks, and begin and end on any of them", M, KALSCAN_TEST_MIXERS) {
  check_packed<loopback_ranks, M>(loopback_counts);
}
#ifndef KALSCAN_QUICK_CUDA
TEST_CASE("a mixer in double over ranks that share a device has the bits of one") {
  const auto p = random_problem<kla, double>(2, 131, 19, 4, 7);
  for (const int ranks : loopback_counts) check<loopback_ranks>(p, 32, random_bounds(ranks, 131, 32, 7), true);
}
#endif
TEST_CASE("where elements do not hold, ranks take the steps") {
  check_elements_that_do_not_hold<loopback_ranks>(loopback_counts);
}

TEST_CASE("without a chunk, and off its multiples, ranks agree with one device up to rounding") {
  const auto p = random_problem<kla, float>(1, 3000, 33, 16, 9);
  const auto exact = kla_test::run_forward<kla>(kalscan::seq{}, p.as<double>());
  const auto exact_back = kla_test::run_backward<kla>(kalscan::seq{}, p.as<double>());
  for (const std::int64_t chunk : {0, 100, 5000}) {
    const std::vector<std::int64_t> bounds{0, 1003, 1005, 2401, 3000};
    std::vector<rank_results<float>> results(4);
    loopback_ranks::run(4, [&](const loopback& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      results[r] = run_on_rank<kla>(comm, part_of(p, bounds[r], bounds[r + 1], r == 0, r == 3), chunk, 16, false);
    });
    for (std::size_t r = 0; r < 4; ++r) {
      for (std::size_t i = 0; i < exact.out.size(); ++i)
        CHECK(difference(results[r].forward.out[i], slice(exact.out[i], bounds[r], bounds[r + 1])) < 1e-5);
      for (std::size_t i = 0; i < exact_back.in_bar.size(); ++i) {
        const auto& bar = exact_back.in_bar[i];
        const auto mine = bar.extent[1] == 1 ? bar : slice(bar, bounds[r], bounds[r + 1]);
        CHECK(difference(results[r].backward.in_bar[i], mine) < 1e-4);
      }
    }
    CHECK(difference(results[3].forward.final, exact.final) < 1e-5);
    CHECK(difference(results[0].backward.initial_bar, exact_back.initial_bar) < 1e-4);
  }
}

#ifndef KALSCAN_QUICK_CUDA  // kernels of its own
TEST_CASE("a stretch of one step, where parameters do not vary") {
  using policy = kalscan::cuda_for<kalscan::mixer_kernels{.states = 16, .parameters_vary = false}>;
  const auto p = random_problem<kla, float>(1, 34, 33, 16, 9);
  const auto exact = kla_test::run_backward<kla>(kalscan::seq{}, p.as<double>());
  const std::vector<std::int64_t> bounds{0, 1, 33, 34};
  std::vector<rank_results<float>> results(3);
  loopback_ranks::run(3, [&](const loopback& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    results[r] = run_on_rank_by<policy, kla>(comm, part_of(p, bounds[r], bounds[r + 1], r == 0, r == 2), 0, 16, false);
  });
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t i = 0; i < exact.in_bar.size(); ++i) {
      const auto& bar = exact.in_bar[i];
      CHECK(difference(results[r].backward.in_bar[i], bar.extent[1] == 1 ? bar : slice(bar, bounds[r], bounds[r + 1])) <
            1e-4);
    }
  }
}
#endif

TEST_CASE("the wire has a state a lane from rank to rank") {
  const auto p = random_problem<kla, float>(1, 256, 33, 16, 9);
  std::size_t sent = 0;
  loopback_ranks::run(4, [&](const loopback& comm) {
    const auto r = comm.rank();
    run_on_rank<kla>(comm, part_of(p, 64 * r, 64 * r + 64, r == 0, r == 3), 16, 16, true);
    if (r == 0) sent = comm.sent();
  });
  CHECK(sent == 2 * 3 * 33 * 16 * sizeof(kalscan::belief<float>));
}

TEST_CASE("bad calls are refused by name") {
  const auto p = random_problem<kla, float>(1, 40, 18, 3, 7);
  const auto message = [&](const std::vector<std::int64_t>& steps, auto call) {
    std::string text = "none";
    loopback_ranks::run(2, [&](const loopback& comm) {
      if (comm.rank() != 0) return;
      const kalscan::ranks policy{comm, kalscan::cuda{}, steps};
      try {
        call(policy);
      } catch (const std::invalid_argument& error) {
        text = error.what();
      }
    });
    return text;
  };
  const device_adjoint<kla, float> x(p, 0, false, nullptr);
  const auto forward = [&](const auto& policy) {
    kalscan::forward(policy, kla{}, p.shape, x.d.in_views(), x.d.out_views());
  };
  const auto backward = [&](const auto& policy) {
    kalscan::backward(policy, kla{}, p.shape, x.d.in_views(), x.d.out_bar_views(), x.in_bar_views());
  };
  CHECK(message({}, forward) ==
        "kalscan::forward: steps has 0 numbers, one for each of 2 ranks is needed: agree_on_steps gives them");
  CHECK(message({41, 40}, forward) == "kalscan::forward: the shape's time is 40, but steps[0] is 41");
  CHECK(message({40, 40}, forward).find("workspace has 0 bytes, but") != std::string::npos);
  CHECK(message({40, 1}, backward) ==
        "kalscan::backward: steps[1] is 1: of one step nobody can tell a parameter per token from one of all tokens, "
        "unless the policy is a cuda_for with parameters_vary = false");
  const std::vector<std::int64_t> offsets{0, 20, 40};
  const auto packed = [&](const auto& policy) {
    kalscan::forward(policy, kla{}, {1, 40, 18, 3, offsets}, x.d.in_views(), x.d.out_views());
  };
  CHECK(message({40, 40}, packed) ==
        "kalscan::forward: steps has 2 numbers, 4 for each of 2 ranks are needed: agree_on_steps gives them");
  CHECK(message({40, 40, 3, 3, 1, 1, 9, 9}, packed) ==
        "kalscan::forward: the number of sequences is 2, but steps[2] is 3");
  const auto packed_backward = [&](const auto& policy) {
    kalscan::backward(policy, kla{}, {1, 40, 18, 3, offsets}, x.d.in_views(), x.d.out_bar_views(), x.in_bar_views());
  };
  CHECK(message({40, 40, 2, 2, 1, 1, 9, 9}, packed_backward) ==
        "kalscan::backward: the sequences have 2 chunks, but steps[6] is 9: agree_on_steps is to be asked for these "
        "offsets, this chunk and number type");
}

/// What two ranks are told whose calls are those of call(rank, policy), which returns what is agreed on.
template <class Ranks, class Call>
std::string both_are_told(Call call) {
  std::vector<std::string> told(2);
  Ranks::run(2, [&](const auto& comm) {
    const kalscan::ranks policy{comm, kalscan::cuda{.chunk = 16}};
    try {
      static_cast<void>(call(comm.rank(), policy));
      told[static_cast<std::size_t>(comm.rank())] = "nothing";
    } catch (const std::invalid_argument& error) {
      told[static_cast<std::size_t>(comm.rank())] = error.what();
    }
  });
  CHECK(told[0] == told[1]);
  return told[0];
}
template <class Ranks>
void check_differences() {
  const kalscan::mixer_shape shape{1, 40, 18, 3};
  CHECK(both_are_told<Ranks>([&](int r, auto policy) {
          policy.inner.chunk += r;
          return kalscan::agree_on_steps(policy, kla{}, shape);
        }) == "kalscan: the ranks differ in the chunk: 16 on rank 0, 17 on rank 1");
  CHECK(both_are_told<Ranks>([&](int r, const auto& policy) {
          return kalscan::agree_on_steps(policy, kla{}, {1 + r, 40, 18, 3});
        }) == "kalscan: the ranks differ in the batch: 1 on rank 0, 2 on rank 1");
  const std::vector<std::int64_t> offsets{0, 40};
  CHECK(both_are_told<Ranks>([&](int r, const auto& policy) {
          return kalscan::agree_on_steps(policy, kla{},
                                         {1, 40, 18, 3, r == 1 ? std::span(offsets) : std::span<const std::int64_t>()});
        }) == "kalscan: the ranks differ in whether sequences are packed: 0 on rank 0, 1 on rank 1");
  CHECK(both_are_told<Ranks>([&](int r, const auto& policy) {
          kalscan::kla_inputs<kalscan::tensor<const float>> in;
          in.a.extent = {1, r == 0 ? 1 : 40, 18, 3}, in.p.extent = {1, 1, 18, 3};
          return kalscan::agree_on_steps(policy, kla{}, shape, in);
        }) == "kalscan: the ranks differ in a: the same for all tokens on rank 0, one a token on rank 1");
  CHECK(both_are_told<Ranks>([&](int r, const auto& policy) {
          const kalscan::kla_inputs<kalscan::tensor<const float>> in;
          const float one = 1;
          kalscan::mixer_adjoints<kla, float> states;
          if (r == 1) states.checkpoints = {{&one, 1, 3, 18, 3}, {&one, 1, 3, 18, 3}};
          states.every = static_cast<std::int64_t>(kalscan::backward_checkpoints(kla{}, shape));
          return kalscan::agree_on_steps(policy, kla{}, shape, in, states);
        }) == "kalscan: the ranks differ in checkpoints: none on rank 0, given on rank 1");
  const std::vector<std::int64_t> too_far{0, 41};
  CHECK(both_are_told<Ranks>([&](int r, const auto& policy) {
          return kalscan::agree_on_steps(policy, kla{}, {1, 40, 18, 3, r == 0 ? offsets : too_far});
        }) == "kalscan: rank 1: offsets[1] is 41, not the time 40");
  // Mixers and number types.
  for (const std::string& told : {both_are_told<Ranks>([&](int r, const auto& policy) {
                                    return r == 0 ? kalscan::agree_on_steps(policy, kla{}, shape)
                                                  : kalscan::agree_on_steps(policy, gla{}, shape);
                                  }),
                                  both_are_told<Ranks>([&](int r, const auto& policy) {
                                    return r == 0 ? kalscan::agree_on_steps<float>(policy, kla{}, shape)
                                                  : kalscan::agree_on_steps<double>(policy, kla{}, shape);
                                  })}) {
    CHECK(told.find("kalscan: the ranks differ in what they call: mixer ") == 0);
    CHECK(told.find(" on rank 1") != std::string::npos);
  }
}
TEST_CASE("ranks with devices that differ are told so before any work, all the same") {
  check_differences<loopback_ranks>();
}

#ifdef KALSCAN_TEST_NCCL

static_assert(kalscan::device_communicator<kalscan::nccl_communicator>);

TEST_CASE_TEMPLATE("a mixer over the GPUs of NCCL has the bits of one", M, KALSCAN_TEST_MIXERS) {
  check_mixer<nccl_ranks, M>(nccl_counts());
  check_packed<nccl_ranks, M>(nccl_counts());
}
TEST_CASE("over the GPUs of NCCL, too, ranks that differ are told so") {
  if (!nccl_counts().empty()) check_differences<nccl_ranks>();
}
TEST_CASE("over the GPUs of NCCL, too, ranks take the steps where elements do not hold") {
  check_elements_that_do_not_hold<nccl_ranks>(nccl_counts());
}

/// This process as one of the ranks, the others being processes like it.
struct nccl_process {
  static inline const kalscan::nccl_communicator* mine = nullptr;
  template <class F>
  static void run(int, F f) {
    f(*mine);
  }
};
void require_nccl(ncclResult_t code) {
  if (code != ncclSuccess) throw std::runtime_error(ncclGetErrorString(code));
}
/// What a process is told through its environment: its rank, how many there are, and NCCL's id.
constexpr const char* process_variable = "KALSCAN_TEST_NCCL_PROCESS";
std::string process_text(int rank, int ranks, const ncclUniqueId& id) {
  std::string text = std::to_string(rank) + ' ' + std::to_string(ranks) + ' ';
  for (const char byte : id.internal)
    for (const int shift : {4, 0}) text += static_cast<char>('a' + (static_cast<unsigned char>(byte) >> shift & 15));
  return text;
}
void run_as_process(const char* text) {
  alarm(120);  // a rank that is lost leaves the others waiting
  char* end = nullptr;
  const int rank = static_cast<int>(std::strtol(text, &end, 10)), ranks = static_cast<int>(std::strtol(end, &end, 10));
  ncclUniqueId id;
  REQUIRE(std::strlen(++end) == 2 * sizeof(id.internal));
  for (char& byte : id.internal) byte = static_cast<char>((end[0] - 'a') * 16 + (end[1] - 'a')), end += 2;
  ok(cudaSetDevice(rank));
  ncclComm_t comm;
  require_nccl(ncclCommInitRank(&comm, ranks, id, rank));
  const kalscan::nccl_communicator communicator(comm);
  nccl_process::mine = &communicator;
  check_mixer<nccl_process, kla>({ranks});
  require_nccl(ncclCommDestroy(comm));
}

TEST_CASE("NCCL with a process for each GPU") {
  if (const char* text = std::getenv(process_variable)) return run_as_process(text);
  for (const int ranks : nccl_counts()) {
    CAPTURE(ranks);
    ncclUniqueId id;
    require_nccl(ncclGetUniqueId(&id));
    std::vector<pid_t> processes(static_cast<std::size_t>(ranks));
    for (int r = 0; r < ranks; ++r) {
      setenv(process_variable, process_text(r, ranks, id).c_str(), 1);
      char name[] = "ranks", only[] = "--test-case=NCCL with a process for each GPU";
      char* arguments[] = {name, only, nullptr};
      REQUIRE(posix_spawn(&processes[static_cast<std::size_t>(r)], "/proc/self/exe", nullptr, nullptr, arguments,
                          environ) == 0);
    }
    unsetenv(process_variable);
    for (const pid_t process : processes) {
      int status = -1;
      CHECK(waitpid(process, &status, 0) == process);
      CHECK(status == 0);
    }
  }
}

TEST_CASE("NCCL: forward and backward from graphs, three times") {
  for (const int ranks : nccl_counts()) {
    const auto p = random_problem<kla, float>(1, 256 * ranks, 70, 16, 5);
    std::vector<std::string> failed(static_cast<std::size_t>(ranks));
    nccl_ranks::run(ranks, [&](const kalscan::nccl_communicator& comm) {
      const int r = comm.rank();
      const auto part = part_of(p, 256 * r, 256 * r + 256, r == 0, r + 1 == ranks);
      const auto once = run_on_rank<kla>(comm, part, 64, 16, true);
      const stream_of_rank stream;
      const device_adjoint<kla, float> x(part, 16, false, nullptr);
      kalscan::ranks policy{comm, kalscan::cuda{.stream = stream.get, .chunk = 64}};
      const auto steps = kalscan::agree_on_steps(policy, kla{}, part.shape);
      policy.steps = steps;
      const auto in = x.d.in_views();
      const kalscan::cuda_workspace memory(
          (std::max)(kalscan::forward_workspace(policy, kla{}, part.shape),
                     kalscan::backward_workspace(policy, kla{}, part.shape, in, x.states())));
      policy.inner.workspace = memory;
      ok(cudaStreamBeginCapture(stream.get, cudaStreamCaptureModeThreadLocal));
      kalscan::forward(policy, kla{}, part.shape, in, x.d.out_views(), x.d.states());
      kalscan::backward(policy, kla{}, part.shape, in, x.d.out_bar_views(), x.in_bar_views(), x.states());
      cudaGraph_t graph;
      cudaGraphExec_t ready;
      ok(cudaStreamEndCapture(stream.get, &graph));
      ok(cudaGraphInstantiate(&ready, graph, 0));
      for (int i = 0; i < 3; ++i) {
        ok(cudaMemsetAsync(x.d.out[0].data, 0xff, x.d.out[0].host.values.size() * sizeof(float), stream.get));
        ok(cudaMemsetAsync(x.in_bar[0].data, 0xff, x.in_bar[0].host.values.size() * sizeof(float), stream.get));
        ok(cudaGraphLaunch(ready, stream.get));
        ok(cudaStreamSynchronize(stream.get));
        if (!same_bits(x.d.result().out, once.forward.out) || !same_bits(x.result().in_bar, once.backward.in_bar))
          failed[static_cast<std::size_t>(r)] = "bits differ";
      }
      ok(cudaGraphExecDestroy(ready)), ok(cudaGraphDestroy(graph));
    });
    for (const auto& text : failed) CHECK(text == "");
  }
}

#endif

}  // namespace
}  // namespace mixer_ranks_tests
#undef KALSCAN_TEST_MIXERS
