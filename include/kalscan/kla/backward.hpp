// SPDX-License-Identifier: MIT
// The adjoint of a sequence mixer.
#pragma once

#include <kalscan/backend/contract.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/mixer/check.hpp>
#include <kalscan/mixer/host/run.hpp>
#include <kalscan/mixer/host/seq.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <type_traits>

namespace kalscan {

/// The exact adjoints of all inputs and of the initial states, from those of the outputs and of the final states.
/// Beliefs of KLA and their adjoints may each be given and asked for as moments or as information: `final_bar` goes
/// with the final states in its own form, `initial_bar` is the derivative in the initial ones in its own, whatever the
/// form of `initial`. Where the variance is infinite, moments have no adjoint (0), information has.
///
/// `in_bar` are the mixer's `inputs` of tensors of the extents of `in`: where an input is shared by states, channels,
/// times or batches, its adjoint is their sum. One without data is not computed; an output's adjoint without data is
/// zero.
///
/// States are not kept but computed again from checkpoints, tile by tile. With `every` = 16 this takes one more pass
/// over the steps, with larger ones two. `omp` allocates, besides tiles, the checkpoints that it is not given (2 / 16 of
/// B x L x M x S numbers at most, fewer beyond 4096 steps) and a sum of size B x L x S for each input that channels share
/// and each strip of channels (1 to 8 lines of 16, in float). Every sum has an order that depends on the shape, on `every`
/// and on the policy's chunk alone: the bits are the same for any number of threads. With chunk = whole_time those of
/// tokens and initial states are the same alone, packed and in a batch, and in pieces of multiples of 16 steps. `seq`
/// keeps the states of one lane and a sum for each value of each input; it starts from `initial` and does not need
/// checkpoints. The arrays of `in_bar` must not overlap.
///
/// Errors as for forward, before anything is written.
template <policy P, mixer M, class In, class OutBar, class InBar>
void backward(const P& p, const M&, const mixer_shape& shape, const In& in, const OutBar& out_bar, const InBar& in_bar,
              const std::type_identity_t<mixer_adjoints<M, number_t<In>>>& states = {},
              nan_check nan = nan_check::off) {
  const detail::backward_call<M, In, OutBar, InBar> call{shape, in, out_bar, in_bar, states};
  check_arguments(p, [&] { detail::check_backward_call<M>(call, nan == nan_check::on, detail::reads_values<P>); });
  if constexpr (requires { run_backward(p, call); }) {
    run_backward(p, call);
  } else {
    static_assert(!policy<P>, "kalscan: no kernels of backward for this policy are included: for kalscan::cuda "
                              "include <kalscan/cuda/kla_backward.cuh>, for kalscan::ranks <kalscan/ranks/mixer.hpp>, "
                              "over devices <kalscan/cuda/kla_ranks.cuh>");
  }
}

/// Without a policy: says so.
template <class P, mixer M, class... Rest>
  requires(!policy<P>)
void backward(const P&, const M&, const mixer_shape&, const Rest&...) {
  detail::explain_policy<P>();
}

}  // namespace kalscan
