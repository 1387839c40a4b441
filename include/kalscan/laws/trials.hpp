// SPDX-License-Identifier: MIT
// Tries laws on random operands, keeps the worst trial of each, and makes its counterexample simple. Host only.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <kalscan/laws/report.hpp>
#include <kalscan/laws/tolerance.hpp>
#include <kalscan/support/aggregate.hpp>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace kalscan::detail {

template <class T>
std::string text_of(const T& x) {
  std::ostringstream out;
  print(out, x);
  return out.str();
}

/// An operand of a law: its name in the equation, a value, and where simpler ones of the same kind come from. Of a
/// sequence, `generate` draws the elements.
template <class T, class Generate>
struct law_operand {
  const char* name;
  T value;
  Generate* generate;
  std::vector<T> simplest = {};  ///< tried before anything is drawn
};
template <class T, class Generate>
law_operand<T, Generate> operand(const char* name, const T& value, Generate& generate, std::vector<T> simplest = {}) {
  return {name, value, &generate, std::move(simplest)};
}

/// Whether an operand is a sequence of what is drawn.
template <class T, class Generate>
inline constexpr bool is_sequence = !std::is_convertible_v<std::invoke_result_t<Generate&, std::mt19937_64&>, T>;

/// Collects the results of laws. Whatever the laws and generators refer to must live until report() is done.
template <class Tolerance>
class law_book {
 public:
  law_book(const Tolerance& tolerance, std::uint64_t seed) : tolerance_(tolerance), seed_(seed) {}

  void start_trial(std::size_t trial) { trial_ = trial; }

  /// One trial of the law that both parts of the pair sides(values of the operands...) are equal.
  template <class Sides, class... Operands>
  void check(std::string_view law, std::string_view equation, const Sides& sides, const Operands&... operands) {
    const double defect = defect_of(sides, operands.value...);
    entry& e = entry_of(law, equation);
    if (!(defect > e.result.worst)) return;
    e.result.worst = defect;
    e.result.trial = trial_;
    e.result.holds = defect <= e.result.bound;
    if (e.result.holds) return;
    e.shrink = [this, sides, all = std::tuple<Operands...>(operands...)](law_result& result) mutable {
      shrink(result, sides, all, std::index_sequence_for<Operands...>{});
    };
  }

  /// The failure of `law` says nothing where one of `causes` fails.
  void follows(std::string_view law, std::initializer_list<std::string_view> causes) {
    entry* consequence = find(law);
    for (const auto& cause : causes) {
      const entry* e = find(cause);
      if (consequence && e && !e->result.holds && consequence->result.follows_from.empty())
        consequence->result.follows_from = cause;
    }
  }

  law_report report() && {
    law_report result;
    for (entry& e : entries_) {
      if (e.shrink) e.shrink(e.result);
      result.results.push_back(std::move(e.result));
    }
    return result;
  }

 private:
  struct entry {
    law_result result;
    std::function<void(law_result&)> shrink;  ///< of a law that fails
  };

  /// Whether a law fails for its operands as they are now: one type for all laws, so that making an operand simple
  /// compiles once for each type of operand.
  class law_test {
   public:
    template <class F>
    explicit law_test(const F& fails)
        : law_(&fails), fails_([](const void* f) { return (*static_cast<const F*>(f))(); }) {}
    bool operator()() const { return fails_(law_); }

   private:
    const void* law_;
    bool (*fails_)(const void*);
  };

  template <class Sides, class... Values>
  double defect_of(const Sides& sides, const Values&... values) const {
    const auto both = sides(values...);
    using side = std::remove_cvref_t<decltype(both.first)>;
    std::vector<const side*> same_type;
    (collect(same_type, values), ...);
    const double defect = tolerance_.defect(both.first, both.second, std::span<const side* const>(same_type));
    if (std::isfinite(defect)) return defect;
    return same_with_nan(both.first, both.second) ? 0 : infinite_defect;
  }

  template <class T, class Value>
  static void collect(std::vector<const T*>& same_type, const Value& value) {
    if constexpr (std::is_same_v<Value, T>) {
      same_type.push_back(&value);
    } else if constexpr (std::is_same_v<Value, std::vector<T>> && !std::is_same_v<T, bool>) {
      for (const T& x : value) same_type.push_back(&x);
    }
  }

  /// Shorter sequences and values with shorter texts, as long as the law fails for them. What is tried depends on the
  /// trial alone.
  template <class Sides, class Tuple, std::size_t... I>
  void shrink(law_result& result, const Sides& sides, Tuple& all, std::index_sequence<I...>) const {
    const auto fails = [&] { return !(defect_of(sides, std::get<I>(all).value...) <= result.bound); };
    [[maybe_unused]] const law_test still_fails(fails);
    [[maybe_unused]] std::mt19937_64 engine = trial_engine(seed_ + 1, result.trial);
    for (int round = 0; round < 3; ++round) (simplify(std::get<I>(all), engine, still_fails), ...);
    const auto both = sides(std::get<I>(all).value...);
    result.operands.clear();
    (add_line(result.operands, std::get<I>(all).name, std::get<I>(all).value), ...);
    add_line(result.operands, "left", both.first), add_line(result.operands, "right", both.second);
    result.defect = defect_of(sides, std::get<I>(all).value...);
  }

  template <class T>
  static void add_line(std::string& lines, const char* name, const T& value) {
    lines += "  " + std::string(name) + " = " + text_of(value) + '\n';
  }

  template <class T, class Generate>
  static void simplify(law_operand<T, Generate>& x, std::mt19937_64& engine, const law_test& still_fails) {
    if constexpr (is_sequence<T, Generate>) {
      for (std::size_t i = x.value.size(); i-- > 0;) {
        const T longer = x.value;
        x.value.erase(x.value.begin() + static_cast<std::ptrdiff_t>(i));
        if (!still_fails()) x.value = longer;
      }
      for (std::size_t i = 0; i < x.value.size(); ++i) {
        typename T::value_type value = x.value[i];
        const auto fails_with = [&] {
          const typename T::value_type before = x.value[i];
          x.value[i] = value;
          if (still_fails()) return true;
          x.value[i] = before;
          return false;
        };
        replace(value, {}, *x.generate, engine, law_test(fails_with));
      }
    } else {
      replace(x.value, x.simplest, *x.generate, engine, still_fails);
    }
  }

  template <class T, class Generate>
  static void replace(T& x, const std::vector<T>& simplest, Generate& generate, std::mt19937_64& engine,
                      const law_test& still_fails) {
    constexpr int draws = 50;
    std::size_t length = text_of(x).size();
    const auto attempt = [&](const T& simpler) {
      const std::size_t its_length = text_of(simpler).size();
      if (its_length >= length) return false;
      const T before = x;
      x = simpler;
      if (still_fails()) {
        length = its_length;
        return true;
      }
      x = before;
      return false;
    };
    for (const T& simpler : simplest)
      if (attempt(simpler)) return;
    for (int i = 0; i < draws; ++i) attempt(static_cast<T>(generate(engine)));
  }

  entry* find(std::string_view law) {
    for (entry& e : entries_)
      if (e.result.law == law) return &e;
    return nullptr;
  }
  entry& entry_of(std::string_view law, std::string_view equation) {
    if (entry* e = find(law)) return *e;
    return entries_.emplace_back(entry{{.law = std::string(law),
                                        .equation = std::string(equation),
                                        .worst = 0,
                                        .bound = static_cast<double>(tolerance_.bound),
                                        .holds = true,
                                        .seed = seed_,
                                        .trial = trial_,
                                        .operands = {},
                                        .follows_from = {}},
                                       {}});
  }

  const Tolerance& tolerance_;
  std::uint64_t seed_;
  std::size_t trial_ = 0;
  std::vector<entry> entries_{};
};

}  // namespace kalscan::detail
