// SPDX-License-Identifier: MIT
// What each rank has of a mixer's call: how many steps and sequences, and who shares a sequence with whom.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <kalscan/support/aggregate.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// What the ranks have of a call, as they have told each other.
struct mixer_stretches {
  int me = 0;
  std::int64_t chunk = 0;            // as the policy has it
  std::int64_t longest = 0;          // all ranks' steps of a sequence are not more
  bool wants_end = false, kept = false;  // on some rank; `kept` are checkpoints
  std::uint64_t varying = 0;         // inputs, a bit each, that are parameters and vary with time
  std::vector<std::int64_t> first{};  // number of each rank's first sequence among all
  std::vector<std::int64_t> sequences{}, time{}, first_length{}, last_length{};
  std::vector<char> continues{};
  bool packed = false;

  struct held {
    std::int64_t number;
    std::vector<int> ranks;
  };
  /// The packed sequences at the ends of stretches, with the ranks that have steps of them.
  std::vector<held> at_ends{};

  bool shares(const held& x) const { return x.ranks.size() > 1; }
  const held* of(std::int64_t number) const {
    for (const held& x : at_ends) {
      if (x.number == number) return &x;
    }
    return nullptr;
  }
  std::int64_t my_first() const { return first[static_cast<std::size_t>(me)]; }
  std::int64_t my_sequences() const { return sequences[static_cast<std::size_t>(me)]; }
  /// Whether this rank's first and last sequence begin and end here.
  stretch_ends ends() const {
    if (!packed) return {me == 0, me + 1 == static_cast<int>(time.size())};
    if (my_sequences() == 0) return {};
    return {of(my_first())->ranks.front() == me, of(my_first() + my_sequences() - 1)->ranks.back() == me};
  }
  std::int64_t length_on(std::int64_t number, int rank) const {
    const auto r = static_cast<std::size_t>(rank);
    return !packed ? time[r] : number == first[r] ? first_length[r] : last_length[r];
  }
};

/// Tells which parameters vary with time and which do not. From a single token nobody can know.
template <class M, class In>
void tell_parameters(rank_share& mine, const In& in, const mixer_shape& shape) {
  std::size_t i = 0;
  for_each_member(in, [&](const auto& tensor) {
    const std::int64_t bit = std::int64_t{1} << i;
    if (M::inputs_info[i++].varies != role::parameter) return;
    if (tensor.extent[1] != 1) {
      mine.varying |= bit;
    } else if (shape.time != 1) {
      mine.constant |= bit;
    }
  });
}

/// Throws std::invalid_argument, of the same text on all ranks, where what they have told differs.
template <class M>
void require_same_parameters(const std::vector<rank_call>& calls) {
  std::int64_t varying = 0, constant = 0;
  for (const rank_call& x : calls) varying |= x.own.varying, constant |= x.own.constant;
  for (std::size_t i = 0; i < M::inputs_info.size(); ++i) {
    const std::int64_t bit = std::int64_t{1} << i;
    if ((varying & constant & bit) == 0) continue;
    throw std::invalid_argument("kalscan: the ranks differ in " + std::string(M::inputs_info[i].name) + ": " +
                                who_says_what(static_cast<int>(calls.size()), [&](int r) {
                                  const auto& own = calls[static_cast<std::size_t>(r)].own;
                                  return std::string((own.varying & bit) != 0 ? "one a token"
                                                     : own.steps == 1         ? "for one token"
                                                                              : "the same for all tokens");
                                }));
  }
}

/// Throws likewise where some ranks with sequences have checkpoints and others have none: they would compute in different
/// orders.
inline void require_same_checkpoints(const std::vector<rank_call>& calls) {
  const auto any = [&](std::int64_t rank_share::*what) {
    return std::any_of(calls.begin(), calls.end(), [&](const rank_call& x) { return x.own.*what != 0; });
  };
  if (!any(&rank_share::has_checkpoints) || !any(&rank_share::lacks_checkpoints)) return;
  throw std::invalid_argument("kalscan: the ranks differ in checkpoints: " +
                              who_says_what(static_cast<int>(calls.size()), [&](int r) {
                                const auto& own = calls[static_cast<std::size_t>(r)].own;
                                return std::string(own.lacks_checkpoints != 0 ? "none" : "given");
                              }));
}

/// Tells the other ranks of a call, and learns of theirs.
template <class P, class Call>
mixer_stretches agree_on(const P& p, const Call& call, const char* verb, bool wants_end) {
  using M = typename Call::mixer;
  const mixer_shape& s = call.shape;
  rank_call mine;
  mixer_stretches x;
  x.me = p.communicator.rank();
  x.packed = !s.offsets.empty();
  check_arguments(p, [&] { x.chunk = chunk_length(tasks_of(p.inner)); });
  tell_parameters<M>(mine.own, call.in, s);
  const std::int64_t N = s.sequences(), given = call.states.every;
  mine.text = name_of_call(std::string(verb) + " of " + std::string(type_name<std::pair<M, typename Call::number>>()));
  const bool kept =
      with_members(call.states.checkpoints, [](const auto& first, const auto&...) { return first.present(); });
  mine.equal = {s.batch, s.channels, s.states, x.packed, x.chunk, given};
  mine.own.steps = s.time;
  mine.own.sequences = N;
  mine.own.continues = p.continues;
  mine.own.first_length = N == 0 ? 0 : call.sequence_at(0).length;
  mine.own.last_length = N == 0 ? 0 : call.sequence_at(N - 1).length;
  mine.own.wants_end = wants_end;
  mine.own.has_checkpoints = kept;
  mine.own.lacks_checkpoints = !kept && N > 0;
  const auto calls = agree(p.communicator, mine,
                           {"the batch", "the channels", "the states", "whether sequences are packed", "the chunk",
                            "the distance of checkpoints"});
  std::int64_t number = 0;
  for (int r = 0; r < p.communicator.size(); ++r) {
    const auto& own = calls[static_cast<std::size_t>(r)].own;
    x.time.push_back(own.steps), x.sequences.push_back(own.sequences), x.continues.push_back(own.continues != 0);
    x.first_length.push_back(own.first_length), x.last_length.push_back(own.last_length);
    x.longest += x.packed ? (std::max)(own.first_length, own.last_length) : own.steps;
    x.wants_end = x.wants_end || own.wants_end != 0;
    x.kept = x.kept || own.has_checkpoints != 0;
    x.varying |= static_cast<std::uint64_t>(own.varying);
    if (!x.packed) {
      x.first.push_back(0);
      continue;
    }
    const bool joins = own.continues != 0 && number > 0 && own.sequences > 0;
    if (joins) --number;
    x.first.push_back(number);
    if (own.sequences > 0) {
      if (joins) {
        x.at_ends.back().ranks.push_back(r);
      } else {
        x.at_ends.push_back({number, {r}});
      }
      if (own.sequences > 1) x.at_ends.push_back({number + own.sequences - 1, {r}});
    }
    number += own.sequences;
  }
  require_same_checkpoints(calls);
  require_same_parameters<M>(calls);
  return x;
}

}  // namespace kalscan::detail
