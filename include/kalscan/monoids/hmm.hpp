// SPDX-License-Identifier: MIT
// The forward algorithm of a hidden Markov model with N states, in logarithms.
#pragma once

#include <concepts>
#include <cstddef>

#include <kalscan/monoids/matrix.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan {

/// The forward algorithm (Rabiner 1989, eq. 20): alpha'(j) = sum_i alpha(i) transition(i, j) * emission(j).
///
/// log_transition(i, j) is the log probability of going from i to j. State: log alpha, not normalized; its log-sum-exp
/// is the log-likelihood so far. Input: the log likelihood of what is observed, given each of the N hidden states.
/// -infinity, also in every place, stands for probability zero. Associative up to the rounding of log_sum_exp.
template <std::floating_point T, std::size_t N>
struct hmm_forward {
  using state_type = row_vector<T, N>;
  using input_type = row_vector<T, N>;

  square_matrix<T, N> log_transition;

  KALSCAN_HD static constexpr matrix_monoid<log_sum_exp<T>, N> monoid() { return {}; }

  KALSCAN_HD constexpr state_type step(const state_type& state, const input_type& input) const {
    state_type result = product<log_sum_exp<T>, N>(state, log_transition);
    for (std::size_t j = 0; j < N; ++j) result[j] += input[j];
    return result;
  }
  KALSCAN_HD constexpr square_matrix<T, N> lift(const input_type& input) const {
    square_matrix<T, N> result = log_transition;
    for (std::size_t i = 0; i < N; ++i)
      for (std::size_t j = 0; j < N; ++j) result(i, j) += input[j];
    return result;
  }
  KALSCAN_HD constexpr state_type act(const square_matrix<T, N>& element, const state_type& state) const {
    return product<log_sum_exp<T>, N>(state, element);
  }
};

}  // namespace kalscan
