// SPDX-License-Identifier: MIT
// Sequence mixers over ranks: forward, backward and step of <kalscan/kla/forward.hpp> and <kalscan/kla/backward.hpp>.
//
// Each rank gives the shape, inputs, outputs and adjoints of its stretch; batch, channels and states are the same on
// all. Initial states are read on the first rank that has a stretch of their sequence (without offsets rank 0), and the
// adjoints of these are written there; adjoints of final states are read on the last one. Final states, where tensors
// for them are given, come out on every rank that has a stretch of the sequence. Checkpoints count steps from the
// beginning of a rank's stretch. Gradients of what all times share are summed over all ranks, in the order of time, and
// come out on all of them. `step` takes one token on each rank; for a single one, the rank that has the states calls it
// with the policy `inner`.
//
// With offsets, each rank has those of its own stretch; `ranks::continues` says whether the first of its sequences is
// the rest of the last one before. Sequences that no two ranks share are cut as `inner` cuts them; of the others each
// rank has one chunk, or chunks of `omp::chunk` steps. Gradients of what packed sequences share are then reproducible,
// but not the bits of one rank, which adds up short sequences together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/host/chains.hpp>
#include <kalscan/mixer/host/gradient_parts.hpp>
#include <kalscan/mixer/host/plan.hpp>
#include <kalscan/mixer/host/run.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/bytes.hpp>
#include <kalscan/ranks/chains.hpp>
#include <kalscan/ranks/mixer_stretches.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <kalscan/support/aligned_vector.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// The chains of a mixer's call on a rank. What is sent are the numbers of all lanes of a strip, line by line.
template <class Make>
class mixer_stretch : public mixer_chains<Make> {
  using base = mixer_chains<Make>;
  using typename base::Traversal;

 public:
  using typename base::T;
  using sent_state = aligned_vector<T>;
  using sent_element = aligned_vector<T>;
  static constexpr bool starts_move = true;

  template <class Call>
  mixer_stretch(const Call& call, const mixer_stretches& all, const mixer_plan& plan, std::int64_t strip,
                std::int64_t multiple, const Make& make)
      : base(call, plan, strip, make),
        numbers_(plan.split.size(), -1),
        arrived_(static_cast<std::size_t>(base::chains())) {
    constexpr bool back = Traversal::direction == time_direction::backward;
    table_.me = all.me;
    table_.chains = base::strips_;
    const auto add = [&](std::int64_t number, const std::vector<int>& ranks) {
      std::vector<shared_sequences::holder> holders;
      for (const int r : ranks) {
        const std::int64_t length = all.length_on(number, r);
        const std::int64_t chunk = chunk_of_stretch(length, all.chunk, Traversal::splits, multiple);
        holders.push_back({r, length == 0 ? 0 : (length - 1) / chunk + 1});
      }
      if (back) std::reverse(holders.begin(), holders.end());
      for (std::size_t e = 0; e < plan.split.size(); ++e) {
        if (plan.split[e].n + all.my_first() == number) numbers_[e] = std::ssize(table_.holders);
      }
      unseen_ = unseen_ || holders.back().rank != shared_sequences::last_owner(holders);
      entries_.push_back(-1);
      table_.holders.push_back(std::move(holders));
    };
    if (all.packed) {
      for (const auto& one : all.at_ends) {
        if (all.shares(one)) add(one.number, one.ranks);
      }
    } else {
      std::vector<int> everyone;
      for (int r = 0; r < static_cast<int>(all.time.size()); ++r) everyone.push_back(r);
      for (std::int64_t n = 0; n < all.my_sequences(); ++n) add(n, everyone);
    }
    for (std::size_t e = 0; e < plan.split.size(); ++e) {
      if (numbers_[e] >= 0) entries_[static_cast<std::size_t>(numbers_[e])] = static_cast<std::int64_t>(e);
    }
    wants_end_ = back ? unseen_ : all.wants_end;
  }

  const shared_sequences& shared() const { return table_; }
  std::int64_t number(std::int64_t i) const {
    if (!base::is_split(i)) return -1;
    const std::int64_t q = numbers_[base::index(i) - base::plan_.whole.size()];
    return q < 0 ? -1 : q * base::strips_ + i % base::strips_;
  }
  std::int64_t local(std::int64_t id) const {
    const std::int64_t e = entries_[static_cast<std::size_t>(id / base::strips_)];
    return e < 0 ? -1 : (std::ssize(base::plan_.whole) + e) * base::strips_ + id % base::strips_;
  }

  void put_start(std::int64_t id, byte_string& to) {
    const std::int64_t i = local(id);
    sent_state states(state_count(id));
    steps_of(i).load_empty(base::split(i).n, states.data());
    write(to, states.data(), states.size());
  }
  void put_state(std::int64_t id, T* const& x, byte_string& to) const { write(to, x, state_count(id)); }
  void put_element(std::int64_t id, T* const& x, byte_string& to) const { write(to, x, element_count(id)); }
  sent_state get_state(std::int64_t id, byte_reader& from) const { return read(from, state_count(id)); }
  sent_element get_element(std::int64_t id, byte_reader& from) const { return read(from, element_count(id)); }
  std::optional<std::size_t> state_size() const { return strip_size(base::state_length_); }
  std::optional<std::size_t> element_size() const { return strip_size(base::element_length_); }

  bool advance(std::int64_t id, sent_element& x, sent_state& states) const {
    if constexpr (Traversal::splits) {
      bool all = true;
      for (std::int64_t g = 0; g < lines(id) && all; ++g) {
        T* line = states.data() + g * base::state_length_;
        all = base::act_by_elements(base::shape_.states, x.data() + g * base::element_length_, line, line);
      }
      return all;
    } else {
      return false;
    }
  }
  T* take(std::int64_t, const sent_state& x, std::int64_t i) {
    auto& to = arrived_[static_cast<std::size_t>(i)];
    to = x;
    return to.data();
  }
  T* take(std::int64_t id, const sent_state& x) { return take(id, x, local(id)); }
  /// The states between this rank's steps and the next one's.
  void leave(std::int64_t i, const T* x) { steps_of(i).store_end(base::split(i).n, x); }
  void pass(std::int64_t id, const sent_state& x) { leave(local(id), x.data()); }
  bool wants_end() const { return wants_end_; }
  void receive(std::int64_t id, sent_state x) {
    const std::int64_t i = local(id), n = base::split(i).n;
    auto steps = steps_of(i);
    if (shared_sequences::is_behind(table_.of(id), table_.me)) steps.store_end(n, x.data());
    steps.take_end(n, x.data());
  }

 private:
  std::int64_t lines(std::int64_t id) const {
    const std::int64_t first = id % base::strips_ * base::strip_;
    return (std::min)(base::plan_.lines, first + base::strip_) - first;
  }
  std::size_t state_count(std::int64_t id) const { return static_cast<std::size_t>(lines(id) * base::state_length_); }
  std::size_t element_count(std::int64_t id) const {
    return static_cast<std::size_t>(lines(id) * base::element_length_);
  }
  std::size_t strip_size(std::int64_t length) const {
    return static_cast<std::size_t>(base::strip_ * length) * sizeof(T);
  }
  Traversal steps_of(std::int64_t i) const { return base::make_(base::first_line(i), base::last_line(i)); }

  static void write(byte_string& to, const T* x, std::size_t count) { write_raw(to, x, count * sizeof(T)); }
  static aligned_vector<T> read(byte_reader& from, std::size_t count) {
    aligned_vector<T> x(count);
    from.read(x.data(), count * sizeof(T));
    return x;
  }

  shared_sequences table_{};
  // The number of the shared sequence that an entry of the plan is, and the entry of a shared sequence.
  std::vector<std::int64_t> numbers_, entries_{};
  std::vector<aligned_vector<T>> arrived_;
  bool unseen_ = false, wants_end_ = false;
};

template <class P, class Call, class Make>
void run_stretch(const P& p, const Call& call, const mixer_stretches& all, const mixer_plan& plan, std::int64_t strip,
                 std::int64_t multiple, const Make& make) {
  const auto& tasks = tasks_of(p.inner);
  mixer_stretch<Make> chains(call, all, plan, strip, multiple, make);
  chains_over_ranks(p.communicator, tasks, chains).run();
}

template <class Communicator, class Inner, class Call>
void run_forward(const ranks<Communicator, Inner>& p, Call call) {
  using traversal = forward_traversal<Call>;
  if (p.communicator.size() == 1) return run_forward(p.inner, call);
  bool wants_end = as_array<tensor<typename Call::number>>(call.states.checkpoints)[0].present();
  for (const auto& x : tensors_of<typename Call::number>(call.states.final)) wants_end = wants_end || x.present();
  const mixer_stretches all = agree_on(p, call, "forward", wants_end);
  call.ends = all.ends();
  const mixer_plan plan = plan_of(call, all.chunk, traversal::splits, 1);
  run_stretch(p, call, all, plan, lines_of_strip(plan), 1,
              [&](std::int64_t first_line, std::int64_t last_line) { return traversal(call, first_line, last_line); });
}

/// The partial sums of all ranks for gradients of what all times share, in the order of sequences and then of time.
template <class P, class Parts>
class slots_of_ranks {
  using T = typename Parts::T;

 public:
  slots_of_ranks(const P& p, Parts& parts, const mixer_stretches& all) : p_(p), parts_(parts), all_(all) {}

  std::vector<typename Parts::slot_sums> operator()(std::size_t i) {
    if ((all_.varying >> i & 1) != 0) return parts_.all_slots(i);  // one token here: those of others are elsewhere
    const auto length = static_cast<std::size_t>(parts_.slot_length());
    byte_string mine, memory;
    std::int64_t count = 0;
    parts_.for_each_slot([&](std::int64_t, std::int64_t) { ++count; });
    put(mine, count);
    parts_.for_each_slot([&](std::int64_t slot, std::int64_t n) {
      put(mine, all_.my_first() + n);
      put(mine, all_.packed ? std::int64_t{0} : n);
      write_raw(mine, parts_.over_time(i, slot, 0), length * sizeof(T));
    });
    struct slot {
      std::int64_t sequence, batch;
      std::size_t at;
    };
    std::vector<slot> slots;
    sums_.clear();
    for (byte_reader& from : exchange(p_.communicator, {}, mine, std::nullopt, memory)) {
      for (auto k = get<std::int64_t>(from); k > 0; --k) {
        const auto sequence = get<std::int64_t>(from), batch = get<std::int64_t>(from);
        slots.push_back({sequence, batch, sums_.size()});
        sums_.resize(sums_.size() + length);
        from.read(sums_.data() + slots.back().at, length * sizeof(T));
      }
    }
    std::stable_sort(slots.begin(), slots.end(), [](const slot& a, const slot& b) { return a.sequence < b.sequence; });
    std::vector<typename Parts::slot_sums> in_order;
    for (const slot& x : slots) in_order.push_back({sums_.data() + x.at, x.batch});
    return in_order;
  }

 private:
  const P& p_;
  Parts& parts_;
  const mixer_stretches& all_;
  std::vector<T> sums_{};
};

template <class Communicator, class Inner, class Call>
void backward_in_chains(const ranks<Communicator, Inner>& p, Call call) {
  using traversal = backward_traversal<Call>;
  const mixer_stretches all = agree_on(p, call, "backward", false);
  call.ends = all.ends();
  const mixer_plan plan = plan_of(call, all.chunk, traversal::splits, call.states.every);
  const std::int64_t strip = lines_of_strip(plan);
  gradient_parts<Call> parts(call, plan, strip);
  run_stretch(p, call, all, plan, strip, call.states.every, [&](std::int64_t first_line, std::int64_t last_line) {
    return traversal(call, parts, first_line / strip, first_line, last_line);
  });
  parts.write(slots_of_ranks(p, parts, all));
}

template <class Communicator, class Inner, class Call>
void run_backward(const ranks<Communicator, Inner>& p, Call call) {
  if (p.communicator.size() == 1) return run_backward(p.inner, call);
  const mixer_stretches all = agree_on(p, call, "backward", false);
  if (call.shape.channels == 0 || call.shape.states == 0) return run_backward(seq{}, call);
  call.ends = all.ends();
  run_backward_passes(p, call, all.longest, all.kept);
}

}  // namespace kalscan::detail
