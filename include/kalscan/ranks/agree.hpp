// SPDX-License-Identifier: MIT
// What ranks tell each other before they compute, so that no rank waits for one that does something else: what they
// call, and whether something is wrong. And messages that say of each rank whether it has failed.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <kalscan/ranks/bytes.hpp>
#include <kalscan/ranks/communicator.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kalscan {

/// Another rank has failed while it computed: thrown on those that have not, with what the lowest of the failed says.
class rank_error : public std::runtime_error {
 public:
  rank_error(int rank_, const std::string& what)
      : std::runtime_error("kalscan: rank " + std::to_string(rank_) + " failed: " + what), rank(rank_) {}
  int rank;
};

namespace detail {

using rank_text = std::array<char, 400>;
inline rank_text rank_text_of(std::string_view text) {
  rank_text x{};
  std::copy_n(text.begin(), (std::min)(text.size(), x.size() - 1), x.begin());
  return x;
}

/// The name of a call. Of a longer one its beginning, and a number that tells it from others.
inline rank_text name_of_call(std::string_view name) {
  if (name.size() < rank_text().size()) return rank_text_of(name);
  const std::string number = "... #" + std::to_string(std::hash<std::string_view>{}(name));
  return rank_text_of(std::string(name.substr(0, rank_text().size() - 1 - number.size())) + number);
}

template <communicator C, class X>
std::vector<X> gather_all(const C& comm, const X& mine) {
  std::vector<X> all(static_cast<std::size_t>(comm.size()));
  comm.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  return all;
}

/// What a rank has of a call, which need not be what others have. Each verb tells what it needs.
struct rank_share {
  std::int64_t steps = 0;   // of time
  std::int64_t pieces = 0;  // into which these steps are cut
  // For mixers: how many sequences, whether the first one is the rest of another rank's last one, and the steps of the first
  // and of the last one.
  std::int64_t sequences = 0, continues = 0, first_length = 0, last_length = 0;
  std::int64_t wants_end = 0, has_checkpoints = 0, lacks_checkpoints = 0;  // lacks: none, though it has sequences
  std::int64_t varying = 0, constant = 0;  // parameters, a bit each, that vary with time and that do not
};

/// What a rank says of its call. `equal` must be the same on all ranks.
struct rank_call {
  std::int64_t failed = 0;
  std::array<std::int64_t, 12> equal{};
  rank_share own{};
  rank_text text{};  // the call, or what is wrong with it
};
/// The names of `equal`, in its order.
using equal_names = std::vector<const char*>;

/// "3 on rank 0, 4 on ranks 1, 2": who says what.
template <class Say>
std::string who_says_what(int ranks, Say say) {
  constexpr int most = 6;
  std::string text;
  std::vector<std::string> said;
  for (int r = 0; r < ranks; ++r) {
    const std::string what = say(r);
    if (std::find(said.begin(), said.end(), what) != said.end()) continue;
    said.push_back(what);
    if (std::ssize(said) > most) return text + ", ...";
    std::vector<int> others;
    for (int other = r; other < ranks; ++other) {
      if (say(other) == what) others.push_back(other);
    }
    text += (text.empty() ? "" : ", ") + what + (others.size() > 1 ? " on ranks " : " on rank ");
    for (int i = 0; i < (std::min)(most, static_cast<int>(others.size())); ++i) {
      text += (i > 0 ? ", " : "") + std::to_string(others[static_cast<std::size_t>(i)]);
    }
    if (std::ssize(others) > most) text += ", ...";
  }
  return text;
}

/// One small gather. Throws std::invalid_argument, of the same text on all ranks, where one has failed or where they
/// differ.
template <communicator C>
std::vector<rank_call> agree(const C& comm, const rank_call& mine, const equal_names& names) {
  const auto all = gather_all(comm, mine);
  const auto at = [&](int r) -> const rank_call& { return all[static_cast<std::size_t>(r)]; };
  for (int r = 0; r < comm.size(); ++r) {
    if (at(r).failed) throw std::invalid_argument("kalscan: rank " + std::to_string(r) + ": " + at(r).text.data());
  }
  const auto differ = [&](const std::string& in, auto say) {
    throw std::invalid_argument("kalscan: the ranks differ in " + in + ": " + who_says_what(comm.size(), say));
  };
  for (int r = 1; r < comm.size(); ++r) {
    if (at(r).text != at(0).text) differ("what they call", [&](int i) { return std::string(at(i).text.data()); });
  }
  for (std::size_t k = 0; k < names.size(); ++k) {
    for (int r = 1; r < comm.size(); ++r) {
      if (at(r).equal[k] != at(0).equal[k]) differ(names[k], [&](int i) { return std::to_string(at(i).equal[k]); });
    }
  }
  return all;
}

/// Instead of `agree`, on a rank that has no call to make.
template <communicator C>
[[noreturn]] void disagree(const C& comm, const char* what) {
  const std::string_view text = what, name = "kalscan: ";
  rank_call mine;
  mine.failed = 1;
  mine.text = rank_text_of(text.substr(0, name.size()) == name ? text.substr(name.size()) : text);
  agree(comm, mine, {});
  throw std::logic_error("kalscan: unreachable");
}

/// Runs a check that comes before `agree`: where it fails on one rank, the others, who are about to agree, are told.
template <communicator C, class Check>
void check_or_disagree(const C& comm, Check check) {
  try {
    check();
  } catch (const std::exception& error) {
    disagree(comm, error.what());
  } catch (...) {
    disagree(comm, "an argument is refused by an exception of another kind than std::exception");
  }
}

/// The name of a type, as the compiler has it.
template <class T>
constexpr std::string_view type_name() {
#if defined(__GNUC__)
  const std::string_view text = __PRETTY_FUNCTION__;
  const auto from = text.find("T = ");
  return from == std::string_view::npos ? text : text.substr(from + 4, text.size() - from - 5);
#else
  return __FUNCSIG__;
#endif
}

/// What a rank has done since the last collective, which may have failed. `work` is run now, unless something has.
class attempt {
 public:
  template <class Work>
  void operator()(Work work) {
    if (failure_) return;
    try {
      work();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  const std::exception_ptr& failure() const { return failure_; }

 private:
  std::exception_ptr failure_{};
};

/// All ranks' messages, of any sizes; or, where one has failed, its exception there and rank_error on the others.
/// `bound` is one of the sizes that all ranks know; without it a small gather more finds it.
template <communicator C>
std::vector<byte_reader> exchange(const C& comm, const attempt& done, const byte_string& mine,
                                  std::optional<std::size_t> bound, byte_string& memory) {
  const auto size = static_cast<std::size_t>(comm.size());
  std::size_t most = bound.value_or(0);
  if (!bound) {
    for (const std::uint64_t x : gather_all(comm, static_cast<std::uint64_t>(mine.size())))
      most = (std::max)(most, static_cast<std::size_t>(x));
  }
  if (mine.size() > most && !done.failure()) throw std::logic_error("kalscan: a message is longer than ranks expect");
  const std::uint64_t failed = done.failure() ? 1 : 0;
  constexpr std::size_t head = sizeof(failed);
  byte_string message(head + most);
  std::memcpy(message.data(), &failed, head);
  if (failed == 0) std::copy(mine.begin(), mine.end(), message.begin() + head);
  memory.resize(size * message.size());
  comm.all_gather(message, memory);
  std::vector<byte_reader> readers;
  bool any = false;
  for (std::size_t r = 0; r < size; ++r) {
    byte_reader reader{std::span<const std::byte>(memory).subspan(r * message.size(), message.size())};
    std::uint64_t bad = 0;
    reader.read(&bad, head);
    any = any || bad != 0;
    readers.push_back(reader);
  }
  if (!any) return readers;
  struct report {
    std::int64_t failed;
    rank_text text;
  };
  std::string text = "an exception of another kind than std::exception";
  if (done.failure()) {
    try {
      std::rethrow_exception(done.failure());
    } catch (const std::exception& error) {
      text = error.what();
    } catch (...) {
    }
  }
  const auto reports = gather_all(comm, report{static_cast<std::int64_t>(failed), rank_text_of(text)});
  if (done.failure()) std::rethrow_exception(done.failure());
  const auto first = std::find_if(reports.begin(), reports.end(), [](const report& x) { return x.failed != 0; });
  throw rank_error(static_cast<int>(first - reports.begin()), first->text.data());
}

/// Gives every rank what all have, and their failures.
template <class X, class P>
std::vector<X> share(const P& p, const attempt& done, const X& x) {
  byte_string mine, memory;
  if (!done.failure()) put(mine, x);
  std::vector<X> all;
  for (byte_reader& from : exchange(p.communicator, done, mine, std::nullopt, memory)) all.push_back(get<X>(from));
  return all;
}

}  // namespace detail
}  // namespace kalscan
