// SPDX-License-Identifier: MIT
// The exception of a verb that cannot take an argument as it is.
#pragma once

#include <cstdint>
#include <kalscan/support/config.hpp>
#include <stdexcept>
#include <string>

namespace kalscan::detail {

[[noreturn]] inline void bad_argument(const char* verb, const std::string& what) {
  throw std::invalid_argument(std::string("kalscan::") + verb + ": " + what);
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
    bad_argument(verb, std::string(argument) + " has size " + std::to_string(size) + ", not " + std::to_string(wanted));
  }
}

}  // namespace kalscan::detail
