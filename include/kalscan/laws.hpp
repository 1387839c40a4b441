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

#include <kalscan/detail/law_report.hpp>
#include <kalscan/detail/tolerance.hpp>
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
element_t<M> left_fold(const M& m, const std::vector<element_t<M>>& x, std::size_t first, std::size_t last) {
  element_t<M> result = m.identity();
  for (; first < last; ++first) result = m(result, x[first]);
  return result;
}

template <monoid M>
element_t<M> right_fold(const M& m, const std::vector<element_t<M>>& x, std::size_t first, std::size_t last) {
  element_t<M> result = m.identity();
  while (first < last) result = m(x[--last], result);
  return result;
}

template <monoid M, class Generate, class Tolerance>
void monoid_trial(const M& m, Generate& generate, std::mt19937_64& engine, std::size_t max_length,
                  law_book<Tolerance>& book) {
  using element = element_t<M>;
  const element x = generate(engine), y = generate(engine), z = generate(engine);
  book.template compare<element>("associativity", m(m(x, y), z), m(x, m(y, z)), x, y, z);
  book.template compare<element>("left identity", m(m.identity(), x), x, x);
  book.template compare<element>("right identity", m(x, m.identity()), x, x);

  const auto sequence = draw_sequence<element>(generate, engine, max_length);
  const std::size_t length = sequence.size(), split = draw_size(engine, length);
  book.template compare<element>("prefix split", left_fold(m, sequence, 0, length),
                                 m(left_fold(m, sequence, 0, split), left_fold(m, sequence, split, length)), sequence);
  book.template compare<element>("suffix split", right_fold(m, sequence, 0, length),
                                 m(right_fold(m, sequence, 0, split), right_fold(m, sequence, split, length)),
                                 sequence);
}

}  // namespace detail

/// Checks, on `options.trials` random trials, that m is associative ("associativity"), that its identity is one ("left
/// identity", "right identity"), and that folds may be split anywhere ("prefix split" from the left, "suffix split"
/// from the right, over sequences of 0 to options.max_length elements).
///
/// `generate` draws an element from a std::mt19937_64&. `tolerance` is exact, ulps(n), relative(e), up_to_scale(e) or
/// within(bound, defect). Elements need no operator==; exact uses it where there is one. Other tolerances find the
/// numbers in arithmetic types, ranges, matrices such as Eigen's, tuples, and aggregates of up to 8 of those without
/// bases or C arrays; any other type offers `void visit_numbers(const T&, F f)`, which calls f on each of its numbers.
template <kalscan::monoid M, generator_of<element_t<M>> Generate, tolerance_for<element_t<M>> Tolerance>
[[nodiscard]] law_report check_monoid(const M& m, Generate generate, const Tolerance& tolerance, law_options options = {}) {
  detail::law_book<Tolerance> book(tolerance, options.seed);
  for (std::size_t t = options.first_trial; t < options.first_trial + options.trials; ++t) {
    std::mt19937_64 engine = trial_engine(options.seed, t);
    book.start_trial(t);
    detail::monoid_trial(m, generate, engine, options.max_length, book);
  }
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

    const element x = generate_element(engine), y = generate_element(engine);
    const state s = generate_state(engine);
    const input u = generate_input(engine);
    book.template compare<state>("act", r.act(m(x, y), s), r.act(y, r.act(x, s)), x, y, s);
    book.template compare<state>("lift", r.act(r.lift(u), s), r.step(s, u), u, s);
    if constexpr (requires { r.absorb(x, u); }) {
      book.template compare<element>("absorb", r.absorb(x, u), m(x, r.lift(u)), x, u);
    }

    const auto inputs = detail::draw_sequence<input>(generate_input, engine, options.max_length);
    const std::size_t split = detail::draw_size(engine, inputs.size());
    state stepped = s;
    for (const input& each : inputs) stepped = r.step(stepped, each);
    element chunk = m.identity();
    for (std::size_t i = 0; i < split; ++i) chunk = kalscan::absorb(r, chunk, inputs[i]);
    state replayed = r.act(chunk, s);
    for (std::size_t i = split; i < inputs.size(); ++i) replayed = r.step(replayed, inputs[i]);
    book.template compare<state>("chunked scan", stepped, replayed, s, inputs);
  }
  return std::move(book).report();
}

}  // namespace kalscan
