// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string_view>

#include <kalscan/laws.hpp>
#include <kalscan/monoids/bicyclic.hpp>
#include <kalscan/monoids/matrix.hpp>
#include <kalscan/monoids/permutation.hpp>

#include "random.hpp"

namespace {

kalscan::brackets few_brackets(std::mt19937_64& engine) {
  std::uniform_int_distribution<std::uint32_t> few(0, 4);
  return {few(engine), few(engine)};
}

kalscan::brackets reduce(std::string_view text) {
  const kalscan::bicyclic_monoid m;
  kalscan::brackets result = m.identity();
  for (const char c : text)
    result = m(result, c == ')' ? kalscan::brackets{1, 0} : kalscan::brackets{0, 1});
  return result;
}

template <std::size_t N>
kalscan::permutation<N> shuffled(std::mt19937_64& engine) {
  auto result = kalscan::permutation_monoid<N>::identity();
  std::shuffle(result.image, result.image + N, engine);
  return result;
}

template <class U>
kalscan::square_matrix<U, 2> any_matrix(std::mt19937_64& engine) {
  std::uniform_int_distribution<U> any;
  return {{{any(engine), any(engine)}, {any(engine), any(engine)}}};
}

}  // namespace

TEST_CASE("reduced bracket strings form a monoid exactly") {
  const kalscan::bicyclic_monoid m;
  CHECK(kalscan::check_monoid(m, few_brackets, kalscan::exact, usual));
  CHECK(kalscan::check_recurrence(kalscan::running<kalscan::bicyclic_monoid>{m}, few_brackets, few_brackets,
                                  kalscan::exact, usual));
}

TEST_CASE("matched brackets cancel and unmatched ones remain") {
  CHECK(reduce("") == kalscan::brackets{0, 0});
  CHECK(reduce("(()())") == kalscan::brackets{0, 0});
  CHECK(reduce(")(") == kalscan::brackets{1, 1});
  CHECK(reduce("())(((") == kalscan::brackets{1, 3});
}

TEST_CASE("permutations of five form a monoid exactly") {
  const kalscan::permutation_monoid<5> m;
  CHECK(kalscan::check_monoid(m, shuffled<5>, kalscan::exact, usual));
  CHECK(kalscan::check_recurrence(kalscan::running<kalscan::permutation_monoid<5>>{m}, shuffled<5>, shuffled<5>,
                                  kalscan::exact, usual));
}

TEST_CASE("permutations of one and of 256 form monoids exactly") {
  const kalscan::law_options few{.trials = 20};
  CHECK(kalscan::check_monoid(kalscan::permutation_monoid<1>{}, shuffled<1>, kalscan::exact, few));
  CHECK(kalscan::check_monoid(kalscan::permutation_monoid<256>{}, shuffled<256>, kalscan::exact, few));
}

TEST_CASE("the earlier permutation acts first") {
  const kalscan::permutation<3> swap_first{{1, 0, 2}}, rotate{{1, 2, 0}};
  CHECK(kalscan::permutation_monoid<3>{}(swap_first, rotate) == kalscan::permutation<3>{{2, 1, 0}});
  CHECK(kalscan::permutation_monoid<3>{}(rotate, swap_first) == kalscan::permutation<3>{{0, 2, 1}});
}

TEST_CASE_TEMPLATE("two by two matrices over unsigned integers form a monoid exactly", U, std::uint32_t,
                   std::uint64_t) {
  const kalscan::matrix_monoid<kalscan::plus_times<U>, 2> m;
  CHECK(kalscan::check_monoid(m, any_matrix<U>, kalscan::exact, usual));
  CHECK(kalscan::check_recurrence(kalscan::running<kalscan::matrix_monoid<kalscan::plus_times<U>, 2>>{m},
                                  any_matrix<U>, any_matrix<U>, kalscan::exact, usual));
}
