// SPDX-License-Identifier: MIT
// Checks that the parts of a sequence mixer agree: its adjoint with its step, and what stands for stretches of time
// with the steps of these. Host only, for any test framework; not part of <kalscan/kalscan.hpp>:
//
//     const auto report = kalscan::check_mixer(my_mixer{}, draw, kalscan::relative(1e-6));
//     if (!report) std::cerr << report.message();
#pragma once

#include <cstddef>
#include <kalscan/laws.hpp>
#include <kalscan/laws/report.hpp>
#include <kalscan/laws/trials.hpp>
#include <kalscan/mixer/laws.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <random>
#include <utility>

namespace kalscan {

/// What a lane of a mixer meets in one trial: the state before the first step, and the inputs of each.
template <mixer M>
struct mixer_trial {
  typename M::template state<double> before;
  typename M::template inputs<double> inputs;
};

/// Checks on options.trials random trials, in double, each for what the mixer has:
///
///     "adjoint of state NAME", "adjoint of NAME"   every number that adjoint() hands back, against the derivative of
///                                                  step and readout by difference quotients
///     "lift", "absorb", "elements", "combined elements"
///                                                  its elements, absorbed and combined, against the steps
///     "sums of outputs"                            readout that adds to outputs, against readout and a sum
///     "runs"                                       extend, is_large, rescaled and act of a run, against the steps
///     "adjoint elements"                           adjoint_lift, adjoint_monoid and adjoint_act, against the adjoints
///                                                  of the steps
///     "ordinary"                                   ordinary's formulas against the mixer's own, between states that
///                                                  is_ordinary accepts
///     "frame"                                      what a device computes in the frame of a channel, against the steps,
///                                                  adjoints and elements outside of it
///
/// `draw` takes a std::mt19937_64& and returns a mixer_trial: a state and the inputs of a step, of a size for which
/// some steps stay in range and the mixer is smooth: numbers that have a sign positive, not zero. Difference quotients
/// are good to some 1e-9 of the derivative; relative(1e-6) leaves room for what cancels. Stretches are of 0 to
/// options.max_length steps.
template <mixer M, generator_of<mixer_trial<M>> Draw, tolerance_for<detail::mixer_numbers> Tolerance>
[[nodiscard]] law_report check_mixer(const M&, Draw draw, const Tolerance& tolerance,
                       law_options options = {.trials = 200, .max_length = 24}) {
  detail::law_book<Tolerance> book(tolerance, options.seed);
  detail::mixer_laws<M, Draw, Tolerance> laws(draw, book);
  for (std::size_t t = options.first_trial; t < options.first_trial + options.trials; ++t) {
    std::mt19937_64 engine = trial_engine(options.seed, t);
    book.start_trial(t);
    laws.trial(engine, options.max_length);
  }
  laws.consequences();
  return std::move(book).report();
}

}  // namespace kalscan
