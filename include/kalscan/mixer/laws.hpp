// SPDX-License-Identifier: MIT
// The laws of a sequence mixer, tried one by one. Host only; users meet these through <kalscan/kla/check_mixer.hpp>.
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <kalscan/laws.hpp>
#include <kalscan/laws/difference_quotient.hpp>
#include <kalscan/laws/trials.hpp>
#include <kalscan/mixer/frame_laws.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// A side of a mixer's law. What it is compared with may differ by the tolerance times the largest of the numbers or
/// `scale`, which is that of the terms from which they come.
struct mixer_numbers {
  std::vector<double> values;
  double scale = 0;
  template <class F>
  friend void visit_numbers(const mixer_numbers& x, F f) {
    for (const double n : x.values) f(n);
    f(x.scale);
  }
  friend std::string text_of(const mixer_numbers& x) { return detail::text_of(x.values); }
};

/// The laws of one mixer, in double.
template <class M, class Draw, class Tolerance>
class mixer_laws {
 public:
  using state = typename M::template state<double>;
  using inputs = typename M::template inputs<double>;
  using outputs = typename M::template outputs<double>;
  using terms = terms_t<M, double>;
  using numbers = mixer_numbers;
  using both = std::pair<numbers, numbers>;

  mixer_laws(Draw& draw, law_book<Tolerance>& book)
      : draw_state_([&draw](std::mt19937_64& e) -> state { return draw(e).before; }),
        draw_inputs_([&draw](std::mt19937_64& e) -> inputs { return draw(e).inputs; }),
        book_(book) {}

  void trial(std::mt19937_64& engine, std::size_t max_length) {
    const auto s = operand<state>("s", draw_state_(engine), draw_state_);
    const auto u = operand<inputs>("u", draw_inputs_(engine), draw_inputs_);
    const auto s_bar = operand<state>("s_bar", draw_state_bar_(engine), draw_state_bar_);
    const auto y_bar = operand<outputs>("y_bar", draw_outputs_bar_(engine), draw_outputs_bar_);
    adjoint_laws(s, u, s_bar, y_bar);
    const auto sequence = draw_sequence<inputs>(draw_inputs_, engine, max_length);
    const auto split = sequence.begin() + static_cast<std::ptrdiff_t>(draw_size(engine, sequence.size()));
    const auto A = operand("A", std::vector<inputs>(sequence.begin(), split), draw_inputs_);
    const auto B = operand("B", std::vector<inputs>(split, sequence.end()), draw_inputs_);
    if constexpr (requires(state x, terms t, outputs y) { M::readout(x, t, y); }) sums_law(s, u, y_bar);
    if constexpr (mixer_with_elements<M>) element_laws(s, A, B);
    if constexpr (mixer_with_runs<M>) run_law(s, A);
    if constexpr (mixer_with_adjoint_elements<M>) adjoint_element_law(s, A, s_bar, y_bar);
    if constexpr (requires { typename M::ordinary; }) ordinary_laws(s, u, s_bar, y_bar);
    if constexpr (mixer_with_frame<M>) frame_law(s, A, s_bar, y_bar);
  }

  void consequences() {
    book_.follows("elements", {"lift", "absorb"});
    book_.follows("combined elements", {"lift", "absorb", "elements"});
  }

 private:
  static terms prepared(const inputs& u) { return prepare<M, double>(u); }
  template <class X>
  static numbers numbers_of(const X& x) {
    const auto all = as_array<double>(x);
    return {{all.begin(), all.end()}};
  }
  template <class X>
  static void append(numbers& to, const X& x) {
    for (const double n : as_array<double>(x)) to.values.push_back(n);
  }
  static state after(const state& s, const std::vector<inputs>& all) {
    state x = s;
    for (const inputs& u : all) x = M::step(x, prepared(u));
    return x;
  }

  /// <s_bar, state after> + <y_bar, outputs>: what the adjoint is the gradient of. `add` takes its terms.
  template <class Add>
  static void each_term(const state& s, const inputs& u, const state& s_bar, const outputs& y_bar, Add add) {
    const state x = M::step(s, prepared(u));
    const auto x_words = as_array<double>(x), s_words = as_array<double>(s_bar);
    const auto y_words = as_array<double>(M::readout(x, prepared(u))), y_bar_words = as_array<double>(y_bar);
    for (std::size_t i = 0; i < x_words.size(); ++i) add(s_words[i] * x_words[i]);
    for (std::size_t i = 0; i < y_words.size(); ++i) add(y_bar_words[i] * y_words[i]);
  }
  static double value(const state& s, const inputs& u, const state& s_bar, const outputs& y_bar) {
    double sum = 0;
    each_term(s, u, s_bar, y_bar, [&](double term) { sum += term; });
    return sum;
  }
  static double terms_size(const state& s, const inputs& u, const state& s_bar, const outputs& y_bar) {
    double sum = 0;
    each_term(s, u, s_bar, y_bar, [&](double term) { sum += std::abs(term); });
    return sum;
  }

  /// The number i of x, once as adjoint() has it, once as a derivative.
  template <class X, class F>
  static both compared(const X& adjoint, const X& x, std::size_t i, double terms_size, F f) {
    const double number = std::abs(as_array<double>(x)[i]), scale = number > 0 ? terms_size / number : terms_size;
    return {{{as_array<double>(adjoint)[i]}, scale}, {{derivative(x, i, f)}, scale}};
  }
  template <class S, class U, class SBar, class YBar>
  void adjoint_laws(const S& s, const U& u, const SBar& s_bar, const YBar& y_bar) {
    const auto back = [](const state& x, const inputs& v, const state& xb, const outputs& yb) {
      return M::adjoint(x, prepared(v), M::step(x, prepared(v)), xb, yb);
    };
    const auto equation = [](const std::string& number) {
      return "adjoint(s, u, step(s, u), s_bar, y_bar)." + number + " == d(s_bar step(s, u) + y_bar readout) / d " + number;
    };
    for (std::size_t i = 0; i < M::state_info.size(); ++i) {
      const std::string name = M::state_info[i].name;
      book_.check(
          "adjoint of state " + name, equation("earlier." + name),
          [back, i](const state& x, const inputs& v, const state& xb, const outputs& yb) {
            return compared(back(x, v, xb, yb).earlier, x, i, terms_size(x, v, xb, yb),
                            [&](const state& moved) { return value(moved, v, xb, yb); });
          },
          s, u, s_bar, y_bar);
    }
    for (std::size_t i = 0; i < M::inputs_info.size(); ++i) {
      const std::string name = M::inputs_info[i].name;
      book_.check(
          "adjoint of " + name, equation("inputs." + name),
          [back, i](const state& x, const inputs& v, const state& xb, const outputs& yb) {
            return compared(back(x, v, xb, yb).inputs, v, i, terms_size(x, v, xb, yb),
                            [&](const inputs& moved) { return value(x, moved, xb, yb); });
          },
          s, u, s_bar, y_bar);
    }
  }

  template <class S, class Sequence>
  void element_laws(const S& s, const Sequence& A, const Sequence& B) {
    const auto m = M::template monoid<double>();
    const auto absorbed = [m](const std::vector<inputs>& all) {
      auto x = m.identity();
      for (const inputs& u : all) x = M::absorb(x, prepared(u));
      return x;
    };
    const auto u = operand<inputs>("u", A.value.empty() ? inputs{} : A.value.back(), draw_inputs_);
    if (!A.value.empty()) {
      book_.check(
          "lift", "act(lift(u), s) == step(s, u)",
          [](const state& x, const inputs& v) {
            return both(numbers_of(M::act(M::lift(prepared(v)), x)), numbers_of(M::step(x, prepared(v))));
          },
          s, u);
      book_.check(
          "absorb", "absorb(A absorbed, u) == m(A absorbed, lift(u))",
          [m, absorbed](const std::vector<inputs>& all, const inputs& v) {
            const auto x = absorbed(all);
            return both(numbers_of(M::absorb(x, prepared(v))), numbers_of(m(x, M::lift(prepared(v)))));
          },
          B, u);
    }
    book_.check(
        "elements", "act(A absorbed, s) == steps(A, s)",
        [absorbed](const state& x, const std::vector<inputs>& all) {
          return both(numbers_of(M::act(absorbed(all), x)), numbers_of(after(x, all)));
        },
        s, A);
    book_.check(
        "combined elements", "act(m(A absorbed, B absorbed), s) == steps(A ++ B, s)",
        [m, absorbed](const state& x, const std::vector<inputs>& a, const std::vector<inputs>& b) {
          return both(numbers_of(M::act(m(absorbed(a), absorbed(b)), x)), numbers_of(after(after(x, a), b)));
        },
        s, A, B);
  }

  template <class S, class U, class Sums>
  void sums_law(const S& s, const U& u, const Sums& sums) {
    book_.check(
        "sums of outputs", "readout(s, u, y_bar) == y_bar + readout(s, u)",
        [](const state& x, const inputs& v, const outputs& y) {
          auto sum = numbers_of(y);
          const auto read = numbers_of(M::readout(x, prepared(v)));
          for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += read.values[i];
          return both(numbers_of(M::readout(x, prepared(v), y)), sum);
        },
        s, u, sums);
  }

  template <class S, class Sequence>
  void run_law(const S& s, const Sequence& A) {
    // As the device takes them: rescaled every four steps, and once more than it need be.
    book_.check(
        "runs", "act(A as a run, s) == steps(A, s)",
        [](const state& x, const std::vector<inputs>& all) {
          auto run = M::template no_steps<double>();
          int steps = 0;
          for (const inputs& u : all) {
            run = M::extend(run, prepared(u));
            if (++steps % 4 == 0 || M::is_large(run)) run = M::rescaled(run);
          }
          return both(numbers_of(M::act(run, x)), numbers_of(after(x, all)));
        },
        s, A);
    if constexpr (requires(const typename M::template run<double>& x, const terms& u) { M::extend_in_four(x, u, 0); }) {
      book_.check(
          "runs by four", "act(A as a run by four, s) == steps(A, s) where the parameters of four steps are the same",
          [](const state& x, std::vector<inputs> all) {
            auto run = M::template no_steps<double>();
            for (std::size_t t = 0; t < all.size(); ++t) {
              all[t] = with_parameters(all[t], all[t - t % 4]);
              const bool one_of_four = t - t % 4 + 4 <= all.size();
              run = one_of_four ? M::extend_in_four(run, prepared(all[t]), static_cast<int>(t % 4))
                                : M::extend(run, prepared(all[t]));
              if (t % 4 == 3 || !one_of_four) run = M::rescaled(run);
            }
            return both(numbers_of(M::act(run, x)), numbers_of(after(x, all)));
          },
          s, A);
    }
  }
  static inputs with_parameters(const inputs& u, const inputs& of) {
    return from_fields<inputs, double>(
        [&](auto i) { return as_array<double>(M::inputs_info[i()].varies == role::parameter ? of : u)[i()]; });
  }

  /// The adjoints of the outputs of step t: they differ from step to step, by a factor.
  static outputs read(const outputs& y, std::size_t t) {
    const auto all = as_array<double>(y);
    const double factor = 1 - 0.3 * static_cast<double>(t % 5);
    return from_fields<outputs, double>([&](auto i) { return factor * all[i()]; });
  }
  template <class S, class Sequence, class SBar, class YBar>
  void adjoint_element_law(const S& s, const Sequence& A, const SBar& s_bar, const YBar& y_bar) {
    book_.check(
        "adjoint elements", "adjoint_act(adjoint elements of A combined, s_bar) == adjoint steps(A, s_bar)",
        [](const state& x, const std::vector<inputs>& all, const state& later, const outputs& y) {
          const auto m = M::template adjoint_monoid<double>();
          std::vector<state> states{x};
          for (const inputs& u : all) states.push_back(M::step(states.back(), prepared(u)));
          // Both ways to combine: from the end, as a chunk is absorbed, and from the beginning.
          auto backwards = m.identity(), forwards = m.identity();
          state bar = later;
          for (std::size_t t = all.size(); t-- > 0;) {
            const auto u = prepared(all[t]);
            backwards = m(M::adjoint_lift(states[t], u, states[t + 1], read(y, t)), backwards);
            bar = M::adjoint(states[t], u, states[t + 1], bar, read(y, t)).earlier;
          }
          for (std::size_t t = 0; t < all.size(); ++t)
            forwards = m(forwards, M::adjoint_lift(states[t], prepared(all[t]), states[t + 1], read(y, t)));
          both result(numbers_of(M::adjoint_act(backwards, later)), numbers_of(bar));
          append(result.first, M::adjoint_act(forwards, later)), append(result.second, bar);
          return result;
        },
        s, A, s_bar, y_bar);
  }

  template <class S, class U, class SBar, class YBar>
  void ordinary_laws(const S& s, const U& u, const SBar& s_bar, const YBar& y_bar) {
    using O = typename M::ordinary;
    book_.check(
        "ordinary", "ordinary's step, readout and adjoint == the mixer's, between ordinary states",
        [](const state& x, const inputs& v, const state& xb, const outputs& yb) {
          const auto t = prepared(v);
          const state next = M::step(x, t);
          both result;
          if (!M::is_ordinary(x) || !M::is_ordinary(next)) return result;
          append(result.first, O::step(x, t)), append(result.second, next);
          append(result.first, O::readout(next, t)), append(result.second, M::readout(next, t));
          append(result.first, readout_onto<O, double>(yb, next, t));
          append(result.second, readout_onto<M, double>(yb, next, t));
          const auto a = O::adjoint(x, t, next, xb, yb);
          const auto b = M::adjoint(x, t, next, xb, yb);
          append(result.first, a.earlier), append(result.second, b.earlier);
          append(result.first, a.inputs), append(result.second, b.inputs);
          if constexpr (mixer_with_adjoint_elements<M>) {
            append(result.first, O::adjoint_lift(x, t, next, yb));
            append(result.second, M::adjoint_lift(x, t, next, yb));
          }
          return result;
        },
        s, u, s_bar, y_bar);
  }

  template <class S, class Sequence, class SBar, class YBar>
  void frame_law(const S& s, const Sequence& A, const SBar& s_bar, const YBar& y_bar) {
    using lanes = lane_mixer<M>;
    book_.check(
        "frame", "steps, adjoints and elements of A by the lanes in the frame == the mixer's",
        [](const state& x, const std::vector<inputs>& all, const state& later, const outputs& y) {
          both result;
          const auto compare = [&](const auto& in_frame, const auto& expected) {
            append(result.first, in_frame), append(result.second, expected);
          };
          const auto bars = [&](std::size_t t) { return read(y, t); };
          compare_frame<lanes>(M{}, x, all, later, bars, compare);
          if constexpr (requires { typename lanes::ordinary; }) {
            state now = x;
            bool ordinary = lanes::is_ordinary(now);
            for (const inputs& u : all) now = M::step(now, prepared(u)), ordinary = ordinary && lanes::is_ordinary(now);
            if (ordinary) compare_frame<typename lanes::ordinary>(M{}, x, all, later, bars, compare);
          }
          return result;
        },
        s, A, s_bar, y_bar);
  }

  template <class X>
  static X draw_numbers(std::mt19937_64& engine) {
    return from_fields<X, double>([&](auto) { return std::uniform_real_distribution<double>(-1, 1)(engine); });
  }
  struct state_bar {
    state operator()(std::mt19937_64& e) const { return draw_numbers<state>(e); }
  } draw_state_bar_;
  struct outputs_bar {
    outputs operator()(std::mt19937_64& e) const { return draw_numbers<outputs>(e); }
  } draw_outputs_bar_;
  std::function<state(std::mt19937_64&)> draw_state_;
  std::function<inputs(std::mt19937_64&)> draw_inputs_;
  law_book<Tolerance>& book_;
};

}  // namespace kalscan::detail
