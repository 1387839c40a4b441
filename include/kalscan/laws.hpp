// SPDX-License-Identifier: MIT
// Checks the laws of a monoid or a recurrence on random operands. Host only, for any test framework:
//
//     const auto report = kalscan::check_monoid(my_monoid{}, [](std::mt19937_64& engine) { ... }, kalscan::ulps(16));
//     if (!report) std::cerr << report.message();
#pragma once

#include <concepts>
#include <cstddef>
#include <random>
#include <utility>
#include <vector>

#include <kalscan/laws/report.hpp>
#include <kalscan/laws/tolerance.hpp>
#include <kalscan/laws/trials.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/recurrence.hpp>

namespace kalscan {

/// A function object that draws a random T.
template <class G, class T>
concept generator_of = requires(G& generate, std::mt19937_64& engine) {
  { generate(engine) } -> std::convertible_to<T>;
};

namespace detail {

inline std::size_t draw_size(std::mt19937_64& engine, std::size_t most) {
  return std::uniform_int_distribution<std::size_t>(0, most)(engine);
}

template <class T, class Generate>
std::vector<T> draw_sequence(Generate& generate, std::mt19937_64& engine, std::size_t max_length) {
  std::vector<T> result;
  for (std::size_t n = draw_size(engine, max_length); n > 0; --n) result.push_back(generate(engine));
  return result;
}

template <monoid M>
element_t<M> left_fold(const M& m, const std::vector<element_t<M>>& x, element_t<M> before) {
  for (const auto& each : x) before = m(before, each);
  return before;
}

template <monoid M>
element_t<M> right_fold(const M& m, const std::vector<element_t<M>>& x, element_t<M> after) {
  for (auto each = x.rbegin(); each != x.rend(); ++each) after = m(*each, after);
  return after;
}

template <monoid M, class Generate, class Tolerance>
void monoid_trial(const M& m, Generate& generate, std::mt19937_64& engine, std::size_t max_length,
                  law_book<Tolerance>& book) {
  using element = element_t<M>;
  using elements = std::vector<element>;
  using sides = std::pair<element, element>;
  const auto drawn = [&](const char* name) {
    return operand<element>(name, generate(engine), generate, {m.identity()});
  };
  const auto x = drawn("x"), y = drawn("y"), z = drawn("z");
  book.check(
      "associativity", "m(m(x, y), z) == m(x, m(y, z))",
      [&m](const element& a, const element& b, const element& c) { return sides(m(m(a, b), c), m(a, m(b, c))); }, x, y,
      z);
  book.check("left identity", "m(identity, x) == x",
             [&m](const element& a) { return sides(m(m.identity(), a), a); }, x);
  book.check("right identity", "m(x, identity) == x",
             [&m](const element& a) { return sides(m(a, m.identity()), a); }, x);
  book.check("identity with identity", "m(identity, identity) == identity",
             [&m] { return sides(m(m.identity(), m.identity()), m.identity()); });

  const auto sequence = draw_sequence<element>(generate, engine, max_length);
  const auto split = sequence.begin() + static_cast<std::ptrdiff_t>(draw_size(engine, sequence.size()));
  const auto A = operand("A", elements(sequence.begin(), split), generate);
  const auto B = operand("B", elements(split, sequence.end()), generate);
  book.check(
      "prefix split", "fold(A ++ B) == m(fold(A), fold(B)), from the left",
      [&m](const elements& a, const elements& b) {
        return sides(left_fold(m, b, left_fold(m, a, m.identity())),
                     m(left_fold(m, a, m.identity()), left_fold(m, b, m.identity())));
      },
      A, B);
  book.check(
      "suffix split", "fold(A ++ B) == m(fold(A), fold(B)), from the right",
      [&m](const elements& a, const elements& b) {
        return sides(right_fold(m, a, right_fold(m, b, m.identity())),
                     m(right_fold(m, a, m.identity()), right_fold(m, b, m.identity())));
      },
      A, B);
}

/// The laws from which the others of a monoid follow.
template <class Tolerance>
void monoid_consequences(law_book<Tolerance>& book) {
  for (const char* law : {"prefix split", "suffix split"})
    book.follows(law, {"associativity", "identity with identity", "left identity", "right identity"});
}

}  // namespace detail

/// Checks, on `options.trials` random trials, that m is associative ("associativity"), that its identity is one ("left
/// identity", "right identity", "identity with identity"), and that folds may be split anywhere ("prefix split" from the
/// left, "suffix split" from the right, over sequences of 0 to options.max_length elements). A report shows a
/// counterexample for each law that fails and follows from no other one: the simplest that was found from the worst, of
/// elements that `generate` draws and of the identity. NaN equals NaN.
///
/// `generate` draws an element from a std::mt19937_64&. `tolerance` is exact, ulps(n), relative(e), up_to_scale(e) or
/// within(bound, defect). Elements need no operator==; exact uses it where there is one. Other tolerances find the
/// numbers in arithmetic types, ranges, matrices such as Eigen's, tuples, and aggregates of up to 12 of those without
/// bases or C arrays; any other type offers `void visit_numbers(const T&, F f)`, which calls f on each of its numbers.
template <kalscan::monoid M, generator_of<element_t<M>> Generate, tolerance_for<element_t<M>> Tolerance>
[[nodiscard]] law_report check_monoid(const M& m, Generate generate, const Tolerance& tolerance, law_options options = {}) {
  detail::law_book<Tolerance> book(tolerance, options.seed);
  for (std::size_t t = options.first_trial; t < options.first_trial + options.trials; ++t) {
    std::mt19937_64 engine = trial_engine(options.seed, t);
    book.start_trial(t);
    detail::monoid_trial(m, generate, engine, options.max_length, book);
  }
  detail::monoid_consequences(book);
  return std::move(book).report();
}

/// Checks the laws of r.monoid() as check_monoid does, on elements that are lifts of 0 to options.max_length inputs
/// combined, and that the parts of r agree:
///
///     "act"           act(m(x, y), s) == act(y, act(x, s))
///     "lift"          act(lift(u), s) == step(s, u)
///     "absorb"        absorb(x, u) == m(x, lift(u)), where r has an absorb of its own
///     "chunked scan"  the state after steps through A ++ B == steps through B from act(A absorbed, s)
///
/// `generate_input` and `generate_state` draw from a std::mt19937_64&; `tolerance` is used for elements and for states.
template <recurrence R, generator_of<typename R::input_type> GenerateInput,
          generator_of<typename R::state_type> GenerateState, class Tolerance>
  requires tolerance_for<Tolerance, element_t<monoid_t<R>>> && tolerance_for<Tolerance, typename R::state_type>
[[nodiscard]] law_report check_recurrence(const R& r, GenerateInput generate_input, GenerateState generate_state,
                            const Tolerance& tolerance, law_options options = {}) {
  using element = element_t<monoid_t<R>>;
  using state = typename R::state_type;
  using input = typename R::input_type;
  using states = std::pair<state, state>;
  const auto m = r.monoid();
  auto generate_element = [&](std::mt19937_64& engine) {
    element result = m.identity();
    for (const input& u : detail::draw_sequence<input>(generate_input, engine, options.max_length))
      result = m(result, r.lift(u));
    return result;
  };
  detail::law_book<Tolerance> book(tolerance, options.seed);
  for (std::size_t t = options.first_trial; t < options.first_trial + options.trials; ++t) {
    std::mt19937_64 engine = trial_engine(options.seed, t);
    book.start_trial(t);
    detail::monoid_trial(m, generate_element, engine, options.max_length, book);

    const auto x = detail::operand<element>("x", generate_element(engine), generate_element, {m.identity()});
    const auto y = detail::operand<element>("y", generate_element(engine), generate_element, {m.identity()});
    const auto s = detail::operand<state>("s", generate_state(engine), generate_state);
    const auto u = detail::operand<input>("u", generate_input(engine), generate_input);
    book.check(
        "act", "act(m(x, y), s) == act(y, act(x, s))",
        [&r, &m](const element& a, const element& b, const state& before) {
          return states(r.act(m(a, b), before), r.act(b, r.act(a, before)));
        },
        x, y, s);
    book.check(
        "lift", "act(lift(u), s) == step(s, u)",
        [&r](const input& each, const state& before) {
          return states(r.act(r.lift(each), before), r.step(before, each));
        },
        u, s);
    if constexpr (requires { r.absorb(x.value, u.value); }) {
      book.check(
          "absorb", "absorb(x, u) == m(x, lift(u))",
          [&r, &m](const element& a, const input& each) {
            return std::pair<element, element>(r.absorb(a, each), m(a, r.lift(each)));
          },
          x, u);
    }

    const auto inputs = detail::draw_sequence<input>(generate_input, engine, options.max_length);
    const auto split = inputs.begin() + static_cast<std::ptrdiff_t>(detail::draw_size(engine, inputs.size()));
    book.check(
        "chunked scan", "steps(A ++ B, s) == steps(B, act(A absorbed, s))",
        [&r, &m](const std::vector<input>& a, const std::vector<input>& b, const state& before) {
          state stepped = before;
          element chunk = m.identity();
          for (const input& each : a) {
            stepped = r.step(stepped, each);
            chunk = kalscan::absorb(r, chunk, each);
          }
          state replayed = r.act(chunk, before);
          for (const input& each : b) {
            stepped = r.step(stepped, each);
            replayed = r.step(replayed, each);
          }
          return states(stepped, replayed);
        },
        detail::operand("A", std::vector<input>(inputs.begin(), split), generate_input),
        detail::operand("B", std::vector<input>(split, inputs.end()), generate_input), s);
  }
  detail::monoid_consequences(book);
  book.follows("chunked scan", {"act", "lift", "absorb"});
  return std::move(book).report();
}

}  // namespace kalscan
