// SPDX-License-Identifier: MIT
// The law of a mixer's frame: what its lanes compute in it is what the mixer computes outside. Host only.
#pragma once

#include <cstddef>
#include <kalscan/mixer/frame.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/support/aggregate_as_array.hpp>
#include <vector>

namespace kalscan::detail {

/// One lane of a channel of M over a sequence, forward and backward, as a device takes it: in frames that start again
/// every four steps. Lanes is the mixer of M's frame, or the ordinary one of that.
template <mixer_with_frame M, class Lanes>
class framed_lane {
 public:
  using F = typename M::frame;
  using frame = typename F::template value<double>;
  using state = typename M::template state<double>;
  using inputs = typename M::template inputs<double>;
  using outputs = typename M::template outputs<double>;

  framed_lane(const state& start, const std::vector<inputs>& in) : in_(in), seen_{start} {
    element_ = Lanes::template monoid<double>().identity();
    for (std::size_t t = 0; t < in.size(); ++t) {
      steps_.push_back(F::of_inputs(of_channel(in[t])));
      frames_.push_back(starts(t) ? F::after(steps_[t]) : F::after(frames_[t - 1], steps_[t]));
      const auto u = prepare<Lanes, double>(seen_inputs(t));
      after_.push_back(Lanes::step(seen_[t], u));
      element_ = Lanes::absorb(element_, u);
      seen_.push_back(ends(t) ? F::out_of(frames_[t], after_[t]) : after_[t]);
      if (!ends(t)) continue;
      element_ = F::out_of(frames_[t], element_);
      total_ = F::compose(total_, frames_[t]);
    }
  }
  /// After step t, as seen from outside.
  state state_after(std::size_t t) const { return F::out_of(frames_[t], after_[t]); }
  outputs read_after(std::size_t t) const {
    return F::out_of(frames_[t], Lanes::readout(after_[t], prepare<Lanes, double>(seen_inputs(t))));
  }
  auto element() const { return F::element(total_, element_); }

  /// Calls step(t, adjoints of the inputs) from the last step to the first. Returns the adjoint of the start, and that
  /// again by the adjoint's element.
  template <class Read, class Step>
  std::vector<state> back(const state& later, Read y_bar, Step step) const {
    state bar = later;
    const auto combine = Lanes::template adjoint_monoid<double>();
    auto element = combine.identity();
    frame total = F::template identity<double>();
    for (std::size_t t = in_.size(); t-- > 0;) {
      const frame& f = frames_[t];
      if (ends(t)) bar = F::into(f, bar), element = F::into(f, element), total = F::compose(f, total);
      const auto u = prepare<Lanes, double>(seen_inputs(t));
      const outputs y = F::into(f, y_bar(t));
      const auto handed_back = Lanes::adjoint(seen_[t], u, after_[t], bar, y);
      element = combine(Lanes::adjoint_lift(seen_[t], u, after_[t], y), element);
      bar = handed_back.earlier;
      step(t, merged(F::adjoint(f, steps_[t], of_channel(handed_back.inputs)), handed_back.inputs));
    }
    return {bar, M::adjoint_act(F::element(total, element), later)};
  }

 private:
  static bool starts(std::size_t t) { return t % steps_of_frame == 0; }
  bool ends(std::size_t t) const { return starts(t + 1) || t + 1 == in_.size(); }
  /// The numbers of channels from one, the others from the other.
  static inputs merged(const inputs& channel, const inputs& other) {
    return from_fields<inputs, double>([&](auto i) {
      return as_array<double>(M::inputs_info[i()].varies == role::channel ? channel : other)[i()];
    });
  }
  static inputs of_channel(const inputs& u) { return merged(u, inputs{}); }
  inputs seen_inputs(std::size_t t) const { return merged(F::into(frames_[t], of_channel(in_[t])), in_[t]); }

  std::vector<inputs> in_;
  std::vector<state> seen_, after_;  // before and after each step, seen from its frame
  std::vector<typename F::template step<double>> steps_;
  std::vector<frame> frames_;
  frame total_ = F::template identity<double>();
  element_t<decltype(Lanes::template monoid<double>())> element_{};
};

/// Calls compare(in the frame, as M has it) for all that a sequence gives forward and backward; y_bar(t) are the
/// adjoints of the outputs of step t.
template <class Lanes, mixer_with_frame M, class Inputs, class State, class Read, class Compare>
void compare_frame(const M&, const State& start, const std::vector<Inputs>& in, const State& later, Read y_bar,
                   Compare compare) {
  const framed_lane<M, Lanes> lane(start, in);
  std::vector<State> states{start};
  for (std::size_t t = 0; t < in.size(); ++t) {
    const auto u = prepare<M, double>(in[t]);
    states.push_back(M::step(states[t], u));
    compare(lane.state_after(t), states.back());
    compare(lane.read_after(t), M::readout(states.back(), u));
  }
  compare(M::act(lane.element(), start), states.back());
  std::vector<Inputs> bars(in.size());
  State bar = later;
  for (std::size_t t = in.size(); t-- > 0;) {
    const auto expected = M::adjoint(states[t], prepare<M, double>(in[t]), states[t + 1], bar, y_bar(t));
    bars[t] = expected.inputs, bar = expected.earlier;
  }
  for (const State& x : lane.back(later, y_bar, [&](std::size_t t, const Inputs& g) { compare(g, bars[t]); }))
    compare(x, bar);
}

}  // namespace kalscan::detail
