// SPDX-License-Identifier: MIT
// A mixer's call as chains of pieces, for the engine in <kalscan/backend/time_split.hpp>: forwards and backwards.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/line.hpp>
#include <kalscan/mixer/host/plan.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <kalscan/support/aligned_vector.hpp>
#include <optional>
#include <type_traits>

namespace kalscan::detail {

enum class time_direction { forward, backward };

/// A chain is a strip of lines of channels, in one sequence that is split in time or in several that are not. The pieces
/// of a split one are the chunks of the plan, the last chunk first where Traversal goes backwards; the others are one
/// piece. States and elements are those of all lanes of the strip, in memory that is allocated here, once.
///
/// make(first line, last line) makes a Traversal, which is used by one task, for one piece. It has
///
///     mixer, number, state             M, its number type T, and the type of what is carried from step to step
///     direction                        in which it goes through time
///     splits, monoid(), act(x, state)  whether and how elements summarize a stretch of time
///     range(n)                         which steps of which batch sequence n is
///     load(n, states)                  the states before the first piece of sequence n
///     take(n, from, to, states)        takes steps [from, to): changes the states, writes the outputs
///     store(n, states)                 after the last piece, by the traversal that took it
///     enters(range), leaves(range)     of a sequence that is split: whether load, and whether store, are to be called
///     finish(slot)                     called when a task is done; `slot` numbers the plan's tasks of a strip
///     absorb(n, from, to, elements)    steps [from, to) as elements
///     advance(n, from, to, states)     changes the states as `take` does, and writes nothing
template <class Make>
class mixer_chains {
 public:
  using Traversal = std::invoke_result_t<const Make&, std::int64_t, std::int64_t>;
  using M = typename Traversal::mixer;
  using T = typename Traversal::number;
  using state_arrays = lane_words<typename Traversal::state, T>;

  static constexpr bool has_outputs = true;

  /// `strip` is how many lines a chain has; the last ones may have fewer.
  template <class Call>
  mixer_chains(const Call& call, const mixer_plan& plan, std::int64_t strip, const Make& make)
      : shape_(call.shape),
        plan_(plan),
        make_(make),
        strip_(strip),
        strips_((plan.lines + strip - 1) / strip),
        state_length_(state_arrays::length(call.shape.states)),
        element_length_(element_length(call.shape.states)),
        states_(static_cast<std::size_t>(plan.slots * plan.lines * state_length_)),
        elements_(static_cast<std::size_t>(plan.slots * plan.lines * element_length_)) {}

  std::int64_t chains() const { return (std::ssize(plan_.whole) + std::ssize(plan_.split)) * strips_; }
  std::int64_t pieces(std::int64_t i) const { return is_split(i) ? split(i).chunks() : 1; }

  /// Where the states of a split sequence go; `replay` loads them.
  T* start(std::int64_t i) { return is_split(i) ? states_.data() + cell(i, 0) * state_length_ : nullptr; }

  void replay(std::int64_t i, std::int64_t k, T* states) {
    Traversal steps = make_(first_line(i), last_line(i));
    if (!is_split(i)) {
      aligned_vector<T> memory(static_cast<std::size_t>((last_line(i) - first_line(i)) * state_length_));
      const whole_sequences& range = plan_.whole[index(i)];
      for (std::int64_t n = range.first; n < range.last; ++n) {
        steps.load(n, memory.data());
        steps.take(n, 0, sequence_at(shape_, n).length, memory.data());
        steps.store(n, memory.data());
      }
      return steps.finish(i / strips_);
    }
    const auto [n, from, to] = range_of(i, k);
    const sequence_range at = steps.range(n);
    if (k == 0 && Traversal::enters(at)) steps.load(n, states);
    steps.take(n, from, to, states);
    if (k + 1 == pieces(i) && Traversal::leaves(at)) steps.store(n, states);
    steps.finish(std::ssize(plan_.whole) + split(i).slot + chunk_of(i, k));
  }

  T* absorb(std::int64_t i, std::int64_t k) {
    T* elements = elements_.data() + cell(i, k) * element_length_;
    if constexpr (Traversal::splits) {
      const auto [n, from, to] = range_of(i, k);
      make_(first_line(i), last_line(i)).absorb(n, from, to, elements);
    }
    return elements;
  }

  /// The states after piece k. In lanes where the element, or the state that it leads to, is not finite, since products
  /// of gains above one may leave the range of the numbers, the steps of the piece are taken instead. Each lane decides
  /// for itself, by its data alone.
  std::optional<T*> act(std::int64_t i, std::int64_t k, T* const& elements, T* const& before) {
    if constexpr (!Traversal::splits) {
      return {};
    } else {
      T* after = states_.data() + cell(i, k) * state_length_;
      for (std::int64_t g = first_line(i); g < last_line(i); ++g) {
        const std::int64_t line = g - first_line(i);
        act_on_line(i, k, g, elements + line * element_length_, before + line * state_length_,
                    after + line * state_length_);
      }
      return after;
    }
  }

  void finish(std::int64_t, T* const&) {}

 protected:
  struct step_range {
    std::int64_t n, from, to;
  };

  // Chain i is strip i % strips_ of the plan's entry i / strips_, the whole ones before the split ones.
  bool is_split(std::int64_t i) const { return i / strips_ >= std::ssize(plan_.whole); }
  std::size_t index(std::int64_t i) const { return static_cast<std::size_t>(i / strips_); }
  const split_sequence& split(std::int64_t i) const { return plan_.split[index(i) - plan_.whole.size()]; }
  std::int64_t first_line(std::int64_t i) const { return i % strips_ * strip_; }
  std::int64_t last_line(std::int64_t i) const { return (std::min)(plan_.lines, first_line(i) + strip_); }

  std::int64_t chunk_of(std::int64_t i, std::int64_t k) const {
    return Traversal::direction == time_direction::forward ? k : pieces(i) - 1 - k;
  }
  step_range range_of(std::int64_t i, std::int64_t k) const {
    const auto chunk = static_cast<std::size_t>(chunk_of(i, k));
    return {split(i).n, split(i).bounds[chunk], split(i).bounds[chunk + 1]};
  }
  /// Where the states and elements of piece k begin in their arrays, counted in lines.
  std::int64_t cell(std::int64_t i, std::int64_t k) const {
    return (split(i).slot + chunk_of(i, k)) * plan_.lines + first_line(i);
  }

  static std::int64_t element_length(std::int64_t states) {
    if constexpr (Traversal::splits) {
      return lane_words<element_t<decltype(Traversal::monoid())>, T>::length(states);
    } else {
      return 0;
    }
  }

  static auto element_arrays(T* elements) { return lane_words<element_t<decltype(Traversal::monoid())>, T>{elements}; }

  /// Whether an element and the state that it led to are finite.
  template <class Elements>
  static bool holds(const Elements& x, const state_arrays& after, std::int64_t s, std::int64_t w) {
    return all_finite<T>(x(s, w)) && all_finite<T>(after(s, w));
  }
  /// The states of a line after the steps that its elements summarize. False where some are not finite.
  static bool act_by_elements(std::int64_t states, T* elements, T* before, T* after) {
    const auto x = element_arrays(elements);
    const state_arrays from{before}, to{after};
    bool all_hold = true;
    for_each_lane<T>(states, [&](std::int64_t s, std::int64_t w) {
      to.set(s, w, Traversal::act(x(s, w), from(s, w)));
      all_hold = all_hold && holds(x, to, s, w);
    });
    return all_hold;
  }
  void act_on_line(std::int64_t i, std::int64_t k, std::int64_t g, T* elements, T* before, T* after) {
    const std::int64_t states = shape_.states;
    if (act_by_elements(states, elements, before, after)) return;
    const auto x = element_arrays(elements);
    const state_arrays to{after};
    aligned_vector<T> memory(before, before + state_length_);
    const auto [n, first, last] = range_of(i, k);
    make_(g, g + 1).advance(n, first, last, memory.data());
    const state_arrays stepped{memory.data()};
    for_each_lane<T>(states, [&](std::int64_t s, std::int64_t w) {
      if (!holds(x, to, s, w)) to.set(s, w, stepped(s, w));
    });
  }

  mixer_shape shape_;
  const mixer_plan& plan_;
  Make make_;
  std::int64_t strip_, strips_, state_length_, element_length_;
  aligned_vector<T> states_, elements_;
};

}  // namespace kalscan::detail
