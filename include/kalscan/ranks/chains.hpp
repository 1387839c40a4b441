// SPDX-License-Identifier: MIT
// The engine of <kalscan/backend/time_split.hpp> over ranks: the same passes, on the pieces that each rank has, with
// one gather between them.
//
//     1. absorb   the rank that has a chain's first piece replays it and carries its state to the end of its pieces;
//                 the others make elements of theirs
//     2. gather   that state, and the elements of all ranks between the first and the last one
//     3. carry    every rank takes the state through the others' elements, in the order of time, to its own pieces
//     4. replay   as on one rank; then the state after the last piece goes to all
//
// What is carried through is each piece's element, never a rank's total: with the same pieces the results have the same
// bits on any number of ranks. Where an element is out of range (`act` gives nothing), its rank takes the steps and sends
// the state to all: one more round for each such rank in a row. Each rank finds by its own arithmetic where that is so:
// ranks must be machines that compute alike.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/ranks/agree.hpp>
#include <kalscan/ranks/bytes.hpp>
#include <kalscan/ranks/communicator.hpp>
#include <kalscan/ranks/shared_sequences.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace kalscan::detail {

/// Chains whose sequences ranks share. They have, beside what `piecewise` asks for,
///
///     shared()                     a table: ranks/shared_sequences.hpp
///     number(i)                    the number of chain i among the shared ones, or -1 where this rank has all of it
///     local(id)                    the chain that has this number, or -1 where this rank has nothing of it
///     sent_state, sent_element     the types of a state and an element that came from another rank
///     put_start(id, to)            writes the state before all pieces, on the first holder
///     put_state(id, x, to), put_element(id, x, to), get_state(id, from), get_element(id, from)
///                                  write and read messages
///     state_size(), element_size() the bytes of these in a message, or nothing where they differ
///     advance(id, element, state)  changes the sent state as `act` would; false where the element is out of range
///     take(id, state)              a sent state as a state of the chains
///     leave(i, state)              called with the state after this rank's pieces
///     pass(id, state)              called with that state where this rank has no piece
///     starts_move                  whether the first holder gives the state at the beginning, even if it has no piece
///     wants_end()                  whether `receive(id, state)` is to get the state after the last piece, on every
///                                  holder
template <class C>
concept shareable = piecewise<C> && requires(C& c, std::int64_t i, byte_string& to, byte_reader& from,
                                             typename C::sent_state& state, typename C::sent_element& element) {
  c.put_start(i, to);
  { c.advance(i, element = c.get_element(i, from), state) } -> std::same_as<bool>;
  { c.take(i, std::as_const(state)) } -> std::same_as<chain_state_t<C>>;
  c.receive(i, c.get_state(i, from));
};

template <class C>
struct pieces_here {
  const C* c;
  bool all_here(std::int64_t i) const { return c->number(i) < 0; }
  bool first_here(std::int64_t i) const {
    return all_here(i) || shared_sequences::first_owner(c->shared().of(c->number(i))) == c->shared().me;
  }
  bool last_here(std::int64_t i) const {
    return all_here(i) || shared_sequences::last_owner(c->shared().of(c->number(i))) == c->shared().me;
  }
};

/// The passes of one call, on one rank.
template <communicator Communicator, task_policy P, shareable C>
class chains_over_ranks {
  using table = shared_sequences;
  using holder = table::holder;
  using sent_state = typename C::sent_state;
  using sent_element = typename C::sent_element;

 public:
  chains_over_ranks(const Communicator& comm, const P& p, C& c)
      : comm_(comm), p_(p), c_(c), shared_(c.shared()), run_(p, c, pieces_here<C>{&c}) {}

  void run() {
    if constexpr (C::starts_move) start();
    work_([&] {
      run_.absorb();
      carry_here([](bool first_here) { return first_here; });
    });
    const bool any_between = std::any_of(shared_.holders.begin(), shared_.holders.end(), [](const auto& holders) {
      return table::first_owner(holders) != table::last_owner(holders);
    });
    if (any_between) carry_between();
    work_([&] {
      carry_here([](bool first_here) { return !first_here; });
      run_.replay();
      run_.finish();
    });
    end();
  }

 private:
  /// Where the first holder has no piece, sends its state to the first owner.
  void start() {
    if (std::none_of(shared_.holders.begin(), shared_.holders.end(), table::starts_elsewhere)) return;
    byte_string mine;
    each(table::starts_elsewhere, [&](std::int64_t id, const auto& holders) {
      if (holders.front().rank == shared_.me) work_([&] { c_.put_start(id, mine); });
    });
    auto from = exchange(comm_, work_, mine, std::nullopt, memory_);
    each(table::starts_elsewhere, [&](std::int64_t id, const auto& holders) {
      sent_state x = c_.get_state(id, from[static_cast<std::size_t>(holders.front().rank)]);
      const int owner = table::first_owner(holders);
      if (owner == shared_.me) run_.arrive(c_.local(id), c_.take(id, x));
      for (const holder& one : holders) {
        if (one.rank == owner) break;
        if (one.rank == shared_.me && owner >= 0) c_.pass(id, x);
      }
      if (owner < 0 && c_.local(id) >= 0) c_.receive(id, x);
    });
  }

  /// Carries states through the pieces that are here: of the chains that begin here, or of the others, as `which` says.
  template <class Which>
  void carry_here(Which which) {
    const pieces_here<C> here{&c_};
    run_all(p_, c_.chains(), [&](std::int64_t i) {
      if (c_.pieces(i) > 0 && which(here.first_here(i))) carry_one(i);
    });
  }
  void carry_one(std::int64_t i) {
    if (c_.number(i) >= 0 && carried_[static_cast<std::size_t>(c_.number(i))]) return;
    run_.carry(i);
    if (!pieces_here<C>{&c_}.last_here(i)) c_.leave(i, run_.leaving(i));
    if (c_.number(i) >= 0) carried_[static_cast<std::size_t>(c_.number(i))] = true;
  }

  /// A chain on its course through the ranks: the holder that it comes to next, and the number of elements used so far.
  struct course {
    sent_state state{};
    std::size_t owner = 0, element = 0;
    std::vector<sent_element> elements{};
    bool stopped = false;
  };

  void carry_between() {
    byte_string mine;
    work_([&] {
      each(is_shared, [&](std::int64_t id, const auto& holders) {
        const std::int64_t i = c_.local(id);
        if (i < 0 || c_.pieces(i) == 0 || table::last_owner(holders) == shared_.me) return;
        if (table::first_owner(holders) == shared_.me) return c_.put_state(id, run_.leaving(i), mine);
        for (std::int64_t k = 0; k < c_.pieces(i); ++k) c_.put_element(id, run_.element(i, k), mine);
      });
    });
    auto from = exchange(comm_, work_, mine, most_sent(), memory_);
    std::vector<course> courses(static_cast<std::size_t>(shared_.count()));
    each(is_shared, [&](std::int64_t id, const auto& holders) {
      course& x = courses[static_cast<std::size_t>(id)];
      for (const holder& one : holders) {
        byte_reader& reader = from[static_cast<std::size_t>(one.rank)];
        if (one.pieces == 0 || one.rank == table::last_owner(holders)) continue;
        if (one.rank == table::first_owner(holders)) {
          x.state = c_.get_state(id, reader);
        } else {
          for (std::int64_t k = 0; k < one.pieces; ++k) x.elements.push_back(c_.get_element(id, reader));
        }
      }
    });
    const auto each_course = [&](auto visit) {
      each(is_shared,
           [&](std::int64_t id, const auto& holders) { visit(id, holders, courses[static_cast<std::size_t>(id)]); });
    };
    each_course([&](std::int64_t, const auto& holders, course& x) {
      while (holders[x.owner].rank != table::first_owner(holders)) ++x.owner;
      ++x.owner;
    });
    for (;;) {
      work_([&] {
        run_all(p_, std::ssize(courses), [&](std::int64_t id) {
          const auto& holders = shared_.of(id);
          if (is_shared(holders)) advance(id, holders, courses[static_cast<std::size_t>(id)]);
        });
      });
      std::size_t stopped = 0;
      mine.clear();
      each_course([&](std::int64_t id, const auto& holders, course& x) {
        if (!x.stopped) return;
        ++stopped;
        if (holders[x.owner].rank != shared_.me) return;
        work_([&] {
          carry_one(c_.local(id));
          c_.put_state(id, run_.leaving(c_.local(id)), mine);
        });
      });
      if (stopped == 0) return;
      const auto size = c_.state_size();
      from = exchange(comm_, work_, mine, size ? std::optional(stopped * *size) : std::nullopt, memory_);
      each_course([&](std::int64_t id, const auto& holders, course& x) {
        if (!x.stopped) return;
        x.state = c_.get_state(id, from[static_cast<std::size_t>(holders[x.owner].rank)]);
        x.element += static_cast<std::size_t>(holders[x.owner].pieces);
        x.stopped = false;
        ++x.owner;
      });
    }
  }

  /// Takes a chain's state to the last owner, or to one with an element that is out of range.
  void advance(std::int64_t id, const std::vector<holder>& holders, course& x) {
    for (;; ++x.owner) {
      const holder& one = holders[x.owner];
      if (one.pieces == 0) {
        if (one.rank == shared_.me) c_.pass(id, x.state);
        continue;
      }
      if (one.rank == shared_.me) run_.arrive(c_.local(id), c_.take(id, x.state));
      if (one.rank == table::last_owner(holders)) return;
      for (std::size_t k = 0; k < static_cast<std::size_t>(one.pieces); ++k) {
        x.stopped = !c_.advance(id, x.elements[x.element + k], x.state);
        if (x.stopped) return;
      }
      x.element += static_cast<std::size_t>(one.pieces);
    }
  }

  /// Sends the state after the last piece to all. No rank returns before all are done.
  void end() {
    byte_string mine;
    const bool wanted = c_.wants_end();
    const auto has_owner = [](const auto& holders) { return table::first_owner(holders) >= 0; };
    if (wanted) {
      each(has_owner, [&](std::int64_t id, const auto& holders) {
        if (table::last_owner(holders) == shared_.me) work_([&] { c_.put_state(id, run_.end(c_.local(id)), mine); });
      });
    }
    const auto size = wanted ? c_.state_size() : std::size_t{0};
    auto from =
        exchange(comm_, work_, mine,
                 size ? std::optional(static_cast<std::size_t>(shared_.count()) * *size) : std::nullopt, memory_);
    if (!wanted) return;
    each(has_owner, [&](std::int64_t id, const auto& holders) {
      sent_state x = c_.get_state(id, from[static_cast<std::size_t>(table::last_owner(holders))]);
      if (c_.local(id) >= 0) c_.receive(id, x);
    });
  }

  static bool is_shared(const std::vector<holder>& holders) {
    return table::first_owner(holders) != table::last_owner(holders);
  }

  template <class Which, class Visit>
  void each(Which which, Visit visit) {
    for (std::int64_t id = 0; id < shared_.count(); ++id) {
      if (which(shared_.of(id))) visit(id, shared_.of(id));
    }
  }

  /// The longest message of `carry_between`.
  std::optional<std::size_t> most_sent() const {
    const auto state = c_.state_size(), element = c_.element_size();
    if (!state || !element) return std::nullopt;
    std::vector<std::size_t> sent(static_cast<std::size_t>(comm_.size()));
    for (const auto& holders : shared_.holders) {
      for (const holder& one : holders) {
        if (one.pieces == 0 || one.rank == table::last_owner(holders)) continue;
        const bool first = one.rank == table::first_owner(holders);
        sent[static_cast<std::size_t>(one.rank)] += static_cast<std::size_t>(shared_.chains) *
                                                    (first ? *state : static_cast<std::size_t>(one.pieces) * *element);
      }
    }
    return *std::max_element(sent.begin(), sent.end());
  }

  const Communicator& comm_;
  const P& p_;
  C& c_;
  const table& shared_;
  chain_passes<P, C, pieces_here<C>> run_;
  attempt work_{};
  byte_string memory_{};
  std::vector<char> carried_ = std::vector<char>(static_cast<std::size_t>(shared_.count()));
};

}  // namespace kalscan::detail
