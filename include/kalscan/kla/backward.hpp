// SPDX-License-Identifier: MIT
// The adjoint of a sequence mixer.
#pragma once

#include <array>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/detail/mixer_check.hpp>
#include <kalscan/detail/mixer_run.hpp>
#include <kalscan/detail/mixer_seq.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/states.hpp>
#include <type_traits>

namespace kalscan {

/// What a backward call is given and gives back besides the adjoints of outputs and inputs. All of it is optional.
template <class M, class T>
struct mixer_adjoints {
  initial_states<M, T> initial = {};           ///< as the forward call had it
  state_tensors<M, const T> checkpoints = {};  ///< of the forward call; without them it is run once more
  std::int64_t every = 0;                      ///< as the forward call had it
  given_states<M, const T> final_bar = {};     ///< adjoints of the final states; a tensor without data is zero
  given_states<M, T> initial_bar = {};  ///< adjoints of the initial states; one without data is not computed; may be
                                        ///< final_bar's memory
  bool accumulate = false;              ///< add to what initial_bar and in_bar hold, instead of replacing it
};

namespace detail {

/// Everything that a back end needs of a backward call.
template <class M, class In, class OutBar, class InBar>
struct mixer_adjoint_job {
  using mixer = M;
  using number = number_t<In>;

  mixer_shape shape;
  In in;
  OutBar out_bar;
  InBar in_bar;
  mixer_adjoints<M, number> states;

  sequence_place sequence_at(std::int64_t n) const { return detail::sequence_at(shape, n); }
};

}  // namespace detail

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
/// over the steps, with longer stretches two. `omp` allocates, besides tiles, the checkpoints that it is not given (2 /
/// 16 of B x L x M x S numbers at most, fewer beyond 4096 steps) and a sum of size B x L x S for each input that
/// channels share and each group of 1 to 8 blocks of them. Every sum has an order that depends on the shape, on `every`
/// and on the policy's chunk alone: the bits are the same for any number of threads. `seq` keeps the states of one lane
/// and a sum for each value of each input; it starts from `initial` and does not need checkpoints. The arrays of
/// `in_bar` must not overlap.
///
/// Errors as for forward, before anything is written.
template <policy P, mixer M, class In, class OutBar, class InBar>
void backward(const P& p, const M&, const mixer_shape& shape, const In& in, const OutBar& out_bar, const InBar& in_bar,
              const std::type_identity_t<mixer_adjoints<M, number_t<In>>>& states = {},
              nan_check nan = nan_check::off) {
  const detail::mixer_adjoint_job<M, In, OutBar, InBar> job{shape, in, out_bar, in_bar, states};
  detail::check_adjoint_job<M>(job, nan == nan_check::on, detail::reads_values<P>);
  if constexpr (requires { run_backward(p, job); }) {
    run_backward(p, job);
  } else {
    static_assert(!policy<P>, "kalscan: no kernels of backward for this policy are included: for kalscan::cuda "
                              "include <kalscan/cuda/kla_backward.cuh>");
  }
}

/// Without a policy: says so.
template <class P, mixer M, class... Rest>
  requires(!policy<P>)
void backward(const P&, const M&, const mixer_shape&, const Rest&...) {
  detail::explain_policy<P>();
}

}  // namespace kalscan
