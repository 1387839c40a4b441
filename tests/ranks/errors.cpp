// SPDX-License-Identifier: MIT
// What ranks do where one differs from the others, fails or ends: all throw, and none waits for ever.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/monoids/linear_recurrence.hpp>
#include <kalscan/monoids/segmented.hpp>
#include <kalscan/scan.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "on_ranks.hpp"

namespace {

using test::check_all_throw;

using sum = kalscan::affine_monoid<double>;
/// A sum whose type has a name of any length.
template <std::size_t... I>
struct labelled_sum : sum {
  explicit labelled_sum(std::index_sequence<I...>) {}
};
const std::vector<kalscan::affine_map<double>> in(100, {1, 1});

TEST_CASE("an argument that does not fit on one rank is told on all") {
  check_all_throw<std::invalid_argument>("kalscan: rank 1: kalscan::inclusive_scan: out has size 99, not 100",
                                         [](const auto& comm) {
                                           auto out = in;
                                           if (comm.rank() == 1) out.pop_back();
                                           kalscan::inclusive_scan(kalscan::ranks{comm}, sum{}, in, out);
                                         });
}

TEST_CASE("ranks that differ in chunks, or in what they call, say which of them does what") {
  check_all_throw<std::invalid_argument>("the ranks differ in the chunk: 8 on rank 0, 4 on rank", [](const auto& comm) {
    auto out = in;
    kalscan::inclusive_scan(kalscan::ranks{comm, kalscan::omp{1, comm.rank() == 0 ? 8 : 4}}, sum{}, in, out);
  });
  check_all_throw<std::invalid_argument>("the ranks differ in what they call", [](const auto& comm) {
    auto out = in;
    if (comm.rank() == 0) {
      kalscan::inclusive_scan(kalscan::ranks{comm}, sum{}, in, out);
    } else {
      kalscan::exclusive_scan(kalscan::ranks{comm}, sum{}, in, out);
    }
  });
  // Names of operators that are as long as a message, and differ behind it.
  check_all_throw<std::invalid_argument>("the ranks differ in what they call", [](const auto& comm) {
    auto out = in;
    if (comm.rank() == 0) {
      kalscan::inclusive_scan(kalscan::ranks{comm}, labelled_sum(std::make_index_sequence<200>()), in, out);
    } else {
      kalscan::inclusive_scan(kalscan::ranks{comm}, labelled_sum(std::make_index_sequence<201>()), in, out);
    }
  });
  check_all_throw<std::invalid_argument>("the number of sequences: 4 on rank 0, 5 on rank", [](const auto& comm) {
    auto out = in;
    const std::int64_t lanes = comm.rank() == 0 ? 4 : 5;
    kalscan::inclusive_scan(kalscan::ranks{comm}, sum{}, {in.data(), 1, 100 / lanes, lanes},
                            {out.data(), 1, 100 / lanes, lanes});
  });
}

struct refuses_negative {
  static long identity() { return 0; }
  long operator()(long x, long y) const {
    if (y < 0) throw std::domain_error("negative");
    return x + y;
  }
};

TEST_CASE("a rank that throws while it computes does so as on one rank, and the others throw rank_error") {
  check_all_throw<std::exception>("negative", [](const auto& comm) {
    std::vector<long> x(50, comm.rank() == 1 ? -7 : 1), y(x);
    try {
      kalscan::inclusive_scan(kalscan::ranks{comm, kalscan::omp{2, 8}}, refuses_negative{}, x, y);
    } catch (const std::domain_error&) {
      CHECK(comm.rank() == 1);
      throw;
    } catch (const kalscan::rank_error& error) {
      CHECK(error.rank == 1);
      throw;
    }
  });
}

TEST_CASE("a thread that ends lets no other wait") {
  for (const int ranks : {2, 5}) {
    CHECK_THROWS_AS(kalscan::run_on_threads(ranks,
                                            [&](const kalscan::thread_communicator& comm) {
                                              if (comm.rank() == 1) return;
                                              auto out = in;
                                              kalscan::inclusive_scan(kalscan::ranks{comm}, sum{}, in, out);
                                            }),
                    kalscan::lost_rank);
    CHECK_THROWS_WITH(kalscan::run_on_threads(ranks,
                                              [&](const kalscan::thread_communicator& comm) {
                                                auto out = in;
                                                kalscan::inclusive_scan(kalscan::ranks{comm}, sum{}, in, out);
                                                if (comm.rank() == 1) throw std::runtime_error("out of power");
                                                kalscan::inclusive_scan(kalscan::ranks{comm}, sum{}, in, out);
                                              }),
                      "out of power");
  }
}

TEST_CASE("gains whose product overflows leave the state that steps leave it, across ranks") {
  std::vector<kalscan::affine_map<float>> x(300, {0.5F, 0});
  for (std::size_t t = 0; t < 300; ++t) {
    if (t % 50 < 8) x[t].gain = 1e30F;
    if (t > 200) x[t].offset = 1;
  }
  std::vector<float> expected(x.size());
  const float total = kalscan::scan_states(kalscan::seq{}, kalscan::linear_recurrence<float>{}, x, expected, 0.0F);
  for (const int ranks : test::rank_counts()) {
    const auto bounds = test::random_bounds(ranks, 300, 1, 5);
    test::on_ranks(ranks, [&](const test::communicator& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const std::vector<kalscan::affine_map<float>> part(x.begin() + bounds[r], x.begin() + bounds[r + 1]);
      for (const std::int64_t chunk : {0, 64, 7}) {
        std::vector<float> out(part.size());
        CHECK(kalscan::scan_states(kalscan::ranks{comm, kalscan::omp{2, chunk}}, kalscan::linear_recurrence<float>{},
                                   part, out, 0.0F) == total);
        CHECK(std::equal(out.begin(), out.end(), expected.begin() + bounds[r]));
      }
    });
  }
}

TEST_CASE("segments go on across ranks, and elements may be of any size") {
  struct join {
    static std::string identity() { return ""; }
    std::string operator()(const std::string& x, const std::string& y) const { return x + y; }
  };
  using segmented = kalscan::segmented<join>;
  std::vector<kalscan::element_t<segmented>> x;
  for (int t = 0; t < 40; ++t)
    x.push_back({std::string(static_cast<std::size_t>(t % 3), static_cast<char>('a' + t % 26)), t % 11 == 3});
  std::vector<kalscan::element_t<segmented>> expected(x);
  kalscan::inclusive_scan(kalscan::seq{}, segmented{}, x, expected);
  for (const int ranks : test::rank_counts()) {
    const auto bounds = test::random_bounds(ranks, 40, 1, 6);
    test::on_ranks(ranks, [&](const test::communicator& comm) {
      const auto r = static_cast<std::size_t>(comm.rank());
      const std::vector<kalscan::element_t<segmented>> part(x.begin() + bounds[r], x.begin() + bounds[r + 1]);
      auto out = part;
      kalscan::inclusive_scan(kalscan::ranks{comm, kalscan::omp{2, 3}}, segmented{}, part, out);
      for (std::size_t t = 0; t < out.size(); ++t)
        CHECK(out[t].value == expected[static_cast<std::size_t>(bounds[r]) + t].value);
    });
  }
}

}  // namespace
