// SPDX-License-Identifier: MIT
// A mixer's calls on the CPU.
#pragma once

#include <kalscan/backend/omp.hpp>
#include <kalscan/kla/backward.hpp>
#include <kalscan/kla/forward.hpp>

#include "mixer_call.hpp"

namespace kalscan::c {

template <class M, class T>
struct host_mixer {
  using typed = typed_call<M, T, T>;

  static omp policy(const mixer_call& call) { return {call.run.threads, call.run.chunk}; }
  static nan_check check(const mixer_call& call) { return call.run.check_nan != 0 ? nan_check::on : nan_check::off; }

  static void forward(const mixer_call& call) {
    const typed x(call);
    kalscan::forward(policy(call), M{}, x.shape, x.in, x.outputs(call), x.states(call), check(call));
  }
  static void step(const mixer_call& call) {
    const typed x(call);
    kalscan::step(policy(call), M{}, x.shape, x.in, x.outputs(call), x.states(call).final);
  }
  static void backward(const mixer_call& call) {
    const typed x(call);
    kalscan::backward(policy(call), M{}, x.shape, x.in, x.outputs_bar(call), x.inputs_bar(call), x.adjoints(call),
                      check(call));
  }
  static std::size_t no_workspace(const mixer_call&) { return 0; }
  static std::int64_t checkpoints(const mixer_call&) { return 16; }  // tiles of the host's backward pass

  static constexpr mixer_functions functions{forward, step, backward, no_workspace, no_workspace, checkpoints};
};

}  // namespace kalscan::c
