// SPDX-License-Identifier: MIT
// The states that a mixer is given and gives back: before the first token, after the last one, and on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/detail/config.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kalman/belief.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/kla/mixer.hpp>
#include <kalscan/kla/tensor.hpp>

namespace kalscan {

/// The state tensors of a mixer, each [N, 1, M, S] for N sequences (the batch, or those that offsets delimit).
template <class M, class T>
using state_tensors = typename M::template state<tensor<T>>;

namespace detail {

template <class M, class T>
state_tensors<M, const T> read_only(const state_tensors<M, T>& x) {
  return from_words<state_tensors<M, const T>, tensor<const T>>(
      [&](auto i) { return tensor<const T>(words<tensor<T>>(x)[i]); });
}

}  // namespace detail

/// The states before the first token. Without tensors, all lanes start from the mixer's start().
template <class M, class T>
struct initial_states {
  state_tensors<M, const T> tensors = {};

  initial_states() = default;
  initial_states(const state_tensors<M, const T>& states) : tensors(states) {}
  initial_states(const state_tensors<M, T>& states) : tensors(detail::read_only<M>(states)) {}

  KALSCAN_HD auto all_tensors() const { return detail::words<tensor<const T>>(tensors); }
  static mixer_state describe(std::size_t i) { return M::state_info[i]; }
  KALSCAN_HD bool present() const { return all_tensors()[0].present(); }
  KALSCAN_HD typename M::template state<T> operator()(std::int64_t n, std::int64_t m, std::int64_t s) const {
    if (!present()) return M::template start<T>();
    const auto all = all_tensors();
    return detail::from_words<typename M::template state<T>, T>([&](auto i) { return all[i](n, 0, m, s); });
  }
};

/// Beliefs in moment form (mean, variance; default 0 and 1; an infinite variance is precision 0) or in information form
/// (precision >= 0 and information vector).
template <readout R, bool O, class T>
struct initial_states<kla_mixer<R, O>, T> {
  belief<tensor<const T>> moments = {};
  information_belief<tensor<const T>> information = {};

  initial_states() = default;
  initial_states(const belief<tensor<const T>>& x) : moments(x) {}
  initial_states(const belief<tensor<T>>& x) : moments{x.mean, x.variance} {}
  initial_states(const information_belief<tensor<const T>>& x) : information(x) {}
  initial_states(const information_belief<tensor<T>>& x) : information{x.precision, x.vector} {}

  KALSCAN_HD bool in_information_form() const { return information.precision.present() || information.vector.present(); }
  std::array<tensor<const T>, 2> all_tensors() const {
    if (in_information_form()) return {information.precision, information.vector};
    return {moments.mean, moments.variance};
  }
  mixer_state describe(std::size_t i) const {
    if (!in_information_form()) return kla::state_info[i];
    return i == 0 ? mixer_state{"precision", true} : mixer_state{"vector"};
  }
  KALSCAN_HD bool present() const { return in_information_form() || moments.mean.present(); }
  KALSCAN_HD belief<T> operator()(std::int64_t n, std::int64_t m, std::int64_t s) const {
    if (in_information_form()) {
      return to_moments(information_belief<T>{information.precision(n, 0, m, s), information.vector(n, 0, m, s)});
    }
    if (!present()) return {T(0), T(1)};
    return {moments.mean(n, 0, m, s), moments.variance(n, 0, m, s)};
  }
};

/// What a forward call is given and gives back besides inputs and outputs. All of it is optional.
template <class M, class T>
struct mixer_states {
  initial_states<M, T> initial = {};
  state_tensors<M, T> final = {};  ///< after the last token; may be the memory of `initial`
  /// The state before every step that is a multiple of `every`, counted in its sequence: for prefix caching, rollback,
  /// and the backward pass. [B, L / every + 1, M, S]; where `every` divides L the last one is the final state. With
  /// offsets [1, L / every + N, M, S], those of sequence n from index offsets[n] / every + n on.
  state_tensors<M, T> checkpoints = {};
  std::int64_t every = 0;
};

/// The index on the time axis of the checkpoints at which those of sequence n start; 0 without offsets.
[[nodiscard]] inline std::int64_t first_checkpoint(const mixer_shape& shape, std::int64_t n, std::int64_t every) {
  return shape.offsets.empty() ? 0 : shape.offsets[static_cast<std::size_t>(n)] / every + n;
}
/// The extent of the time axis of the checkpoints.
[[nodiscard]] inline std::int64_t checkpoint_count(const mixer_shape& shape, std::int64_t every) {
  return shape.time / every + (shape.offsets.empty() ? 1 : shape.sequences());
}

}  // namespace kalscan
