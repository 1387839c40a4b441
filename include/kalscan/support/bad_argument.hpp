// SPDX-License-Identifier: MIT
// The exception of a verb that cannot take an argument as it is.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <kalscan/support/config.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kalscan::detail {

/// What a message calls one of many: "H of step 3", or a name alone.
struct argument_name {
  const char* name;
  const char* of;  ///< such as " of step ", or null
  std::int64_t number;

  argument_name(const char* name_, const char* of_ = nullptr, std::int64_t number_ = 0)
      : name(name_), of(of_), number(number_) {}
};

/// An item of a message: letters, which must outlive it, a number, or a shape. What makes one is out of line: a check
/// is then a few instructions wherever it stands.
class text_item {
 public:
  struct extent {
    std::int64_t rows, cols;
  };

  [[gnu::noinline, gnu::cold]] text_item(const char* letters) : letters_(letters) {}
  [[gnu::noinline, gnu::cold]] text_item(const std::string& letters) : letters_(letters) {}
  [[gnu::noinline, gnu::cold]] text_item(double number) : real_(number), kind_(kind::real) {}
  [[gnu::noinline, gnu::cold]] text_item(const argument_name& x)
      : letters_(x.name), of_(x.of), number_(x.number), kind_(kind::name) {}
  [[gnu::noinline, gnu::cold]] text_item(extent x) : number_(x.rows), cols_(x.cols), kind_(kind::extent) {}
  template <std::integral Number>
  text_item(Number number) : text_item(whole{static_cast<std::int64_t>(number)}) {}

  /// Real numbers as a stream writes them.
  [[gnu::noinline, gnu::cold]] void append_to(std::string& all) const {
    std::array<char, 32> digits{};
    all += letters_;
    if (kind_ == kind::real) {
      std::snprintf(digits.data(), digits.size(), "%g", real_);
      all += digits.data();
    }
    if (kind_ == kind::name && of_ != nullptr) all += of_;
    if (kind_ == kind::whole || kind_ == kind::extent || (kind_ == kind::name && of_ != nullptr)) {
      all += std::to_string(number_);
    }
    if (kind_ == kind::extent) all += " x " + std::to_string(cols_);
  }

 private:
  struct whole {
    std::int64_t number;
  };
  [[gnu::noinline, gnu::cold]] text_item(whole x) : number_(x.number), kind_(kind::whole) {}

  enum class kind { letters, whole, real, name, extent };
  std::string_view letters_{};
  const char* of_ = nullptr;
  std::int64_t number_ = 0, cols_ = 0;
  double real_ = 0;
  kind kind_ = kind::letters;
};

/// The items one after the other. A sum of strings would be compiled wherever it stands.
[[gnu::noinline, gnu::cold]] inline std::string text(std::initializer_list<text_item> items) {
  std::string all;
  for (const text_item& item : items) item.append_to(all);
  return all;
}

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_argument(const char* verb, const std::string& what) {
  throw std::invalid_argument(text({"kalscan::", verb, ": ", what}));
}

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_argument(const char* verb,
                                                                std::initializer_list<text_item> what) {
  bad_argument(verb, text(what));
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
    bad_argument(verb, {argument, " has size ", size, ", not ", wanted});
  }
}

}  // namespace kalscan::detail
