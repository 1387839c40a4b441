// SPDX-License-Identifier: MIT
// The exception of a verb that cannot take an argument as it is.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <kalscan/support/config.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kalscan::detail {

/// A piece of a message: letters, which must outlive it, or a whole number.
class text_piece {
 public:
  text_piece(const char* letters) : letters_(letters) {}
  text_piece(const std::string& letters) : letters_(letters) {}
  template <std::integral Number>
  text_piece(Number number) : number_(static_cast<std::int64_t>(number)), is_number_(true) {}

  void append_to(std::string& all) const { is_number_ ? all += std::to_string(number_) : all += letters_; }

 private:
  std::string_view letters_{};
  std::int64_t number_ = 0;
  bool is_number_ = false;
};

/// The pieces one after the other. A sum of strings would be compiled wherever it stands.
[[gnu::noinline, gnu::cold]] inline std::string text(std::initializer_list<text_piece> pieces) {
  std::string all;
  for (const text_piece& piece : pieces) piece.append_to(all);
  return all;
}

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_argument(const char* verb, const std::string& what) {
  throw std::invalid_argument(text({"kalscan::", verb, ": ", what}));
}

/// The name of an argument, or what makes one: names that are put together cost time, and only errors need them.
template <class Name>
std::string argument_text(const Name& name) {
  if constexpr (requires { name(); }) {
    return name();
  } else {
    return name;
  }
}

inline void require_size(const char* verb, const char* argument, std::int64_t size, std::int64_t wanted) {
  if (size != wanted) {
    bad_argument(verb, text({argument, " has size ", size, ", not ", wanted}));
  }
}

}  // namespace kalscan::detail
