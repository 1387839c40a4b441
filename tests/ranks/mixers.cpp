// SPDX-License-Identifier: MIT
// Mixers over ranks, forward and backward: the bits of one rank, in batches and packed, however time is shared out.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/kla/backward.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/gla.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/rotating_kla.hpp>
#include <kalscan/laws.hpp>  // whose names ranks must not take for theirs
#include <kalscan/ranks/mixer.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../kla/problem.hpp"
#include "on_ranks.hpp"

namespace {

namespace k = kla_test;
using k::array;
using k::given;

/// What one rank has of a problem: its steps, and of each sequence that has some of them (or none at all) a row of states.
template <class M>
struct part {
  k::problem<M, float> p;
  std::int64_t from, to, first = 0;  // steps, and the first of the sequences
  bool begins = true, ends = true;   // whether the first and the last of the sequences do (in a batch all)

  bool has(std::int64_t n) const { return n >= first && n < first + p.shape.sequences(); }
};

array<float> slice(const array<float>& x, std::size_t axis, std::int64_t from, std::int64_t to) {
  auto extent = x.extent;
  extent[axis] = to - from;
  array<float> y(extent[0], extent[1], extent[2], extent[3]);
  for (std::int64_t b = 0; b < extent[0]; ++b)
    for (std::int64_t t = 0; t < extent[1]; ++t)
      for (std::int64_t m = 0; m < extent[2]; ++m)
        for (std::int64_t s = 0; s < extent[3]; ++s)
          y.view()(b, t, m, s) = x.view()(axis == 0 ? b + from : b, axis == 1 ? t + from : t, m, s);
  return y;
}

/// What a rank must not read is 7.
void spoil(array<float>& x, bool all, bool first, bool last) {
  for (std::int64_t n = 0; n < x.extent[0]; ++n) {
    if (all || (first && n == 0) || (last && n + 1 == x.extent[0])) {
      for (std::int64_t m = 0; m < x.extent[2]; ++m)
        for (std::int64_t s = 0; s < x.extent[3]; ++s) x.view()(n, 0, m, s) = 7;
    }
  }
}

template <class M>
part<M> part_of(const k::problem<M, float>& p, std::int64_t from, std::int64_t to, bool first_rank, bool last_rank) {
  part<M> x;
  x.from = from, x.to = to;
  auto& q = x.p;
  q.shape = {p.shape.batch, to - from, p.shape.channels, p.shape.states, {}};
  std::int64_t rows = p.shape.batch;
  if (p.offsets.empty()) {
    x.begins = first_rank, x.ends = last_rank;
  } else {
    q.offsets = {0};
    x.first = -1;
    for (std::int64_t n = 0; n + 1 < std::ssize(p.offsets); ++n) {
      const auto begin = p.offsets[static_cast<std::size_t>(n)], end = p.offsets[static_cast<std::size_t>(n) + 1];
      const bool here =
          begin == end ? (from <= begin && begin < to) || (last_rank && begin == to) : begin < to && end > from;
      if (!here) continue;
      if (x.first < 0) x.first = n, x.begins = begin >= from;
      x.ends = end <= to;
      q.offsets.push_back((std::min)(end, to) - from);
    }
    x.first = (std::max)(x.first, std::int64_t{0});
    q.shape.offsets = q.offsets;
    rows = q.shape.sequences();
  }
  for (const auto& in : p.in) q.in.push_back(in.extent[1] == 1 && p.shape.time != 1 ? in : slice(in, 1, from, to));
  for (const auto& bar : p.out_bar) q.out_bar.push_back(slice(bar, 1, from, to));
  for (const auto& state : p.initial) q.initial.push_back(slice(state, 0, x.first, x.first + rows));
  for (const auto& bar : p.final_bar) q.final_bar.push_back(slice(bar, 0, x.first, x.first + rows));
  const bool all = p.offsets.empty();
  for (auto& state : q.initial) spoil(state, all && !x.begins, !x.begins, false);
  for (auto& bar : q.final_bar) spoil(bar, all && !x.ends, false, !x.ends);
  return x;
}

/// `summed`: whether gradients that all times share are bit for bit those of one rank.
template <class M>
void check_ranks(const k::problem<M, float>& p, const kalscan::omp& inner, int ranks,
                 const std::vector<std::int64_t>& bounds, double bound, bool given_checkpoints = false) {
  constexpr std::int64_t every = 16;
  const auto whole = k::run_forward<M>(inner, p, every);
  const auto whole_back = k::run_backward<M>(inner, p, given_checkpoints ? &whole : nullptr, every);
  const auto equal = [&](const array<float>& x, const array<float>& y) {
    if (bound == 0) {
      const auto a = x.list(), b = y.list();
      const auto same = [](float u, float v) { return u == v || (std::isnan(u) && std::isnan(v)); };
      return x.extent == y.extent && std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
    }
    return x.list().empty() ? y.list().empty() : k::difference(x, y) < bound;
  };
  test::on_ranks(ranks, [&](const test::communicator& comm) {
    const auto r = static_cast<std::size_t>(comm.rank());
    const auto x = part_of(p, bounds[r], bounds[r + 1], r == 0, comm.rank() + 1 == ranks);
    const kalscan::ranks policy{comm, inner, !x.begins};
    const auto forward = k::run_forward<M>(policy, x.p, every);
    const auto back = k::run_backward<M>(policy, x.p, given_checkpoints ? &forward : nullptr, every);
    const std::int64_t rows = x.p.shape.sequences();
    for (std::size_t i = 0; i < forward.out.size(); ++i)
      CHECK(equal(forward.out[i], slice(whole.out[i], 1, x.from, x.to)));
    for (std::size_t i = 0; i < forward.final.size(); ++i)
      CHECK(equal(forward.final[i], slice(whole.final[i], 0, x.first, x.first + rows)));
    if (p.offsets.empty() && x.from % every == 0) {
      for (std::size_t i = 0; i < forward.checkpoints.size(); ++i) {
        const auto& kept = forward.checkpoints[i];
        // Beyond the last step but one stretch: where this rank ends, what the next one starts from.
        const auto from = x.from / every, count = (std::min)(kept.extent[1], whole.checkpoints[i].extent[1] - from);
        CHECK(equal(slice(kept, 1, 0, count), slice(whole.checkpoints[i], 1, from, from + count)));
      }
    }
    for (std::size_t i = 0; i < back.in_bar.size(); ++i) {
      const auto& bar = whole_back.in_bar[i];
      if (p.in[i].extent[1] == 1 && p.shape.time != 1) {
        CHECK((p.offsets.empty() ? equal(back.in_bar[i], bar) : k::difference(back.in_bar[i], bar) < 1e-5));
      } else {
        CHECK(equal(back.in_bar[i], slice(bar, 1, x.from, x.to)));
      }
    }
    for (std::size_t i = 0; i < back.initial_bar.size(); ++i) {
      for (std::int64_t n = 0; n < rows; ++n) {
        const bool begins = x.begins || (!p.offsets.empty() && n > 0);
        const auto bar = slice(back.initial_bar[i], 0, n, n + 1);
        auto expected = slice(whole_back.initial_bar[i], 0, x.first + n, x.first + n + 1);
        if (!begins) expected.each([](float& v) { v = 0; });  // as it was
        CHECK(equal(bar, expected));
      }
    }
  });
}

constexpr std::int64_t steps = 16;

TEST_CASE_TEMPLATE("a mixer over ranks has the bits of one rank, whatever they have of a batch", M, kalscan::kla,
                   kalscan::gla, kalscan::rotating_kla) {
  std::uint64_t seed = 0;
  for (const int ranks : test::rank_counts()) {
    for (const given g : {given::fixed, given::per_token, given::per_batch}) {
      CAPTURE(ranks);
      const std::int64_t length = unless_slow(131, 67);
      const auto p = k::random_problem<M, float>(2, length, unless_slow(33, 9), unless_slow(3, 2), ++seed, g);
      check_ranks(p, {2, steps}, ranks, test::random_bounds(ranks, length, steps, seed), 0);
      check_ranks(p, {1, steps}, ranks, test::random_bounds(ranks, length, steps, seed + 100), 0, true);
      check_ranks(p, {2, steps}, ranks, test::random_bounds(ranks, length, 1, seed), 1e-4);
      check_ranks(p, {2, 0}, ranks, test::random_bounds(ranks, length, 1, seed), 1e-4);
    }
  }
}

/// Nothing is observed for longer than some ranks last: elements cannot tell an infinite variance, and the backward pass
/// carries adjoints in another form.
TEST_CASE("a diffuse prior goes through ranks as it does through chunks") {
  std::uint64_t seed = 40;
  for (const int ranks : test::rank_counts()) {
    CAPTURE(ranks);
    const std::int64_t states = unless_slow(3, 2);
    auto p = k::random_problem<kalscan::kla, float>(2, 131, unless_slow(35, 17), states, ++seed);
    p.initial[1].each([](float& variance) { variance = std::numeric_limits<float>::infinity(); });
    for (std::int64_t t = 0; t < 70; ++t) {
      for (std::int64_t s = 0; s < states; ++s) p.in[2].view()(0, t, 0, s) = 0;
    }
    check_ranks(p, {2, steps}, ranks, test::random_bounds(ranks, 131, steps, seed), 0);
    p.initial[1].each([](float& variance) { variance = 1e30F; });
    check_ranks(p, {2, steps}, ranks, test::random_bounds(ranks, 131, steps, seed), 0);
  }
}

TEST_CASE_TEMPLATE("step takes a token on each rank and brings the last states to all", M, kalscan::kla, kalscan::gla) {
  const kalscan::omp inner{1, 1};
  for (const int ranks : test::rank_counts()) {
    CAPTURE(ranks);
    const auto p = k::random_problem<M, float>(2, ranks, 19, 3, 7);
    const auto whole = k::run_forward<M>(inner, p);
    test::on_ranks(ranks, [&](const test::communicator& comm) {
      const int r = comm.rank();
      auto x = part_of(p, r, r + 1, r == 0, r + 1 == ranks);
      std::vector<array<float>> out, expected;
      for (const auto& y : whole.out) {
        expected.push_back(slice(y, 1, r, r + 1));
        out.emplace_back(2, 1, 19, 1);
      }
      using outputs = typename M::template outputs<kalscan::tensor<float>>;
      using states = kalscan::state_tensors<M, float>;
      kalscan::step(kalscan::ranks{comm, inner}, M{}, x.p.shape, x.p.in_views(), x.p.template writable<outputs>(out),
                    x.p.template writable<states>(x.p.initial));
      CHECK(k::same_bits(out, expected));
      CHECK(k::same_bits(x.p.initial, whole.final));
    });
  }
}

TEST_CASE("ranks that differ in mixers, in checkpoints, or in how a parameter is given, all say so") {
  const auto p = k::random_problem<kalscan::kla, float>(2, 40, 5, 3, 1);
  const auto tokens = k::random_problem<kalscan::kla, float>(2, 40, 5, 3, 1, given::per_token);
  const auto other = k::random_problem<kalscan::gla, float>(2, 40, 5, 3, 1);
  const auto kept = k::run_forward<kalscan::kla>(kalscan::seq{}, p, steps);
  const auto refused = [](const std::string& what, auto first, auto others) {
    test::check_all_throw<std::invalid_argument>(what, [&](const test::communicator& comm) {
      const kalscan::ranks policy{comm};
      comm.rank() == 0 ? first(policy) : others(policy);
    });
  };
  const auto forward = [&](const auto& policy) { (void)k::run_forward<kalscan::kla>(policy, p); };
  refused("the ranks differ in what they call: forward of", forward,
          [&](const auto& policy) { (void)k::run_forward<kalscan::gla>(policy, other); });
  refused("kalscan: the ranks differ in a: the same for all tokens on rank 0, one a token on rank", forward,
          [&](const auto& policy) { (void)k::run_forward<kalscan::kla>(policy, tokens); });
  const auto backward = [&](const auto& policy) { (void)k::run_backward<kalscan::kla>(policy, p, &kept, steps); };
  refused("kalscan: the ranks differ in the distance of checkpoints: 16 on rank 0, 0 on rank", backward,
          [&](const auto& policy) { (void)k::run_backward<kalscan::kla>(policy, p); });
  refused("kalscan: the ranks differ in checkpoints: given on rank 0, none on rank", backward, [&](const auto& policy) {
    k::backward_result<float> r;
    for (const auto& x : p.in) r.in_bar.emplace_back(x.extent[0], x.extent[1], x.extent[2], x.extent[3]);
    kalscan::backward(policy, kalscan::kla{}, p.shape, p.in_views(), p.out_bar_views(),
                      p.writable<kalscan::kla_inputs<kalscan::tensor<float>>>(r.in_bar), {.every = steps});
  });
  const std::string not_one = "kalscan: rank 1: step takes one token, not 40";
  test::check_all_throw<std::invalid_argument>(not_one, [&](const test::communicator& comm) {
    auto x = p;
    auto one = part_of(p, 0, 1, true, false);
    auto& mine = comm.rank() == 1 ? x : one.p;
    std::vector<array<float>> out;
    for (int i = 0; i < 2; ++i) out.emplace_back(2, mine.shape.time, 5, 1);
    kalscan::step(kalscan::ranks{comm}, kalscan::kla{}, mine.shape, mine.in_views(),
                  mine.writable<kalscan::kla_outputs<kalscan::tensor<float>>>(out),
                  mine.writable<kalscan::belief<kalscan::tensor<float>>>(mine.initial));
  });
}

TEST_CASE_TEMPLATE("packed sequences go on across ranks", M, kalscan::kla, kalscan::gla) {
  std::uint64_t seed = 20;
  const std::vector<std::int64_t> offsets{0, 0, 48, 64, 64, 192, 200, 208, 209, 224};
  for (const int ranks : test::rank_counts()) {
    CAPTURE(ranks);
    const auto p = k::random_problem<M, float>(1, 224, 20, 3, ++seed, given::fixed, false, offsets);
    auto bounds = test::random_bounds(ranks, 192, steps, seed);
    bounds.back() = 224;
    check_ranks(p, {2, steps}, ranks, bounds, 0);
    check_ranks(p, {2, 0}, ranks, test::random_bounds(ranks, 224, 1, seed), 1e-4);
  }
}

}  // namespace
