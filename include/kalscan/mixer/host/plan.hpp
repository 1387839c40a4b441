// SPDX-License-Identifier: MIT
// How a mixer's call is cut: lines of channels, sequences, and chunks of time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/run_sweep.hpp>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/tile.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <vector>

namespace kalscan::detail {

/// Sequences [first, last) that are not cut in time: one task takes them, one after the other.
struct whole_sequences {
  std::int64_t first, last;
};
/// A sequence cut at bounds[0] = 0 < ... < bounds[chunks] = its length. `slot` numbers its first chunk among all.
struct split_sequence {
  std::int64_t n, slot;
  std::vector<std::int64_t> bounds;
  std::int64_t chunks() const { return std::ssize(bounds) - 1; }
};

/// The cuts, which depend on the shape, on the gains and on the policy's chunk, never on the number of threads.
struct mixer_plan {
  std::vector<whole_sequences> whole{};
  std::vector<split_sequence> split{};
  std::int64_t lines = 0, slots = 0;
};

/// Whether no gain of sequence n exceeds one: over a stretch of time, products of larger ones may leave the range of
/// the number type where the states themselves stay finite.
template <class Call>
bool gains_within_one(const Call& call, std::int64_t n) {
  using T = typename Call::number;
  const sequence_range at = call.sequence_at(n);
  bool within = true;
  for_each_parameter<typename Call::mixer>(call.in, [&](std::size_t i, const auto& x) {
    if (!Call::mixer::inputs_info[i].gain) return;
    const std::int64_t first = x.extent[1] == 1 ? 0 : at.first, last = x.extent[1] == 1 ? 1 : at.first + at.length;
    for (std::int64_t t = first; t < last && within; ++t) {
      for (std::int64_t m = 0; m < x.extent[2]; ++m) {
        for (std::int64_t s = 0; s < x.extent[3]; ++s) {
          within = within && std::abs(static_cast<T>(x(x.extent[0] == 1 ? 0 : at.batch, t, m, s))) <= T(1);
        }
      }
    }
  });
  return within;
}

/// The steps of a chunk where a rank has a stretch of `length` steps of a sequence, and the policy wants `wanted`.
inline std::int64_t chunk_of_stretch(std::int64_t length, std::int64_t wanted, bool may_split, std::int64_t multiple) {
  if (wanted == 0 || !may_split || wanted >= length || multiple >= length) return length;
  return (wanted + multiple - 1) / multiple * multiple;
}

/// Time is split into chunks of `wanted` steps where that is not 0; else into 5 equal chunks where there are fewer than 4
/// lines of channels (counted over the batch), at least 2^15 steps, and no gain above one. With offsets each sequence is
/// judged as if it were alone. `multiple` divides all bounds but the last. Where this rank shares a sequence with others,
/// its stretch of that counts as split, whatever its length: into chunks of `wanted` steps, or into one.
template <class Call>
mixer_plan plan_of(const Call& call, std::int64_t wanted, bool may_split, std::int64_t multiple) {
  constexpr std::int64_t few_lines = 4, many_steps = 1 << 15, default_chunks = 5, most_ranges = 64;
  const std::int64_t width = line_width<typename Call::number>;
  mixer_plan plan;
  plan.lines = (call.shape.channels + width - 1) / width;
  const std::int64_t beside = plan.lines * (call.shape.offsets.empty() ? call.shape.batch : 1);
  const std::int64_t total = call.shape.offsets.empty() ? call.shape.batch * call.shape.time : call.shape.time;
  const bool merge = parameters_are_shared(call);
  std::int64_t collected = 0;
  for (std::int64_t n = 0; n < call.shape.sequences(); ++n) {
    const std::int64_t length = call.sequence_at(n).length;
    if (call.sequence_at(n).is_shared()) {
      plan.split.push_back({n, plan.slots, equal_chunks(length, chunk_of_stretch(length, wanted, may_split, multiple))});
      plan.slots += plan.split.back().chunks();
      collected = 0;
      continue;
    }
    std::int64_t chunk = wanted;
    if (chunk == 0 && beside < few_lines && length >= many_steps && gains_within_one(call, n)) {
      chunk = (length + default_chunks - 1) / default_chunks;
    }
    chunk = chunk >= length || multiple >= length ? length : (chunk + multiple - 1) / multiple * multiple;
    if (may_split && chunk > 0 && chunk < length) {
      plan.split.push_back({n, plan.slots, equal_chunks(length, chunk)});
      plan.slots += plan.split.back().chunks();
      collected = 0;
      continue;
    }
    const bool joins = merge && !plan.whole.empty() && plan.whole.back().last == n && collected < total / most_ranges;
    if (joins) {
      ++plan.whole.back().last;
    } else {
      plan.whole.push_back({n, n + 1});
      collected = 0;
    }
    collected += length;
  }
  return plan;
}

/// How many lines of channels a task of a backward pass takes. Sums over channels are made strip by strip, so that their
/// bits depend on this number, which depends on the channels alone.
inline std::int64_t lines_of_strip(const mixer_plan& plan) { return std::clamp<std::int64_t>(plan.lines / 16, 1, 8); }

}  // namespace kalscan::detail
