// SPDX-License-Identifier: MIT
// A call of a pass over time: all that a back end needs, and where its sequences lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// Where a sequence lies on the axes of batch and time, and whether it begins and ends in this call: ranks may share it,
/// each with a stretch of its steps.
struct sequence_range {
  std::int64_t batch, first, length;
  bool begins = true, ends = true;
  bool is_shared() const { return !begins || !ends; }
};
/// Whether sequences begin and end in this call, of those that ranks may share: with offsets, whether the first one begins
/// here and whether the last one ends here; without offsets this holds for all of them.
struct stretch_ends {
  bool begin = true, end = true;
};
inline sequence_range sequence_at(const mixer_shape& shape, std::int64_t n, const stretch_ends& ends = {}) {
  if (shape.offsets.empty()) return {n, 0, shape.time, ends.begin, ends.end};
  const auto i = static_cast<std::size_t>(n);
  return {0, shape.offsets[i], shape.offsets[i + 1] - shape.offsets[i], i > 0 || ends.begin,
          n + 1 < shape.sequences() || ends.end};
}

/// Everything that a back end needs of a forward call.
template <class M, class In, class Out>
struct forward_call {
  using mixer = M;
  using number = number_t<In>;

  mixer_shape shape;
  In in;
  Out out;
  mixer_states<M, number> states;
  stretch_ends ends = {};

  sequence_range sequence_at(std::int64_t n) const { return detail::sequence_at(shape, n, ends); }
};

/// Everything that a back end needs of a backward call.
template <class M, class In, class OutBar, class InBar>
struct backward_call {
  using mixer = M;
  using number = number_t<In>;

  mixer_shape shape;
  In in;
  OutBar out_bar;
  InBar in_bar;
  mixer_adjoints<M, number> states;
  stretch_ends ends = {};

  sequence_range sequence_at(std::int64_t n) const { return detail::sequence_at(shape, n, ends); }
};

/// The terms of one lane at one step, read from the inputs where they lie.
template <class M, class T, class In>
KALSCAN_HD terms_t<M, T> terms_of_lane(const In& in, std::int64_t b, std::int64_t t, std::int64_t m, std::int64_t s) {
  return prepare<M, T>(with_members(
      in, [&](const auto&... x) { return typename M::template inputs<T>{static_cast<T>(x(b, t, m, s))...}; }));
}

/// The adjoint of a channel's outputs at one step; that of an output whose tensor is missing is 0.
template <class M, class T, class OutBar>
KALSCAN_HD typename M::template outputs<T> adjoint_of_outputs(const OutBar& out_bar, std::int64_t b, std::int64_t t,
                                                              std::int64_t m) {
  return with_members(out_bar, [&](const auto&... y) {
    return typename M::template outputs<T>{(y.present() ? static_cast<T>(y(b, t, m, 0)) : T(0))...};
  });
}

}  // namespace kalscan::detail
