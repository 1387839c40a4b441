// SPDX-License-Identifier: MIT
// How a mixer's call is cut into tasks: blocks of channels, sequences, and chunks of time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/omp.hpp>
#include <kalscan/detail/aligned_vector.hpp>
#include <kalscan/detail/mixer_check.hpp>
#include <kalscan/detail/mixer_tile.hpp>
#include <kalscan/detail/words.hpp>
#include <kalscan/kla/mixer.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace kalscan::detail {

/// Sequences [first, last) that one task walks through whole.
struct whole_sequences {
  std::int64_t first, last;
};
/// A sequence cut at bounds[0] = 0 < ... < bounds[chunks] = its length. `slot` numbers its first chunk among all.
struct split_sequence {
  std::int64_t n, slot;
  std::vector<std::int64_t> bounds;
  std::int64_t chunks() const { return std::ssize(bounds) - 1; }
};

/// The cuts, which depend on the shape and on the policy's chunk, never on the number of threads.
struct mixer_plan {
  std::vector<whole_sequences> whole{};
  std::vector<split_sequence> split{};
  std::int64_t blocks = 0, slots = 0;
};

/// Whether no gain of sequence n exceeds one: over a stretch of time, products of larger ones may leave the range of
/// the number type where the states themselves stay finite.
template <class Job>
bool gains_within_one(const Job& job, std::int64_t n) {
  using T = typename Job::number;
  const sequence_place at = job.sequence_at(n);
  bool within = true;
  for_each_parameter<typename Job::mixer>(job.in, [&](std::size_t i, const auto& x) {
    if (!Job::mixer::inputs_info[i].gain) return;
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

/// Time is split where the policy says so, else where there are fewer than 4 blocks of channels and at least 2^15
/// steps, into 5 equal chunks. With offsets each sequence is judged as if it were alone. `multiple` divides all bounds
/// but the last.
template <class Job>
mixer_plan plan_of(const omp& policy, const Job& job, bool may_split, std::int64_t multiple) {
  constexpr std::int64_t few_blocks = 4, many_steps = 1 << 15, default_chunks = 5, most_ranges = 64;
  const std::int64_t width = block_width<typename Job::number>;
  mixer_plan plan;
  plan.blocks = (job.shape.channels + width - 1) / width;
  const std::int64_t beside = plan.blocks * (job.shape.offsets.empty() ? job.shape.batch : 1);
  const std::int64_t total = job.shape.offsets.empty() ? job.shape.batch * job.shape.time : job.shape.time;
  const bool merge = parameters_are_shared(job);
  std::int64_t collected = 0;
  for (std::int64_t n = 0; n < job.shape.sequences(); ++n) {
    const std::int64_t length = job.sequence_at(n).length;
    std::int64_t chunk = policy.chunk;
    if (chunk == 0 && beside < few_blocks && length >= many_steps && gains_within_one(job, n)) {
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

#if defined(_OPENMP)

/// Calls task(i, first, last) on each group of blocks of each of `count` things.
template <class Task>
void parallel_groups(int threads, std::int64_t count, std::int64_t blocks, std::int64_t group, Task task) {
  const std::int64_t groups = (blocks + group - 1) / group;
  parallel_tasks(threads, count * groups, [&](std::int64_t i) {
    const std::int64_t first = i % groups * group;
    task(i / groups, first, (std::min)(blocks, first + group));
  });
}

/// Steps [from, to) of a split sequence, its chunk k.
struct time_chunk {
  const split_sequence* sequence;
  std::int64_t k, from, to;
};

/// The carry from one chunk to the next, in each lane of a block: act(element, before), or what take_steps(states of a
/// block) makes of `before` in those lanes where the element or that result is not finite. So the decision is each
/// lane's own, and depends on the data alone.
template <class T, class Element, class State, class Act, class TakeSteps>
void carry_over(std::int64_t states, const lane_words<Element, T>& elements, const lane_words<State, T>& before,
                const lane_words<State, T>& after, Act act, TakeSteps take_steps) {
  const auto holds = [&](std::int64_t s, std::int64_t w) {
    return all_finite<T>(elements(s, w)) && all_finite<T>(after(s, w));
  };
  bool all_hold = true;
  for_each_lane<T>(states, [&](std::int64_t s, std::int64_t w) {
    after.set(s, w, act(elements(s, w), before(s, w)));
    all_hold = all_hold && holds(s, w);
  });
  if (all_hold) return;
  const std::int64_t length = lane_words<State, T>::length(states);
  aligned_vector<T> block(before.first, before.first + length);
  take_steps(block.data());
  const lane_words<State, T> stepped{block.data()};
  for_each_lane<T>(states, [&](std::int64_t s, std::int64_t w) {
    if (!holds(s, w)) after.set(s, w, stepped(s, w));
  });
}

/// Two passes over the chunks of the split sequences with a carry between them, and the states and elements that these
/// leave for each other.
template <class T>
class split_passes {
 public:
  /// The lengths are those of the states and of the elements of one block.
  split_passes(const mixer_plan& plan, int threads, std::int64_t group, std::int64_t state_length,
               std::int64_t element_length)
      : plan_(plan),
        threads_(threads),
        group_(group),
        state_length_(state_length),
        element_length_(element_length),
        states_(static_cast<std::size_t>(plan.slots * plan.blocks * state_length)),
        elements_(static_cast<std::size_t>(plan.slots * plan.blocks * element_length)) {}

  /// Calls task(walk, chunk, states, elements) on each group of blocks of each chunk that `wanted(sequence, k)` names,
  /// with walk = make(first block, last block) and pointers to the group's states and elements of the chunk.
  template <class Wanted, class Make, class Task>
  void run(Wanted wanted, Make make, Task task) {
    std::vector<time_chunk> chunks;
    for (const auto& s : plan_.split) {
      for (std::int64_t k = 0; k < s.chunks(); ++k) {
        const auto i = static_cast<std::size_t>(k);
        if (wanted(s, k)) chunks.push_back({&s, k, s.bounds[i], s.bounds[i + 1]});
      }
    }
    parallel_groups(threads_, std::ssize(chunks), plan_.blocks, group_,
                    [&](std::int64_t i, std::int64_t first, std::int64_t last) {
                      const time_chunk& c = chunks[static_cast<std::size_t>(i)];
                      auto walk = make(first, last);
                      const std::int64_t cell = (c.sequence->slot + c.k) * plan_.blocks + first;
                      task(walk, c, states_.data() + cell * state_length_, elements_.data() + cell * element_length_);
                    });
  }

  /// Calls task(sequence, block, stride between the states of chunks, states of chunk 0, the same of elements) for each
  /// block.
  template <class Task>
  void carry(Task task) {
    parallel_groups(threads_, std::ssize(plan_.split), plan_.blocks, 1,
                    [&](std::int64_t i, std::int64_t g, std::int64_t) {
                      const split_sequence& s = plan_.split[static_cast<std::size_t>(i)];
                      const std::int64_t cell = s.slot * plan_.blocks + g;
                      task(s, g, plan_.blocks * state_length_, states_.data() + cell * state_length_,
                           plan_.blocks * element_length_, elements_.data() + cell * element_length_);
                    });
  }

 private:
  const mixer_plan& plan_;
  int threads_;
  std::int64_t group_, state_length_, element_length_;
  aligned_vector<T> states_, elements_;
};

#endif

}  // namespace kalscan::detail
