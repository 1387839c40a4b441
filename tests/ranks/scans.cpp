// SPDX-License-Identifier: MIT
// Scans over ranks: the conformance suite, and what is theirs alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <kalscan/scan.hpp>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../conformance/operators.hpp"
#include "on_ranks.hpp"

namespace {

constexpr std::int64_t more_lengths[] = {3};
constexpr shape more_shapes[] = {{1, 5, 70}};

/// A policy of so many ranks, which the calls below make of it.
struct spread {
  int size;
  kalscan::omp inner;
};

template <class Check>
void for_each_policy(Check check) {
  for (const int ranks : test::rank_counts()) {
    if (ranks == 1) continue;
    CAPTURE(ranks);
    check(spread{ranks, {2, 0}});
    check(spread{ranks, {2, chunk}});
  }
}

/// The verbs of the host on whole arrays, of which each rank takes a part.
struct spread_calls {
  spread s;

  template <class Verb, class M, class X, class... Initial>
  X of_range(Verb verb, const M& m, const std::vector<X>& x, std::vector<X>& y, const Initial&... initial) const {
    const auto bounds = test::random_bounds(s.size, std::ssize(x), 1, x.size() + 7);
    X result{};
    const auto in = x;
    test::on_ranks(s.size, [&](const test::communicator& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const std::vector<X> part(in.begin() + bounds[r], in.begin() + bounds[r + 1]);
      std::vector<X> out(part);
      const X total = verb(kalscan::ranks{comm, s.inner}, m, r % 2 == 0 ? out : part, out, initial...);
      for (const X& other : test::collect(comm, std::vector<X>{total})) CHECK(other == total);
      const auto whole = test::collect(comm, out);
      if (test::reports(comm)) y = whole, result = total;
    });
    return result;
  }
  template <class Verb, class M, class T>
  void of_view(Verb verb, const M& m, const kalscan::sequences<const T>& in, const kalscan::sequences<T>& out,
               const std::vector<T>& initial, std::vector<T>& final) const {
    const auto bounds = test::random_bounds(s.size, in.time, 1, static_cast<std::uint64_t>(in.time));
    const auto given = initial;
    test::on_ranks(s.size, [&](const test::communicator& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const auto part = [&](auto x) {
        x.data += bounds[r] * x.time_stride;
        x.time = bounds[r + 1] - bounds[r];
        return x;
      };
      std::vector<T> end(final.size()), column;
      const auto to = part(out);
      verb(kalscan::ranks{comm, s.inner}, m, part(in), to, given, end);
      for (std::int64_t b = 0; b < to.batch; ++b) {  // what other processes have written
        for (std::int64_t l = 0; l < to.lanes; ++l) {
          column.clear();
          for (std::int64_t t = 0; t < to.time; ++t) {
            column.push_back(to.data[b * to.batch_stride + t * to.time_stride + l * to.lane_stride]);
          }
          column = test::collect(comm, column);
          for (std::int64_t t = 0; t < out.time && test::reports(comm); ++t) {
            out.data[b * to.batch_stride + t * to.time_stride + l * to.lane_stride] =
                column[static_cast<std::size_t>(t)];
          }
        }
      }
      if (test::reports(comm)) final = end;
    });
  }

  template <class M, class X, class... Initial>
  X inclusive_scan(const M& m, const std::vector<X>& x, std::vector<X>& y, const Initial&... initial) const {
    return of_range([](const auto& p, const auto& a, auto& in, auto& out, const auto&... first) {
      return kalscan::inclusive_scan(p, a, in, out, first...);
    }, m, x, y, initial...);
  }
  template <class M, class X, class... Initial>
  X exclusive_scan(const M& m, const std::vector<X>& x, std::vector<X>& y, const Initial&... initial) const {
    return of_range([](const auto& p, const auto& a, auto& in, auto& out, const auto&... first) {
      return kalscan::exclusive_scan(p, a, in, out, first...);
    }, m, x, y, initial...);
  }
  template <class M, class X, class... Initial>
  X inclusive_suffix_scan(const M& m, const std::vector<X>& x, std::vector<X>& y, const Initial&... initial) const {
    return of_range([](const auto& p, const auto& a, auto& in, auto& out, const auto&... first) {
      return kalscan::inclusive_suffix_scan(p, a, in, out, first...);
    }, m, x, y, initial...);
  }
  template <class M, class X, class... Initial>
  X exclusive_suffix_scan(const M& m, const std::vector<X>& x, std::vector<X>& y, const Initial&... initial) const {
    return of_range([](const auto& p, const auto& a, auto& in, auto& out, const auto&... first) {
      return kalscan::exclusive_suffix_scan(p, a, in, out, first...);
    }, m, x, y, initial...);
  }
  template <class M, class In, class T>
  void inclusive_scan(const M& m, const kalscan::sequences<In>& in, const kalscan::sequences<T>& out,
      const std::vector<T>& initial, std::vector<T>& final) const {
    of_view([](const auto& p, const auto& a, const auto& x, const auto& y, const auto& first, auto& last) {
      kalscan::inclusive_scan(p, a, x, y, first, last);
    }, m, kalscan::sequences<const T>(in), out, initial, final);
  }
  template <class M, class In, class T>
  void exclusive_suffix_scan(const M& m, const kalscan::sequences<In>& in, const kalscan::sequences<T>& out,
      const std::vector<T>& initial, std::vector<T>& final) const {
    of_view([](const auto& p, const auto& a, const auto& x, const auto& y, const auto& first, auto& last) {
      kalscan::exclusive_suffix_scan(p, a, x, y, first, last);
    }, m, kalscan::sequences<const T>(in), out, initial, final);
  }
  template <class M, class In, class T>
  void exclusive_suffix_scan(const M& m, const kalscan::sequences<In>& in, const kalscan::sequences<T>& out) const {
    std::vector<T> none;
    exclusive_suffix_scan(m, in, out, none, none);
  }
  template <class M, class X>
  X reduce(const M& m, const std::vector<X>& x, const X& initial) const {
    auto unused = x;
    return of_range([](const auto& p, const auto& a, auto& in, auto&, const auto& first) {
      return kalscan::reduce(p, a, in, first);
    }, m, x, unused, initial);
  }
  template <class M, class In, class T>
  void reduce(const M& m, const kalscan::sequences<In>& in, std::vector<T>& final,
              const std::vector<T>& initial) const {
    std::vector<T> copy(in.data, in.data + in.batch * in.batch_stride);
    kalscan::sequences<T> unused(copy.data(), in.batch, in.time, in.lanes, in.batch_stride, in.time_stride,
                                 in.lane_stride);
    of_view([](const auto& p, const auto& a, const auto& x, const auto&, const auto& first, auto& last) {
      kalscan::reduce(p, a, x, last, first);
    }, m, kalscan::sequences<const T>(in), unused, initial, final);
  }
  template <class R, class X, class State>
  State scan_states(const R& r, const std::vector<X>& x, std::vector<State>& y, const State& initial) const {
    const auto bounds = test::random_bounds(s.size, std::ssize(x), 1, x.size() + 3);
    State result{};
    test::on_ranks(s.size, [&](const test::communicator& comm) {
      const auto k = static_cast<std::size_t>(comm.rank());
      const std::vector<X> part(x.begin() + bounds[k], x.begin() + bounds[k + 1]);
      std::vector<State> out(part.size());
      const State total = kalscan::scan_states(kalscan::ranks{comm, s.inner}, r, part, out, initial);
      const auto whole = test::collect(comm, out);
      if (test::reports(comm)) y = whole, result = total;
    });
    return result;
  }
};

inline spread_calls on(const spread& s) {
  return {s};
}

}  // namespace

#include "../conformance/suite.hpp"
