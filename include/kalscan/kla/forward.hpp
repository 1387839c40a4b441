// SPDX-License-Identifier: MIT
// The forward pass of a sequence mixer, and its one-token step.
#pragma once

#include <kalscan/backend/contract.hpp>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/host/run.hpp>
#include <kalscan/mixer/host/seq.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <type_traits>

namespace kalscan {

/// Whether a mixer's call looks for NaN and infinities in all of its inputs and initial states before it computes; the
/// variance of an initial belief alone may be infinite. Sizes, and the inputs that have a sign, are always checked.
enum class nan_check { off, on };

/// Runs a mixer over all tokens: `in` and `out` are the mixer's `inputs` and `outputs` of tensors, of the shapes given
/// there. An output without data is not written; the states are optional. Numbers are computed in number_t of the
/// inputs, so that bfloat16 and float16 are storage. Channels last are the fast layouts.
///
/// `seq` runs lane after lane in order and allocates the states of one channel. `omp` runs lines of channels (16 in float)
/// in parallel. It also cuts time into chunks, where there are few lines and no gain exceeds one, or where the policy
/// names a chunk; steps of a chunk in which a product of gains overflows are then taken twice. Its bits do not depend on
/// the number of threads, and with offsets are those of a call for each sequence. With chunk = whole_time the bits of a
/// token's outputs and of the states after it are the same whole, in pieces, one token at a time, packed, alone and in a
/// batch. It allocates tiles and states per task, nothing per token.
///
/// Throws std::invalid_argument, naming the argument, its index and its value, before anything is written.
template <policy P, mixer M, class In, class Out>
void forward(const P& p, const M&, const mixer_shape& shape, const In& in, const Out& out,
             const std::type_identity_t<mixer_states<M, number_t<In>>>& states = {}, nan_check nan = nan_check::off) {
  const detail::forward_call<M, In, Out> call{shape, in, out, states};
  check_arguments(p, [&] { detail::check_forward_call(call, nan == nan_check::on, detail::reads_values<P>); });
  if constexpr (requires { run_forward(p, call); }) {
    run_forward(p, call);  // by argument-dependent lookup: a back end is a file of its own
  } else {
    static_assert(!policy<P>, "kalscan: no kernels of forward and step for this policy are included: for "
                              "kalscan::cuda include <kalscan/cuda/kla_forward.cuh>, for kalscan::ranks "
                              "<kalscan/ranks/mixer.hpp>, over devices <kalscan/cuda/kla_ranks.cuh>");
  }
}

/// One token for each of `shape.batch` sequences, shape.time = 1: reads the states and writes them in place, beliefs in
/// the form in which they are given. Throws std::invalid_argument as forward does, and where a state is not given or time
/// is not 1. Bits and memory as of forward.
template <policy P, mixer M, class In, class Out>
void step(const P& p, const M& m, const mixer_shape& shape, const In& in, const Out& out,
          const std::type_identity_t<given_states<M, number_t<In>>>& states) {
  check_arguments(p, [&] {
    if (shape.time != 1) detail::bad_mixer(detail::text({"step takes one token, not ", shape.time}));
    for (const auto& x : detail::tensors_of<number_t<In>>(states)) {
      if (!x.present()) detail::bad_mixer("step needs all states");
    }
  });
  forward(p, m, shape, in, out, {.initial = states, .final = states});
}

/// Without a policy: says so.
template <class P, mixer M, class... Rest>
  requires(!policy<P>)
void forward(const P&, const M&, const mixer_shape&, const Rest&...) {
  detail::explain_policy<P>();
}
template <class P, mixer M, class... Rest>
  requires(!policy<P>)
void step(const P&, const M&, const mixer_shape&, const Rest&...) {
  detail::explain_policy<P>();
}

}  // namespace kalscan
